//! Services: what runs on hosts and has an owner.

use crate::check::Check;
use crate::name::{CheckName, EnvironmentName, HostName, ServiceName, TeamName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How much a service matters; 0 is the most critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tier(pub u8);

/// A service with its checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The team that owns it.
    pub owner: TeamName,
    /// How much it matters.
    pub tier: Tier,
    /// Where it runs. Never empty: an empty selector is an error, not "everywhere".
    pub hosts: Selector,
    /// Its checks, names unique.
    pub checks: Vec<Check>,
}

impl Service {
    /// The check of this name.
    #[must_use]
    pub fn check(&self, name: &CheckName) -> Option<&Check> {
        self.checks.iter().find(|check| &check.name == name)
    }
}

/// Which hosts: those in one of the environments, or named, or both. Resolved against enrolled
/// hosts; a host must also carry the service in its own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawSelector", into = "RawSelector")]
pub struct Selector {
    environments: BTreeSet<EnvironmentName>,
    names: BTreeSet<HostName>,
}

/// A selector that selects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a selector must name at least one environment or host: an empty one never means \"everything\"")]
pub struct EmptySelector;

impl Selector {
    /// A selector over these environments and host names.
    ///
    /// # Errors
    /// When both are empty.
    pub fn new(environments: BTreeSet<EnvironmentName>, names: BTreeSet<HostName>) -> Result<Self, EmptySelector> {
        if environments.is_empty() && names.is_empty() { Err(EmptySelector) } else { Ok(Self { environments, names }) }
    }

    /// Whether a host of this name and environment is selected.
    #[must_use]
    pub fn selects(&self, host: &HostName, environment: &EnvironmentName) -> bool {
        self.environments.contains(environment) || self.names.contains(host)
    }

    /// The environments, in order.
    pub fn environments(&self) -> impl Iterator<Item = &EnvironmentName> {
        self.environments.iter()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSelector {
    #[serde(default)]
    environments: BTreeSet<EnvironmentName>,
    #[serde(default)]
    names: BTreeSet<HostName>,
}

impl TryFrom<RawSelector> for Selector {
    type Error = EmptySelector;

    fn try_from(raw: RawSelector) -> Result<Self, EmptySelector> {
        Self::new(raw.environments, raw.names)
    }
}

impl From<Selector> for RawSelector {
    fn from(selector: Selector) -> Self {
        Self { environments: selector.environments, names: selector.names }
    }
}
