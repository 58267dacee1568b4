//! Checks: what is probed, how often, and when a change of status counts.

use crate::counter::TransitionEpoch;
use crate::name::{CheckName, ServiceName};
use crate::time::{UnixMillis, millis};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Shortest interval between two probes of one check: 20 checks at this pace are 200 probes a
/// second, about 2 % of one core on the machine that this was measured on.
pub const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Longest a probe may take, so that a hanging check cannot hide a host for longer.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// What a probe says of a service on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As it should be.
    Passing,
    /// Not as it should be, and not yet to be acted upon.
    Warning,
    /// Broken: remediations apply.
    Critical,
    /// The probe itself could not tell. Never acted upon.
    Unknown,
}

impl Status {
    /// The status as it stands in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

/// A check of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name, unique within the service.
    pub name: CheckName,
    /// What is probed.
    pub probe: Probe,
    /// Time from the start of one probe to the start of the next.
    #[serde(with = "millis", rename = "interval_ms")]
    pub interval: Duration,
    /// After this long a probe counts as critical (the service did not answer).
    #[serde(with = "millis", rename = "timeout_ms")]
    pub timeout: Duration,
    /// Consecutive probes of a worse status before it is a transition; at least 1.
    pub fail_after: u32,
    /// Consecutive probes of a better status before it is a transition; at least 1.
    pub recover_after: u32,
}

/// What a check looks at. Things that differ between hosts (an address, a unit) may be `{host.x}`
/// references that the agent's own configuration resolves; see [`HostValue`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Probe {
    /// GET the URL; the status code and, where given, the body decide.
    Http {
        /// `http://` or `https://`.
        url: HostValue,
        /// Codes that pass; empty means 200 to 299.
        #[serde(default)]
        expect_status: Vec<u16>,
        /// Text that the first 64 KiB of the body must contain.
        #[serde(default)]
        expect_body: Option<String>,
        /// What it means when nobody answers.
        #[serde(default)]
        no_answer: NoAnswer,
    },
    /// Connect to `host:port`.
    Tcp {
        /// `host:port`.
        address: HostValue,
    },
    /// A process must live. Event-driven: its end is noticed at once through a pidfd.
    Process {
        /// Where the process id is found.
        pid_file: HostValue,
    },
    /// A systemd unit must be active. Event-driven: D-Bus signals.
    SystemdUnit {
        /// The unit's name, with its suffix.
        unit: HostValue,
    },
    /// A resource of the host must stay below its thresholds.
    Resource {
        /// Which one.
        resource: Resource,
        /// At or above this many percent in use: warning.
        warning_percent: u8,
        /// At or above this many percent in use: critical.
        critical_percent: u8,
    },
    /// A file must exist (or not), and be fresh. Event-driven: inotify.
    File {
        /// Absolute path.
        path: HostValue,
        /// Whether it must exist.
        must: Presence,
        /// When it must exist: not older than this.
        #[serde(default, with = "optional_millis", rename = "max_age_ms")]
        max_age: Option<Duration>,
    },
    /// Nagios plugin protocol: exit 0 passing, 1 warning, 2 critical, else unknown. The host owner
    /// registers the command's argv under this name; the control plane sends no argv.
    Command {
        /// The name under which the agent's own configuration registers it.
        command: CheckName,
    },
}

/// What an HTTP probe says of a service that does not answer at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoAnswer {
    /// It is broken.
    #[default]
    Critical,
    /// Nothing: the check is about what is answered, and another check is about whether. So one fault,
    /// a dead process, is not answered by two remediations.
    Unknown,
}

/// A value that is the same on all hosts, or one that each host's own configuration gives.
///
/// In text, `{host.address}` refers to the key `address` of the service's table in the agent's own
/// configuration. One reference may stand anywhere in the text, for example
/// `http://{host.address}/healthz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostValue(pub String);

/// A resource of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "of", deny_unknown_fields)]
pub enum Resource {
    /// All cores together, over the interval.
    Cpu,
    /// Memory that is not available.
    Memory,
    /// Swap.
    Swap,
    /// The file system that holds this path.
    Disk {
        /// Absolute path.
        path: String,
    },
}

/// Whether a file must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Its absence is critical.
    Exist,
    /// Its presence is critical.
    BeAbsent,
}

/// Names one check of one service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRef {
    /// The service.
    pub service: ServiceName,
    /// The check.
    pub check: CheckName,
}

impl std::fmt::Display for CheckRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.check)
    }
}

/// A check's change of status on one host, after damping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// Which check.
    pub of: CheckRef,
    /// Counts the changes of this check on this host.
    pub epoch: TransitionEpoch,
    /// Before.
    pub from: Status,
    /// After.
    pub to: Status,
    /// When the agent saw it.
    pub at: UnixMillis,
    /// One line from the probe, for people; at most [`MAX_REASON_BYTES`], no control characters.
    pub reason: String,
}

/// Longest reason of a transition: a line on a wide screen, twice.
pub const MAX_REASON_BYTES: usize = 400;

mod optional_millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    #[expect(clippy::ref_option, reason = "serde's `with` fixes this signature")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_some(&crate::time::whole_millis(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}
