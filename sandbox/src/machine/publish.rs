//! The wait of an irreversible deed until the log holds its intent (design, section 2, rule 3).
//!
//! Until then nothing was done: whatever ends the wait settles the step as one that the host was never asked for. A
//! crash in it is looked into like any other between an intent and its outcome.

use super::charter::Premise;
use super::course::Turn;
use super::event::Action;
use super::{Broken, Machine, State, What};
use crate::call::ActError;
use crate::journal::{Deed, Entry};
use crate::text::one_line;
use fettle_model::check::Status;
use fettle_model::playbook::Reversibility;
use fettle_model::run::{MAX_SAID_BYTES, StepIntended};
use std::time::Duration;

/// So long a step waits for the log, within the run's own time. A control plane that is started anew, or a broken
/// connection, takes seconds; after half a minute the host is on its own, where nothing irreversible is done.
pub const PUBLISHED_WITHIN: Duration = Duration::from_secs(30);
/// After a longer wait than this a run that has not acted yet asks for its check once more. A step on its way is in
/// the log within a second; most checks are asked every five to thirty.
pub const FRESH_FOR: Duration = Duration::from_secs(5);

impl<D: Deed> Machine<D> {
    /// A step is about to be taken. What goes to the log does so before the journal has the intent: a crash between the
    /// two leaves a word in the log for which nothing was done, and never a step that looking takes for done and that the
    /// log does not know.
    pub(super) fn intend(
        &mut self,
        turn: &mut Turn<D>,
        intent: Entry<D>,
        before: D::Before,
        what: What<D>,
    ) -> Result<(), Broken> {
        match (what.deed().reversibility(), what.number()) {
            (Reversibility::Irreversible, Some(number)) => {
                turn.then(Action::Publish(Box::new(self.announced(turn, number, what.deed()))));
                self.write(turn, intent)?;
                let since = turn.now.on_boot;
                self.state = State::Publishing { what, before, since, until: since.plus(PUBLISHED_WITHIN) };
            }
            // The way back must not depend on the network.
            (Reversibility::Reversible, _) | (Reversibility::Irreversible, None) => {
                self.write(turn, intent)?;
                self.perform(turn, before, what);
            }
        }
        Ok(())
    }

    fn announced(&self, turn: &Turn<D>, number: u32, deed: &D) -> StepIntended {
        let permit = self.charter.permit();
        StepIntended {
            run: permit.run,
            permit: permit.permit,
            number,
            action: deed.action(),
            label: deed.label().clone(),
            arguments: one_line(&deed.arguments(), MAX_SAID_BYTES),
            intended_at: turn.now.wall,
        }
    }

    /// One that comes after the wait has ended, or for another step, says nothing.
    pub(super) fn published(&mut self, turn: &mut Turn<D>, number: u32) -> Result<(), Broken> {
        let State::Publishing { what, before, since, .. } = &self.state else { return Ok(()) };
        if what.number() != Some(number) {
            return Ok(());
        }
        let (what, before, waited) = (what.clone(), before.clone(), turn.now.on_boot.since(*since));
        // Its own intent is the first: nothing was done before.
        let first = self.replay.effects() == 1;
        match self.charter.remedy() {
            Some(remedy) if first && waited > FRESH_FOR && remedy.premise == Premise::Critical => {
                turn.then(Action::RerunCheck(remedy.fault.clone()));
                self.state = State::CheckingAgain { what, before };
            }
            Some(_) | None => self.perform(turn, before, what),
        }
        Ok(())
    }

    pub(super) fn checked_again(&mut self, turn: &mut Turn<D>, status: Status) -> Result<(), Broken> {
        let State::CheckingAgain { what, before } = &self.state else { return Ok(()) };
        let (what, before) = (what.clone(), before.clone());
        if status == Status::Critical {
            self.perform(turn, before, what);
            return Ok(());
        }
        if let What::Call { index, .. } = what {
            let result = Err(ActError::Denied("the fault did not wait for the log".to_owned()));
            self.write(turn, Entry::Outcome { index, at: turn.now.wall, result })?;
        }
        self.write(turn, Entry::Checked { at: turn.now.wall, status })?;
        turn.then(Action::KillWorker);
        self.proceed(turn)
    }

    pub(super) fn publish_tick(&mut self, turn: &mut Turn<D>) -> Result<(), Broken> {
        let State::Publishing { what, until, .. } = &self.state else { return Ok(()) };
        if turn.now.on_boot < *until {
            return Ok(());
        }
        let (what, within) = (what.clone(), PUBLISHED_WITHIN.as_secs());
        let why = format!("its intent was not seen in the log within {within} s, and it cannot be taken back");
        self.settle(turn, &what, Err(ActError::Denied(why)))
    }

    /// The run was halted while a deed waited.
    pub(super) fn not_begun(&mut self, turn: &mut Turn<D>, what: &What<D>) -> Result<(), Broken> {
        let why = "the run was halted while this waited for the log".to_owned();
        self.settle(turn, what, Err(ActError::Denied(why)))
    }
}
