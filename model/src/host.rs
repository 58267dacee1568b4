//! What an agent says of its host, and what the control plane holds of it.

use crate::evidence::{FaultConsent, FaultKind};
use crate::name::{EnvironmentName, HostName, Label, PlaybookName, ServiceName};
use crate::permit::BoundTarget;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An agent's description of its host: sent when it changed, kept as a record. The long lists are shared where they are
/// copied: hosts of one kind describe the same services and bindings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostDescription {
    /// The host's name for people.
    pub name: HostName,
    /// Its environment, as its own configuration says; it must be the enrolled one.
    pub environment: EnvironmentName,
    /// The agent's version.
    pub agent_version: String,
    /// The operating system, `ID` and `VERSION_ID` of os-release: `debian`, `12`.
    pub os: OperatingSystem,
    /// The machine, as `uname -m` says: `x86_64`.
    pub architecture: String,
    /// The services that it carries.
    pub services: Arc<[CarriedService]>,
    /// Whether its owner allows drills.
    pub drills: DrillConsent,
    /// How much separation its three processes have.
    pub isolation: Isolation,
    /// What its owner bound for each playbook.
    pub bindings: Arc<[Binding]>,
}

/// An operating system by name and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingSystem {
    /// `ID` of os-release.
    pub id: String,
    /// `VERSION_ID` of os-release; empty on rolling systems.
    pub version: String,
}

/// A service that a host carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedService {
    /// The service.
    pub name: ServiceName,
    /// What manages it there.
    pub manager: ManagerKind,
    /// Faults that its owner allows by name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub faults: BTreeSet<FaultKind>,
}

impl HostDescription {
    /// Whether the owner allows a kind of fault to be injected for a service.
    #[must_use]
    pub fn consents_to(&self, fault: FaultKind, service: &ServiceName) -> DrillConsent {
        let named = || {
            let carried = self.services.iter().find(|carried| &carried.name == service);
            carried.is_some_and(|carried| carried.faults.contains(&fault))
        };
        match (self.drills, fault.consent()) {
            (DrillConsent::Allowed, FaultConsent::WithDrills) => DrillConsent::Allowed,
            (DrillConsent::Allowed, FaultConsent::ByName) if named() => DrillConsent::Allowed,
            (DrillConsent::Allowed | DrillConsent::Refused, FaultConsent::WithDrills | FaultConsent::ByName) => {
                DrillConsent::Refused
            }
        }
    }
}

/// What manages a service on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ManagerKind {
    /// systemd over D-Bus.
    Systemd,
    /// Start, stop and status commands with a pid file.
    Command,
    /// Nothing: the service is only observed.
    None,
}

impl ManagerKind {
    /// The kind as it stands in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Command => "command",
            Self::None => "none",
        }
    }
}

/// Whether faults may be injected on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrillConsent {
    /// The owner allows drills.
    Allowed,
    /// The owner does not. The default.
    Refused,
}

/// How much separation the agent's processes have on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Isolation {
    /// Started as root: users, capabilities, network and system calls are separated.
    Full,
    /// Separate processes, but something of the above is missing.
    Weaker {
        /// What is missing, for people.
        missing: Vec<String>,
    },
}

/// What an owner bound to a playbook's labels for one service on this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The playbook.
    pub playbook: PlaybookName,
    /// The service for which it is bound.
    pub service: ServiceName,
    /// The things, one per label.
    pub targets: Vec<BoundTarget>,
}

impl Binding {
    /// The target of a label.
    #[must_use]
    pub fn target(&self, label: &Label) -> Option<&BoundTarget> {
        self.targets.iter().find(|target| &target.label == label)
    }
}

/// Where a host stands with the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Enrolled and allowed to act.
    Active,
    /// Two holders of one identity were seen: observe only.
    Quarantined,
    /// Its identity is withdrawn.
    Revoked,
}

impl HostState {
    /// The state as it stands in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
        }
    }
}
