//! Break-glass: a role that two people open for one of them, for half an hour, in front of everybody.
//!
//! The first asks and the second confirms, each in a record that they signed with their own key; the confirmation names
//! the signed ask, so it is good for nothing else. Read by the control plane's core, the command line and the
//! verifier. Decides nothing.

use crate::digest::EnvelopeDigest;
use crate::id::BreakGlassId;
use crate::identity::{HeldRole, Role};
use crate::name::{PersonName, TeamName};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long the role is held: ten minutes to find out what is wrong, one plan and one run of at most five each with
/// its confirmation, and ten to see that it holds. Never longer: another half hour is another ask of two people.
pub const BREAK_GLASS_LASTS: Duration = Duration::from_mins(30);

/// How long an ask waits at most: whoever is called by telephone is at a keyboard by then.
pub const MAX_ASK_WAITS: Duration = Duration::from_mins(15);

/// How long the command line lets an ask wait: less than the longest, by as much as its clock may be ahead.
pub const ASK_WAITS: Duration = Duration::from_mins(10);

/// A person asks for a role, for [`BREAK_GLASS_LASTS`] from the confirmation on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassAsked {
    /// The ask's id, chosen by whoever asks.
    pub ask: BreakGlassId,
    /// Which role.
    pub role: Role,
    /// The team whose services it is about; `None`: the whole installation.
    #[serde(default)]
    pub team: Option<TeamName>,
    /// Why.
    pub why: String,
    /// Nobody confirms it from then on.
    pub expires_at: UnixMillis,
}

impl BreakGlassAsked {
    /// The role, and where.
    #[must_use]
    pub fn held(&self) -> HeldRole {
        HeldRole { role: self.role, team: self.team.clone() }
    }
}

/// A second person confirms an ask: from here on whoever asked holds the role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassOpened {
    /// Which ask.
    pub ask: BreakGlassId,
    /// SHA-256 of the envelope of the ask, as they saw it.
    pub asked: EnvelopeDigest,
}

/// A person ended it before its time, or withdrew an ask that waited. Its end by time is no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassClosed {
    /// Which.
    pub ask: BreakGlassId,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}
