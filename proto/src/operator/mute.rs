//! Mutes as the operators' API tells them.

use fettle_model::breaker::Scope;
use fettle_model::id::MuteId;
use fettle_model::name::PersonName;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A mute that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteRow {
    /// Which.
    pub mute: MuteId,
    /// Where.
    pub scope: Scope,
    /// Until when.
    pub until: UnixMillis,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}

/// What holds an incident back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldBy {
    /// The mute that ends last.
    pub mute: MuteId,
    /// When people are called, if it is not lifted before.
    pub until: UnixMillis,
}
