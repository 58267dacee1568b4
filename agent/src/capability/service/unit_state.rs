//! What systemd says of a unit, and what that means in our words. Pure.

use super::Observed;
use crate::capability::process::ProcessRef;
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::{Activity, ReadError, Revision, ServiceStatus};
use std::collections::HashMap;
use zbus::{OwnedObjectPath, OwnedVariant};

/// Microseconds of one hour.
const HOUR_MICROS: u64 = 3_600_000_000;

/// Properties of `org.freedesktop.systemd1.Unit` and two of `.Service`, taken one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnitState {
    pub(super) id: String,
    pub(super) fragment: String,
    pub(super) load: String,
    active: String,
    invocation: String,
    active_enter: u64,
    active_exit: u64,
    inactive_enter: u64,
    inactive_exit: u64,
    active_enter_monotonic: u64,
    inactive_enter_monotonic: u64,
    changed_monotonic: u64,
    /// Number of the job that is queued or runs for it; 0: none.
    pub(super) job: u32,
    pub(super) main_pid: u32,
    restarts: u32,
}

impl UnitState {
    /// Reads the properties.
    pub(super) fn read(
        mut unit: HashMap<String, OwnedVariant>,
        main_pid: u32,
        restarts: u32,
    ) -> Result<Self, ReadError> {
        let invocation: Vec<u8> = take(&mut unit, "InvocationID")?;
        let (job, _): (u32, OwnedObjectPath) = take(&mut unit, "Job")?;
        Ok(Self {
            id: take(&mut unit, "Id")?,
            fragment: take(&mut unit, "FragmentPath")?,
            load: take(&mut unit, "LoadState")?,
            active: take(&mut unit, "ActiveState")?,
            invocation: invocation.iter().map(|byte| format!("{byte:02x}")).collect(),
            active_enter: take(&mut unit, "ActiveEnterTimestamp")?,
            active_exit: take(&mut unit, "ActiveExitTimestamp")?,
            inactive_enter: take(&mut unit, "InactiveEnterTimestamp")?,
            inactive_exit: take(&mut unit, "InactiveExitTimestamp")?,
            active_enter_monotonic: take(&mut unit, "ActiveEnterTimestampMonotonic")?,
            inactive_enter_monotonic: take(&mut unit, "InactiveEnterTimestampMonotonic")?,
            changed_monotonic: take(&mut unit, "StateChangeTimestampMonotonic")?,
            job,
            main_pid,
            restarts,
        })
    }

    /// The activity. A unit that reloads is active.
    pub(super) fn activity(&self) -> Result<Activity, ReadError> {
        match self.active.as_str() {
            "active" | "reloading" | "refreshing" => Ok(Activity::Active),
            "inactive" | "maintenance" => Ok(Activity::Inactive),
            "activating" => Ok(Activity::Activating),
            "deactivating" => Ok(Activity::Deactivating),
            "failed" => Ok(Activity::Failed),
            other => Err(ReadError::Malformed(format!("systemd says the unit is {other:?}"))),
        }
    }

    /// Changes with every start (the invocation) and every stop (the entry into inactivity).
    pub(super) fn revision(&self) -> Revision {
        let Self { invocation, active_enter_monotonic, inactive_enter_monotonic, .. } = self;
        Revision(format!("sd:{invocation}:{active_enter_monotonic}:{inactive_enter_monotonic}"))
    }

    /// In our words; `now` in microseconds since 1970.
    pub(super) fn observed(&self, now: u64, main: Option<ProcessRef>) -> Result<Observed, ReadError> {
        let activity = self.activity()?;
        let since = match activity {
            Activity::Active => self.active_enter,
            Activity::Inactive | Activity::Failed => self.inactive_enter,
            Activity::Activating => self.inactive_exit,
            Activity::Deactivating => self.active_exit,
        };
        // systemd counts automatic restarts since the last start by hand, not per hour. A unit that
        // began to run earlier than an hour ago was not restarted since.
        let began = self.active_enter.max(self.inactive_exit);
        let restarts_last_hour = if now.saturating_sub(began) < HOUR_MICROS { self.restarts } else { 0 };
        let status = ServiceStatus {
            activity,
            since: UnixMillis(since / 1_000),
            restarts_last_hour,
            main_pid: main.map(|main| main.pid),
            revision: self.revision(),
        };
        Ok(Observed { status, changed_at: Some(self.changed_monotonic), main })
    }
}

fn take<T: TryFrom<OwnedVariant>>(unit: &mut HashMap<String, OwnedVariant>, name: &str) -> Result<T, ReadError> {
    let malformed = || ReadError::Malformed(format!("systemd gives no usable {name}"));
    let value = unit.remove(name).ok_or_else(malformed)?;
    T::try_from(value).map_err(|_| malformed())
}
