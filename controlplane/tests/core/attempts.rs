//! Attempts, cooldown and what counts as a new problem.

use crate::world::{World, web};
use fettle_model::check::Status;
use fettle_model::id::HostId;
use fettle_model::incident::IncidentCause;
use fettle_model::permit::PermitRejection;
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::run::{Claim, Ending};
use std::time::Duration;

/// One critical host in five, with this many attempts allowed, no cooldown and a patient breaker.
fn world(attempts: u32) -> (World, HostId) {
    let (mut world, hosts) = World::broken(5);
    world.guarded(|guard| {
        guard.max_attempts = attempts;
        guard.cooldown = Duration::ZERO;
        guard.max_failures = 100;
    });
    (world, hosts[0])
}

fn incidents(world: &World) -> Vec<IncidentCause> {
    world
        .log
        .iter()
        .filter_map(|logged| match &logged.record.body {
            Body::IncidentOpened(incident) => Some(incident.cause.clone()),
            _ => None,
        })
        .collect()
}

#[track_caller]
fn attempt(world: &mut World, host: HostId, ending: Ending) {
    let permit = world.ask(host).expect("an attempt is left");
    world.end(&permit, ending);
}

#[test]
fn after_the_last_attempt_that_did_not_help_people_are_called_once() {
    let (mut world, host) = world(2);
    attempt(&mut world, host, Ending::Ineffective);
    assert_eq!(incidents(&world), []);
    attempt(&mut world, host, Ending::Failed);
    assert_eq!(incidents(&world), [IncidentCause::AttemptsExhausted { attempts: 2, tried: Vec::new() }]);
    for _ in 0..2 {
        let refusal = world.ask(host).expect_err("no attempt is left");
        assert_eq!(refusal.reasons, [Reason::MaxAttempts { limit: 2, value: 2, began_with: None }]);
        assert_eq!(refusal.retry_at, None);
    }
    assert_eq!(incidents(&world).len(), 1);
}

#[test]
fn success_that_does_not_last_counts_and_people_are_called_when_the_attempts_are_used_up() {
    let (mut world, host) = world(2);
    for _ in 0..2 {
        attempt(&mut world, host, Ending::Succeeded);
        world.becomes(host, Status::Passing);
        world.advance(Duration::from_mins(9));
        world.becomes(host, Status::Critical);
    }
    assert_eq!(incidents(&world), []);
    assert!(world.ask(host).is_err());
    assert_eq!(incidents(&world), [IncidentCause::AttemptsExhausted { attempts: 2, tried: Vec::new() }]);
    assert!(world.ask(host).is_err());
    assert_eq!(incidents(&world).len(), 1);
}

#[test]
fn a_failure_after_long_enough_in_health_is_a_new_problem() {
    let (mut world, host) = world(1);
    attempt(&mut world, host, Ending::Succeeded);
    world.becomes(host, Status::Passing);
    world.advance(Duration::from_mins(5));
    // A warning is not a failure; it does not interrupt health.
    world.becomes(host, Status::Warning);
    world.advance(Duration::from_mins(5));
    world.becomes(host, Status::Critical);
    attempt(&mut world, host, Ending::Succeeded);
}

#[test]
fn health_that_an_unknown_status_interrupts_does_not_add_up() {
    let (mut world, host) = world(1);
    attempt(&mut world, host, Ending::Succeeded);
    for _ in 0..2 {
        world.becomes(host, Status::Passing);
        world.advance(Duration::from_mins(6));
        world.becomes(host, Status::Unknown);
    }
    world.becomes(host, Status::Critical);
    assert!(world.ask(host).is_err());
}

#[test]
fn an_attempt_is_counted_at_the_grant_and_never_given_back() {
    let (mut world, host) = world(4);
    let rejected = world.ask(host).expect("a permit");
    world.reject(&rejected, PermitRejection::PlaybookUntrusted);
    attempt(&mut world, host, Ending::Superseded);
    attempt(&mut world, host, Ending::Expired);
    assert_eq!(world.core.state().attempts(host, &web()).count, 3);
    let lost = world.ask(host).expect("the last attempt");
    world.advance(Duration::from_hours(2));
    world.tick();
    let refusal = world.ask(host).expect_err("the lost run keeps its attempt");
    assert!(refusal.reasons.contains(&Reason::MaxAttempts { limit: 4, value: 4, began_with: None }), "{lost:?}");
}

#[test]
fn a_last_permit_that_the_agent_rejects_calls_people() {
    let (mut world, host) = world(1);
    let permit = world.ask(host).expect("a permit");
    world.reject(&permit, PermitRejection::DrillsRefused);
    assert_eq!(incidents(&world), [IncidentCause::AttemptsExhausted { attempts: 1, tried: Vec::new() }]);
}

#[test]
fn the_cooldown_runs_from_the_end_of_the_last_run() {
    let (mut world, host) = world(9);
    world.guarded(|guard| guard.cooldown = Duration::from_mins(5));
    let permit = world.ask(host).expect("a permit");
    world.advance(Duration::from_mins(2));
    world.end(&permit, Ending::Ineffective);
    let clears_at = world.now.wall.plus(Duration::from_mins(5));
    world.advance(Duration::from_millis(299_999));
    let refusal = world.ask(host).expect_err("a millisecond is missing");
    assert_eq!(refusal.reasons, [Reason::Cooldown { clears_at }]);
    assert_eq!(refusal.retry_at, Some(clears_at));
    world.advance(Duration::from_millis(1));
    assert!(world.ask(host).is_ok());
}

#[test]
fn in_doubt_and_a_playbook_that_asks_for_a_person_call_people_at_once() {
    let (mut world, host) = world(9);
    let permit = world.ask(host).expect("a permit");
    world.end(&permit, Ending::InDoubt);
    assert_eq!(incidents(&world), [IncidentCause::InDoubt { run: permit.run }]);
    let permit = world.ask(host).expect("a permit");
    let mut report = world.report(&permit, Ending::Failed);
    report.claim = Some(Claim::Escalate { summary: "the disk is gone".to_owned() });
    world.say(host, Body::RunEnded(Box::new(report)));
    let escalated = IncidentCause::Escalated { run: permit.run, summary: "the disk is gone".to_owned() };
    assert_eq!(incidents(&world).last(), Some(&escalated));
}

#[test]
fn a_run_without_a_permit_calls_people_and_counts_for_nothing() {
    let (mut world, host) = world(9);
    let permit = world.ask(host).expect("a permit");
    let mut report = world.report(&permit, Ending::Failed);
    report.permit = fettle_model::id::PermitId::from_uuid(world.mint());
    world.say(host, Body::RunEnded(Box::new(report)));
    assert_eq!(incidents(&world), [IncidentCause::InDoubt { run: permit.run }]);
    assert_eq!(world.core.state().in_flight().count(), 1);
}
