//! Runs: what was done under a permit, step by step, and how it ended.

use crate::check::Status;
use crate::digest::DocumentDigest;
use crate::evidence::FaultKind;
use crate::id::{HostId, PermitId, RequestId, RunId};
use crate::name::Label;
use crate::permit::Purpose;
use crate::playbook::{Action, Reversibility};
use crate::remediation::PlaybookVersion;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// How a run ended. Every run ends in exactly one of these (design, section 2, rule 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// The host confirmed that the check passes.
    Succeeded,
    /// The playbook said it was done, and the check still fails.
    Ineffective,
    /// The playbook failed, trapped, ran out of a limit, or a step failed.
    Failed,
    /// It failed, and its reversible steps were undone.
    Reverted,
    /// The fault was gone before the first effect.
    Superseded,
    /// A person or a stop order ended it.
    Cancelled,
    /// The lease ran out before it started.
    Expired,
    /// Whether an effect happened cannot be told. A person is called.
    InDoubt,
}

impl Ending {
    /// The ending as it stands in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Ineffective => "ineffective",
            Self::Failed => "failed",
            Self::Reverted => "reverted",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::InDoubt => "in-doubt",
        }
    }

    /// Whether the breakers count it as a failure.
    #[must_use]
    pub const fn counts_as_failure(self) -> bool {
        match self {
            Self::Ineffective | Self::Failed | Self::Reverted | Self::InDoubt => true,
            Self::Succeeded | Self::Superseded | Self::Cancelled | Self::Expired => false,
        }
    }
}

/// The agent's account of one run: the one record in which it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// The permit under which it ran.
    pub permit: PermitId,
    /// The request that the permit answered.
    pub request: RequestId,
    /// The host.
    pub host: HostId,
    /// What it was for.
    pub purpose: Purpose,
    /// The playbook; `None` where none ran.
    pub playbook: Option<PlaybookVersion>,
    /// When the permit was accepted.
    pub started_at: UnixMillis,
    /// When it ended.
    pub ended_at: UnixMillis,
    /// How it ended.
    pub ending: Ending,
    /// Why, for people; at most [`MAX_SUMMARY_BYTES`], no control characters.
    pub summary: String,
    /// What the playbook itself said, if it came to that. A claim, not a fact.
    pub claim: Option<Claim>,
    /// What the host's own confirmation saw last.
    pub confirmed: Option<Status>,
    /// Its changing calls in order, the refused ones included.
    pub steps: Vec<Step>,
    /// The inverse steps, in the order in which they were run.
    pub undone: Vec<Step>,
    /// What the playbook said to people.
    pub said: Vec<Said>,
    /// How often it was resumed after a crash.
    pub resumed: u32,
    /// Fuel that the component used.
    pub fuel: u64,
    /// SHA-256 over the canonical JSON of the whole journal, reads included.
    pub journal: DocumentDigest,
}

/// The number of a drill's fault: it is its run's only step.
pub const FAULT_STEP: u32 = 1;
/// Longest summary of a run.
pub const MAX_SUMMARY_BYTES: usize = 1_024;
/// Most lines that a run record keeps of what the playbook said.
pub const MAX_SAID: usize = 256;
/// Longest line of what the playbook said.
pub const MAX_SAID_BYTES: usize = 1_024;

/// What a playbook returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Claim {
    /// The cause is gone.
    Resolved {
        /// In its words.
        summary: String,
    },
    /// Held down for a while.
    Mitigated {
        /// In its words.
        summary: String,
        /// Something must be done before this.
        until: UnixMillis,
    },
    /// There was nothing to do.
    NoAction {
        /// In its words.
        summary: String,
    },
    /// A person must look.
    Escalate {
        /// In its words.
        summary: String,
    },
    /// It failed.
    Failed {
        /// In its words.
        summary: String,
        /// What a person would want to read first.
        detail: Vec<String>,
    },
}

/// One changing call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its number among the run's changing calls, from 1.
    pub number: u32,
    /// What was to be done.
    pub action: Action,
    /// To which label.
    pub label: Label,
    /// Its arguments for people: `release r41`, `off for 1h`.
    pub arguments: String,
    /// When the intent was durable.
    pub intended_at: UnixMillis,
    /// What came of it.
    pub outcome: StepOutcome,
}

impl Step {
    /// Whether the host was asked to do it; what was refused before never reached it.
    #[must_use]
    pub const fn reached_the_host(&self) -> bool {
        match self.outcome {
            StepOutcome::Done { .. } | StepOutcome::Failed { .. } | StepOutcome::Indeterminate { .. } => true,
            StepOutcome::Refused { .. } => false,
        }
    }
}

impl RunRecord {
    /// The steps that reached the host and that nothing takes back, a drill's fault included: each of them waited until
    /// its [`StepIntended`] was in the log. No inverse is one; what is told as such had to be announced too.
    pub fn irreversible_steps(&self) -> impl Iterator<Item = IrreversibleStep> {
        let steps = self.steps.iter().chain(&self.undone).filter(|step| step.reached_the_host());
        let steps = steps.filter(|step| step.action.reversibility() == Reversibility::Irreversible);
        let steps = steps.map(|step| IrreversibleStep {
            number: step.number,
            action: Some(step.action),
            label: step.label.clone(),
        });
        steps.chain(self.killed())
    }

    /// The process that a drill's run has killed.
    fn killed(&self) -> Option<IrreversibleStep> {
        match (&self.purpose, self.ending) {
            (Purpose::InjectFault { fault, .. }, Ending::Succeeded) if fault.kind == FaultKind::KillProcess => {
                Some(IrreversibleStep { number: FAULT_STEP, action: None, label: fault.on.clone() })
            }
            (
                Purpose::InjectFault { .. }
                | Purpose::Remediate { .. }
                | Purpose::Repeat { .. }
                | Purpose::Offline { .. },
                _,
            ) => None,
        }
    }

    /// The step after whose deed a run under [`crate::permit::KillPoint::FirstDeed`] was resumed: the first that
    /// reached the host. `None`: it was never resumed, or did nothing.
    #[must_use]
    pub fn resumed_at(&self) -> Option<u32> {
        let first = self.steps.iter().find(|step| step.reached_the_host());
        first.filter(|_| self.resumed > 0).map(|step| step.number)
    }
}

/// An irreversible effect that waits until this stands in the log (design, section 2, rule 3). The agent's word: what
/// came of it is in the run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepIntended {
    /// The run.
    pub run: RunId,
    /// The permit under which it runs.
    pub permit: PermitId,
    /// The step's number among the run's changing calls, from 1.
    pub number: u32,
    /// What is to be done; `None` for what only a drill's fault does.
    pub action: Option<Action>,
    /// To which label.
    pub label: Label,
    /// Its arguments for people; at most [`MAX_SAID_BYTES`], no control characters.
    pub arguments: String,
    /// When, on the host's clock; right after it the host's journal has the intent.
    pub intended_at: UnixMillis,
}

impl StepIntended {
    /// What it is held against.
    #[must_use]
    pub fn step(&self) -> IrreversibleStep {
        IrreversibleStep { number: self.number, action: self.action, label: self.label.clone() }
    }
}

/// A step that nothing takes back, as it is announced and as it is reported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IrreversibleStep {
    /// Its number among the run's changing calls.
    pub number: u32,
    /// What it does; `None` for what only a drill's fault does.
    pub action: Option<Action>,
    /// To which label.
    pub label: Label,
}

/// What came of a changing call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum StepOutcome {
    /// It happened.
    Done {
        /// Whether the thing was not in the wanted state before.
        change: Change,
        /// How it can be undone.
        undo: UndoClass,
    },
    /// It was refused before the host was touched.
    Refused {
        /// The rule: `stale`, `denied`, `off-plan`, `exhausted`.
        rule: String,
        /// More, for people.
        detail: String,
    },
    /// It was tried and failed; the thing is unchanged.
    Failed {
        /// Why.
        detail: String,
    },
    /// It was tried, and looking cannot tell what came of it.
    Indeterminate {
        /// What was seen.
        detail: String,
    },
}

/// Whether a step changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The thing was changed.
    Made,
    /// It was so already.
    Unneeded,
}

/// How an effect can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoClass {
    /// From the journal, by the effector.
    Automatic,
    /// It ends by itself; undoing ends it early.
    Expires,
    /// Not at all.
    None,
}

/// A line that the playbook wrote for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// When.
    pub at: UnixMillis,
    /// How loud.
    pub level: SaidLevel,
    /// The line, control characters removed.
    pub text: String,
}

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SaidLevel {
    /// A phase began.
    Phase,
    /// For the author.
    Debug,
    /// For the reader.
    Info,
    /// For attention.
    Warn,
}

/// What a run would do: the playbook with real reads and predicted effects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The request that it answers.
    pub request: RequestId,
    /// The run that it would be.
    pub run: RunId,
    /// The host.
    pub host: HostId,
    /// What for.
    pub purpose: Purpose,
    /// The playbook.
    pub playbook: PlaybookVersion,
    /// When it was made.
    pub made_at: UnixMillis,
    /// The changing calls in order.
    pub steps: Vec<PlannedStep>,
    /// What the playbook would have said, its confirmation taken as predicted.
    pub claim: Claim,
}

/// One changing call of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedStep {
    /// What would be done.
    pub action: Action,
    /// To which label.
    pub label: Label,
    /// Its arguments for people.
    pub arguments: String,
    /// Whether it rests on real reads alone, or on an earlier prediction too.
    pub certainty: Certainty,
}

/// What a planned step rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Only on what was really observed.
    Observed,
    /// On the predicted effect of an earlier step.
    Conditional,
}
