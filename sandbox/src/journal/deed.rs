//! What a set of capabilities writes into the journal about its effects.
//!
//! Implemented twice: by the agent's real capabilities, whose deeds name processes and holds, and
//! by the simulated ones, whose deeds are the calls themselves.

use crate::call::{Call, Receipt};
use fettle_model::name::Label;
use fettle_model::playbook::{Action, Reversibility};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// One change to a bound thing, as plain data that reads back from the journal as it was written.
pub trait Deed: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// What was there before: enough to tell after a crash whether the deed happened.
    type Before: Clone + Debug + PartialEq + Serialize + DeserializeOwned;
    /// What came of a deed that happened, its inverse included.
    type Done: Clone + Debug + PartialEq + Serialize + DeserializeOwned;

    /// The deed of a changing call; `None` for one that only observes.
    fn of(call: &Call) -> Option<Self>;

    /// The label that it names.
    fn label(&self) -> &Label;

    /// Its action; `None` for one that only a drill's fault makes.
    fn action(&self) -> Option<Action>;

    /// Whether an inverse takes it back, or it ends by itself. What is irreversible waits until its intent is in the
    /// log.
    fn reversibility(&self) -> Reversibility;

    /// Its arguments for people: `release r41`, `off for 1h`.
    fn arguments(&self) -> String;

    /// The receipt that the playbook gets.
    fn receipt(done: &Self::Done, action_id: String) -> Receipt;

    /// The deed that undoes it, where there is one.
    fn inverse(done: &Self::Done) -> Option<&Self>;
}

/// What looking found after a crash between intent and outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "look", content = "found")]
pub enum Look<O> {
    /// It happened.
    Applied(O),
    /// It did not, and nothing that was started for it is still at work.
    NotApplied,
    /// Neither can be said. What was seen, for people.
    CannotTell(String),
}
