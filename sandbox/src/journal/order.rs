//! The order in which entries may stand. Checked entry by entry, by [`super::Replay::push`].

use super::deed::Deed;
use super::entry::{Asked, Entry, Halt, VERSION};
use crate::call::{Call, ClockCall, Effect};
use crate::machine::MAX_RESUMES;
use fettle_model::run::Ending;

/// A journal that this agent could not have written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// There is no entry at all.
    #[error("the journal is empty")]
    Empty,
    /// It was written in another format.
    #[error("the journal has format {found}, and this agent knows {VERSION}")]
    Version {
        /// Which.
        found: u32,
    },
    /// An entry stands where it cannot.
    #[error("entry {at} of the journal is out of order: {why}")]
    OutOfOrder {
        /// Its place, from 0.
        at: usize,
        /// What is wrong.
        why: &'static str,
    },
}

/// What has been seen so far, as far as order goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Order {
    seen: usize,
    calls: u32,
    numbers: u32,
    resumed: u32,
    /// Index of an intent without outcome.
    open: Option<u32>,
    /// Index of the intent whose inverse has an intent without outcome.
    undoing: Option<u32>,
    returned: Seen,
    halted: Seen,
    stopped: Seen,
    confirming: Seen,
    drill: Seen,
    ended: Seen,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    No,
    Yes,
}

impl Order {
    pub(super) const fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) const fn numbers(&self) -> u32 {
        self.numbers
    }

    pub(super) const fn resumed(&self) -> u32 {
        self.resumed
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// When it cannot stand here; nothing is taken then.
    pub(super) fn take<D: Deed>(&mut self, entry: &Entry<D>) -> Result<(), Malformed> {
        let mut next = self.clone();
        next.check(entry).map_err(|wrong| match wrong {
            Wrong::Version(found) => Malformed::Version { found },
            Wrong::Because(why) => Malformed::OutOfOrder { at: self.seen, why },
        })?;
        next.seen += 1;
        *self = next;
        Ok(())
    }

    fn check<D: Deed>(&mut self, entry: &Entry<D>) -> Result<(), Wrong> {
        ensure(self.ended == Seen::No, "it follows the end")?;
        let first = matches!(entry, Entry::Opened { .. });
        ensure(first == (self.seen == 0), "only the first entry opens a run")?;
        match entry {
            Entry::Opened { version, .. } => {
                if *version != VERSION {
                    return Err(Wrong::Version(*version));
                }
            }
            Entry::Resumed { .. } => {
                self.resumed += 1;
                ensure(self.resumed <= MAX_RESUMES + 1, "too many resumptions")?;
            }
            Entry::Checked { .. } => self.nothing_in_progress()?,
            Entry::Read { index, call, reply, .. } => {
                self.call(*index)?;
                ensure(call.effect() == Effect::Observes, "a changing call stands as a read")?;
                ensure(call.accepts(reply), "the reply does not fit the call")?;
            }
            Entry::Slept { index, call, .. } => {
                self.call(*index)?;
                ensure(matches!(call, Call::Clock(ClockCall::Sleep { .. })), "another call stands as a sleep")?;
            }
            Entry::Refused { index, number, call, .. } => {
                self.call(*index)?;
                self.number(*number)?;
                ensure(call.effect() != Effect::Observes, "an observing call stands as refused")?;
            }
            Entry::Intent { index, number, asked, .. } => self.intent(*index, *number, asked)?,
            Entry::Outcome { index, .. } | Entry::Resolved { index, .. } => {
                ensure(self.open == Some(*index), "it does not answer the intent before it")?;
                self.open = None;
            }
            Entry::Returned { .. } => {
                self.component_runs()?;
                self.returned = Seen::Yes;
            }
            Entry::Halted { cause, .. } => {
                let first = self.halted == Seen::No;
                let ordered = matches!(cause, Halt::Ordered { .. });
                ensure(first || (ordered && self.stopped == Seen::No), "the run was halted already")?;
                self.halted = Seen::Yes;
                if ordered {
                    self.stopped = Seen::Yes;
                }
            }
            Entry::Confirming { .. } => {
                self.nothing_in_progress()?;
                ensure(self.returned == Seen::Yes && self.halted == Seen::No, "there is nothing to confirm")?;
                self.confirming = Seen::Yes;
            }
            Entry::Confirmed { .. } => {
                ensure(self.confirming == Seen::Yes, "no confirmation was begun")?;
                self.confirming = Seen::No;
            }
            Entry::UndoIntent { of, .. } => {
                self.nothing_in_progress()?;
                ensure(self.returned == Seen::Yes || self.halted == Seen::Yes, "the component still runs")?;
                ensure(*of < self.calls, "it undoes no step")?;
                self.undoing = Some(*of);
            }
            Entry::UndoOutcome { of, .. } => {
                ensure(self.open.is_none(), "an effect is in progress")?;
                ensure(self.undoing.is_none_or(|undoing| undoing == *of), "it answers another inverse")?;
                ensure(*of < self.calls, "it undoes no step")?;
                self.undoing = None;
            }
            Entry::UndoResolved { of, .. } => {
                ensure(self.undoing == Some(*of), "it does not answer the inverse before it")?;
                self.undoing = None;
            }
            Entry::Ended { ending, .. } => {
                let in_progress = self.open.is_some() || self.undoing.is_some();
                ensure(!in_progress || *ending == Ending::InDoubt, "an effect is in progress")?;
                self.ended = Seen::Yes;
            }
        }
        Ok(())
    }

    fn intent<D>(&mut self, index: u32, number: u32, asked: &Asked<D>) -> Result<(), Wrong>
    where
        D: Deed,
    {
        match asked {
            Asked::Playbook(call) => {
                self.call(index)?;
                ensure(call.effect() != Effect::Observes, "an observing call stands as an intent")?;
                ensure(D::of(call).is_some(), "the call has no deed")?;
            }
            Asked::Drill(_) => {
                self.component_runs()?;
                ensure(self.calls == 0 && index == 0 && self.drill == Seen::No, "a fault is not a run's only step")?;
                self.drill = Seen::Yes;
            }
        }
        self.number(number)?;
        self.open = Some(index);
        Ok(())
    }

    fn nothing_in_progress(&self) -> Result<(), Wrong> {
        ensure(self.open.is_none() && self.undoing.is_none(), "an effect is in progress")
    }

    fn component_runs(&self) -> Result<(), Wrong> {
        self.nothing_in_progress()?;
        ensure(self.returned == Seen::No && self.halted == Seen::No, "the component has ended")
    }

    fn call(&mut self, index: u32) -> Result<(), Wrong> {
        self.component_runs()?;
        ensure(self.drill == Seen::No, "a drill's fault runs no component")?;
        ensure(index == self.calls, "a call is missing or stands twice")?;
        self.calls += 1;
        Ok(())
    }

    fn number(&mut self, number: u32) -> Result<(), Wrong> {
        self.numbers += 1;
        ensure(number == self.numbers, "a changing call is missing or stands twice")
    }
}

enum Wrong {
    Version(u32),
    Because(&'static str),
}

const fn ensure(holds: bool, why: &'static str) -> Result<(), Wrong> {
    if holds { Ok(()) } else { Err(Wrong::Because(why)) }
}
