//! Where a run stands, told from its journal alone: the machine and the recovery after a crash come
//! to the same end, since neither remembers anything else.

use super::account::{HEALTHY, has_indeterminate, in_words};
use super::deed::{Deed, Look};
use super::entry::{Asked, Entry, Halt};
use crate::call::ActError;
use crate::execution::Stop;
use fettle_model::check::Status;
use fettle_model::run::{Claim, Ending};

/// Where a run stands, once no effect is in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The component has not ended: it goes on, after a crash by replay.
    Running,
    /// It claims to have helped; the host has to see that for itself.
    Confirm,
    /// It claims that nothing was to be done or that a person must look; the check is run again.
    Recheck,
    /// It has failed; what is to be undone is undone first.
    Failing {
        /// How it ends if nothing is undone.
        ending: Ending,
        /// Why.
        summary: String,
        /// Whether steps may be undone.
        undoing: Undoing,
    },
    /// Nothing is left to do but to write the end.
    Over {
        /// How.
        ending: Ending,
        /// Why.
        summary: String,
    },
}

/// Whether the steps of a run that did not help may be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undoing {
    /// If the manifest says so.
    ByManifest,
    /// They stay: a person decided, or the playbook called one.
    Never,
}

impl Fate {
    /// Reads where a run stands. An entry that ended the run's course is final, except that a stop
    /// order also ends undoing and confirming, and that doubt outweighs everything but success.
    #[must_use]
    pub fn of<D: Deed>(entries: &[Entry<D>]) -> Self {
        let mut reader = Reader { fate: Self::Running, claim: None, drill: None };
        for entry in entries {
            reader.read(entry);
        }
        if has_indeterminate(entries) { reader.fate.doubted() } else { reader.fate }
    }

    fn doubted(self) -> Self {
        match self {
            Self::Running | Self::Confirm | Self::Recheck => self,
            Self::Over { ending: Ending::Succeeded | Ending::Superseded | Ending::InDoubt, .. } => self,
            Self::Over { summary, .. } | Self::Failing { summary, .. } => Self::Over {
                ending: Ending::InDoubt,
                summary: format!("what came of a step cannot be told; {summary}"),
            },
        }
    }
}

struct Reader {
    fate: Fate,
    claim: Option<Claim>,
    /// The fault in words, in a drill's injecting run.
    drill: Option<String>,
}

impl Reader {
    fn read<D: Deed>(&mut self, entry: &Entry<D>) {
        match entry {
            Entry::Checked { status, .. } => self.checked(*status),
            Entry::Intent { asked: Asked::Drill(deed), .. } => self.drill = Some(in_words(deed)),
            Entry::Outcome { result, .. } => self.outcome(result.as_ref().map(|_| ()).map_err(Clone::clone)),
            Entry::Resolved { look, .. } => match look {
                Look::Applied(_) => self.outcome(Ok(())),
                Look::NotApplied => self.outcome(Err(ActError::Failed(super::NOT_APPLIED.to_owned()))),
                Look::CannotTell(seen) => {
                    self.fate = over(Ending::InDoubt, format!("whether a step happened cannot be told: {seen}"));
                }
            },
            Entry::Returned { claim, .. } => self.returned(claim),
            Entry::Halted { cause, .. } => self.halted(cause),
            Entry::Confirmed { status, .. } => self.confirmed(*status),
            Entry::UndoOutcome { result, .. } => self.undone(result.as_ref().map(|_| ()).map_err(Clone::clone)),
            Entry::UndoResolved { look, .. } => match look {
                Look::Applied(_) => {}
                Look::NotApplied => self.undone(Err(ActError::Failed(super::NOT_APPLIED.to_owned()))),
                Look::CannotTell(seen) => self.undone(Err(ActError::Indeterminate(seen.clone()))),
            },
            Entry::Opened { .. }
            | Entry::Resumed { .. }
            | Entry::Read { .. }
            | Entry::Slept { .. }
            | Entry::Refused { .. }
            | Entry::Intent { asked: Asked::Playbook(_), .. }
            | Entry::Confirming { .. }
            | Entry::UndoIntent { .. }
            | Entry::Ended { .. } => {}
        }
    }

    fn checked(&mut self, status: Status) {
        match (&self.fate, status) {
            (Fate::Running, Status::Critical) => {}
            (Fate::Running, Status::Passing | Status::Warning) => {
                let summary = format!("the check is {} again; nothing was done", status.as_str());
                self.fate = over(Ending::Superseded, summary);
            }
            (Fate::Running, Status::Unknown) => {
                let summary = "the check cannot tell whether the fault is still there; nothing was done".to_owned();
                self.fate = over(Ending::Failed, summary);
            }
            (Fate::Recheck, HEALTHY) => self.fate = Fate::Confirm,
            (Fate::Recheck, Status::Warning | Status::Critical | Status::Unknown) => self.ineffective(status),
            (Fate::Confirm | Fate::Failing { .. } | Fate::Over { .. }, _) => {}
        }
    }

    /// Only a drill's fault ends its run by its own outcome; a playbook is told of it and decides.
    fn outcome(&mut self, result: Result<(), ActError>) {
        let (Fate::Running, Some(fault)) = (&self.fate, &self.drill) else { return };
        self.fate = match result {
            Ok(()) => over(Ending::Succeeded, format!("injected: {fault}")),
            Err(error) => over(Ending::Failed, format!("the fault was not injected: {}", refusal_in_words(&error))),
        };
    }

    fn returned(&mut self, claim: &Result<Claim, Stop>) {
        self.fate = match claim {
            Ok(Claim::Resolved { .. } | Claim::Mitigated { .. }) => Fate::Confirm,
            Ok(Claim::NoAction { .. } | Claim::Escalate { .. }) => Fate::Recheck,
            Ok(Claim::Failed { summary, .. }) => failing(summary.clone()),
            Err(stop @ Stop::BadReply { .. }) => over(Ending::InDoubt, stop.to_string()),
            Err(stop) => failing(stop.to_string()),
        };
        self.claim = claim.as_ref().ok().cloned();
    }

    fn halted(&mut self, cause: &Halt) {
        match (&mut self.fate, cause) {
            (Fate::Over { .. }, _) => {}
            (Fate::Failing { undoing, summary, .. }, Halt::Ordered { why }) => {
                *undoing = Undoing::Never;
                *summary = format!("{summary}; then stopped: {why}");
            }
            (Fate::Failing { .. }, _) => {}
            (Fate::Running | Fate::Confirm | Fate::Recheck, cause) => self.fate = halt(cause),
        }
    }

    fn confirmed(&mut self, status: Status) {
        if self.fate != Fate::Confirm {
            return;
        }
        match status {
            HEALTHY => self.fate = over(Ending::Succeeded, self.words()),
            Status::Warning | Status::Critical | Status::Unknown => self.ineffective(status),
        }
    }

    fn ineffective(&mut self, status: Status) {
        let undoing = match &self.claim {
            Some(Claim::Resolved { .. } | Claim::Mitigated { .. }) => Undoing::ByManifest,
            Some(Claim::NoAction { .. } | Claim::Escalate { .. } | Claim::Failed { .. }) | None => Undoing::Never,
        };
        let summary = format!("the check is {} still; the playbook says: {}", status.as_str(), self.words());
        self.fate = Fate::Failing { ending: Ending::Ineffective, summary, undoing };
    }

    fn undone(&mut self, result: Result<(), ActError>) {
        let (Fate::Failing { ending, summary, .. }, Err(error)) = (&self.fate, result) else { return };
        let summary = format!("{summary}; undoing stopped: {}", refusal_in_words(&error));
        self.fate = match error {
            ActError::Indeterminate(_) => over(Ending::InDoubt, summary),
            ActError::Denied(_)
            | ActError::Stale(_)
            | ActError::OffPlan
            | ActError::Exhausted(_)
            | ActError::Failed(_) => over(*ending, summary),
        };
    }

    fn words(&self) -> String {
        match &self.claim {
            Some(
                Claim::Resolved { summary }
                | Claim::Mitigated { summary, .. }
                | Claim::NoAction { summary }
                | Claim::Escalate { summary }
                | Claim::Failed { summary, .. },
            ) => summary.clone(),
            None => String::new(),
        }
    }
}

const fn over(ending: Ending, summary: String) -> Fate {
    Fate::Over { ending, summary }
}

const fn failing(summary: String) -> Fate {
    Fate::Failing { ending: Ending::Failed, summary, undoing: Undoing::ByManifest }
}

fn halt(cause: &Halt) -> Fate {
    match cause {
        Halt::WorkerDied { detail } => failing(format!("the worker died: {detail}")),
        Halt::Deadline => failing("the run took longer than it may".to_owned()),
        Halt::TooManyCalls => failing("the playbook made more host calls than it may".to_owned()),
        Halt::OffPlan => failing("the playbook asked for something outside of the approved plan".to_owned()),
        Halt::Ordered { why } => over(Ending::Cancelled, format!("stopped: {why}")),
        Halt::Rebooted => over(Ending::Failed, "the host was booted anew during the run".to_owned()),
        Halt::NoFault { why } => over(Ending::Failed, format!("no fault could be injected: {why}")),
        Halt::Mismatch { index, expected, got } => {
            over(Ending::InDoubt, format!("call {index} of the replay was {got}, and the journal has {expected}"))
        }
        Halt::BadReply { call } => over(Ending::InDoubt, format!("the host's answer to {call} has the wrong shape")),
    }
}

/// The error in a line for people.
pub(crate) fn refusal_in_words(error: &ActError) -> String {
    match error {
        ActError::Denied(why) => format!("denied ({why})"),
        ActError::Stale(now) => format!("stale (it is at {})", now.0),
        ActError::OffPlan => "off-plan".to_owned(),
        ActError::Exhausted(budget) => format!("exhausted ({budget})"),
        ActError::Failed(why) | ActError::Indeterminate(why) => why.clone(),
    }
}
