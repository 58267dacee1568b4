//! `cargo xtask test`: everything that a change must pass, from a fresh checkout on.

use crate::steps::Steps;
use crate::tools::{self, HostTests};
use crate::workspace::Workspace;
use crate::{guests, process};
use anyhow::Context as _;
use std::process::Command;

/// How to run it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Passed on to `cargo nextest run`, for example a filter.
    #[arg(last = true)]
    nextest: Vec<String>,
}

/// Runs it.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let mut steps = Steps::begin("test");
    steps.note("checking what is installed");
    tools::ensure(&steps, HostTests::from_environment())?;
    steps.run("build the playbooks", || guests::build(workspace))?;
    // The end-to-end tests start the programs, and nextest builds only those that have tests of their
    // own. With the tests, because without them cargo resolves other features and compiles twice.
    steps.run("build the programs and the tests", || {
        process::run(on_hosts(workspace, &["build", "--bins", "--tests"]).arg("--locked"))
    })?;
    steps.run("run the tests", || {
        process::run(on_hosts(workspace, &["nextest", "run"]).arg("--locked").args(&options.nextest))
    })?;
    let documented = with_examples(workspace)?;
    if !documented.is_empty() {
        steps.run("run the examples in the documentation", || {
            let mut command = Command::new(env!("CARGO"));
            command.current_dir(&workspace.root).args(["test", "--doc", "--locked"]);
            for package in documented {
                command.args(["--package", package]);
            }
            process::run(&mut command)
        })?;
    }
    steps.finish();
    Ok(())
}

/// A cargo command for everything but the guests. All use the same selection: another one would
/// resolve other features and compile the dependencies a second time.
pub(crate) fn on_hosts(workspace: &Workspace, subcommand: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(&workspace.root).args(subcommand).arg("--workspace");
    for guest in workspace.guests() {
        command.args(["--exclude", guest]);
    }
    command
}

/// The libraries whose documentation holds examples that can be run. The others are left out:
/// rustdoc takes some seconds for each.
fn with_examples(workspace: &Workspace) -> anyhow::Result<Vec<&str>> {
    let guests = workspace.guests();
    let mut found = Vec::new();
    for member in &workspace.members {
        if member.library.is_none() || guests.contains(&member.name.as_str()) {
            continue;
        }
        let sources = workspace.root.join(&member.folder).join("src");
        for entry in walkdir::WalkDir::new(&sources) {
            let entry = entry.with_context(|| format!("walk over {}", sources.display()))?;
            let is_source = entry.path().extension().is_some_and(|extension| extension == "rs");
            if is_source && has_example(&std::fs::read_to_string(entry.path())?) {
                found.push(member.name.as_str());
                break;
            }
        }
    }
    Ok(found)
}

/// Whether a doc comment opens a block of Rust that rustdoc runs.
fn has_example(text: &str) -> bool {
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim_start();
        let Some(documented) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            inside = false;
            continue;
        };
        let Some(language) = documented.trim_start().strip_prefix("```") else { continue };
        let runs = language.split(',').all(|word| {
            matches!(word.trim(), "" | "rust" | "no_run" | "should_panic" | "compile_fail")
                || word.starts_with("edition")
        });
        if !inside && runs {
            return true;
        }
        inside = !inside;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_rust_are_examples() {
        assert!(has_example("/// ```\n/// f();\n/// ```"));
        assert!(has_example("//! ```rust,no_run\n//! f();\n//! ```"));
        assert!(!has_example("/// ```text\n/// f();\n/// ```\nfn f() {}"));
        assert!(!has_example("/// ```json\n/// {}\n/// ```\n/// ```toml\n/// ```"));
        assert!(!has_example("// ```\nlet a = \"```\";"));
    }
}
