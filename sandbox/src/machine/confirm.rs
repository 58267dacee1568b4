//! What the host sees for itself: the check before the first effect, and the confirmation after the
//! playbook's claim.

use super::course::Turn;
use super::event::Action;
use super::{Broken, Machine, State};
use crate::journal::{Deed, Entry};
use fettle_model::check::Status;

impl<D: Deed> Machine<D> {
    pub(super) fn check_rerun(&mut self, turn: &mut Turn<D>, status: Status) -> Result<(), Broken> {
        let before_effects = match &self.state {
            State::Checking => true,
            State::Rechecking { .. } => false,
            State::CheckingAgain { .. } => return self.checked_again(turn, status),
            State::PlanningFault
            | State::Computing
            | State::Looking { .. }
            | State::Sleeping { .. }
            | State::Preparing { .. }
            | State::Publishing { .. }
            | State::Acting { .. }
            | State::LookingAfterCrash { .. }
            | State::Confirming { .. }
            | State::Ended => return Ok(()),
        };
        self.write(turn, Entry::Checked { at: turn.now.wall, status })?;
        if before_effects && status == Status::Critical {
            turn.then(Action::StartWorker);
            self.state = State::Computing;
            return Ok(());
        }
        self.proceed(turn)
    }

    /// As long as a confirmation may take; the answer may never come, since the daemon gives it.
    pub(super) fn recheck(&mut self, turn: &mut Turn<D>) {
        if let Some(remedy) = self.charter.remedy() {
            let until = turn.now.on_boot.plus(remedy.within);
            turn.then(Action::RerunCheck(remedy.fault.clone()));
            self.state = State::Rechecking { until };
        }
    }

    /// No answer in time is an answer: nobody saw the check pass.
    pub(super) fn recheck_tick(&mut self, turn: &mut Turn<D>) -> Result<(), Broken> {
        match &self.state {
            State::Rechecking { until } if turn.now.on_boot >= *until => self.check_rerun(turn, Status::Unknown),
            State::Rechecking { .. }
            | State::Checking
            | State::PlanningFault
            | State::Computing
            | State::Looking { .. }
            | State::Sleeping { .. }
            | State::Preparing { .. }
            | State::Publishing { .. }
            | State::CheckingAgain { .. }
            | State::Acting { .. }
            | State::LookingAfterCrash { .. }
            | State::Confirming { .. }
            | State::Ended => Ok(()),
        }
    }

    /// The window begins anew after a crash: what was seen before it says nothing of the time between.
    pub(super) fn confirm(&mut self, turn: &mut Turn<D>) -> Result<(), Broken> {
        let Some(remedy) = self.charter.remedy() else { return Ok(()) };
        let (check, until) = (remedy.confirm.clone(), turn.now.on_boot.plus(remedy.within));
        self.write(turn, Entry::Confirming { at: turn.now.wall })?;
        turn.then(Action::WatchCheck(check));
        self.state = State::Confirming { until, healthy_since: None, last: Status::Unknown };
        Ok(())
    }

    pub(super) fn confirm_saw(&mut self, turn: &mut Turn<D>, status: Status) -> Result<(), Broken> {
        let State::Confirming { until, healthy_since, last } = &mut self.state else { return Ok(()) };
        let Some(remedy) = self.charter.remedy() else { return Ok(()) };
        let now = turn.now.on_boot;
        *last = status;
        *healthy_since = match status {
            Status::Passing => healthy_since.or(Some(now)),
            Status::Warning | Status::Critical | Status::Unknown => None,
        };
        let stable = healthy_since.is_some_and(|since| now.since(since) >= remedy.stable);
        if stable && now <= *until {
            return self.confirmed(turn, Status::Passing);
        }
        self.confirm_tick(turn)
    }

    /// The time is over: what was seen last counts, but health that came too late does not.
    pub(super) fn confirm_tick(&mut self, turn: &mut Turn<D>) -> Result<(), Broken> {
        let State::Confirming { until, last, .. } = &self.state else { return Ok(()) };
        if turn.now.on_boot < *until {
            return Ok(());
        }
        let status = match last {
            Status::Passing => Status::Unknown,
            Status::Warning | Status::Critical | Status::Unknown => *last,
        };
        self.confirmed(turn, status)
    }

    fn confirmed(&mut self, turn: &mut Turn<D>, status: Status) -> Result<(), Broken> {
        self.write(turn, Entry::Confirmed { at: turn.now.wall, status })?;
        turn.then(Action::StopWatching);
        self.proceed(turn)
    }
}
