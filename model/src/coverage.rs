//! Coverage: what hosts outside staging need to have proved, beside what evidence covers.
//!
//! Made by the control plane's core from its state, sent as rows of the operators' API, shown by the command
//! line. Nothing here is signed, and no permit follows from it: a permit asks for evidence itself.

use crate::counter::LogPosition;
use crate::digest::{DocumentDigest, PlaybookDigest};
use crate::evidence::{Fault, HostClass, ProvedGrant};
use crate::host::{ManagerKind, OperatingSystem};
use crate::id::DrillId;
use crate::name::{HostName, Label, RemediationName, ServiceName};
use crate::remediation::{Mode, PlaybookVersion};
use crate::scenarios::KnownScenarios;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Hosts named with a row; `hosts` counts all of them. A row of a service on 20 000 hosts stays one line.
pub const MAX_HOSTS_NAMED: usize = 5;

/// What one remediation needs evidence for on the hosts of one class that bind the same things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The remediation.
    pub remediation: RemediationName,
    /// The version that it uses.
    pub playbook: PlaybookVersion,
    /// Where that version was admitted: the first stage.
    pub admitted: LogPosition,
    /// What its publisher says of its scenarios, and where: the second stage. `None`: nothing, and it cannot be drilled.
    pub scenarios: Option<KnownScenarios>,
    /// The class of host.
    pub class: HostClass,
    /// The remediation's parameters.
    pub parameters: DocumentDigest,
    /// How many hosts need it.
    pub hosts: u64,
    /// The first of them by name, at most [`MAX_HOSTS_NAMED`].
    pub named: Vec<HostName>,
    /// What evidence says.
    pub finding: Finding,
    /// How a drill would earn it.
    pub earning: Earning,
}

/// Evidence, where it stands, and until when it counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proven {
    /// The drill that earned it.
    pub drill: DrillId,
    /// What it injected.
    pub fault: Fault,
    /// Its record.
    pub position: LogPosition,
    /// When it stops counting, or stopped.
    pub until: UnixMillis,
}

/// What evidence says of what is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Finding {
    /// It is covered.
    Covered {
        /// By this, which counts longest.
        by: Proven,
    },
    /// It was covered.
    Expired {
        /// By this, which counted longest.
        by: Proven,
    },
    /// It is not, and the nearest evidence of the playbook differs in this.
    Differs {
        /// The nearest evidence; it may have expired too.
        nearest: Proven,
        /// Every difference.
        differences: Vec<Difference>,
    },
    /// The playbook has no evidence at all.
    Nothing,
    /// These hosts do not bind every label of the playbook, so there is nothing that evidence could cover.
    Unbound,
}

/// In what evidence differs from what is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "in", deny_unknown_fields)]
pub enum Difference {
    /// Another version of the playbook.
    Version {
        /// That of the evidence.
        proved: PlaybookDigest,
        /// That of the remediation.
        needed: PlaybookDigest,
    },
    /// Other parameters.
    Parameters {
        /// Those of the evidence.
        proved: DocumentDigest,
        /// Those of the remediation.
        needed: DocumentDigest,
    },
    /// Another service.
    Service {
        /// That of the evidence.
        proved: ServiceName,
        /// That of the remediation.
        needed: ServiceName,
    },
    /// Something else manages the service.
    Manager {
        /// What did in the drill.
        proved: ManagerKind,
        /// What does here.
        needed: ManagerKind,
    },
    /// Another operating system, or another version of it.
    OperatingSystem {
        /// That of the drill's host.
        proved: OperatingSystem,
        /// That of the hosts.
        needed: OperatingSystem,
    },
    /// Another architecture.
    Architecture {
        /// That of the drill's host.
        proved: String,
        /// That of the hosts.
        needed: String,
    },
    /// A label stood for something else, or allowed other actions.
    Grant {
        /// The label.
        label: Label,
        /// What it stood for; `None`: it was not bound, or is not known.
        proved: Option<ProvedGrant>,
        /// What it stands for; `None`: it is not bound.
        needed: Option<ProvedGrant>,
    },
}

/// How a drill would earn the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Earning {
    /// By this drill.
    Drill {
        /// A staging host of the class that binds the same things.
        host: HostName,
        /// Which of the manifest's drills, by index.
        drill: u32,
    },
    /// By a drill on one of these hosts, where it cannot run yet.
    Blocked {
        /// Staging hosts of the class that bind the same things, at most [`MAX_HOSTS_NAMED`].
        hosts: Vec<HostName>,
        /// What is in the way.
        by: Obstacle,
    },
    /// No staging host is of the class and binds the same things.
    NoHost,
    /// The manifest declares no drill.
    NoDrill,
    /// By no drill yet: the version has no record that its scenarios passed.
    NoScenarios,
}

/// What keeps a drill from running on hosts that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Obstacle {
    /// Their owners do not allow drills, or none of the playbook's faults.
    Consent,
    /// They are quarantined.
    NotActive,
    /// The remediation's mode in staging.
    Mode {
        /// Which is not `auto`.
        mode: Mode,
    },
}
