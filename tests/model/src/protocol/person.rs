//! What people do: stop orders, proposals, approvals, and changes of what a host's owner has bound.

use super::flaw::Flaw;
use super::set::HostNo;
use super::setup::Mode;
use super::state::{Approval, Content, Person, State, Switch};
use super::{Protocol, Step};

/// One thing that a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonStep {
    /// Stops automation everywhere.
    Stops,
    /// Lets it go on. What was granted before the stop stays void.
    Resumes,
    /// Proposes what the request of this host asks for. An earlier proposal and its approval are void.
    Proposes(HostNo),
    /// Says yes to what was proposed.
    Approves(Person),
    /// Changes what a request of this host would do.
    Changes(HostNo),
}

impl Protocol {
    pub(super) fn person_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let mut may = |step| steps.push(Step::Person(step));
        match state.switch {
            Switch::On if state.left.stops > 0 => may(PersonStep::Stops),
            Switch::On => {}
            Switch::Stopped => may(PersonStep::Resumes),
        }
        for host in self.hosts().filter(|host| self.mode(*host) == Mode::Approve) {
            if self.asked_for(state, host).is_some_and(|content| state.proposal != Some(content)) {
                may(PersonStep::Proposes(host));
            }
            if state.left.changes > 0 {
                may(PersonStep::Changes(host));
            }
        }
        if state.proposal.is_some() && state.approval.is_none() {
            may(PersonStep::Approves(Person::Other));
            // The rule that refuses the proposer's own approval is asked here and again at the grant.
            if self.has(Flaw::ApprovesOwn) {
                may(PersonStep::Approves(Person::Proposer));
            }
        }
    }

    fn asked_for(&self, state: &State, host: HostNo) -> Option<Content> {
        state.host(host).waiting.map(|request| request.content)
    }

    pub(super) fn person_step(&self, state: &mut State, step: PersonStep) {
        match step {
            PersonStep::Stops => {
                state.left.stops -= 1;
                state.stop += 1;
                state.switch = Switch::Stopped;
            }
            PersonStep::Resumes => state.switch = Switch::On,
            PersonStep::Proposes(host) => {
                state.proposal = self.asked_for(state, host);
                state.approval = None;
            }
            PersonStep::Approves(by) => {
                state.approval = state.proposal.map(|content| Approval { content, by });
            }
            PersonStep::Changes(host) => {
                state.left.changes -= 1;
                state.host_mut(host).content.0 += 1;
            }
        }
    }
}
