//! The rules on the host, its attempts and its group.

use super::Case;
use crate::core::attempts::Fingerprint;
use crate::core::authorisation::{Authorisation, FLOOR_APPROVED};
use crate::core::budgets::Counted;
use crate::core::groups::Group;
use crate::core::ramps::Step;
use crate::core::turns::Due;
use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::TransitionEpoch;
use fettle_model::escalation::Rung;
use fettle_model::guard::Guard;
use fettle_model::name::ServiceName;
use fettle_model::playbook::Reversibility;
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Mode, Remediation};

/// The host may act, holds no permit and knows the configuration.
pub(super) fn host(case: &Case<'_>, reasons: &mut Vec<Reason>) {
    if !case.host.may_act() {
        reasons.push(Reason::HostNotActive);
    }
    if let Some(run) = case.state.runs.on_host(case.host.id) {
        let clears_at = case.reclaims.clears_at(run, case.now);
        reasons.push(Reason::HostBusy { run: run.permit.run, clears_at });
    }
    let (held, current) = (case.request.configuration, case.configuration().generation());
    if held != current {
        reasons.push(Reason::ConfigurationStale { held, current });
    }
}

/// The request answers the check's newest transition, and that one is critical.
pub(super) fn transition(case: &Case<'_>, check: &CheckRef, asked: TransitionEpoch, reasons: &mut Vec<Reason>) {
    let newest = case.host.newest_epoch(check);
    let critical = case.host.checks.get(check).is_some_and(|known| known.transition.to == Status::Critical);
    if asked != newest || !critical {
        reasons.push(Reason::TransitionStale { asked, newest });
    }
}

/// Attempts and cooldown of the fingerprint.
pub(super) fn attempts(case: &Case<'_>, check: &CheckRef, guard: &Guard, reasons: &mut Vec<Reason>) {
    let fingerprint = Fingerprint { host: case.host.id, check: check.clone() };
    let attempts = case.state.attempts(fingerprint.host, &fingerprint.check);
    if attempts.count >= guard.max_attempts {
        let began_with = case.state.began_with(fingerprint.host, &fingerprint.check).cloned();
        reasons.push(Reason::MaxAttempts { limit: guard.max_attempts, value: attempts.count, began_with });
    }
    if let Some(clears_at) = case.state.last_end(&fingerprint).map(|end| end.plus(guard.cooldown))
        && clears_at > case.now.wall
    {
        reasons.push(Reason::Cooldown { clears_at });
    }
}

/// The rung is the one whose turn it is.
pub(super) fn turn(case: &Case<'_>, answer: &Remediation, asked: Rung, reasons: &mut Vec<Reason>) {
    match case.state.due(case.host.id, answer, case.now.wall) {
        Due::Rung(due) if due == asked => {}
        Due::Rung(due) => {
            let clears_at = case.state.turn_over_at(case.host.id, answer, case.now.wall);
            reasons.push(Reason::RungNotDue { asked, due, clears_at });
        }
        Due::People => {
            let rungs = u32::try_from(answer.playbooks().count()).unwrap_or(u32::MAX);
            reasons.push(Reason::RungsExhausted { rungs });
        }
    }
}

/// Of which hosts a guard's minimum is a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MinimumOf {
    /// Of the whole group.
    Group,
    /// Of the hosts besides the target, and never more than there are: a drill breaks the target on purpose,
    /// and a staging group may have no other.
    Others,
}

/// Room in the group: in flight below the maximum, and enough healthy hosts besides the target.
pub(super) fn group(
    case: &Case<'_>,
    check: &CheckRef,
    guard: &Guard,
    minimum_of: MinimumOf,
    reasons: &mut Vec<Reason>,
) {
    let Some(service) = case.configuration().service(&check.service) else { return };
    let environment = &case.host.environment;
    let group = Group::of(case.state, service, environment);
    let (limit, value) = (guard.max_in_flight.as_maximum(group.size()), group.in_flight());
    if value >= limit {
        let clears_at = case
            .state
            .runs
            .in_flight()
            .filter(|run| run.service == service.name && &run.environment == environment)
            .map(|run| case.reclaims.clears_at(run, case.now))
            .min();
        reasons.push(Reason::MaxInFlight { limit, value, clears_at });
    }
    let limit = match minimum_of {
        MinimumOf::Group => guard.min_healthy.as_minimum(group.size()),
        MinimumOf::Others => {
            let others = group.others(case.host.id);
            guard.min_healthy.as_minimum(others).min(others)
        }
    };
    let value = group.healthy_besides(case.host.id);
    if value < limit {
        reasons.push(Reason::MinHealthy { limit, value });
    }
}

/// Room in the budget of the group, which every trigger spends from.
pub(super) fn budget(
    case: &Case<'_>,
    service: &ServiceName,
    guard: &Guard,
    reversibility: Reversibility,
    reasons: &mut Vec<Reason>,
) {
    let counted = |from| {
        let (environment, wall) = (&case.host.environment, case.now.wall);
        case.state.budgets.within(service, environment, guard.window, from, wall)
    };
    let Counted { count: value, first_leaves: clears_at } = counted(Reversibility::Reversible);
    if value >= guard.max_per_window {
        reasons.push(Reason::MaxPerWindow { limit: guard.max_per_window, value, clears_at });
    }
    match reversibility {
        Reversibility::Reversible => {}
        Reversibility::Irreversible => {
            let Counted { count: value, first_leaves: clears_at } = counted(Reversibility::Irreversible);
            if value >= guard.max_irreversible {
                reasons.push(Reason::MaxIrreversible { limit: guard.max_irreversible, value, clears_at });
            }
        }
    }
}

/// The remediation acts on no more hosts at once than its runs have earned. A ramp as high as the guard's maximum
/// says nothing that the maximum does not.
pub(super) fn ramp(case: &Case<'_>, remediation: &Remediation, reasons: &mut Vec<Reason>) {
    let (environment, quiet) = (&case.host.environment, remediation.guard.healthy_for);
    let size = case.state.tallies.of(&remediation.service, environment).size;
    let Step { limit, in_flight: value } = case.state.ramps.step(&remediation.name, environment, quiet, case.now.wall);
    if value >= limit && limit < remediation.guard.max_in_flight.as_maximum(size) {
        reasons.push(Reason::Ramp { limit, value });
    }
}

fn waits_for_people(reasons: &[Reason]) -> bool {
    reasons.iter().any(|reason| matches!(reason, Reason::Mode { mode: Mode::Approve, .. }))
}

/// What Cedar said.
pub(super) fn authorised(case: &Case<'_>, reasons: &mut Vec<Reason>) {
    match case.authorised {
        Authorisation::Allowed => {}
        // That people have not said yes is a reason of its own already.
        Authorisation::Denied { policies } if policies == &[FLOOR_APPROVED] && waits_for_people(reasons) => {}
        Authorisation::Denied { policies } => reasons.push(Reason::NotAuthorised { policies: policies.clone() }),
    }
}
