//! Ramps, in logs of a control plane that acts on more hosts at once than a remediation has earned.

use crate::check::{check, verify};
use crate::faults::{Course, above_ceiling, patient};
use crate::story::check_ref;
use fettle_audit::verify::Rule;
use fettle_model::configuration::Declared;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::run::Ending;
use std::collections::VecDeque;
use std::time::Duration;

fn patiently(declared: &mut Declared) {
    declared.remediations.iter_mut().for_each(|remediation| patient(&mut remediation.guard));
}

/// Plays `g`rants, each for another host, and what becomes of the oldest run: `s`uccess, `f`ailure, `x` superseded,
/// `r`efused by its host, `l`ost; `_` is a quiet time.
fn play(course: &mut Course, story: &str) {
    let mut flying = VecDeque::new();
    let hosts: Vec<_> = (0..story.len() as u128).map(|number| course.joins(20 + number)).collect();
    for (event, host) in story.chars().zip(hosts) {
        if event == 'g' {
            flying.push_back(course.granted_for(host, &check_ref(), 1));
        } else if event == '_' {
            course.wait(Duration::from_secs(20));
        } else {
            let oldest = flying.pop_front().expect("a run in flight");
            match event {
                's' => course.ended(&oldest, Ending::Succeeded),
                'f' => course.ended(&oldest, Ending::Failed),
                'x' => course.ended(&oldest, Ending::Superseded),
                'r' => course.rejected(&oldest, above_ceiling()),
                _ => course.lost(&oldest),
            }
        }
    }
}

#[track_caller]
fn told(story: &str) -> Course {
    let mut course = Course::new(patiently);
    play(&mut course, story);
    course
}

#[track_caller]
fn within(story: &str) {
    let report = verify(&told(story).log);
    assert!(report.findings.iter().all(|finding| finding.rule == Rule::OpenRun), "{story}: {:?}", report.findings);
}

/// The last grant of the story is one too many.
#[track_caller]
fn beyond(story: &str) {
    check(&told(story).log, Rule::Ramp);
}

#[test]
fn it_acts_on_one_host_and_on_twice_as_many_when_all_that_it_may_have_at_once_succeeded() {
    within("g");
    beyond("gg");
    within("gsgg");
    beyond("gsggg");
    within("gsggsg");
    beyond("gsggsgg");
    within("gsggssgggg");
    beyond("gsggssggggg");
}

#[test]
fn a_failure_or_a_quiet_time_takes_it_back_to_one_and_what_proved_nothing_leaves_it() {
    beyond("gsgfgg");
    beyond("gslgg".replace('l', "gl").as_str());
    within("gsgxgg");
    within("gsgrgg");
    // What is refused frees its slot, and nothing else.
    beyond("gsggrgg");
    beyond("gs_gg");
    within("gs_gsgg");
    // While a run is in progress nothing is quiet.
    within("gsg_g");
}

#[test]
fn one_that_was_taken_out_begins_anew() {
    let again = |kept: bool| {
        let mut course = told("gs");
        for (generation, present) in [(2, kept), (3, true)] {
            course.configures(generation, |declared| {
                patiently(declared);
                if !present {
                    declared.remediations.clear();
                }
            });
        }
        for number in [60, 61] {
            let host = course.joins(number);
            let purpose = course.purpose(host, &check_ref(), 1);
            let request = course.asks(host, purpose);
            course.grants(&request, |permit| permit.configuration = ConfigurationGeneration(3));
        }
        verify(&course.log).findings.first().map(|finding| finding.rule)
    };
    assert_eq!(again(true), Some(Rule::OpenRun));
    assert_eq!(again(false), Some(Rule::Ramp));
}
