//! Between effector and worker.
//!
//! One worker serves one job and dies. It gets a job, asks host calls one at a time, and says how the
//! component ended. It never sees a permit, a unit's name, a path or a key.

use fettle_model::playbook::GrantKind;
use fettle_model::run::Claim;
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::{Call, Reply};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// From the effector.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message", deny_unknown_fields)]
pub enum ToWorker {
    /// Compile a package. Answered by [`FromWorker::Compiled`].
    Compile {
        /// The package, base64.
        package: String,
    },
    /// Run a component. Answered by calls, then by [`FromWorker::Returned`].
    Run(Box<Job>),
    /// The answer to a call.
    Reply {
        /// What the playbook is told.
        reply: Reply,
    },
}

/// One run of a component.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The compiled component, base64; the effector has verified its MAC.
    pub artifact: String,
    /// The kinds of capability that are linked.
    pub grants: BTreeSet<GrantKind>,
    /// What the playbook is told of the fault.
    pub trigger: TriggerText,
    /// Fuel.
    pub fuel: u64,
    /// Wall-clock backstop in milliseconds.
    pub deadline_ms: u64,
}

/// The trigger as the playbook's `run` receives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerText {
    /// The run's id.
    pub run: String,
    /// `service/check`, or the drill.
    pub alert: String,
    /// When the transition was seen.
    pub fired: UnixMillis,
    /// Named values: service, check, environment.
    pub labels: Vec<(String, String)>,
    /// Canonical JSON of the parameters.
    pub parameters: String,
}

/// From the worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "message", deny_unknown_fields)]
pub enum FromWorker {
    /// It has locked itself in and waits for a job.
    Ready {
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
        /// What it returned, or how it was ended.
        claim: Claim,
        /// Fuel used.
        fuel: u64,
    },
    /// A package is compiled.
    Compiled {
        /// The artifact, base64; the effector gives it a MAC.
        artifact: String,
    },
    /// A package cannot be compiled.
    CompileFailed {
        /// Why, for people.
        detail: String,
    },
}
