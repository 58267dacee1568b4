//! Hosts as the operators' API tells them. Made by the control plane.

use fettle_model::counter::AgentSequence;
use fettle_model::host::{HostDescription, HostState};
use fettle_model::id::{HostId, RunId};
use fettle_model::name::{EnvironmentName, HostName};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRow {
    /// Its id.
    pub host: HostId,
    /// Its name.
    pub name: HostName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// Where it stands.
    pub state: HostState,
    /// Whether its agent has a session now.
    pub connection: Connection,
    /// What it says of itself.
    pub description: Option<HostDescription>,
    /// The last record of its chain.
    pub sequence: AgentSequence,
    /// The run in progress.
    pub running: Option<RunId>,
}

/// Whether an agent has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum Connection {
    /// It has.
    Connected,
    /// It was last heard at this time.
    LastHeard {
        /// When.
        at: UnixMillis,
    },
    /// Not since the control plane started.
    NotSinceStart,
}
