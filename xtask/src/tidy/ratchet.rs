//! How long a file may be. Longer ones are listed with their length, which may only shrink, and the reason.

use super::{Finding, Tree};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The longest file without an entry, in lines.
const LONGEST: usize = 600;
/// The list, relative to the root. Each line: path, number of lines, reason.
pub(crate) const LIST: &str = "xtask/tidy-ratchet.txt";

/// What is longer than it may be, and entries that no longer say the truth.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let (entries, mut findings) = parse(&tree.ratchet);
    for (path, source) in &tree.sources {
        let lines = source.text.lines().count();
        match entries.get(path) {
            None if lines > LONGEST => {
                let message = format!("has {lines} lines, more than {LONGEST}: split it by noun");
                findings.push(Finding::whole(path, message));
            }
            None => {}
            Some(allowed) if lines > *allowed => {
                findings
                    .push(Finding::whole(path, format!("has grown from {allowed} to {lines} lines: split it by noun")));
            }
            Some(_) if lines <= LONGEST => {
                findings.push(Finding::whole(LIST, format!("{} has {lines} lines: remove its entry", path.display())));
            }
            Some(allowed) if lines < *allowed => {
                findings
                    .push(Finding::whole(LIST, format!("{} has shrunk: lower its number to {lines}", path.display())));
            }
            Some(_) => {}
        }
    }
    let gone = entries.keys().filter(|path| !tree.sources.contains_key(*path));
    findings.extend(gone.map(|path| Finding::whole(LIST, format!("there is no {}: remove its entry", path.display()))));
    findings
}

fn parse(list: &str) -> (BTreeMap<PathBuf, usize>, Vec<Finding>) {
    let mut entries = BTreeMap::new();
    let mut findings = Vec::new();
    for (index, line) in list.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next().and_then(|number| number.parse().ok()), words.next()) {
            (Some(path), Some(lines), Some(_)) => {
                entries.insert(PathBuf::from(path), lines);
            }
            (_, _, _) => findings.push(Finding::at(LIST, index + 1, "must be: path, number of lines, reason")),
        }
    }
    (entries, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_count(lines: usize, list: &str, expected: Option<&str>) {
        let text = "//!\n".repeat(lines);
        let tree = Tree { ratchet: list.to_owned(), ..Tree::of(&[("a.rs", &text)]) };
        let found = check(&tree);
        match expected {
            None => assert_eq!(found, [], "{lines} lines, {list:?}"),
            Some(part) => {
                assert!(found.len() == 1 && found[0].message.contains(part), "{lines} lines, {list:?}: {found:?}");
            }
        }
    }

    #[test]
    fn a_long_file_needs_an_entry_that_only_shrinks() {
        check_count(600, "", None);
        check_count(601, "", Some("more than 600"));
        check_count(601, "a.rs 601 one linear protocol", None);
        check_count(602, "a.rs 601 one linear protocol", Some("grown"));
        check_count(650, "a.rs 660 one linear protocol", Some("lower its number to 650"));
        check_count(600, "a.rs 601 one linear protocol", Some("remove its entry"));
        check_count(10, "b.rs 700 one linear protocol", Some("there is no b.rs"));
        check_count(10, "# a remark\na.rs 601", Some("must be: path"));
    }
}
