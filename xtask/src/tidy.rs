//! The rules that neither the compiler nor the linter knows. Run by `cargo xtask tidy` and, as a
//! test of this crate, by the test command.
//!
//! The checks are pure: they take a [`Tree`] of sources that was read beforehand, and the members of
//! the workspace, and return [`Finding`]s. They never change a file.

mod layers;
mod manifests;
mod modules;
mod ratchet;
mod sources;
mod tokens;
mod tree;

pub use tree::Tree;

use crate::workspace::Workspace;
use anyhow::bail;
use std::fmt;
use std::path::PathBuf;

/// A rule that does not hold somewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the workspace's root.
    pub path: PathBuf,
    /// The line, counted from 1; `None` when it is about the whole file.
    pub line: Option<usize>,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Finding {
    fn whole(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, message: message.into() }
    }

    fn at(path: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.into(), line: Some(line), message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.message),
            None => write!(f, "{}: {}", self.path.display(), self.message),
        }
    }
}

/// All findings in a workspace, in the order of the files.
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let tree = Tree::read(&workspace.root, &workspace.target)?;
    let roots = workspace.members.iter().flat_map(|member| member.roots.iter().map(PathBuf::as_path));
    let mut findings = modules::unreachable(&tree, roots);
    findings.extend(layers::wrong_edges(&workspace.members));
    findings.extend(manifests::deviations(&tree));
    findings.extend(sources::violations(&tree));
    findings.extend(ratchet::check(&tree));
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Prints the findings; any is an error.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let findings = check(workspace)?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: nothing found"),
        1 => bail!("one rule does not hold"),
        several => bail!("{several} rules do not hold"),
    }
    Ok(())
}
