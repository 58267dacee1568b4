//! Budgets given in advance, in a log whose playbook only does what can be undone; and the same log with one rule of
//! theirs broken.

use crate::check::*;
use crate::log::{Log, host};
use crate::story::{
    At, Edit, PRODUCTION, STAGING, check_ref, configuration, edited, ended_run, parsed, permit_for, request, transition,
};
use fettle_audit::verify::Rule;
use fettle_model::check::Status;
use fettle_model::configuration::Configuration;
use fettle_model::counter::{ConfigurationGeneration, Fence, StopEpoch};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::evidence::ProvedGrant;
use fettle_model::guard::Amount;
use fettle_model::id::{HostId, IncidentId, PermitId};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::offline::{OfflineExpired, OfflineReturned, Units};
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::playbook::Action;
use fettle_model::record::{Body, PermitRejected};
use fettle_model::remediation::Mode;
use fettle_model::run::{Ending, RunRecord};
use std::collections::BTreeSet;
use std::time::Duration;

const LASTS: Duration = Duration::from_hours(4);

/// What the fixture's playbook may do instead of what no inverse undoes.
fn start(actions: &mut BTreeSet<Action>) {
    if actions.contains(&Action::Restart) {
        *actions = BTreeSet::from([Action::Start]);
    }
}

/// The story, told of a playbook that starts, with a budget in its configuration; `edit` may change more of it.
fn story_with(mut edit: impl FnMut(At, &mut Body)) -> Log {
    edited(|at, body| {
        match body {
            Body::PlaybookAdmitted(admitted) => {
                admitted.manifest.grants.iter_mut().for_each(|grant| start(&mut grant.actions));
            }
            Body::PermitGranted(permit) => permit.targets.iter_mut().for_each(|target| start(&mut target.actions)),
            Body::EvidenceEarned(evidence) => {
                let mut permit = permit_for(&request(2, host(STAGING), offline()), Fence(1));
                permit.targets.iter_mut().for_each(|target| start(&mut target.actions));
                evidence.grants = ProvedGrant::of(&permit.targets);
            }
            Body::RunEnded(run) => begun(run),
            Body::ConfigurationSet(set) => set.configuration = giving(1),
            _ => {}
        }
        edit(at, body);
        Edit::Keep
    })
}

fn begun(run: &mut RunRecord) {
    for step in run.steps.iter_mut().filter(|step| step.action == Action::Restart) {
        step.action = Action::Start;
    }
}

/// One host may hold two units; two may be in flight.
fn giving(hosts: u32) -> Configuration {
    let mut declared = configuration(1, 2).declared();
    for remediation in &mut declared.remediations {
        let units = Units::new(2).expect("units");
        remediation.offline = Some(fettle_model::offline::Offline { hosts: Amount::Count(hosts), units, lasts: LASTS });
    }
    Configuration::new(ConfigurationGeneration(1), declared).expect("consistent")
}

fn offline() -> Purpose {
    Purpose::Offline { check: check_ref(), remediation: parsed("restart-web") }
}

/// The story, and then a budget of two for the production host, changed by `change`.
fn given(mut log: Log, change: impl FnOnce(&mut Permit)) -> (Log, Permit) {
    let at = host(PRODUCTION);
    log.agent(at, transition(4, Status::Passing));
    let request = request(5, at, offline());
    let mut permit = permit_for(&request, Fence(2));
    permit.targets.iter_mut().for_each(|target| start(&mut target.actions));
    (permit.units, permit.lease, permit.stop_epoch) = (Units::new(2).expect("units"), LASTS, StopEpoch(1));
    change(&mut permit);
    log.agent(at, Body::PermitRequested(Box::new(request)));
    log.control_plane(Body::PermitGranted(Box::new(permit.clone())));
    (log, permit)
}

fn unit(permit: &Permit, number: usize) -> Permit {
    permit.all_units().nth(number).expect("it has that one")
}

fn ran(log: &mut Log, under: &Permit, change: impl FnOnce(&mut RunRecord)) {
    let mut ended = ended_run(under);
    begun(&mut ended);
    change(&mut ended);
    log.agent(host(PRODUCTION), Body::RunEnded(Box::new(ended)));
}

fn returned(log: &mut Log, by: HostId, permit: PermitId, used: u32) {
    log.agent(by, Body::OfflineReturned(Box::new(OfflineReturned { permit, used })));
}

#[test]
fn a_budget_that_is_used_and_given_back_holds_every_rule() {
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    check_gap(&log, Rule::OpenRun);
    ran(&mut log, &unit(&permit, 0), |_| ());
    returned(&mut log, host(PRODUCTION), permit.permit, 1);
    check_valid(&log);

    // What is told after it expired is no less sound.
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    let expired = OfflineExpired { permit: permit.permit, host: permit.host };
    log.control_plane(Body::OfflineExpired(Box::new(expired)));
    check_valid(&log);
    ran(&mut log, &unit(&permit, 1), |_| ());
    returned(&mut log, host(PRODUCTION), permit.permit, 1);
    check_valid(&log);
}

#[test]
fn it_is_given_only_for_what_its_remediation_says() {
    let refused = |change: fn(&mut Permit), rule| check(&given(story_with(|_, _| ()), change).0, rule);
    refused(|permit| permit.units = Units::new(3).expect("units"), Rule::Offline);
    refused(|permit| permit.lease = LASTS + Duration::from_millis(1), Rule::Offline);
    refused(|permit| permit.drill = Some(crate::story::drill_id()), Rule::Offline);
    let without = story_with(|_, body| {
        if let Body::ConfigurationSet(set) = body {
            set.configuration = configuration(1, 2);
        }
    });
    check(&given(without, |_| ()).0, Rule::Offline);
    let asking = story_with(|_, body| {
        if let Body::ConfigurationSet(set) = body {
            let mut declared = giving(1).declared();
            declared.remediations[0].modes.insert(parsed("production"), Mode::Approve);
            set.configuration = Configuration::new(ConfigurationGeneration(1), declared).expect("consistent");
        }
    });
    // The story's own grant is the first that rests on that mode.
    check(&given(asking, |_| ()).0, Rule::Mode);
}

#[test]
fn it_is_never_given_for_what_no_inverse_undoes() {
    let restarting = edited(|_, body| {
        if let Body::ConfigurationSet(set) = body {
            set.configuration = giving(1);
        }
        Edit::Keep
    });
    let restart = |permit: &mut Permit| {
        permit.targets.iter_mut().filter(|target| !target.actions.is_empty()).for_each(|target| {
            target.actions = BTreeSet::from([Action::Restart]);
        });
    };
    check(&given(restarting, restart).0, Rule::Offline);
}

#[test]
fn a_slot_is_left_for_hosts_that_are_connected() {
    let none = story_with(|_, body| {
        if let Body::ConfigurationSet(set) = body {
            let mut declared = giving(1).declared();
            declared.remediations[0].guard.max_in_flight = Amount::Count(1);
            set.configuration = Configuration::new(ConfigurationGeneration(1), declared).expect("consistent");
        }
    });
    check(&given(none, |_| ()).0, Rule::InFlight);
}

#[test]
fn only_a_budget_has_several_units() {
    let several = story_with(|at, body| {
        if let (At::Granted, Body::PermitGranted(permit)) = (at, body) {
            permit.units = Units::new(2).expect("units");
        }
    });
    check(&several, Rule::Offline);
}

#[test]
fn no_more_is_run_under_it_than_its_units_and_than_its_agent_says() {
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    ran(&mut log, &unit(&permit, 0), |_| ());
    ran(&mut log, &unit(&permit, 1), |_| ());
    returned(&mut log, host(PRODUCTION), permit.permit, 1);
    check(&log, Rule::Offline);

    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    returned(&mut log, host(PRODUCTION), permit.permit, 0);
    ran(&mut log, &unit(&permit, 0), |_| ());
    check(&log, Rule::Offline);

    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    returned(&mut log, host(PRODUCTION), permit.permit, 3);
    check(&log, Rule::Offline);

    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    ran(&mut log, &unit(&permit, 0), |_| ());
    ran(&mut log, &unit(&permit, 0), |_| ());
    check(&log, Rule::Ending);

    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    let three = Permit { units: Units::new(3).expect("units"), ..permit };
    ran(&mut log, &unit(&three, 2), |_| ());
    check(&log, Rule::Permit);

    // The budget itself is no run, whether it is held or not.
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    ran(&mut log, &permit, |_| ());
    check(&log, Rule::Permit);
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    returned(&mut log, host(PRODUCTION), permit.permit, 0);
    ran(&mut log, &permit, |_| ());
    check(&log, Rule::Permit);
}

#[test]
fn a_run_that_its_host_would_not_begin_is_no_fault_and_what_it_refused_whole_has_no_runs() {
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    let one = unit(&permit, 0);
    log.agent(host(PRODUCTION), rejected(&one));
    returned(&mut log, host(PRODUCTION), permit.permit, 0);
    check_valid(&log);
    ran(&mut log, &one, |_| ());
    check(&log, Rule::Ending);

    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    log.agent(host(PRODUCTION), rejected(&permit));
    check_valid(&log);
    ran(&mut log, &unit(&permit, 0), |_| ());
    check(&log, Rule::Offline);
}

fn rejected(permit: &Permit) -> Body {
    Body::PermitRejected(Box::new(PermitRejected {
        permit: Some(permit.permit),
        run: Some(permit.run),
        envelope: EnvelopeDigest::of(b"permit"),
        because: PermitRejection::AboveCeiling { label: parsed("service"), action: Action::Start },
    }))
}

#[test]
fn a_run_under_it_stays_within_it() {
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    ran(&mut log, &unit(&permit, 0), |run| run.steps[0].action = Action::Stop);
    check(&log, Rule::Step);
}

#[test]
fn it_is_given_back_once_by_its_holder_and_expires_once() {
    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    returned(&mut log, host(STAGING), permit.permit, 0);
    check(&log, Rule::Permit);

    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    returned(&mut log, host(PRODUCTION), permit.permit, 0);
    returned(&mut log, host(PRODUCTION), permit.permit, 0);
    check(&log, Rule::Ending);

    let (mut log, permit) = given(story_with(|_, _| ()), |_| ());
    let expired = || Body::OfflineExpired(Box::new(OfflineExpired { permit: permit.permit, host: permit.host }));
    log.control_plane(expired());
    log.control_plane(expired());
    check(&log, Rule::Ending);
}

#[test]
fn it_has_no_more_units_than_attempts_are_left_and_those_used_are_attempts() {
    let once = |attempts: u32| {
        story_with(move |_, body| {
            if let Body::ConfigurationSet(set) = body {
                let mut declared = giving(1).declared();
                declared.remediations[0].guard.max_attempts = attempts;
                set.configuration = Configuration::new(ConfigurationGeneration(1), declared).expect("consistent");
            }
        })
    };
    // The story has tried once, and its success did not last.
    check(&given(once(2), |_| ()).0, Rule::Offline);
    check_gap(&given(once(2), |permit| permit.units = Units::ONE).0, Rule::OpenRun);
    check(&given(once(1), |permit| permit.units = Units::ONE).0, Rule::Attempts);

    let (mut log, permit) = given(once(3), |_| ());
    for number in 0..2 {
        ran(&mut log, &unit(&permit, number), |_| ());
    }
    returned(&mut log, host(PRODUCTION), permit.permit, 2);
    check_valid(&log);
    log.agent(host(PRODUCTION), transition(5, Status::Critical));
    let request = request(6, host(PRODUCTION), crate::story::remediate(5));
    let mut again = permit_for(&request, Fence(3));
    again.targets.iter_mut().for_each(|target| start(&mut target.actions));
    again.stop_epoch = StopEpoch(1);
    log.agent(host(PRODUCTION), Body::PermitRequested(Box::new(request)));
    log.control_plane(Body::PermitGranted(Box::new(again)));
    check(&log, Rule::Attempts);
}

/// Another production host gets a permit.
fn other_granted(log: &mut Log) {
    let other = host(3);
    log.control_plane(crate::story::token(3, "production"));
    log.control_plane(crate::story::enrolled(3, "production"));
    log.agent(other, crate::story::described("production", fettle_model::host::DrillConsent::Refused));
    log.agent(other, transition(1, Status::Critical));
    let request = request(8, other, crate::story::remediate(1));
    let mut permit = permit_for(&request, Fence(1));
    permit.targets.iter_mut().for_each(|target| start(&mut target.actions));
    permit.stop_epoch = StopEpoch(1);
    log.agent(other, Body::PermitRequested(Box::new(request)));
    log.control_plane(Body::PermitGranted(Box::new(permit)));
}

#[test]
fn what_is_held_counts_in_every_window_and_what_was_used_afterwards() {
    // The story has spent one in production and five in staging, and the budget is of five.
    let five = Units::new(5).expect("units");
    let windowed = |most: u32| {
        let log = story_with(move |_, body| {
            if let Body::ConfigurationSet(set) = body {
                let mut declared = giving(1).declared();
                let guard = &mut declared.remediations[0].guard;
                (guard.max_per_window, guard.max_attempts) = (most, 9);
                declared.remediations[0].offline.as_mut().expect("it gives one").units = five;
                set.configuration = Configuration::new(ConfigurationGeneration(1), declared).expect("consistent");
            }
        });
        given(log, |permit| permit.units = five)
    };
    check(&windowed(5).0, Rule::Window);
    check_open(&windowed(6).0);
    let then = |most: u32, became: &dyn Fn(&mut Log, &Permit)| {
        let (mut log, permit) = windowed(most);
        became(&mut log, &permit);
        other_granted(&mut log);
        log
    };
    let held = |_: &mut Log, _: &Permit| ();
    check(&then(6, &held), Rule::Window);
    check_open(&then(7, &held));
    let used = |log: &mut Log, permit: &Permit, used: usize| {
        (0..used).for_each(|number| ran(log, &unit(permit, number), |_| ()));
        returned(log, host(PRODUCTION), permit.permit, used.try_into().expect("few"));
    };
    check_open(&then(6, &|log, permit| used(log, permit, 0)));
    check_open(&then(6, &|log, permit| used(log, permit, 4)));
    check(&then(6, &|log, permit| used(log, permit, 5)), Rule::Window);
    // Nobody knows what was used, until the agent says so.
    let expired = |log: &mut Log, permit: &Permit| {
        let expired = OfflineExpired { permit: permit.permit, host: permit.host };
        log.control_plane(Body::OfflineExpired(Box::new(expired)));
    };
    check(&then(6, &expired), Rule::Window);
    let late = |log: &mut Log, permit: &Permit, number: usize| {
        expired(log, permit);
        used(log, permit, number);
    };
    check_open(&then(6, &|log, permit| late(log, permit, 4)));
    check(&then(6, &|log, permit| late(log, permit, 5)), Rule::Window);
    // Its host refused it, so none of it was used.
    check_open(&then(6, &|log, permit| log.agent(host(PRODUCTION), rejected(permit))));
}

/// Nothing is wrong, but that runs have not ended.
#[track_caller]
fn check_open(log: &Log) {
    let findings = crate::check::verify(log).findings;
    assert!(findings.iter().all(|finding| finding.rule == Rule::OpenRun), "{findings:?}");
}

#[test]
fn people_are_called_when_a_unit_was_the_last_attempt() {
    let told = |ending, host_number| {
        let log = story_with(|_, body| {
            if let Body::ConfigurationSet(set) = body {
                let mut declared = giving(1).declared();
                declared.remediations[0].guard.max_attempts = 2;
                set.configuration = Configuration::new(ConfigurationGeneration(1), declared).expect("consistent");
            }
        });
        let (mut log, permit) = given(log, |permit| permit.units = Units::ONE);
        ran(&mut log, &unit(&permit, 0), |run| run.ending = ending);
        if let Some(number) = host_number {
            let cause = IncidentCause::AttemptsExhausted { attempts: 2, tried: Vec::new() };
            let incident = IncidentId::from_uuid(crate::check::uuid(1));
            let opened = IncidentOpened { incident, host: Some(host(number)), check: Some(check_ref()), cause };
            log.control_plane(Body::IncidentOpened(Box::new(opened)));
        }
        returned(&mut log, host(PRODUCTION), permit.permit, 1);
        log
    };
    check(&told(Ending::Ineffective, None), Rule::Called);
    check(&told(Ending::Ineffective, Some(STAGING)), Rule::Called);
    check_valid(&told(Ending::Ineffective, Some(PRODUCTION)));
    check_valid(&told(Ending::Succeeded, None));
}
