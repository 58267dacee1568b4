//! The operator's command line, called as a program by its documented interface.

use crate::process::wait_until;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one command may take. The longest is a drill: 15 seconds on a busy machine; its own limit is
/// the playbook's duration, which is far longer than anybody wants to wait here.
const PATIENCE: Duration = Duration::from_mins(2);

/// An operator with a profile.
#[derive(Debug, Clone)]
pub struct Operator {
    program: PathBuf,
    profile: PathBuf,
    logs: PathBuf,
}

impl Operator {
    pub(super) const fn new(program: PathBuf, profile: PathBuf, logs: PathBuf) -> Self {
        Self { program, profile, logs }
    }

    /// The program with the profile, for a command that a person will see the output of.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--profile").arg(&self.profile).stdin(Stdio::null());
        command
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The beginning of a command line, for people.
    #[must_use]
    pub fn words(&self) -> String {
        format!("{} --profile {}", self.program.display(), self.profile.display())
    }

    /// Runs a command; what it prints is kept beside the logs.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        self.call(self.command().args(arguments), arguments).map(drop)
    }

    /// Asks, and returns the answer.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.call(self.command().arg("--json").args(arguments), arguments)?;
        serde_json::from_str(&text).with_context(|| format!("`fettle {}` printed no JSON: {text}", arguments.join(" ")))
    }

    /// Through files, because a pipe that nobody empties would stop a long answer.
    fn call(&self, command: &mut Command, arguments: &[&str]) -> anyhow::Result<String> {
        let answer = self.logs.join("operator.out");
        let complaint = self.logs.join("operator.err");
        let open = |path: &PathBuf| File::create(path).with_context(|| format!("open {}", path.display()));
        command.stdout(open(&answer)?).stderr(open(&complaint)?);
        let mut child = command.spawn().with_context(|| format!("start {}", self.program.display()))?;
        let shown = arguments.join(" ");
        let waited = wait_until(&format!("`fettle {shown}` ends"), PATIENCE, || Ok(child.try_wait()?));
        let status = match waited {
            Ok(status) => status,
            Err(error) => {
                child.kill().context("end the command")?;
                child.wait().context("wait for the command's end")?;
                return Err(error);
            }
        };
        if !status.success() {
            // A verdict is on standard output, a failure on standard error.
            let said = [&answer, &complaint].map(|path| std::fs::read_to_string(path).unwrap_or_default()).concat();
            bail!("`fettle {shown}` ended with {status}: {}", said.trim_end());
        }
        std::fs::read_to_string(&answer).with_context(|| format!("read {}", answer.display()))
    }
}
