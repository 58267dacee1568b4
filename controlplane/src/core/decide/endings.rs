//! What follows from the end of a run: breakers, drills, and people being called.
//!
//! One incident per ending at most, for the gravest cause: an agent that breaks its rules, then in doubt, then the
//! playbook's own call for a person, then used-up attempts.

use crate::core::attempts::Called;
use crate::core::breakers;
use crate::core::drills;
use crate::core::now::Now;
use crate::core::runs::{Role, Run, RunState, ends_permit};
use crate::core::state::State;
use fettle_model::check::CheckRef;
use fettle_model::counter::LogPosition;
use fettle_model::escalation::{Tried, TriedHow, TurnAfter, turn_after, turn_after_rejection};
use fettle_model::id::{HostId, IncidentId};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::offline::OfflineExpired;
use fettle_model::record::{Body, PermitRejected, RunUnresolved};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::run::{Claim, Ending, RunRecord};
use fettle_model::withheld::RequestWithheld;

/// What follows from an agent's report, which will stand at `position`.
pub(super) fn of_report(
    state: &State,
    now: Now,
    position: LogPosition,
    ended: &RunRecord,
    incident: IncidentId,
) -> Vec<Body> {
    let known =
        state.runs.reported(ended.permit).filter(|run| run.permit.host == ended.host && run.permit.run == ended.run);
    let Some(run) = known.as_deref() else {
        // An agent that ran without a permit of ours is the one thing that must not pass in silence.
        return vec![call(incident, ended.host, None, IncidentCause::InDoubt { run: ended.run })];
    };
    let unannounced = unannounced(state, ended);
    match run.state {
        RunState::InFlight => {}
        // Counted already; what its agent did in secret is told late too.
        RunState::Unresolved { .. } => {
            let cause = unannounced.into_iter();
            return cause.map(|cause| call(incident, ended.host, Some(run.check.clone()), cause)).collect();
        }
        // Counted already.
        RunState::Ended { .. } | RunState::Rejected { .. } | RunState::Returned { .. } | RunState::Expired { .. } => {
            return Vec::new();
        }
    }
    let mut follows = counted(state, run, ended.ending, now);
    follows.extend(drills::after_run(state, run, ended, position, now.wall));
    let how = TriedHow::Ended { run: ended.run, ending: ended.ending };
    let cause = unannounced
        .or_else(|| in_doubt(run, ended.ending))
        .or_else(|| escalated(run, ended))
        .or_else(|| exhausted_by(state, run, ended.ending, how.clone()))
        .or_else(|| last_turn_over(state, run, how, turn_after(ended.ending)));
    follows.extend(cause.map(|cause| call(incident, ended.host, Some(run.check.clone()), cause)));
    follows
}

/// What follows from an agent's rejection of a permit.
pub(super) fn of_rejection(state: &State, host: HostId, rejected: &PermitRejected, incident: IncidentId) -> Vec<Body> {
    let run =
        rejected.permit.filter(|_| ends_permit(&rejected.because)).and_then(|permit| state.runs.open(permit, host));
    let Some(run) = run else { return Vec::new() };
    let mut follows = drills::after_loss(state, run, "the agent rejected the permit");
    // As when a lease runs out: nothing was done, and the attempt is spent.
    let (how, after) = (TriedHow::Rejected { run: run.permit.run }, turn_after_rejection(&rejected.because));
    let cause =
        exhausted_by(state, run, Ending::Expired, how.clone()).or_else(|| last_turn_over(state, run, how, after));
    follows.extend(cause.map(|cause| call(incident, host, Some(run.check.clone()), cause)));
    follows
}

/// A run never reported: its slot is given back, its attempt is not, and people are called.
pub(super) fn of_loss(state: &State, now: Now, run: &Run, incident: IncidentId) -> Vec<Body> {
    let (id, host) = (run.permit.run, run.permit.host);
    if run.role() == Role::Budget {
        // Nothing is lost: what was done under it is reported when the host comes back, and counted then.
        let permit = run.permit.permit;
        return vec![Body::OfflineExpired(Box::new(OfflineExpired { permit, host }))];
    }
    let unresolved = RunUnresolved { run: id, permit: run.permit.permit, host };
    let mut follows = vec![Body::RunUnresolved(Box::new(unresolved))];
    follows.extend(counted(state, run, Ending::InDoubt, now));
    follows.extend(drills::after_loss(state, run, "a run never reported"));
    follows.push(call(incident, host, Some(run.check.clone()), IncidentCause::InDoubt { run: id }));
    follows
}

/// A refusal because the attempts are used up calls people, once per problem: after a success that did
/// not last nobody has been called yet.
pub(super) fn of_refusal(state: &State, refusal: &Refusal, incident: IncidentId) -> Option<Body> {
    let check = refusal.check.as_ref()?;
    let used_up = |reason: &Reason| matches!(reason, Reason::MaxAttempts { .. } | Reason::RungsExhausted { .. });
    if !refusal.reasons.iter().any(used_up) {
        return None;
    }
    let answer = state.answer_on(refusal.host, check);
    let tried = answer.map(|answer| state.tried(refusal.host, answer)).unwrap_or_default();
    exhausted(state, refusal.host, check, tried, incident)
}

/// An agent's word that its host cannot run what stands on the last rung calls people too.
pub(super) fn of_withheld(
    state: &State,
    now: Now,
    host: HostId,
    withheld: &RequestWithheld,
    incident: IncidentId,
) -> Option<Body> {
    let (check, tried) = state.passed_over(host, withheld, now.wall)?;
    exhausted(state, host, &check, tried, incident)
}

/// People are called to a check once per problem.
fn exhausted(state: &State, host: HostId, check: &CheckRef, tried: Vec<Tried>, incident: IncidentId) -> Option<Body> {
    let attempts = state.attempts(host, check);
    match attempts.called {
        Called::Yes => None,
        Called::NotYet => {
            let cause = IncidentCause::AttemptsExhausted { attempts: attempts.count, tried };
            Some(call(incident, host, Some(check.clone()), cause))
        }
    }
}

/// What the breakers make of an ending.
pub(in crate::core) fn counted(state: &State, run: &Run, ending: Ending, now: Now) -> Vec<Body> {
    if ending.counts_as_failure() {
        let opened = breakers::opened_by(state, run, now.wall);
        opened.into_iter().map(|opened| Body::BreakerOpened(Box::new(opened))).collect()
    } else if ending == Ending::Succeeded {
        let closed = breakers::closed_by(state, run);
        closed.into_iter().map(|closed| Body::BreakerClosed(Box::new(closed))).collect()
    } else {
        Vec::new()
    }
}

/// An agent that does what cannot be taken back before the log knows of it must not pass in silence.
fn unannounced(state: &State, ended: &RunRecord) -> Option<IncidentCause> {
    state.runs.unannounced(ended).map(|number| IncidentCause::Unannounced { run: ended.run, number })
}

fn in_doubt(run: &Run, ending: Ending) -> Option<IncidentCause> {
    (ending == Ending::InDoubt).then_some(IncidentCause::InDoubt { run: run.permit.run })
}

/// Drills call nobody but when in doubt: their failure is what they are for, and it is a record.
fn escalated(run: &Run, ended: &RunRecord) -> Option<IncidentCause> {
    match (run.role(), &ended.claim) {
        (Role::Remediation, Some(Claim::Escalate { summary })) => {
            Some(IncidentCause::Escalated { run: run.permit.run, summary: summary.clone() })
        }
        (Role::Remediation | Role::Healing | Role::Injection | Role::Repetition | Role::Budget, _) => None,
    }
}

/// The last attempt, when it did not help. After a success, a fault that was gone, or a stop by hand
/// there is nothing to call people to.
fn exhausted_by(state: &State, run: &Run, ending: Ending, how: TriedHow) -> Option<IncidentCause> {
    let helped = match ending {
        Ending::Succeeded | Ending::Superseded | Ending::Cancelled => true,
        Ending::Ineffective | Ending::Failed | Ending::Reverted | Ending::Expired | Ending::InDoubt => false,
    };
    let remediation = state.answer_on(run.permit.host, &run.check)?;
    let attempts = state.attempts(run.permit.host, &run.check);
    let count = match run.permit.unit {
        None => attempts.count,
        // One under a budget given in advance is counted when it is reported.
        Some(_) => attempts.count.saturating_add(1),
    };
    let last = run.role() == Role::Remediation && count >= remediation.guard.max_attempts;
    let called = attempts.called == Called::Yes;
    (last && !helped && !called).then(|| {
        let tried = state.tried_with(run, remediation, how);
        IncidentCause::AttemptsExhausted { attempts: count, tried }
    })
}

/// The end of the last rung's turn.
fn last_turn_over(state: &State, run: &Run, how: TriedHow, after: TurnAfter) -> Option<IncidentCause> {
    let tried = state.last_turn_over(run, how, after)?;
    let attempts = state.attempts(run.permit.host, &run.check);
    let called = attempts.called == Called::Yes;
    (!called).then_some(IncidentCause::AttemptsExhausted { attempts: attempts.count, tried })
}

fn call(incident: IncidentId, host: HostId, check: Option<CheckRef>, cause: IncidentCause) -> Body {
    Body::IncidentOpened(Box::new(IncidentOpened { incident, host: Some(host), check, cause }))
}
