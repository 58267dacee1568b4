//! Host calls as data: what a playbook asks of its host, and what it is answered.
//!
//! The worker turns each WIT call into a [`Call`] and waits for the [`Reply`]; the effector answers
//! from the run's journal while it replays, otherwise by looking at or changing the host. The same
//! two enums are what the journal keeps and what simulated and predicted capabilities speak. They
//! mirror `wasm-sdk/wit` one to one; nothing here does I/O.

use fettle_model::name::Label;
use fettle_model::playbook::Action;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// An opaque version of something observed; at most [`MAX_REVISION_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub String);

/// Longest revision: a hex SHA-256 and a prefix fit.
pub const MAX_REVISION_BYTES: usize = 128;
/// Longest other text in a call, and all the values of one line together. With it 10 000 calls make
/// a journal of at most some 25 MB.
pub const MAX_ARGUMENT_BYTES: usize = 1_024;

impl Revision {
    fn is_bounded(&self) -> bool {
        self.0.len() <= MAX_REVISION_BYTES
    }
}

/// One host call. Handles are named by their label: a label opens to one thing per run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "interface", content = "call")]
pub enum Call {
    /// Time.
    Clock(ClockCall),
    /// What the playbook says to people.
    Log(LogCall),
    /// Facts about the host.
    Facts(FactsCall),
    /// A service.
    Service {
        /// Which one.
        label: Label,
        /// What.
        op: ServiceCall,
    },
    /// A deployable's releases.
    Release {
        /// Which one.
        label: Label,
        /// What.
        op: ReleaseCall,
    },
    /// A feature flag.
    Flag {
        /// Which one.
        label: Label,
        /// What.
        op: FlagCall,
    },
    /// A check's health.
    Health {
        /// Which one.
        label: Label,
        /// What.
        op: HealthCall,
    },
}

/// Calls of `clock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op", deny_unknown_fields)]
pub enum ClockCall {
    /// The journalled time.
    Now,
    /// Milliseconds left before the host ends the run.
    Remaining,
    /// Durable sleep.
    Sleep {
        /// How long.
        duration_ms: u32,
    },
}

/// Calls of `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op", deny_unknown_fields)]
pub enum LogCall {
    /// A line for people.
    Event {
        /// How loud.
        level: LogLevel,
        /// The line.
        message: String,
        /// Named values.
        fields: Vec<(String, String)>,
    },
    /// A phase begins.
    Phase {
        /// Its name.
        name: String,
    },
}

/// Level of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// For the reader.
    Info,
    /// For attention.
    Warn,
}

/// Calls of `facts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op", deny_unknown_fields)]
pub enum FactsCall {
    /// One fact by its key.
    Get {
        /// The key: `os.id`, `os.version`, `architecture`, `host.name`, `memory.total-bytes`, `cpus`.
        key: String,
    },
}

/// Calls of `services`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op", deny_unknown_fields)]
pub enum ServiceCall {
    /// Resolve the label.
    Open,
    /// Look.
    Status,
    /// Last lines of its log.
    Tail {
        /// How many; at most 500.
        lines: u16,
    },
    /// Start, stop, restart or reload it; [`Action::kind`] must be `service`.
    Change {
        /// Which.
        action: Action,
        /// The revision that was observed.
        expect: Revision,
    },
    /// Wait for an activity.
    WaitFor {
        /// Which.
        activity: Activity,
        /// How long.
        timeout_ms: u32,
    },
}

/// Calls of `releases`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op", deny_unknown_fields)]
pub enum ReleaseCall {
    /// Resolve the label.
    Open,
    /// The current release.
    Current,
    /// Newest first, at most 20.
    History,
    /// Make one current.
    Activate {
        /// Which.
        release: String,
        /// The revision that was observed.
        expect: Revision,
    },
    /// Wait until the current release serves.
    WaitSettled {
        /// How long.
        timeout_ms: u32,
    },
}

/// Calls of `feature-flags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op", deny_unknown_fields)]
pub enum FlagCall {
    /// Resolve the label.
    Open,
    /// Its value.
    Read,
    /// Set it for a while.
    Set {
        /// To which variant.
        value: String,
        /// The revision that was observed.
        expect: Revision,
        /// For how long; the old value comes back afterwards.
        hold_ms: u32,
    },
}

/// Calls of `health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "op", deny_unknown_fields)]
pub enum HealthCall {
    /// Resolve the label.
    Open,
    /// Probe now.
    Probe,
    /// Wait until it was healthy without interruption.
    WaitHealthy {
        /// For so long.
        stable_for_ms: u32,
        /// Within so long.
        timeout_ms: u32,
    },
}

/// The answer to a [`Call`]; which variant fits which call is in [`Call::accepts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply", content = "value")]
pub enum Reply {
    /// Nothing to say.
    Unit,
    /// `clock.now`.
    Time(UnixMillis),
    /// `clock.remaining`.
    Millis(u32),
    /// `*.open`.
    Opened(Result<(), OpenError>),
    /// `facts.get`.
    Fact(Result<Fact, ReadError>),
    /// `service.status`, `service.wait-for`.
    Service(Result<ServiceStatus, ReadError>),
    /// `service.tail`.
    Lines(Result<Vec<String>, ReadError>),
    /// `release.current`.
    CurrentRelease(Result<(ReleaseInfo, Revision), ReadError>),
    /// `release.history`.
    Releases(Result<Vec<ReleaseInfo>, ReadError>),
    /// `release.wait-settled`.
    Settled(Result<ReleaseInfo, ReadError>),
    /// `flag.read`.
    Flag(Result<FlagSetting, ReadError>),
    /// `health.probe`, `health.wait-healthy`.
    Health(Result<HealthReport, ReadError>),
    /// Every changing call.
    Acted(Result<Receipt, ActError>),
}

/// Whether a call may change the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It only looks (or sleeps, or speaks).
    Observes,
    /// It changes something.
    Changes(Action),
}

impl Call {
    /// Whether it may change the host.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match self {
            Self::Service { op: ServiceCall::Change { action, .. }, .. } => Effect::Changes(*action),
            Self::Release { op: ReleaseCall::Activate { .. }, .. } => Effect::Changes(Action::Activate),
            Self::Flag { op: FlagCall::Set { .. }, .. } => Effect::Changes(Action::Set),
            Self::Clock(_)
            | Self::Log(_)
            | Self::Facts(_)
            | Self::Service { .. }
            | Self::Release { .. }
            | Self::Flag { .. }
            | Self::Health { .. } => Effect::Observes,
        }
    }

    /// The label that it names, if any.
    #[must_use]
    pub const fn label(&self) -> Option<&Label> {
        match self {
            Self::Service { label, .. }
            | Self::Release { label, .. }
            | Self::Flag { label, .. }
            | Self::Health { label, .. } => Some(label),
            Self::Clock(_) | Self::Log(_) | Self::Facts(_) => None,
        }
    }

    /// Whether every text in it is as short as it has to be. Longer ones never reach the journal.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let short = |text: &str| text.len() <= MAX_ARGUMENT_BYTES;
        match self {
            Self::Clock(_) | Self::Health { .. } => true,
            Self::Log(LogCall::Phase { name }) => short(name),
            Self::Log(LogCall::Event { message, fields, .. }) => {
                // Each field weighs one byte at least, so that empty ones do not come without end.
                let weight: usize = fields.iter().map(|(key, value)| key.len() + value.len() + 1).sum();
                short(message) && weight <= MAX_ARGUMENT_BYTES
            }
            Self::Facts(FactsCall::Get { key }) => short(key),
            Self::Service { op: ServiceCall::Change { expect, .. }, .. } => expect.is_bounded(),
            Self::Release { op: ReleaseCall::Activate { release, expect }, .. } => {
                short(release) && expect.is_bounded()
            }
            Self::Flag { op: FlagCall::Set { value, expect, .. }, .. } => short(value) && expect.is_bounded(),
            Self::Service { .. } | Self::Release { .. } | Self::Flag { .. } => true,
        }
    }

    /// Whether this reply is of the shape that the call returns. A reply of another shape never
    /// reaches the component: the run ends `in-doubt` (a journal that does not fit).
    #[must_use]
    pub const fn accepts(&self, reply: &Reply) -> bool {
        match self {
            Self::Clock(ClockCall::Now) => matches!(reply, Reply::Time(_)),
            Self::Clock(ClockCall::Remaining) => matches!(reply, Reply::Millis(_)),
            Self::Clock(ClockCall::Sleep { .. }) | Self::Log(_) => matches!(reply, Reply::Unit),
            Self::Facts(FactsCall::Get { .. }) => matches!(reply, Reply::Fact(_)),
            Self::Service { op, .. } => match op {
                ServiceCall::Open => matches!(reply, Reply::Opened(_)),
                ServiceCall::Status | ServiceCall::WaitFor { .. } => matches!(reply, Reply::Service(_)),
                ServiceCall::Tail { .. } => matches!(reply, Reply::Lines(_)),
                ServiceCall::Change { .. } => matches!(reply, Reply::Acted(_)),
            },
            Self::Release { op, .. } => match op {
                ReleaseCall::Open => matches!(reply, Reply::Opened(_)),
                ReleaseCall::Current => matches!(reply, Reply::CurrentRelease(_)),
                ReleaseCall::History => matches!(reply, Reply::Releases(_)),
                ReleaseCall::Activate { .. } => matches!(reply, Reply::Acted(_)),
                ReleaseCall::WaitSettled { .. } => matches!(reply, Reply::Settled(_)),
            },
            Self::Flag { op, .. } => match op {
                FlagCall::Open => matches!(reply, Reply::Opened(_)),
                FlagCall::Read => matches!(reply, Reply::Flag(_)),
                FlagCall::Set { .. } => matches!(reply, Reply::Acted(_)),
            },
            Self::Health { op, .. } => match op {
                HealthCall::Open => matches!(reply, Reply::Opened(_)),
                HealthCall::Probe | HealthCall::WaitHealthy { .. } => matches!(reply, Reply::Health(_)),
            },
        }
    }
}

/// Why a label could not be turned into a handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "error", content = "detail")]
pub enum OpenError {
    /// Not in the manifest, or of another kind.
    Undeclared,
    /// Nothing is bound to it here.
    Unbound,
    /// Policy forbids it for this run.
    Denied(String),
}

/// Why an observation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "error", content = "detail")]
pub enum ReadError {
    /// It is not there.
    NotFound,
    /// It took too long.
    Timeout,
    /// It cannot be asked now.
    Unavailable(String),
    /// It is larger than may be read; its size.
    TooLarge(u64),
    /// It makes no sense.
    Malformed(String),
}

/// Why an action did not (provably) happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "error", content = "detail")]
pub enum ActError {
    /// Not allowed. Nothing was done.
    Denied(String),
    /// The thing moved since it was observed. Nothing was done. Its revision now.
    Stale(Revision),
    /// Not in the approved plan. Nothing was done; the run ends.
    OffPlan,
    /// A budget is used up. Nothing was done.
    Exhausted(String),
    /// Tried and failed; the thing is unchanged.
    Failed(String),
    /// Tried, and what came of it cannot be told.
    Indeterminate(String),
}

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "value")]
pub enum Fact {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// Several texts.
    Texts(Vec<String>),
}

/// A service's activity, in systemd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activity {
    /// It runs.
    Active,
    /// It does not.
    Inactive,
    /// It is starting.
    Activating,
    /// It is stopping.
    Deactivating,
    /// It ended badly.
    Failed,
}

/// A service as observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceStatus {
    /// What it does.
    pub activity: Activity,
    /// Since when.
    pub since: UnixMillis,
    /// How often it was restarted in the last hour, as far as the manager knows.
    pub restarts_last_hour: u32,
    /// Its main process.
    pub main_pid: Option<u32>,
    /// Changes whenever it is started or stopped.
    pub revision: Revision,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseInfo {
    /// Its id: the folder's name.
    pub id: String,
    /// Its version for people.
    pub version: String,
    /// When it was last made current, where known.
    pub activated: Option<UnixMillis>,
    /// Whether it is known to be good.
    pub known_good: Goodness,
}

/// What is known of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goodness {
    /// Its deployer, or a long time in service, says that it is good.
    KnownGood,
    /// Nothing is known.
    Unproven,
}

/// A flag as observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagSetting {
    /// Its variant, such as `on` or `off`.
    pub value: String,
    /// Changes whenever the flag's definition does.
    pub revision: Revision,
}

/// A check as observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthReport {
    /// What it says.
    pub verdict: Verdict,
    /// In words.
    pub reasons: Vec<String>,
}

/// A check's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Passing.
    Healthy,
    /// Warning.
    Degraded,
    /// Critical.
    Unhealthy,
    /// Cannot be told.
    Unknown,
}

/// Receipt of an action that is journalled as done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The same on every replay.
    pub action_id: String,
    /// How it can be undone.
    pub undo: fettle_model::run::UndoClass,
    /// Whether anything was changed.
    pub change: fettle_model::run::Change,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{activate, change, phase, set, status};

    #[track_caller]
    fn check(call: impl Fn(usize) -> Call, longest: usize) {
        assert!(call(longest).is_bounded() && !call(longest + 1).is_bounded(), "{}", call(1));
    }

    #[test]
    fn every_text_in_a_call_has_a_bound() {
        let text = |length: usize| "x".repeat(length);
        check(|length| change(Action::Stop, &text(length)), MAX_REVISION_BYTES);
        check(|length| activate("r1", &text(length)), MAX_REVISION_BYTES);
        check(|length| activate(&text(length), "r"), MAX_ARGUMENT_BYTES);
        check(|length| set("off", &text(length), 1), MAX_REVISION_BYTES);
        check(|length| set(&text(length), "r", 1), MAX_ARGUMENT_BYTES);
        check(|length| phase(&text(length)), MAX_ARGUMENT_BYTES);
        check(|length| Call::Facts(FactsCall::Get { key: text(length) }), MAX_ARGUMENT_BYTES);
        let event = |message: String, fields| Call::Log(LogCall::Event { level: LogLevel::Info, message, fields });
        check(|length| event(text(length), Vec::new()), MAX_ARGUMENT_BYTES);
        check(|length| event(String::new(), vec![(String::new(), text(length - 1))]), MAX_ARGUMENT_BYTES);
        check(|length| event(String::new(), vec![(String::new(), String::new()); length]), MAX_ARGUMENT_BYTES);
        assert!(status().is_bounded());
    }
}
