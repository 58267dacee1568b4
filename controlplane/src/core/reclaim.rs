//! When the slot of a run that never reported is given back.
//!
//! A slot must cover every effect that may still be in progress, orphans of a crashed agent included.
//! The deadline is kept on the control plane's monotonic clock, outside the [`State`]: it cannot be
//! read from the log, and after a restart every permit in flight is armed again for its full length.

use super::now::{Monotonic, Now};
use super::runs::Run;
use super::state::State;
use fettle_model::id::PermitId;
use fettle_model::permit::{Permit, UNDO_WITHIN};
use fettle_model::playbook::{Manifest, UndoPolicy};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// Beyond the last possible effect: 1 % of clock rate error on the longest hold there is (about 70
/// minutes: 30 to run, 30 to confirm, 5 to undo, and lease and effect) is 42 seconds.
pub const RECLAIM_MARGIN: Duration = Duration::from_mins(1);

/// From the grant, how long the slot of a permit is held when nothing is heard of it:
///
/// ```text
/// lease            the run has started by then, counted from before the grant
/// + run_within     no effect of the playbook starts later
/// + confirm.within the host watches the check; what fails after this is undone
/// + UNDO_WITHIN    no inverse step starts later; only where the manifest undoes
/// + effect_within  the last effect that started is over
/// + RECLAIM_MARGIN clock rates
/// ```
///
/// A permit without a manifest (a drill's fault) has no confirmation and no undo.
#[must_use]
pub fn hold(permit: &Permit, manifest: Option<&Manifest>) -> Duration {
    let after_playbook = manifest.map_or(Duration::ZERO, |manifest| {
        let undo = match manifest.on_failure.undo {
            UndoPolicy::Automatic => UNDO_WITHIN,
            UndoPolicy::Leave => Duration::ZERO,
        };
        manifest.confirm.within.0.saturating_add(undo)
    });
    [permit.run_within, after_playbook, permit.effect_within, RECLAIM_MARGIN]
        .into_iter()
        .fold(permit.lease, Duration::saturating_add)
}

/// The deadlines of all permits in flight, on this process's monotonic clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reclaims(BTreeMap<PermitId, Monotonic>);

impl Reclaims {
    /// After a start nobody knows how much time has passed: every permit in flight is held for its
    /// full length from now.
    #[must_use]
    pub fn on_start(state: &State, now: Now) -> Self {
        let mut reclaims = Self::default();
        for run in state.runs.in_flight() {
            reclaims.follow(state, now, run.permit.permit);
        }
        reclaims
    }

    /// Arms a permit that is new in flight, and forgets one that no longer is.
    /// Called after a grant was applied, which is not before it was decided, so no slot is held too short.
    pub fn follow(&mut self, state: &State, now: Now, permit: PermitId) {
        match state.runs.in_flight_under(permit) {
            Some(run) => {
                self.0.entry(permit).or_insert_with(|| now.monotonic.plus(run.hold));
            }
            None => {
                self.0.remove(&permit);
            }
        }
    }

    /// The permit whose slot has been due for return the longest.
    #[must_use]
    pub fn due(&self, now: Now) -> Option<PermitId> {
        self.0
            .iter()
            .filter(|(_, deadline)| **deadline <= now.monotonic)
            .min_by_key(|(permit, deadline)| (**deadline, **permit))
            .map(|(permit, _)| *permit)
    }

    /// When a run's slot is given back at the latest, on the wall clock. A permit that is not armed yet is
    /// taken as granted now.
    #[must_use]
    pub fn clears_at(&self, run: &Run, now: Now) -> UnixMillis {
        let deadline = self.0.get(&run.permit.permit).copied().unwrap_or_else(|| now.monotonic.plus(run.hold));
        now.wall_at(deadline)
    }
}
