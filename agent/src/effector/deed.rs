//! The real capabilities' deeds as the run's journal and machine take them.

use crate::capability::{Before, Deed, Done, Look};
use fettle_model::name::Label;
use fettle_model::playbook::{Action, Reversibility};
use fettle_sandbox::call::{Call, Receipt};
use fettle_sandbox::journal;

impl journal::Deed for Deed {
    type Before = Before;
    type Done = Done;

    fn of(call: &Call) -> Option<Self> {
        Self::of(call)
    }

    fn label(&self) -> &Label {
        self.label()
    }

    fn action(&self) -> Option<Action> {
        self.action()
    }

    fn reversibility(&self) -> Reversibility {
        self.reversibility()
    }

    fn arguments(&self) -> String {
        self.arguments()
    }

    fn receipt(done: &Done, action_id: String) -> Receipt {
        done.receipt(action_id)
    }

    fn inverse(done: &Done) -> Option<&Self> {
        done.inverse.as_ref()
    }
}

impl From<Look> for journal::Look<Done> {
    fn from(look: Look) -> Self {
        match look {
            Look::Applied(done) => Self::Applied(done),
            Look::NotApplied => Self::NotApplied,
            Look::CannotTell { seen } => Self::CannotTell(seen),
        }
    }
}
