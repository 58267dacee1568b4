//! The list of a check's remediation on a host: what was tried, what is due and what comes next.

use crate::core::state::State;
use crate::core::turns::Due;
use fettle_model::check::CheckRef;
use fettle_model::escalation::{RungRow, RungStanding};
use fettle_model::id::HostId;
use fettle_model::time::UnixMillis;

/// Every rung of the list that answers a check on a host; empty where its remediation has no list.
#[must_use]
pub fn rungs(state: &State, host: HostId, check: &CheckRef, wall: UnixMillis) -> Vec<RungRow> {
    let answer = state.answer_on(host, check).filter(|answer| !answer.escalation.is_none());
    let Some((answer, host)) = answer.zip(state.host(host)) else { return Vec::new() };
    let (tried, due) = (state.tried(host.id, answer), state.due(host.id, answer, wall));
    let row = |(rung, placed): (_, std::borrow::Cow<'_, fettle_model::remediation::Remediation>)| RungRow {
        rung,
        mode: placed.mode_in(&host.environment),
        timeout: answer.escalation.timeout(rung).unwrap_or_default(),
        tried: tried.iter().filter(|each| each.rung == rung).cloned().collect(),
        standing: match due {
            Due::Rung(due) if due == rung => RungStanding::Due { over_at: state.turn_over_at(host.id, answer, wall) },
            Due::Rung(due) if due < rung => RungStanding::Waiting,
            Due::Rung(_) | Due::People => RungStanding::Over,
        },
        playbook: placed.into_owned().playbook,
    };
    answer.rungs().map(row).collect()
}
