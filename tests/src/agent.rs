//! An agent of a test on this machine: its configuration, its three processes, and their ends.

use crate::programs::{self, Place};
use crate::signs;
use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use xtask::process::{self, Child};

/// How long an orderly end may take.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// One of the three processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The one that acts and keeps the journal.
    Effector,
    /// The one that talks and checks.
    Daemon,
    /// The one that runs a playbook.
    Worker,
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    config: PathBuf,
    log_name: String,
    logs: PathBuf,
    process: Option<Child>,
}

impl Agent {
    /// Writes its configuration; it does not run yet.
    pub fn configure(name: &str, folder: &Path, config: &str) -> anyhow::Result<Self> {
        let path = folder.join("agent.toml");
        fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { config: path, log_name: format!("agent-{name}"), logs: folder.to_owned(), process: None })
    }

    /// Starts it.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.start_with(None)
    }

    /// Starts it so that its effector stops itself after its n-th journal record.
    pub fn start_to_hold(&mut self, at: u32) -> anyhow::Result<()> {
        self.start_with(Some(&at.to_string()))
    }

    /// Starts it so that its effector stops itself when it has received this configuration and not kept it.
    pub fn start_to_hold_configuration(&mut self, generation: u64) -> anyhow::Result<()> {
        self.start_with(Some(&format!("configuration:{generation}")))
    }

    fn start_with(&mut self, hold: Option<&str>) -> anyhow::Result<()> {
        ensure!(self.process.is_none(), "the agent runs already");
        let mut command = Place::Loopback.command(&programs::program(programs::AGENT)?);
        command
            .arg("run")
            .arg("--same-user")
            .arg("--config")
            .arg(&self.config)
            .env("FETTLE_LOG", "info")
            .env("RUST_BACKTRACE", "1");
        if let Some(at) = hold {
            command.env("FETTLE_HOLD_AT", at);
        }
        self.process = Some(Child::spawn(&self.log_name, &mut command, &self.logs)?);
        Ok(())
    }

    /// The ids of the processes that are this part; the daemon may just be restarting, and a worker may wait.
    pub fn pids(&self, part: Part) -> anyhow::Result<Vec<u32>> {
        let effector = self.process.as_ref().context("the agent does not run")?.id();
        match part {
            Part::Effector => Ok(vec![effector]),
            Part::Daemon => signs::children_with(effector, "daemon"),
            Part::Worker => signs::children_with(effector, "worker"),
        }
    }

    /// Whether its effector has stopped itself.
    pub fn is_held(&self) -> anyhow::Result<bool> {
        self.process.as_ref().map_or(Ok(false), |process| signs::is_held(process.id()))
    }

    /// Kills a part with SIGKILL. The effector's children end with it; of the others it may go on, also
    /// when it was held.
    pub fn kill(&mut self, part: Part) -> anyhow::Result<()> {
        match part {
            Part::Effector => self.process.take().context("the agent does not run")?.kill().map(drop),
            Part::Daemon | Part::Worker => {
                for pid in self.pids(part)? {
                    signs::signal(pid, Signal::KILL)?;
                }
                self.release()
            }
        }
    }

    /// Lets a held effector go on.
    pub fn release(&mut self) -> anyhow::Result<()> {
        self.process.as_mut().context("the agent does not run")?.signal(Signal::CONT)
    }

    /// Ends it in order.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the agent does not run")?;
        let status = process.stop(STOP_PATIENCE)?;
        if !status.success() {
            bail!("the agent ended with {status} after SIGTERM: {}", process.report());
        }
        Ok(())
    }

    /// Fails when it has ended by itself.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process
            && let Some(status) = process.ended()?
        {
            bail!("the agent ended with {status}: {}", process.report());
        }
        Ok(())
    }

    /// How often it said that a check changed to this status.
    pub fn changes_to(&self, status: &str) -> anyhow::Result<usize> {
        let path = self.logs.join(format!("{}.log", self.log_name));
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let told = |line: &&str| line.contains("a check changed") && line.contains(&format!("to=\"{status}\""));
        Ok(text.lines().filter(told).count())
    }

    /// The last lines of its log.
    pub fn log(&self) -> anyhow::Result<String> {
        process::tail(&self.logs.join(format!("{}.log", self.log_name)))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A held effector would not see the SIGTERM that ends it.
        if self.process.is_some()
            && let Err(error) = self.release()
        {
            eprintln!("{error:#}");
        }
    }
}
