//! A step that nothing takes back is announced before it is reported; an agent that does otherwise calls people.

use crate::world::{World, fault};
use fettle_controlplane::core::Outcome;
use fettle_model::check::Status;
use fettle_model::id::HostId;
use fettle_model::incident::IncidentCause;
use fettle_model::permit::Permit;
use fettle_model::playbook::Action;
use fettle_model::record::Body;
use fettle_model::run::{Change, Ending, RunRecord, Step, StepOutcome, UndoClass};

const DONE: StepOutcome = StepOutcome::Done { change: Change::Made, undo: UndoClass::None };

fn running() -> (World, HostId, Permit) {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    (world, hosts[0], permit)
}

/// A run of one step, which was announced as this number or not at all.
#[track_caller]
fn check(step: (Action, StepOutcome), announced: Option<u32>, called: bool) {
    let (mut world, host, permit) = running();
    if let Some(number) = announced {
        world.announce(host, &permit, number);
    }
    report(&mut world, &permit, step);
    assert_eq!(is_called(&world, &permit), called);
    assert_eq!(world.core.state().in_flight().count(), 0, "its run has ended in any case");
}

fn report(world: &mut World, permit: &Permit, (action, outcome): (Action, StepOutcome)) {
    let step =
        Step { number: 1, action, label: fault().on, arguments: String::new(), intended_at: world.now.wall, outcome };
    let run = RunRecord { steps: vec![step], ..world.report(permit, Ending::Succeeded) };
    assert_eq!(world.say(permit.host, Body::RunEnded(Box::new(run))), Outcome::Done);
}

fn is_called(world: &World, permit: &Permit) -> bool {
    let cause = IncidentCause::Unannounced { run: permit.run, number: 1 };
    world.count(|body| matches!(body, Body::IncidentOpened(incident) if incident.cause == cause)) > 0
}

#[test]
fn people_are_called_to_an_irreversible_step_that_was_not_announced() {
    check((Action::Restart, DONE), None, true);
    check((Action::Restart, StepOutcome::Failed { detail: "it hangs".to_owned() }), None, true);
    check((Action::Restart, DONE), Some(2), true);
    check((Action::Restart, DONE), Some(1), false);
}

#[test]
fn what_was_refused_needs_no_announcement() {
    check((Action::Restart, StepOutcome::Refused { rule: "denied".to_owned(), detail: String::new() }), None, false);
}

#[test]
fn another_hosts_word_announces_nothing() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    world.announce(hosts[1], &permit, 1);
    report(&mut world, &permit, (Action::Restart, DONE));
    assert!(is_called(&world, &permit));
}

#[test]
fn an_agent_may_announce_a_step_again_after_a_crash() {
    let (mut world, host, permit) = running();
    world.announce(host, &permit, 1);
    world.announce(host, &permit, 1);
    world.becomes(host, Status::Passing);
    report(&mut world, &permit, (Action::Restart, DONE));
    assert!(!is_called(&world, &permit));
}
