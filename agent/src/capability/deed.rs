//! Changes as data: what is to be done, what was there before, what came of it.
//!
//! The effector journals [`Deed`] and [`Before`] as the intent and [`Done`] as the outcome; all are
//! plain JSON. Nothing here does I/O.

use super::hold::HoldChange;
use super::injection::Injection;
use super::process::ProcessRef;
use fettle_model::id::BootId;
use fettle_model::name::Label;
use fettle_model::playbook::{Action, Reversibility};
use fettle_model::run::{Change, UndoClass};
use fettle_model::time::{HumanDuration, UnixMillis, millis};
use fettle_sandbox::call::{
    ActError, Activity, Call, FlagCall, ReadError, Receipt, ReleaseCall, Revision, ServiceCall,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One change to a bound thing: of a playbook's call, of an undo, or of a drill's fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "deed", deny_unknown_fields)]
pub enum Deed {
    /// Start, stop, restart or reload a service.
    Service {
        /// The service.
        label: Label,
        /// Which of the four.
        action: Action,
        /// The revision that was observed.
        expect: Revision,
    },
    /// Make a release current.
    Activate {
        /// The releases.
        label: Label,
        /// The release's id.
        release: String,
        /// The revision that was observed.
        expect: Revision,
    },
    /// Set a flag for a while.
    SetFlag {
        /// The flag.
        label: Label,
        /// The variant.
        value: String,
        /// The revision that was observed.
        expect: Revision,
        /// For how long.
        #[serde(with = "millis", rename = "hold_ms")]
        hold: Duration,
    },
    /// End a flag's hold early: put the old variant back.
    PutFlagBack {
        /// The flag.
        label: Label,
        /// The old variant.
        value: String,
        /// The revision that the hold set.
        expect: Revision,
    },
    /// SIGKILL to a service's main process; a drill's fault only.
    Kill {
        /// The service.
        label: Label,
        /// The revision that was observed.
        expect: Revision,
    },
    /// Something is done to a service's surroundings for a while; a drill's fault only.
    Inject {
        /// The label that the fault names.
        label: Label,
        /// What.
        #[serde(rename = "what")]
        injection: Injection,
        /// For how long at most.
        #[serde(with = "millis", rename = "lasts_ms")]
        lasts: Duration,
    },
}

impl Deed {
    /// The deed of a changing call; `None` for one that only observes.
    #[must_use]
    pub fn of(call: &Call) -> Option<Self> {
        match call {
            Call::Service { label, op: ServiceCall::Change { action, expect } } => {
                Some(Self::Service { label: label.clone(), action: *action, expect: expect.clone() })
            }
            Call::Release { label, op: ReleaseCall::Activate { release, expect } } => {
                Some(Self::Activate { label: label.clone(), release: release.clone(), expect: expect.clone() })
            }
            Call::Flag { label, op: FlagCall::Set { value, expect, hold_ms } } => Some(Self::SetFlag {
                label: label.clone(),
                value: value.clone(),
                expect: expect.clone(),
                hold: Duration::from_millis(u64::from(*hold_ms)),
            }),
            Call::Clock(_)
            | Call::Log(_)
            | Call::Facts(_)
            | Call::Service { .. }
            | Call::Release { .. }
            | Call::Flag { .. }
            | Call::Health { .. } => None,
        }
    }

    /// The label that it names.
    #[must_use]
    pub const fn label(&self) -> &Label {
        match self {
            Self::Service { label, .. }
            | Self::Activate { label, .. }
            | Self::SetFlag { label, .. }
            | Self::PutFlagBack { label, .. }
            | Self::Kill { label, .. }
            | Self::Inject { label, .. } => label,
        }
    }

    /// The action for which permit and ceiling are asked; `None` for what only a drill's fault does.
    #[must_use]
    pub const fn action(&self) -> Option<Action> {
        match self {
            Self::Service { action, .. } => Some(*action),
            Self::Activate { .. } => Some(Action::Activate),
            Self::SetFlag { .. } | Self::PutFlagBack { .. } => Some(Action::Set),
            Self::Kill { .. } | Self::Inject { .. } => None,
        }
    }

    /// Whether it can be taken back. What is injected into the surroundings ends by itself; a process that was killed
    /// does not come back.
    #[must_use]
    pub const fn reversibility(&self) -> Reversibility {
        match self {
            Self::Service { action, .. } => action.reversibility(),
            Self::Activate { .. } | Self::SetFlag { .. } | Self::PutFlagBack { .. } | Self::Inject { .. } => {
                Reversibility::Reversible
            }
            Self::Kill { .. } => Reversibility::Irreversible,
        }
    }

    /// Its arguments for people, as a run's step shows them: `release r41`, `off for 1h`.
    #[must_use]
    pub fn arguments(&self) -> String {
        match self {
            Self::Service { .. } => String::new(),
            Self::Activate { release, .. } => format!("release {release}"),
            Self::SetFlag { value, hold, .. } => format!("{value} for {}", HumanDuration(*hold)),
            Self::PutFlagBack { value, .. } => format!("back to {value}"),
            Self::Kill { .. } => "SIGKILL to the main process".to_owned(),
            Self::Inject { injection, lasts, .. } => {
                format!("{} for at most {}", injection.in_words(), HumanDuration(*lasts))
            }
        }
    }
}

/// What was there before a deed; with it a crash can be looked into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "of")]
pub enum Before {
    /// A service.
    Service(ServiceBefore),
    /// The current release.
    Release(ReleaseBefore),
    /// A flag.
    Flag(FlagBefore),
    /// The surroundings of a service: what is injected there is not there yet.
    Surroundings {
        /// When it is taken back at the latest, on the wall clock.
        until: UnixMillis,
    },
}

/// A service before a deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceBefore {
    /// The boot in which it was observed: a reboot starts and stops everything.
    pub boot: BootId,
    /// What it did.
    pub activity: Activity,
    /// Its revision.
    pub revision: Revision,
    /// When its state last changed at all, a reload included, in microseconds of the boot's
    /// monotonic clock; `None` where the manager keeps no such time.
    pub changed_at: Option<u64>,
    /// Its main process.
    pub main: Option<ProcessRef>,
}

/// The current release before a deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBefore {
    /// Its id.
    pub release: String,
    /// The link's revision.
    pub revision: Revision,
}

/// A flag before a deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlagBefore {
    /// Its variant.
    pub value: String,
    /// Its definition's revision.
    pub revision: Revision,
    /// The revision that the deed makes.
    pub will_be: Revision,
    /// When the hold ends, on the wall clock: a hold outlives a reboot.
    pub until: UnixMillis,
}

/// A deed that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Done {
    /// Whether anything had to be changed.
    pub change: Change,
    /// How it can be undone.
    pub undo: UndoClass,
    /// The deed that undoes it; refused as stale when the thing moved in between.
    pub inverse: Option<Deed>,
    /// What it means for the holds, to be made durable with the outcome.
    pub hold: HoldChange,
}

impl Done {
    /// Nothing had to be done.
    #[must_use]
    pub const fn unneeded(undo: UndoClass) -> Self {
        Self { change: Change::Unneeded, undo, inverse: None, hold: HoldChange::Unchanged }
    }

    /// An injection is there. The ledger of injections takes it back, not the run.
    pub(super) const fn of_injection() -> Self {
        Self { change: Change::Made, undo: UndoClass::Expires, inverse: None, hold: HoldChange::Unchanged }
    }

    /// The receipt that the playbook gets.
    #[must_use]
    pub fn receipt(&self, action_id: String) -> Receipt {
        Receipt { action_id, undo: self.undo, change: self.change }
    }
}

/// What looking found after a crash between intent and outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "look")]
pub enum Look {
    /// The thing is as the deed makes it.
    Applied(Done),
    /// The thing is as it was, and nothing that was started for the deed is still at work.
    NotApplied,
    /// Neither can be said; the run ends in doubt.
    CannotTell {
        /// What was seen.
        seen: String,
    },
}

impl Look {
    /// Looking could not tell.
    #[must_use]
    pub fn cannot_tell(seen: impl Into<String>) -> Self {
        Self::CannotTell { seen: seen.into() }
    }
}

/// The undo class of a service's actions: what was started can be stopped and the other way round;
/// nothing takes back a restart, a reload or a signal.
pub(super) const fn undo_of(action: Action) -> UndoClass {
    match action {
        Action::Start | Action::Stop | Action::Activate => UndoClass::Automatic,
        Action::Restart | Action::Reload => UndoClass::None,
        Action::Set => UndoClass::Expires,
    }
}

/// An observation that was needed before an effect failed: nothing was done.
#[expect(clippy::needless_pass_by_value, reason = "given to map_err by name in a dozen places")]
pub(super) fn not_seen(error: ReadError) -> ActError {
    ActError::Failed(format!("cannot look before acting: {}", in_words(&error)))
}

/// The error in words.
pub(super) fn in_words(error: &ReadError) -> String {
    match error {
        ReadError::NotFound => "not found".to_owned(),
        ReadError::Timeout => "took too long".to_owned(),
        ReadError::Unavailable(why) | ReadError::Malformed(why) => why.clone(),
        ReadError::TooLarge(size) => format!("{size} bytes are too large"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_reads_back_from_the_journal_as_it_was_written() {
        let label: Label = "flag".parse().expect("a label");
        let expect = Revision("flag:1".to_owned());
        let hold = Duration::from_hours(1);
        let deed = Deed::SetFlag { label, value: "off".to_owned(), expect, hold };
        let text = serde_json::to_string(&deed).expect("JSON");
        assert_eq!(text, r#"{"deed":"set-flag","label":"flag","value":"off","expect":"flag:1","hold_ms":3600000}"#);
        assert_eq!(serde_json::from_str::<Deed>(&text).expect("a deed"), deed);
        assert_eq!(deed.arguments(), "off for 1h");
    }
}
