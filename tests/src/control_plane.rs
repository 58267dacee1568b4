//! A control plane of a test: its folder, its process, and the ways in which that ends.

use crate::programs::{self, Place};
use crate::signs;
use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde::Deserialize;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};
use xtask::process::{self, Child};

/// How long a start may take: some 50 ms, on a busy machine some hundred times that.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long an orderly end may take.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer stays true while nothing is appended: whether an agent is connected is no record.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// The trust domain of every test.
pub const TRUST_DOMAIN: &str = "e2e.example";
/// The first operator of every test.
pub const OPERATOR: &str = "olga";

/// On which side of the checkpoint's publication an append is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The batch is durable, and nobody was told.
    Appended,
    /// The checkpoint is published as well.
    Published,
}

impl When {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Appended => "appended",
            Self::Published => "published",
        }
    }
}

/// Whether, and where, a process holds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// It does not.
    Never,
    /// At the append that holds the n-th record since it started.
    At(u32, When),
}

/// The ports, as `listening.json` names them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    /// For agents' sessions.
    pub agents: SocketAddr,
    /// For enrolment.
    pub enrol: SocketAddr,
    /// For people.
    pub operators: SocketAddr,
}

/// Tells when it is worth asking a control plane again: a process is started for each question.
#[derive(Debug, Default)]
pub struct Pulse {
    seen: Option<(SystemTime, Instant)>,
}

impl Pulse {
    /// Whether something was appended since the last time, or that is long ago.
    pub fn beats(&mut self, control_plane: &ControlPlane) -> anyhow::Result<bool> {
        let changed = control_plane.last_change()?;
        let stale = self.seen.is_none_or(|(at, asked)| at != changed || asked.elapsed() >= ASK_AGAIN);
        if stale {
            self.seen = Some((changed, Instant::now()));
        }
        Ok(stale)
    }
}

/// A control plane.
#[derive(Debug)]
pub struct ControlPlane {
    place: Place,
    state: PathBuf,
    logs: PathBuf,
    process: Option<Child>,
    beat: Beat,
}

/// Whether a control plane's process, whichever it is now, holds itself. Shared with those who ask it.
#[derive(Debug, Clone, Default)]
pub struct Beat {
    pid: Arc<AtomicU32>,
}

impl Beat {
    /// Whether it does.
    pub fn is_held(&self) -> anyhow::Result<bool> {
        match self.pid.load(Ordering::Relaxed) {
            0 => Ok(false),
            pid => signs::is_held(pid),
        }
    }
}

impl ControlPlane {
    /// Makes its folder, with fixed ports on this address.
    pub fn init(place: &Place, folder: &Path, address: Ipv4Addr) -> anyhow::Result<Self> {
        let state = folder.join("control-plane");
        let mut command = place.command(&programs::program(programs::CONTROL_PLANE)?);
        command.arg("init").arg("--state").arg(&state);
        command.args(["--trust-domain", TRUST_DOMAIN, "--operator", OPERATOR]);
        for port in ["agents", "enrol", "operators"] {
            command.arg(format!("--{port}")).arg(format!("{address}:{}", programs::own_port()));
        }
        process::output(&mut command).context("make the control plane's folder")?;
        Ok(Self { place: place.clone(), state, logs: folder.to_owned(), process: None, beat: Beat::default() })
    }

    /// Starts it and waits until it listens, or, when it is to be held, until it does either.
    pub fn start(&mut self, hold: Hold) -> anyhow::Result<()> {
        let listening = self.state.join("listening.json");
        // What a killed one left behind says nothing about this one.
        if listening.exists() {
            fs::remove_file(&listening).context("remove the old addresses")?;
        }
        let mut command = self.place.command(&programs::program(programs::CONTROL_PLANE)?);
        command.arg("run").arg("--state").arg(&self.state).env("FETTLE_LOG", "info");
        if let Hold::At(number, when) = hold {
            command.env("FETTLE_HOLD_AT", number.to_string()).env("FETTLE_HOLD_WHEN", when.as_str());
        }
        let mut process = Child::spawn("control-plane", &mut command, &self.logs)?;
        let pid = process.id();
        self.beat.pid.store(pid, Ordering::Relaxed);
        process.wait_until("the control plane listens", START_PATIENCE, || {
            Ok((listening.exists() || signs::is_held(pid)?).then_some(()))
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Adds a table to its configuration, which it reads when it starts.
    pub fn configure(&self, table: &str) -> anyhow::Result<()> {
        let path = self.state.join("controlplane.toml");
        let text = fs::read_to_string(&path).context("read the configuration")?;
        fs::write(&path, text + table).context("write the configuration")
    }

    /// Whether it has stopped itself at its hold point.
    pub fn is_held(&self) -> anyhow::Result<bool> {
        self.beat.is_held()
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.beat.pid.store(0, Ordering::Relaxed);
        self.process.take().context("the control plane does not run")?.kill().map(drop)
    }

    /// Ends it in order.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.beat.pid.store(0, Ordering::Relaxed);
        let mut process = self.process.take().context("the control plane does not run")?;
        let status = process.stop(STOP_PATIENCE)?;
        if !status.success() {
            bail!("the control plane ended with {status} after SIGTERM: {}", process.report());
        }
        Ok(())
    }

    /// Where it listens.
    pub fn addresses(&self) -> anyhow::Result<Addresses> {
        let text = fs::read_to_string(self.state.join("listening.json")).context("read its addresses")?;
        serde_json::from_str(&text).with_context(|| format!("its addresses: {text}"))
    }

    /// The folder of the first operator's profile.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.state.join("operator")
    }

    /// Whether it holds itself, for those who ask it.
    #[must_use]
    pub(crate) fn beat(&self) -> Beat {
        self.beat.clone()
    }

    /// Where it runs.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// When anything in its folder last changed.
    fn last_change(&self) -> anyhow::Result<SystemTime> {
        let mut newest = SystemTime::UNIX_EPOCH;
        for entry in fs::read_dir(&self.state).context("list the control plane's folder")? {
            // A temporary file may be gone again.
            if let Ok(changed) = entry?.metadata().and_then(|metadata| metadata.modified()) {
                newest = newest.max(changed);
            }
        }
        Ok(newest)
    }

    /// The last lines of its log, for a failure.
    #[must_use]
    pub fn report(&self) -> String {
        process::tail(&self.logs.join("control-plane.log")).unwrap_or_else(|error| format!("{error:#}"))
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // A held one would not see the SIGTERM that ends it.
        if let Some(process) = &mut self.process
            && let Err(error) = process.signal(Signal::CONT)
        {
            eprintln!("{error:#}");
        }
    }
}
