//! Agents' chains of records, and the same answer to the same request.

use crate::world::{World, describe, web};
use fettle_controlplane::core::{
    ApplyError, Entry, MAX_ANSWERS_PER_HOST, MAX_RECENT_RECORDS, Outcome, PersonRequest, RecordRefusal, State,
};
use fettle_model::check::Status;
use fettle_model::counter::{AgentSequence, LogPosition};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::record::{Author, Body, Kind};
use fettle_model::run::Ending;
use uuid::Uuid;

#[test]
fn a_record_that_is_known_is_not_appended_again_and_a_known_request_points_to_its_answer() {
    let (mut world, hosts) = World::broken(5);
    let request = world.request(hosts[0]);
    let given = world.compose(hosts[0], Body::PermitRequested(Box::new(request)));
    let Outcome::Answered { answer } = world.send(&given) else { unreachable!("not answered") };
    let length = world.log.len();
    let at = Some(LogPosition(answer.0 - 1));
    assert_eq!(world.send(&given), Outcome::AlreadyKnown { at, answer: Some(answer) });
    assert_eq!(world.log.len(), length);
}

#[test]
fn a_record_that_comes_again_is_found_among_the_newest_that_an_agent_may_have_sent_ahead() {
    let (mut world, hosts) = World::proved(2);
    let first = world.compose(hosts[0], describe("p0", "production"));
    let at = Some(world.core.state().next_position());
    world.send(&first);
    for _ in 1..MAX_RECENT_RECORDS {
        world.say(hosts[0], describe("p0", "production"));
    }
    assert_eq!(world.send(&first), Outcome::AlreadyKnown { at, answer: None });
    world.say(hosts[0], describe("p0", "production"));
    assert_eq!(world.send(&first), Outcome::AlreadyKnown { at: None, answer: None });
}

#[test]
fn the_same_request_in_a_new_record_gets_the_same_answer() {
    let (mut world, hosts) = World::broken(5);
    for granted in [true, false] {
        let request = world.request(hosts[0]);
        let first = world.say(hosts[0], Body::PermitRequested(Box::new(request.clone())));
        let length = world.log.len();
        let second = world.say(hosts[0], Body::PermitRequested(Box::new(request)));
        assert_eq!(first, second);
        assert_eq!(world.log.len(), length + 1, "only the agent's record is added");
        let Outcome::Answered { answer } = first else { unreachable!("not answered") };
        assert_eq!(world.answer(answer).is_ok(), granted);
    }
    assert_eq!(world.count(|body| body.kind() == Kind::PermitGranted), 6, "five of them in the fixture's drill");
}

#[test]
fn answers_are_kept_for_the_newest_requests_of_a_host() {
    let (mut world, hosts) = World::proved(2);
    let first = world.request(hosts[0]);
    world.say(hosts[0], Body::PermitRequested(Box::new(first.clone())));
    for _ in 0..MAX_ANSWERS_PER_HOST - 1 {
        assert!(world.ask(hosts[0]).is_err());
    }
    assert!(world.core.state().answer(hosts[0], first.request).is_some());
    assert!(world.ask(hosts[0]).is_err());
    assert!(world.core.state().answer(hosts[0], first.request).is_none());
}

#[test]
fn a_gap_is_refused_with_the_number_that_is_due() {
    let (mut world, hosts) = World::proved(2);
    let mut given = world.compose(hosts[0], describe("p0", "production"));
    if let Author::Agent { sequence, .. } = &mut given.record.author {
        *sequence = AgentSequence(99);
    }
    let refused = RecordRefusal::Gap { expected: AgentSequence(3), found: AgentSequence(99) };
    assert_eq!(world.send(&given), Outcome::RecordRefused(refused));
}

#[test]
fn a_forked_chain_quarantines_its_host_once() {
    let rewritten = |world: &mut World, host: HostId| {
        let mut given = world.compose(host, describe("p0", "production"));
        if let Author::Agent { sequence, .. } = &mut given.record.author {
            *sequence = AgentSequence(1);
        }
        given.envelope = EnvelopeDigest::of(b"another first record");
        given
    };
    let other_past = |world: &mut World, host: HostId| {
        let mut given = world.compose(host, describe("p0", "production"));
        if let Author::Agent { previous, .. } = &mut given.record.author {
            *previous = Some(EnvelopeDigest::of(b"another past"));
        }
        given
    };
    type Compose = fn(&mut World, HostId) -> fettle_controlplane::core::AgentRecord;
    for compose in [rewritten as Compose, other_past as Compose] {
        let (mut world, hosts) = World::proved(2);
        let length = world.log.len();
        for _ in 0..2 {
            let given = compose(&mut world, hosts[0]);
            let outcome = world.send(&given);
            assert!(matches!(outcome, Outcome::RecordRefused(RecordRefusal::Forked { .. })), "{outcome:?}");
        }
        assert_eq!(world.log.len(), length + 1);
        let host = world.core.state().host(hosts[0]).expect("a host");
        assert_eq!(host.state, HostState::Quarantined);
        // It may still report, but not act.
        world.becomes(hosts[0], Status::Critical);
        assert!(world.ask(hosts[0]).is_err());
    }
}

#[test]
fn only_an_agents_own_kinds_under_its_own_name_are_taken() {
    let (mut world, hosts) = World::broken(2);
    let (mine, other) = (hosts[0], hosts[1]);
    let foreign = world.request(other);
    let foreign = world.compose(mine, Body::PermitRequested(Box::new(foreign)));
    assert_eq!(world.send(&foreign), Outcome::RecordRefused(RecordRefusal::OtherHost(mine)));
    let mut signed_by_other = world.compose(other, describe("p1", "production"));
    signed_by_other.host = mine;
    assert_eq!(world.send(&signed_by_other), Outcome::RecordRefused(RecordRefusal::OtherHost(mine)));
    let granted = world.last().clone();
    let own = world.log.iter().find(|logged| logged.record.body.kind() == Kind::PermitGranted);
    let own = own.map_or(granted, |logged| logged.record.body.clone());
    let forged = world.compose(mine, own);
    assert_eq!(world.send(&forged), Outcome::RecordRefused(RecordRefusal::NotForAgents(Kind::PermitGranted)));
    let stranger = HostId::from_uuid(Uuid::from_u128(u128::MAX));
    let unknown = world.compose(stranger, describe("x", "production"));
    assert_eq!(world.send(&unknown), Outcome::RecordRefused(RecordRefusal::UnknownHost(stranger)));
    let why = "sold".to_owned();
    world.done(PersonRequest::SetHostState { host: mine, state: HostState::Revoked, why });
    let late = world.compose(mine, describe("p0", "production"));
    assert_eq!(world.send(&late), Outcome::RecordRefused(RecordRefusal::Revoked(mine)));
}

#[test]
fn a_run_id_that_another_request_has_used_is_refused() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    world.end(&permit, Ending::Succeeded);
    let mut request = world.request(hosts[1]);
    request.run = permit.run;
    let given = world.compose(hosts[1], Body::PermitRequested(Box::new(request)));
    assert_eq!(world.send(&given), Outcome::RecordRefused(RecordRefusal::RunKnown(permit.run)));
}

#[test]
fn a_late_transition_with_an_older_epoch_changes_nothing() {
    let (mut world, hosts) = World::proved(2);
    let known = world.core.state().host(hosts[0]).expect("a host").checks.get(&web()).cloned().expect("a check");
    world.becomes(hosts[0], Status::Critical);
    let late = Body::TransitionSeen(Box::new(known.transition));
    assert_eq!(world.say(hosts[0], late), Outcome::Done);
    assert!(
        world.ask(hosts[0]).is_err_and(|refusal| refusal.reasons.iter().all(|reason| reason.rule() == "min-healthy"))
            || world.core.state().in_flight().count() == 1
    );
}

#[test]
fn a_log_that_the_core_did_not_write_is_refused_and_changes_nothing() {
    let (mut world, hosts) = World::broken(2);
    let mut state = world.core.state().clone();
    let before: State = state.clone();
    let next = state.next_position();
    let given = world.compose(hosts[0], describe("p0", "production"));
    let entry = |position, envelope| Entry { position, envelope, received_at: world.now.wall, record: &given.record };
    let wrong_place = entry(LogPosition(next.0 + 1), given.envelope);
    assert_eq!(state.apply(&wrong_place), Err(ApplyError::Position { expected: next, found: LogPosition(next.0 + 1) }));
    let mut broken = given.record.clone();
    broken.author = Author::Agent { host: hosts[0], sequence: AgentSequence(9), previous: None };
    let broken = Entry { record: &broken, ..entry(next, given.envelope) };
    assert!(matches!(state.apply(&broken), Err(ApplyError::BrokenChain { .. })));
    let mut misattributed = given.record.clone();
    misattributed.author = Author::ControlPlane;
    let misattributed = Entry { record: &misattributed, ..entry(next, given.envelope) };
    assert_eq!(state.apply(&misattributed), Err(ApplyError::WrongAuthor { kind: Kind::HostDescribed }));
    assert!(state == before);
}
