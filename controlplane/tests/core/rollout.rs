//! Rollouts: a change reaches hosts ring by ring, hosts beyond keep what they had, and what takes something away is in
//! force everywhere at once.

use crate::world::{World, admit, version};
use fettle_controlplane::core::{Outcome, PersonRefusal, PersonRequest, RolloutStanding, Wait, views};
use fettle_model::check::Status;
use fettle_model::configuration::Declared;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::incident::IncidentCause;
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use fettle_model::rollout::{
    ConfigurationFault, ConfigurationFaults, ConfigurationRejected, Ring, RolloutOrder, Setback,
};
use fettle_model::run::Ending;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const SOAK: Duration = Duration::from_mins(1);

/// Two staging hosts, `production` others, and a configuration that all of them hold.
fn world(production: usize) -> (World, Vec<HostId>) {
    let (mut world, hosts) = World::proved(production);
    world.rollout.soak = SOAK;
    assert_eq!(world.configure(), Outcome::Done);
    world.done(admit("restart-service", "2.0.0", "acme"));
    (world, hosts)
}

/// Changes the newest configuration.
fn change(world: &mut World, change: impl FnOnce(&mut Declared)) -> ConfigurationGeneration {
    let mut declared = world.core.state().configuration().declared();
    change(&mut declared);
    let replaces = world.core.state().configuration().generation();
    world.done(PersonRequest::SetConfiguration { declared: Box::new(declared), replaces });
    world.core.state().configuration().generation()
}

/// The remediation uses the next version of its playbook.
fn next_version(world: &mut World) -> ConfigurationGeneration {
    change(world, |declared| {
        declared.remediations.first_mut().expect("one").playbook = version("restart-service", "2.0.0");
    })
}

fn ring(world: &World) -> Option<Ring> {
    world.core.state().rollout().map(|rollout| rollout.ring)
}

fn waits(world: &World) -> Option<Wait> {
    world.core.state().rollout().and_then(|it| it.wait(world.core.state(), world.now, &world.senses.held))
}

/// Every agent holds what has reached it for a soak, and whatever is due is done.
fn soaked(world: &mut World) {
    world.all_hold();
    world.advance(SOAK);
    world.tick();
}

fn hosts_that_hold(world: &World, hosts: &[HostId], generation: ConfigurationGeneration) -> Vec<usize> {
    (0..hosts.len()).filter(|at| hosts.get(*at).is_some_and(|host| world.holds(*host) == generation)).collect()
}

fn halted(world: &World) -> Option<Vec<Setback>> {
    match &world.core.state().rollout()?.standing {
        RolloutStanding::Running => None,
        RolloutStanding::Halted { because, .. } => Some(because.clone()),
    }
}

fn order(world: &mut World, order: RolloutOrder) -> Outcome {
    let seen = world.core.state().configuration().generation();
    world.person(PersonRequest::OrderRollout { order, seen, why: "looked at it".to_owned() })
}

fn staging(world: &World) -> HostId {
    world.core.state().hosts().find(|host| host.environment.is_staging()).expect("a staging host").id
}

fn reject(world: &mut World, host: HostId, generation: ConfigurationGeneration) {
    let because = vec![ConfigurationFault::Unreadable { why: "unknown field `zeal`".to_owned() }];
    let because = ConfigurationFaults::first_of(because).expect("one");
    let keeps = ConfigurationGeneration(1);
    let rejected = ConfigurationRejected { generation, keeps, because };
    assert_eq!(world.say(host, Body::ConfigurationRejected(Box::new(rejected))), Outcome::Done);
}

#[test]
fn a_change_reaches_staging_then_one_host_then_a_part_and_then_all() {
    let (mut world, hosts) = world(8);
    let before = world.core.state().configuration().generation();
    let target = next_version(&mut world);
    let staged: BTreeSet<Ring> = ring(&world).into_iter().collect();
    assert_eq!(staged, BTreeSet::from([Ring::Staging]));
    assert_eq!(world.holds(staging(&world)), target);
    assert_eq!(hosts_that_hold(&world, &hosts, before).len(), 8);
    let mut reached = Vec::new();
    while world.core.state().rollout().is_some() {
        soaked(&mut world);
        reached.push((ring(&world), hosts_that_hold(&world, &hosts, target)));
    }
    let all = (0..8).collect();
    assert_eq!(reached, [(Some(Ring::One), vec![0]), (Some(Ring::Part), vec![0, 1]), (None, all)]);
}

#[test]
fn a_host_is_briefed_with_and_judged_by_what_has_reached_it() {
    let (mut world, hosts) = world(3);
    let before = world.core.state().configuration().generation();
    let positions = |world: &World, host| views::briefing(world.core.state(), host).expect("a briefing");
    let old = positions(&world, hosts[2]);
    let target = next_version(&mut world);
    assert_eq!(positions(&world, hosts[2]).configuration, old.configuration);
    assert_eq!(positions(&world, hosts[2]).playbooks, old.playbooks);
    let staged = positions(&world, staging(&world));
    assert_eq!(staged.configuration, world.core.state().configured().map(|stamp| stamp.position));
    assert_ne!(staged.playbooks, old.playbooks);

    world.becomes(hosts[2], Status::Critical);
    let refusal = world.ask_with(hosts[2], |request| request.configuration = target).expect_err("it holds another");
    let stale = Reason::ConfigurationStale { held: target, current: before };
    assert_eq!(refusal.reasons, [stale]);
    let permit = world.ask(hosts[2]).expect("what it holds is in force there");
    assert_eq!(permit.configuration, before);
    assert_eq!(permit.playbook, Some(version("restart-service", "1.0.0")));
    assert!(old.configuration.is_some_and(|position| permit.grounds.contains(&position)));
}

#[test]
fn a_ring_waits_until_every_connected_host_has_held_it_for_the_soak() {
    let (mut world, _) = world(3);
    let target = next_version(&mut world);
    world.advance(SOAK * 10);
    world.tick();
    assert_eq!(waits(&world), Some(Wait::Connection), "nobody is connected");
    world.all_hold();
    let mut held = (*world.senses.held).clone();
    let late = staging(&world);
    held.get_mut(&late).expect("it is connected").generation = ConfigurationGeneration(target.0 - 1);
    world.senses.held = Arc::new(held.clone());
    world.advance(SOAK * 10);
    world.tick();
    assert_eq!((waits(&world), ring(&world)), (Some(Wait::Hosts(vec![late])), Some(Ring::Staging)));
    let since = world.now.wall;
    held.get_mut(&late).expect("it is connected").generation = target;
    held.get_mut(&late).expect("it is connected").since = since;
    world.senses.held = Arc::new(held.clone());
    world.advance(SOAK - Duration::from_millis(1));
    world.tick();
    assert_eq!((waits(&world), ring(&world)), (Some(Wait::Soak { until: since.plus(SOAK) }), Some(Ring::Staging)));
    world.advance(Duration::from_millis(1));
    world.tick();
    assert_eq!(ring(&world), Some(Ring::One));
    // The chosen host has not said yet that it holds it; one that is not connected is not waited for.
    world.all_hold();
    let mut held = (*world.senses.held).clone();
    held.remove(&late);
    world.senses.held = Arc::new(held);
    world.advance(SOAK);
    world.tick();
    assert_eq!(ring(&world), None, "one of three is a part of 25 % already");
}

#[test]
fn a_failed_run_of_what_changed_halts_it_and_people_are_called_and_one_elsewhere_does_not() {
    let (mut world, hosts) = world(4);
    let target = next_version(&mut world);
    world.becomes(hosts[3], Status::Critical);
    let permit = world.ask(hosts[3]).expect("a permit");
    world.end(&permit, Ending::Failed);
    world.tick();
    assert_eq!(halted(&world), None, "it ran what was there before");

    soaked(&mut world);
    assert_eq!(ring(&world), Some(Ring::One));
    let one = hosts[0];
    world.becomes(one, Status::Critical);
    let refusal = world.ask_with(one, |it| it.playbook = Some(version("restart-service", "2.0.0").digest));
    assert!(refusal.is_err(), "no evidence covers the next version: {refusal:?}");
    // It changes the check alone, so that the evidence still holds.
    change(&mut world, |declared| {
        declared.remediations.first_mut().expect("one").playbook = version("restart-service", "1.0.0");
        let service = declared.services.first_mut().expect("one");
        service.checks.first_mut().expect("one").interval = Duration::from_secs(2);
    });
    assert!(world.core.state().configuration().generation() > target);
    soaked(&mut world);
    assert_eq!(ring(&world), Some(Ring::One), "it begins with staging, and goes on");
    let permit = world.ask(one).expect("a permit");
    world.end(&permit, Ending::Ineffective);
    world.tick();
    let setback = Setback::RunEnded { run: permit.run, host: one, ending: Ending::Ineffective };
    assert_eq!(halted(&world), Some(vec![setback]));
    let generation = world.core.state().configuration().generation();
    let called = |body: &Body| matches!(body, Body::IncidentOpened(it) if it.cause == IncidentCause::RolloutHalted { generation });
    assert_eq!(world.count(called), 1);
    world.advance(SOAK * 100);
    soaked(&mut world);
    assert_eq!(ring(&world), Some(Ring::One), "it waits for a person");
}

#[test]
fn a_host_that_rejects_it_halts_it_and_a_person_lets_it_go_on_without_that_host() {
    let (mut world, hosts) = world(4);
    let target = next_version(&mut world);
    let host = staging(&world);
    assert_eq!(order(&mut world, RolloutOrder::Resume), Outcome::PersonRefused(PersonRefusal::RolloutRuns));
    reject(&mut world, host, target);
    world.tick();
    assert_eq!(halted(&world), Some(vec![Setback::Rejected { host }]));
    assert_eq!(order(&mut world, RolloutOrder::Resume), Outcome::Done);
    world.all_hold();
    let mut held = (*world.senses.held).clone();
    held.get_mut(&host).expect("it is connected").generation = ConfigurationGeneration(1);
    world.senses.held = Arc::new(held);
    world.tick();
    assert_eq!(ring(&world), Some(Ring::Staging), "the soak begins anew");
    world.advance(SOAK);
    world.tick();
    assert_eq!(ring(&world), Some(Ring::One));
    assert_eq!(hosts_that_hold(&world, &hosts, target), [0]);
    assert!(world.core.state().rejections().contains_key(&host));
}

#[test]
fn a_breaker_over_what_changes_halts_it() {
    let (mut world, _) = world(4);
    world.guarded(|guard| guard.max_failures = 0);
    change(&mut world, |declared| {
        let service = declared.services.first_mut().expect("one");
        service.checks.first_mut().expect("one").interval = Duration::from_secs(2);
    });
    // The cooldown of the fixture's drill.
    world.advance(SOAK * 10);
    let host = staging(&world);
    world.becomes(host, Status::Critical);
    let permit = world.ask(host).expect("a permit");
    world.end(&permit, Ending::Failed);
    world.tick();
    let because = halted(&world).expect("it halted");
    assert!(because.iter().any(|setback| matches!(setback, Setback::BreakerOpened { .. })), "{because:?}");
}

#[test]
fn an_abort_gives_everybody_what_was_in_force_before_as_a_new_generation() {
    let (mut world, hosts) = world(4);
    let before = world.core.state().configuration().clone();
    let target = next_version(&mut world);
    soaked(&mut world);
    assert_eq!(hosts_that_hold(&world, &hosts, target), [0]);
    assert_eq!(order(&mut world, RolloutOrder::Abort), Outcome::Done);
    let state = world.core.state();
    assert!(state.rollout().is_none());
    assert_eq!(state.configuration().generation(), target.next());
    assert!(state.configuration().declares(&before.declared()));
    assert_eq!(hosts_that_hold(&world, &hosts, target.next()).len(), 4);
    assert_eq!(order(&mut world, RolloutOrder::Abort), Outcome::PersonRefused(PersonRefusal::NoRollout));
    let seen = before.generation();
    let stale = PersonRequest::OrderRollout { order: RolloutOrder::Abort, seen, why: "late".to_owned() };
    let changed = PersonRefusal::ConfigurationChanged { seen, current: target.next() };
    assert_eq!(world.person(stale), Outcome::PersonRefused(changed));
}

#[test]
fn what_takes_something_away_is_in_force_everywhere_at_once() {
    let (mut world, hosts) = world(4);
    let lower = |declared: &mut Declared| {
        let remediation = declared.remediations.first_mut().expect("one");
        remediation.modes.insert("production".parse().expect("a name"), Mode::Observe);
    };
    // By itself it needs no rollout, and neither does taking the remediation out.
    let only = change(&mut world, lower);
    assert_eq!(hosts_that_hold(&world, &hosts, only).len(), 4);
    let gone = change(&mut world, |declared| declared.remediations.clear());
    assert_eq!(hosts_that_hold(&world, &hosts, gone).len(), 4);
    assert_eq!(world.configure(), Outcome::Done);

    // Together with something else, hosts beyond keep what they hold and are judged by the lower of both.
    let target = change(&mut world, |declared| {
        lower(declared);
        declared.remediations.first_mut().expect("one").playbook = version("restart-service", "2.0.0");
    });
    world.becomes(hosts[3], Status::Critical);
    assert_ne!(world.holds(hosts[3]), target);
    let refusal = world.ask(hosts[3]).expect_err("production observes");
    assert_eq!(refusal.reasons, [Reason::Mode { mode: Mode::Observe, proposal: None }]);
    change(&mut world, |declared| {
        declared.remediations.clear();
        let service = declared.services.first_mut().expect("one");
        service.checks.first_mut().expect("one").interval = Duration::from_secs(2);
    });
    assert_eq!(ring(&world), Some(Ring::Staging));
    let refusal = world.ask(hosts[3]).expect_err("nothing answers any more");
    assert!(refusal.reasons.contains(&Reason::NoRemediation), "{refusal:?}");
}

#[test]
fn limits_are_in_force_everywhere_at_once() {
    let (mut world, hosts) = world(4);
    change(&mut world, |declared| {
        let remediation = declared.remediations.first_mut().expect("one");
        remediation.playbook = version("restart-service", "2.0.0");
        remediation.guard.max_attempts = 0;
    });
    world.becomes(hosts[3], Status::Critical);
    let refusal = world.ask(hosts[3]).expect_err("no attempt is allowed");
    assert!(matches!(refusal.reasons[..], [Reason::MaxAttempts { limit: 0, .. }]), "{refusal:?}");
}

#[test]
fn what_no_host_holds_and_nothing_acts_on_is_everywhere_at_once() {
    let (mut world, hosts) = world(2);
    let mut other = crate::world::service();
    other.name = "shop".parse().expect("a name");
    let generation = change(&mut world, |declared| declared.services.push(other));
    assert_eq!(ring(&world), None);
    assert_eq!(hosts_that_hold(&world, &hosts, generation).len(), 2);
}

#[test]
fn another_configuration_takes_the_place_of_the_target_and_the_rings_begin_anew() {
    let (mut world, hosts) = world(4);
    let before = world.core.state().configuration().generation();
    let first = next_version(&mut world);
    soaked(&mut world);
    assert_eq!(hosts_that_hold(&world, &hosts, first), [0]);
    let second = change(&mut world, |declared| {
        let service = declared.services.first_mut().expect("one");
        service.checks.first_mut().expect("one").interval = Duration::from_secs(2);
    });
    assert_eq!((ring(&world), world.holds(staging(&world))), (Some(Ring::Staging), second));
    assert_eq!(
        hosts_that_hold(&world, &hosts, before).len(),
        4,
        "a host with the first acts again when it has the second"
    );
    world.becomes(hosts[0], Status::Critical);
    let refusal = world.ask_with(hosts[0], |request| request.configuration = first).expect_err("it is replaced");
    assert_eq!(refusal.reasons, [Reason::ConfigurationStale { held: first, current: before }]);
    soaked(&mut world);
    assert_eq!(hosts_that_hold(&world, &hosts, second), [0]);
}

#[test]
fn a_chosen_host_that_is_withdrawn_is_replaced_by_one_that_is_connected() {
    let (mut world, hosts) = world(4);
    let target = next_version(&mut world);
    soaked(&mut world);
    let why = "it is broken".to_owned();
    world.done(PersonRequest::SetHostState { host: hosts[0], state: HostState::Quarantined, why });
    world.all_hold();
    let mut held = (*world.senses.held).clone();
    held.remove(&hosts[1]);
    world.senses.held = Arc::new(held);
    world.tick();
    assert_eq!(hosts_that_hold(&world, &hosts, target), [0, 2]);
    assert_eq!(ring(&world), Some(Ring::One));
}

#[test]
fn a_rejection_of_what_is_everywhere_calls_people_once() {
    let (mut world, hosts) = world(3);
    let generation = world.core.state().configuration().generation();
    reject(&mut world, hosts[0], generation);
    reject(&mut world, hosts[1], generation);
    reject(&mut world, hosts[2], ConfigurationGeneration(1));
    let called = |body: &Body| matches!(body, Body::IncidentOpened(_));
    assert_eq!(world.count(called), 1);
    assert_eq!(world.core.state().rejections().len(), 2, "what is said of an older one is over");
}
