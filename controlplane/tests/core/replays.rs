//! Famous failures of automation, played on the real core. Each test is named for what went wrong elsewhere, and
//! asserts what the log has to say of it here.

use crate::world::{World, describe, description, web};
use fettle_controlplane::core::{EFFECT_WITHIN, Heard, LEASE, Outcome, PersonRequest, RECLAIM_MARGIN, Senses, views};
use fettle_model::breaker::ReasonKind;
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::check::{Status, Transition};
use fettle_model::counter::TransitionEpoch;
use fettle_model::guard::Amount;
use fettle_model::incident::IncidentCause;
use fettle_model::permit::{Permit, Purpose};
use fettle_model::record::{Body, Kind};
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use std::collections::BTreeMap;
use std::time::Duration;

fn granted(world: &World) -> usize {
    world.count(|body| body.kind() == Kind::PermitGranted)
}

fn causes(world: &World) -> Vec<IncidentCause> {
    let cause = |body: &Body| if let Body::IncidentOpened(opened) = body { Some(opened.cause.clone()) } else { None };
    world.log.iter().filter_map(|logged| cause(&logged.record.body)).collect()
}

fn rules(reasons: &[Reason]) -> Vec<&'static str> {
    reasons.iter().map(Reason::rule).collect()
}

/// A decommissioning tool ran a second time on machines that were half done, got an empty list, and took it for
/// every machine there is.
#[test]
fn an_empty_target_list_that_meant_everything() {
    let (mut world, hosts) = World::broken(5);
    let first = world.ask(hosts[0]).expect("a sound request");
    world.end(&first, Ending::Failed);
    world.advance(Duration::from_mins(5));
    let before = granted(&world);
    let refusal = world.ask_with(hosts[0], |request| request.targets.clear()).expect_err("nothing is named");
    assert_eq!(refusal.reasons, [Reason::Unbound { label: None }]);
    assert_eq!(refusal.retry_at, None, "asking again without a change would be of no use");
    assert_eq!(granted(&world), before);
    assert!(world.ask(hosts[0]).is_ok(), "with its targets the same fault may be healed");
}

/// A check that fails and recovers every two minutes, and automation that acts at every failure for six hours.
#[test]
fn a_check_that_flapped_for_six_hours() {
    let (mut world, hosts) = World::proved(5);
    let begun = granted(&world);
    let mut refused = 0;
    for _ in 0..90 {
        world.becomes(hosts[0], Status::Critical);
        match world.ask(hosts[0]) {
            Ok(permit) => {
                world.advance(Duration::from_mins(2));
                world.end(&permit, Ending::Succeeded);
            }
            Err(refusal) => {
                refused += 1;
                let known = ["max-attempts", "cooldown"];
                assert!(rules(&refusal.reasons).iter().all(|rule| known.contains(rule)), "{refusal:?}");
                world.advance(Duration::from_mins(2));
            }
        }
        world.becomes(hosts[0], Status::Passing);
        world.advance(Duration::from_mins(2));
    }
    assert_eq!((granted(&world) - begun, refused), (3, 87), "no stretch of health was ten minutes long");
    assert_eq!(
        causes(&world),
        [IncidentCause::AttemptsExhausted { attempts: 3, tried: Vec::new() }],
        "people are called once"
    );
    // Once the check has rested, it is a new problem and automation may help again.
    world.advance(Duration::from_mins(10));
    world.becomes(hosts[0], Status::Critical);
    assert!(world.ask(hosts[0]).is_ok());
}

/// A restart that helped for some minutes, 39 times in a row: each was a success, and nobody was told.
#[test]
fn thirty_nine_successful_runs_that_did_not_last() {
    let (mut world, hosts) = World::proved(5);
    let begun = granted(&world);
    for fault in 1..=39 {
        world.becomes(hosts[0], Status::Critical);
        if let Ok(permit) = world.ask(hosts[0]) {
            world.end(&permit, Ending::Succeeded);
        }
        world.becomes(hosts[0], Status::Passing);
        world.advance(Duration::from_mins(9));
        let called = causes(&world).len();
        assert_eq!(called, usize::from(fault > 3), "after {fault} faults");
    }
    assert_eq!(granted(&world) - begun, 3);
    assert_eq!(causes(&world), [IncidentCause::AttemptsExhausted { attempts: 3, tried: Vec::new() }]);
    assert_eq!(world.count(|body| body.kind() == Kind::PermitRefused), 36, "each is a record with its reason");
}

/// Automation that acted on what had been true an hour ago.
#[test]
fn a_fact_that_went_stale() {
    let (mut world, hosts) = World::broken(5);
    // The request was on its way while the fault went and another one came.
    let epoch = world.core.state().host(hosts[0]).expect("a host").newest_epoch(&web());
    world.becomes(hosts[0], Status::Passing);
    world.becomes(hosts[0], Status::Critical);
    let stale = |purpose: &mut Purpose| {
        if let Purpose::Remediate { epoch: asked, .. } = purpose {
            *asked = epoch;
        }
    };
    let refusal = world.ask_with(hosts[0], |request| stale(&mut request.purpose)).expect_err("an old fault");
    let newest = TransitionEpoch(epoch.0 + 2);
    assert_eq!(refusal.reasons, [Reason::TransitionStale { asked: epoch, newest }]);

    // A transition that was delayed says nothing of the present.
    let late = Transition {
        of: web(),
        epoch: TransitionEpoch(epoch.0 + 1),
        from: Status::Critical,
        to: Status::Passing,
        at: world.now.wall,
        reason: "late".to_owned(),
    };
    assert_eq!(world.say(hosts[0], Body::TransitionSeen(Box::new(late))), Outcome::Done);
    assert_eq!(world.core.state().host(hosts[0]).expect("a host").newest_epoch(&web()), newest);

    // The host was upgraded since the playbook was proved on its kind.
    let mut upgraded = description("p0", "production");
    "13".clone_into(&mut upgraded.os.version);
    assert_eq!(world.say(hosts[0], Body::HostDescribed(Box::new(upgraded))), Outcome::Done);
    let refusal = world.ask(hosts[0]).expect_err("nothing is proved of this class");
    assert_eq!(rules(&refusal.reasons), ["no-evidence"]);
    assert_eq!(world.say(hosts[0], describe("p0", "production")), Outcome::Done);
    assert!(world.ask(hosts[0]).is_ok());
}

/// A breaker tripped in a storm and held back every event, those that would have ended it among them.
#[test]
fn a_breaker_that_stopped_recoveries() {
    let (mut world, hosts) = World::broken(6);
    world.guarded(|guard| {
        guard.max_in_flight = Amount::Count(3);
        guard.min_healthy = Amount::Count(1);
        guard.max_failures = 0;
    });
    world.earn(hosts[5]);
    world.becomes(hosts[1], Status::Critical);
    let running = world.ask(hosts[1]).expect("the second of two");
    let failing = world.ask(hosts[0]).expect("the first of two");
    world.end(&failing, Ending::Failed);
    let scope = || "global".parse().expect("a scope");
    world.done(PersonRequest::Stop { scope: scope(), why: "we look".to_owned() });
    let healthy = |world: &World| {
        let rows = views::services(world.core.state());
        let row = rows.iter().find(|row| row.environment.as_ref().is_some_and(|name| name.as_str() == "production"));
        row.map_or(0, |row| row.healthy)
    };
    let before = healthy(&world);

    // What ends a run, and what says that a host is well again, passes through all of it.
    world.end(&running, Ending::Succeeded);
    world.becomes(hosts[0], Status::Passing);
    world.becomes(hosts[1], Status::Passing);
    assert_eq!(world.core.state().in_flight().count(), 0);
    assert_eq!(healthy(&world), before + 2);
    assert_eq!(world.count(|body| body.kind() == Kind::BreakerOpened), 2);
    // The success closed nothing: that run was no probe.
    world.done(PersonRequest::Resume { scope: scope(), why: "go on".to_owned() });
    world.becomes(hosts[2], Status::Critical);
    let refusal = world.ask(hosts[2]).expect_err("the breaker is a reason of its own");
    assert_eq!(rules(&refusal.reasons), ["breaker-open", "breaker-open"]);
}

/// Whoever held the only lock was gone, and for hours nobody else could act; or the lock was given to the next
/// while its holder still worked.
#[test]
fn a_lock_whose_holder_was_gone() {
    let (mut world, hosts) = World::broken(5);
    let lost = world.ask(hosts[0]).expect("a permit");
    world.becomes(hosts[1], Status::Critical);
    world.advance(hold_of(&lost) - Duration::from_millis(1));
    world.tick();
    let refusal = world.ask(hosts[1]).expect_err("its effects may still be in progress");
    assert_eq!(rules(&refusal.reasons), ["max-in-flight"]);
    world.advance(Duration::from_millis(1));
    world.tick();
    assert_eq!(causes(&world), [IncidentCause::InDoubt { run: lost.run }], "people are called, once");
    let next = world.ask(hosts[1]).expect("the slot came back by itself");
    assert_eq!(next.host, hosts[1]);

    // The holder comes back after all: its report is kept, and counts for nothing a second time.
    let before = world.log.len();
    world.end(&lost, Ending::Succeeded);
    assert_eq!((world.log.len(), world.core.state().in_flight().count()), (before + 1, 1));
    assert_eq!(world.core.state().attempts(hosts[0], &web()).count, 1, "its attempt stays spent");
    world.end(&next, Ending::Succeeded);
    world.advance(Duration::from_mins(5));
    let again = world.ask(hosts[0]).expect("its host may try again");
    assert!(again.fence > lost.fence, "whatever is still on its way under the old permit is stale");
}

fn hold_of(permit: &Permit) -> Duration {
    // The fixture's playbook is confirmed within a minute and undoes nothing.
    LEASE + permit.run_within + Duration::from_mins(1) + EFFECT_WITHIN + RECLAIM_MARGIN
}

/// Two fifths of a fleet failed together, and automation restarted all of it, one host after the other.
#[test]
fn a_mass_failure_of_two_fifths_of_a_fleet() {
    let (mut world, hosts) = World::proved(200);
    world.limits = BreakerLimits::default();
    world.guarded(|guard| guard.min_healthy = Amount::Count(0));
    let begun = granted(&world);
    let mut refused = 0;
    for host in &hosts[..80] {
        world.becomes(*host, Status::Critical);
        match world.ask(*host) {
            Ok(permit) => world.end(&permit, Ending::Ineffective),
            Err(_) => refused += 1,
        }
        if granted(&world) - begun > 3 {
            break;
        }
    }
    assert!(granted(&world) - begun <= 3, "three failures open the service's breaker");
    for host in &hosts[..80] {
        world.becomes(*host, Status::Critical);
    }
    world.tick();
    for scope in ["global", "environment:production", "service:web"] {
        let stormy = |body: &Body| matches!(body, Body::BreakerOpened(opened) if opened.scope.to_string() == scope && opened.because.kind() == ReasonKind::Storm);
        assert_eq!(world.count(stormy), 1, "{scope}");
    }
    let before = granted(&world);
    for host in &hosts[..80] {
        let refusal = world.ask(*host).expect_err("a storm is no time to act");
        assert!(rules(&refusal.reasons).contains(&"breaker-open"), "{refusal:?}");
        refused += 1;
    }
    assert_eq!(granted(&world), before);
    assert_eq!(world.count(|body| body.kind() == Kind::PermitRefused), refused, "each is a record with its reasons");
}

/// Monitoring went blind, which looked as if nothing were wrong, or as if everything were.
#[test]
fn a_fleet_that_went_silent() {
    let (mut world, hosts) = World::proved(10);
    world.limits = BreakerLimits::default();
    world.guarded(|guard| guard.min_healthy = Amount::Count(0));
    world.becomes(hosts[0], Status::Critical);
    let production = || "production".parse().expect("a name");
    let heard = |silent| BTreeMap::from([(production(), Heard { hosts: 10, silent })]);
    world.senses = Senses { heard: heard(6), lag: Duration::ZERO, ..Senses::default() };
    world.tick();
    let refusal = world.ask(hosts[0]).expect_err("nobody knows how the others are");
    assert_eq!(rules(&refusal.reasons), ["breaker-open", "breaker-open"]);
    // What is heard is believed all the same.
    world.becomes(hosts[0], Status::Passing);
    assert_eq!(world.core.state().host(hosts[0]).expect("a host").newest_epoch(&web()), TransitionEpoch(3));
    world.senses = Senses { heard: heard(0), lag: Duration::ZERO, ..Senses::default() };
    world.tick();
    world.advance(Duration::from_mins(1));
    world.tick();
    world.becomes(hosts[0], Status::Critical);
    assert!(world.ask(hosts[0]).is_ok(), "it ends by itself once they are heard for a while");
}
