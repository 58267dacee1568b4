//! Irreversible steps: each stands in the log before its run's report says that it was tried.
//!
//! Called for each record; when the effect itself came is only the host's to know.

use super::finding::{At, Rule};
use super::runs::{Runs, State};
use fettle_model::id::{HostId, RunId};
use fettle_model::run::{IrreversibleStep, RunRecord, StepIntended};
use std::collections::{BTreeMap, BTreeSet};

/// What agents announced and have not reported yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Intents {
    known: BTreeMap<RunId, BTreeSet<IrreversibleStep>>,
}

impl Intents {
    /// A run is reported.
    pub(super) fn check(&mut self, run: &RunRecord, at: &mut At<'_>) {
        let announced = self.known.remove(&run.run).unwrap_or_default();
        for step in run.irreversible_steps().filter(|step| !announced.contains(step)) {
            let words = format!("step {} of the run {} on {} cannot be taken back", step.number, run.run, step.label);
            at.flag(Rule::Intent, format!("{words}, and the log did not hold its intent before"));
        }
    }
}

impl Runs {
    /// An agent announces a step. After a crash it may announce the same one again.
    pub(super) fn intend(&mut self, author: HostId, intent: &StepIntended, at: &mut At<'_>) {
        let StepIntended { run, permit, label, .. } = intent;
        let granted = self.permits.get(permit).filter(|granted| granted.host == author && granted.run == *run);
        match granted.map(|granted| &granted.state) {
            Some(State::InFlight(permit) | State::Unresolved(permit) | State::Unit(permit)) => {
                if permit.targets.iter().all(|target| &target.label != label) {
                    at.flag(Rule::Step, format!("the run {run} announces a step on {label}, which is no target"));
                }
                self.intents.known.entry(*run).or_default().insert(intent.step());
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
