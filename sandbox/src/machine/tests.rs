//! Tests of the machine, event by event; what holds whatever happens is in [`interleavings`].

mod approved;
mod interleavings;
mod killed;
mod publishing;
mod repetition;

use super::*;
use crate::call::{ActError, MAX_ARGUMENT_BYTES, ReadError, Reply, Revision};
use crate::execution::{Execution, Stop};
use crate::journal::{Entry, Look, NOT_APPLIED};
use crate::sample::{activate, after, boot, change, charter, drill, phase, probe, status};
use crate::simulate::{SimBefore, SimDeed, SimDone};
use fettle_model::playbook::{self, UndoPolicy};
use fettle_model::run::{Change, Claim, Ending, RunRecord, UndoClass};
use fettle_model::time::BootInstant;

/// A host that does nothing by itself: each test says what happens, and sees what is to be done.
struct Host {
    charter: Charter,
    machine: Machine<SimDeed>,
    durable: Vec<Entry<SimDeed>>,
    ms: u64,
    record: Option<RunRecord>,
}

impl Host {
    fn open(charter: Charter) -> (Self, Vec<String>) {
        let (machine, actions) = Machine::open(charter.clone(), after(0)).expect("the charter is sound");
        let mut host = Self { charter, machine, durable: Vec::new(), ms: 0, record: None };
        let shown = host.carry_out(&actions);
        (host, shown)
    }

    /// A run whose check was critical still.
    fn running(undo: UndoPolicy) -> Self {
        let (mut host, opened) = Self::open(charter(undo));
        assert_eq!(opened, ["journal opened", "check"]);
        assert_eq!(host.feed(Event::CheckRerun(Status::Critical)), ["journal checked", "start-worker"]);
        host
    }

    fn feed(&mut self, event: Event<SimDeed>) -> Vec<String> {
        let actions = self.machine.handle(after(self.ms), event).expect("it was asked for");
        self.carry_out(&actions)
    }

    fn carry_out(&mut self, actions: &[Action<SimDeed>]) -> Vec<String> {
        for action in actions {
            if let Action::Journal(entry) = action {
                self.durable.push(entry.clone());
            } else if let Action::End(record) = action {
                self.record = Some(RunRecord::clone(record));
            }
        }
        actions.iter().map(shown).collect()
    }

    /// The effector crashes with these entries durable, and comes back.
    fn crash(&mut self, durable: usize) -> Vec<String> {
        self.crash_into(durable, after(self.ms))
    }

    fn crash_into(&mut self, durable: usize, now: Now) -> Vec<String> {
        self.durable.truncate(durable);
        let (machine, actions) =
            Machine::resume(self.charter.clone(), self.durable.clone(), now).expect("it wrote this itself");
        self.machine = machine;
        self.carry_out(&actions)
    }

    fn call(&mut self, call: Call) -> Vec<String> {
        self.feed(Event::WorkerCalled(call))
    }

    /// A changing call that succeeds.
    fn act(&mut self, call: Call) {
        self.call(call);
        self.feed(Event::Prepared(Ok(before())));
        self.feed(Event::Acted(Ok(done())));
    }

    fn returns(&mut self, claim: Result<Claim, Stop>) -> Vec<String> {
        self.feed(Event::WorkerReturned(Execution { claim, fuel_used: 5 }))
    }

    fn ended(&self) -> (Ending, &str) {
        let record = self.record.as_ref().expect("the run has ended");
        assert_eq!(self.machine.wakes_at(), None);
        (record.ending, &record.summary)
    }
}

fn shown(action: &Action<SimDeed>) -> String {
    let verb = |deed: &SimDeed| deed.action().map_or("", playbook::Action::as_str);
    match action {
        Action::Journal(entry) => {
            let value = serde_json::to_value(entry).expect("an entry is plain data");
            format!("journal {}", value["entry"].as_str().expect("its tag"))
        }
        Action::RerunCheck(_) => "check".to_owned(),
        Action::PlanFault(fault) => format!("plan {}", fault.kind.as_str()),
        Action::StartWorker => "start-worker".to_owned(),
        Action::Reply(reply) => format!("reply {reply}"),
        Action::Look(call) => format!("look {call}"),
        Action::Before(deed) => format!("before {}", verb(deed)),
        Action::Publish(intent) => format!("publish {}", intent.number),
        Action::Perform { deed, .. } => format!("perform {}", verb(deed)),
        Action::LookAfterCrash { deed, .. } => format!("look-after-crash {}", verb(deed)),
        Action::WatchCheck(_) => "watch".to_owned(),
        Action::StopWatching => "stop-watching".to_owned(),
        Action::EndProcess => "end-process".to_owned(),
        Action::KillWorker => "kill-worker".to_owned(),
        Action::End(record) => format!("end {}", record.ending.as_str()),
    }
}

fn before() -> SimBefore {
    SimBefore { revision: Revision("r".to_owned()), deeds: 0 }
}

/// A deed whose inverse starts the service.
fn done() -> SimDone {
    SimDone { change: Change::Made, undo: UndoClass::Automatic, inverse: SimDeed::of(&start()) }
}

fn start() -> Call {
    change(playbook::Action::Start, "r")
}

fn stop() -> Call {
    change(playbook::Action::Stop, "r")
}

fn resolved() -> Result<Claim, Stop> {
    Ok(Claim::Resolved { summary: "done".to_owned() })
}

fn failed() -> Result<Claim, Stop> {
    Ok(Claim::Failed { summary: "no luck".to_owned(), detail: Vec::new() })
}

fn ordered() -> Event<SimDeed> {
    Event::StopOrdered { why: "rehearsal".to_owned() }
}

#[test]
fn a_run_that_helps_is_journalled_before_each_effect_and_confirmed_by_the_host() {
    let mut host = Host::running(UndoPolicy::Automatic);
    assert_eq!(host.call(phase("look")), ["journal read", "reply ok"]);
    assert_eq!(host.call(status()), ["look web.status"]);
    let reply = Reply::Service(Err(ReadError::Timeout));
    assert_eq!(host.feed(Event::Looked(reply)), ["journal read", "reply timeout"]);
    assert_eq!(host.call(stop()), ["before stop"]);
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["journal intent", "perform stop"]);
    assert_eq!(host.feed(Event::Acted(Ok(done()))), ["journal outcome", "reply done undo automatic"]);
    assert_eq!(host.returns(resolved()), ["journal returned", "journal confirming", "watch"]);
    assert_eq!(host.feed(Event::ConfirmSaw(Status::Critical)), [""; 0]);
    for ms in [1_000, 2_000] {
        host.ms = ms;
        assert_eq!(host.feed(Event::ConfirmSaw(Status::Passing)), [""; 0]);
    }
    host.ms = 3_000;
    let end = ["journal confirmed", "stop-watching", "journal ended", "end succeeded"];
    assert_eq!(host.feed(Event::ConfirmSaw(Status::Passing)), end);
    assert_eq!(host.ended(), (Ending::Succeeded, "done"));
}

#[test]
fn a_fault_that_is_gone_before_the_first_effect_supersedes_the_run() {
    let (mut host, _) = Host::open(charter(UndoPolicy::Automatic));
    assert_eq!(host.feed(Event::CheckRerun(Status::Passing)), ["journal checked", "journal ended", "end superseded"]);
    let (mut host, _) = Host::open(charter(UndoPolicy::Automatic));
    assert_eq!(host.feed(Event::CheckRerun(Status::Unknown)), ["journal checked", "journal ended", "end failed"]);
}

#[test]
fn after_a_crash_before_the_first_effect_the_check_is_run_again() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(phase("look"));
    assert_eq!(host.crash(3), ["journal resumed", "check"]);
    assert_eq!(host.feed(Event::CheckRerun(Status::Warning)), ["journal checked", "journal ended", "end superseded"]);
}

#[test]
fn after_a_crash_between_intent_and_outcome_the_host_looks_and_never_repeats() {
    let resumed = |look: Look<SimDone>| {
        let mut host = Host::running(UndoPolicy::Automatic);
        host.call(stop());
        host.feed(Event::Prepared(Ok(before())));
        assert_eq!(host.crash(3), ["journal resumed", "look-after-crash stop"]);
        let mut shown = host.feed(Event::LookedAfterCrash(look));
        if !host.machine.has_ended() {
            shown.extend(host.call(stop()));
        }
        shown
    };
    assert_eq!(resumed(Look::Applied(done())), ["journal resolved", "start-worker", "reply done undo automatic"]);
    let told = format!("reply failed \"{NOT_APPLIED}\"");
    assert_eq!(resumed(Look::NotApplied), ["journal resolved", "start-worker", told.as_str()]);
    let blind = Look::CannotTell("fog".to_owned());
    assert_eq!(resumed(blind), ["journal resolved", "journal ended", "end in-doubt"]);
}

#[test]
fn a_claim_that_the_check_contradicts_is_ineffective() {
    let mut host = Host::running(UndoPolicy::Leave);
    host.returns(resolved());
    host.ms = 10_000;
    host.feed(Event::ConfirmSaw(Status::Critical));
    let summary = "the check is critical still; the playbook says: done";
    assert_eq!(host.ended(), (Ending::Ineffective, summary));
    assert_eq!(host.record.expect("it ended").confirmed, Some(Status::Critical));
}

#[test]
fn health_that_does_not_last_or_comes_too_late_confirms_nothing() {
    let confirmed = |seen: &[(u64, Status)]| {
        let mut host = Host::running(UndoPolicy::Leave);
        host.returns(resolved());
        for (ms, status) in seen {
            host.ms = *ms;
            host.feed(Event::ConfirmSaw(*status));
        }
        host.record.map(|record| (record.ending, record.confirmed))
    };
    let (passing, critical) = (Status::Passing, Status::Critical);
    assert_eq!(confirmed(&[(0, passing), (1_999, passing)]), None);
    assert_eq!(confirmed(&[(0, passing), (2_000, passing)]), Some((Ending::Succeeded, Some(passing))));
    assert_eq!(confirmed(&[(0, passing), (1_000, critical), (2_500, passing), (4_000, passing)]), None);
    let ineffective = Some((Ending::Ineffective, Some(Status::Unknown)));
    assert_eq!(confirmed(&[(9_000, passing), (10_001, passing)]), ineffective);
    assert_eq!(confirmed(&[(7_900, passing), (10_001, passing)]), ineffective, "seen too late");
    assert_eq!(confirmed(&[(8_000, passing), (10_000, passing)]), Some((Ending::Succeeded, Some(passing))));
}

#[test]
fn after_a_crash_the_window_of_the_confirmation_begins_anew() {
    let mut host = Host::running(UndoPolicy::Leave);
    host.returns(resolved());
    host.ms = 9_000;
    host.feed(Event::ConfirmSaw(Status::Passing));
    assert_eq!(host.crash(4), ["journal resumed", "journal confirming", "watch"]);
    assert_eq!(host.machine.wakes_at(), Some(BootInstant(after(19_000).on_boot.0)));
    host.ms = 11_000;
    assert_eq!(host.feed(Event::ConfirmSaw(Status::Passing)), [""; 0], "what was seen before the crash does not count");
    host.ms = 13_000;
    host.feed(Event::ConfirmSaw(Status::Passing));
    assert_eq!(host.ended().0, Ending::Succeeded);
}

#[test]
fn a_claim_that_nothing_was_to_be_done_is_checked_too() {
    for claim in [Claim::NoAction { summary: "fine".to_owned() }, Claim::Escalate { summary: "look".to_owned() }] {
        let mut host = Host::running(UndoPolicy::Automatic);
        host.act(stop());
        assert_eq!(host.returns(Ok(claim)), ["journal returned", "check"]);
        // A person decides what becomes of the steps: nothing is undone.
        assert_eq!(
            host.feed(Event::CheckRerun(Status::Critical)),
            ["journal checked", "journal ended", "end ineffective"]
        );
    }
}

#[test]
fn a_check_after_the_claim_that_nobody_answers_ends_the_run_as_unknown() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.ms = 3_000;
    host.returns(Ok(Claim::Escalate { summary: "look".to_owned() }));
    let wakes_at = host.machine.wakes_at();
    assert_eq!(wakes_at, Some(after(13_000).on_boot), "the manifest's ten seconds to confirm, from the claim on");
    host.ms = 12_999;
    assert_eq!(host.feed(Event::Tick), [""; 0]);
    host.ms = 13_000;
    assert_eq!(host.feed(Event::Tick), ["journal checked", "journal ended", "end ineffective"]);
    assert_eq!(host.ended().1, "the check is unknown still; the playbook says: look");
    assert_eq!(host.feed(Event::CheckRerun(Status::Passing)), [""; 0], "too late");
}

#[test]
fn a_failed_run_is_undone_in_reverse_order_where_the_manifest_says_so() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.act(stop());
    host.call(activate("r1", "r"));
    host.feed(Event::Prepared(Ok(before())));
    let back = SimDeed::of(&activate("r2", "r"));
    host.feed(Event::Acted(Ok(SimDone { inverse: back, ..done() })));
    assert_eq!(host.returns(failed()), ["journal returned", "before activate"]);
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["journal undo-intent", "perform activate"]);
    assert_eq!(host.feed(Event::Acted(Ok(done()))), ["journal undo-outcome", "before start"]);
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["journal undo-intent", "perform start"]);
    assert_eq!(host.feed(Event::Acted(Ok(done()))), ["journal undo-outcome", "journal ended", "end reverted"]);
    let mut host = Host::running(UndoPolicy::Leave);
    host.act(stop());
    assert_eq!(host.returns(failed()), ["journal returned", "journal ended", "end failed"]);
}

#[test]
fn an_inverse_that_is_refused_or_interrupted_is_not_tried_again() {
    let undoing = || {
        let mut host = Host::running(UndoPolicy::Automatic);
        host.act(stop());
        host.returns(failed());
        host
    };
    let mut host = undoing();
    let stale = ActError::Stale(Revision("theirs".to_owned()));
    assert_eq!(host.feed(Event::Prepared(Err(stale))), ["journal undo-outcome", "journal ended", "end failed"]);
    assert_eq!(host.ended().1, "no luck; undoing stopped: stale (it is at theirs)");
    let mut host = undoing();
    host.feed(Event::Prepared(Ok(before())));
    let durable = host.durable.len();
    assert_eq!(host.crash(durable), ["journal resumed", "look-after-crash start"]);
    let looked = host.feed(Event::LookedAfterCrash(Look::NotApplied));
    assert_eq!(looked, ["journal undo-resolved", "journal ended", "end failed"]);
    let mut host = undoing();
    host.ms = 60_000 + 10_000 + 300_000;
    let durable = host.durable.len();
    assert_eq!(host.crash(durable), ["journal resumed", "journal ended", "end failed"]);
    assert_eq!(host.ended().1, "no luck; there was no time left to undo");
    let mut host = undoing();
    let (durable, now) = (host.durable.len(), Now { boot: boot(2), ..after(0) });
    assert_eq!(host.crash_into(durable, now), ["journal resumed", "journal ended", "end failed"], "another boot");
}

#[test]
fn what_is_not_permitted_is_refused_before_the_host_is_even_asked() {
    let mut host = Host::running(UndoPolicy::Automatic);
    let denied = ["journal refused", "reply denied \"reload web is not permitted\""];
    assert_eq!(host.call(change(playbook::Action::Reload, "r")), denied);
    for _ in 0..3 {
        host.act(stop());
    }
    let exhausted = ["journal refused", "reply exhausted \"the 3 changing calls of this run are used up\""];
    assert_eq!(host.call(stop()), exhausted);
    let undeclared = Call::Service { label: crate::sample::label("db"), op: crate::call::ServiceCall::Open };
    assert_eq!(host.call(undeclared), ["journal read", "reply undeclared"]);
}

#[test]
fn what_the_ceiling_or_the_plan_forbids_is_refused_without_an_intent() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(stop());
    let denied = host.feed(Event::Prepared(Err(ActError::Denied("above the ceiling".to_owned()))));
    assert_eq!(denied, ["journal refused", "reply denied \"above the ceiling\""]);
    host.call(stop());
    let off_plan =
        ["journal refused", "reply off-plan", "journal halted", "kill-worker", "journal ended", "end failed"];
    assert_eq!(host.feed(Event::Prepared(Err(ActError::OffPlan))), off_plan);
}

#[test]
fn what_cannot_be_told_is_not_acted_upon_before_it_was_looked_at() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(stop());
    host.feed(Event::Prepared(Ok(before())));
    host.feed(Event::Acted(Err(ActError::Indeterminate("fog".to_owned()))));
    let refusal = "reply denied \"what came of an earlier step cannot be told: look first\"";
    assert_eq!(host.call(stop()), ["journal refused", refusal]);
    assert_eq!(host.call(activate("r1", "r")), ["before activate"], "another thing is not concerned");
}

#[test]
fn an_effect_in_progress_is_finished_and_journalled_when_the_run_is_stopped() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(stop());
    host.feed(Event::Prepared(Ok(before())));
    assert_eq!(host.feed(ordered()), ["journal halted", "kill-worker"]);
    assert_eq!(host.feed(ordered()), [""; 0], "it is stopped already");
    assert_eq!(host.feed(Event::WorkerDied { detail: "killed".to_owned() }), [""; 0]);
    assert_eq!(host.feed(Event::Acted(Ok(done()))), ["journal outcome", "journal ended", "end cancelled"]);
    assert_eq!(host.ended(), (Ending::Cancelled, "stopped: rehearsal"));
}

#[test]
fn a_stop_before_the_intent_leaves_the_host_untouched() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(stop());
    host.feed(ordered());
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["journal ended", "end cancelled"]);
}

#[test]
fn a_stop_ends_undoing_and_confirming() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.act(stop());
    host.returns(failed());
    assert_eq!(host.feed(ordered()), ["journal halted"]);
    let untouched = host.feed(Event::Prepared(Ok(before())));
    assert_eq!(untouched, ["journal ended", "end failed"], "the inverse was not begun");
    let mut host = Host::running(UndoPolicy::Automatic);
    host.act(stop());
    host.act(stop());
    host.returns(failed());
    host.feed(Event::Prepared(Ok(before())));
    assert_eq!(host.feed(ordered()), ["journal halted"]);
    let finished = host.feed(Event::Acted(Ok(done())));
    assert_eq!(finished, ["journal undo-outcome", "journal ended", "end failed"], "the next one was not begun");
    let mut host = Host::running(UndoPolicy::Automatic);
    host.returns(resolved());
    assert_eq!(host.feed(ordered()), ["journal halted", "stop-watching", "journal ended", "end cancelled"]);
}

#[test]
fn the_deadline_ends_a_component_that_computes_sleeps_or_is_never_started() {
    let late = |host: &mut Host| {
        host.ms = 60_000;
        host.feed(Event::Tick)
    };
    let end = ["journal halted", "kill-worker", "journal ended", "end failed"];
    let mut host = Host::running(UndoPolicy::Automatic);
    assert_eq!(host.machine.wakes_at(), Some(after(60_000).on_boot));
    assert_eq!(late(&mut host), end);
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(Call::Clock(crate::call::ClockCall::Sleep { duration_ms: u32::MAX }));
    assert_eq!(host.machine.wakes_at(), Some(after(60_000).on_boot));
    assert_eq!(late(&mut host), end);
    let (mut host, _) = Host::open(charter(UndoPolicy::Automatic));
    assert_eq!(late(&mut host), ["journal halted", "journal ended", "end failed"]);
}

#[test]
fn a_sleep_goes_on_over_a_crash_and_is_answered_at_its_end() {
    let sleep = || Call::Clock(crate::call::ClockCall::Sleep { duration_ms: 5_000 });
    let mut host = Host::running(UndoPolicy::Automatic);
    assert_eq!(host.call(sleep()), ["journal slept"]);
    host.ms = 4_000;
    host.crash(3);
    host.feed(Event::CheckRerun(Status::Critical));
    assert_eq!(host.call(sleep()), [""; 0]);
    assert_eq!(host.machine.wakes_at(), Some(after(5_000).on_boot));
    host.ms = 5_000;
    assert_eq!(host.feed(Event::Tick), ["reply ok"]);
}

#[test]
fn a_worker_that_dies_or_asks_too_much_ends_the_run() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.feed(Event::WorkerDied { detail: "signal 9\nforged".to_owned() });
    assert_eq!(host.ended(), (Ending::Failed, "the worker died: signal 9 forged"));
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(status());
    host.call(probe());
    assert_eq!(host.ended().1, "the worker died: it asked before it was answered");
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(phase(&"x".repeat(MAX_ARGUMENT_BYTES + 1)));
    assert_eq!(host.ended().1, "the worker died: it asked with too long a text");
    let mut host = Host::running(UndoPolicy::Automatic);
    for _ in 0..MAX_CHANGING_CALLS {
        host.call(change(playbook::Action::Reload, "r"));
    }
    host.call(change(playbook::Action::Reload, "r"));
    assert_eq!(host.ended(), (Ending::Failed, "the playbook made more host calls than it may"));
    let mut host = Host::running(UndoPolicy::Automatic);
    for _ in 0..MAX_CALLS {
        host.call(phase("again"));
    }
    host.call(phase("again"));
    assert_eq!(host.ended(), (Ending::Failed, "the playbook made more host calls than it may"));
}

#[test]
fn what_the_worker_says_is_cleaned_before_it_is_journalled() {
    let noise = || format!("line\nforged\u{1b}[2J{}", "x".repeat(5_000));
    for claim in [Ok(Claim::Escalate { summary: noise() }), Err(Stop::Trap { message: noise() })] {
        let mut host = Host::running(UndoPolicy::Automatic);
        host.returns(claim);
        let Entry::Returned { claim, .. } = &host.durable[2] else { panic!("{:?}", host.durable[2]) };
        let shown = format!("{claim:?}");
        assert!(shown.contains("line forged [2Jxxx") && shown.len() < 1_200, "{shown}");
    }
}

#[test]
fn a_replay_that_asks_for_something_else_or_ends_early_is_in_doubt() {
    let resumed = || {
        let mut host = Host::running(UndoPolicy::Automatic);
        host.call(phase("look"));
        host.act(stop());
        host.crash(5);
        host
    };
    let mut host = resumed();
    host.call(phase("act"));
    assert_eq!(host.ended().0, Ending::InDoubt);
    let mut host = resumed();
    host.call(phase("look"));
    host.returns(resolved());
    let summary = "call 1 of the replay was the end, and the journal has web.stop expect r";
    assert_eq!(host.ended(), (Ending::InDoubt, summary));
}

#[test]
fn an_answer_of_another_shape_never_reaches_the_component() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(status());
    assert_eq!(
        host.feed(Event::Looked(Reply::Unit)),
        ["journal halted", "kill-worker", "journal ended", "end in-doubt"]
    );
}

#[test]
fn a_run_does_not_go_on_in_another_boot() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.act(stop());
    let now = Now { boot: boot(2), ..after(0) };
    assert_eq!(host.crash_into(4, now), ["journal resumed", "journal halted", "journal ended", "end failed"]);
    assert_eq!(host.ended().1, "the host was booted anew during the run");
}

#[test]
fn a_run_that_brings_the_agent_down_again_and_again_ends_in_doubt() {
    let mut host = Host::running(UndoPolicy::Automatic);
    for _ in 0..MAX_RESUMES {
        let durable = host.durable.len();
        assert_eq!(host.crash(durable), ["journal resumed", "check"]);
    }
    let durable = host.durable.len();
    assert_eq!(host.crash(durable), ["journal resumed", "journal ended", "end in-doubt"]);
}

#[test]
fn a_crash_before_the_record_is_kept_gives_the_same_record_again() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.feed(ordered());
    let record = host.record.take();
    let durable = host.durable.len();
    assert_eq!(host.crash(durable), ["end cancelled"]);
    assert_eq!((host.record.is_some(), &host.record), (true, &record));
}

#[test]
fn late_news_is_ignored_and_unasked_answers_are_bugs() {
    let mut host = Host::running(UndoPolicy::Automatic);
    host.call(status());
    host.feed(ordered());
    for late in [
        Event::Looked(Reply::Service(Err(ReadError::Timeout))),
        Event::WorkerCalled(probe()),
        Event::WorkerReturned(Execution { claim: resolved(), fuel_used: 1 }),
        Event::WorkerDied { detail: String::new() },
        Event::CheckRerun(Status::Critical),
        Event::ConfirmSaw(Status::Passing),
        Event::Tick,
        ordered(),
    ] {
        assert_eq!(host.feed(late), [""; 0]);
    }
    let entries = host.machine.journal().entries().len();
    for (unasked, event) in [
        (Event::Prepared(Ok(before())), "prepared"),
        (Event::Acted(Ok(done())), "acted"),
        (Event::LookedAfterCrash(Look::NotApplied), "looked-after-crash"),
    ] {
        assert_eq!(host.machine.handle(after(0), unasked), Err(Broken::Unasked { event }));
    }
    assert_eq!(host.machine.journal().entries().len(), entries);
}

#[test]
fn a_journal_of_another_run_is_not_taken_up() {
    let host = Host::running(UndoPolicy::Automatic);
    let mut permit = host.charter.permit().clone();
    permit.run = fettle_model::id::RunId::from_uuid(uuid::Uuid::from_u128(8));
    let manifest = crate::sample::manifest(UndoPolicy::Automatic);
    let other = Charter::new(permit, Some(&manifest)).expect("they fit");
    assert_eq!(Machine::resume(other, host.durable, after(0)).map(|_| ()), Err(Broken::OtherRun));
}

#[test]
fn a_drill_injects_its_fault_once_and_ends() {
    let (mut host, opened) = Host::open(drill());
    assert_eq!(opened, ["journal opened", "plan stop-service"]);
    let fault = SimDeed::of(&stop()).expect("it changes something");
    assert_eq!(host.feed(Event::FaultPlanned(Ok(fault))), ["before stop"]);
    assert_eq!(host.feed(Event::Prepared(Ok(before()))), ["journal intent", "perform stop"]);
    assert_eq!(host.crash(2), ["journal resumed", "look-after-crash stop"]);
    let applied = host.feed(Event::LookedAfterCrash(Look::Applied(done())));
    assert_eq!(applied, ["journal resolved", "journal ended", "end succeeded"]);
    assert_eq!(host.ended(), (Ending::Succeeded, "injected: stop web"));
    let (mut host, _) = Host::open(drill());
    let planned = host.feed(Event::FaultPlanned(Err("it does not run".to_owned())));
    assert_eq!(planned, ["journal halted", "journal ended", "end failed"]);
}

#[test]
fn a_permit_that_binds_no_confirming_check_makes_no_run() {
    let manifest = crate::sample::manifest(UndoPolicy::Automatic);
    let mut permit = crate::sample::permit(&manifest);
    assert_eq!(Charter::new(permit.clone(), None), Err(InvalidCharter::ManifestMissing));
    permit.targets.retain(|target| target.label.as_str() != "health");
    let label = crate::sample::label("health");
    assert_eq!(Charter::new(permit, Some(&manifest)), Err(InvalidCharter::NoConfirmation { label }));
}
