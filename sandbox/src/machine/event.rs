//! What goes into the machine and what comes out.

use crate::call::{ActError, Call, Reply};
use crate::execution::Execution;
use crate::journal::{Deed, Entry, Look};
use fettle_model::check::{CheckRef, Status};
use fettle_model::evidence::Fault;
use fettle_model::id::BootId;
use fettle_model::run::{RunRecord, StepIntended};
use fettle_model::time::{BootInstant, UnixMillis};

/// One reading of the host's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The boot.
    pub boot: BootId,
    /// Its clock.
    pub on_boot: BootInstant,
    /// The wall clock.
    pub wall: UnixMillis,
}

/// What happened.
///
/// [`Event::FaultPlanned`], [`Event::Prepared`], [`Event::Acted`] and [`Event::LookedAfterCrash`]
/// answer one action each and are errors when nobody asked. The others may come late, after the
/// run was halted, and are ignored then.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<D: Deed> {
    /// Answers [`Action::RerunCheck`].
    CheckRerun(Status),
    /// Answers [`Action::PlanFault`]; an error says why there is nothing to inject.
    FaultPlanned(Result<D, String>),
    /// The component asks.
    WorkerCalled(Call),
    /// Answers [`Action::Look`].
    Looked(Reply),
    /// Answers [`Action::Before`].
    Prepared(Result<D::Before, ActError>),
    /// The log holds the intent that [`Action::Publish`] gave it.
    Published {
        /// The step's number.
        number: u32,
    },
    /// Answers [`Action::Perform`].
    Acted(Result<D::Done, ActError>),
    /// Answers [`Action::LookAfterCrash`].
    LookedAfterCrash(Look<D::Done>),
    /// The component ended.
    WorkerReturned(Execution),
    /// The worker is gone, or broke its protocol.
    WorkerDied {
        /// What is known of it.
        detail: String,
    },
    /// A stop order covers this run.
    StopOrdered {
        /// Whose and why, for people.
        why: String,
    },
    /// The check that confirms was probed; comes again and again after [`Action::WatchCheck`].
    ConfirmSaw(Status),
    /// Time went by; wanted at [`super::Machine::wakes_at`].
    Tick,
}

impl<D: Deed> Event<D> {
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::CheckRerun(_) => "check-rerun",
            Self::FaultPlanned(_) => "fault-planned",
            Self::WorkerCalled(_) => "worker-called",
            Self::Looked(_) => "looked",
            Self::Prepared(_) => "prepared",
            Self::Published { .. } => "published",
            Self::Acted(_) => "acted",
            Self::LookedAfterCrash(_) => "looked-after-crash",
            Self::WorkerReturned(_) => "worker-returned",
            Self::WorkerDied { .. } => "worker-died",
            Self::StopOrdered { .. } => "stop-ordered",
            Self::ConfirmSaw(_) => "confirm-saw",
            Self::Tick => "tick",
        }
    }
}

/// What is to be done. Actions are carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action<D: Deed> {
    /// Make this entry durable before anything that follows it.
    Journal(Entry<D>),
    /// Run this check now, once.
    RerunCheck(CheckRef),
    /// Choose what exactly injects this fault; changes nothing.
    PlanFault(Fault),
    /// Start the component, from its beginning.
    StartWorker,
    /// Answer the component's call.
    Reply(Reply),
    /// Ask the host; changes nothing.
    Look(Call),
    /// Look before a deed, and refuse it where it is stale; changes nothing.
    Before(D),
    /// Have this in the log, and say when it is there. It may take for ever; the machine does not wait so long.
    Publish(Box<StepIntended>),
    /// Change the host. Must be driven to its end.
    Perform {
        /// What.
        deed: D,
        /// What was there before.
        before: D::Before,
    },
    /// Tell from the thing itself whether a deed happened; changes nothing.
    LookAfterCrash {
        /// Which.
        deed: D,
        /// What was there before.
        before: D::Before,
    },
    /// Probe this check again and again until [`Action::StopWatching`] or the end.
    WatchCheck(CheckRef),
    /// No more probes.
    StopWatching,
    /// End this process at once, as a crash would: a drill wants to see what the next one makes of the journal.
    /// Only ever under a permit that names a kill point, and once in a run.
    EndProcess,
    /// End the worker. A look in progress may be dropped; a deed in progress may not.
    KillWorker,
    /// The run has ended: sign and keep its record, and drop the journal with it.
    End(Box<RunRecord>),
}
