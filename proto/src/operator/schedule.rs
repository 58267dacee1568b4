//! Schedules of drills as the operators' API tells them.

use fettle_model::evidence::DrillResult;
use fettle_model::id::DrillId;
use fettle_model::name::{HostName, RemediationName, ScheduleName};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A schedule, when it is due, and what became of its newest due time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRow {
    /// Its name.
    pub schedule: ScheduleName,
    /// The remediation whose playbook it drills.
    pub remediation: RemediationName,
    /// When it is due next; `None` after the year 9999.
    pub next: Option<UnixMillis>,
    /// Its newest due time; `None`: there was none yet.
    pub last: Option<LastDue>,
}

/// A due time that was handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastDue {
    /// When it was due.
    pub due: UnixMillis,
    /// What became of it.
    pub end: DueEnd,
}

/// What became of a due time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum DueEnd {
    /// A drill began.
    Drilled {
        /// The drill.
        drill: DrillId,
        /// Its host, while that is known.
        host: Option<HostName>,
        /// How it ended; `None`: it runs, or ended long ago.
        result: Option<DrillResult>,
    },
    /// None began.
    Refused {
        /// Why.
        reason: String,
    },
}
