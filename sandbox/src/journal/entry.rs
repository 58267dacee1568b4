//! The entries of a journal. Written in the order in which things became known; each carries the
//! wall-clock time at which the effector knew it.

use super::deed::{Deed, Look};
use crate::call::{ActError, Call, Reply};
use crate::execution::Stop;
use fettle_model::check::Status;
use fettle_model::id::{BootId, PermitId, RunId};
use fettle_model::run::{Claim, Ending};
use fettle_model::time::{BootInstant, UnixMillis};
use serde::{Deserialize, Serialize};

/// Format of a journal. A journal of another one is malformed for this agent.
pub const VERSION: u32 = 1;

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry", bound = "", deny_unknown_fields)]
pub enum Entry<D: Deed> {
    /// The permit is used and the run has begun. Always the first, only once.
    Opened {
        /// [`VERSION`].
        version: u32,
        /// The run.
        run: RunId,
        /// Its permit.
        permit: PermitId,
        /// The boot on whose clock the two instants count.
        boot: BootId,
        /// When.
        at: UnixMillis,
        /// When, on the boot clock.
        started: BootInstant,
        /// No effect starts after this.
        deadline: BootInstant,
    },
    /// The effector came back after a crash.
    Resumed {
        /// When.
        at: UnixMillis,
        /// In which boot.
        boot: BootId,
    },
    /// The run's check was run again.
    Checked {
        /// When.
        at: UnixMillis,
        /// What it said.
        status: Status,
    },
    /// A call that only observes was answered.
    Read {
        /// The call's place among all calls, from 0.
        index: u32,
        /// When.
        at: UnixMillis,
        /// What was asked.
        call: Call,
        /// What was answered.
        reply: Reply,
    },
    /// A sleep began. It is answered at `until`, also after a crash: it does not start again.
    Slept {
        /// The call's place among all calls.
        index: u32,
        /// When.
        at: UnixMillis,
        /// The call.
        call: Call,
        /// When it ends, on the boot clock.
        until: BootInstant,
    },
    /// A changing call was refused before the host was touched.
    Refused {
        /// The call's place among all calls.
        index: u32,
        /// Its place among the changing calls, from 1.
        number: u32,
        /// When.
        at: UnixMillis,
        /// What was asked.
        call: Call,
        /// Why.
        error: ActError,
    },
    /// A change is about to be made.
    Intent {
        /// The call's place among all calls; 0 for a fault.
        index: u32,
        /// Its place among the changing calls, from 1.
        number: u32,
        /// When.
        at: UnixMillis,
        /// Who asked for what.
        asked: Asked<D>,
        /// What was there before.
        before: D::Before,
    },
    /// What came of the intent before it.
    Outcome {
        /// The intent's index.
        index: u32,
        /// When.
        at: UnixMillis,
        /// What.
        result: Result<D::Done, ActError>,
    },
    /// What looking found of the intent before it, after a crash.
    Resolved {
        /// The intent's index.
        index: u32,
        /// When.
        at: UnixMillis,
        /// What.
        look: Look<D::Done>,
    },
    /// The component ended.
    Returned {
        /// When.
        at: UnixMillis,
        /// What it claims, or why it was stopped.
        claim: Result<Claim, Stop>,
        /// Fuel that it used.
        fuel: u64,
    },
    /// The run was ended from outside of the component. A second one is only ever
    /// [`Halt::Ordered`]. It may stand between an intent and its outcome: an effect in progress is
    /// finished.
    Halted {
        /// When.
        at: UnixMillis,
        /// Why.
        cause: Halt,
    },
    /// The host's own confirmation began; again after each resumption.
    Confirming {
        /// When.
        at: UnixMillis,
    },
    /// The host's own confirmation ended.
    Confirmed {
        /// When.
        at: UnixMillis,
        /// Passing: it was so for long enough. Otherwise what was seen last.
        status: Status,
    },
    /// The inverse of a step is about to be run.
    UndoIntent {
        /// Index of the intent that it undoes.
        of: u32,
        /// When.
        at: UnixMillis,
        /// The inverse.
        deed: D,
        /// What was there before.
        before: D::Before,
    },
    /// What came of the inverse; without an intent before it where it was refused.
    UndoOutcome {
        /// Index of the intent that it undoes.
        of: u32,
        /// When.
        at: UnixMillis,
        /// What.
        result: Result<D::Done, ActError>,
    },
    /// What looking found of the inverse, after a crash.
    UndoResolved {
        /// Index of the intent that it undoes.
        of: u32,
        /// When.
        at: UnixMillis,
        /// What.
        look: Look<D::Done>,
    },
    /// The run ended. Always the last, only once.
    Ended {
        /// When.
        at: UnixMillis,
        /// How.
        ending: Ending,
        /// Why, for people.
        summary: String,
    },
}

/// By when an entry must outlast a power cut. Any entry that was written outlasts the end of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Before anything else is done: something on the host, or a promise, stands on it.
    AtOnce,
    /// With the next entry that is durable at once. Nothing was done since the one before: a journal that
    /// ends earlier is as true, and after a power cut the host's boot is another one, in which no run goes on.
    WithNext,
}

impl<D: Deed> Entry<D> {
    /// By when it must be durable.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        match self {
            Self::Checked { .. } | Self::Read { .. } | Self::Slept { .. } | Self::Refused { .. } => {
                Durability::WithNext
            }
            Self::Opened { .. }
            | Self::Resumed { .. }
            | Self::Intent { .. }
            | Self::Outcome { .. }
            | Self::Resolved { .. }
            | Self::Returned { .. }
            | Self::Halted { .. }
            | Self::Confirming { .. }
            | Self::Confirmed { .. }
            | Self::UndoIntent { .. }
            | Self::UndoOutcome { .. }
            | Self::UndoResolved { .. }
            | Self::Ended { .. } => Durability::AtOnce,
        }
    }
}

/// Who asked for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "by", content = "what")]
pub enum Asked<D> {
    /// The playbook.
    Playbook(Call),
    /// A drill, which injects a fault; no playbook runs.
    Drill(D),
}

impl<D: Deed> Asked<D> {
    /// The deed; `None` for a call that only observes, which a sound journal has not.
    #[must_use]
    pub fn deed(&self) -> Option<D> {
        match self {
            Self::Playbook(call) => D::of(call),
            Self::Drill(deed) => Some(deed.clone()),
        }
    }
}

/// Why a run was ended from outside of the component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "halt", deny_unknown_fields)]
pub enum Halt {
    /// The worker died or broke its protocol.
    WorkerDied {
        /// What is known of it.
        detail: String,
    },
    /// The run took longer than it may.
    Deadline,
    /// It asked more than a run may ask.
    TooManyCalls,
    /// It asked for something outside of the approved plan.
    OffPlan,
    /// A stop order.
    Ordered {
        /// Whose and why, for people.
        why: String,
    },
    /// The host was booted anew; the permit does not hold any more.
    Rebooted,
    /// No fault could be chosen for the drill; nothing was done.
    NoFault {
        /// Why.
        why: String,
    },
    /// The replay asked for something else than is recorded.
    Mismatch {
        /// Which call.
        index: u32,
        /// What is recorded there.
        expected: String,
        /// What was asked now.
        got: String,
    },
    /// The host's answer does not fit the call.
    BadReply {
        /// The call.
        call: String,
    },
}
