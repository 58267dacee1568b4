//! Tests of the journal: replay, order, where a run stands, and what is told of it.

use super::*;
use crate::call::{
    ActError, Activity, Call, ClockCall, LogCall, LogLevel, ReadError, Reply, Revision, ServiceCall, ServiceStatus,
};
use crate::execution::Stop;
use crate::machine::MAX_RESUMES;
use crate::sample::{after, boot, change, charter, drill, label, phase, probe, run_id, set, status};
use crate::simulate::{SimBefore, SimDeed, SimDone};
use fettle_model::check::Status;
use fettle_model::id::PermitId;
use fettle_model::playbook::{Action, UndoPolicy};
use fettle_model::run::{Change, Claim, Ending, MAX_SAID, StepOutcome, UndoClass};
use fettle_model::time::{BootInstant, UnixMillis};
use uuid::Uuid;

type Line = Entry<SimDeed>;

const AT: UnixMillis = UnixMillis(5);

fn opened() -> Line {
    let now = after(0);
    Entry::Opened {
        version: VERSION,
        run: run_id(),
        permit: PermitId::from_uuid(Uuid::from_u128(1)),
        boot: now.boot,
        at: AT,
        started: now.on_boot,
        deadline: after(60_000).on_boot,
    }
}

fn read(index: u32, call: Call, reply: Reply) -> Line {
    Entry::Read { index, at: AT, call, reply }
}

fn said(index: u32, name: &str) -> Line {
    read(index, phase(name), Reply::Unit)
}

fn refused(index: u32, number: u32, error: ActError) -> Line {
    Entry::Refused { index, number, at: AT, call: change(Action::Stop, "r"), error }
}

fn before() -> SimBefore {
    SimBefore { revision: Revision("r".to_owned()), deeds: 0 }
}

fn intent(index: u32, number: u32) -> Line {
    Entry::Intent { index, number, at: AT, asked: Asked::Playbook(change(Action::Stop, "r")), before: before() }
}

fn deed(action: Action) -> SimDeed {
    SimDeed::of(&change(action, "r")).expect("it changes something")
}

fn done() -> SimDone {
    SimDone { change: Change::Made, undo: UndoClass::Automatic, inverse: Some(deed(Action::Start)) }
}

fn outcome(index: u32, result: Result<SimDone, ActError>) -> Line {
    Entry::Outcome { index, at: AT, result }
}

fn resolved(index: u32, look: Look<SimDone>) -> Line {
    Entry::Resolved { index, at: AT, look }
}

fn checked(status: Status) -> Line {
    Entry::Checked { at: AT, status }
}

fn resumed() -> Line {
    Entry::Resumed { at: AT, boot: boot(1) }
}

fn returned(claim: Result<Claim, Stop>) -> Line {
    Entry::Returned { at: AT, claim, fuel: 11 }
}

fn claim() -> Result<Claim, Stop> {
    Ok(Claim::Resolved { summary: "done".to_owned() })
}

fn failed() -> Result<Claim, Stop> {
    Ok(Claim::Failed { summary: "no luck".to_owned(), detail: Vec::new() })
}

fn halted(cause: Halt) -> Line {
    Entry::Halted { at: AT, cause }
}

fn ordered() -> Halt {
    Halt::Ordered { why: "drill over".to_owned() }
}

fn confirming() -> Line {
    Entry::Confirming { at: AT }
}

fn confirmed(status: Status) -> Line {
    Entry::Confirmed { at: AT, status }
}

fn undo_intent(of: u32) -> Line {
    Entry::UndoIntent { of, at: AT, deed: deed(Action::Start), before: before() }
}

fn undo_outcome(of: u32, result: Result<SimDone, ActError>) -> Line {
    Entry::UndoOutcome { of, at: AT, result }
}

fn ended(ending: Ending) -> Line {
    Entry::Ended { at: AT, ending, summary: "so it ended".to_owned() }
}

/// A whole run with nearly everything in it.
fn whole() -> Vec<Line> {
    vec![
        opened(),
        checked(Status::Critical),
        said(0, "look"),
        read(1, probe(), Reply::Health(Err(ReadError::Timeout))),
        Entry::Slept { index: 2, at: AT, call: sleep(), until: BootInstant(2_000) },
        refused(3, 1, ActError::Denied("no".to_owned())),
        intent(4, 2),
        resumed(),
        resolved(4, Look::Applied(done())),
        intent(5, 3),
        outcome(5, Ok(done())),
        returned(failed()),
        undo_intent(5),
        undo_outcome(5, Ok(SimDone { inverse: None, ..done() })),
        undo_outcome(4, Err(ActError::Stale(Revision("other".to_owned())))),
        ended(Ending::Failed),
    ]
}

fn sleep() -> Call {
    Call::Clock(ClockCall::Sleep { duration_ms: 1_000 })
}

fn active() -> ServiceStatus {
    let (activity, revision) = (Activity::Active, Revision("r2".to_owned()));
    ServiceStatus { activity, since: AT, restarts_last_hour: 0, main_pid: None, revision }
}

fn replay(entries: Vec<Line>) -> Replay<SimDeed> {
    Replay::from_entries(entries).expect("the journal is sound")
}

#[test]
fn a_replay_gives_each_recorded_answer_once_and_in_order_and_then_asks_the_host() {
    let mut replay = replay(whole()[..9].to_vec());
    let act = change(Action::Stop, "r");
    assert_eq!(replay.next(&phase("look")), Next::Answer(Reply::Unit));
    assert_eq!(replay.next(&probe()), Next::Answer(Reply::Health(Err(ReadError::Timeout))));
    assert_eq!(replay.next(&sleep()), Next::Asleep(BootInstant(2_000)));
    let denied = Reply::Acted(Err(ActError::Denied("no".to_owned())));
    assert_eq!(replay.next(&act), Next::Answer(denied));
    let receipt = SimDeed::receipt(&done(), format!("{}/2", run_id()));
    assert_eq!(replay.unasked(), Some(&act));
    assert_eq!(replay.next(&act), Next::Answer(Reply::Acted(Ok(receipt))));
    assert_eq!(replay.unasked(), None);
    assert_eq!(replay.next(&probe()), Next::Fresh { index: 5, number: 3 });
    assert_eq!(replay.next(&probe()), Next::Fresh { index: 5, number: 3 }, "a new call is answered by an entry only");
}

#[test]
fn a_replay_that_asks_for_something_else_is_a_mismatch_at_that_call() {
    let mut replay = replay(whole()[..9].to_vec());
    let mismatch = |index, expected| Next::Mismatch { index, expected: Box::new(expected) };
    assert_eq!(replay.next(&phase("act")), mismatch(0, phase("look")), "other arguments");
    assert_eq!(replay.next(&status()), mismatch(0, phase("look")), "another call");
    assert_eq!(replay.next(&phase("look")), Next::Answer(Reply::Unit));
    assert_eq!(replay.next(&sleep()), mismatch(1, probe()), "calls in another order");
}

#[test]
fn an_effect_in_progress_is_never_answered_but_has_to_be_looked_at() {
    let mut replay = replay(vec![opened(), intent(0, 1)]);
    let act = change(Action::Stop, "r");
    let dangling = Dangling::Step { index: 0, deed: deed(Action::Stop), before: before() };
    assert_eq!(replay.dangling(), Some(dangling));
    assert_eq!(replay.next(&act), Next::Mismatch { index: 0, expected: Box::new(act.clone()) });
    replay.push(resolved(0, Look::NotApplied)).expect("it answers the intent");
    assert_eq!(replay.dangling(), None);
    let mut replay = self::replay(replay.entries().to_vec());
    assert_eq!(replay.next(&act), Next::Answer(Reply::Acted(Err(ActError::Failed(NOT_APPLIED.to_owned())))));
    let undoing = self::replay(whole()[..13].to_vec());
    assert_eq!(undoing.dangling(), Some(Dangling::Undo { of: 5, deed: deed(Action::Start), before: before() }));
}

#[test]
fn what_looking_found_is_what_the_playbook_is_told() {
    let told = |look| {
        let mut replay = replay(vec![opened(), intent(0, 1), resumed(), resolved(0, look)]);
        let next = replay.next(&change(Action::Stop, "r"));
        let Next::Answer(Reply::Acted(told)) = next else { panic!("{next:?}") };
        told.map(|receipt| receipt.action_id)
    };
    assert_eq!(told(Look::Applied(done())), Ok(format!("{}/1", run_id())));
    assert_eq!(told(Look::NotApplied), Err(ActError::Failed(NOT_APPLIED.to_owned())));
    assert_eq!(told(Look::CannotTell("fog".to_owned())), Err(ActError::Indeterminate("fog".to_owned())));
}

#[track_caller]
fn malformed(entries: Vec<Line>, at: usize, why: &'static str) {
    assert_eq!(Replay::from_entries(entries).map(|_| ()), Err(Malformed::OutOfOrder { at, why }));
}

#[test]
fn a_journal_that_this_agent_could_not_have_written_is_refused() {
    assert_eq!(Replay::<SimDeed>::from_entries(Vec::new()), Err(Malformed::Empty));
    let Entry::Opened { run, permit, boot, at, started, deadline, .. } = opened() else { return };
    let newer = Entry::Opened { version: VERSION + 1, run, permit, boot, at, started, deadline };
    assert_eq!(Replay::from_entries(vec![Line::clone(&newer)]), Err(Malformed::Version { found: VERSION + 1 }));
    let open = "an effect is in progress";
    let missing = "a call is missing or stands twice";
    malformed(vec![opened(), said(1, "a")], 1, missing);
    malformed(vec![opened(), said(0, "a"), said(0, "a")], 2, missing);
    malformed(vec![opened(), intent(0, 2)], 1, "a changing call is missing or stands twice");
    malformed(vec![opened(), intent(0, 1), said(1, "a")], 2, open);
    malformed(vec![opened(), intent(0, 1), checked(Status::Critical)], 2, open);
    malformed(vec![opened(), intent(0, 1), ended(Ending::Failed)], 2, open);
    let unasked = "it does not answer the intent before it";
    malformed(vec![opened(), outcome(0, Ok(done()))], 1, unasked);
    malformed(vec![opened(), intent(0, 1), outcome(1, Ok(done()))], 2, unasked);
    malformed(vec![opened(), intent(0, 1), outcome(0, Ok(done())), outcome(0, Ok(done()))], 3, unasked);
    let act = read(0, change(Action::Stop, "r"), Reply::Acted(Err(ActError::OffPlan)));
    malformed(vec![opened(), act], 1, "a changing call stands as a read");
    malformed(vec![opened(), read(0, status(), Reply::Unit)], 1, "the reply does not fit the call");
    let ends = "the component has ended";
    malformed(vec![opened(), returned(claim()), said(0, "a")], 2, ends);
    malformed(vec![opened(), returned(claim()), returned(claim())], 2, ends);
    malformed(vec![opened(), halted(Halt::Deadline), returned(claim())], 2, ends);
    let again = "the run was halted already";
    malformed(vec![opened(), halted(Halt::Deadline), halted(Halt::Deadline)], 2, again);
    malformed(vec![opened(), halted(ordered()), halted(ordered())], 2, again);
    replay(vec![opened(), halted(Halt::Deadline), halted(ordered())]);
    malformed(vec![opened(), confirming()], 1, "there is nothing to confirm");
    malformed(vec![opened(), returned(claim()), confirmed(Status::Passing)], 2, "no confirmation was begun");
    malformed(vec![opened(), intent(0, 1), outcome(0, Ok(done())), undo_intent(0)], 3, "the component still runs");
    malformed(vec![opened(), returned(failed()), undo_intent(0)], 2, "it undoes no step");
}

#[test]
fn nothing_stands_after_the_end_or_before_the_beginning() {
    let all = whole();
    for entry in &all[1..] {
        let late = [all.as_slice(), std::slice::from_ref(entry)].concat();
        assert!(matches!(Replay::from_entries(late), Err(Malformed::OutOfOrder { .. })), "{entry:?}");
        assert!(Replay::from_entries(vec![entry.clone()]).is_err(), "{entry:?}");
    }
    assert!(Replay::from_entries(vec![opened(), opened()]).is_err());
}

#[test]
fn a_call_or_an_outcome_that_was_lost_or_moved_is_noticed() {
    let all = whole();
    let may_be_missing = |entry: &Line| {
        matches!(entry, Entry::Checked { .. } | Entry::Resumed { .. } | Entry::UndoIntent { .. } | Entry::Ended { .. })
            // The refusal of an inverse and the last step's inverse are followed by nothing that rests on them.
            || matches!(entry, Entry::UndoOutcome { of: 4, .. })
    };
    for (at, entry) in all.iter().enumerate() {
        let mut lost = all.clone();
        lost.remove(at);
        assert_eq!(Replay::from_entries(lost).is_ok(), may_be_missing(entry), "without {entry:?}");
    }
    for at in [2, 3, 4, 5, 8, 9, 10, 11] {
        let mut swapped = all.clone();
        swapped.swap(at, at + 1);
        assert!(Replay::from_entries(swapped).is_err(), "{at} and {} changed places", at + 1);
    }
}

#[test]
fn more_resumptions_than_an_agent_makes_are_noticed() {
    let resumptions = |count: u32| {
        let mut entries = vec![opened()];
        entries.extend((0..count).map(|_| resumed()));
        Replay::from_entries(entries).map(|replay| replay.resumed())
    };
    assert_eq!(resumptions(MAX_RESUMES + 1), Ok(MAX_RESUMES + 1));
    assert!(resumptions(MAX_RESUMES + 2).is_err());
}

#[test]
fn an_entry_that_does_not_fit_leaves_the_journal_as_it_was() {
    let mut journal = replay(vec![opened(), said(0, "look")]);
    let before = journal.clone();
    assert!(journal.push(said(0, "look")).is_err());
    assert!(journal.push(outcome(0, Ok(done()))).is_err());
    assert_eq!(journal, before);
}

#[test]
fn entries_read_back_from_json_as_they_were_written_and_damaged_ones_do_not() {
    let mut entries = whole();
    entries.push(halted(Halt::Mismatch { index: 1, expected: "a".to_owned(), got: "b".to_owned() }));
    entries.push(Entry::UndoResolved { of: 0, at: AT, look: Look::CannotTell("fog".to_owned()) });
    entries.push(returned(Err(Stop::OutOfFuel)));
    entries.push(Entry::Intent {
        index: 0,
        number: 1,
        at: AT,
        asked: Asked::Drill(deed(Action::Stop)),
        before: before(),
    });
    for entry in entries {
        let text = serde_json::to_string(&entry).expect("an entry is plain data");
        assert_eq!(serde_json::from_str::<Line>(&text).ok().as_ref(), Some(&entry), "{text}");
        for cut in (0..text.len()).step_by(7) {
            assert!(serde_json::from_str::<Line>(text.get(..cut).unwrap_or_default()).is_err(), "{text} cut at {cut}");
        }
        let more = text.replacen('{', r#"{"surprise":1,"#, 1);
        assert!(serde_json::from_str::<Line>(&more).is_err(), "{more}");
    }
}

#[track_caller]
fn stands(entries: Vec<Line>, expected: &str) {
    let journal = replay([vec![opened(), checked(Status::Critical)], entries].concat());
    let shown = match Fate::of(journal.entries()) {
        Fate::Running => "running".to_owned(),
        Fate::Confirm => "confirm".to_owned(),
        Fate::Recheck => "recheck".to_owned(),
        Fate::Failing { ending, summary, undoing: Undoing::ByManifest } => {
            format!("undo, {}: {summary}", ending.as_str())
        }
        Fate::Failing { ending, summary, undoing: Undoing::Never } => format!("leave, {}: {summary}", ending.as_str()),
        Fate::Over { ending, summary } => format!("{}: {summary}", ending.as_str()),
    };
    assert_eq!(shown, expected);
}

#[test]
fn where_a_run_stands_is_told_by_its_journal_alone() {
    stands(vec![], "running");
    stands(vec![checked(Status::Warning)], "superseded: the check is warning again; nothing was done");
    let blind = "failed: the check cannot tell whether the fault is still there; nothing was done";
    stands(vec![checked(Status::Unknown)], blind);
    stands(vec![returned(claim())], "confirm");
    stands(vec![returned(Ok(Claim::Mitigated { summary: "held".to_owned(), until: AT }))], "confirm");
    stands(vec![returned(claim()), confirming(), confirmed(Status::Passing)], "succeeded: done");
    let ineffective = "undo, ineffective: the check is critical still; the playbook says: done";
    stands(vec![returned(claim()), confirming(), confirmed(Status::Critical)], ineffective);
    let escalated = || returned(Ok(Claim::Escalate { summary: "look".to_owned() }));
    stands(vec![escalated()], "recheck");
    stands(vec![escalated(), checked(Status::Passing)], "confirm");
    let left = "leave, ineffective: the check is critical still; the playbook says: look";
    stands(vec![escalated(), checked(Status::Critical)], left);
    stands(vec![returned(failed())], "undo, failed: no luck");
    stands(vec![returned(Err(Stop::OutOfFuel))], "undo, failed: the playbook used up its fuel");
    let bad = Stop::BadReply { call: "x".to_owned() };
    stands(vec![returned(Err(bad))], "in-doubt: the host's answer to x has the wrong shape");
    stands(vec![halted(Halt::Deadline)], "undo, failed: the run took longer than it may");
    stands(vec![halted(ordered())], "cancelled: stopped: drill over");
    stands(
        vec![halted(Halt::Deadline), halted(ordered())],
        "leave, failed: the run took longer than it may; then stopped: drill over",
    );
    stands(vec![halted(Halt::Rebooted)], "failed: the host was booted anew during the run");
    let mismatch = Halt::Mismatch { index: 3, expected: "web.stop".to_owned(), got: "the end".to_owned() };
    stands(vec![halted(mismatch)], "in-doubt: call 3 of the replay was the end, and the journal has web.stop");
}

#[test]
fn doubt_outweighs_every_end_but_a_confirmed_one() {
    let unclear = || vec![intent(0, 1), outcome(0, Err(ActError::Indeterminate("fog".to_owned())))];
    stands(unclear(), "running");
    let more = |more: Vec<Line>| [unclear(), more].concat();
    stands(more(vec![returned(failed())]), "in-doubt: what came of a step cannot be told; no luck");
    let cancelled = "in-doubt: what came of a step cannot be told; stopped: drill over";
    stands(more(vec![halted(ordered())]), cancelled);
    stands(more(vec![returned(claim()), confirming(), confirmed(Status::Passing)]), "succeeded: done");
    let blind = vec![intent(0, 1), resumed(), resolved(0, Look::CannotTell("fog".to_owned()))];
    stands(blind, "in-doubt: whether a step happened cannot be told: fog");
}

#[test]
fn undoing_stops_at_the_first_inverse_that_fails() {
    let steps = || {
        vec![
            intent(0, 1),
            outcome(0, Ok(done())),
            intent(1, 2),
            outcome(1, Ok(done())),
            returned(failed()),
            undo_intent(1),
        ]
    };
    let entries = replay([vec![opened()], steps()].concat());
    assert_eq!(next_inverse(entries.entries()).map(|inverse| (inverse.of, inverse.number)), Some((0, 1)));
    assert_eq!(undo_plan(entries.entries()).iter().map(|inverse| inverse.of).collect::<Vec<_>>(), [1, 0]);
    let with = |result| [steps(), vec![undo_outcome(1, result)]].concat();
    stands(with(Ok(done())), "undo, failed: no luck");
    stands(with(Err(ActError::Failed("stuck".to_owned()))), "failed: no luck; undoing stopped: stuck");
    stands(with(Err(ActError::Indeterminate("fog".to_owned()))), "in-doubt: no luck; undoing stopped: fog");
}

#[test]
fn a_drills_fault_is_its_runs_only_step() {
    let fault =
        || Entry::Intent { index: 0, number: 1, at: AT, asked: Asked::Drill(deed(Action::Stop)), before: before() };
    let run = |result| replay(vec![opened(), fault(), outcome(0, result)]);
    let over = |result| Fate::of(run(result).entries());
    let (ending, summary) = (Ending::Succeeded, "injected: stop web".to_owned());
    assert_eq!(over(Ok(done())), Fate::Over { ending, summary });
    let (ending, summary) = (Ending::Failed, "the fault was not injected: no".to_owned());
    assert_eq!(over(Err(ActError::Failed("no".to_owned()))), Fate::Over { ending, summary });
    malformed(vec![opened(), fault(), outcome(0, Ok(done())), said(0, "a")], 3, "a drill's fault runs no component");
    malformed(vec![opened(), said(0, "a"), fault()], 2, "a fault is not a run's only step");
    assert_eq!(drill().permit().run, run_id());
}

#[test]
fn the_record_tells_what_was_done_what_was_refused_and_what_was_undone() {
    let permit = charter(UndoPolicy::Automatic).permit().clone();
    assert_eq!(record(&whole()[..15], &permit), None, "it has not ended");
    let record = record(&whole(), &permit).expect("it has ended");
    assert_eq!((record.run, record.ending, record.summary.as_str()), (run_id(), Ending::Failed, "so it ended"));
    assert_eq!((record.claim, record.fuel, record.resumed, record.confirmed), (failed().ok(), 11, 1, None));
    let made = || StepOutcome::Done { change: Change::Made, undo: UndoClass::Automatic };
    let refusal = |rule: &str, detail: &str| StepOutcome::Refused { rule: rule.to_owned(), detail: detail.to_owned() };
    let outcomes = |steps: Vec<fettle_model::run::Step>| -> Vec<_> {
        steps.into_iter().map(|step| (step.number, step.action, step.outcome)).collect()
    };
    let steps = [(1, Action::Stop, refusal("denied", "no")), (2, Action::Stop, made()), (3, Action::Stop, made())];
    assert_eq!(outcomes(record.steps), steps);
    let undone = [(3, Action::Start, made()), (2, Action::Start, refusal("stale", "it is at other now"))];
    assert_eq!(outcomes(record.undone), undone);
    assert_eq!(record.said.iter().map(|said| said.text.as_str()).collect::<Vec<_>>(), ["look"]);
}

#[test]
fn a_step_that_the_run_ended_on_is_unclear_in_its_record() {
    let entries = [opened(), intent(0, 1), ended(Ending::InDoubt)];
    let steps = steps(&entries);
    assert!(matches!(steps[0].outcome, StepOutcome::Indeterminate { .. }), "{steps:?}");
}

#[test]
fn what_was_said_is_one_line_each_and_not_endless() {
    let mut entries = vec![opened()];
    entries.extend((0..300).map(|index| said(index, "a\nb\u{1b}[2J")));
    let lines = super::said(&entries);
    assert_eq!((lines.len(), lines[0].text.as_str()), (MAX_SAID, "a b [2J"));
    let (level, message) = (LogLevel::Warn, "slow".to_owned());
    let fields = vec![("took".to_owned(), "3s".to_owned())];
    let event = read(0, Call::Log(LogCall::Event { level, message, fields }), Reply::Unit);
    assert_eq!(super::said(&[opened(), event])[0].text, "slow took=3s");
}

#[test]
fn the_digest_of_a_journal_changes_with_each_of_its_entries() {
    let all = whole();
    let digest = summary_digest(&all);
    assert_eq!(digest, summary_digest(&all));
    for at in 0..all.len() {
        let mut less = all.clone();
        less.remove(at);
        assert_ne!(summary_digest(&less), digest);
    }
}

#[test]
fn what_cannot_be_told_must_be_looked_at_before_it_is_changed_again() {
    let unclear = || vec![opened(), intent(0, 1), outcome(0, Err(ActError::Indeterminate("fog".to_owned())))];
    let must = |more: Vec<Line>| must_be_looked_at(&[unclear(), more].concat(), &label("web"));
    assert!(must(vec![]));
    assert!(!must_be_looked_at(&unclear(), &label("app")));
    assert!(must(vec![read(1, probe(), Reply::Health(Err(ReadError::Timeout)))]), "a look at another thing");
    assert!(must(vec![read(1, status(), Reply::Service(Err(ReadError::Timeout)))]), "a look that failed");
    let open = Call::Service { label: label("web"), op: ServiceCall::Open };
    assert!(must(vec![read(1, open, Reply::Opened(Ok(())))]), "opening is no look");
    assert!(!must(vec![read(1, status(), Reply::Service(Ok(active())))]));
    assert!(!must_be_looked_at(&[opened(), intent(0, 1), outcome(0, Ok(done()))], &label("web")));
}

#[test]
fn a_flags_deed_says_for_how_long() {
    let deed = SimDeed::of(&set("off", "f1", 3_600_000)).expect("it changes something");
    assert_eq!((deed.label().as_str(), deed.arguments().as_str()), ("flag", "off for 1h"));
    assert_eq!(SimDeed::of(&Call::Service { label: label("web"), op: ServiceCall::Status }), None);
}
