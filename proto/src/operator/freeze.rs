//! Freezes as the operators' API tells them.

use fettle_model::breaker::Scope;
use fettle_model::freeze::FrozenBy;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A freeze that is in force, or one by calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeRow {
    /// Where.
    pub scope: Scope,
    /// Which.
    pub freeze: FrozenBy,
    /// Why.
    pub why: String,
    /// How it stands.
    pub standing: FreezeStanding,
}

/// How a freeze stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum FreezeStanding {
    /// Nothing acts.
    Frozen {
        /// Until when; `None` where no end is known.
        until: Option<UnixMillis>,
    },
    /// It lets automation act.
    Open,
}
