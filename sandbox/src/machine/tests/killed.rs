//! A drill's run that is killed in the middle: when the process is to end, and that the next one finishes the run.

use super::*;
use crate::sample::killed;

/// A run whose first deed is in progress.
fn acting(charter: Charter) -> Host {
    let (mut host, _) = Host::open(charter);
    host.feed(Event::CheckRerun(Status::Critical));
    host.call(stop());
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["journal intent", "perform stop"]);
    host
}

#[test]
fn a_run_is_killed_between_its_first_deed_and_the_outcome_and_the_next_process_finishes_it() {
    let mut host = acting(killed(UndoPolicy::Leave));
    assert_eq!(host.feed(Event::Acted(Ok(done()))), ["end-process"]);
    let durable = host.durable.len();
    assert_eq!(host.crash(durable), ["journal resumed", "look-after-crash stop"]);
    assert_eq!(host.feed(Event::LookedAfterCrash(Look::Applied(done()))), ["journal resolved", "start-worker"]);
    assert!(matches!(host.call(stop()).as_slice(), [reply] if reply.starts_with("reply")), "it is not done again");
    host.call(phase("start it"));
    host.act(crate::sample::change(playbook::Action::Start, "r"));
    assert_eq!(
        host.returns(resolved()).first().map(String::as_str),
        Some("journal returned"),
        "the second is no kill point"
    );
    host.feed(Event::ConfirmSaw(Status::Passing));
    host.ms += 2_000;
    host.feed(Event::ConfirmSaw(Status::Passing));
    assert_eq!(host.ended().0, Ending::Succeeded);
    let record = host.record.expect("it ended");
    assert_eq!((record.resumed, record.resumed_at()), (1, Some(1)));
}

#[test]
fn a_deed_that_did_not_happen_is_looked_at_as_well_and_what_follows_is_not_killed_again() {
    let mut host = acting(killed(UndoPolicy::Leave));
    assert_eq!(host.feed(Event::Acted(Err(ActError::Failed("no bus".to_owned())))), ["end-process"]);
    let durable = host.durable.len();
    host.crash(durable);
    host.feed(Event::LookedAfterCrash(Look::NotApplied));
    host.call(stop());
    host.call(stop());
    host.feed(Event::Prepared(Ok(before())));
    let told = host.feed(Event::Acted(Ok(done())));
    assert_eq!(told.first().map(String::as_str), Some("journal outcome"), "{told:?}");
}

#[test]
fn a_run_without_a_kill_point_and_one_that_was_stopped_are_not_killed() {
    let told = acting(charter(UndoPolicy::Leave)).feed(Event::Acted(Ok(done())));
    assert_eq!(told.first().map(String::as_str), Some("journal outcome"));
    let mut host = acting(killed(UndoPolicy::Leave));
    host.feed(Event::StopOrdered { why: "by a person".to_owned() });
    let told = host.feed(Event::Acted(Ok(done())));
    assert_eq!(told.first().map(String::as_str), Some("journal outcome"), "a stop goes to the end at once");
    assert_eq!(host.ended().0, Ending::Cancelled);
}
