//! Schedules of drills: when they are due, and how the newest due time was handled.

use crate::core::schedules::Handled;
use crate::core::state::State;
use fettle_model::name::{RemediationName, ScheduleName};
use fettle_model::time::UnixMillis;

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Its name.
    pub schedule: ScheduleName,
    /// The remediation whose playbook it drills.
    pub remediation: RemediationName,
    /// When it is due next.
    pub next: Option<UnixMillis>,
    /// Its newest due time that was handled.
    pub last: Option<Handled>,
}

/// All schedules, in the configuration's order.
#[must_use]
pub fn schedules(state: &State, wall: UnixMillis) -> Vec<ScheduleRow> {
    let schedules = state.configuration().schedules().iter();
    schedules
        .map(|schedule| ScheduleRow {
            schedule: schedule.name.clone(),
            remediation: schedule.remediation.clone(),
            next: schedule.at.next(wall),
            last: state.schedules.last(&schedule.name).cloned(),
        })
        .collect()
}
