//! Moments that come again: a time of day on some days of every week, where a zone's clocks show it.
//!
//! Called for schedules. Reads no clock: the instant is an argument.

use super::{ClockTime, InvalidCalendar, Weekday, ZoneName, instant};
use crate::time::UnixMillis;
use jiff::Timestamp;
use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How far from an instant the nearest moments are looked for: a week, and a day for what the zone makes of it.
const DAYS_AROUND: i32 = 8;

/// The moments of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawMoments")]
pub struct Moments {
    zone: ZoneName,
    days: BTreeSet<Weekday>,
    at: ClockTime,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMoments {
    zone: ZoneName,
    days: BTreeSet<Weekday>,
    at: ClockTime,
}

impl Moments {
    /// A time of day on these days of every week.
    ///
    /// # Errors
    /// When there is no day.
    pub fn new(zone: ZoneName, days: BTreeSet<Weekday>, at: ClockTime) -> Result<Self, InvalidCalendar> {
        if days.is_empty() { Err(InvalidCalendar::NoDays) } else { Ok(Self { zone, days, at }) }
    }

    /// The newest moment that is not after the instant; `None` for an instant that no calendar knows.
    #[must_use]
    pub fn newest(&self, at: UnixMillis) -> Option<UnixMillis> {
        self.around(at)?.into_iter().filter(|moment| *moment <= at).max()
    }

    /// The next moment after the instant.
    #[must_use]
    pub fn next(&self, at: UnixMillis) -> Option<UnixMillis> {
        self.around(at)?.into_iter().filter(|moment| *moment > at).min()
    }

    fn around(&self, at: UnixMillis) -> Option<Vec<UnixMillis>> {
        // Compiled in, and found when the name was made.
        let zone = TimeZone::get(self.zone.as_str()).ok()?;
        let today = zone.to_datetime(Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?).date();
        let mut moments = Vec::new();
        for day in -DAYS_AROUND..=DAYS_AROUND {
            let date = today.checked_add(day.days()).ok()?;
            if self.days.contains(&date.weekday().into()) {
                moments.push(instant(&zone, date, self.at)?);
            }
        }
        Some(moments)
    }
}

impl TryFrom<RawMoments> for Moments {
    type Error = InvalidCalendar;

    fn try_from(raw: RawMoments) -> Result<Self, InvalidCalendar> {
        Self::new(raw.zone, raw.days, raw.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> UnixMillis {
        let at: Timestamp = text.parse().expect("an instant");
        UnixMillis(u64::try_from(at.as_millisecond()).expect("after 1970"))
    }

    fn berlin(days: &[Weekday], at: &str) -> Moments {
        let at = at.parse().expect("a time of day");
        Moments::new("Europe/Berlin".parse().expect("a zone"), days.iter().copied().collect(), at).expect("sound")
    }

    #[track_caller]
    fn check(moments: &Moments, at: &str, newest: &str, next: &str) {
        assert_eq!((moments.newest(utc(at)), moments.next(utc(at))), (Some(utc(newest)), Some(utc(next))), "{at}");
    }

    #[test]
    fn the_newest_and_the_next_moment_are_a_week_apart_at_most_and_local() {
        // 2026-07-06 is a Monday; Berlin is at +2.
        let weekly = berlin(&[Weekday::Mon], "03:00");
        check(&weekly, "2026-07-06T00:59:59Z", "2026-06-29T01:00:00Z", "2026-07-06T01:00:00Z");
        check(&weekly, "2026-07-06T01:00:00Z", "2026-07-06T01:00:00Z", "2026-07-13T01:00:00Z");
        let twice = berlin(&[Weekday::Mon, Weekday::Thu], "24:00");
        check(&twice, "2026-07-08T12:00:00Z", "2026-07-06T22:00:00Z", "2026-07-09T22:00:00Z");
    }

    #[test]
    fn the_clocks_changes_neither_lose_nor_double_a_moment() {
        // In Berlin 02:30 does not exist on 2026-03-29, and comes twice on 2026-10-25.
        let sunday = berlin(&[Weekday::Sun], "02:30");
        check(&sunday, "2026-03-29T12:00:00Z", "2026-03-29T01:30:00Z", "2026-04-05T00:30:00Z");
        check(&sunday, "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z", "2026-11-01T01:30:00Z");
    }

    #[test]
    fn moments_without_a_day_are_none() {
        let moments = berlin(&[Weekday::Mon], "03:00");
        let json = serde_json::to_string(&moments).expect("JSON");
        assert_eq!(serde_json::from_str::<Moments>(&json).expect("sound"), moments);
        assert!(serde_json::from_str::<Moments>(&json.replace("\"mon\"", "")).is_err());
        assert_eq!(moments.newest(UnixMillis(u64::MAX)), None);
    }
}
