//! Whose turn it is in a list, and whether people are called at its end, in logs of a control plane that counts wrongly.

use crate::check::{check, check_valid};
use crate::faults::{Course, TIMEOUT, above_ceiling, listed, other_check, patient, with_other_check};
use crate::log::host;
use crate::story::{At, Edit, PRODUCTION, STAGING, check_ref, configuration, parsed};
use fettle_audit::verify::Rule;
use fettle_model::check::Status;
use fettle_model::configuration::Configuration;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::permit::{PermitRejection, Purpose};
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use fettle_model::withheld::{Hindrance, Lack, RequestWithheld, Unbound};
use std::time::Duration;

/// A list of two, and a production host whose check is critical.
fn broken() -> Course {
    let mut course = Course::new(listed);
    course.becomes(Status::Critical);
    course
}

/// After what `so_far` says, exactly this rung is due.
#[track_caller]
fn due(so_far: impl Fn(&mut Course), number: u32) {
    for asked in [1, 2] {
        let mut course = broken();
        so_far(&mut course);
        let permit = course.granted(asked);
        course.ended(&permit, Ending::Superseded);
        if asked == number {
            check_valid(&course.log);
        } else {
            check(&course.log, Rule::Turn);
        }
    }
}

fn unbound() -> Hindrance {
    Hindrance::Unbound { label: parsed("service"), how: Unbound::Nothing }
}

#[test]
fn the_first_goes_first_and_the_next_when_a_run_did_not_help() {
    due(|_| {}, 1);
    for ending in [Ending::Ineffective, Ending::Failed, Ending::Reverted] {
        due(|course| course.tried(1, ending), 2);
    }
    for ending in [Ending::Superseded, Ending::Cancelled, Ending::Expired, Ending::InDoubt, Ending::Succeeded] {
        due(|course| course.tried(1, ending), 1);
    }
    let lost = |course: &mut Course| {
        let permit = course.granted(1);
        course.lost(&permit);
    };
    due(lost, 1);
}

#[test]
fn success_that_does_not_last_ends_a_turn_and_a_new_problem_begins_at_the_first() {
    let relapse = |healthy: Duration| {
        move |course: &mut Course| {
            course.tried(1, Ending::Succeeded);
            course.becomes(Status::Passing);
            course.wait(healthy);
            course.becomes(Status::Critical);
        }
    };
    due(relapse(Duration::from_secs(1)), 2);
    due(relapse(Duration::from_secs(25)), 1);
    // A problem of which the list is at its second rung is over too.
    let after_two = |course: &mut Course| {
        course.tried(1, Ending::Ineffective);
        course.becomes(Status::Passing);
        course.wait(Duration::from_secs(25));
        course.becomes(Status::Critical);
    };
    due(after_two, 1);
}

#[test]
fn a_turn_is_over_by_its_timeout_where_the_check_was_not_healthy_since() {
    let long = TIMEOUT;
    let waited = |time: Duration| {
        move |course: &mut Course| {
            course.tried(1, Ending::Superseded);
            course.wait(time);
        }
    };
    due(waited(long), 2);
    due(waited(long.checked_sub(Duration::from_secs(5)).expect("longer")), 1);
    // From the first permit on, not the last.
    let again = |course: &mut Course| {
        course.tried(1, Ending::Superseded);
        course.wait(Duration::from_secs(20));
        course.tried(1, Ending::Superseded);
        course.wait(Duration::from_secs(20));
    };
    due(again, 2);
    let healthy = |course: &mut Course| {
        course.tried(1, Ending::Superseded);
        course.becomes(Status::Passing);
        course.becomes(Status::Critical);
        course.wait(long);
    };
    due(healthy, 1);
    // What passed by time is passed for good: the second rung's own time has not begun.
    let second = |course: &mut Course| {
        course.tried(1, Ending::Superseded);
        course.wait(long);
        course.tried(2, Ending::Superseded);
    };
    due(second, 2);
}

#[test]
fn a_permit_that_the_host_does_not_allow_ends_a_turn_and_one_that_came_late_does_not() {
    let rejected = |because: PermitRejection| {
        move |course: &mut Course| {
            let permit = course.granted(1);
            course.rejected(&permit, because.clone());
        }
    };
    due(rejected(above_ceiling()), 2);
    due(rejected(PermitRejection::Busy), 1);
}

#[test]
fn what_a_host_cannot_run_is_passed_over_and_what_it_waits_for_has_its_time() {
    due(|course| course.withheld(1, unbound()), 2);
    // Of a rung that is not due it says nothing.
    due(|course| course.withheld(2, unbound()), 1);
    let waits = |time: Duration| {
        move |course: &mut Course| {
            course.withheld(1, Hindrance::PlaybookNotReady { lacks: Lack::Package });
            course.wait(time);
        }
    };
    due(waits(Duration::ZERO), 1);
    due(waits(TIMEOUT), 2);
    // A word that comes after the timeout is of the second rung, and passes it over.
    let late = |course: &mut Course| {
        course.tried(1, Ending::Superseded);
        course.wait(TIMEOUT);
        course.withheld(2, unbound());
        course.called();
    };
    let mut over = broken();
    late(&mut over);
    over.granted(2);
    check(&over.log, Rule::Turn);
}

#[test]
fn a_drill_makes_the_rung_due_on_which_its_playbook_stands() {
    let withheld = |purpose| {
        Body::RequestWithheld(Box::new(RequestWithheld {
            purpose,
            playbook: crate::story::version(),
            configuration: ConfigurationGeneration(1),
            because: fettle_model::withheld::Hindrances::first_of(vec![unbound()]).expect("one"),
        }))
    };
    let course = Course::after(|at, body| match at {
        At::Configured => {
            let Body::ConfigurationSet(set) = body else { unreachable!("the step is of another kind") };
            let mut declared = configuration(1, 1).declared();
            listed(&mut declared);
            set.configuration = Configuration::new(ConfigurationGeneration(1), declared).expect("consistent");
            Edit::Keep
        }
        // Without the drill the second would be due.
        At::StagingCritical => Edit::Then(host(STAGING), withheld(crate::story::remediate(1))),
        _ if at as usize >= At::StagingPassing as usize => Edit::Drop,
        _ => Edit::Keep,
    });
    check_valid(&course.log);
}

#[test]
fn another_remediation_s_list_begins_at_its_first_rung() {
    let renamed = |name: &'static str| {
        let mut course = broken();
        course.tried(1, Ending::Ineffective);
        course.configures(2, |declared| {
            listed(declared);
            declared.remediations[0].name = parsed(name);
        });
        for (number, ending) in [(1, Ending::Ineffective), (2, Ending::Superseded)] {
            let mut purpose = course.purpose(host(PRODUCTION), &check_ref(), number);
            if let Purpose::Remediate { remediation, .. } = &mut purpose {
                *remediation = parsed(name);
            }
            let request = course.asks(host(PRODUCTION), purpose);
            let permit = course.grants(&request, |permit| permit.configuration = ConfigurationGeneration(2));
            course.ended(&permit, ending);
        }
        course
    };
    check_valid(&renamed("mend-web").log);
    check(&renamed("restart-web").log, Rule::Turn);
}

#[test]
fn people_are_called_when_the_last_turn_is_over() {
    let ended = |called: fn(&mut Course)| {
        let mut course = broken();
        course.tried(1, Ending::Ineffective);
        course.tried(2, Ending::Ineffective);
        called(&mut course);
        course
    };
    check_valid(&ended(Course::called).log);
    check(&ended(|_| {}).log, Rule::Called);
    check(&ended(|course| course.called_to(host(STAGING), &check_ref())).log, Rule::Called);
    check(&ended(|course| course.called_to(host(PRODUCTION), &other_check())).log, Rule::Called);
    // Later is not then.
    let late = |course: &mut Course| {
        course.becomes(Status::Passing);
        course.called();
    };
    check(&ended(late).log, Rule::Called);

    // Where time had passed the first turn, too.
    let mut passed = broken();
    passed.tried(1, Ending::Superseded);
    passed.wait(TIMEOUT);
    passed.tried(2, Ending::Ineffective);
    check(&passed.log, Rule::Called);

    let refused_by_the_host = |called: fn(&mut Course)| {
        let mut course = broken();
        course.tried(1, Ending::Ineffective);
        let permit = course.granted(2);
        course.rejected(&permit, above_ceiling());
        called(&mut course);
        course.log
    };
    check_valid(&refused_by_the_host(Course::called));
    check(&refused_by_the_host(|_| {}), Rule::Called);

    let passed_over = |called: fn(&mut Course)| {
        let mut course = broken();
        course.tried(1, Ending::Ineffective);
        course.withheld(2, unbound());
        called(&mut course);
        course.log
    };
    check_valid(&passed_over(Course::called));
    check(&passed_over(|_| {}), Rule::Called);
}

#[test]
fn people_are_called_when_the_last_attempt_did_not_help() {
    let tried = |ending, called: fn(&mut Course)| {
        let mut course = Course::new(|declared| {
            patient(&mut declared.remediations[0].guard);
            declared.remediations[0].guard.max_attempts = 2;
        });
        course.becomes(Status::Critical);
        course.tried(1, Ending::Ineffective);
        course.tried(1, ending);
        called(&mut course);
        course.log
    };
    for ending in [Ending::Ineffective, Ending::Failed, Ending::Reverted, Ending::Expired, Ending::InDoubt] {
        check(&tried(ending, |_| {}), Rule::Called);
        check_valid(&tried(ending, Course::called));
    }
    for ending in [Ending::Succeeded, Ending::Superseded, Ending::Cancelled] {
        check_valid(&tried(ending, |_| {}));
    }
}

#[test]
fn people_are_called_once_for_a_problem_and_anew_for_the_next() {
    let exhausted = || vec![Reason::RungsExhausted { rungs: 2 }];
    let used_up = || {
        let mut course = broken();
        course.tried(1, Ending::Ineffective);
        course.tried(2, Ending::Ineffective);
        course.called();
        course
    };
    let mut again = used_up();
    again.refused(2, exhausted());
    check_valid(&again.log);
    let next = |called: fn(&mut Course)| {
        let mut course = used_up();
        course.becomes(Status::Passing);
        course.wait(Duration::from_secs(25));
        course.becomes(Status::Critical);
        course.refused(1, vec![Reason::MaxAttempts { limit: 9, value: 9, began_with: None }]);
        called(&mut course);
        course.log
    };
    check_valid(&next(Course::called));
    check(&next(|_| {}), Rule::Called);
}

#[test]
fn a_refusal_says_that_every_turn_is_over_and_calls_people() {
    let refused = |reasons: Vec<Reason>, called: fn(&mut Course)| {
        let mut course = broken();
        course.tried(1, Ending::Ineffective);
        course.tried(2, Ending::Superseded);
        course.wait(TIMEOUT);
        course.refused(2, reasons);
        called(&mut course);
        course.log
    };
    let exhausted = || vec![Reason::RungsExhausted { rungs: 2 }];
    check_valid(&refused(exhausted(), Course::called));
    check(&refused(exhausted(), |_| {}), Rule::Called);
    check(&refused(vec![Reason::HostNotActive], |_| {}), Rule::Turn);
    check_valid(&refused(vec![Reason::NoRemediation], |_| {}));

    // A run whose effects may be in progress is not overtaken, however long it takes.
    let mut busy = broken();
    busy.tried(1, Ending::Ineffective);
    let permit = busy.granted(2);
    busy.wait(TIMEOUT);
    let clears_at = busy.log.now();
    busy.refused(2, vec![Reason::HostBusy { run: permit.run, clears_at }]);
    busy.ended(&permit, Ending::Superseded);
    check_valid(&busy.log);
}

#[test]
fn a_check_that_a_fix_brought_down_shares_the_problem_of_the_other() {
    let moved = |pause: Duration, called: fn(&mut Course)| {
        let mut course = Course::new(|declared| {
            patient(&mut declared.remediations[0].guard);
            declared.remediations[0].guard.max_attempts = 2;
            with_other_check(declared);
        });
        let at = host(PRODUCTION);
        course.check_becomes(at, &other_check(), Status::Passing);
        course.becomes(Status::Critical);
        course.tried(1, Ending::Succeeded);
        course.becomes(Status::Passing);
        course.wait(pause);
        course.check_becomes(at, &other_check(), Status::Critical);
        let permit = course.granted_for(at, &other_check(), 1);
        course.ended(&permit, Ending::Ineffective);
        called(&mut course);
        course.log
    };
    check(&moved(Duration::ZERO, |_| {}), Rule::Called);
    check_valid(&moved(Duration::ZERO, |course| course.called_to(host(PRODUCTION), &other_check())));
    check_valid(&moved(Duration::from_secs(25), |_| {}));
}

#[test]
fn what_the_control_plane_decides_next_does_not_hide_a_missing_call() {
    let mut course = broken();
    course.tried(1, Ending::Ineffective);
    course.tried(2, Ending::Ineffective);
    // Another decision of the control plane alone does not hide it.
    course.wait(Duration::from_secs(2));
    check(&course.log, Rule::Called);
}
