//! An irreversible deed waits for the log: what lets it go on, and everything that ends the wait.

use super::*;

fn restart() -> Call {
    change(playbook::Action::Restart, "r")
}

/// A run whose restart waits for the log.
fn waiting() -> Host {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(restart());
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["publish 1", "journal intent"]);
    host
}

const fn published(number: u32) -> Event<SimDeed> {
    Event::Published { number }
}

#[test]
fn an_irreversible_deed_is_performed_once_the_log_holds_its_intent() {
    let mut host = waiting();
    host.ms = 20;
    assert_eq!(host.feed(published(2)), [""; 0], "another step's");
    assert_eq!(host.feed(published(1)), ["perform restart"]);
    assert_eq!(host.feed(published(1)), [""; 0], "told twice");
    assert_eq!(host.feed(Event::Acted(Ok(done()))).first().map(String::as_str), Some("journal outcome"));
}

#[test]
fn what_an_inverse_takes_back_does_not_wait() {
    let mut host = Host::running(UndoPolicy::Automatic);
    for (call, verb) in [(stop(), "stop"), (start(), "start"), (activate("r1", "r"), "activate")] {
        host.call(call);
        assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["journal intent".to_owned(), format!("perform {verb}")]);
        host.feed(Event::Acted(Ok(done())));
    }
}

#[test]
fn the_intent_names_the_step_as_the_record_will() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.act(stop());
    host.call(restart());
    let actions = host.machine.handle(after(7), Event::Prepared(Ok(before()))).expect("it was asked for");
    let [Action::Publish(intent), Action::Journal(_)] = actions.as_slice() else { panic!("{actions:?}") };
    let permit = host.charter.permit();
    assert_eq!((intent.run, intent.permit, intent.number), (permit.run, permit.permit, 2));
    assert_eq!((intent.action, intent.label.as_str()), (Some(playbook::Action::Restart), "web"));
    assert_eq!(intent.intended_at, after(7).wall);
}

#[test]
fn a_log_that_does_not_answer_in_time_refuses_the_step_and_the_playbook_decides() {
    let mut host = waiting();
    let until = after(0).on_boot.plus(PUBLISHED_WITHIN);
    assert_eq!(host.machine.wakes_at(), Some(until));
    host.ms = 29_999;
    assert_eq!(host.feed(Event::Tick), [""; 0]);
    host.ms = 30_000;
    let told = host.feed(Event::Tick);
    let words = "reply denied \"its intent was not seen in the log within 30 s, and it cannot be taken back\"";
    assert_eq!(told, ["journal outcome", words]);
    assert_eq!(host.feed(published(1)), [""; 0], "too late");
    host.returns(failed());
    assert_eq!(host.ended(), (Ending::Failed, "no luck"));
    let record = host.record.expect("it ended");
    let [step] = record.steps.as_slice() else { panic!("{:?}", record.steps) };
    assert!(!step.reached_the_host(), "{step:?}");
}

#[test]
fn a_step_that_was_refused_for_want_of_the_log_is_no_effect() {
    let mut host = waiting();
    host.ms = 30_000;
    host.feed(Event::Tick);
    assert_eq!(host.machine.journal().effects(), 0);
    // So the next one is the first, and its check is asked again after a long wait.
    host.call(restart());
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["publish 2", "journal intent"]);
    host.ms = 40_000;
    assert_eq!(host.feed(published(2)), ["check"]);
    // A crash in between asks it as well.
    let mut host = waiting();
    host.ms = 30_000;
    host.feed(Event::Tick);
    let durable = host.durable.len();
    assert_eq!(host.crash(durable), ["journal resumed", "check"]);
}

#[test]
fn a_run_that_is_stopped_while_it_waits_has_done_nothing() {
    let mut host = waiting();
    assert_eq!(host.feed(ordered())[..3], ["journal halted", "kill-worker", "journal outcome"]);
    assert_eq!(host.ended(), (Ending::Cancelled, "stopped: rehearsal"));
    assert!(host.record.expect("it ended").steps.iter().all(|step| !step.reached_the_host()));
}

#[test]
fn a_run_that_is_overdue_or_whose_worker_died_while_it_waits_has_done_nothing() {
    let died = |_| Event::WorkerDied { detail: "signal 9".to_owned() };
    for (ms, event, why) in [
        (60_000, published as fn(u32) -> Event<SimDeed>, "the run took longer than it may"),
        (10, died, "the worker died: signal 9"),
    ] {
        let mut host = waiting();
        host.ms = ms;
        let shown = host.feed(event(1));
        assert!(!shown.iter().any(|action| action.starts_with("perform")), "{shown:?}");
        assert_eq!(host.ended(), (Ending::Failed, why));
    }
}

#[test]
fn a_crash_while_it_waits_is_looked_into_and_the_step_is_not_repeated() {
    let mut host = waiting();
    let durable = host.durable.len();
    assert_eq!(host.crash(durable), ["journal resumed", "look-after-crash restart"]);
    assert_eq!(host.feed(published(1)), [""; 0], "the life that asked is over");
    host.feed(Event::LookedAfterCrash(Look::NotApplied));
    let told = host.call(restart());
    assert!(matches!(told.as_slice(), [reply] if reply.contains(NOT_APPLIED)), "{told:?}");
}

#[test]
fn after_a_long_wait_the_check_is_asked_once_more_before_the_first_effect() {
    let late = |status| {
        let mut host = waiting();
        host.ms = 5_001;
        assert_eq!(host.feed(published(1)), ["check"]);
        let shown = host.feed(Event::CheckRerun(status));
        (host, shown)
    };
    let (_, shown) = late(Status::Critical);
    assert_eq!(shown, ["perform restart"]);
    let (host, shown) = late(Status::Passing);
    assert_eq!(shown[..3], ["journal outcome", "journal checked", "kill-worker"]);
    assert_eq!(host.ended(), (Ending::Superseded, "the check is passing again; nothing was done"));
    let (host, _) = late(Status::Unknown);
    assert_eq!(host.ended().0, Ending::Failed);
}

#[test]
fn a_run_that_has_acted_goes_on_after_a_long_wait() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.act(stop());
    host.call(restart());
    host.feed(Event::Prepared(Ok(before())));
    host.ms = 20_000;
    assert_eq!(host.feed(published(2)), ["perform restart"]);
}
