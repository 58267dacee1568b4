//! What a journal says to people and to the log: steps, lines, inverses, the run's record.

use super::deed::{Deed, Look};
use super::entry::{Asked, Entry};
use crate::call::{ActError, Call, LogCall, LogLevel, Reply};
use crate::text::one_line;
use fettle_model::check::Status;
use fettle_model::digest::DocumentDigest;
use fettle_model::name::Label;
use fettle_model::permit::Permit;
use fettle_model::playbook::Action;
use fettle_model::run::{MAX_SAID, MAX_SAID_BYTES, RunRecord, Said, SaidLevel, Step, StepOutcome};
use fettle_model::time::UnixMillis;
use serde_json::Value;

/// What a call is told whose effect looking found not to have happened. It is not repeated.
pub const NOT_APPLIED: &str = "not applied: the agent was interrupted before it acted";

/// The inverse of a step that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Inverse<D> {
    /// Index of the intent that it undoes.
    pub of: u32,
    /// The step's number.
    pub number: u32,
    /// What undoes it.
    pub deed: D,
}

/// The changing calls in order, the refused ones included. A drill's fault is a step where its deed
/// is one of the actions.
#[must_use]
pub fn steps<D: Deed>(entries: &[Entry<D>]) -> Vec<Step> {
    let mut steps: Vec<(u32, Step)> = Vec::new();
    for entry in entries {
        if let Entry::Refused { index, number, at, call, error } = entry
            && let Some(deed) = D::of(call)
        {
            steps.extend(step(&deed, *number, *at, refused(error)).map(|step| (*index, step)));
        } else if let Entry::Intent { index, number, at, asked, .. } = entry
            && let Some(deed) = asked.deed()
        {
            steps.extend(step(&deed, *number, *at, unknown()).map(|step| (*index, step)));
        } else if let Some((of, outcome)) = outcome(entry)
            && let Some((_, step)) = steps.iter_mut().find(|(index, _)| *index == of)
        {
            step.outcome = outcome;
        }
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

fn step<D: Deed>(deed: &D, number: u32, at: UnixMillis, outcome: StepOutcome) -> Option<Step> {
    let (label, arguments) = (deed.label().clone(), one_line(&deed.arguments(), MAX_SAID_BYTES));
    deed.action().map(|action| Step { number, action, label, arguments, intended_at: at, outcome })
}

/// An intent with no outcome in the journal: the run ended before it could be looked at.
fn unknown() -> StepOutcome {
    StepOutcome::Indeterminate { detail: "the run ended before this could be looked at".to_owned() }
}

fn outcome<D: Deed>(entry: &Entry<D>) -> Option<(u32, StepOutcome)> {
    if let Entry::Outcome { index, result, .. } = entry {
        Some((*index, told::<D>(result)))
    } else if let Entry::Resolved { index, look, .. } = entry {
        Some((*index, seen::<D>(look)))
    } else {
        None
    }
}

fn told<D: Deed>(result: &Result<D::Done, ActError>) -> StepOutcome {
    match result {
        Ok(done) => done_step::<D>(done),
        Err(error) => refused(error),
    }
}

fn seen<D: Deed>(look: &Look<D::Done>) -> StepOutcome {
    match look {
        Look::Applied(done) => done_step::<D>(done),
        Look::NotApplied => StepOutcome::Failed { detail: NOT_APPLIED.to_owned() },
        Look::CannotTell(seen) => StepOutcome::Indeterminate { detail: one_line(seen, MAX_SAID_BYTES) },
    }
}

fn done_step<D: Deed>(done: &D::Done) -> StepOutcome {
    let receipt = D::receipt(done, String::new());
    StepOutcome::Done { change: receipt.change, undo: receipt.undo }
}

fn refused(error: &ActError) -> StepOutcome {
    let rule = |rule: &str, detail: &str| StepOutcome::Refused {
        rule: rule.to_owned(),
        detail: one_line(detail, MAX_SAID_BYTES),
    };
    match error {
        ActError::Denied(why) => rule("denied", why),
        ActError::Stale(now) => rule("stale", &format!("it is at {} now", now.0)),
        ActError::OffPlan => rule("off-plan", "not in the approved plan"),
        ActError::Exhausted(budget) => rule("exhausted", budget),
        ActError::Failed(why) => StepOutcome::Failed { detail: one_line(why, MAX_SAID_BYTES) },
        ActError::Indeterminate(seen) => StepOutcome::Indeterminate { detail: one_line(seen, MAX_SAID_BYTES) },
    }
}

/// The intents whose effects were begun: all but those that were refused before the host was touched.
pub(crate) fn begun<D: Deed>(entries: &[Entry<D>]) -> impl Iterator<Item = &Entry<D>> {
    let refused = |of: u32| {
        entries.iter().any(|entry| matches!(outcome(entry), Some((index, StepOutcome::Refused { .. })) if index == of))
    };
    entries.iter().filter(move |entry| matches!(entry, Entry::Intent { index, .. } if !refused(*index)))
}

/// The inverses of all steps that happened, newest first.
#[must_use]
pub fn undo_plan<D: Deed>(entries: &[Entry<D>]) -> Vec<Inverse<D>> {
    let mut plan: Vec<Inverse<D>> = entries
        .iter()
        .filter_map(|entry| inverse(entry).map(|(of, deed)| (of, deed.clone())))
        .fold(Vec::new(), |mut plan, (of, deed)| {
            plan.push(Inverse { of, number: number(entries, of), deed });
            plan
        });
    plan.reverse();
    plan
}

fn inverse<D: Deed>(entry: &Entry<D>) -> Option<(u32, &D)> {
    if let Entry::Outcome { index, result: Ok(done), .. } = entry {
        D::inverse(done).map(|deed| (*index, deed))
    } else if let Entry::Resolved { index, look: Look::Applied(done), .. } = entry {
        D::inverse(done).map(|deed| (*index, deed))
    } else {
        None
    }
}

fn number<D: Deed>(entries: &[Entry<D>], of: u32) -> u32 {
    let number = |entry: &Entry<D>| {
        if let Entry::Intent { index, number, asked: Asked::Playbook(_), .. } = entry
            && *index == of
        {
            Some(*number)
        } else {
            None
        }
    };
    entries.iter().find_map(number).unwrap_or(0)
}

/// The next inverse that has not been tried.
pub(crate) fn next_inverse<D: Deed>(entries: &[Entry<D>]) -> Option<Inverse<D>> {
    let tried = |index: u32| entries.iter().any(|entry| undo_of(entry) == Some(index));
    undo_plan(entries).into_iter().find(|inverse| !tried(inverse.of))
}

fn undo_of<D: Deed>(entry: &Entry<D>) -> Option<u32> {
    if let Entry::UndoIntent { of, .. } | Entry::UndoOutcome { of, .. } | Entry::UndoResolved { of, .. } = entry {
        Some(*of)
    } else {
        None
    }
}

/// The inverse steps in the order in which they were run, the refused ones included.
#[must_use]
pub fn undone<D: Deed>(entries: &[Entry<D>]) -> Vec<Step> {
    let plan = undo_plan(entries);
    let mut undone: Vec<(u32, Step)> = Vec::new();
    for entry in entries {
        let (of, at, outcome) = if let Entry::UndoIntent { of, at, .. } = entry {
            (*of, *at, unknown())
        } else if let Entry::UndoOutcome { of, at, result } = entry {
            (*of, *at, told::<D>(result))
        } else if let Entry::UndoResolved { of, at, look } = entry {
            (*of, *at, seen::<D>(look))
        } else {
            continue;
        };
        if let Some((_, step)) = undone.iter_mut().find(|(index, _)| *index == of) {
            step.outcome = outcome;
        } else if let Some(inverse) = plan.iter().find(|inverse| inverse.of == of) {
            undone.extend(step(&inverse.deed, inverse.number, at, outcome).map(|step| (of, step)));
        }
    }
    undone.into_iter().map(|(_, step)| step).collect()
}

/// What the playbook said to people, one line each, at most [`MAX_SAID`].
#[must_use]
pub fn said<D: Deed>(entries: &[Entry<D>]) -> Vec<Said> {
    let spoken = |entry: &Entry<D>| {
        if let Entry::Read { at, call: Call::Log(call), .. } = entry { Some(line(*at, call)) } else { None }
    };
    entries.iter().filter_map(spoken).take(MAX_SAID).collect()
}

fn line(at: UnixMillis, call: &LogCall) -> Said {
    let (level, text) = match call {
        LogCall::Phase { name } => (SaidLevel::Phase, name.clone()),
        LogCall::Event { level, message, fields } => {
            let level = match level {
                LogLevel::Debug => SaidLevel::Debug,
                LogLevel::Info => SaidLevel::Info,
                LogLevel::Warn => SaidLevel::Warn,
            };
            let fields: String = fields.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            (level, format!("{message}{fields}"))
        }
    };
    Said { at, level, text: one_line(&text, MAX_SAID_BYTES) }
}

/// SHA-256 over the canonical JSON (keys sorted, no spaces) of all entries, as one array.
#[must_use]
pub fn summary_digest<D: Deed>(entries: &[Entry<D>]) -> DocumentDigest {
    let texts: Vec<String> = entries
        .iter()
        .map(|entry| serde_json::to_value(entry).map_or_else(|_| "null".to_owned(), |value| sorted(value).to_string()))
        .collect();
    DocumentDigest::of(format!("[{}]", texts.join(",")).as_bytes())
}

/// Sorts keys by hand: another crate in the same binary may have turned `preserve_order` on.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// The record of a run; `None` until it has ended.
#[must_use]
pub fn record<D: Deed>(entries: &[Entry<D>], permit: &Permit) -> Option<RunRecord> {
    let Some(Entry::Ended { at: ended_at, ending, summary }) = entries.last() else { return None };
    let mut draft = RunRecord {
        run: permit.run,
        permit: permit.permit,
        request: permit.request,
        host: permit.host,
        purpose: permit.purpose.clone(),
        playbook: permit.playbook.clone(),
        started_at: entries.first().map_or(*ended_at, at),
        ended_at: *ended_at,
        ending: *ending,
        summary: summary.clone(),
        claim: None,
        confirmed: None,
        steps: steps(entries),
        undone: undone(entries),
        said: said(entries),
        resumed: 0,
        fuel: 0,
        journal: summary_digest(entries),
    };
    for entry in entries {
        if let Entry::Returned { claim, fuel, .. } = entry {
            draft.claim = claim.as_ref().ok().cloned();
            draft.fuel = *fuel;
        } else if let Entry::Confirmed { status, .. } = entry {
            draft.confirmed = Some(*status);
        } else if let Entry::Resumed { .. } = entry {
            draft.resumed += 1;
        }
    }
    Some(draft)
}

/// When an entry was written.
pub(crate) const fn at<D: Deed>(entry: &Entry<D>) -> UnixMillis {
    match entry {
        Entry::Opened { at, .. }
        | Entry::Resumed { at, .. }
        | Entry::Checked { at, .. }
        | Entry::Read { at, .. }
        | Entry::Slept { at, .. }
        | Entry::Refused { at, .. }
        | Entry::Intent { at, .. }
        | Entry::Outcome { at, .. }
        | Entry::Resolved { at, .. }
        | Entry::Returned { at, .. }
        | Entry::Halted { at, .. }
        | Entry::Confirming { at, .. }
        | Entry::Confirmed { at, .. }
        | Entry::UndoIntent { at, .. }
        | Entry::UndoOutcome { at, .. }
        | Entry::UndoResolved { at, .. }
        | Entry::Ended { at, .. } => *at,
    }
}

/// Whether what came of an effect on this label could not be told, and it was not looked at since.
pub(crate) fn must_be_looked_at<D: Deed>(entries: &[Entry<D>], label: &Label) -> bool {
    let mut unclear = false;
    let mut acting = None;
    for entry in entries {
        if let Entry::Intent { asked, .. } = entry {
            acting = asked.deed().map(|deed| deed.label().clone());
        } else if let Some((_, StepOutcome::Indeterminate { .. })) = outcome(entry) {
            unclear |= acting.as_ref() == Some(label);
        } else if let Entry::Read { call, reply, .. } = entry
            && call.label() == Some(label)
            && shows_the_thing(reply)
        {
            unclear = false;
        }
    }
    unclear
}

/// Opening a label again, or a look that failed, shows nothing of the thing.
const fn shows_the_thing(reply: &Reply) -> bool {
    match reply {
        Reply::Service(Ok(_)) | Reply::CurrentRelease(Ok(_)) | Reply::Settled(Ok(_)) | Reply::Flag(Ok(_)) => true,
        Reply::Service(Err(_))
        | Reply::CurrentRelease(Err(_))
        | Reply::Settled(Err(_))
        | Reply::Flag(Err(_))
        | Reply::Unit
        | Reply::Time(_)
        | Reply::Millis(_)
        | Reply::Opened(_)
        | Reply::Fact(_)
        | Reply::Lines(_)
        | Reply::Releases(_)
        | Reply::Health(_)
        | Reply::Acted(_) => false,
    }
}

/// Whether some step's outcome cannot be told.
pub(crate) fn has_indeterminate<D: Deed>(entries: &[Entry<D>]) -> bool {
    entries.iter().any(|entry| matches!(outcome(entry), Some((_, StepOutcome::Indeterminate { .. }))))
}

/// The status that a confirmation needs; everything else is not confirmed.
pub(crate) const HEALTHY: Status = Status::Passing;

/// The action as it stands in a line for people: `restart service`, with its arguments where it has some.
pub(crate) fn in_words<D: Deed>(deed: &D) -> String {
    let action = deed.action().map_or("fault", Action::as_str);
    let arguments = deed.arguments();
    let space = if arguments.is_empty() { "" } else { " " };
    format!("{action} {}{space}{arguments}", deed.label())
}
