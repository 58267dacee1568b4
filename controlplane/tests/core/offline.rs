//! Budgets given in advance: what they need, what they hold, and what gives them back.

use crate::world::{Answer, START_SERVICE, World, version, web};
use fettle_controlplane::core::{
    Authorisation, EFFECT_WITHIN, Group, Outcome, PersonRequest, RECLAIM_MARGIN, RecordRefusal, RunState, Wondering,
};
use fettle_model::breaker::Scope;
use fettle_model::calendar::Calendar;
use fettle_model::check::Status;
use fettle_model::freeze::{Freeze, Meaning};
use fettle_model::id::HostId;
use fettle_model::incident::IncidentCause;
use fettle_model::offline::{Offline, OfflineReturned, Units};
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::record::{Body, Kind};
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use fettle_model::run::Ending;
use std::time::Duration;

const LASTS: Duration = Duration::from_hours(4);

/// Six production hosts, all well; two of them may hold two units each, and three may act at once.
fn world() -> (World, Vec<HostId>) {
    let (mut world, hosts) = World::reversible(6);
    let units = Units::new(2).expect("units");
    world.offline = Some(Offline { hosts: "2".parse().expect("an amount"), units, lasts: LASTS });
    world.guarded(|guard| {
        guard.max_in_flight = "3".parse().expect("an amount");
        guard.min_healthy = "0".parse().expect("an amount");
        guard.cooldown = Duration::ZERO;
    });
    (world, hosts)
}

fn ask(world: &mut World, host: HostId) -> Answer {
    world.ask_with(host, |request| {
        request.purpose = Purpose::Offline { check: web(), remediation: "restart-web".parse().expect("a name") };
    })
}

fn refused(world: &mut World, host: HostId) -> Vec<&'static str> {
    let refusal = ask(world, host).expect_err("it is refused");
    refusal.reasons.iter().map(Reason::rule).collect()
}

fn give_back(world: &mut World, permit: &Permit, used: u32) {
    let body = Body::OfflineReturned(Box::new(OfflineReturned { permit: permit.permit, used }));
    assert_eq!(world.say(permit.host, body), Outcome::Done);
}

/// The runs under a budget, in their order.
fn units(permit: &Permit) -> Vec<Permit> {
    permit.all_units().collect()
}

fn in_flight(world: &World) -> u32 {
    let state = world.core.state();
    let service = state.configuration().services().first().expect("one service");
    Group::of(state, service, &"production".parse().expect("a name")).in_flight()
}

#[test]
fn it_is_one_permit_of_several_units_with_a_long_lease_and_one_slot() {
    let (mut world, hosts) = world();
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    assert_eq!((permit.units.get(), permit.lease), (2, LASTS));
    assert_eq!(permit.playbook, Some(version(START_SERVICE, "1.0.0")));
    assert_eq!(in_flight(&world), 1);
    let ids: Vec<_> = units(&permit).iter().map(|unit| (unit.permit, unit.run)).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids[0] != ids[1] && ids.iter().all(|(id, run)| *id != permit.permit && *run != permit.run), "{ids:?}");
}

#[test]
fn a_host_that_holds_one_gets_nothing_else_and_counts_as_unhealthy() {
    let (mut world, hosts) = world();
    let before = healthy(&world);
    ask(&mut world, hosts[0]).expect("a budget");
    assert_eq!(healthy(&world), before - 1);
    world.becomes(hosts[0], Status::Critical);
    let refusal = world.ask(hosts[0]).expect_err("it is refused");
    assert!(matches!(refusal.reasons[..], [Reason::HostBusy { .. }]), "{:?}", refusal.reasons);
}

fn healthy(world: &World) -> u32 {
    let state = world.core.state();
    let service = state.configuration().services().first().expect("one service");
    Group::of(state, service, &"production".parse().expect("a name")).healthy()
}

#[test]
fn no_more_hosts_hold_one_than_may_and_a_slot_is_left_for_those_that_are_connected() {
    let (mut world, hosts) = world();
    ask(&mut world, hosts[0]).expect("the first");
    let second = ask(&mut world, hosts[1]).expect("the second");
    assert_eq!(refused(&mut world, hosts[2]), ["offline-hosts"]);
    world.becomes(hosts[2], Status::Critical);
    let connected = world.ask(hosts[2]).expect("the third slot is for a connected host");
    world.becomes(hosts[3], Status::Critical);
    let refusal = world.ask(hosts[3]).expect_err("three are in flight");
    assert!(matches!(refusal.reasons.first(), Some(Reason::MaxInFlight { limit: 3, value: 3, .. })), "{refusal:?}");
    world.end(&connected, Ending::Succeeded);
    give_back(&mut world, &second, 0);
    ask(&mut world, hosts[4]).expect("there is room again");
}

#[test]
fn every_rule_of_a_permit_is_asked_and_two_more() {
    let (mut world, hosts) = world();
    world.offline = None;
    world.configure();
    assert_eq!(refused(&mut world, hosts[0]), ["no-offline"]);

    let (mut world, hosts) = self::world();
    world.modes.insert("production", Mode::Approve);
    world.configure();
    assert_eq!(refused(&mut world, hosts[0]), ["mode"]);

    let (mut world, hosts) = World::proved(6);
    world.offline = Some(Offline { hosts: "2".parse().expect("an amount"), units: Units::ONE, lasts: LASTS });
    world.guarded(|guard| guard.max_in_flight = "3".parse().expect("an amount"));
    assert_eq!(refused(&mut world, hosts[0]), ["offline-irreversible"]);

    let (mut world, hosts) = self::world();
    world.guarded(|guard| guard.max_per_window = 0);
    assert_eq!(refused(&mut world, hosts[0]), ["max-per-window"]);

    let (mut world, hosts) = self::world();
    world.guarded(|guard| guard.min_healthy = "100%".parse().expect("an amount"));
    assert_eq!(refused(&mut world, hosts[0]), ["min-healthy"]);

    let (mut world, hosts) = self::world();
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "a test".to_owned() });
    assert_eq!(refused(&mut world, hosts[0]), ["stopped"]);

    let (mut world, hosts) = self::world();
    world.guarded(|guard| guard.max_attempts = 0);
    assert_eq!(refused(&mut world, hosts[0]), ["max-attempts"]);
}

#[test]
fn it_has_no_more_units_than_attempts_and_window_leave() {
    let (mut world, hosts) = world();
    world.becomes(hosts[0], Status::Critical);
    for _ in 0..2 {
        let permit = world.ask(hosts[0]).expect("a permit");
        world.end(&permit, Ending::Superseded);
    }
    world.becomes(hosts[0], Status::Passing);
    // Of three attempts one is left.
    assert_eq!(ask(&mut world, hosts[0]).expect("a budget").units, Units::ONE);

    let (mut world, hosts) = self::world();
    world.guarded(|guard| guard.max_per_window = 1);
    assert_eq!(ask(&mut world, hosts[0]).expect("a budget").units, Units::ONE);
}

#[test]
fn it_is_given_only_where_one_more_host_may_fail_and_be_healed() {
    let (mut world, hosts) = world();
    // Of six, four must be healthy besides the one that is repaired.
    world.guarded(|guard| guard.min_healthy = "4".parse().expect("an amount"));
    ask(&mut world, hosts[0]).expect("five are healthy besides, and four when one of them fails");
    world.becomes(hosts[1], Status::Critical);
    world.ask(hosts[1]).expect("it is healed although a budget is held");

    let (mut world, hosts) = self::world();
    world.guarded(|guard| guard.min_healthy = "5".parse().expect("an amount"));
    assert_eq!(refused(&mut world, hosts[0]), ["min-healthy"]);
}

#[test]
fn it_is_no_probe_of_a_half_open_breaker() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_failures = 0);
    world.becomes(hosts[1], Status::Critical);
    let permit = world.ask(hosts[1]).expect("a permit");
    world.end(&permit, Ending::Failed);
    world.advance(Duration::from_hours(2));
    world.tick();
    assert_eq!(refused(&mut world, hosts[0]), ["breaker-open", "breaker-open"]);
    assert!(world.ask(hosts[1]).is_ok(), "a run may be its probe");
}

#[test]
fn it_ends_before_a_calendar_freezes() {
    let (mut world, hosts) = world();
    // 2023-11-14T22:13:20Z, a Tuesday; frozen from Wednesday on.
    let window = r#"{"kind":"weekly","days":["wed"],"from":"00:00","to":"24:00"}"#;
    let calendar: Calendar =
        serde_json::from_str(&format!(r#"{{"zone":"UTC","windows":[{window}]}}"#)).expect("a calendar");
    world.freezes = vec![Freeze {
        name: "wednesday".parse().expect("a name"),
        scope: Scope::Global,
        windows: Meaning::Closed,
        calendar,
        why: "a release".to_owned(),
    }];
    world.configure();
    let midnight = 1_700_006_400_000;
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    assert_eq!(permit.lease, Duration::from_millis(midnight - world.now.wall.0));
}

#[test]
fn a_run_under_it_counts_as_every_other_and_frees_no_slot() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_failures = 1);
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    let [first, second] = units(&permit).try_into().expect("two units");
    world.becomes(hosts[0], Status::Critical);
    world.end(&first, Ending::Ineffective);
    assert_eq!(world.core.state().attempts(hosts[0], &web()).count, 1);
    assert_eq!(in_flight(&world), 1);
    let run = world.core.state().permit(first.permit).expect("it is known");
    assert!(matches!(run.state, RunState::Ended { ending: Ending::Ineffective, .. }), "{:?}", run.state);
    world.end(&second, Ending::Failed);
    assert_eq!(world.core.state().attempts(hosts[0], &web()).count, 2);
    assert_eq!(world.count(|body| body.kind() == Kind::BreakerOpened), 2, "the service's and the playbook's");
    assert_eq!(world.count(|body| body.kind() == Kind::IncidentOpened), 0);
}

#[test]
fn the_last_attempt_under_it_calls_people() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_attempts = 2);
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    world.becomes(hosts[0], Status::Critical);
    for unit in units(&permit) {
        world.end(&unit, Ending::Ineffective);
    }
    let called = world.count(|body| match body {
        Body::IncidentOpened(incident) => {
            matches!(incident.cause, IncidentCause::AttemptsExhausted { attempts: 2, .. })
        }
        _ => false,
    });
    assert_eq!(called, 1);
}

fn in_doubt(world: &World) -> usize {
    world.count(|body| match body {
        Body::IncidentOpened(incident) => matches!(incident.cause, IncidentCause::InDoubt { .. }),
        _ => false,
    })
}

#[test]
fn a_run_that_it_does_not_give_calls_people() {
    let (mut world, hosts) = world();
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    // The budget itself is no run.
    world.end(&permit, Ending::Succeeded);
    assert_eq!(in_doubt(&world), 1);
    // Nor is a third of two units.
    let three = Permit { units: Units::new(3).expect("units"), ..permit };
    let third = units(&three).pop().expect("a third");
    world.end(&third, Ending::Succeeded);
    assert_eq!(in_doubt(&world), 2);
}

#[test]
fn its_units_are_in_every_window_while_it_is_held_and_what_was_not_used_comes_back() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_per_window = 2);
    let before = world.count(|_| true);
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    assert!(world.count(|_| true) > before);
    // Long after the grant has left the window.
    world.advance(Duration::from_hours(3));
    world.becomes(hosts[1], Status::Critical);
    let refusal = world.ask(hosts[1]).expect_err("both units are held");
    assert!(matches!(refusal.reasons[..], [Reason::MaxPerWindow { limit: 2, value: 2, .. }]), "{refusal:?}");
    assert!(refusal.retry_at.is_some(), "they may come back at any time, so the agent asks again");
    let first = units(&permit).remove(0);
    world.end(&first, Ending::Superseded);
    give_back(&mut world, &permit, 1);
    assert_eq!(in_flight(&world), 0);
    let connected = world.ask(hosts[1]).expect("one of two is left");
    world.end(&connected, Ending::Superseded);
    let refusal = world.ask(hosts[1]).expect_err("both are spent");
    assert!(matches!(refusal.reasons[..], [Reason::MaxPerWindow { limit: 2, value: 2, .. }]), "{refusal:?}");
}

#[test]
fn one_that_is_not_given_back_loses_its_slot_when_no_run_can_be_in_progress_and_its_units_until_its_host_speaks() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_per_window = 2);
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    // The fixture's playbook runs 2 minutes, is confirmed within 1, and leaves its steps.
    let held = LASTS + Duration::from_mins(2) + Duration::from_mins(1) + EFFECT_WITHIN + RECLAIM_MARGIN;
    world.advance(held - Duration::from_millis(1));
    world.tick();
    assert_eq!(in_flight(&world), 1);
    world.advance(Duration::from_millis(1));
    world.tick();
    assert_eq!(in_flight(&world), 0);
    assert_eq!(world.count(|body| body.kind() == Kind::OfflineExpired), 1);
    assert_eq!(world.count(|body| body.kind() == Kind::IncidentOpened), 0, "nobody is called at night for it");
    world.becomes(hosts[1], Status::Critical);
    let refusal = world.ask(hosts[1]).expect_err("both units may have been used");
    assert!(matches!(refusal.reasons[..], [Reason::MaxPerWindow { limit: 2, value: 2, .. }]), "{refusal:?}");
    // The host comes back: one was used.
    let first = units(&permit).remove(0);
    world.end(&first, Ending::Succeeded);
    assert_eq!(world.core.state().attempts(hosts[0], &web()).count, 1);
    give_back(&mut world, &permit, 1);
    world.ask(hosts[1]).expect("the other one came back");
}

#[test]
fn a_word_given_twice_gives_back_once() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_per_window = 2);
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    give_back(&mut world, &permit, 2);
    give_back(&mut world, &permit, 0);
    world.becomes(hosts[1], Status::Critical);
    let refusal = world.ask(hosts[1]).expect_err("the first word stands");
    assert!(matches!(refusal.reasons[..], [Reason::MaxPerWindow { limit: 2, value: 2, .. }]), "{refusal:?}");
}

#[test]
fn an_agents_word_counts_no_lower_than_what_it_told_and_nothing_runs_beyond_it() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_per_window = 2);
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    for unit in units(&permit) {
        world.end(&unit, Ending::Superseded);
    }
    give_back(&mut world, &permit, 0);
    world.becomes(hosts[1], Status::Critical);
    let refusal = world.ask(hosts[1]).expect_err("two were used");
    assert!(matches!(refusal.reasons[..], [Reason::MaxPerWindow { limit: 2, value: 2, .. }]), "{refusal:?}");

    let (mut world, hosts) = self::world();
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    give_back(&mut world, &permit, 0);
    world.end(&units(&permit)[0], Ending::Succeeded);
    assert_eq!(in_doubt(&world), 1, "a run that it said there was not");

    let (mut world, hosts) = self::world();
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    world.reject(&permit, PermitRejection::NotForOffline);
    world.end(&units(&permit)[0], Ending::Succeeded);
    assert_eq!(in_doubt(&world), 1, "a run under what it refused");
}

#[test]
fn no_request_names_the_run_of_another_budget() {
    let (mut world, hosts) = world();
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    let mut request = world.request(hosts[1]);
    request.run = units(&permit)[0].run;
    let run = request.run;
    let outcome = world.say(hosts[1], Body::PermitRequested(Box::new(request)));
    assert_eq!(outcome, Outcome::RecordRefused(RecordRefusal::RunKnown(run)));
}

#[test]
fn an_agents_refusal_of_it_gives_everything_back() {
    let (mut world, hosts) = world();
    world.guarded(|guard| guard.max_per_window = 2);
    let permit = ask(&mut world, hosts[0]).expect("a budget");
    world.reject(&permit, PermitRejection::NotForOffline);
    assert_eq!(in_flight(&world), 0);
    let again = ask(&mut world, hosts[0]).expect("nothing was spent");
    assert_eq!(again.units.get(), 2);
}

#[test]
fn after_a_restart_of_the_control_plane_it_is_held_for_its_full_length_again() {
    let (mut world, hosts) = world();
    ask(&mut world, hosts[0]).expect("a budget");
    world.advance(LASTS);
    world.restart();
    world.advance(LASTS);
    world.tick();
    assert_eq!(in_flight(&world), 1);
}

#[test]
fn what_is_foreseen_is_foreseen_as_if_it_had_been_given_back() {
    let (mut world, hosts) = world();
    ask(&mut world, hosts[0]).expect("a budget");
    world.becomes(hosts[0], Status::Critical);
    let (playbook, service) = (START_SERVICE.parse().expect("a name"), web().service);
    let wondering =
        Wondering { playbook: &playbook, service: &service, after: None, hosts: 100, policies: world.policies };
    let foreseen = world.core.foresee(world.now, &|_| Authorisation::Allowed, &wondering).expect("it is configured");
    let row = foreseen.rows.into_iter().find(|row| row.host.as_str() == "p0").expect("its row");
    assert_eq!(row.reasons, []);
}
