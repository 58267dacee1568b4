//! Rollouts as the operators' API tells them.

use fettle_model::counter::{ConfigurationGeneration, LogPosition};
use fettle_model::name::{HostName, RemediationName, ServiceName};
use fettle_model::rollout::{ConfigurationFault, Ring, Setback};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// Most hosts that are named of one ring, and of those that cannot hold a configuration: a screen for a person.
pub const MAX_RING_HOSTS: usize = 50;

/// How the newest configuration reaches the hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutView {
    /// The newest configuration; zero: none.
    pub generation: ConfigurationGeneration,
    /// Its rollout; `None` where it is everywhere.
    pub rollout: Option<Box<RolloutProgress>>,
    /// Hosts that cannot hold it, at most [`MAX_RING_HOSTS`].
    pub rejections: Vec<RejectionRow>,
}

/// A rollout that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutProgress {
    /// What is in force on hosts that it has not reached.
    pub previous: ConfigurationGeneration,
    /// The services that change.
    pub services: Vec<ServiceName>,
    /// The remediations that change.
    pub remediations: Vec<RemediationName>,
    /// The rings in their order.
    pub rings: Vec<RingRow>,
    /// How it stands.
    pub standing: RolloutStanding,
}

/// One ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingRow {
    /// Which.
    pub ring: Ring,
    /// Where the rollout stands to it.
    pub state: RingState,
    /// How many hosts it adds, as far as that is known.
    pub count: u64,
    /// The first of them, at most [`MAX_RING_HOSTS`].
    pub hosts: Vec<RingHost>,
}

/// Where a rollout stands to a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingState {
    /// It went on from there.
    Passed,
    /// It is there.
    Reached,
    /// It is not there yet.
    Ahead,
}

/// A host of a ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingHost {
    /// Its name.
    pub host: HostName,
    /// What its agent holds; `None` while it is not connected.
    pub holds: Option<ConfigurationGeneration>,
}

/// How a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum RolloutStanding {
    /// It goes on by itself.
    Running {
        /// What it waits for.
        waits: WaitsFor,
    },
    /// It waits for a person.
    Halted {
        /// The record that says so.
        position: LogPosition,
        /// Since when.
        since: UnixMillis,
        /// Why.
        because: Vec<SetbackRow>,
    },
}

/// What a rollout waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "for", deny_unknown_fields)]
pub enum WaitsFor {
    /// Connected hosts of the ring that do not hold the configuration yet; the first, at most [`MAX_RING_HOSTS`].
    Hosts {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// The soak, which is over then.
    Soak {
        /// When.
        until: UnixMillis,
    },
    /// An agent of a host that carries what changes: none of this ring is connected.
    Connection,
    /// A host that carries what changes: none that was chosen is active any more.
    Members,
    /// An agent of the next ring: none is connected.
    NextRing,
}

/// Something that halted a rollout, with names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetbackRow {
    /// What.
    pub setback: Setback,
    /// The host's name, where it is about one that is known.
    pub host: Option<HostName>,
}

/// A host that cannot hold the newest configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectionRow {
    /// The host.
    pub host: HostName,
    /// What stays in force on it; zero: nothing.
    pub keeps: ConfigurationGeneration,
    /// Its record.
    pub position: LogPosition,
    /// Why.
    pub because: Vec<ConfigurationFault>,
}
