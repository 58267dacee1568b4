//! What holds automation back, and whom it calls, as people are shown it. Made by the control plane.

use super::mute::HeldBy;
use fettle_model::breaker::{OpenReason, Scope};
use fettle_model::check::CheckRef;
use fettle_model::id::{IncidentId, RunId};
use fettle_model::incident::IncidentCause;
use fettle_model::name::HostName;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A breaker that is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerRow {
    /// Which one.
    pub scope: Scope,
    /// Why.
    pub because: Vec<OpenReason>,
    /// Since when.
    pub opened_at: UnixMillis,
    /// When it goes half-open by itself.
    pub half_open_at: Option<UnixMillis>,
    /// Its probe, when it is half-open and one runs.
    pub probe: Option<RunId>,
}

/// An open incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentRow {
    /// Its id.
    pub incident: IncidentId,
    /// Where, where it is about a host.
    pub host: Option<HostName>,
    /// The check.
    pub check: Option<CheckRef>,
    /// Why.
    pub cause: IncidentCause,
    /// Since when.
    pub opened_at: UnixMillis,
    /// What holds it back now; none: people are called to it.
    pub held: Option<HeldBy>,
}
