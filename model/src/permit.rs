//! Requests for permits, and permits.
//!
//! A permit is the record `permit-granted`: its envelope, its position and the proof of its
//! inclusion in a signed checkpoint travel together. It is good for one run on one host, once.
//!
//! Time: `lease` counts from [`PermitRequest::sent_at`] on the *agent's* boot clock (security notes,
//! section 5.2: counting from receipt breaks the concurrency bound). The control plane counts
//! `lease + run_within + effect_within + margin` from the grant on its own clock before it gives the slot back.

use crate::check::CheckRef;
use crate::counter::{ConfigurationGeneration, Fence, LogPosition, StopEpoch, TransitionEpoch};
use crate::digest::{DocumentDigest, KeyId, PlaybookDigest};
use crate::escalation::Rung;
use crate::evidence::Fault;
use crate::id::{BootId, DrillId, HostId, PermitId, ProposalId, RequestId, RunId};
use crate::name::{Label, RemediationName};
use crate::offline::{UnitNumber, Units};
use crate::playbook::Action;
use crate::remediation::{Parameters, PlaybookVersion};
use crate::run::PlannedStep;
use crate::time::{BootInstant, millis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// No inverse step starts later than `run_within`, the manifest's `confirm.within` and this after the
/// run's start. The effector keeps to it also after a crash; the control plane holds the permit's slot for
/// it where the manifest undoes. 100 inverse steps of three seconds.
pub const UNDO_WITHIN: Duration = Duration::from_mins(5);

/// A real thing on a host that a label is bound to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Target {
    /// A systemd unit.
    SystemdUnit {
        /// Its full name, `nginx.service`.
        unit: String,
    },
    /// A service with start, stop and status commands, registered in the agent's configuration.
    CommandService {
        /// The name of its table there.
        name: String,
    },
    /// A symlink layout of releases.
    ReleaseRoot {
        /// Absolute path of the folder that holds `releases/` and `current`.
        root: String,
    },
    /// One flag in a flagd-format file.
    Flag {
        /// Absolute path of the file.
        file: String,
        /// The flag's key.
        key: String,
    },
    /// A check of the service.
    Health {
        /// Which one.
        check: CheckRef,
    },
    /// Facts about the host.
    Facts,
}

/// What kind of thing a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A systemd unit.
    SystemdUnit,
    /// A service with start, stop and status commands.
    CommandService,
    /// A symlink layout of releases.
    ReleaseRoot,
    /// One flag in a flagd-format file.
    Flag,
    /// A check of the service.
    Health,
    /// Facts about the host.
    Facts,
}

impl Target {
    /// What kind of thing it is.
    #[must_use]
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::SystemdUnit { .. } => TargetKind::SystemdUnit,
            Self::CommandService { .. } => TargetKind::CommandService,
            Self::ReleaseRoot { .. } => TargetKind::ReleaseRoot,
            Self::Flag { .. } => TargetKind::Flag,
            Self::Health { .. } => TargetKind::Health,
            Self::Facts => TargetKind::Facts,
        }
    }

    /// What it is called wherever it stands: the unit, the registered service, the flag's key, the check. A
    /// unit's instance (`worker@3.service`) is one of its template. `None` for what is known by its place
    /// alone: paths differ from host to host.
    #[must_use]
    pub fn called(&self) -> Option<String> {
        match self {
            Self::SystemdUnit { unit } => Some(template(unit)),
            Self::CommandService { name } => Some(name.clone()),
            Self::Flag { key, .. } => Some(key.clone()),
            Self::Health { check } => Some(check.to_string()),
            Self::ReleaseRoot { .. } | Self::Facts => None,
        }
    }
}

/// A unit's name without its instance.
fn template(unit: &str) -> String {
    match (unit.split_once('@'), unit.rsplit_once('.')) {
        (Some((template, _)), Some((_, kind))) => format!("{template}@.{kind}"),
        (Some(_) | None, Some(_) | None) => unit.to_owned(),
    }
}

/// A label with the thing it is bound to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundTarget {
    /// The manifest's label.
    pub label: Label,
    /// The thing.
    pub target: Target,
}

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Purpose {
    /// To answer a fault.
    Remediate {
        /// The check that is critical.
        check: CheckRef,
        /// The transition that it answers. A later one makes the permit void.
        epoch: TransitionEpoch,
        /// The remediation that binds them.
        remediation: RemediationName,
        /// The rung of its list.
        #[serde(default, skip_serializing_if = "Rung::is_first")]
        rung: Rung,
    },
    /// To inject a drill's fault; no playbook runs.
    InjectFault {
        /// The drill.
        drill: DrillId,
        /// The fault.
        fault: Fault,
    },
    /// To show in a drill that the playbook changes nothing where nothing is wrong: it runs although the check
    /// passes.
    Repeat {
        /// The drill.
        drill: DrillId,
        /// The check that the playbook has healed.
        check: CheckRef,
        /// The remediation that binds them.
        remediation: RemediationName,
    },
    /// To answer faults while the control plane cannot be reached: a budget given in advance ([`crate::offline`]).
    Offline {
        /// The check that would be critical.
        check: CheckRef,
        /// The remediation that binds them, with its first playbook.
        remediation: RemediationName,
    },
}

/// An agent's request. Kept by the agent before it is sent; asked again with the same id after a
/// lost connection, and then answered with the same permit or refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermitRequest {
    /// Its id.
    pub request: RequestId,
    /// The run that it would be, chosen by the agent.
    pub run: RunId,
    /// The host.
    pub host: HostId,
    /// The boot on whose clock `sent_at` counts.
    pub boot: BootId,
    /// When it was sent, on that boot's clock.
    pub sent_at: BootInstant,
    /// What for.
    pub purpose: Purpose,
    /// The playbook's version that the agent holds ready; `None` where no playbook runs.
    pub playbook: Option<PlaybookDigest>,
    /// What the owner bound to its labels. Never empty.
    pub targets: Vec<BoundTarget>,
    /// The configuration that the agent holds.
    pub configuration: ConfigurationGeneration,
}

/// A signed, short-lived, single-use authority for one run on one host; where it is given in advance, for as many runs
/// as it has units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// Its id.
    pub permit: PermitId,
    /// The request that it answers.
    pub request: RequestId,
    /// The run.
    pub run: RunId,
    /// The host.
    pub host: HostId,
    /// The boot.
    pub boot: BootId,
    /// When the request was sent, on that boot's clock.
    pub sent_at: BootInstant,
    /// The run must have started this long after `sent_at`.
    #[serde(with = "millis", rename = "lease_ms")]
    pub lease: Duration,
    /// No effect starts later than this after the run's start.
    #[serde(with = "millis", rename = "run_within_ms")]
    pub run_within: Duration,
    /// No single effect takes longer than this.
    #[serde(with = "millis", rename = "effect_within_ms")]
    pub effect_within: Duration,
    /// Fencing token of the host.
    pub fence: Fence,
    /// The newest stop order at the time of the grant.
    pub stop_epoch: StopEpoch,
    /// The configuration under which it was decided.
    pub configuration: ConfigurationGeneration,
    /// The policies by which it was decided: SHA-256 of their text and schema.
    pub policies: DocumentDigest,
    /// What for.
    pub purpose: Purpose,
    /// The playbook's version; `None` where no playbook runs.
    pub playbook: Option<PlaybookVersion>,
    /// What it is given.
    pub parameters: Parameters,
    /// What it may touch and do.
    pub targets: Vec<PermittedTarget>,
    /// Changing calls at most, in one run.
    pub actions: u32,
    /// Runs at most: one, but for a budget given in advance.
    #[serde(default = "one_unit", skip_serializing_if = "Units::is_one")]
    pub units: Units,
    /// Which unit of a budget given in advance this is; see [`Permit::unit`]. No record has it.
    #[serde(skip)]
    pub unit: Option<UnitNumber>,
    /// The drill to which the run belongs.
    #[serde(default)]
    pub drill: Option<DrillId>,
    /// Where a drill has the run killed; `None` for every run but that one of a drill.
    #[serde(default)]
    pub kill: Option<KillPoint>,
    /// What people approved, in mode `approve`.
    #[serde(default)]
    pub approved: Option<ApprovedPlan>,
    /// Positions of the records that the decision rests on: the evidence, the configuration.
    pub grounds: Vec<LogPosition>,
}

const fn one_unit() -> Units {
    Units::ONE
}

/// Where a run is killed: the effector's process ends there as in a crash, and its next life finishes the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillPoint {
    /// When the playbook's first deed is done, and before its outcome is in the journal: the one place from which
    /// the next life has to look, to replay and to go on.
    FirstDeed,
}

/// The proposal that people approved, with the plan that bounds the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedPlan {
    /// The proposal. It is used up by this permit.
    pub proposal: ProposalId,
    /// The changing calls that may be made, each once. Another one is refused before the host is touched.
    pub steps: Vec<PlannedStep>,
}

/// A bound target with the actions that the permit allows on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermittedTarget {
    /// The label.
    pub label: Label,
    /// The thing.
    pub target: Target,
    /// The changing actions.
    pub actions: BTreeSet<Action>,
}

/// Why an agent refused a permit. The agent's own record; nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule", deny_unknown_fields)]
pub enum PermitRejection {
    /// The envelope's signature does not hold, or it is malformed.
    BadSignature,
    /// It is signed by another key than the one that this host pinned: another control plane's, or a forger's.
    ForeignKey {
        /// The key.
        key: KeyId,
    },
    /// It is not proven to be in the log.
    NotInLog,
    /// It names another host.
    OtherHost,
    /// It names another boot, or a request this agent did not make.
    OtherRequest,
    /// It was used before.
    Replayed,
    /// The lease has run out.
    Expired {
        /// How long after the request it arrived.
        age_ms: u64,
        /// The lease, less the allowance for clock rate.
        lease_ms: u64,
    },
    /// A higher fence was seen.
    StaleFence {
        /// The permit's.
        fence: Fence,
        /// The highest seen.
        seen: Fence,
    },
    /// A newer stop order was seen.
    Stopped {
        /// The permit's.
        epoch: StopEpoch,
        /// The newest seen.
        seen: StopEpoch,
    },
    /// The playbook's bytes are not those of the digest, or its publisher is not trusted here.
    PlaybookUntrusted,
    /// The targets are not those that the owner bound.
    TargetsDiffer {
        /// The first label that differs.
        label: Label,
    },
    /// It would allow more than the ceiling.
    AboveCeiling {
        /// The label.
        label: Label,
        /// The action.
        action: Action,
    },
    /// The owner does not allow drills, or not this fault; or a run is to be killed that heals no drill known here.
    DrillsRefused,
    /// Another run is in progress on this host.
    Busy,
    /// The log forked: this agent only observes.
    LogForked,
    /// A budget given in advance allows what cannot be undone, or nothing was asked for in advance.
    NotForOffline,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_called_the_same_wherever_it_stands() {
        let unit = |unit: &str| Target::SystemdUnit { unit: unit.to_owned() }.called();
        assert_eq!(unit("nginx.service").as_deref(), Some("nginx.service"));
        assert_eq!(unit("worker@3.service").as_deref(), Some("worker@.service"));
        assert_eq!(unit("worker@eu.west.service"), unit("worker@3.service"));
        let flag = |file: &str| Target::Flag { file: file.to_owned(), key: "sale".to_owned() }.called();
        assert_eq!(flag("/a/flags.json"), flag("/b/flags.json"));
        assert_eq!(Target::ReleaseRoot { root: "/srv/web".to_owned() }.called(), None);
    }
}
