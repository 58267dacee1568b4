//! Every Rust file is part of a crate. A file that no `mod` names is never compiled, and its tests pass for ever.

use super::tokens::{self, Module};
use super::{Finding, Tree};
use proc_macro2::TokenStream;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The files that cannot be reached from the crates' roots, and declarations without a file.
pub(crate) fn unreachable<'a>(tree: &Tree, roots: impl Iterator<Item = &'a Path>) -> Vec<Finding> {
    let mut walk = Walk { tree, reached: BTreeSet::new(), findings: Vec::new() };
    for root in roots {
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        walk.file(root, &folder);
    }
    let Walk { reached, mut findings, .. } = walk;
    let lost = tree.sources.keys().filter(|path| !reached.contains(*path));
    findings.extend(lost.map(|path| Finding::whole(path, "is part of no crate: declare it with `mod`, or remove it")));
    findings
}

struct Walk<'a> {
    tree: &'a Tree,
    reached: BTreeSet<PathBuf>,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    /// Visits a file whose modules' files are in `folder`.
    fn file(&mut self, path: &Path, folder: &Path) {
        let Some(source) = self.tree.sources.get(path) else { return };
        if !self.reached.insert(path.to_owned()) {
            return;
        }
        match &source.tokens {
            Ok(tokens) => self.modules(path, tokens, folder, None),
            Err(reason) => self.findings.push(Finding::whole(path, format!("is not understood: {reason}"))),
        }
    }

    /// Visits the modules declared in a stream; `inside` is the folder of an inline module around it.
    fn modules(&mut self, file: &Path, tokens: &TokenStream, folder: &Path, inside: Option<&Path>) {
        let beside = file.parent().unwrap_or(Path::new(""));
        for included in tokens::included(tokens) {
            self.file(&normal(&beside.join(included)), beside);
        }
        for module in tokens::modules(tokens) {
            let Module { name, path, content, .. } = module;
            if let Some(content) = content {
                let inner = folder.join(&name);
                self.modules(file, &content, &inner, Some(&inner));
            } else if let Some(path) = path {
                let target = normal(&inside.unwrap_or(beside).join(path));
                let inner = target.parent().unwrap_or(Path::new("")).to_owned();
                self.declared(file, &name, &target, &inner);
            } else {
                let inner = folder.join(&name);
                let with_folder = inner.join("mod.rs");
                let plain = folder.join(format!("{name}.rs"));
                let target = if self.tree.sources.contains_key(&with_folder) { with_folder } else { plain };
                self.declared(file, &name, &target, &inner);
            }
        }
    }

    fn declared(&mut self, by: &Path, name: &str, target: &Path, folder: &Path) {
        if self.tree.sources.contains_key(target) {
            self.file(target, folder);
        } else {
            let message = format!("declares `mod {name}`, and there is no {}", target.display());
            self.findings.push(Finding::whole(by, message));
        }
    }
}

/// Resolves `.` and `..` without the file system.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => result.push(component),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sources: &[(&str, &str)], expected: &[&str]) {
        let tree = Tree::of(sources);
        let found = unreachable(&tree, [Path::new("a/src/lib.rs"), Path::new("a/tests/it/main.rs")].into_iter());
        let paths: Vec<_> = found.iter().map(|finding| finding.path.to_string_lossy().into_owned()).collect();
        assert_eq!(paths, expected, "{found:?}");
    }

    #[test]
    fn files_are_reached_through_every_form_of_declaration() {
        check(
            &[
                ("a/src/lib.rs", "mod b; mod c; pub mod d { mod e; } #[path = \"odd/f.rs\"] mod f;"),
                ("a/src/b.rs", "mod inner;"),
                ("a/src/b/inner.rs", ""),
                ("a/src/c/mod.rs", "mod inner; fn g() { include!(\"../../other/h.rs\"); }"),
                ("a/src/c/inner.rs", ""),
                ("a/src/d/e.rs", ""),
                ("a/src/odd/f.rs", "mod beside;"),
                ("a/src/odd/beside.rs", ""),
                ("a/other/h.rs", ""),
                ("a/tests/it/main.rs", "mod case;"),
                ("a/tests/it/case.rs", ""),
            ],
            &[],
        );
    }

    #[test]
    fn a_file_that_nobody_declares_is_found() {
        check(
            &[("a/src/lib.rs", "// mod lost;"), ("a/src/lost.rs", "#[test] fn passes_for_ever() {}")],
            &["a/src/lost.rs"],
        );
        check(&[("a/src/lib.rs", "mod gone;")], &["a/src/lib.rs"]);
    }
}
