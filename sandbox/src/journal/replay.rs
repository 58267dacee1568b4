//! The journal at work: answers recorded calls, says what is in progress, takes new entries.

use super::account;
use super::deed::{Deed, Look};
use super::entry::{Asked, Entry, Halt};
use super::order::{Malformed, Order};
use crate::call::{ActError, Call, Reply};
use fettle_model::id::{BootId, RunId};
use fettle_model::time::{BootInstant, UnixMillis};

/// A journal and how far the component has come in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay<D: Deed> {
    entries: Vec<Entry<D>>,
    order: Order,
    calls: Vec<(Call, Recorded)>,
    /// Calls that the component of this process has made.
    made: usize,
    run: RunId,
    boot: BootId,
    started: BootInstant,
    deadline: BootInstant,
}

#[derive(Debug, Clone, PartialEq)]
enum Recorded {
    Answer(Reply),
    Asleep(BootInstant),
    InProgress,
}

/// What the component's next call gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// It is recorded.
    Answer(Reply),
    /// It is a recorded sleep; answered at this instant of the boot clock.
    Asleep(BootInstant),
    /// It is new: this is its index, and its number should it be a changing one.
    Fresh {
        /// Its place among all calls, from 0.
        index: u32,
        /// Its place among the changing calls, from 1.
        number: u32,
    },
    /// Something else is recorded here, or an effect that is still in progress.
    Mismatch {
        /// The call's place.
        index: u32,
        /// What is recorded.
        expected: Box<Call>,
    },
}

/// An effect whose outcome is not in the journal: it must be looked at, never repeated.
#[derive(Debug, Clone, PartialEq)]
pub enum Dangling<D: Deed> {
    /// A step.
    Step {
        /// The intent's index.
        index: u32,
        /// What was to be done.
        deed: D,
        /// What was there before.
        before: D::Before,
    },
    /// The inverse of a step.
    Undo {
        /// Index of the intent that it undoes.
        of: u32,
        /// What was to be done.
        deed: D,
        /// What was there before.
        before: D::Before,
    },
}

impl<D: Deed> Replay<D> {
    /// Reads a journal back. The component starts from the beginning.
    ///
    /// # Errors
    /// When this agent could not have written it.
    pub fn from_entries(entries: Vec<Entry<D>>) -> Result<Self, Malformed> {
        let mut entries = entries.into_iter();
        let mut replay = Self::open(entries.next().ok_or(Malformed::Empty)?)?;
        for entry in entries {
            replay.push(entry)?;
        }
        replay.made = 0;
        Ok(replay)
    }

    /// Begins a journal.
    ///
    /// # Errors
    /// When the entry is not one that opens a run.
    pub fn open(first: Entry<D>) -> Result<Self, Malformed> {
        let mut order = Order::default();
        order.take(&first)?;
        let Entry::Opened { run, boot, started, deadline, .. } = first else {
            return Err(Malformed::OutOfOrder { at: 0, why: "only the first entry opens a run" });
        };
        let (entries, calls) = (vec![first], Vec::new());
        Ok(Self { entries, order, calls, made: 0, run, boot, started, deadline })
    }

    /// Takes a new entry. The caller makes it durable before it acts on it.
    ///
    /// # Errors
    /// When it cannot stand here; the journal is unchanged then.
    pub fn push(&mut self, entry: Entry<D>) -> Result<(), Malformed> {
        self.order.take(&entry)?;
        match &entry {
            Entry::Read { call, reply, .. } => self.record(call.clone(), Recorded::Answer(reply.clone())),
            Entry::Slept { call, until, .. } => self.record(call.clone(), Recorded::Asleep(*until)),
            Entry::Refused { call, error, .. } => {
                self.record(call.clone(), Recorded::Answer(Reply::Acted(Err(error.clone()))));
            }
            Entry::Intent { asked: Asked::Playbook(call), .. } => self.record(call.clone(), Recorded::InProgress),
            Entry::Outcome { result, .. } => self.settle(result),
            Entry::Resolved { look, .. } => match look {
                Look::Applied(done) => self.settle(&Ok(done.clone())),
                Look::NotApplied => self.settle(&Err(ActError::Failed(account::NOT_APPLIED.to_owned()))),
                Look::CannotTell(seen) => self.settle(&Err(ActError::Indeterminate(seen.clone()))),
            },
            Entry::Opened { .. }
            | Entry::Resumed { .. }
            | Entry::Checked { .. }
            | Entry::Intent { asked: Asked::Drill(_), .. }
            | Entry::Returned { .. }
            | Entry::Halted { .. }
            | Entry::Confirming { .. }
            | Entry::Confirmed { .. }
            | Entry::UndoIntent { .. }
            | Entry::UndoOutcome { .. }
            | Entry::UndoResolved { .. }
            | Entry::Ended { .. } => {}
        }
        self.entries.push(entry);
        Ok(())
    }

    /// What the component's next call gets. A recorded answer is given once.
    pub fn next(&mut self, call: &Call) -> Next {
        let index = self.made();
        let answer = match self.calls.get(self.made) {
            None => return Next::Fresh { index, number: self.order.numbers() + 1 },
            Some((expected, Recorded::Answer(reply))) if expected == call => Next::Answer(reply.clone()),
            Some((expected, Recorded::Asleep(until))) if expected == call => Next::Asleep(*until),
            Some((expected, Recorded::Answer(_) | Recorded::Asleep(_) | Recorded::InProgress)) => {
                return Next::Mismatch { index, expected: Box::new(expected.clone()) };
            }
        };
        self.made += 1;
        answer
    }

    /// Calls that the component of this process has made.
    #[must_use]
    pub fn made(&self) -> u32 {
        u32::try_from(self.made).unwrap_or(u32::MAX)
    }

    /// The first recorded call that the component of this process has not made again.
    #[must_use]
    pub fn unasked(&self) -> Option<&Call> {
        self.calls.get(self.made).map(|(call, _)| call)
    }

    /// The effect in progress, if there is one.
    #[must_use]
    pub fn dangling(&self) -> Option<Dangling<D>> {
        let mut dangling = None;
        for entry in &self.entries {
            if let Entry::Intent { index, asked, before, .. } = entry {
                let before = before.clone();
                dangling = asked.deed().map(|deed| Dangling::Step { index: *index, deed, before });
            } else if let Entry::UndoIntent { of, deed, before, .. } = entry {
                dangling = Some(Dangling::Undo { of: *of, deed: deed.clone(), before: before.clone() });
            } else if settles(entry) {
                dangling = None;
            }
        }
        dangling
    }

    /// The receipt's id of the changing call with this number: the same on every replay.
    #[must_use]
    pub fn action_id(&self, number: u32) -> String {
        action_id(self.run, number)
    }

    fn record(&mut self, call: Call, recorded: Recorded) {
        // A new call of the component of this process: it has been made. Reading back starts over.
        self.calls.push((call, recorded));
        self.made = self.calls.len();
    }

    fn settle(&mut self, result: &Result<D::Done, ActError>) {
        let id = self.action_id(self.order.numbers());
        if let Some((_, recorded @ Recorded::InProgress)) = self.calls.last_mut() {
            let receipt = result.as_ref().map(|done| D::receipt(done, id)).map_err(Clone::clone);
            *recorded = Recorded::Answer(Reply::Acted(receipt));
        }
    }

    /// All entries in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry<D>] {
        &self.entries
    }

    /// Calls so far.
    #[must_use]
    pub const fn calls(&self) -> u32 {
        self.order.calls()
    }

    /// Changing calls so far, the refused ones included.
    #[must_use]
    pub const fn changing_calls(&self) -> u32 {
        self.order.numbers()
    }

    /// Effects so far that were begun: what counts against the permit's budget. An intent that was settled before the
    /// host was touched is none.
    #[must_use]
    pub fn effects(&self) -> u32 {
        u32::try_from(account::begun(&self.entries).count()).unwrap_or(u32::MAX)
    }

    /// How often the run was resumed.
    #[must_use]
    pub const fn resumed(&self) -> u32 {
        self.order.resumed()
    }

    /// The run.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The boot in which it began.
    #[must_use]
    pub const fn boot(&self) -> BootId {
        self.boot
    }

    /// When it began, on that boot's clock.
    #[must_use]
    pub const fn started(&self) -> BootInstant {
        self.started
    }

    /// When it began, on the wall clock.
    #[must_use]
    pub fn started_at(&self) -> UnixMillis {
        self.entries.first().map_or(UnixMillis(0), account::at)
    }

    /// No effect starts later, on that boot's clock.
    #[must_use]
    pub const fn deadline(&self) -> BootInstant {
        self.deadline
    }

    /// Whether the run was ended from outside of the component.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Halted { .. }))
    }

    /// Whether a stop order ended it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry, Entry::Halted { cause: Halt::Ordered { .. }, .. }))
    }
}

/// The receipt's id of a run's changing call with this number.
#[must_use]
pub fn action_id(run: RunId, number: u32) -> String {
    format!("{run}/{number}")
}

const fn settles<D: Deed>(entry: &Entry<D>) -> bool {
    matches!(
        entry,
        Entry::Outcome { .. } | Entry::Resolved { .. } | Entry::UndoOutcome { .. } | Entry::UndoResolved { .. }
    )
}
