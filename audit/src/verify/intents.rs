//! Irreversible steps: each stands in the log before its run's report says that it was tried.
//!
//! Called for each record; when the effect itself came is only the host's to know.

use super::finding::{At, Rule};
use super::runs::{Runs, State};
use fettle_model::id::{HostId, RunId};
use fettle_model::run::{RunRecord, StepIntended};
use std::collections::BTreeSet;

/// What agents announced and have not reported yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Intents {
    known: BTreeSet<(RunId, u32)>,
}

impl Intents {
    /// A run is reported.
    pub(super) fn check(&mut self, run: &RunRecord, at: &mut At<'_>) {
        for number in run.irreversible_steps() {
            if !self.known.contains(&(run.run, number)) {
                let words = format!("step {number} of the run {} cannot be taken back", run.run);
                at.flag(Rule::Intent, format!("{words}, and the log did not hold its intent before"));
            }
        }
        let announced: Vec<_> = self.known.range((run.run, 0)..=(run.run, u32::MAX)).copied().collect();
        for step in announced {
            self.known.remove(&step);
        }
    }
}

impl Runs {
    /// An agent announces a step. After a crash it may announce the same one again.
    pub(super) fn intend(&mut self, author: HostId, intent: &StepIntended, at: &mut At<'_>) {
        let StepIntended { run, permit, number, .. } = intent;
        let granted = self.permits.get(permit).filter(|granted| granted.host == author && granted.run == *run);
        match granted.map(|granted| &granted.state) {
            Some(State::InFlight(_) | State::Unresolved(_) | State::Unit(_)) => {
                self.intents.known.insert((*run, *number));
            }
            Some(State::Ended { .. } | State::Rejected | State::Returned(..)) => {
                at.flag(Rule::Ending, format!("a step of the run {run} is announced after its end"));
            }
            None => {
                at.flag(Rule::Permit, format!("the agent of {author} announces a step without a permit of its own"));
            }
        }
    }
}
