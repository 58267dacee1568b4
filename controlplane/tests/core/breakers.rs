//! Breakers: they open on the failure after the last allowed one, let one probe pass, and never hold
//! back what agents say.

use crate::world::{Answer, World};
use fettle_controlplane::core::{Outcome, PersonRequest, views};
use fettle_model::breaker::{BreakerOpened, OpenReason};
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::check::Status;
use fettle_model::guard::Amount;
use fettle_model::id::HostId;
use fettle_model::permit::PermitRejection;
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use std::time::Duration;

/// Many critical hosts, one attempt of each; `allowed` failures in an hour.
fn world(allowed: u32) -> (World, Vec<HostId>) {
    let (mut world, hosts) = World::broken(20);
    world.guarded(|guard| {
        guard.max_failures = allowed;
        guard.min_healthy = Amount::Count(0);
        guard.max_in_flight = Amount::Count(20);
        guard.max_attempts = 9;
        guard.cooldown = Duration::from_mins(5);
        guard.max_irreversible = 100;
    });
    world.earn(hosts[19]);
    for host in &hosts[1..] {
        world.becomes(*host, Status::Critical);
    }
    (world, hosts)
}

fn fail(world: &mut World, host: HostId) {
    let permit = world.ask(host).expect("no breaker is open yet");
    world.end(&permit, Ending::Failed);
}

fn opened(world: &World) -> Vec<(String, u32)> {
    world
        .log
        .iter()
        .filter_map(|logged| match &logged.record.body {
            Body::BreakerOpened(opened) => match &**opened {
                BreakerOpened { scope, because: OpenReason::Failures { count, .. }, .. } => {
                    Some((scope.to_string(), *count))
                }
                BreakerOpened {
                    because:
                        OpenReason::ByHand { .. }
                        | OpenReason::Storm { .. }
                        | OpenReason::Blindness { .. }
                        | OpenReason::LogLag { .. },
                    ..
                } => None,
            },
            _ => None,
        })
        .collect()
}

fn rules(answer: Answer) -> Vec<&'static str> {
    answer.err().map(|refusal| refusal.reasons.iter().map(Reason::rule).collect()).unwrap_or_default()
}

#[test]
fn the_breaker_opens_on_the_failure_after_the_allowed_ones() {
    for allowed in [0, 1, 2] {
        let (mut world, hosts) = world(allowed);
        for host in hosts.iter().take(usize::try_from(allowed).expect("small")) {
            fail(&mut world, *host);
        }
        assert_eq!(opened(&world), [], "{allowed} failures are allowed");
        fail(&mut world, hosts[10]);
        let count = allowed + 1;
        let expected = [("service:web".to_owned(), count), ("playbook:restart-service".to_owned(), count)];
        assert_eq!(opened(&world), expected);
        assert_eq!(rules(world.ask(hosts[11])), ["breaker-open", "breaker-open"]);
    }
}

#[test]
fn only_failures_count_and_only_within_the_window() {
    let (mut world, hosts) = world(1);
    for (host, ending) in hosts.iter().zip([Ending::Superseded, Ending::Cancelled, Ending::Expired, Ending::Succeeded])
    {
        let permit = world.ask(*host).expect("a permit");
        world.end(&permit, ending);
    }
    fail(&mut world, hosts[4]);
    world.advance(Duration::from_hours(1));
    fail(&mut world, hosts[5]);
    assert_eq!(opened(&world), []);
    fail(&mut world, hosts[6]);
    assert_eq!(opened(&world).len(), 2);
}

#[test]
fn half_open_lets_one_probe_pass_and_its_success_closes() {
    let (mut world, hosts) = world(0);
    fail(&mut world, hosts[0]);
    world.advance(Duration::from_mins(5));
    let probe = world.ask(hosts[1]).expect("the probe");
    // The failure took the ramp back to one, which the probe uses up.
    assert_eq!(rules(world.ask(hosts[2])), ["ramp", "probe-taken", "probe-taken"]);
    world.end(&probe, Ending::Succeeded);
    let closed = world.count(|body| matches!(body, Body::BreakerClosed(closed) if closed.probe == Some(probe.run)));
    assert_eq!(closed, 2);
    assert!(world.ask(hosts[2]).is_ok());
    assert!(world.ask(hosts[3]).is_ok());
}

#[test]
fn a_probe_that_fails_opens_again_and_one_that_proves_nothing_is_free_again() {
    let (mut world, hosts) = world(0);
    fail(&mut world, hosts[0]);
    world.advance(Duration::from_mins(5));
    for host in &hosts[1..4] {
        let probe = world.ask(*host).expect("the probe is free");
        if *host == hosts[1] {
            world.reject(&probe, PermitRejection::Busy);
        } else {
            world.end(&probe, Ending::Superseded);
        }
    }
    let probe = world.ask(hosts[4]).expect("the probe is free");
    world.end(&probe, Ending::Ineffective);
    let refusal = world.ask(hosts[5]).expect_err("open again");
    let clears_at = world.now.wall.plus(Duration::from_mins(5));
    assert!(refusal.reasons.iter().all(|reason| reason.clears_at() == Some(clears_at)), "{refusal:?}");
    assert_eq!(refusal.retry_at, Some(clears_at));
}

#[test]
fn failures_before_a_breaker_closed_no_longer_count() {
    let (mut world, hosts) = world(1);
    fail(&mut world, hosts[0]);
    fail(&mut world, hosts[1]);
    let scopes = ["service:web", "playbook:restart-service"];
    for scope in scopes {
        let scope = scope.parse().expect("a scope");
        world.done(PersonRequest::Resume { scope, why: "the cause is found".to_owned() });
    }
    fail(&mut world, hosts[2]);
    assert!(world.ask(hosts[3]).is_ok(), "one failure is allowed again");
}

#[test]
fn the_wider_breakers_have_limits_of_their_own() {
    let (mut world, hosts) = world(1_000);
    let BreakerLimits { environment_failures, global_failures, cooldown, .. } = world.limits.clone();
    let mut hosts = hosts.into_iter();
    for _ in 0..environment_failures {
        fail(&mut world, hosts.next().expect("a host"));
    }
    assert_eq!(opened(&world), []);
    fail(&mut world, hosts.next().expect("a host"));
    assert_eq!(opened(&world), [("environment:production".to_owned(), environment_failures + 1)]);
    while opened(&world).iter().all(|(scope, _)| scope != "global") {
        world.advance(cooldown.saturating_sub(Duration::from_mins(10)));
        let scope = "environment:production".parse().expect("a scope");
        let resumed = world.person(PersonRequest::Resume { scope, why: "go on".to_owned() });
        assert!(matches!(resumed, Outcome::Done | Outcome::PersonRefused(_)));
        fail(&mut world, hosts.next().expect("a host"));
    }
    assert_eq!(opened(&world).last(), Some(&("global".to_owned(), global_failures + 1)));
}

#[test]
fn an_open_breaker_and_a_stop_order_let_transitions_and_reports_pass() {
    let (mut world, hosts) = world(0);
    let running = world.ask(hosts[1]).expect("a permit");
    fail(&mut world, hosts[0]);
    let scope = "global".parse().expect("a scope");
    world.done(PersonRequest::Stop { scope, why: "storm".to_owned() });
    world.becomes(hosts[2], Status::Passing);
    world.end(&running, Ending::Succeeded);
    assert_eq!(world.core.state().in_flight().count(), 0);
    assert_eq!(world.status(hosts[2]), Status::Passing);
}

#[test]
fn failures_of_drills_do_not_stop_production() {
    let (mut world, hosts) = world(0);
    let staging = world.host("s9", "staging");
    let healing = world.drill_to_healing(staging);
    world.end(&healing, Ending::Failed);
    assert_eq!(opened(&world), []);
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn the_view_shows_every_reason_of_a_scope() {
    let (mut world, hosts) = world(0);
    fail(&mut world, hosts[0]);
    let scope = "service:web".parse().expect("a scope");
    world.done(PersonRequest::Stop { scope, why: "we look".to_owned() });
    let rows = views::breakers(world.core.state(), world.now.wall);
    let shown: Vec<(String, usize, bool)> =
        rows.iter().map(|row| (row.scope.to_string(), row.because.len(), row.half_open_at.is_some())).collect();
    assert_eq!(shown, [("service:web".to_owned(), 2, false), ("playbook:restart-service".to_owned(), 1, true)]);
}
