//! Every crate takes its lints and its dependencies' versions from the workspace.

use super::{Finding, Tree};
use std::path::Path;
use toml::{Table, Value};

const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// What deviates in the manifests of the crates.
pub(crate) fn deviations(tree: &Tree) -> Vec<Finding> {
    let crates = tree.manifests.iter().filter(|(path, _)| path.as_path() != Path::new("Cargo.toml"));
    crates.flat_map(|(path, text)| check(path, text)).collect()
}

fn check(path: &Path, text: &str) -> Vec<Finding> {
    let manifest: Table = match text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::whole(path, format!("is not understood: {error}"))],
    };
    let mut findings = Vec::new();
    if !manifest.get("lints").is_some_and(from_workspace) {
        findings.push(Finding::whole(path, "has no `[lints] workspace = true`"));
    }
    for table in tables(&manifest) {
        for (name, value) in table {
            if !from_workspace(value) {
                let message =
                    format!("{name} has a version of its own: state it in the root's [workspace.dependencies]");
                findings.push(Finding::whole(path, message));
            }
        }
    }
    findings
}

/// All tables of dependencies, those for one platform included.
fn tables(manifest: &Table) -> Vec<&Table> {
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let holders = std::iter::once(manifest).chain(platforms.filter_map(Value::as_table));
    holders.flat_map(|holder| TABLES.iter().filter_map(|name| holder.get(*name).and_then(Value::as_table))).collect()
}

fn from_workspace(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_lints_come_from_the_workspace() {
        let good = "[lints]\nworkspace = true\n[dependencies]\na = { workspace = true, features = [\"x\"] }\nb.workspace = true\n";
        assert_eq!(check(Path::new("a/Cargo.toml"), good), []);
        let bad = "[dependencies]\na = \"1\"\n[target.'cfg(unix)'.dev-dependencies]\nb = { version = \"1\" }\n";
        assert_eq!(check(Path::new("a/Cargo.toml"), bad).len(), 3);
    }
}
