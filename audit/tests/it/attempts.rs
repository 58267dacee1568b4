//! Attempts and cooldowns, in logs of a control plane that tries once too often or too soon.

use crate::check::{check, check_valid};
use crate::faults::{Course, above_ceiling, other_check, patient, with_other_check};
use crate::log::host;
use crate::story::PRODUCTION;
use fettle_audit::verify::Rule;
use fettle_model::check::Status;
use fettle_model::guard::Guard;
use fettle_model::run::Ending;
use std::time::Duration;

fn broken(guard: fn(&mut Guard)) -> Course {
    let mut course = Course::new(|declared| {
        patient(&mut declared.remediations[0].guard);
        guard(&mut declared.remediations[0].guard);
        with_other_check(declared);
    });
    course.check_becomes(host(PRODUCTION), &other_check(), Status::Passing);
    course.becomes(Status::Critical);
    course
}

fn twice() -> Course {
    broken(|guard| guard.max_attempts = 2)
}

#[test]
fn a_problem_is_tried_no_more_often_than_the_guard_says() {
    let mut course = twice();
    course.tried(1, Ending::Superseded);
    course.tried(1, Ending::Superseded);
    check_valid(&course.log);
    course.tried(1, Ending::Superseded);
    check(&course.log, Rule::Attempts);
}

#[test]
fn an_attempt_is_never_given_back_and_a_new_problem_has_its_own() {
    let mut lost = twice();
    for _ in 0..2 {
        let permit = lost.granted(1);
        lost.rejected(&permit, above_ceiling());
    }
    lost.called();
    check_valid(&lost.log);
    lost.tried(1, Ending::Superseded);
    check(&lost.log, Rule::Attempts);

    let healthy = |time: u64| {
        let mut course = twice();
        course.tried(1, Ending::Superseded);
        course.tried(1, Ending::Superseded);
        course.becomes(Status::Passing);
        course.wait(Duration::from_secs(time));
        course.becomes(Status::Critical);
        course.tried(1, Ending::Superseded);
        course.log
    };
    check(&healthy(1), Rule::Attempts);
    check_valid(&healthy(25));
}

#[test]
fn checks_that_a_fix_brought_down_share_the_attempts() {
    let at = host(PRODUCTION);
    let mut course = twice();
    // The first check's fix is under way when the second fails.
    let permit = course.granted(1);
    course.check_becomes(at, &other_check(), Status::Critical);
    course.ended(&permit, Ending::Superseded);
    let permit = course.granted_for(at, &other_check(), 1);
    course.ended(&permit, Ending::Superseded);
    check_valid(&course.log);
    course.tried(1, Ending::Superseded);
    check(&course.log, Rule::Attempts);
}

#[test]
fn the_last_run_for_a_check_ended_long_enough_ago() {
    let again = |pause: u64| {
        let mut course = broken(|guard| guard.cooldown = Duration::from_secs(10));
        course.tried(1, Ending::Superseded);
        course.wait(Duration::from_secs(pause));
        course.tried(1, Ending::Superseded);
        course.log
    };
    // The request and the permit take a second each.
    check(&again(7), Rule::Cooldown);
    check_valid(&again(8));

    let refused = |pause: u64| {
        let mut course = broken(|guard| guard.cooldown = Duration::from_secs(10));
        let permit = course.granted(1);
        course.rejected(&permit, above_ceiling());
        course.wait(Duration::from_secs(pause));
        course.tried(1, Ending::Superseded);
        course.log
    };
    check(&refused(0), Rule::Cooldown);
    check_valid(&refused(8));
}
