//! Schedules: drills that come again by a calendar, so that evidence does not run out unseen.

use crate::calendar::Moments;
use crate::escalation::Rung;
use crate::id::HostId;
use crate::name::{RemediationName, ScheduleName};
use crate::service::Selector;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Schedules that a configuration may declare: a drill a night for each of two months' worth of remediations.
pub const MAX_SCHEDULES: usize = 64;

/// Drills of one remediation's playbook, again and again. Each time one host is drilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// The remediation whose playbook is drilled.
    pub remediation: RemediationName,
    /// Which playbook of its list.
    #[serde(default)]
    pub rung: Rung,
    /// Which of the manifest's drills, from 0.
    pub drill: u32,
    /// From which hosts the one that is drilled is chosen: those in staging whose owners allow it.
    pub hosts: Selector,
    /// When it is due.
    pub at: Moments,
}

/// A due time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DueTime {
    /// The schedule.
    pub schedule: ScheduleName,
    /// When it was due: one of its moments.
    pub due: UnixMillis,
}

/// A drill that was due was not started. The next due time is another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRefused {
    /// What was due.
    pub was: DueTime,
    /// The host that would have been drilled, where there was one.
    pub host: Option<HostId>,
    /// Why, for people.
    pub reason: String,
}
