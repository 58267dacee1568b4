//! Breakers that the fleet's condition opens: a storm, blindness, a log that lags.

use crate::world::World;
use fettle_controlplane::core::{Heard, Outcome, PersonRequest, Senses};
use fettle_model::breaker::{Easing, OpenReason, ReasonKind};
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::check::Status;
use fettle_model::guard::Amount;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use std::collections::BTreeMap;
use std::time::Duration;

/// Ten healthy production hosts under the limits that everybody has who sets none.
fn world() -> (World, Vec<HostId>) {
    let (mut world, hosts) = World::proved(10);
    world.limits = BreakerLimits::default();
    world.guarded(|guard| guard.min_healthy = Amount::Count(0));
    (world, hosts)
}

/// What opened and eased, as scope, kind and what that meant.
fn switched(world: &World) -> Vec<String> {
    let said = world.log.iter().filter_map(|logged| match &logged.record.body {
        Body::BreakerOpened(opened) => Some(format!("{} {} opened", opened.scope, opened.because.kind().as_str())),
        Body::BreakerEased(eased) => {
            let easing = match eased.easing {
                Easing::HalfOpen { .. } => "half-open",
                Easing::Gone => "gone",
            };
            Some(format!("{} {} {easing}", eased.scope, eased.reason.as_str()))
        }
        Body::BreakerClosed(closed) => Some(format!("{} closed", closed.scope)),
        _ => None,
    });
    said.collect()
}

fn rules(world: &mut World, host: HostId) -> Vec<&'static str> {
    let refused = world.ask(host).err();
    refused.map(|refusal| refusal.reasons.iter().map(Reason::rule).collect()).unwrap_or_default()
}

fn critical(world: &mut World, hosts: &[HostId]) {
    for host in hosts {
        world.becomes(*host, Status::Critical);
    }
}

fn heard(silent: u32) -> Senses {
    let production = "production".parse().expect("a name");
    Senses {
        heard: BTreeMap::from([(production, Heard { hosts: 10, silent })]),
        lag: Duration::ZERO,
        ..Senses::default()
    }
}

#[test]
fn thirty_percent_are_no_storm_and_one_host_more_is_one_before_any_tick() {
    let (mut world, hosts) = world();
    critical(&mut world, &hosts[..3]);
    world.tick();
    assert_eq!(switched(&world), Vec::<String>::new());
    critical(&mut world, &hosts[3..4]);
    let refusal = world.ask(hosts[0]).expect_err("a storm");
    let storms: Vec<(String, OpenReason)> = refusal
        .reasons
        .iter()
        .filter_map(|reason| match reason {
            Reason::BreakerOpen { scope, because, .. } => Some((scope.to_string(), because.first()?.clone())),
            _ => None,
        })
        .collect();
    let storm = |hosts| OpenReason::Storm { unhealthy: 4, hosts, allowed: 3 };
    let expected = [("global", 12), ("environment:production", 10), ("service:web", 10)];
    assert_eq!(storms, expected.map(|(scope, hosts)| (scope.to_owned(), storm(hosts))));
    assert!(refusal.reasons.iter().all(|reason| reason.clears_at().is_none()), "nobody knows when a storm ends");
    world.tick();
    let opened = ["global storm opened", "environment:production storm opened", "service:web storm opened"];
    assert_eq!(switched(&world), opened);
    world.tick();
    assert_eq!(switched(&world).len(), 3, "each opens once");
}

#[test]
fn one_flapping_host_is_no_storm_but_hosts_that_take_turns_are() {
    let (mut world, hosts) = world();
    for _ in 0..20 {
        world.becomes(hosts[0], Status::Critical);
        world.becomes(hosts[0], Status::Passing);
        world.advance(Duration::from_secs(5));
    }
    world.tick();
    assert_eq!(switched(&world), Vec::<String>::new(), "unique hosts count");
    for host in &hosts[1..4] {
        world.becomes(*host, Status::Critical);
        world.becomes(*host, Status::Passing);
    }
    world.tick();
    assert_eq!(switched(&world).len(), 3);
}

#[test]
fn a_storm_that_is_over_for_the_cooldown_lets_one_probe_pass_and_its_success_closes() {
    let (mut world, hosts) = world();
    critical(&mut world, &hosts[..4]);
    world.tick();
    for host in &hosts[1..4] {
        world.becomes(*host, Status::Passing);
    }
    world.tick();
    assert_eq!(switched(&world).len(), 3, "those that were unhealthy within the window count");
    world.advance(Duration::from_mins(5));
    world.tick();
    assert_eq!(
        switched(&world)[3..],
        ["global storm half-open", "environment:production storm half-open", "service:web storm half-open"]
    );
    assert_eq!(rules(&mut world, hosts[0]), ["breaker-open"; 3], "it must have been over for the cooldown");
    world.advance(Duration::from_mins(15));
    let probe = world.ask(hosts[0]).expect("the probe");
    world.end(&probe, Ending::Succeeded);
    assert_eq!(switched(&world)[6..], ["global closed", "environment:production closed", "service:web closed"]);
}

#[test]
fn a_storm_that_comes_again_stops_the_waiting_for_a_probe() {
    let (mut world, hosts) = world();
    critical(&mut world, &hosts[..4]);
    world.tick();
    world.becomes(hosts[3], Status::Passing);
    world.advance(Duration::from_mins(5));
    world.tick();
    world.becomes(hosts[3], Status::Critical);
    world.tick();
    world.advance(Duration::from_mins(15));
    world.tick();
    assert_eq!(switched(&world).len(), 9, "opened, half-open, opened in three scopes");
    assert_eq!(rules(&mut world, hosts[0]), ["breaker-open"; 3]);
}

#[test]
fn hosts_that_are_drilled_or_gone_are_not_part_of_a_storm() {
    let (mut world, hosts) = world();
    critical(&mut world, &hosts[..4]);
    for host in &hosts[..2] {
        let why = "sold".to_owned();
        world.done(PersonRequest::SetHostState { host: *host, state: HostState::Revoked, why });
    }
    world.tick();
    assert_eq!(switched(&world), Vec::<String>::new(), "two of eight are no storm");
    let staging: Vec<HostId> =
        world.core.state().hosts().filter(|host| host.environment.as_str() == "staging").map(|host| host.id).collect();
    world.becomes(staging[0], Status::Critical);
    drop(world.drill_to_healing(staging[1]));
    world.tick();
    assert!(
        switched(&world).iter().all(|said| !said.contains("staging")),
        "one of two is allowed, the drilled one none"
    );
}

#[test]
fn silent_agents_blind_their_environment_and_everything_and_are_forgiven_after_a_while() {
    let (mut world, hosts) = world();
    critical(&mut world, &hosts[..1]);
    world.senses = heard(5);
    world.tick();
    assert_eq!(switched(&world), Vec::<String>::new());
    world.senses = heard(6);
    world.tick();
    assert_eq!(switched(&world), ["global blindness opened", "environment:production blindness opened"]);
    assert_eq!(rules(&mut world, hosts[0]), ["breaker-open"; 2]);
    world.senses = heard(5);
    world.tick();
    assert_eq!(rules(&mut world, hosts[0]), ["breaker-open"; 2], "heard, but not yet for a minute");
    world.advance(Duration::from_mins(1));
    world.tick();
    assert_eq!(switched(&world)[4..], ["global blindness gone", "environment:production blindness gone"]);
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn a_log_that_lags_stops_everything_until_it_keeps_up_and_no_other_reason_ends_with_it() {
    let (mut world, hosts) = world();
    critical(&mut world, &hosts[..1]);
    world.senses.lag = Duration::from_secs(10);
    world.tick();
    assert_eq!(switched(&world), Vec::<String>::new());
    world.senses.lag = Duration::from_secs(11);
    world.tick();
    assert_eq!(switched(&world), ["global log-lag opened"]);
    assert_eq!(rules(&mut world, hosts[0]), ["breaker-open"]);
    critical(&mut world, &hosts[1..4]);
    world.tick();
    world.senses.lag = Duration::ZERO;
    world.tick();
    world.advance(Duration::from_mins(1));
    world.tick();
    let rest: Vec<ReasonKind> = fettle_controlplane::core::views::breakers(world.core.state(), world.now.wall)
        .iter()
        .filter(|row| row.scope.to_string() == "global")
        .flat_map(|row| row.because.iter().map(OpenReason::kind))
        .collect();
    assert_eq!(rest, [ReasonKind::Storm]);
}

#[test]
fn recoveries_and_reports_pass_through_a_storm_and_a_person_can_end_it() {
    let (mut world, hosts) = world();
    critical(&mut world, &hosts[..1]);
    let running = world.ask(hosts[0]).expect("a permit");
    critical(&mut world, &hosts[1..5]);
    world.tick();
    world.end(&running, Ending::Succeeded);
    for host in &hosts[1..5] {
        world.becomes(*host, Status::Passing);
        assert_eq!(world.status(*host), Status::Passing);
    }
    assert_eq!(world.core.state().in_flight().count(), 0);
    for scope in ["global", "environment:production", "service:web"] {
        let scope = scope.parse().expect("a scope");
        world.done(PersonRequest::Resume { scope, why: "the network is back".to_owned() });
    }
    let still = switched(&world);
    world.tick();
    assert_eq!(world.configure(), Outcome::Unchanged);
    assert!(switched(&world).len() > still.len(), "what still holds opens it again at the next look");
}
