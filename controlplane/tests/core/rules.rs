//! The governor's rules, one by one and together.

use crate::world::{World, describe, description, targets, version, web};
use fettle_controlplane::core::{
    Authorisation, EFFECT_WITHIN, EVIDENCE_VALID_FOR, LEASE, Outcome, PersonRequest, facts_for_authorisation,
};
use fettle_model::breaker::Scope;
use fettle_model::check::Status;
use fettle_model::counter::{ConfigurationGeneration, TransitionEpoch};
use fettle_model::escalation::Rung;
use fettle_model::guard::{Amount, Guard};
use fettle_model::host::HostState;
use fettle_model::id::{DrillId, HostId};
use fettle_model::permit::{BoundTarget, PermitRequest, Purpose, Target};
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use fettle_model::run::Ending;
use std::time::Duration;

/// Five production hosts, the first critical and asking: after `change`, exactly these rules hold.
#[track_caller]
fn check(change: impl FnOnce(&mut World, &[HostId]), expected: &[&str]) -> Vec<Reason> {
    check_request(change, |_| {}, expected)
}

#[track_caller]
fn check_request(
    change: impl FnOnce(&mut World, &[HostId]),
    request: impl FnOnce(&mut PermitRequest),
    expected: &[&str],
) -> Vec<Reason> {
    let (mut world, hosts) = World::broken(5);
    change(&mut world, &hosts);
    let answer = world.ask_with(hosts[0], request);
    let reasons = answer.err().map(|refusal| refusal.reasons).unwrap_or_default();
    let rules: Vec<&str> = reasons.iter().map(Reason::rule).collect();
    assert_eq!(rules, expected, "{reasons:?}");
    reasons
}

fn unchanged(_: &mut World, _: &[HostId]) {}

fn stop(world: &mut World, scope: &str) {
    world.done(PersonRequest::Stop { scope: scope.parse().expect("a scope"), why: "maintenance".to_owned() });
}

fn set_state(world: &mut World, host: HostId, state: HostState) {
    world.done(PersonRequest::SetHostState { host, state, why: "seen twice".to_owned() });
}

#[test]
fn a_permit_names_everything_that_it_allows_and_rests_on() {
    let (mut world, hosts) = World::broken(5);
    let fence = world.core.state().host(hosts[0]).expect("a host").fence;
    let request = world.request(hosts[0]);
    let outcome = world.say(hosts[0], Body::PermitRequested(Box::new(request.clone())));
    let Outcome::Answered { answer } = outcome else { unreachable!("{outcome:?}") };
    let permit = world.answer(answer).expect("nothing is wrong");
    assert_eq!((permit.request, permit.run, permit.host), (request.request, request.run, hosts[0]));
    assert_eq!((permit.boot, permit.sent_at), (request.boot, request.sent_at));
    assert_eq!((permit.lease, permit.effect_within), (LEASE, EFFECT_WITHIN));
    assert_eq!(permit.run_within, Duration::from_mins(2), "the manifest's duration");
    assert_eq!(permit.fence, fence.next());
    assert_eq!(permit.actions, 3);
    assert_eq!(permit.policies, world.policies);
    assert_eq!(permit.drill, None);
    assert_eq!(permit.playbook, Some(version("restart-service", "1.0.0")));
    let bound: Vec<(&str, usize)> =
        permit.targets.iter().map(|target| (target.label.as_str(), target.actions.len())).collect();
    assert_eq!(bound, [("worker", 1), ("check", 0)]);
    let grounds: Vec<&str> =
        permit.grounds.iter().map(|position| world.record(*position).body.kind().as_str()).collect();
    assert_eq!(grounds, ["playbook-admitted", "configuration-set", "evidence-earned", "transition-seen"]);
}

#[test]
fn nothing_wrong_is_a_permit() {
    check(unchanged, &[]);
}

#[test]
fn no_remediation_under_another_name_or_for_a_service_that_the_host_does_not_carry() {
    check_request(
        unchanged,
        |request| {
            let epoch = TransitionEpoch(2);
            request.purpose = Purpose::Remediate {
                check: web(),
                epoch,
                remediation: "other".parse().expect("a name"),
                rung: Rung::FIRST,
            };
        },
        &["no-remediation"],
    );
    let without_service = |world: &mut World, hosts: &[HostId]| {
        let mut described = description("p0", "production");
        described.services = [].into();
        assert_eq!(world.say(hosts[0], Body::HostDescribed(Box::new(described))), Outcome::Done);
    };
    check(without_service, &["no-remediation"]);
}

#[test]
fn configuration_stale_whether_older_or_newer() {
    for held in [0, 9] {
        let reasons = check_request(
            unchanged,
            |request| request.configuration = ConfigurationGeneration(held),
            &["configuration-stale"],
        );
        let current = ConfigurationGeneration(1);
        assert_eq!(reasons, [Reason::ConfigurationStale { held: ConfigurationGeneration(held), current }]);
    }
}

#[test]
fn transition_stale_when_the_fault_is_gone_or_another_one_is_asked_about() {
    check(|world, hosts| world.becomes(hosts[0], Status::Passing), &["transition-stale"]);
    check(|world, hosts| world.becomes(hosts[0], Status::Warning), &["transition-stale"]);
    check(|world, hosts| world.becomes(hosts[0], Status::Unknown), &["transition-stale"]);
    for epoch in [1, 3] {
        check_request(
            unchanged,
            |request| {
                request.purpose = Purpose::Remediate {
                    check: web(),
                    epoch: TransitionEpoch(epoch),
                    remediation: "restart-web".parse().expect("a name"),
                    rung: Rung::FIRST,
                };
            },
            &["transition-stale"],
        );
    }
}

#[test]
fn mode_observe_and_approve_do_not_act_and_an_environment_without_a_mode_is_observe() {
    for (mode, expected) in
        [(Some(Mode::Observe), Mode::Observe), (Some(Mode::Approve), Mode::Approve), (None, Mode::Observe)]
    {
        let change = |world: &mut World, _: &[HostId]| {
            world.modes.remove("production");
            world.modes.extend(mode.map(|mode| ("production", mode)));
            assert_eq!(world.configure(), Outcome::Done);
        };
        let reasons = check(change, &["mode"]);
        assert_eq!(reasons, [Reason::Mode { mode: expected, proposal: None }]);
    }
}

#[test]
fn playbook_not_admitted_when_the_agent_holds_another_version_or_none() {
    for held in [None, Some(version("restart-service", "0.9.0").digest)] {
        check_request(unchanged, |request| request.playbook = held, &["playbook-not-admitted"]);
    }
}

#[test]
fn no_evidence_for_another_class_of_host() {
    let other_os = |world: &mut World, hosts: &[HostId]| {
        let mut described = description("p0", "production");
        described.os.version = "13".to_owned();
        assert_eq!(world.say(hosts[0], Body::HostDescribed(Box::new(described))), Outcome::Done);
    };
    let reasons = check(other_os, &["no-evidence"]);
    let [Reason::NoEvidence { class, covered }] = reasons.as_slice() else { unreachable!("{reasons:?}") };
    assert_eq!(class.os.version, "13");
    assert_eq!(covered.iter().map(|class| class.os.version.as_str()).collect::<Vec<_>>(), ["12"]);
}

#[test]
fn evidence_expired_to_the_millisecond() {
    let (mut world, hosts) = World::proved(5);
    let earned = world.now.wall;
    world.advance(EVIDENCE_VALID_FOR.saturating_sub(Duration::from_millis(1)));
    world.becomes(hosts[0], Status::Critical);
    let permit = world.ask(hosts[0]).expect("the evidence counts to its last millisecond");
    world.end(&permit, Ending::Superseded);
    world.guarded(|guard| guard.cooldown = Duration::ZERO);
    world.advance(Duration::from_millis(1));
    let refusal = world.ask(hosts[0]).expect_err("it has expired");
    assert_eq!(refusal.reasons, [Reason::EvidenceExpired { at: earned.plus(EVIDENCE_VALID_FOR) }]);
}

#[test]
fn not_authorised_when_cedar_denies_or_was_not_asked() {
    let denied = Authorisation::Denied { policies: vec!["floor-own-host".to_owned()] };
    for (authorised, policies) in [(Some(denied), vec!["floor-own-host".to_owned()]), (None, Vec::new())] {
        let (mut world, hosts) = World::broken(5);
        let request = world.request(hosts[0]);
        let mut given = world.compose(hosts[0], Body::PermitRequested(Box::new(request)));
        given.authorised = authorised;
        world.send(&given);
        let Body::PermitRefused(refusal) = world.last() else { unreachable!("{:?}", world.last()) };
        assert_eq!(refusal.reasons, [Reason::NotAuthorised { policies }]);
    }
}

#[test]
fn stopped_in_every_scope_that_the_run_is_in_and_in_no_other() {
    for scope in ["global", "environment:production", "service:web", "playbook:restart-service"] {
        let reasons = check(|world, _| stop(world, scope), &["stopped"]);
        let [Reason::Stopped { scope: named, .. }] = reasons.as_slice() else { unreachable!("{reasons:?}") };
        assert_eq!(named.to_string(), scope);
    }
    for scope in ["environment:staging", "service:db", "playbook:other"] {
        check(|world, _| stop(world, scope), &[]);
    }
}

#[test]
fn max_in_flight_counts_the_group_and_says_when_a_slot_is_back_at_the_latest() {
    let one_runs = |world: &mut World, hosts: &[HostId]| {
        world.becomes(hosts[1], Status::Critical);
        assert!(world.ask(hosts[1]).is_ok());
    };
    let reasons = check(one_runs, &["max-in-flight"]);
    let [Reason::MaxInFlight { limit: 1, value: 1, clears_at: Some(_) }] = reasons.as_slice() else {
        unreachable!("{reasons:?}")
    };
    let room_for_two = |world: &mut World, hosts: &[HostId]| {
        world.guarded(|guard| guard.max_in_flight = Amount::Percent(40));
        world.earn(hosts[4]);
        one_runs(world, hosts);
    };
    check(room_for_two, &[]);
    check(|world, _| world.guarded(|guard| guard.max_in_flight = Amount::Count(0)), &["max-in-flight"]);
}

#[test]
fn a_remediation_acts_on_one_host_first_and_doubles_while_its_runs_succeed() {
    let (mut world, hosts) = World::broken(20);
    world.guarded(|guard| {
        guard.max_in_flight = Amount::Count(5);
        guard.min_healthy = Amount::Count(0);
        guard.max_irreversible = 100;
    });
    for host in &hosts[1..] {
        world.becomes(*host, Status::Critical);
    }
    let mut waiting = hosts.iter();
    // 1, 2, 4, and then the maximum.
    for (limit, rule) in [(1, "ramp"), (2, "ramp"), (4, "ramp"), (5, "max-in-flight")] {
        let running: Vec<_> =
            (0..limit).map(|_| world.ask(*waiting.next().expect("a host")).expect("a permit")).collect();
        let refusal = world.ask(hosts[19]).expect_err("one too many");
        assert_eq!(refusal.reasons.iter().map(Reason::rule).collect::<Vec<_>>(), [rule]);
        for permit in &running {
            world.end(permit, Ending::Succeeded);
        }
    }
    let failing = world.ask(*waiting.next().expect("a host")).expect("a permit");
    world.end(&failing, Ending::Failed);
    assert!(world.ask(*waiting.next().expect("a host")).is_ok());
    let refusal = world.ask(hosts[19]).expect_err("back to one");
    assert_eq!(refusal.reasons, [Reason::Ramp { limit: 1, value: 1 }]);
}

#[test]
fn permits_are_counted_in_their_window_whatever_asked_for_them() {
    // The fixture's drill spent five in staging: two injections, and three runs of a playbook that nothing undoes.
    let staging = |limit: fn(&mut Guard)| {
        let (mut world, _) = World::proved(1);
        world.guarded(|guard| {
            limit(guard);
            guard.min_healthy = Amount::Count(0);
        });
        let host = world.host("s9", "staging");
        world.becomes(host, Status::Critical);
        let first = world.ask(host);
        world.advance(Duration::from_hours(1));
        (first.err().map(|refusal| refusal.reasons), world.ask(host).is_ok())
    };
    let (reasons, later) = staging(|guard| guard.max_per_window = 5);
    let [Reason::MaxPerWindow { limit: 5, value: 5, clears_at: Some(_) }] = reasons.as_deref().unwrap_or_default()
    else {
        unreachable!("{reasons:?}")
    };
    assert!(later);
    let (reasons, later) = staging(|guard| guard.max_irreversible = 3);
    let [Reason::MaxIrreversible { limit: 3, value: 3, clears_at: Some(_) }] = reasons.as_deref().unwrap_or_default()
    else {
        unreachable!("{reasons:?}")
    };
    assert!(later);
    check(|world, _| world.guarded(|guard| guard.max_per_window = 0), &["max-per-window"]);
    check(|world, _| world.guarded(|guard| guard.max_irreversible = 0), &["max-irreversible"]);
}

#[test]
fn max_in_flight_of_one_environment_leaves_the_other_alone() {
    let (mut world, hosts) = World::broken(5);
    let staging = world.host("s9", "staging");
    world.drill_to_healing(staging);
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn min_healthy_does_not_count_the_target_and_rounds_up() {
    // 50 % of 5 is 3 of the 4 others.
    let sick = |count: usize| {
        move |world: &mut World, hosts: &[HostId]| {
            for host in &hosts[1..=count] {
                world.becomes(*host, Status::Critical);
            }
        }
    };
    check(sick(1), &[]);
    let reasons = check(sick(2), &["min-healthy"]);
    assert_eq!(reasons, [Reason::MinHealthy { limit: 3, value: 2 }]);
}

#[test]
fn min_healthy_counts_permits_unknown_checks_silent_and_quarantined_hosts_as_unhealthy() {
    type Change = fn(&mut World, &[HostId]);
    let changes: [(&str, Change); 4] = [
        ("a permit", |world, hosts| {
            world.becomes(hosts[1], Status::Critical);
            assert!(world.ask(hosts[1]).is_ok());
            world.becomes(hosts[1], Status::Passing);
        }),
        ("unknown", |world, hosts| world.becomes(hosts[1], Status::Unknown)),
        ("quarantined", |world, hosts| set_state(world, hosts[1], HostState::Quarantined)),
        ("never reported", |world, hosts| {
            // It joins the group in place of a host that leaves it.
            set_state(world, hosts[1], HostState::Revoked);
            let silent = world.enrol("p9", "production");
            assert_eq!(world.say(silent, describe("p9", "production")), Outcome::Done);
        }),
    ];
    for (what, change) in changes {
        let (mut world, hosts) = World::broken(5);
        world.guarded(|guard| guard.max_in_flight = Amount::Count(9));
        world.earn(hosts[4]);
        change(&mut world, &hosts);
        world.guarded(|guard| guard.min_healthy = Amount::Count(4));
        let refusal = world.ask(hosts[0]).expect_err(what);
        assert_eq!(refusal.reasons, [Reason::MinHealthy { limit: 4, value: 3 }], "{what}");
    }
}

#[test]
fn a_warning_is_healthy_enough() {
    check(
        |world, hosts| {
            for host in &hosts[1..] {
                world.becomes(*host, Status::Warning);
            }
        },
        &[],
    );
}

#[test]
fn host_busy_while_any_permit_is_in_flight() {
    let reasons = check(
        |world, hosts| {
            world.guarded(|guard| guard.max_in_flight = Amount::Count(5));
            world.earn(hosts[4]);
            assert!(world.ask(hosts[0]).is_ok());
        },
        &["host-busy"],
    );
    let [Reason::HostBusy { .. }] = reasons.as_slice() else { unreachable!("{reasons:?}") };
}

#[test]
fn host_not_active_when_quarantined_or_in_another_environment_than_enrolled() {
    check(|world, hosts| set_state(world, hosts[0], HostState::Quarantined), &["host-not-active"]);
    check(
        |world, hosts| assert_eq!(world.say(hosts[0], describe("p0", "staging")), Outcome::Done),
        &["host-not-active"],
    );
    check(
        |world, hosts| {
            set_state(world, hosts[0], HostState::Quarantined);
            set_state(world, hosts[0], HostState::Active);
        },
        &[],
    );
}

#[test]
fn unbound_for_every_way_in_which_targets_are_not_exactly_the_manifests_labels() {
    let worker = || targets().remove(0);
    let health = || targets().remove(1);
    let renamed = |label: &str| BoundTarget { label: label.parse().expect("a label"), ..worker() };
    let other_kind = BoundTarget { target: Target::Facts, ..worker() };
    let cases: [(&str, Vec<BoundTarget>, &[&str]); 6] = [
        ("nothing", Vec::new(), &[""]),
        ("one missing", vec![worker()], &["check"]),
        ("one twice", vec![worker(), worker(), health()], &["worker"]),
        ("one too many", vec![worker(), health(), renamed("extra")], &["extra"]),
        ("another kind of thing", vec![other_kind, health()], &["worker"]),
        ("other labels", vec![renamed("x")], &["check", "worker", "x"]),
    ];
    for (what, given, expected) in cases {
        let (mut world, hosts) = World::broken(5);
        let refusal = world.ask_with(hosts[0], |request| request.targets = given).expect_err(what);
        let labels: Vec<&str> = refusal
            .reasons
            .iter()
            .map(|reason| match reason {
                Reason::Unbound { label } => label.as_ref().map_or("", |label| label.as_str()),
                other => unreachable!("{what}: {other:?}"),
            })
            .collect();
        assert_eq!(labels, expected, "{what}");
    }
}

#[test]
fn no_such_drill_for_an_injection_that_nobody_started() {
    let (mut world, hosts) = World::broken(5);
    let drill = DrillId::from_uuid(world.mint());
    let refusal = world.ask_to_inject(hosts[0], drill).expect_err("no drill runs");
    assert_eq!(refusal.reasons, [Reason::NoSuchDrill]);
    assert_eq!(refusal.check, None);
}

#[test]
fn every_reason_that_holds_is_named() {
    let (mut world, hosts) = World::broken(5);
    world.modes.insert("production", Mode::Approve);
    assert_eq!(world.configure(), Outcome::Done);
    for host in &hosts[1..] {
        world.becomes(*host, Status::Critical);
    }
    stop(&mut world, "global");
    stop(&mut world, "service:web");
    let refusal = world
        .ask_with(hosts[0], |request| {
            request.targets.clear();
            request.configuration = ConfigurationGeneration(1);
        })
        .expect_err("much is wrong");
    let rules: Vec<&str> = refusal.reasons.iter().map(Reason::rule).collect();
    assert_eq!(rules, ["configuration-stale", "unbound", "mode", "min-healthy", "stopped", "stopped"]);
}

#[test]
fn a_stop_order_counts_its_epoch_and_permits_after_it_carry_it() {
    let (mut world, hosts) = World::broken(5);
    stop(&mut world, "service:db");
    stop(&mut world, "service:db");
    let permit = world.ask(hosts[0]).expect("another service is stopped");
    assert_eq!(permit.stop_epoch.0, 2);
}

#[test]
fn a_refusal_says_when_to_ask_again_and_waits_longer_each_time() {
    let (mut world, hosts) = World::broken(5);
    world.becomes(hosts[1], Status::Critical);
    let running = world.ask(hosts[1]).expect("a permit");
    let mut waits = Vec::new();
    for _ in 0..8 {
        let refusal = world.ask(hosts[0]).expect_err("the slot is taken");
        waits.push(refusal.retry_at.expect("a slot comes back").since(world.now.wall).as_secs());
    }
    assert_eq!(waits, [15, 30, 60, 120, 240, 480, 900, 900]);
    world.end(&running, Ending::Succeeded);
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn a_refusal_that_only_a_person_can_clear_names_no_time() {
    let (mut world, hosts) = World::broken(5);
    world.becomes(hosts[1], Status::Critical);
    assert!(world.ask(hosts[1]).is_ok());
    stop(&mut world, "global");
    let refusal = world.ask(hosts[0]).expect_err("stopped, and no slot");
    assert_eq!(refusal.retry_at, None);
}

#[test]
fn a_resumed_scope_acts_again() {
    let (mut world, hosts) = World::broken(5);
    stop(&mut world, "global");
    assert!(world.ask(hosts[0]).is_err());
    world.done(PersonRequest::Resume { scope: Scope::Global, why: "all is well".to_owned() });
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn a_revoked_host_leaves_the_group() {
    let (mut world, hosts) = World::broken(2);
    // Half of two is one; the other is sick, so there is none.
    world.becomes(hosts[1], Status::Critical);
    assert!(world.ask(hosts[0]).is_err());
    set_state(&mut world, hosts[1], HostState::Revoked);
    let refusal = world.ask(hosts[0]).expect_err("a group of one is protected by its minimum");
    assert_eq!(refusal.reasons, [Reason::MinHealthy { limit: 1, value: 0 }]);
    world.guarded(|guard| guard.min_healthy = Amount::Count(0));
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn the_facts_for_cedar_are_those_of_the_request() {
    let (mut world, hosts) = World::broken(5);
    let request = world.request(hosts[0]);
    let facts = facts_for_authorisation(world.core.state(), &request);
    assert_eq!(facts.host_state, Some(HostState::Active));
    assert_eq!(facts.environment.as_ref().map(|name| name.as_str()), Some("production"));
    assert_eq!(facts.mode, Some(Mode::Auto));
    assert_eq!((facts.group_size, facts.healthy_besides, facts.in_flight, facts.attempts), (5, 4, 0, 0));
    let playbook = facts.playbook.expect("an admitted playbook");
    assert_eq!(playbook.publisher.as_str(), "acme");
    assert_eq!(playbook.actions.iter().map(|action| action.as_str()).collect::<Vec<_>>(), ["restart"]);
}
