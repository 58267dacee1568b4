//! Rules about single files: how they begin, what they are called, what they may not use.

use super::tokens;
use super::tree::Source;
use super::{Finding, Tree};
use proc_macro2::TokenStream;
use std::path::Path;

/// Names that say nothing about what is inside.
const BANNED_NAMES: [&str; 10] =
    ["utils", "util", "common", "helpers", "helper", "manager", "types", "misc", "shared", "functions"];

/// Where no I/O is done, no clock read and no random number drawn.
const PURE: [&str; 2] = ["model/src", "audit/src"];

/// What that excludes.
const IMPURE: [&[&str]; 13] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "io", "stdin"],
    &["SystemTime"],
    &["Instant", "now"],
    &["Timestamp", "now"],
    &["getrandom"],
    &["new_v4"],
    &["tokio"],
    &["rusqlite"],
];

/// What is wrong in the Rust files.
pub(crate) fn violations(tree: &Tree) -> Vec<Finding> {
    tree.sources.iter().flat_map(|(path, source)| check(path, source)).collect()
}

fn check(path: &Path, source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.text.starts_with("//!") {
        findings.push(Finding::at(path, 1, "must begin with `//!`: what it is for, who calls it, what it never does"));
    }
    for component in path {
        let name = Path::new(component).file_stem().unwrap_or(component).to_string_lossy().into_owned();
        if BANNED_NAMES.contains(&name.as_str()) {
            findings.push(Finding::whole(path, format!("{name:?} says nothing: name it after what is inside")));
        }
    }
    let Ok(tokens) = &source.tokens else { return findings };
    for line in tokens::lines_of_attribute(tokens, "ignore") {
        findings.push(Finding::at(path, line, "an ignored test proves nothing: make it run, or remove it"));
    }
    for line in sleeping_tests(path, tokens) {
        findings.push(Finding::at(path, line, "a test does not sleep: it waits for a condition, with a deadline"));
    }
    if PURE.iter().any(|folder| path.starts_with(folder)) {
        for used in IMPURE {
            for line in tokens::lines_of_path(tokens, used) {
                let message = format!("{} has no place here: no I/O, no clock, no randomness", used.join("::"));
                findings.push(Finding::at(path, line, message));
            }
        }
    }
    findings
}

/// Where tests sleep: in files under `tests/`, and in modules that exist only in tests.
fn sleeping_tests(path: &Path, tokens: &TokenStream) -> Vec<usize> {
    const SLEEP: &[&str] = &["thread", "sleep"];
    if path.components().any(|component| component.as_os_str() == "tests") || path.ends_with("tests.rs") {
        return tokens::lines_of_path(tokens, SLEEP);
    }
    let mut lines = Vec::new();
    for module in tokens::modules(tokens) {
        let Some(content) = module.content else { continue };
        if module.only_in_tests {
            lines.extend(tokens::lines_of_path(&content, SLEEP));
        } else {
            lines.extend(sleeping_tests(path, &content));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_lines(path: &str, text: &str, expected: &[Option<usize>]) {
        let found = check(Path::new(path), &Source::new(text.to_owned()));
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, expected, "{path}: {found:?}");
    }

    #[test]
    fn a_file_begins_with_what_it_is_for() {
        check_lines("a/src/b.rs", "//! Says so.\nfn f() {}", &[]);
        check_lines("a/src/b.rs", "fn f() {}", &[Some(1)]);
        check_lines("a/src/b.rs", "// Not this.", &[Some(1)]);
    }

    #[test]
    fn a_name_says_what_is_inside() {
        check_lines("a/src/utils.rs", "//! x", &[None]);
        check_lines("a/src/common/b.rs", "//! x", &[None]);
        check_lines("a/src/commons.rs", "//! x", &[]);
    }

    #[test]
    fn no_test_is_ignored_and_none_sleeps() {
        check_lines("a/src/b.rs", "//! x\n#[test]\n#[ignore]\nfn t() {}", &[Some(3)]);
        check_lines("a/tests/b.rs", "//! x\nfn t() { std::thread::sleep(d) }", &[Some(2)]);
        check_lines("a/src/b.rs", "//! x\n#[cfg(test)]\nmod tests {\nuse std::thread::sleep;\n}", &[Some(4)]);
        check_lines("a/src/b.rs", "//! x\nfn poll() { std::thread::sleep(d) }", &[]);
    }

    #[test]
    fn the_pure_crates_do_no_io_and_read_no_clock() {
        check_lines("model/src/b.rs", "//! x\nuse std::{fs, fmt};\nfn f() { SystemTime::now() }", &[Some(2), Some(3)]);
        check_lines("sandbox/src/b.rs", "//! x\nuse std::fs;", &[]);
        check_lines("audit/src/b.rs", "//! std::fs is not used\nuse std::fmt; // nor is Instant::now", &[]);
    }
}
