//! Errors that are made to happen at one call.

use crate::call::{ActError, Call, OpenError, ReadError, Reply, Revision};
use serde::{Deserialize, Serialize};

/// One error at one call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// The call by its name, `service.restart`.
    pub call: String,
    /// The how-manieth of this name, from 1.
    pub nth: u32,
    /// What it returns.
    pub returns: Variant,
    /// Whether the action takes effect all the same; only `indeterminate` leaves that open.
    #[serde(default)]
    pub effect: Effectiveness,
}

/// Whether an action whose outcome is not known took effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effectiveness {
    /// It did not.
    #[default]
    None,
    /// It did.
    Happens,
}

/// Every error variant of every call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Of `open`.
    Undeclared,
    /// Of `open`.
    Unbound,
    /// Of looks.
    NotFound,
    /// Of looks.
    Timeout,
    /// Of looks.
    Unavailable(String),
    /// Of looks.
    TooLarge(u64),
    /// Of looks.
    Malformed(String),
    /// Of `open` and of actions.
    Denied(String),
    /// Of actions.
    Stale(String),
    /// Of actions.
    OffPlan,
    /// Of actions.
    Exhausted(String),
    /// Of actions.
    Failed(String),
    /// Of actions.
    Indeterminate(String),
}

/// The call cannot return this error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call cannot return this error")]
pub struct Unfitting;

impl Variant {
    /// Every variant that a call can return which was answered so without a fault.
    #[must_use]
    pub fn all_for(answered: &Reply) -> Vec<Self> {
        let why = || "injected".to_owned();
        match answered {
            Reply::Unit | Reply::Time(_) | Reply::Millis(_) => Vec::new(),
            Reply::Opened(_) => vec![Self::Undeclared, Self::Unbound, Self::Denied(why())],
            Reply::Acted(_) => vec![
                Self::Denied(why()),
                Self::Stale("elsewhere".to_owned()),
                Self::OffPlan,
                Self::Exhausted(why()),
                Self::Failed(why()),
                Self::Indeterminate(why()),
            ],
            Reply::Fact(_)
            | Reply::Service(_)
            | Reply::Lines(_)
            | Reply::CurrentRelease(_)
            | Reply::Releases(_)
            | Reply::Settled(_)
            | Reply::Flag(_)
            | Reply::Health(_) => {
                vec![Self::NotFound, Self::Timeout, Self::Unavailable(why()), Self::TooLarge(1), Self::Malformed(why())]
            }
        }
    }

    /// The reply of a call that fails so and would have been answered with `answered`.
    ///
    /// # Errors
    /// When the call cannot fail so.
    pub(crate) fn instead_of(&self, answered: &Reply) -> Result<Reply, Unfitting> {
        let (open, read, act) = self.errors();
        let read = || read.ok_or(Unfitting);
        Ok(match answered {
            Reply::Opened(_) => Reply::Opened(Err(open.ok_or(Unfitting)?)),
            Reply::Acted(_) => Reply::Acted(Err(act.ok_or(Unfitting)?)),
            Reply::Fact(_) => Reply::Fact(Err(read()?)),
            Reply::Service(_) => Reply::Service(Err(read()?)),
            Reply::Lines(_) => Reply::Lines(Err(read()?)),
            Reply::CurrentRelease(_) => Reply::CurrentRelease(Err(read()?)),
            Reply::Releases(_) => Reply::Releases(Err(read()?)),
            Reply::Settled(_) => Reply::Settled(Err(read()?)),
            Reply::Flag(_) => Reply::Flag(Err(read()?)),
            Reply::Health(_) => Reply::Health(Err(read()?)),
            Reply::Unit | Reply::Time(_) | Reply::Millis(_) => return Err(Unfitting),
        })
    }

    /// The variant as an error of a changing call.
    pub(crate) fn as_act_error(&self) -> Option<ActError> {
        self.errors().2
    }

    /// The variant as an error of each of the three kinds of call.
    fn errors(&self) -> (Option<OpenError>, Option<ReadError>, Option<ActError>) {
        match self {
            Self::Undeclared => (Some(OpenError::Undeclared), None, None),
            Self::Unbound => (Some(OpenError::Unbound), None, None),
            Self::NotFound => (None, Some(ReadError::NotFound), None),
            Self::Timeout => (None, Some(ReadError::Timeout), None),
            Self::Unavailable(why) => (None, Some(ReadError::Unavailable(why.clone())), None),
            Self::TooLarge(size) => (None, Some(ReadError::TooLarge(*size)), None),
            Self::Malformed(why) => (None, Some(ReadError::Malformed(why.clone())), None),
            Self::Denied(why) => (Some(OpenError::Denied(why.clone())), None, Some(ActError::Denied(why.clone()))),
            Self::Stale(now) => (None, None, Some(ActError::Stale(Revision(now.clone())))),
            Self::OffPlan => (None, None, Some(ActError::OffPlan)),
            Self::Exhausted(budget) => (None, None, Some(ActError::Exhausted(budget.clone()))),
            Self::Failed(why) => (None, None, Some(ActError::Failed(why.clone()))),
            Self::Indeterminate(seen) => (None, None, Some(ActError::Indeterminate(seen.clone()))),
        }
    }
}

/// A call's name, by which scenarios mean it: `service.restart`, `facts.get`.
#[must_use]
pub fn name(call: &Call) -> String {
    let words = call.to_string();
    words.split(' ').next().unwrap_or_default().to_owned()
}

impl Variant {
    /// Whether a call of this operation can fail so: `open`, `restart`, `status`.
    #[must_use]
    pub fn fits(&self, operation: &str) -> bool {
        let (open, read, act) = self.errors();
        match operation {
            "open" => open.is_some(),
            "start" | "stop" | "restart" | "reload" | "activate" | "set" => act.is_some(),
            "" => false,
            _ => read.is_some(),
        }
    }
}
