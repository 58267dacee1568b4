//! Runs that never report: when their slot is given back, and what stays spent.

use crate::world::{World, web};
use fettle_controlplane::core::{EFFECT_WITHIN, LEASE, RECLAIM_MARGIN, RunState, hold};
use fettle_model::check::Status;
use fettle_model::digest::KeyId;
use fettle_model::incident::IncidentCause;
use fettle_model::permit::{PermitRejection, UNDO_WITHIN};
use fettle_model::playbook::UndoPolicy;
use fettle_model::record::{Body, Kind};
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use std::time::Duration;

/// The fixture's playbook runs 2 minutes, is confirmed within 1, and leaves its steps.
fn expected_hold() -> Duration {
    LEASE + Duration::from_mins(2) + Duration::from_mins(1) + EFFECT_WITHIN + RECLAIM_MARGIN
}

#[test]
fn the_hold_covers_everything_that_may_still_happen() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    let digest = permit.playbook.as_ref().expect("a playbook").digest;
    let mut manifest = world.core.state().playbook(&digest).expect("admitted").admission.manifest.clone();
    assert_eq!(hold(&permit, Some(&manifest)), expected_hold());
    manifest.on_failure.undo = UndoPolicy::Automatic;
    assert_eq!(hold(&permit, Some(&manifest)), expected_hold() + UNDO_WITHIN);
    assert_eq!(hold(&permit, None), expected_hold() - Duration::from_mins(1));
}

#[test]
fn a_lost_run_gives_its_slot_back_to_the_millisecond_and_people_are_called() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    world.advance(expected_hold() - Duration::from_millis(1));
    world.tick();
    assert_eq!(world.count(|body| body.kind() == Kind::RunUnresolved), 0);
    world.advance(Duration::from_millis(1));
    world.tick();
    assert_eq!(world.count(|body| body.kind() == Kind::RunUnresolved), 1);
    let called = |body: &Body| matches!(body, Body::IncidentOpened(incident) if incident.cause == IncidentCause::InDoubt { run: permit.run });
    assert_eq!(world.count(called), 1);
    assert_eq!(world.core.state().attempts(hosts[0], &web()).count, 1, "its attempt stays spent");
    world.becomes(hosts[1], Status::Critical);
    assert!(world.ask(hosts[1]).is_ok(), "its slot is free");
}

#[test]
fn the_wall_clock_gives_no_slot_back() {
    let (mut world, hosts) = World::broken(5);
    assert!(world.ask(hosts[0]).is_ok());
    world.now.wall = world.now.wall.plus(Duration::from_hours(24));
    world.tick();
    assert_eq!(world.core.state().in_flight().count(), 1);
}

#[test]
fn after_a_restart_every_slot_is_held_for_its_full_length_again() {
    let (mut world, hosts) = World::broken(5);
    assert!(world.ask(hosts[0]).is_ok());
    world.advance(expected_hold() - Duration::from_millis(1));
    world.restart();
    world.advance(expected_hold() - Duration::from_millis(1));
    world.tick();
    assert_eq!(world.core.state().in_flight().count(), 1);
    world.advance(Duration::from_millis(1));
    world.tick();
    assert_eq!(world.core.state().in_flight().count(), 0);
}

#[test]
fn a_late_report_replaces_the_unresolved_end_and_counts_nothing_twice() {
    let (mut world, hosts) = World::broken(5);
    world.guarded(|guard| guard.max_failures = 1);
    let permit = world.ask(hosts[0]).expect("a permit");
    world.advance(expected_hold());
    world.tick();
    let before = world.log.len();
    world.end(&permit, Ending::Failed);
    assert_eq!(world.log.len(), before + 1, "only the report itself is added");
    let run = world.core.state().permit(permit.permit).expect("a run");
    assert!(matches!(run.state, RunState::Ended { ending: Ending::Failed, .. }), "{:?}", run.state);
}

#[test]
fn several_lost_runs_are_given_up_one_after_the_other() {
    let (mut world, hosts) = World::broken(6);
    world.guarded(|guard| {
        guard.max_in_flight = "3".parse().expect("an amount");
        guard.min_healthy = "0".parse().expect("an amount");
        guard.max_failures = 1;
    });
    for host in &hosts[3..] {
        world.earn(*host);
    }
    for host in &hosts[1..3] {
        world.becomes(*host, Status::Critical);
    }
    for host in &hosts[..3] {
        assert!(world.ask(*host).is_ok());
    }
    world.advance(expected_hold());
    world.tick();
    assert_eq!(world.count(|body| body.kind() == Kind::RunUnresolved), 3);
    // The second failure opened the service's and the playbook's breaker, once each.
    assert_eq!(world.count(|body| body.kind() == Kind::BreakerOpened), 2);
}

#[test]
fn a_rejection_frees_the_slot_only_when_the_permit_can_no_longer_be_used() {
    for (because, frees) in [
        (PermitRejection::Replayed, false),
        (PermitRejection::NotInLog, false),
        (PermitRejection::BadSignature, false),
        (PermitRejection::ForeignKey { key: KeyId::of(b"another") }, false),
        (PermitRejection::OtherHost, false),
        (PermitRejection::Expired { age_ms: 40_000, lease_ms: 30_000 }, true),
        (PermitRejection::PlaybookUntrusted, true),
        (PermitRejection::LogForked, true),
    ] {
        let (mut world, hosts) = World::broken(5);
        let permit = world.ask(hosts[0]).expect("a permit");
        world.reject(&permit, because.clone());
        assert_eq!(world.core.state().in_flight().count(), usize::from(!frees), "{because:?}");
    }
}

#[test]
fn another_hosts_report_or_rejection_ends_nothing() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    let stolen = fettle_model::permit::Permit { host: hosts[1], ..permit };
    world.end(&stolen, Ending::Succeeded);
    world.reject(&stolen, PermitRejection::PlaybookUntrusted);
    assert_eq!(world.core.state().in_flight().count(), 1);
    let refusal = world.ask(hosts[0]).expect_err("it still runs");
    assert!(refusal.reasons.iter().any(|reason| matches!(reason, Reason::HostBusy { .. })));
}
