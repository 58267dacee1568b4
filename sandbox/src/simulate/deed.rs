//! Simulated deeds: the calls themselves. A flag that is set for no time is put back for good.

use crate::call::{Call, Effect, FlagCall, Receipt, ReleaseCall, Revision, ServiceCall};
use crate::journal::Deed;
use crate::words::arguments;
use fettle_model::name::Label;
use fettle_model::playbook::{Action, Reversibility};
use fettle_model::run::{Change, UndoClass};
use serde::{Deserialize, Serialize};

/// A changing call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimDeed {
    label: Label,
    action: Action,
    call: Call,
}

/// A thing before a deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimBefore {
    /// Its revision.
    pub revision: Revision,
    /// How many deeds were done to it before.
    pub deeds: u32,
}

/// A deed that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimDone {
    /// Whether anything had to be changed.
    pub change: Change,
    /// How it can be undone.
    pub undo: UndoClass,
    /// What undoes it.
    pub inverse: Option<SimDeed>,
}

impl SimDeed {
    /// The call that it is.
    #[must_use]
    pub const fn call(&self) -> &Call {
        &self.call
    }

    pub(super) fn service(label: &Label, action: Action, expect: Revision) -> Self {
        let call = Call::Service { label: label.clone(), op: ServiceCall::Change { action, expect } };
        Self { label: label.clone(), action, call }
    }

    pub(super) fn activate(label: &Label, release: &str, expect: Revision) -> Self {
        let op = ReleaseCall::Activate { release: release.to_owned(), expect };
        let call = Call::Release { label: label.clone(), op };
        Self { label: label.clone(), action: Action::Activate, call }
    }

    pub(super) fn put_back(label: &Label, value: &str, expect: Revision) -> Self {
        let call =
            Call::Flag { label: label.clone(), op: FlagCall::Set { value: value.to_owned(), expect, hold_ms: 0 } };
        Self { label: label.clone(), action: Action::Set, call }
    }
}

impl Deed for SimDeed {
    type Before = SimBefore;
    type Done = SimDone;

    fn of(call: &Call) -> Option<Self> {
        match (call.effect(), call.label()) {
            (Effect::Changes(action), Some(label)) => Some(Self { label: label.clone(), action, call: call.clone() }),
            (Effect::Observes, _) | (Effect::Changes(_), None) => None,
        }
    }

    fn label(&self) -> &Label {
        &self.label
    }

    fn action(&self) -> Option<Action> {
        Some(self.action)
    }

    fn reversibility(&self) -> Reversibility {
        self.action.reversibility()
    }

    fn arguments(&self) -> String {
        arguments(&self.call)
    }

    fn receipt(done: &SimDone, action_id: String) -> Receipt {
        Receipt { action_id, undo: done.undo, change: done.change }
    }

    fn inverse(done: &SimDone) -> Option<&Self> {
        done.inverse.as_ref()
    }
}
