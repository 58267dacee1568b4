//! What drills leave for a while: injections, written down with their intent, and flags that their runs set. Both are taken
//! back when the drill's healing run has ended.
//!
//! Nothing here needs a permit: it is the end of an effect that had one. It needs no control plane either.

use super::course::hold_point;
use super::serve::{Effector, EffectorError};
use super::store::Value;
use crate::capability::{Before, Deed, Injections, Pending, TakenBack};
use fettle_model::id::DrillId;
use fettle_model::permit::{Permit, Purpose};
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use fettle_sandbox::journal::{Asked, Entry};
use std::time::Duration;

/// An injection that could not be taken back is tried again after so long.
const TAKE_BACK_AGAIN: Duration = Duration::from_secs(1);

impl Effector {
    /// The injection that an entry is the intent of.
    pub(super) fn injected_by(&self, entry: &Entry<Deed>) -> Option<Pending> {
        let active = self.active.as_ref()?;
        let Purpose::InjectFault { drill, .. } = &active.permit.purpose else { return None };
        let Entry::Intent { asked: Asked::Drill(Deed::Inject { injection, .. }), before, .. } = entry else {
            return None;
        };
        let Before::Surroundings { until } = before else { return None };
        Some(Pending { drill: *drill, injection: injection.clone(), until: *until })
    }

    /// A run has ended: where it was one that healed a drill's fault, or one that failed to inject it, what the
    /// drill injected is over, and so is what its runs set for a while: the next fault meets the service as the first did.
    pub(super) fn over_after(&mut self, permit: &Permit, ending: Ending) -> Result<(), EffectorError> {
        let over = match &permit.purpose {
            Purpose::InjectFault { drill, .. } => (ending != Ending::Succeeded).then_some(*drill),
            Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => permit.drill,
        };
        match over {
            Some(drill) => {
                self.end_injections(|now, injections| injections.end_of(drill, now))?;
                self.end_holds(drill)
            }
            None => Ok(()),
        }
    }

    fn end_holds(&mut self, drill: DrillId) -> Result<(), EffectorError> {
        let before = self.holds.clone();
        self.holds.end_of(drill, self.clocks.now().wall);
        if before == self.holds { Ok(()) } else { self.keep(Value::Holds, &self.holds) }
    }

    /// This process begins: what an earlier one kept up is over, and taken back before anything else.
    pub(super) async fn take_back_orphaned(&mut self) -> Result<(), EffectorError> {
        self.end_injections(|now, injections| injections.end_orphaned(now))?;
        self.take_back_due().await
    }

    /// Automation is stopped somewhere, or this process ends: every injection is over. One that ends too early
    /// costs a drill, one that stays costs a host.
    pub(super) fn end_all_injections(&mut self) -> Result<(), EffectorError> {
        self.end_injections(|now, injections| injections.end_all(now))
    }

    fn end_injections(&mut self, end: impl FnOnce(UnixMillis, &mut Injections)) -> Result<(), EffectorError> {
        let before = self.injections.clone();
        end(self.clocks.now().wall, &mut self.injections);
        if before == self.injections { Ok(()) } else { self.keep(Value::Injections, &self.injections) }
    }

    /// Takes back what is over.
    pub(super) async fn take_back_due(&mut self) -> Result<(), EffectorError> {
        let now = self.clocks.now().wall;
        let due = self.injections.due(now);
        if due.is_empty() {
            return Ok(());
        }
        for pending in due {
            let what = pending.injection.in_words();
            match self.capabilities.take_back(&pending.injection).await {
                Ok(TakenBack::Now) => {
                    tracing::info!(drill = %pending.drill, what, "a drill's fault is taken back");
                    self.injections.settled(&pending);
                }
                Ok(TakenBack::GoneAlready) => {
                    tracing::info!(drill = %pending.drill, what, "a drill's fault was gone already");
                    self.injections.settled(&pending);
                }
                Err(why) => {
                    tracing::warn!(drill = %pending.drill, what, why, "a fault could not be taken back and is tried again");
                    self.injections.postpone(&pending, now.plus(TAKE_BACK_AGAIN));
                }
            }
        }
        hold_point();
        self.keep(Value::Injections, &self.injections)
    }
}

/// The drill whose fault a run injects or answers.
pub(super) fn drilled_by(permit: &Permit) -> Option<DrillId> {
    match &permit.purpose {
        Purpose::InjectFault { drill, .. } | Purpose::Repeat { drill, .. } => Some(*drill),
        Purpose::Remediate { .. } | Purpose::Offline { .. } => permit.drill,
    }
}
