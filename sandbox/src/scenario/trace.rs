//! The trace of a run: one line per host call, `!` before every change. Reviewed like code.
//!
//! It shows no instant, no id and no resumption: an interrupted run that came to the same has the
//! same trace.

use crate::call::{Call, LogCall, Reply};
use crate::journal::{Asked, Deed, Entry, Look, NOT_APPLIED};
use crate::simulate::SimDeed;
use crate::words::quoted;
use fettle_model::check::Status;
use fettle_model::run::Claim;

/// Column at which replies begin; longer calls push theirs to the right.
const REPLY_COLUMN: usize = 44;

/// The trace of a journal.
#[must_use]
pub fn trace(entries: &[Entry<SimDeed>]) -> String {
    let mut text = String::new();
    let mut intended = None;
    for entry in entries {
        if let Entry::Intent { asked: Asked::Playbook(call), .. } = entry {
            intended = Some(call);
        }
        if let Some(shown) = line(entry, intended) {
            text.push_str(&shown);
            text.push('\n');
        }
    }
    text
}

fn line(entry: &Entry<SimDeed>, intended: Option<&Call>) -> Option<String> {
    match entry {
        Entry::Read { call: Call::Log(LogCall::Phase { name }), .. } => Some(format!("phase {name}")),
        Entry::Read { call: Call::Log(call), .. } => Some(format!("  {}", Call::Log(call.clone()))),
        Entry::Read { call, reply, .. } => Some(row(' ', call, &timeless(reply))),
        Entry::Slept { call, .. } => Some(row(' ', call, "ok")),
        Entry::Refused { call, error, .. } => Some(row('!', call, &error.to_string())),
        Entry::Outcome { result, .. } => {
            let told = result.as_ref().map(|done| SimDeed::receipt(done, String::new())).map_err(Clone::clone);
            intended.map(|call| row('!', call, &Reply::Acted(told).to_string()))
        }
        Entry::Resolved { look, .. } => intended.map(|call| row('!', call, &seen(look))),
        Entry::Returned { claim: Ok(claim), .. } => Some(claimed(claim)),
        Entry::Returned { claim: Err(stop), .. } => Some(format!("stopped {stop}")),
        Entry::Halted { cause, .. } => Some(format!("halted {cause:?}")),
        Entry::Confirmed { status, .. } => Some(format!("confirm {}", status.as_str())),
        Entry::UndoOutcome { result, .. } => Some(match result {
            Ok(_) => "undo done".to_owned(),
            Err(error) => format!("undo {error}"),
        }),
        Entry::UndoResolved { look, .. } => Some(match look {
            Look::Applied(_) => "undo done".to_owned(),
            Look::NotApplied => format!("undo {NOT_APPLIED}"),
            Look::CannotTell(seen) => format!("undo cannot tell {}", quoted(seen)),
        }),
        Entry::Ended { ending, .. } => Some(format!("ended {}", ending.as_str())),
        Entry::Checked { status: status @ (Status::Passing | Status::Warning | Status::Unknown), .. } => {
            Some(format!("check {}", status.as_str()))
        }
        Entry::Checked { status: Status::Critical, .. }
        | Entry::Opened { .. }
        | Entry::Resumed { .. }
        | Entry::Intent { .. }
        | Entry::Confirming { .. }
        | Entry::UndoIntent { .. } => None,
    }
}

fn row(mark: char, call: &Call, reply: &str) -> String {
    let call = call.to_string();
    format!("{mark} {call:<width$} {reply}", width = REPLY_COLUMN - 2)
}

fn timeless(reply: &Reply) -> String {
    if matches!(reply, Reply::Time(_) | Reply::Millis(_)) { "ok".to_owned() } else { reply.to_string() }
}

fn seen(look: &Look<<SimDeed as Deed>::Done>) -> String {
    match look {
        Look::Applied(done) => Reply::Acted(Ok(SimDeed::receipt(done, String::new()))).to_string(),
        Look::NotApplied => NOT_APPLIED.to_owned(),
        Look::CannotTell(seen) => format!("cannot tell {}", quoted(seen)),
    }
}

fn claimed(claim: &Claim) -> String {
    let (kind, summary) = match claim {
        Claim::Resolved { summary } => ("resolved", summary),
        Claim::Mitigated { summary, .. } => ("mitigated", summary),
        Claim::NoAction { summary } => ("no-action", summary),
        Claim::Escalate { summary } => ("escalate", summary),
        Claim::Failed { summary, .. } => ("failed", summary),
    };
    format!("claim {kind} {}", quoted(summary))
}
