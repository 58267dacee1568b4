//! Logs whose every signature and proof holds, written by somebody who holds all keys and breaks one
//! rule: the verifier finds that rule, at that record. Here: runs and how they end.

use crate::check::*;
use crate::log::{Log, host};
use crate::story::{
    At, Edit, PRODUCTION, STAGING, edited, ended_run, parsed, permit_for, remediate, request, run_id, story,
};
use fettle_audit::verify::Rule;
use fettle_model::counter::Fence;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::{HostId, PermitId, RequestId};
use fettle_model::permit::{Permit, PermitRejection};
use fettle_model::playbook::Action;
use fettle_model::record::{Body, PermitRejected, RunUnresolved};
use fettle_model::run::{Ending, StepOutcome};

#[test]
fn a_run_has_its_permit_and_stays_within_it() {
    let unpermitted = edited(|at, _| match at {
        At::Requested | At::Granted => Edit::Drop,
        _ => Edit::Keep,
    });
    check(&unpermitted, Rule::Permit);
    check(&run(At::Ended, |run| run.permit = PermitId::from_uuid(uuid(7))), Rule::Permit);
    check(&run(At::Ended, |run| run.run = run_id(9)), Rule::Permit);
    check(&run(At::Ended, |run| run.host = host(STAGING)), Rule::Permit);
    check(&run(At::Ended, |run| run.request = RequestId::from_uuid(uuid(7))), Rule::Permit);
    check(&run(At::Ended, |run| run.purpose = remediate(9)), Rule::Permit);
    check(&run(At::Ended, |run| run.playbook = None), Rule::Permit);
    check(&run(At::Ended, |run| run.steps[0].action = Action::Stop), Rule::Step);
    check(&run(At::Ended, |run| run.steps[0].label = parsed("health")), Rule::Step);
    check(&run(At::Ended, |run| run.steps.push(run.steps[0].clone())), Rule::Step);
    check(
        &run(At::Ended, |run| {
            run.undone.push(fettle_model::run::Step { label: parsed("other"), ..run.steps[0].clone() });
        }),
        Rule::Step,
    );
    check(&run(At::Ended, |run| run.ending = Ending::Superseded), Rule::Step);
    check(&run(At::InjectionEnded, |run| run.steps[0].label = parsed("health")), Rule::Step);
    let three = |outcome: fn() -> StepOutcome| {
        run(At::Ended, |run| {
            run.steps = (1..=3)
                .map(|number| fettle_model::run::Step { number, outcome: outcome(), ..run.steps[0].clone() })
                .collect();
        })
    };
    check(&three(|| StepOutcome::Failed { detail: String::new() }), Rule::Step);
    check_valid(&three(|| StepOutcome::Refused { rule: "exhausted".to_owned(), detail: String::new() }));
}

#[test]
fn a_run_ends_once() {
    let mut twice = story();
    let again = twice.records[At::Ended as usize].1.record().body.clone();
    twice.agent(host(PRODUCTION), again);
    check(&twice, Rule::Ending);

    let permit = permit_for(&request(3, host(PRODUCTION), remediate(1)), Fence(1));
    let given_up = |permit: &Permit, host: HostId| {
        Body::RunUnresolved(Box::new(RunUnresolved { run: permit.run, permit: permit.permit, host }))
    };
    let mut late = story();
    late.control_plane(given_up(&permit, host(PRODUCTION)));
    check(&late, Rule::Ending);
    let mut nobodys = story();
    nobodys
        .control_plane(given_up(&Permit { permit: PermitId::from_uuid(uuid(7)), ..permit.clone() }, host(PRODUCTION)));
    check(&nobodys, Rule::Permit);

    let mut rejected = story();
    rejected.agent(host(PRODUCTION), rejection(&permit, PermitRejection::Busy));
    check(&rejected, Rule::Ending);
    let mut replayed = story();
    replayed.agent(host(PRODUCTION), rejection(&permit, PermitRejection::Replayed));
    check_valid(&replayed);
}

fn rejection(permit: &Permit, because: PermitRejection) -> Body {
    let envelope = EnvelopeDigest::of(b"permit");
    Body::PermitRejected(Box::new(PermitRejected {
        permit: Some(permit.permit),
        run: Some(permit.run),
        envelope,
        because,
    }))
}

/// The story up to its last grant in production, which did not end.
fn open_ended() -> (Log, Permit) {
    let log = edited(|at, _| match at {
        At::Ended | At::Passing | At::CriticalAgain | At::RequestedAgain | At::Refused => Edit::Drop,
        _ => Edit::Keep,
    });
    (log, permit_for(&request(3, host(PRODUCTION), remediate(1)), Fence(1)))
}

#[test]
fn a_run_that_has_not_ended_is_a_gap_until_it_is_accounted_for() {
    let (log, permit) = open_ended();
    check_gap(&log, Rule::OpenRun);

    let (mut given_up, _) = open_ended();
    let unresolved = RunUnresolved { run: permit.run, permit: permit.permit, host: permit.host };
    given_up.control_plane(Body::RunUnresolved(Box::new(unresolved.clone())));
    check_valid(&given_up);
    let (mut twice, _) = open_ended();
    twice.control_plane(Body::RunUnresolved(Box::new(unresolved.clone())));
    twice.control_plane(Body::RunUnresolved(Box::new(unresolved.clone())));
    check(&twice, Rule::Ending);
    // The agent comes back and reports: once.
    given_up.agent(permit.host, Body::RunEnded(Box::new(ended_run(&permit))));
    check_valid(&given_up);
    given_up.agent(permit.host, Body::RunEnded(Box::new(ended_run(&permit))));
    check(&given_up, Rule::Ending);
    let (mut other, _) = open_ended();
    other.control_plane(Body::RunUnresolved(Box::new(RunUnresolved { host: host(STAGING), ..unresolved })));
    check(&other, Rule::Permit);

    let (mut refused, _) = open_ended();
    refused.agent(permit.host, rejection(&permit, PermitRejection::Expired { age_ms: 2, lease_ms: 1 }));
    check_valid(&refused);
    refused.agent(permit.host, Body::RunEnded(Box::new(ended_run(&permit))));
    check(&refused, Rule::Ending);

    // Neither a second delivery nor another host's refusal ends it.
    let (mut replayed, _) = open_ended();
    replayed.agent(permit.host, rejection(&permit, PermitRejection::Replayed));
    replayed.agent(host(STAGING), rejection(&permit, PermitRejection::Busy));
    check_gap(&replayed, Rule::OpenRun);
}
