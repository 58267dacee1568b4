//! Evidence: what a drill in staging proved of a playbook version.

use crate::counter::LogPosition;
use crate::digest::DocumentDigest;
use crate::host::{HostDescription, ManagerKind, OperatingSystem};
use crate::id::{DrillId, HostId, RunId};
use crate::name::{CheckName, Label, PersonName, ServiceName};
use crate::permit::{PermittedTarget, TargetKind};
use crate::playbook::{Action, GrantKind};
use crate::remediation::PlaybookVersion;
use crate::schedule::DueTime;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a host has in common with others, as far as evidence goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostClass {
    /// The service.
    pub service: ServiceName,
    /// What manages it.
    pub manager: ManagerKind,
    /// The operating system and its version.
    pub os: OperatingSystem,
    /// The machine's architecture.
    pub architecture: String,
}

impl HostClass {
    /// The class of a host for one service; `None` when it does not carry the service.
    #[must_use]
    pub fn of(host: &HostDescription, service: &ServiceName) -> Option<Self> {
        host.services.iter().find(|carried| &carried.name == service).map(|carried| Self {
            service: service.clone(),
            manager: carried.manager,
            os: host.os.clone(),
            architecture: host.architecture.clone(),
        })
    }
}

impl std::fmt::Display for HostClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} by {} on {} {} {}",
            self.service,
            self.manager.as_str(),
            self.os.id,
            self.os.version,
            self.architecture
        )
    }
}

/// A kind of fault that a drill can inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Stop the service.
    StopService,
    /// SIGKILL to the service's main process.
    KillProcess,
    /// Activate the newest release that is not known to be good.
    BadRelease,
    /// Turn the flag on.
    FlagOn,
    /// Take the room in a folder of the service, for a while.
    FillDisk,
    /// Have a TCP port of the host refuse connections, for a while.
    RefusePort,
    /// Stop the service's main process and let it go on in turns, for a while.
    SlowResponses,
}

impl FaultKind {
    /// The kind of grant whose bound thing it hits.
    #[must_use]
    pub const fn kind(self) -> GrantKind {
        match self {
            Self::StopService | Self::KillProcess | Self::SlowResponses => GrantKind::Service,
            Self::BadRelease => GrantKind::Release,
            Self::FlagOn => GrantKind::Flag,
            // What the check looks at depends on it; no playbook is granted anything on it.
            Self::FillDisk | Self::RefusePort => GrantKind::Health,
        }
    }

    /// Whose word the host's owner gives for it.
    #[must_use]
    pub const fn consent(self) -> FaultConsent {
        match self {
            Self::StopService | Self::KillProcess | Self::BadRelease | Self::FlagOn => FaultConsent::WithDrills,
            Self::FillDisk | Self::RefusePort | Self::SlowResponses => FaultConsent::ByName,
        }
    }

    /// The kind as it stands in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StopService => "stop-service",
            Self::KillProcess => "kill-process",
            Self::BadRelease => "bad-release",
            Self::FlagOn => "flag-on",
            Self::FillDisk => "fill-disk",
            Self::RefusePort => "refuse-port",
            Self::SlowResponses => "slow-responses",
        }
    }
}

/// What a host's owner has to say before a kind of fault may be injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultConsent {
    /// That drills are allowed: it hits a thing that is bound, in a way that a playbook could too.
    WithDrills,
    /// That drills are allowed, and the kind by name, with its bounds: it hits more than a bound thing.
    ByName,
}

/// A fault on a bound thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// The label of the playbook whose bound thing it hits.
    pub on: Label,
}

/// A drill: a declared fault on a staging host that the playbook must heal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// Its id.
    pub drill: DrillId,
    /// The version to be proved.
    pub playbook: PlaybookVersion,
    /// The host.
    pub host: HostId,
    /// The service.
    pub service: ServiceName,
    /// The check that must go critical and pass again.
    pub check: CheckName,
    /// The fault.
    pub fault: Fault,
    /// Who asked for it; for a scheduled one, who set the configuration with the schedule.
    pub by: PersonName,
    /// What it was due for; `None`: a person asked for it by hand.
    #[serde(default)]
    pub scheduled: Option<DueTime>,
    /// When it is given up.
    pub deadline: UnixMillis,
}

/// A part of a drill. Each is passed in this order, or the drill proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrillStage {
    /// The fault was injected, the check went critical, the playbook ran, and the check passes again.
    Healed,
    /// The playbook ran once more where nothing was wrong, and changed nothing.
    Repeated,
    /// The fault was injected once more; the run that heals it was killed in the middle, finished all the same,
    /// and the check passes again.
    Killed,
}

impl DrillStage {
    /// The stage as it stands in tables and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::Repeated => "repeated",
            Self::Killed => "killed",
        }
    }
}

/// A drill passed a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillStagePassed {
    /// The drill.
    pub drill: DrillId,
    /// Its host.
    pub host: HostId,
    /// The stage.
    pub stage: DrillStage,
    /// Positions of what shows it: for `healed` and `killed` the critical transition, the run's record and the
    /// passing transition; for `repeated` the run's record.
    pub observed: Vec<LogPosition>,
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrillEnding {
    /// The drill.
    pub drill: DrillId,
    /// Whether the playbook proved itself.
    pub result: DrillResult,
}

/// Whether a drill proved the playbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum DrillResult {
    /// It did; the evidence is a record of its own.
    Proved,
    /// It did not.
    NotProved {
        /// Why, for people.
        reason: String,
    },
}

/// What a label stood for in a drill, and what the playbook might do to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvedGrant {
    /// The label.
    pub label: Label,
    /// The kind of thing that was bound to it.
    pub thing: TargetKind,
    /// What it is called, where it has a name besides its place.
    #[serde(default)]
    pub called: Option<String>,
    /// The changing actions that were permitted.
    pub actions: BTreeSet<Action>,
}

impl ProvedGrant {
    /// What a permit's targets amount to, in the order of the labels.
    #[must_use]
    pub fn of(targets: &[PermittedTarget]) -> Vec<Self> {
        let mut grants: Vec<Self> = targets
            .iter()
            .map(|target| Self {
                label: target.label.clone(),
                thing: target.target.kind(),
                called: target.target.called(),
                actions: target.actions.clone(),
            })
            .collect();
        grants.sort_unstable();
        grants
    }
}

/// The run of a drill that was killed in the middle and finished all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KilledRun {
    /// The run that injected the fault once more.
    pub injection: RunId,
    /// The run that was killed.
    pub healing: RunId,
    /// The step of it after whose deed it was resumed.
    pub step: u32,
}

/// The signed result of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The drill.
    pub drill: DrillId,
    /// The version that was proved.
    pub playbook: PlaybookVersion,
    /// The parameters with which it was.
    pub parameters: DocumentDigest,
    /// What its labels stood for, in the order of the labels. Empty: not known, and it covers nothing.
    #[serde(default)]
    pub grants: Vec<ProvedGrant>,
    /// The class of host.
    pub class: HostClass,
    /// What was injected.
    pub fault: Fault,
    /// The run that injected it.
    pub injection: RunId,
    /// The run that healed it.
    pub healing: RunId,
    /// The second run, which changed nothing. `None`: there was none, and it covers nothing.
    pub repetition: Option<RunId>,
    /// Where the publisher's word on its scenarios stands. `None`: nowhere before the drill, and it covers nothing.
    #[serde(default)]
    pub scenarios: Option<LogPosition>,
    /// The killed run, which finished. `None`: there was none, and it covers nothing.
    #[serde(default)]
    pub killed: Option<KilledRun>,
    /// Positions of what was observed: critical transition, run record, passing transition, the second run's record,
    /// then the same three of the killed run.
    pub observed: Vec<LogPosition>,
    /// When it stops counting.
    pub expires_at: UnixMillis,
}
