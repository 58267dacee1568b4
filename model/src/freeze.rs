//! Freezes: windows in which automation may not act.
//!
//! A freeze is declared in the operators' files by a calendar, or by a person for a while. Several that are about
//! one scope must all let it act. A freeze grants nothing anew; what is under way goes on, unlike with a stop order.

use crate::breaker::Scope;
use crate::calendar::{Calendar, Within};
use crate::id::FreezeId;
use crate::name::{FreezeName, PersonName};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Freezes that a configuration may declare.
pub const MAX_FREEZES: usize = 64;

/// Freezes by hand that may be in force at once: as many as there are people on call in a large house.
pub const MAX_FREEZES_BY_HAND: usize = 64;

/// The longest freeze by hand; what is to last longer is a calendar.
pub const MAX_FREEZE: Duration = Duration::from_hours(24 * 92);

/// A freeze by calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Its name.
    pub name: FreezeName,
    /// Where.
    pub scope: Scope,
    /// What its windows mean.
    pub windows: Meaning,
    /// When.
    pub calendar: Calendar,
    /// Why; shown to whoever asks why nothing acts.
    pub why: String,
}

/// What the windows of a freeze mean: what is the default outside of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Automation may not act within them: the default is open.
    Closed,
    /// Automation may act only within them: the default is closed.
    Open,
}

/// How a freeze stands at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Automation may act.
    Open,
    /// It may not.
    Frozen {
        /// Until when; `None` where no end is known.
        until: Option<UnixMillis>,
    },
}

impl Freeze {
    /// How it stands.
    #[must_use]
    pub fn at(&self, at: UnixMillis) -> Standing {
        if self.lets_act(at) {
            return Standing::Open;
        }
        let until = self.calendar.changes_after(at).into_iter().find(|change| self.lets_act(*change));
        Standing::Frozen { until }
    }

    /// When it next begins to hold, for a freeze that is open now; as far ahead as its calendar looks.
    #[must_use]
    pub fn frozen_after(&self, at: UnixMillis) -> Option<UnixMillis> {
        self.calendar.changes_after(at).into_iter().find(|change| !self.lets_act(*change))
    }

    fn lets_act(&self, at: UnixMillis) -> bool {
        match (self.calendar.at(at), self.windows) {
            (Some(Within::Window), Meaning::Open) | (Some(Within::None), Meaning::Closed) => true,
            // An instant that no calendar knows lets nothing act.
            (Some(Within::Window), Meaning::Closed) | (Some(Within::None), Meaning::Open) | (None, _) => false,
        }
    }
}

/// A person froze a scope for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeDeclared {
    /// Its id.
    pub freeze: FreezeId,
    /// Where.
    pub scope: Scope,
    /// Until when.
    pub until: UnixMillis,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}

/// A person ended a freeze before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeLifted {
    /// Which.
    pub freeze: FreezeId,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}

/// Which freeze holds something back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum FrozenBy {
    /// One of the configuration's.
    Calendar {
        /// Its name.
        name: FreezeName,
    },
    /// A person's.
    Person {
        /// The freeze.
        freeze: FreezeId,
        /// Who declared it.
        by: PersonName,
    },
}

impl fmt::Display for FrozenBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calendar { name } => write!(f, "the calendar {name}"),
            Self::Person { freeze, by } => write!(f, "{by} ({freeze})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `windows`, each `DAYS FROM-TO` or `LOCAL/LOCAL`, in UTC, where 2026-07-06 is a Monday.
    fn freeze(meaning: Meaning, days: &str) -> Freeze {
        let window = format!(r#"{{"kind":"weekly","days":{days},"from":"09:00","to":"17:00"}}"#);
        let calendar = format!(r#"{{"zone":"UTC","windows":[{window}]}}"#);
        Freeze {
            name: "office".parse().expect("a name"),
            scope: Scope::Global,
            windows: meaning,
            calendar: serde_json::from_str(&calendar).expect("a calendar"),
            why: "people are there".to_owned(),
        }
    }

    const WORKDAYS: &str = r#"["mon","tue","wed","thu","fri"]"#;
    const MONDAY: u64 = 1_783_296_000_000;

    #[track_caller]
    fn check(freeze: &Freeze, hours: u64, expected: Option<u64>) {
        let at = |hours: u64| UnixMillis(MONDAY + hours * 3_600_000);
        let expected = expected.map_or(Standing::Open, |until| Standing::Frozen { until: Some(at(until)) });
        assert_eq!(freeze.at(at(hours)), expected, "{hours} hours after Monday's midnight");
    }

    #[test]
    fn windows_close_what_is_open_or_open_what_is_closed() {
        let closed = freeze(Meaning::Closed, WORKDAYS);
        check(&closed, 8, None);
        check(&closed, 9, Some(17));
        check(&closed, 17, None);
        let open = freeze(Meaning::Open, WORKDAYS);
        check(&open, 8, Some(9));
        check(&open, 9, None);
        // Friday evening until Monday morning.
        check(&open, 4 * 24 + 17, Some(7 * 24 + 9));
    }

    #[test]
    fn a_freeze_that_never_lets_act_has_no_end() {
        let mut never = freeze(Meaning::Closed, r#"["mon","tue","wed","thu","fri","sat","sun"]"#);
        let all_day = r#"{"zone":"UTC","windows":[{"kind":"weekly","days":["mon","tue","wed","thu","fri","sat","sun"],"from":"00:00","to":"24:00"}]}"#;
        never.calendar = serde_json::from_str(all_day).expect("a calendar");
        assert_eq!(never.at(UnixMillis(MONDAY)), Standing::Frozen { until: None });
        assert_eq!(never.at(UnixMillis(u64::MAX)), Standing::Frozen { until: None });
    }
}
