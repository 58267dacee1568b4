//! Between effector and worker.
//!
//! One worker serves one job and dies. It gets a job, asks host calls one at a time, and says how the
//! component ended. A component may be loaded before its job is known to come; none of its code runs then. It never sees a permit, a unit's name, a path or a key that is good for anything
//! but its own package.

use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::GrantKind;
use fettle_sandbox::call::{Call, Reply};
use fettle_sandbox::execution::{Execution, Limits, Trigger};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// From the effector.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message", deny_unknown_fields)]
pub enum ToWorker {
    /// Compile a package; its bytes follow. Answered by [`FromWorker::Compiled`].
    Compile {
        /// The key under which the result is sealed.
        key: SealKey,
    },
    /// Load a component, instead of the one before; its sealed artifact's bytes follow. Answered only when it
    /// cannot be loaded, by [`FromWorker::Failed`].
    Load {
        /// The package.
        package: PlaybookDigest,
        /// The key under which its artifact was sealed.
        key: SealKey,
    },
    /// Run the component that is loaded. Answered by calls, then by [`FromWorker::Returned`].
    Run(Box<RunJob>),
    /// The answer to a call.
    Reply {
        /// What the playbook is told.
        reply: Reply,
    },
}

/// One run of a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunJob {
    /// The package that must be loaded.
    pub package: PlaybookDigest,
    /// The kinds of capability that are linked.
    pub grants: BTreeSet<GrantKind>,
    /// What the playbook is told of the fault.
    pub trigger: Trigger,
    /// What it may use.
    pub limits: Limits,
}

/// The key for one package's artifacts. `Debug` hides it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealKey(pub [u8; 32]);

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(hidden)")
    }
}

/// From the worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message", deny_unknown_fields)]
pub enum FromWorker {
    /// It has locked itself in and waits for a job.
    Ready {
        /// Names its engine.
        engine: String,
        /// What of the lock could not be applied here, for people.
        missing: Vec<String>,
    },
    /// A host call; the worker waits for its [`ToWorker::Reply`].
    Call {
        /// What.
        call: Call,
    },
    /// The component ended.
    Returned {
        /// How.
        execution: Execution,
    },
    /// A package is compiled; the sealed artifact's bytes follow.
    Compiled,
    /// A job cannot be done.
    Failed {
        /// Why, for people.
        detail: String,
    },
}
