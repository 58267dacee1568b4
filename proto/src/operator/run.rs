//! Runs as people are shown them. Answers [`Query::Runs`](super::Query::Runs) and [`Query::Run`](super::Query::Run).

use fettle_model::check::CheckRef;
use fettle_model::counter::LogPosition;
use fettle_model::id::RunId;
use fettle_model::name::{HostName, PlaybookName};
use fettle_model::permit::{Permit, PermitRejection};
use fettle_model::run::{Ending, RunRecord};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRow {
    /// Its id.
    pub run: RunId,
    /// The host.
    pub host: HostName,
    /// The playbook, or `None` for an injected fault.
    pub playbook: Option<PlaybookName>,
    /// The check that it answers.
    pub check: Option<CheckRef>,
    /// When its permit was granted.
    pub granted_at: UnixMillis,
    /// How it stands.
    pub state: RunState,
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum RunState {
    /// Its permit is out.
    InFlight,
    /// It ended.
    Ended {
        /// How.
        ending: Ending,
        /// When.
        at: UnixMillis,
    },
    /// The agent refused the permit.
    Rejected {
        /// Why.
        because: PermitRejection,
    },
    /// It never reported.
    Unresolved,
    /// It was no run but a budget given in advance, which its agent gave back.
    Returned {
        /// Runs that were begun under it.
        used: u32,
        /// When.
        at: UnixMillis,
    },
    /// It was no run but a budget given in advance, which was not given back in time.
    Expired {
        /// When its slot was taken back.
        at: UnixMillis,
    },
}

/// Everything known of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDetail {
    /// The row.
    pub row: RunRow,
    /// The permit.
    pub permit: Permit,
    /// Where the permit is in the log.
    pub granted_position: LogPosition,
    /// The agent's account.
    pub record: Option<RunRecord>,
    /// Where the account is in the log.
    pub ended_position: Option<LogPosition>,
}
