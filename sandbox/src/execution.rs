//! One execution of a component as data: what it is given, what it may use, how it ended.
//!
//! The effector writes a [`Trigger`] and [`Limits`] to a worker and reads an [`Execution`] back; it
//! links no engine for that. What the component claims is never a fact: the effector has seen every
//! call itself.

use crate::text::one_line;
use fettle_model::id::{IncidentId, RunId};
use fettle_model::remediation::Parameters;
use fettle_model::run::Claim;
use fettle_model::time::{UnixMillis, millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What starts a run, as the playbook sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// The run.
    pub run: RunId,
    /// The incident that it belongs to, where there is one.
    pub incident: Option<IncidentId>,
    /// What failed, `web/http`.
    pub alert: String,
    /// When it failed.
    pub fired: UnixMillis,
    /// More about where it failed.
    pub labels: BTreeMap<String, String>,
    /// Complete and valid against the manifest.
    pub parameters: Parameters,
}

/// What one execution may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Instructions, roughly. Deterministic: a replay stops at the same one.
    pub fuel: u64,
    /// Linear memory in bytes, all memories together.
    pub memory_bytes: u64,
    /// Table elements, all tables together.
    pub table_elements: u64,
    /// Host calls, the refused ones included.
    pub host_calls: u32,
    /// Changing host calls. A backstop: the permit's own number is the effector's to enforce.
    pub changing_calls: u32,
    /// From instantiation to the end, time spent in host calls included. Computing is interrupted
    /// when it is over; a host call in progress is not.
    #[serde(with = "millis", rename = "wall_ms")]
    pub wall: Duration,
}

impl Limits {
    /// The limits of a playbook whose manifest allows it this long.
    ///
    /// Fuel is 440 times what the dearest measured guest (an interpreter) used for a whole run.
    /// 64 MiB hold a Rust guest's 1.1 MiB many times over. 10 000 calls are one every 30 ms for
    /// five minutes.
    #[must_use]
    pub const fn for_duration(wall: Duration) -> Self {
        Self {
            fuel: 1_000_000_000,
            memory_bytes: 64 * 1024 * 1024,
            table_elements: 10_000,
            host_calls: 10_000,
            changing_calls: 100,
            wall,
        }
    }
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// What the playbook returned, its text cleaned and cut; or why it did not come to that.
    pub claim: Result<Claim, Stop>,
    /// Fuel that it used.
    pub fuel_used: u64,
}

/// Why a component was stopped before it returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "stop", deny_unknown_fields)]
pub enum Stop {
    /// It trapped: a panic, an access out of bounds, too deep a recursion, too much data in one
    /// call, too many handles, or it left the component model's rules.
    #[error("the playbook trapped: {message}")]
    Trap {
        /// What the engine says; at most [`MAX_TRAP_BYTES`], no control characters.
        message: String,
    },
    /// The engine could not start it: more instances, memories or tables than it may have, or this
    /// machine lacks memory or threads.
    #[error("the playbook could not be started: {message}")]
    NotStarted {
        /// What the engine says; at most [`MAX_TRAP_BYTES`], no control characters.
        message: String,
    },
    /// It used up its fuel.
    #[error("the playbook used up its fuel")]
    OutOfFuel,
    /// It took too long.
    #[error("the playbook took longer than it may")]
    Deadline,
    /// It wanted more memory.
    #[error("the playbook asked for more memory than it may have")]
    MemoryLimit,
    /// It wanted larger tables.
    #[error("the playbook asked for larger tables than it may have")]
    TableLimit,
    /// It made too many host calls, or too many changing ones.
    #[error("the playbook made more host calls than it may")]
    HostCallLimit,
    /// The host could not be asked any more.
    #[error("the host went away")]
    HostGone,
    /// It imports what it was not granted; none of its code ran.
    #[error("the playbook imports {name}, which it was not granted")]
    ForbiddenImport {
        /// The import's name.
        name: String,
    },
    /// The host answered with another shape than the call has: a journal that does not fit.
    #[error("the host's answer to {call} has the wrong shape")]
    BadReply {
        /// The call.
        call: String,
    },
}

/// Longest message of a trap.
pub const MAX_TRAP_BYTES: usize = 1_024;

impl Stop {
    /// The stop with its text in single lines of at most [`MAX_TRAP_BYTES`]. The engine gives no
    /// others; the effector does not rely on the worker.
    #[must_use]
    pub fn cleaned(self) -> Self {
        let line = |text: String| one_line(&text, MAX_TRAP_BYTES);
        match self {
            Self::Trap { message } => Self::Trap { message: line(message) },
            Self::NotStarted { message } => Self::NotStarted { message: line(message) },
            Self::ForbiddenImport { name } => Self::ForbiddenImport { name: line(name) },
            Self::BadReply { call } => Self::BadReply { call: line(call) },
            Self::OutOfFuel
            | Self::Deadline
            | Self::MemoryLimit
            | Self::TableLimit
            | Self::HostCallLimit
            | Self::HostGone => self,
        }
    }
}

/// The host cannot be asked any more: the effector closed the pipe, or ends the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the host went away")]
pub struct Gone;
