//! The kinds of probe. The schedule prepares one [`Prober`] for each check and asks it again and again.
//!
//! A prober parses its definition once. It never retries and never damps. Event-driven kinds
//! say when they should be asked early: [`Prober::event`]; the others never do.

pub mod bus;
mod command;
mod dial;
mod file;
mod http;
mod look;
mod process;
mod ready;
mod resource;
mod systemd;
mod tcp;
mod tls;

#[cfg(test)]
mod tests;

use super::observation::Verdict;
use super::reason::Reason;
use super::schedule::Clock;
use fettle_model::check::{Check, Probe};
use fettle_model::name::CheckName;
use fettle_model::time::HumanDuration;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) use look::Looks;

/// What probers share.
#[derive(Clone)]
pub(super) struct Surroundings {
    /// argv of the commands that the host's owner registered.
    pub(super) commands: Arc<BTreeMap<CheckName, Vec<String>>>,
    /// The one connection to systemd.
    pub(super) bus: bus::Bus,
    /// Whom `https` probes trust.
    pub(super) trust: tls::Trust,
    /// Tells the wall-clock time.
    pub(super) clock: Clock,
}

impl Surroundings {
    pub(super) fn new(commands: BTreeMap<CheckName, Vec<String>>, address: bus::BusAddress, clock: Clock) -> Self {
        Self { commands: Arc::new(commands), bus: bus::Bus::new(address), trust: tls::Trust::of_platform(), clock }
    }
}

/// Asks one check's question.
pub(super) enum Prober {
    Http(Box<http::Http>),
    Tcp(tcp::Tcp),
    Process(process::Process),
    SystemdUnit(Box<systemd::SystemdUnit>),
    Resource(resource::ResourceUse),
    File(file::File),
    Command(command::Command),
    /// The definition has no meaning on this host.
    Senseless(Reason),
}

impl Prober {
    /// Parses the definition. Call it inside a tokio runtime.
    pub(super) fn prepare(check: &Check, surroundings: &Surroundings, looks: &Looks) -> Self {
        let prepared = match &check.probe {
            Probe::Http { url, expect_status, expect_body, no_answer } => {
                let wanted =
                    http::Wanted { status: expect_status.clone(), body: expect_body.clone(), no_answer: *no_answer };
                http::Http::prepare(&url.0, wanted, &surroundings.trust).map(|http| Self::Http(Box::new(http)))
            }
            Probe::Tcp { address } => Ok(Self::Tcp(tcp::Tcp::new(&address.0))),
            Probe::Process { pid_file } => process::Process::prepare(&pid_file.0, looks.clone()).map(Self::Process),
            Probe::SystemdUnit { unit } => {
                Ok(Self::SystemdUnit(Box::new(systemd::SystemdUnit::new(&unit.0, &surroundings.bus))))
            }
            Probe::Resource { resource, warning_percent, critical_percent } => {
                let levels = resource::Levels { warning: *warning_percent, critical: *critical_percent };
                resource::ResourceUse::prepare(resource, levels, looks.clone()).map(Self::Resource)
            }
            Probe::File { path, must, max_age } => {
                file::File::prepare(&path.0, *must, *max_age, surroundings.clock, looks.clone()).map(Self::File)
            }
            Probe::Command { command } => command::Command::prepare(command, &surroundings.commands).map(Self::Command),
        };
        prepared.unwrap_or_else(Self::Senseless)
    }

    /// One verdict, within the limit.
    // CANCEL: each kind changes its state only after its last await, or in a way that the next probe repairs.
    pub(super) async fn probe_within(&mut self, limit: Duration) -> Verdict {
        match tokio::time::timeout(limit, self.probe()).await {
            Ok(verdict) => verdict,
            Err(_) => self.overdue(limit),
        }
    }

    async fn probe(&mut self) -> Verdict {
        match self {
            Self::Http(http) => Box::pin(http.probe()).await,
            Self::Tcp(tcp) => tcp.probe().await,
            Self::Process(process) => process.probe().await,
            Self::SystemdUnit(unit) => Box::pin(unit.probe()).await,
            Self::Resource(resource) => resource.probe().await,
            Self::File(file) => file.probe().await,
            Self::Command(command) => Box::pin(command.probe()).await,
            Self::Senseless(reason) => Verdict::unknown(reason.as_str()),
        }
    }

    /// Waits until there is a reason to probe before the interval is over.
    pub(super) async fn event(&mut self) {
        match self {
            Self::Process(process) => process.event().await,
            Self::SystemdUnit(unit) => unit.event().await,
            Self::File(file) => file.event().await,
            Self::Http(_) | Self::Tcp(_) | Self::Resource(_) | Self::Command(_) | Self::Senseless(_) => {
                std::future::pending::<()>().await;
            }
        }
    }

    /// A service that does not answer is broken; a kernel, a file system or a bus that does not answer
    /// says nothing of the service.
    fn overdue(&self, limit: Duration) -> Verdict {
        let limit = HumanDuration(limit);
        match self {
            Self::Http(http) => http.silence(&format!("timed out: no answer within {limit}")),
            Self::Tcp(_) | Self::Command(_) => Verdict::critical(&format!("timed out: no answer within {limit}")),
            Self::Process(_) | Self::SystemdUnit(_) | Self::Resource(_) | Self::File(_) | Self::Senseless(_) => {
                Verdict::unknown(&format!("timed out: the host did not tell within {limit}"))
            }
        }
    }
}
