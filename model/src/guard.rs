//! The governor's arithmetic on groups (design, section 6), stated once.
//!
//! A percentage of a group of *n* for a maximum rounds **down** but is at least 1; for a minimum it
//! rounds **up**. The group is the hosts that carry the service in that environment.

use crate::time::millis;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of hosts: absolute, or a share of the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Amount {
    /// So many hosts.
    Count(u32),
    /// So many percent of the group, 0 to 100.
    Percent(u8),
}

/// The text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount must be a whole number such as 2, or a percentage from \"0%\" to \"100%\", not {text:?}")]
pub struct InvalidAmount {
    /// What was given, cut to 40 characters.
    pub text: String,
}

impl Amount {
    /// This amount as an upper limit in a group of `group` hosts: rounds down, at least 1 where a
    /// percentage is meant. A count is taken as it is, zero included (zero means never).
    #[must_use]
    pub fn as_maximum(self, group: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                u32::try_from(u64::from(group) * u64::from(percent) / 100).unwrap_or(u32::MAX).max(1)
            }
        }
    }

    /// This amount as a lower limit in a group of `group` hosts: rounds up.
    #[must_use]
    pub fn as_minimum(self, group: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                u32::try_from((u64::from(group) * u64::from(percent)).div_ceil(100)).unwrap_or(u32::MAX)
            }
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let invalid = || InvalidAmount { text: text.chars().take(40).collect() };
        let digits_only = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        match text.strip_suffix('%') {
            Some(digits) if digits_only(digits) => {
                digits.parse().ok().filter(|p| *p <= 100).map(Self::Percent).ok_or_else(invalid)
            }
            None if digits_only(text) => text.parse().map(Self::Count).map_err(|_| invalid()),
            Some(_) | None => Err(invalid()),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a percentage such as \"50%\"")
            }

            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Amount, E> {
                u32::try_from(value).map(Amount::Count).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Amount, E> {
                u32::try_from(value).map(Amount::Count).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Amount, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The limits of a remediation. Defaults are on (design, section 6).
///
/// A log that was begun before a limit existed has the limit's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Permits of this service and environment whose effects may still be in progress.
    pub max_in_flight: Amount,
    /// Hosts that must be healthy and hold no permit, the target not counted.
    pub min_healthy: Amount,
    /// Runs for one fingerprint (service, check, host) until it stayed healthy for `healthy_for`.
    pub max_attempts: u32,
    /// Time from the end of one run for a fingerprint to the next permit for it.
    #[serde(with = "millis", rename = "cooldown_ms")]
    pub cooldown: Duration,
    /// A failure after this long in health is a new problem; earlier it is the same one again.
    #[serde(with = "millis", rename = "healthy_for_ms")]
    pub healthy_for: Duration,
    /// Failures allowed within `failure_window`; the breaker opens on the next one.
    pub max_failures: u32,
    /// The window in which failures are counted.
    #[serde(with = "millis", rename = "failure_window_ms")]
    pub failure_window: Duration,
    /// Permits of this service and environment within `window`, whatever asked for them.
    pub max_per_window: u32,
    /// Those among them whose playbook may do something that no inverse undoes.
    pub max_irreversible: u32,
    /// The window in which permits are counted.
    #[serde(with = "millis", rename = "window_ms")]
    pub window: Duration,
    /// People who must approve a run where the mode is `approve`, at least; never 0.
    pub approvals: u32,
}

/// Largest `max_per_window` and `max_irreversible`: no more permits than these are remembered per group.
pub const MAX_PER_WINDOW: u32 = 10_000;
/// Most `approvals`: more people than are awake in any team, so that nothing could ever be approved.
pub const MAX_APPROVALS: u32 = 8;
/// Longest `window`: permits are remembered for a day.
pub const MAX_WINDOW: Duration = Duration::from_hours(24);

impl Default for Guard {
    fn default() -> Self {
        Self {
            max_in_flight: Amount::Count(1),
            min_healthy: Amount::Percent(50),
            max_attempts: 3,
            cooldown: Duration::from_mins(5),
            healthy_for: Duration::from_mins(10),
            max_failures: 2,
            failure_window: Duration::from_hours(1),
            // With one in flight, a run every two minutes.
            max_per_window: 30,
            max_irreversible: 10,
            window: Duration::from_hours(1),
            approvals: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(amount: &str, group: u32, maximum: u32, minimum: u32) {
        let amount: Amount = amount.parse().expect("a sound amount");
        assert_eq!((amount.as_maximum(group), amount.as_minimum(group)), (maximum, minimum), "{amount} of {group}");
    }

    #[test]
    fn a_maximum_rounds_down_to_at_least_one_and_a_minimum_rounds_up() {
        check("40%", 6, 2, 3);
        check("50%", 1, 1, 1);
        check("50%", 2, 1, 1);
        check("50%", 3, 1, 2);
        check("10%", 5, 1, 1);
        check("10%", 50, 5, 5);
        check("0%", 10, 1, 0);
        check("100%", 7, 7, 7);
        check("33%", 100, 33, 33);
        check("99%", u32::MAX, 4_252_017_622, 4_252_017_623);
        check("3", 2, 3, 3);
        check("0", 5, 0, 0);
        check("50%", 0, 1, 0);
    }

    #[test]
    fn an_amount_that_is_not_one_does_not_parse() {
        for wrong in ["", "%", "101%", "-1", "+1", "1.5", "50 %", "50%%", "4294967296"] {
            assert!(wrong.parse::<Amount>().is_err(), "{wrong:?}");
        }
    }
}
