//! The component's calls and the deeds: what is answered at once, what is asked of the host, what is
//! done.

use super::course::Turn;
use super::event::{Action, Now};
use super::{Broken, MAX_CALLS, MAX_CHANGING_CALLS, Machine, State, What, approved};
use crate::call::{ActError, Call, ClockCall, Effect, Reply};
use crate::execution::Stop;
use crate::journal::{Asked, Deed, Entry, Halt, Next, must_be_looked_at, refusal_in_words};
use crate::text::one_line;
use fettle_model::permit::KillPoint;
use fettle_model::playbook;
use fettle_model::run::{Claim, FAULT_STEP, MAX_SUMMARY_BYTES};
use fettle_model::time::{BootInstant, whole_millis};
use std::time::Duration;

impl<D: Deed> Machine<D> {
    pub(super) fn called(&mut self, turn: &mut Turn<D>, call: Call) -> Result<(), Broken> {
        if !self.component_runs() || self.replay.is_halted() {
            return Ok(());
        }
        if self.state != State::Computing {
            return self.halt(turn, Halt::WorkerDied { detail: "it asked before it was answered".to_owned() });
        }
        if !call.is_bounded() {
            return self.halt(turn, Halt::WorkerDied { detail: "it asked with too long a text".to_owned() });
        }
        match self.replay.next(&call) {
            Next::Answer(reply) => {
                turn.then(Action::Reply(reply));
                Ok(())
            }
            Next::Asleep(until) => {
                self.sleep(turn, until);
                Ok(())
            }
            Next::Mismatch { index, expected } => {
                let (expected, got) = (expected.to_string(), call.to_string());
                self.halt(turn, Halt::Mismatch { index, expected, got })
            }
            Next::Fresh { index, .. } if index >= MAX_CALLS => self.halt(turn, Halt::TooManyCalls),
            Next::Fresh { index, number } => match call.effect() {
                Effect::Observes => self.look(turn, index, call),
                Effect::Changes(_) if number > MAX_CHANGING_CALLS => self.halt(turn, Halt::TooManyCalls),
                Effect::Changes(action) => match self.judge(&call, action) {
                    Ok(deed) => {
                        turn.then(Action::Before(deed.clone()));
                        self.state = State::Preparing { what: What::Call { index, number, call, deed } };
                        Ok(())
                    }
                    Err(error) => self.refuse(turn, index, number, call, error),
                },
            },
        }
    }

    fn look(&mut self, turn: &mut Turn<D>, index: u32, call: Call) -> Result<(), Broken> {
        let at = turn.now.wall;
        let reply = match &call {
            Call::Clock(ClockCall::Now) => Reply::Time(turn.now.wall),
            Call::Clock(ClockCall::Remaining) => Reply::Millis(self.remaining(turn.now)),
            Call::Clock(ClockCall::Sleep { duration_ms }) => {
                let until = turn.now.on_boot.plus(Duration::from_millis(u64::from(*duration_ms)));
                self.write(turn, Entry::Slept { index, at, call, until })?;
                self.sleep(turn, until);
                return Ok(());
            }
            Call::Log(_) => Reply::Unit,
            Call::Facts(_) | Call::Service { .. } | Call::Release { .. } | Call::Flag { .. } | Call::Health { .. } => {
                match self.charter.remedy().map(|remedy| remedy.authority.look(&call)) {
                    Some(Err(reply)) => reply,
                    Some(Ok(())) | None => {
                        turn.then(Action::Look(call.clone()));
                        self.state = State::Looking { index, call };
                        return Ok(());
                    }
                }
            }
        };
        self.answer(turn, index, call, reply)
    }

    fn answer(&mut self, turn: &mut Turn<D>, index: u32, call: Call, reply: Reply) -> Result<(), Broken> {
        self.write(turn, Entry::Read { index, at: turn.now.wall, call, reply: reply.clone() })?;
        self.state = State::Computing;
        turn.then(Action::Reply(reply));
        Ok(())
    }

    fn sleep(&mut self, turn: &mut Turn<D>, until: BootInstant) {
        if turn.now.on_boot >= until {
            self.state = State::Computing;
            turn.then(Action::Reply(Reply::Unit));
        } else {
            self.state = State::Sleeping { until };
        }
    }

    pub(super) fn tick(&mut self, turn: &mut Turn<D>) -> Result<(), Broken> {
        if let State::Sleeping { until } = &self.state {
            let until = *until;
            self.sleep(turn, until);
        }
        self.publish_tick(turn)?;
        self.recheck_tick(turn)?;
        self.confirm_tick(turn)
    }

    fn remaining(&self, now: Now) -> u32 {
        u32::try_from(whole_millis(self.replay.deadline().since(now.on_boot))).unwrap_or(u32::MAX)
    }

    pub(super) fn looked(&mut self, turn: &mut Turn<D>, reply: Reply) -> Result<(), Broken> {
        let State::Looking { index, call } = &self.state else { return Ok(()) };
        let (index, call) = (*index, call.clone());
        if call.accepts(&reply) {
            self.answer(turn, index, call, reply)
        } else {
            self.halt(turn, Halt::BadReply { call: call.to_string() })
        }
    }

    /// Whether a changing call may reach the host at all.
    fn judge(&self, call: &Call, action: playbook::Action) -> Result<D, ActError> {
        let denied = |why: &str| ActError::Denied(why.to_owned());
        let remedy = self.charter.remedy().ok_or_else(|| denied("no playbook runs here"))?;
        remedy.authority.act(call, action, self.replay.effects())?;
        if let Some(steps) = &remedy.approved {
            approved::leaves(steps, self.replay.entries(), call, action)?;
        }
        let deed = D::of(call).ok_or_else(|| denied("this host has no such action"))?;
        if must_be_looked_at(self.replay.entries(), deed.label()) {
            return Err(denied("what came of an earlier step cannot be told: look first"));
        }
        Ok(deed)
    }

    fn refuse(
        &mut self,
        turn: &mut Turn<D>,
        index: u32,
        number: u32,
        call: Call,
        error: ActError,
    ) -> Result<(), Broken> {
        let at = turn.now.wall;
        self.write(turn, Entry::Refused { index, number, at, call, error: error.clone() })?;
        self.tell(turn, Err(error), number)
    }

    /// Answers a changing call; a playbook that left its plan is ended after that.
    fn tell(&mut self, turn: &mut Turn<D>, result: Result<D::Done, ActError>, number: u32) -> Result<(), Broken> {
        self.state = State::Computing;
        let off_plan = matches!(result, Err(ActError::OffPlan));
        let receipt = result.map(|done| D::receipt(&done, self.replay.action_id(number)));
        turn.then(Action::Reply(Reply::Acted(receipt)));
        if off_plan { self.halt(turn, Halt::OffPlan) } else { Ok(()) }
    }

    /// The run may have been halted while the host looked: nothing is done then.
    pub(super) fn prepared(
        &mut self,
        turn: &mut Turn<D>,
        before: Result<D::Before, ActError>,
        event: &'static str,
    ) -> Result<(), Broken> {
        let State::Preparing { what } = &self.state else { return Err(Broken::Unasked { event }) };
        let what = what.clone();
        let halted = match &what {
            What::Call { .. } | What::Fault { .. } => self.replay.is_halted(),
            What::Undo { .. } => self.replay.is_stopped(),
        };
        if halted {
            return self.proceed(turn);
        }
        let at = turn.now.wall;
        match (&what, before) {
            (What::Call { index, number, call, .. }, Err(error)) => {
                self.refuse(turn, *index, *number, call.clone(), error)
            }
            (What::Fault { .. }, Err(error)) => {
                self.state = State::PlanningFault;
                self.halt(turn, Halt::NoFault { why: refusal_in_words(&error) })
            }
            (What::Undo { of, .. }, Err(error)) => {
                self.write(turn, Entry::UndoOutcome { of: *of, at, result: Err(error) })?;
                self.proceed(turn)
            }
            (What::Call { index, number, call, .. }, Ok(before)) => {
                let (index, number, asked) = (*index, *number, Asked::Playbook(call.clone()));
                self.intend(turn, Entry::Intent { index, number, at, asked, before: before.clone() }, before, what)
            }
            (What::Fault { deed }, Ok(before)) => {
                let asked = Asked::Drill(deed.clone());
                let intent = Entry::Intent { index: 0, number: FAULT_STEP, at, asked, before: before.clone() };
                self.intend(turn, intent, before, what)
            }
            (What::Undo { of, deed }, Ok(before)) => {
                let entry = Entry::UndoIntent { of: *of, at, deed: deed.clone(), before: before.clone() };
                self.write(turn, entry)?;
                self.perform(turn, before, what);
                Ok(())
            }
        }
    }

    pub(super) fn perform(&mut self, turn: &mut Turn<D>, before: D::Before, what: What<D>) {
        turn.then(Action::Perform { deed: what.deed().clone(), before });
        self.state = State::Acting { what };
    }

    /// The outcome is durable before anybody is told, and also when nobody is left to be told.
    pub(super) fn acted(
        &mut self,
        turn: &mut Turn<D>,
        result: Result<D::Done, ActError>,
        event: &'static str,
    ) -> Result<(), Broken> {
        let State::Acting { what } = &self.state else { return Err(Broken::Unasked { event }) };
        let what = what.clone();
        if matches!(what, What::Call { .. }) && self.is_killed_here() {
            turn.then(Action::EndProcess);
            return Ok(());
        }
        self.settle(turn, &what, result)
    }

    /// Writes what came of a deed and goes on.
    pub(super) fn settle(
        &mut self,
        turn: &mut Turn<D>,
        what: &What<D>,
        result: Result<D::Done, ActError>,
    ) -> Result<(), Broken> {
        let at = turn.now.wall;
        match *what {
            What::Call { index, number, .. } => {
                self.write(turn, Entry::Outcome { index, at, result: result.clone() })?;
                if self.replay.is_halted() { self.proceed(turn) } else { self.tell(turn, result, number) }
            }
            What::Fault { .. } => {
                self.write(turn, Entry::Outcome { index: 0, at, result })?;
                self.proceed(turn)
            }
            What::Undo { of, .. } => {
                self.write(turn, Entry::UndoOutcome { of, at, result })?;
                self.proceed(turn)
            }
        }
    }

    /// Whether a deed of the playbook that is done now is where a drill has the run killed. A deed is performed in
    /// one life of the process only, so this holds once at most. A run that was halted goes to its end.
    fn is_killed_here(&self) -> bool {
        match self.charter.permit().kill {
            Some(KillPoint::FirstDeed) => self.replay.effects() == 1 && !self.replay.is_halted(),
            None => false,
        }
    }

    pub(super) fn fault_planned(&mut self, turn: &mut Turn<D>, planned: Result<D, String>) -> Result<(), Broken> {
        if self.state != State::PlanningFault {
            return Ok(());
        }
        match planned {
            Ok(deed) => {
                turn.then(Action::Before(deed.clone()));
                self.state = State::Preparing { what: What::Fault { deed } };
                Ok(())
            }
            Err(why) => self.halt(turn, Halt::NoFault { why: one_line(&why, MAX_SUMMARY_BYTES) }),
        }
    }

    pub(super) fn returned(&mut self, turn: &mut Turn<D>, claim: Result<Claim, Stop>, fuel: u64) -> Result<(), Broken> {
        if !self.component_runs() || self.replay.is_halted() {
            return Ok(());
        }
        if self.state != State::Computing {
            return self.halt(turn, Halt::WorkerDied { detail: "it ended before it was answered".to_owned() });
        }
        if let (Ok(_), Some(expected)) = (&claim, self.replay.unasked()) {
            let (index, expected) = (self.replay.made(), expected.to_string());
            return self.halt(turn, Halt::Mismatch { index, expected, got: "the end".to_owned() });
        }
        self.write(turn, Entry::Returned { at: turn.now.wall, claim, fuel })?;
        self.proceed(turn)
    }
}
