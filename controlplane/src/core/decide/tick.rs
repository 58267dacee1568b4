//! What comes due by time alone, or because something else changed: lost runs, drills' deadlines, schedules,
//! proposals, rollouts, promotions, and what the fleet's condition asks of the breakers.

use super::{Decision, Outcome, endings, proposals, rollouts};
use crate::core::conditions::{self, Senses};
use crate::core::drills;
use crate::core::now::Now;
use crate::core::promotions;
use crate::core::reclaim::Reclaims;
use crate::core::schedules;
use crate::core::state::State;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{DrillId, IncidentId};

/// One thing that is due. One at a time, so that each is decided with the consequences of the one before.
pub(super) fn decide(
    state: &State,
    reclaims: &Reclaims,
    now: Now,
    incident: IncidentId,
    drill: DrillId,
    senses: &Senses,
    policies: &DocumentDigest,
) -> Decision {
    let lost = reclaims
        .due(now)
        .and_then(|permit| state.runs.permit(permit))
        .filter(|run| state.runs.open(run.permit.permit, run.permit.host).is_some());
    if let Some(run) = lost {
        return Decision::own(endings::of_loss(state, now, run, incident));
    }
    let fallen = proposals::fallen(state, now, policies);
    if !fallen.is_empty() {
        return Decision::own(fallen);
    }
    let overdue = drills::overdue(state, now.wall);
    if !overdue.is_empty() {
        return Decision::own(overdue);
    }
    let scheduled = schedules::due(state, now, drill);
    if !scheduled.is_empty() {
        return Decision::own(scheduled);
    }
    let rolled = rollouts::due(state, now, senses, incident);
    if !rolled.is_empty() {
        return Decision::own(rolled);
    }
    if let Some(proposed) = promotions::due(state, now.wall) {
        return Decision::own(vec![proposed]);
    }
    match conditions::due(state, now, senses) {
        Some(change) => Decision::own(vec![change]),
        None => Decision::nothing(Outcome::Unchanged),
    }
}
