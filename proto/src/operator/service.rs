//! Services and their checks as the operators' API tells them.

use fettle_model::check::Status;
use fettle_model::counter::TransitionEpoch;
use fettle_model::name::{CheckName, EnvironmentName, HostName, ServiceName};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceRow {
    /// Its name.
    pub service: ServiceName,
    /// Its checks on each host that carries it.
    pub checks: Vec<CheckRow>,
}

/// A check on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckRow {
    /// The host.
    pub host: HostName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The check.
    pub check: CheckName,
    /// Its status; `None`: never reported.
    pub status: Option<Status>,
    /// Of which transition.
    pub epoch: TransitionEpoch,
    /// Since when.
    pub since: Option<UnixMillis>,
    /// Why, in the probe's words.
    pub reason: String,
}
