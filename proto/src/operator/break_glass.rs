//! Broken glass as people are shown it, and as it is told with every answer to whoever holds a role by it.

use fettle_model::counter::LogPosition;
use fettle_model::id::BreakGlassId;
use fettle_model::identity::HeldRole;
use fettle_model::name::PersonName;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// The header of every answer, a problem's too, to a person for whom glass is broken: a [`BreakGlassNotice`], JSON.
pub const BREAK_GLASS_HEADER: &str = "fettle-break-glass";

/// What whoever holds a role by broken glass is told with every answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassNotice {
    /// Which ask.
    pub ask: BreakGlassId,
    /// What they hold by it.
    pub role: HeldRole,
    /// When it ends by itself.
    pub until: UnixMillis,
    /// Who confirmed it.
    pub confirmed_by: PersonName,
}

/// An ask with what became of it. Answers [`Query::BreakGlass`](super::Query::BreakGlass).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassRow {
    /// Its id.
    pub ask: BreakGlassId,
    /// Who asked.
    pub person: PersonName,
    /// For which role, and where.
    pub role: HeldRole,
    /// Why.
    pub why: String,
    /// Where it is in the log.
    pub position: LogPosition,
    /// When it was asked.
    pub asked_at: UnixMillis,
    /// Who confirmed it.
    pub confirmed_by: Option<PersonName>,
    /// How it stands.
    pub standing: BreakGlassStanding,
    /// The signed ask, an envelope, as long as it waits: what a confirmation names.
    pub record: Option<String>,
}

/// How an ask stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum BreakGlassStanding {
    /// It waits for a second person.
    Waiting {
        /// Nobody confirms it from then on.
        expires_at: UnixMillis,
    },
    /// Nobody confirmed it in time.
    Expired,
    /// Whoever asked holds the role.
    Open {
        /// When it ends by itself.
        until: UnixMillis,
    },
    /// It was open, and its time is over.
    Over,
    /// It was ended by hand, or with the revocation of either person.
    Closed,
}
