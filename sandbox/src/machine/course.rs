//! The course of a run: opening, resuming, halting, and what comes next once nothing is in progress.

use super::charter::{Premise, Work};
use super::event::{Action, Event, Now};
use super::{Broken, Charter, MAX_RESUMES, Machine, State, Unsettled, What};
use crate::execution::Stop;
use crate::journal::{Dangling, Deed, Entry, Fate, Halt, Look, Replay, Undoing, VERSION, cleaned, record};
use crate::journal::{next_inverse, undone};
use crate::text::one_line;
use fettle_model::playbook::UndoPolicy;
use fettle_model::run::{Ending, MAX_SUMMARY_BYTES, StepOutcome};

/// The actions of one turn, with the instant at which they were decided.
pub(super) struct Turn<D: Deed> {
    pub(super) now: Now,
    pub(super) actions: Vec<Action<D>>,
}

impl<D: Deed> Turn<D> {
    pub(super) fn then(&mut self, action: Action<D>) {
        self.actions.push(action);
    }
}

impl<D: Deed> Machine<D> {
    /// Opens a run under a permit that was verified just now.
    ///
    /// # Errors
    /// Never for a sound charter; see [`Broken`].
    pub fn open(charter: Charter, now: Now) -> Result<(Self, Vec<Action<D>>), Broken> {
        let permit = charter.permit();
        let first = Entry::Opened {
            version: VERSION,
            run: permit.run,
            permit: permit.permit,
            boot: now.boot,
            at: now.wall,
            started: now.on_boot,
            deadline: charter.deadline(now.on_boot),
        };
        let mut machine = Self { replay: Replay::open(first.clone())?, charter, state: State::Computing };
        let mut turn = Turn { now, actions: vec![Action::Journal(first)] };
        machine.proceed(&mut turn)?;
        Ok((machine, turn.actions))
    }

    /// Takes a run up again after a crash of the effector or a boot of the host.
    ///
    /// # Errors
    /// When the journal is not sound or not that of the permit: a person must look.
    pub fn resume(charter: Charter, entries: Vec<Entry<D>>, now: Now) -> Result<(Self, Vec<Action<D>>), Broken> {
        let replay = Replay::from_entries(entries)?;
        if replay.run() != charter.permit().run {
            return Err(Broken::OtherRun);
        }
        let mut machine = Self { replay, charter, state: State::Computing };
        let mut turn = Turn { now, actions: Vec::new() };
        if let Some(record) = record(machine.replay.entries(), machine.charter.permit()) {
            // The crash came between the last entry and the signed record.
            machine.state = State::Ended;
            turn.then(Action::End(Box::new(record)));
            return Ok((machine, turn.actions));
        }
        if machine.replay.resumed() <= MAX_RESUMES {
            machine.write(&mut turn, Entry::Resumed { at: now.wall, boot: now.boot })?;
        }
        if machine.replay.resumed() > MAX_RESUMES {
            let summary = format!("the agent was interrupted more than {MAX_RESUMES} times during the run");
            machine.end(&mut turn, Ending::InDoubt, &summary)?;
            return Ok((machine, turn.actions));
        }
        match machine.replay.dangling() {
            Some(Dangling::Step { index, deed, before }) => {
                machine.state = State::LookingAfterCrash { what: Unsettled::Step { index } };
                turn.then(Action::LookAfterCrash { deed, before });
            }
            Some(Dangling::Undo { of, deed, before }) => {
                machine.state = State::LookingAfterCrash { what: Unsettled::Undo { of } };
                turn.then(Action::LookAfterCrash { deed, before });
            }
            None => machine.proceed(&mut turn)?,
        }
        Ok((machine, turn.actions))
    }

    /// Takes an event, and says what is to be done.
    ///
    /// # Errors
    /// When nobody asked for it: a bug, after which the process must not go on with the run.
    pub fn handle(&mut self, now: Now, event: Event<D>) -> Result<Vec<Action<D>>, Broken> {
        let mut turn = Turn { now, actions: Vec::new() };
        if self.is_overdue(now) {
            self.halt(&mut turn, Halt::Deadline)?;
        }
        let kind = event.kind();
        match event {
            Event::CheckRerun(status) => self.check_rerun(&mut turn, status)?,
            Event::FaultPlanned(planned) => self.fault_planned(&mut turn, planned)?,
            Event::WorkerCalled(call) => self.called(&mut turn, call)?,
            Event::Looked(reply) => self.looked(&mut turn, reply)?,
            Event::Prepared(before) => self.prepared(&mut turn, before, kind)?,
            Event::Published { number } => self.published(&mut turn, number)?,
            Event::Acted(result) => self.acted(&mut turn, result, kind)?,
            Event::LookedAfterCrash(look) => self.looked_after_crash(&mut turn, look, kind)?,
            Event::WorkerReturned(execution) => {
                let claim = execution.claim.map(cleaned).map_err(Stop::cleaned);
                self.returned(&mut turn, claim, execution.fuel_used)?;
            }
            Event::WorkerDied { detail } => {
                if self.component_runs() {
                    self.halt(&mut turn, Halt::WorkerDied { detail: one_line(&detail, MAX_SUMMARY_BYTES) })?;
                }
            }
            Event::StopOrdered { why } => {
                self.halt(&mut turn, Halt::Ordered { why: one_line(&why, MAX_SUMMARY_BYTES) })?;
            }
            Event::ConfirmSaw(status) => self.confirm_saw(&mut turn, status)?,
            Event::Tick => self.tick(&mut turn)?,
        }
        Ok(turn.actions)
    }

    pub(super) fn write(&mut self, turn: &mut Turn<D>, entry: Entry<D>) -> Result<(), Broken> {
        self.replay.push(entry.clone())?;
        turn.then(Action::Journal(entry));
        Ok(())
    }

    fn is_overdue(&self, now: Now) -> bool {
        let waits_for_component = self.component_runs() || matches!(self.state, State::Checking | State::PlanningFault);
        waits_for_component && !self.replay.is_halted() && now.on_boot >= self.replay.deadline()
    }

    /// Whether the worker is there, or its call is being answered.
    pub(super) fn component_runs(&self) -> bool {
        match &self.state {
            State::Computing
            | State::Looking { .. }
            | State::Sleeping { .. }
            | State::Preparing { what: What::Call { .. } | What::Fault { .. } }
            | State::Publishing { .. }
            | State::CheckingAgain { .. }
            | State::Acting { what: What::Call { .. } | What::Fault { .. } } => true,
            State::Checking
            | State::PlanningFault
            | State::Preparing { what: What::Undo { .. } }
            | State::Acting { what: What::Undo { .. } }
            | State::LookingAfterCrash { .. }
            | State::Rechecking { .. }
            | State::Confirming { .. }
            | State::Ended => false,
        }
    }

    /// Ends the component's part of the run. A deed in progress goes on; so does the look after a
    /// crash. A run that was halted already is only ever stopped once more, by order.
    pub(super) fn halt(&mut self, turn: &mut Turn<D>, cause: Halt) -> Result<(), Broken> {
        let again = self.replay.is_halted();
        let ordered = matches!(cause, Halt::Ordered { .. });
        if self.state == State::Ended || (again && (!ordered || self.replay.is_stopped())) {
            return Ok(());
        }
        self.write(turn, Entry::Halted { at: turn.now.wall, cause })?;
        if self.component_runs() && !again && self.charter.remedy().is_some() {
            turn.then(Action::KillWorker);
        }
        match &self.state {
            State::Acting { .. } | State::LookingAfterCrash { .. } | State::Preparing { .. } => Ok(()),
            State::Publishing { what, .. } | State::CheckingAgain { what, .. } => {
                let what = what.clone();
                self.not_begun(turn, &what)
            }
            State::Confirming { .. } => {
                turn.then(Action::StopWatching);
                self.proceed(turn)
            }
            State::Checking
            | State::PlanningFault
            | State::Computing
            | State::Looking { .. }
            | State::Sleeping { .. }
            | State::Rechecking { .. } => self.proceed(turn),
            State::Ended => Ok(()),
        }
    }

    /// What comes next, told from the journal; nothing is in progress.
    pub(super) fn proceed(&mut self, turn: &mut Turn<D>) -> Result<(), Broken> {
        match Fate::of(self.replay.entries()) {
            Fate::Running if turn.now.boot != self.replay.boot() => {
                self.write(turn, Entry::Halted { at: turn.now.wall, cause: Halt::Rebooted })?;
                self.proceed(turn)
            }
            Fate::Running if turn.now.on_boot >= self.replay.deadline() => {
                self.write(turn, Entry::Halted { at: turn.now.wall, cause: Halt::Deadline })?;
                self.proceed(turn)
            }
            Fate::Running => {
                self.go_on(turn);
                Ok(())
            }
            Fate::Confirm => self.confirm(turn),
            Fate::Recheck => {
                self.recheck(turn);
                Ok(())
            }
            Fate::Failing { ending, summary, undoing } => self.fail(turn, ending, &summary, undoing),
            Fate::Over { ending, summary } => self.end(turn, ending, &summary),
        }
    }

    /// Before the first effect the check is run again, also after each crash: the present counts.
    fn go_on(&mut self, turn: &mut Turn<D>) {
        match self.charter.work() {
            Work::Inject(fault) => {
                turn.then(Action::PlanFault(fault.clone()));
                self.state = State::PlanningFault;
            }
            Work::Remedy(remedy) if remedy.premise == Premise::Critical && self.replay.effects() == 0 => {
                turn.then(Action::RerunCheck(remedy.fault.clone()));
                self.state = State::Checking;
            }
            Work::Remedy(_) => {
                turn.then(Action::StartWorker);
                self.state = State::Computing;
            }
        }
    }

    fn fail(&mut self, turn: &mut Turn<D>, ending: Ending, summary: &str, undoing: Undoing) -> Result<(), Broken> {
        let automatic = self.charter.remedy().is_some_and(|remedy| remedy.undo == UndoPolicy::Automatic);
        let next = next_inverse(self.replay.entries());
        match next {
            Some(inverse) if automatic && undoing == Undoing::ByManifest => {
                let in_time = turn.now.boot == self.replay.boot()
                    && turn.now.on_boot < self.charter.undo_until(self.replay.started());
                if !in_time {
                    return self.end(turn, ending, &format!("{summary}; there was no time left to undo"));
                }
                turn.then(Action::Before(inverse.deed.clone()));
                self.state = State::Preparing { what: What::Undo { of: inverse.of, deed: inverse.deed } };
                Ok(())
            }
            Some(_) => self.end(turn, ending, summary),
            None => {
                let undone = undone(self.replay.entries());
                let all = undone.iter().all(|step| matches!(step.outcome, StepOutcome::Done { .. }));
                let ending = match ending {
                    Ending::Failed if all && !undone.is_empty() => Ending::Reverted,
                    Ending::Failed
                    | Ending::Succeeded
                    | Ending::Ineffective
                    | Ending::Reverted
                    | Ending::Superseded
                    | Ending::Cancelled
                    | Ending::Expired
                    | Ending::InDoubt => ending,
                };
                self.end(turn, ending, summary)
            }
        }
    }

    pub(super) fn end(&mut self, turn: &mut Turn<D>, ending: Ending, summary: &str) -> Result<(), Broken> {
        let summary = one_line(summary, MAX_SUMMARY_BYTES);
        self.write(turn, Entry::Ended { at: turn.now.wall, ending, summary })?;
        self.state = State::Ended;
        if let Some(record) = record(self.replay.entries(), self.charter.permit()) {
            turn.then(Action::End(Box::new(record)));
        }
        Ok(())
    }

    fn looked_after_crash(
        &mut self,
        turn: &mut Turn<D>,
        look: Look<D::Done>,
        event: &'static str,
    ) -> Result<(), Broken> {
        let at = turn.now.wall;
        match &self.state {
            State::LookingAfterCrash { what: Unsettled::Step { index } } => {
                let index = *index;
                self.write(turn, Entry::Resolved { index, at, look })?;
            }
            State::LookingAfterCrash { what: Unsettled::Undo { of } } => {
                let of = *of;
                self.write(turn, Entry::UndoResolved { of, at, look })?;
            }
            State::Checking
            | State::PlanningFault
            | State::Computing
            | State::Looking { .. }
            | State::Sleeping { .. }
            | State::Preparing { .. }
            | State::Publishing { .. }
            | State::CheckingAgain { .. }
            | State::Acting { .. }
            | State::Rechecking { .. }
            | State::Confirming { .. }
            | State::Ended => return Err(Broken::Unasked { event }),
        }
        self.proceed(turn)
    }
}
