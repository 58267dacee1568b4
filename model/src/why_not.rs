//! Whether a playbook would act on a service now, host by host: everything that speaks against it, as data.
//!
//! Made by the control plane's core for a question, from the log as it stands; never a record, and no promise: the
//! next record may change it. What is in the log for it is named by position.

use crate::check::{CheckRef, Status};
use crate::counter::LogPosition;
use crate::name::{EnvironmentName, HostName, RemediationName};
use crate::refusal::Reason;
use crate::time::UnixMillis;
use crate::withheld::Hindrances;
use serde::{Deserialize, Serialize};

/// How it stands with one host and one check that the playbook may answer there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyNot {
    /// The host.
    pub host: HostName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The remediation and its check; `None` where none binds the playbook to this service.
    pub answer: Option<(RemediationName, CheckRef)>,
    /// Why the host does not ask for a permit. Empty: it does, or would.
    pub before: Vec<Before>,
    /// Every reason for which a request of now would be refused. Empty: it would be granted.
    pub reasons: Vec<Reason>,
    /// When the agent would ask again by itself; `None`: only when something changes.
    pub retry_at: Option<UnixMillis>,
    /// The newest refusal about the check there.
    pub refused: Option<LogPosition>,
}

/// One thing that keeps a host from asking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule", deny_unknown_fields)]
pub enum Before {
    /// No remediation binds the playbook to a check of the service.
    NoRemediation,
    /// The host has never reported the check.
    NeverReported,
    /// The check is not critical, so there is nothing to mend.
    NotCritical {
        /// What it is.
        status: Status,
        /// The record of that.
        position: LogPosition,
    },
    /// The agent said that its host cannot run the playbook.
    Withheld {
        /// Everything that hinders it.
        because: Hindrances,
        /// Where it said so.
        position: LogPosition,
    },
}

impl Before {
    /// Its name in documents and tables.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NoRemediation => "no-remediation",
            Self::NeverReported => "never-reported",
            Self::NotCritical { .. } => "not-critical",
            Self::Withheld { .. } => "withheld",
        }
    }
}
