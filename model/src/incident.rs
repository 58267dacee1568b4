//! Incidents: what people are called to.

use crate::check::CheckRef;
use crate::id::{HostId, IncidentId, RunId};
use serde::{Deserialize, Serialize};

/// An incident was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentOpened {
    /// Its id.
    pub incident: IncidentId,
    /// The host.
    pub host: HostId,
    /// The check, where one is concerned.
    pub check: Option<CheckRef>,
    /// Why people are called.
    pub cause: IncidentCause,
}

/// Why people are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum IncidentCause {
    /// The last attempt did not help.
    AttemptsExhausted {
        /// How many there were.
        attempts: u32,
    },
    /// A run ended in doubt, or never reported.
    InDoubt {
        /// The run.
        run: RunId,
    },
    /// The playbook asks for a person.
    Escalated {
        /// The run.
        run: RunId,
        /// In its words.
        summary: String,
    },
}
