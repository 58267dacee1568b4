//! What follows from the end of a run: breakers, drills, and people being called.
//!
//! One incident per ending at most, for the gravest cause: in doubt, then the playbook's own call for a
//! person, then used-up attempts.

use crate::core::attempts::Called;
use crate::core::breakers;
use crate::core::drills;
use crate::core::now::Now;
use crate::core::runs::{Role, Run, RunState, ends_permit};
use crate::core::state::State;
use fettle_model::check::CheckRef;
use fettle_model::counter::LogPosition;
use fettle_model::id::{HostId, IncidentId};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::record::{Body, PermitRejected, RunUnresolved};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::run::{Claim, Ending, RunRecord};

/// What follows from an agent's report, which will stand at `position`.
pub(super) fn of_report(
    state: &State,
    now: Now,
    position: LogPosition,
    ended: &RunRecord,
    incident: IncidentId,
) -> Vec<Body> {
    let known =
        state.runs.permit(ended.permit).filter(|run| run.permit.host == ended.host && run.permit.run == ended.run);
    let Some(run) = known else {
        // An agent that ran without a permit of ours is the one thing that must not pass in silence.
        return vec![call(incident, ended.host, None, IncidentCause::InDoubt { run: ended.run })];
    };
    match run.state {
        RunState::InFlight => {}
        // Counted already.
        RunState::Ended { .. } | RunState::Rejected { .. } | RunState::Unresolved { .. } => return Vec::new(),
    }
    let mut follows = counted(state, run, ended.ending, now);
    follows.extend(drills::after_run(state, run, ended, position, now.wall));
    let cause = in_doubt(run, ended.ending)
        .or_else(|| escalated(run, ended))
        .or_else(|| exhausted_by(state, run, ended.ending));
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
    let cause = exhausted_by(state, run, Ending::Expired);
    follows.extend(cause.map(|cause| call(incident, host, Some(run.check.clone()), cause)));
    follows
}

/// A run never reported: its slot is given back, its attempt is not, and people are called.
pub(super) fn of_loss(state: &State, now: Now, run: &Run, incident: IncidentId) -> Vec<Body> {
    let (id, host) = (run.permit.run, run.permit.host);
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
    let attempts = refusal
        .reasons
        .iter()
        .find_map(|reason| if let Reason::MaxAttempts { value, .. } = reason { Some(*value) } else { None })?;
    match state.attempts(refusal.host, check).called {
        Called::Yes => None,
        Called::NotYet => {
            let cause = IncidentCause::AttemptsExhausted { attempts };
            Some(call(incident, refusal.host, Some(check.clone()), cause))
        }
    }
}

/// What the breakers make of an ending.
fn counted(state: &State, run: &Run, ending: Ending, now: Now) -> Vec<Body> {
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

fn in_doubt(run: &Run, ending: Ending) -> Option<IncidentCause> {
    (ending == Ending::InDoubt).then_some(IncidentCause::InDoubt { run: run.permit.run })
}

/// Drills call nobody but when in doubt: their failure is what they are for, and it is a record.
fn escalated(run: &Run, ended: &RunRecord) -> Option<IncidentCause> {
    match (run.role(), &ended.claim) {
        (Role::Remediation, Some(Claim::Escalate { summary })) => {
            Some(IncidentCause::Escalated { run: run.permit.run, summary: summary.clone() })
        }
        (Role::Remediation | Role::Healing | Role::Injection | Role::Repetition, _) => None,
    }
}

/// The last attempt, when it did not help. After a success, a fault that was gone, or a stop by hand
/// there is nothing to call people to.
fn exhausted_by(state: &State, run: &Run, ending: Ending) -> Option<IncidentCause> {
    let helped = match ending {
        Ending::Succeeded | Ending::Superseded | Ending::Cancelled => true,
        Ending::Ineffective | Ending::Failed | Ending::Reverted | Ending::Expired | Ending::InDoubt => false,
    };
    let remediation = state.configuration().answer_to(&run.check)?;
    let attempts = state.attempts(run.permit.host, &run.check);
    let last = run.role() == Role::Remediation && attempts.count >= remediation.guard.max_attempts;
    let called = attempts.called == Called::Yes;
    (last && !helped && !called).then_some(IncidentCause::AttemptsExhausted { attempts: attempts.count })
}

fn call(incident: IncidentId, host: HostId, check: Option<CheckRef>, cause: IncidentCause) -> Body {
    Body::IncidentOpened(Box::new(IncidentOpened { incident, host, check, cause }))
}
