//! Mutes: windows in which routine notifications are held.
//!
//! A mute holds back what people are called to, never what automation does: that is a freeze. No decision depends on
//! one. Which incidents are routine is said in [`crate::incident`]. Decides nothing.

use crate::breaker::Scope;
use crate::id::MuteId;
use crate::name::PersonName;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Mutes that may be in force at once: as many as freezes by hand.
pub const MAX_MUTES: usize = 64;

/// The longest mute: a week of work on something. Nobody remembers for longer what they no longer hear of.
pub const MAX_MUTE: Duration = Duration::from_hours(24 * 7);

/// A person muted a scope for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteStarted {
    /// Its id.
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

/// A person ended a mute before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuteLifted {
    /// Which.
    pub mute: MuteId,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}
