//! The machine of a whole run: what happened goes in as events, what is to be done comes out as data.
//!
//! The effector drives it and has no interesting `if` of its own. It carries out each call's actions
//! in the order in which they came; an [`Action::Journal`] is durable before the next one is begun,
//! and when it cannot be made durable nothing more is done and the process ends. After a crash it
//! reads the journal back and calls [`Machine::resume`], which works on the same [`Replay`] as the
//! run in progress did: what is left to do is told from the journal alone.
//!
//! ```text
//! open -> check again -> component <-> calls -> claim -> confirm -> end
//!              |             |                    |          |
//!              +-------------+---- failing -------+----------+--> undo -> end
//! ```
//!
//! What holds at every instant, whatever comes in:
//!
//! - An intent is in the journal before [`Action::Perform`], an outcome before the reply.
//! - An irreversible deed is performed only once the log holds its intent; until then the run can be halted, and
//!   nothing was done.
//! - No deed is performed twice. A deed whose outcome is not in the journal is looked at.
//! - An effect in progress is never abandoned: its outcome is journalled also when the run was
//!   halted meanwhile.
//! - Under a permit that names a kill point, [`Action::EndProcess`] comes instead of the first deed's outcome,
//!   once. Nothing follows it in this process; the next one finds a deed to look at.
//! - Exactly one [`Action::End`], after the entry that ends the journal. Only a crash before the
//!   record is durable makes it come again, with the same record.
//!
//! Nothing here does I/O or reads a clock; [`Now`] is passed in.

mod act;
mod approved;
mod charter;
mod confirm;
mod course;
mod event;
mod publish;

pub use charter::{Charter, InvalidCharter};
pub use event::{Action, Event, Now};
pub use publish::{FRESH_FOR, PUBLISHED_WITHIN};

use crate::call::Call;
use crate::execution::Limits;
use crate::journal::{Deed, Malformed, Replay};
use fettle_model::check::Status;
use fettle_model::run::FAULT_STEP;
use fettle_model::time::BootInstant;

/// After so many resumptions the run ends in doubt: something about it brings the agent down.
pub const MAX_RESUMES: u32 = 5;
/// Most host calls of one run; the worker counts them too, and is not relied upon.
pub const MAX_CALLS: u32 = Limits::for_duration(std::time::Duration::ZERO).host_calls;
/// Most changing calls of one run, the refused ones included: the longest list in its record.
pub const MAX_CHANGING_CALLS: u32 = Limits::for_duration(std::time::Duration::ZERO).changing_calls;

/// The machine was driven wrongly, or the journal is not sound: a bug. The run must not go on in
/// this process; after a restart it is told from the journal what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The journal is not one that this agent wrote.
    #[error("the run's journal is malformed")]
    Journal(#[source] Malformed),
    /// The journal is of another run than the permit.
    #[error("the journal is not that of the permit")]
    OtherRun,
    /// An event came for which nobody had asked.
    #[error("the event {event} was not asked for")]
    Unasked {
        /// Which kind.
        event: &'static str,
    },
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Self::Journal(malformed)
    }
}

/// One run.
#[derive(Debug, Clone)]
pub struct Machine<D: Deed> {
    charter: Charter,
    replay: Replay<D>,
    state: State<D>,
}

/// What is awaited.
#[derive(Debug, Clone, PartialEq)]
enum State<D: Deed> {
    /// The check's status, before the first effect.
    Checking,
    /// The fault that a drill injects.
    PlanningFault,
    /// The component's next call.
    Computing,
    /// The answer to an observing call.
    Looking { index: u32, call: Call },
    /// The end of a sleep.
    Sleeping { until: BootInstant },
    /// What is there before a deed.
    Preparing { what: What<D> },
    /// That the log holds an intent, the deed being irreversible.
    Publishing { what: What<D>, before: D::Before, since: BootInstant, until: BootInstant },
    /// The check's status once more: the log took long, and nothing was done yet.
    CheckingAgain { what: What<D>, before: D::Before },
    /// A deed's outcome.
    Acting { what: What<D> },
    /// What looking finds after a crash.
    LookingAfterCrash { what: Unsettled },
    /// The check's status, after a claim that nothing was done.
    Rechecking { until: BootInstant },
    /// The host's own confirmation.
    Confirming { until: BootInstant, healthy_since: Option<BootInstant>, last: Status },
    /// Nothing: the run has ended.
    Ended,
}

/// Whose deed it is.
#[derive(Debug, Clone, PartialEq)]
enum What<D: Deed> {
    /// A call's.
    Call { index: u32, number: u32, call: Call, deed: D },
    /// A drill's.
    Fault { deed: D },
    /// An inverse.
    Undo { of: u32, deed: D },
}

impl<D: Deed> What<D> {
    const fn deed(&self) -> &D {
        match self {
            Self::Call { deed, .. } | Self::Fault { deed } | Self::Undo { deed, .. } => deed,
        }
    }

    /// Its number among the run's steps; `None` for an inverse, which is none.
    const fn number(&self) -> Option<u32> {
        match self {
            Self::Call { number, .. } => Some(*number),
            Self::Fault { .. } => Some(FAULT_STEP),
            Self::Undo { .. } => None,
        }
    }
}

/// What a crash left without outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsettled {
    Step { index: u32 },
    Undo { of: u32 },
}

impl<D: Deed> Machine<D> {
    /// The journal so far.
    #[must_use]
    pub const fn journal(&self) -> &Replay<D> {
        &self.replay
    }

    /// Whether [`Action::End`] was given out.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// When [`Event::Tick`] is wanted at the latest, on the boot clock. `None` only where what is awaited
    /// has its own bound: a look or a deed that somebody carries out, which always comes back.
    #[must_use]
    pub fn wakes_at(&self) -> Option<BootInstant> {
        match &self.state {
            State::Sleeping { until } | State::Publishing { until, .. } => Some((*until).min(self.replay.deadline())),
            State::Checking
            | State::PlanningFault
            | State::Computing
            | State::Looking { .. }
            | State::Preparing { what: What::Call { .. } | What::Fault { .. } }
            | State::CheckingAgain { .. }
            | State::Acting { what: What::Call { .. } | What::Fault { .. } } => {
                (!self.replay.is_halted()).then(|| self.replay.deadline())
            }
            State::Rechecking { until } | State::Confirming { until, .. } => Some(*until),
            State::Preparing { what: What::Undo { .. } }
            | State::Acting { what: What::Undo { .. } }
            | State::LookingAfterCrash { .. }
            | State::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests;
