//! Logs whose every signature and proof holds, written by somebody who holds all keys and breaks one
//! rule: the verifier finds that rule, at that record. Here: permits and refusals.

use crate::check::*;
use crate::log::{Log, host};
use crate::story::{
    At, Edit, PRODUCTION, STAGING, changed, check_ref, configuration, described, drill_id, edited, ended_run, fault,
    parsed, permit_for, remediate, request, run_id, story, transition, version, without,
};
use fettle_audit::verify::Rule;
use fettle_model::breaker::{BreakerClosed, BreakerOpened, OpenReason, Scope};
use fettle_model::check::Status;
use fettle_model::configuration::{Configuration, Declared};
use fettle_model::counter::{ConfigurationGeneration, Fence, LogPosition, StopEpoch, TransitionEpoch};
use fettle_model::escalation::Rung;
use fettle_model::freeze::{FreezeDeclared, FreezeLifted};
use fettle_model::guard::Guard;
use fettle_model::host::{DrillConsent, HostState};
use fettle_model::id::{BootId, FreezeId, MuteId, PermitId, RequestId};
use fettle_model::mute::{MuteLifted, MuteStarted};
use fettle_model::permit::Purpose;
use fettle_model::playbook::Action;
use fettle_model::record::{Body, ConfigurationSet, HostStateSet};
use fettle_model::rollout::{Reach, Ring, RolloutAdvanced, RolloutHalted, RolloutOrder, RolloutOrdered, Setback};
use fettle_model::service::Selector;
use fettle_model::time::{BootInstant, UnixMillis};
use fettle_model::withheld::{Hindrance, Hindrances, RequestWithheld};
use std::time::Duration;
use uuid::Uuid;

#[test]
fn a_second_remediation_is_valid_as_such() {
    check_valid(&granted_again(|_| {}, |_| {}));
}

#[test]
fn a_permit_answers_one_open_request_word_for_word() {
    check(&without(At::Requested), Rule::Request);
    check(&permit(At::Granted, |permit| permit.request = RequestId::from_uuid(uuid(7))), Rule::Request);
    check(&permit(At::Granted, |permit| permit.run = run_id(9)), Rule::Request);
    check(&permit(At::Granted, |permit| permit.host = host(STAGING)), Rule::Request);
    check(&permit(At::Granted, |permit| permit.boot = BootId::from_uuid(uuid(7))), Rule::Request);
    check(&permit(At::Granted, |permit| permit.sent_at = BootInstant(9)), Rule::Request);
    check(&asked(At::Requested, |request| request.purpose = remediate(2)), Rule::Request);
    check(&asked(At::Requested, |request| request.playbook = None), Rule::Request);
    check(&asked(At::Requested, |request| request.host = host(STAGING)), Rule::Request);
    check(&asked(At::RequestedAgain, |request| request.run = run_id(9)), Rule::Request);
    check(&changed(At::Refused, |body| of!(body, PermitRefused).reasons.clear()), Rule::Request);
    check(&without(At::RequestedAgain), Rule::Request);

    let mut after_refusal = story();
    let request = request(4, host(PRODUCTION), remediate(3));
    let mut permit = permit_for(&request, Fence(2));
    permit.stop_epoch = StopEpoch(1);
    after_refusal.control_plane(Body::PermitGranted(Box::new(permit)));
    check(&after_refusal, Rule::Request);

    let mut asked_again = story();
    asked_again.agent(host(PRODUCTION), Body::PermitRequested(Box::new(request)));
    check_valid(&asked_again);
}

#[test]
fn ids_are_used_once() {
    let first = run_id(3);
    let mut log = granted_again(|_| {}, |_| {});
    check_valid(&log);
    log = edited(|at, body| {
        if at == At::RequestedAgain {
            of!(body, PermitRequested).run = first;
        }
        match at {
            At::Refused => Edit::Drop,
            _ => Edit::Keep,
        }
    });
    let mut request = request(4, host(PRODUCTION), remediate(3));
    request.run = first;
    let mut permit = permit_for(&request, Fence(2));
    permit.permit = PermitId::from_uuid(uuid(77));
    permit.stop_epoch = StopEpoch(1);
    log.control_plane(Body::PermitGranted(Box::new(permit.clone())));
    log.agent(host(PRODUCTION), Body::RunEnded(Box::new(ended_run(&permit))));
    check(&log, Rule::Identifier);

    let used = PermitId::from_uuid(Uuid::from_u128(run_id(3).as_uuid().as_u128() ^ 3 << 64));
    check(&granted_again(|_| {}, |permit| permit.permit = used), Rule::Identifier);

    let mut stolen = story();
    let others = crate::story::request(4, host(STAGING), remediate(2));
    stolen.agent(host(STAGING), Body::PermitRequested(Box::new(others)));
    check(&stolen, Rule::Identifier);
    let mut drilled_twice = story();
    let drill = drilled_twice.records[At::DrillStarted as usize].1.record().body.clone();
    drilled_twice.control_plane(drill);
    check(&drilled_twice, Rule::Identifier);
}

#[test]
fn a_host_gets_permits_only_while_active_and_with_a_growing_fence() {
    for state in [HostState::Quarantined, HostState::Revoked] {
        let set = HostStateSet { host: host(PRODUCTION), state, by: None, why: "clone".to_owned() };
        check(&granted_again(|log| log.control_plane(Body::HostStateSet(Box::new(set))), |_| {}), Rule::HostState);
    }
    let unknown = HostStateSet { host: host(9), state: HostState::Active, by: None, why: String::new() };
    let mut log = story();
    log.control_plane(Body::HostStateSet(Box::new(unknown)));
    check(&log, Rule::HostState);
    let moved = described("staging", DrillConsent::Refused);
    check(&granted_again(|log| log.agent(host(PRODUCTION), moved), |_| {}), Rule::HostState);
    check(&granted_again(|_| {}, |permit| permit.fence = Fence(1)), Rule::Fence);
    check(&granted_again(|_| {}, |permit| permit.fence = Fence(0)), Rule::Fence);
}

fn rings(generation: u64) -> Body {
    let configuration = configuration(generation, 1);
    Body::ConfigurationSet(Box::new(ConfigurationSet { configuration, by: parsed("alice"), reach: Reach::Rings }))
}

fn reached(ring: Ring, hosts: &[u128]) -> Body {
    let hosts = hosts.iter().map(|number| host(*number)).collect();
    Body::RolloutAdvanced(Box::new(RolloutAdvanced { generation: ConfigurationGeneration(2), ring, hosts }))
}

#[test]
fn a_permit_rests_on_the_configuration_that_has_reached_its_host() {
    let at = |rings: Vec<Body>, generation| {
        let say = |log: &mut Log| rings.into_iter().for_each(|body| log.control_plane(body));
        granted_again(say, |permit| permit.configuration = ConfigurationGeneration(generation))
    };
    check_valid(&at(vec![rings(2)], 1));
    check(&at(vec![rings(2)], 2), Rule::Configuration);
    check_valid(&at(vec![rings(2), reached(Ring::One, &[PRODUCTION])], 2));
    check(&at(vec![rings(2), reached(Ring::One, &[PRODUCTION])], 1), Rule::Configuration);
    check_valid(&at(vec![rings(2), reached(Ring::All, &[])], 2));
    // What the target takes away is in force for hosts that it has not reached.
    let mut declared = configuration(2, 1).declared();
    declared.remediations.clear();
    let configuration = Configuration::new(ConfigurationGeneration(2), declared).expect("a configuration");
    let set = ConfigurationSet { configuration, by: parsed("alice"), reach: Reach::Rings };
    check(&at(vec![Body::ConfigurationSet(Box::new(set))], 1), Rule::Configuration);
}

#[test]
fn a_permit_is_for_a_host_that_its_service_selects() {
    let elsewhere = |declared: &mut Declared| {
        let staging = [parsed("staging")].into();
        declared.services[0].hosts = Selector::new(staging, std::collections::BTreeSet::new()).expect("a selector");
    };
    let mut course = crate::faults::Course::new(|declared| {
        crate::faults::listed(declared);
        elsewhere(declared);
    });
    course.becomes(Status::Critical);
    course.granted(1);
    check(&course.log, Rule::Configuration);
}

#[test]
fn rings_are_reached_in_their_order_and_not_while_a_rollout_is_halted() {
    let log = |rings: Vec<Body>| {
        let mut log = story();
        rings.into_iter().for_each(|body| log.control_plane(body));
        log
    };
    let halted = |because| {
        let halted = RolloutHalted { generation: ConfigurationGeneration(2), ring: Ring::Staging, because };
        Body::RolloutHalted(Box::new(halted))
    };
    let rejected = || vec![Setback::Rejected { host: host(STAGING) }];
    let ordered = |order| {
        let ordered = RolloutOrdered {
            generation: ConfigurationGeneration(2),
            order,
            by: parsed("alice"),
            why: "seen".to_owned(),
        };
        Body::RolloutOrdered(Box::new(ordered))
    };
    let one = || reached(Ring::One, &[PRODUCTION]);
    check_valid(&log(vec![rings(2), one(), reached(Ring::All, &[])]));
    check_valid(&log(vec![rings(2), halted(rejected()), ordered(RolloutOrder::Resume), one()]));
    let back = |services| {
        let mut declared = configuration(1, 1).declared();
        if services == 0 {
            declared = fettle_model::configuration::Declared::default();
        }
        let configuration = Configuration::new(ConfigurationGeneration(3), declared).expect("a configuration");
        let set = ConfigurationSet { configuration, by: parsed("alice"), reach: Reach::Everywhere };
        Body::ConfigurationSet(Box::new(set))
    };
    check_valid(&log(vec![rings(2), ordered(RolloutOrder::Abort), back(1)]));
    for wrong in [
        vec![one()],
        vec![rings(2), reached(Ring::One, &[STAGING])],
        vec![rings(2), reached(Ring::One, &[])],
        vec![rings(2), reached(Ring::Part, &[PRODUCTION]), one()],
        vec![rings(2), reached(Ring::All, &[]), one()],
        vec![rings(2), halted(rejected()), one()],
        vec![rings(2), halted(Vec::new())],
        vec![rings(2), ordered(RolloutOrder::Resume)],
        vec![ordered(RolloutOrder::Abort)],
        vec![rings(2), ordered(RolloutOrder::Abort), back(0)],
    ] {
        check(&log(wrong), Rule::Rollout);
    }
}

#[test]
fn a_configuration_is_everywhere_at_once_where_nothing_changes_for_who_holds_one() {
    let set = |reach, change: fn(&mut Declared)| {
        let mut declared = configuration(1, 1).declared();
        change(&mut declared);
        let configuration = Configuration::new(ConfigurationGeneration(2), declared).expect("consistent");
        let mut log = story();
        let set = ConfigurationSet { configuration, by: parsed("alice"), reach };
        log.control_plane(Body::ConfigurationSet(Box::new(set)));
        log
    };
    let probed_more: fn(&mut Declared) = |it| it.services[0].checks[0].fail_after = 9;
    check(&set(Reach::Everywhere, probed_more), Rule::Rollout);
    check_valid(&set(Reach::Rings, probed_more));
    let guarded_more: fn(&mut Declared) = |it| it.remediations[0].guard.max_attempts = 1;
    check_valid(&set(Reach::Everywhere, guarded_more));
    let nowhere: fn(&mut Declared) = |it| {
        let mut other = it.services[0].clone();
        other.name = parsed("db");
        it.services.push(other);
    };
    check_valid(&set(Reach::Everywhere, nowhere));
}

#[test]
fn a_permit_rests_on_the_newest_configuration_and_its_answer() {
    check(&without(At::Configured), Rule::Configuration);
    let newer = |generation| {
        let configuration = configuration(generation, 1);
        Body::ConfigurationSet(Box::new(ConfigurationSet {
            configuration,
            by: parsed("alice"),
            reach: Reach::Everywhere,
        }))
    };
    check(&granted_again(|log| log.control_plane(newer(2)), |_| {}), Rule::Configuration);
    check_valid(&granted_again(|log| log.control_plane(newer(2)), |p| p.configuration = ConfigurationGeneration(2)));
    let mut older = story();
    older.control_plane(newer(1));
    check(&older, Rule::Configuration);
    let other = |purpose: Purpose| {
        edited(|at, body| {
            match at {
                At::Requested => of!(body, PermitRequested).purpose = purpose.clone(),
                At::Granted => of!(body, PermitGranted).purpose = purpose.clone(),
                At::Ended => of!(body, RunEnded).purpose = purpose.clone(),
                _ => {}
            }
            Edit::Keep
        })
    };
    let by_another = Purpose::Remediate {
        check: check_ref(),
        epoch: TransitionEpoch(1),
        remediation: parsed("other"),
        rung: Rung::FIRST,
    };
    check(&other(by_another), Rule::Configuration);
    // The playbook stands on the first rung of a list of one.
    let on_another_rung = Purpose::Remediate {
        check: check_ref(),
        epoch: TransitionEpoch(1),
        remediation: parsed("restart-web"),
        rung: Rung::try_from(2).expect("a rung"),
    };
    check(&other(on_another_rung), Rule::Configuration);
    check(&other(remediate(2)), Rule::Transition);
    check(&without(At::Critical), Rule::Transition);
    check(&granted_again(|log| log.agent(host(PRODUCTION), transition(4, Status::Passing)), |_| {}), Rule::Transition);
    let none = fettle_model::remediation::Parameters::default();
    check(&permit(At::Granted, |permit| permit.parameters = none), Rule::Configuration);
    check(&permit(At::Granted, |permit| permit.grounds = vec![LogPosition(42)]), Rule::Grounds);
}

#[test]
fn a_remediation_runs_a_playbook() {
    let none = edited(|at, body| {
        match at {
            At::Requested => of!(body, PermitRequested).playbook = None,
            At::Granted => of!(body, PermitGranted).playbook = None,
            At::Ended => of!(body, RunEnded).playbook = None,
            _ => {}
        }
        Edit::Keep
    });
    check(&none, Rule::Playbook);
}

#[test]
fn only_the_mode_auto_acts() {
    use fettle_model::configuration::Configuration;
    use fettle_model::remediation::Mode;
    for mode in [Mode::Observe, Mode::Approve] {
        let log = changed(At::Configured, |body| {
            let set = of!(body, ConfigurationSet);
            let mut declared = set.configuration.declared();
            declared.remediations[0].modes.insert(parsed("production"), mode);
            set.configuration = Configuration::new(set.configuration.generation(), declared).expect("consistent");
        });
        check(&log, Rule::Mode);
    }
}

#[test]
fn a_permit_touches_what_was_asked_for_and_does_what_was_declared() {
    let no_target = edited(|at, body| {
        match at {
            At::Requested => of!(body, PermitRequested).targets.clear(),
            At::Granted => of!(body, PermitGranted).targets.clear(),
            At::Ended => of!(body, RunEnded).steps.clear(),
            _ => {}
        }
        Edit::Keep
    });
    check(&no_target, Rule::Target);
    check(&permit(At::Granted, |permit| permit.targets.clear()), Rule::Target);
    check(&asked(At::Requested, |request| request.targets.truncate(1)), Rule::Target);
    check(&permit(At::Granted, |permit| permit.targets[0].target = fettle_model::permit::Target::Facts), Rule::Target);
    check(&permit(At::Granted, |permit| permit.targets.push(permit.targets[0].clone())), Rule::Target);
    check(&permit(At::Granted, |permit| permit.targets[0].actions.extend([Action::Stop])), Rule::Target);
    check(&permit(At::Granted, |permit| permit.actions = 3), Rule::Target);
    check(&permit(At::InjectionGranted, |permit| permit.targets[0].label = parsed("health")), Rule::Target);
}

#[test]
fn nothing_is_granted_against_a_stop_order() {
    check(&granted_again(|_| {}, |permit| permit.stop_epoch = StopEpoch(0)), Rule::Stop);
    let order = |scope: Scope, epoch| {
        let order = fettle_model::breaker::StopOrder {
            scope,
            epoch: StopEpoch(epoch),
            by: parsed("alice"),
            why: "quiet".to_owned(),
        };
        Body::AutomationStopped(Box::new(order))
    };
    for scope in ["global", "environment:production", "service:web", "playbook:restart-service"] {
        let stop = order(parsed(scope), 2);
        check(&granted_again(|log| log.control_plane(stop), |permit| permit.stop_epoch = StopEpoch(2)), Rule::Stop);
    }
    for scope in ["environment:staging", "service:db", "playbook:other"] {
        check_valid(&granted_again(|log| log.control_plane(order(parsed(scope), 2)), |_| {}));
    }
    let mut not_counted = story();
    not_counted.control_plane(order(Scope::Global, 1));
    check(&not_counted, Rule::Stop);
}

#[test]
fn a_mute_is_bounded_in_force_when_it_is_lifted_and_holds_no_permit_back() {
    let (mute, week) = (MuteId::from_uuid(Uuid::from_u128(7)), Duration::from_hours(24 * 7));
    let started = |log: &mut Log, lasts| {
        let (until, by) = (log.now().plus(lasts), parsed("alice"));
        let started = MuteStarted { mute, scope: Scope::Global, until, by, why: "new disks".to_owned() };
        log.control_plane(Body::MuteStarted(Box::new(started)));
    };
    let lifted = || Body::MuteLifted(Box::new(MuteLifted { mute, by: parsed("alice"), why: "done".to_owned() }));
    check_valid(&granted_again(|log| started(log, week), |_| {}));
    for wrong in [Duration::ZERO, week + Duration::from_hours(1)] {
        check(&granted_again(|log| started(log, wrong), |_| {}), Rule::Mute);
    }
    let mut log = story();
    started(&mut log, week);
    log.control_plane(lifted());
    check_valid(&log);
    log.control_plane(lifted());
    check(&log, Rule::Mute);
}

#[test]
fn nothing_is_granted_within_a_freeze() {
    let freeze = |scope: &str, until| {
        let freeze = FreezeId::from_uuid(Uuid::from_u128(7));
        let (scope, by) = (parsed(scope), parsed("alice"));
        Body::FreezeDeclared(Box::new(FreezeDeclared { freeze, scope, until, by, why: "a move".to_owned() }))
    };
    let lifted = |freeze: u128| {
        let freeze = FreezeId::from_uuid(Uuid::from_u128(freeze));
        Body::FreezeLifted(Box::new(FreezeLifted { freeze, by: parsed("alice"), why: "moved".to_owned() }))
    };
    let (ever, over) = (UnixMillis(u64::MAX), UnixMillis(1));
    for scope in ["global", "environment:production", "service:web", "playbook:restart-service"] {
        check(&granted_again(|log| log.control_plane(freeze(scope, ever)), |_| {}), Rule::Freeze);
        check_valid(&granted_again(|log| log.control_plane(freeze(scope, over)), |_| {}));
        let ended = |log: &mut Log| {
            log.control_plane(freeze(scope, ever));
            log.control_plane(lifted(7));
        };
        check_valid(&granted_again(ended, |_| {}));
    }
    check_valid(&granted_again(|log| log.control_plane(freeze("service:db", ever)), |_| {}));
    let mut nothing_there = story();
    nothing_there.control_plane(lifted(8));
    check(&nothing_there, Rule::Freeze);
}

#[test]
fn an_open_breaker_lets_nothing_through_and_a_half_open_one_a_single_probe() {
    let open = |half_open_at| {
        let because = OpenReason::Failures { count: 3, allowed: 2 };
        Body::BreakerOpened(Box::new(BreakerOpened { scope: Scope::Global, because, half_open_at }))
    };
    let soon = Some(UnixMillis(crate::log::START.0 + 31_000));
    let late = Some(UnixMillis(crate::log::START.0 + 99_000));
    check(&granted_again(|log| log.control_plane(open(None)), |_| {}), Rule::Breaker);
    check(&granted_again(|log| log.control_plane(open(late)), |_| {}), Rule::Breaker);
    check_valid(&granted_again(|log| log.control_plane(open(soon)), |_| {}));
    let closed = Body::BreakerClosed(Box::new(BreakerClosed { scope: Scope::Global, probe: None }));
    let opened_and_closed = |log: &mut Log| {
        log.control_plane(open(None));
        log.control_plane(closed);
    };
    check_valid(&granted_again(opened_and_closed, |_| {}));
    let mut probes = granted_again(|log| log.control_plane(open(soon)), |_| {});
    // The first probe has not ended when another host gets a permit.
    probes.records.pop();
    other_host_granted(&mut probes, StopEpoch(1));
    let report = verify(&probes);
    assert!(report.findings.iter().any(|finding| finding.rule == Rule::Breaker), "{:?}", report.findings);
}

#[test]
fn permits_in_flight_stay_within_the_guard() {
    let mut after = granted_again(|_| {}, |_| {});
    other_host_granted(&mut after, StopEpoch(1));
    check_valid(&after);
    let mut besides = granted_again(|_| {}, |_| {});
    besides.records.pop();
    other_host_granted(&mut besides, StopEpoch(1));
    check(&besides, Rule::InFlight);

    let mut two = changed(At::Configured, |body| of!(body, ConfigurationSet).configuration = configuration(1, 2));
    two.records.truncate(At::Ended as usize);
    let request = request(8, host(PRODUCTION), remediate(1));
    // The chain is that of the whole story, so only what concerns the permit is looked at.
    two.agent(host(PRODUCTION), Body::PermitRequested(Box::new(request.clone())));
    two.control_plane(Body::PermitGranted(Box::new(permit_for(&request, Fence(2)))));
    let report = verify(&two);
    assert!(report.findings.iter().any(|finding| finding.rule == Rule::InFlight), "{:?}", report.findings);
}

#[test]
fn permits_within_a_window_stay_within_the_guard() {
    // The second one in production; the drill's are of another environment, and more than a few.
    let limited = |guard: fn(&mut Guard)| granted_under(guard, |_| {}, |_| {});
    check_valid(&limited(|guard| (guard.max_per_window, guard.max_irreversible) = (9, 9)));
    check(&limited(|guard| (guard.max_per_window, guard.max_irreversible) = (1, 9)), Rule::Window);
    check(&limited(|guard| (guard.max_per_window, guard.max_irreversible) = (9, 1)), Rule::Window);
    check_valid(&limited(|guard| (guard.max_per_window, guard.max_irreversible, guard.window) = (1, 1, SHORT)));
}

const SHORT: Duration = Duration::from_secs(1);

fn withheld(purpose: Purpose) -> Body {
    let because = Hindrances::first_of(vec![Hindrance::LogForked]).expect("there is one");
    let configuration = ConfigurationGeneration(1);
    Body::RequestWithheld(Box::new(RequestWithheld { purpose, playbook: version(), configuration, because }))
}

#[test]
fn a_request_is_withheld_about_the_newest_critical_transition_or_a_drill_there_and_by_an_agent() {
    let injection = |drill| Purpose::InjectFault { drill, fault: fault() };
    let after = |author: u128, purpose| {
        let mut log = story();
        log.agent(host(author), withheld(purpose));
        log
    };
    check_valid(&after(PRODUCTION, remediate(3)));
    check_valid(&after(STAGING, injection(drill_id())));
    check(&after(PRODUCTION, remediate(1)), Rule::Transition);
    check(&after(PRODUCTION, remediate(4)), Rule::Transition);
    // Its newest one is of the same number, and passing.
    check(&after(STAGING, remediate(2)), Rule::Transition);
    check(&after(PRODUCTION, injection(drill_id())), Rule::Drill);
    check(&after(STAGING, injection(fettle_model::id::DrillId::from_uuid(uuid(7)))), Rule::Drill);
    let mut not_an_agents = story();
    not_an_agents.control_plane(withheld(remediate(3)));
    check(&not_an_agents, Rule::Author);
}
