//! Incidents: what people are called to.

use crate::check::CheckRef;
use crate::counter::ConfigurationGeneration;
use crate::escalation::Tried;
use crate::id::{BreakGlassId, HostId, IncidentId, RunId};
use crate::identity::HeldRole;
use crate::name::PersonName;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// An incident was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentOpened {
    /// Its id.
    pub incident: IncidentId,
    /// The host, where it is about one.
    pub host: Option<HostId>,
    /// The check, where one is concerned.
    pub check: Option<CheckRef>,
    /// Why people are called.
    pub cause: IncidentCause,
}

/// Why people are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum IncidentCause {
    /// The last attempt did not help, or the last rung's turn is over.
    AttemptsExhausted {
        /// How many there were.
        attempts: u32,
        /// What was tried, in order, the newest [`crate::escalation::MAX_TRIED`]; empty without a list.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tried: Vec<Tried>,
    },
    /// A run ended in doubt, or never reported.
    InDoubt {
        /// The run.
        run: RunId,
    },
    /// An agent reports a step that cannot be taken back and that it did not announce in the log.
    Unannounced {
        /// The run.
        run: RunId,
        /// The step's number.
        number: u32,
    },
    /// Two people broke the glass: one of them holds a role for a while that they were not given.
    BrokenGlass {
        /// Which ask.
        ask: BreakGlassId,
        /// Who holds it.
        person: PersonName,
        /// Which role, and where.
        role: HeldRole,
        /// Who confirmed it.
        confirmed_by: PersonName,
        /// When it ends by itself.
        until: UnixMillis,
    },
    /// The playbook asks for a person.
    Escalated {
        /// The run.
        run: RunId,
        /// In its words.
        summary: String,
    },
    /// A rollout halted; the host is where it showed first.
    RolloutHalted {
        /// The configuration that is rolled out.
        generation: ConfigurationGeneration,
    },
    /// A host cannot hold a configuration that was set everywhere at once. One incident for all such hosts.
    ConfigurationRejected {
        /// The configuration.
        generation: ConfigurationGeneration,
    },
}

/// Whether people are called at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// It may wait while a mute is in force: nothing gets worse by that, or automation goes on.
    Routine,
    /// No mute holds it.
    Urgent,
}

impl IncidentCause {
    /// Whether people are called at once.
    #[must_use]
    pub const fn urgency(&self) -> Urgency {
        match self {
            // Nobody else will act, nobody knows what was done, an agent breaks its rules, or somebody holds more than
            // they were given.
            Self::AttemptsExhausted { .. }
            | Self::InDoubt { .. }
            | Self::Unannounced { .. }
            | Self::BrokenGlass { .. } => Urgency::Urgent,
            // Attempts are left, or what was in force before is in force.
            Self::Escalated { .. } | Self::RolloutHalted { .. } | Self::ConfigurationRejected { .. } => {
                Urgency::Routine
            }
        }
    }

    /// The run that it is about, where it is about one.
    #[must_use]
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::InDoubt { run } | Self::Escalated { run, .. } | Self::Unannounced { run, .. } => Some(*run),
            Self::AttemptsExhausted { .. }
            | Self::BrokenGlass { .. }
            | Self::RolloutHalted { .. }
            | Self::ConfigurationRejected { .. } => None,
        }
    }
}
