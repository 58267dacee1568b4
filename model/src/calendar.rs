//! Calendars: local hours in a time zone, and whether an instant lies in them.
//!
//! Called for freezes; for schedules there are [`Moments`]. Reads no clock and no file: the instant is an argument, and the zones are those compiled in
//! (the IANA database that `jiff` bundles), so that every process reads a calendar alike whatever its machine has.

mod moments;

pub use moments::Moments;

use crate::time::UnixMillis;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Windows of one calendar. A year's holidays and a handful of weekly hours fit.
pub const MAX_WINDOWS: usize = 32;

/// How far ahead weekly windows are looked at for the end of one: they repeat after seven days, and the longest
/// ends a day after the day on which it began.
const DAYS_AHEAD: i32 = 9;

/// When something is so, and when it is otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawCalendar")]
pub struct Calendar {
    zone: ZoneName,
    windows: Vec<Window>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCalendar {
    zone: ZoneName,
    windows: Vec<Window>,
}

/// Why windows are no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCalendar {
    /// There are none.
    #[error("a calendar without windows")]
    Empty,
    /// There are too many.
    #[error("{count} windows, more than the {MAX_WINDOWS} that a calendar may have")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// A window ends when or before it begins.
    #[error("a window from {from} to {to} is empty")]
    EmptyWindow {
        /// Its beginning.
        from: String,
        /// Its end.
        to: String,
    },
    /// A weekly window names no day.
    #[error("a weekly window without days")]
    NoDays,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Window {
    /// On these days, every week.
    Weekly {
        /// The days on which it begins.
        days: BTreeSet<Weekday>,
        /// When it begins.
        from: ClockTime,
        /// When it ends: on the next day when that is not later than `from`.
        to: ClockTime,
    },
    /// Once.
    Once {
        /// When it begins.
        from: LocalTime,
        /// When it ends.
        to: LocalTime,
    },
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl From<jiff::civil::Weekday> for Weekday {
    fn from(day: jiff::civil::Weekday) -> Self {
        match day {
            jiff::civil::Weekday::Monday => Self::Mon,
            jiff::civil::Weekday::Tuesday => Self::Tue,
            jiff::civil::Weekday::Wednesday => Self::Wed,
            jiff::civil::Weekday::Thursday => Self::Thu,
            jiff::civil::Weekday::Friday => Self::Fri,
            jiff::civil::Weekday::Saturday => Self::Sat,
            jiff::civil::Weekday::Sunday => Self::Sun,
        }
    }
}

/// The text is no time zone, time of day or local time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expected}, not {text:?}")]
pub struct InvalidTime {
    /// What it must be.
    pub expected: &'static str,
    /// What was given instead, cut to 64 characters.
    pub text: String,
}

impl InvalidTime {
    fn of(expected: &'static str, text: &str) -> Self {
        Self { expected, text: text.chars().take(64).collect() }
    }
}

/// A time zone of the IANA database, such as `Europe/Berlin` or `UTC`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ZoneName(String);

impl ZoneName {
    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ZoneName {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let known = text.len() <= 64 && TimeZone::get(text).is_ok();
        let expected = "a time zone must be one of the IANA database such as Europe/Berlin or UTC";
        if known { Ok(Self(text.to_owned())) } else { Err(InvalidTime::of(expected, text)) }
    }
}

/// A time of day, to the minute: `00:00` to `24:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTime {
    minutes: u16,
}

const MIDNIGHT: u16 = 24 * 60;

impl FromStr for ClockTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let number = |digits: &str| {
            let two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|_| two)
        };
        text.split_once(':')
            .and_then(|(hours, minutes)| Some((number(hours)?, number(minutes)?)))
            .filter(|(_, minutes)| *minutes < 60)
            .map(|(hours, minutes)| hours * 60 + minutes)
            .filter(|minutes| *minutes <= MIDNIGHT)
            .map(|minutes| Self { minutes })
            .ok_or_else(|| InvalidTime::of("a time of day must be HH:MM, from 00:00 to 24:00", text))
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

/// A date and time of day where the calendar's zone is: `2026-12-24T18:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime {
    date: Date,
    time: ClockTime,
}

impl FromStr for LocalTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let invalid = || InvalidTime::of("a local time must be YYYY-MM-DDTHH:MM, without an offset", text);
        let (date, time) = text.split_once('T').filter(|(date, _)| date.len() == 10).ok_or_else(invalid)?;
        Ok(Self { date: date.parse().map_err(|_| invalid())?, time: time.parse().map_err(|_| invalid())? })
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{}", self.date, self.time)
    }
}

macro_rules! by_text {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
by_text!(ZoneName ClockTime LocalTime);

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
as_text!(ClockTime LocalTime);

impl Window {
    fn check(&self) -> Result<(), InvalidCalendar> {
        let empty = |from: &dyn fmt::Display, to: &dyn fmt::Display| {
            Err(InvalidCalendar::EmptyWindow { from: from.to_string(), to: to.to_string() })
        };
        match self {
            Self::Weekly { days, .. } if days.is_empty() => Err(InvalidCalendar::NoDays),
            Self::Weekly { from, to, .. } if from == to || from.minutes == MIDNIGHT => empty(from, to),
            Self::Once { from, to } if from >= to => empty(from, to),
            Self::Weekly { .. } | Self::Once { .. } => Ok(()),
        }
    }
}

/// Half open: the end is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    from: UnixMillis,
    to: UnixMillis,
}

impl Interval {
    fn holds(self, at: UnixMillis) -> bool {
        self.from <= at && at < self.to
    }
}

/// Whether an instant lies in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// It does.
    Window,
    /// It does not.
    None,
}

impl Calendar {
    /// A calendar.
    ///
    /// # Errors
    /// When there is no window, too many, or an empty one.
    pub fn new(zone: ZoneName, windows: Vec<Window>) -> Result<Self, InvalidCalendar> {
        if windows.is_empty() {
            return Err(InvalidCalendar::Empty);
        }
        if windows.len() > MAX_WINDOWS {
            return Err(InvalidCalendar::TooMany { count: windows.len() });
        }
        windows.iter().try_for_each(Window::check)?;
        Ok(Self { zone, windows })
    }

    /// Where its hours are local.
    #[must_use]
    pub const fn zone(&self) -> &ZoneName {
        &self.zone
    }

    /// Its windows.
    #[must_use]
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Whether the instant lies in a window; `None` for an instant that no calendar knows (after the year 9999).
    #[must_use]
    pub fn at(&self, at: UnixMillis) -> Option<Within> {
        let within = self.intervals(at)?.iter().any(|interval| interval.holds(at));
        Some(if within { Within::Window } else { Within::None })
    }

    /// The next instants at which that may change, in order, as far as weekly windows go once round.
    #[must_use]
    pub fn changes_after(&self, at: UnixMillis) -> Vec<UnixMillis> {
        let intervals = self.intervals(at).unwrap_or_default();
        let edges: BTreeSet<UnixMillis> =
            intervals.iter().flat_map(|interval| [interval.from, interval.to]).filter(|edge| *edge > at).collect();
        edges.into_iter().collect()
    }

    /// The intervals that are near the instant, and every one that comes but once.
    fn intervals(&self, at: UnixMillis) -> Option<Vec<Interval>> {
        // Compiled in, and found when the name was made.
        let zone = TimeZone::get(&self.zone.0).ok()?;
        let today = zone.to_datetime(Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()?).date();
        let mut intervals = Vec::new();
        for window in &self.windows {
            match window {
                Window::Weekly { days, from, to } => {
                    let next_day = i32::from(to <= from);
                    for day in -2..=DAYS_AHEAD {
                        let date = today.checked_add(day.days()).ok()?;
                        if days.contains(&date.weekday().into()) {
                            let end = date.checked_add(next_day.days()).ok()?;
                            let (from, to) = (instant(&zone, date, *from)?, instant(&zone, end, *to)?);
                            intervals.push(Interval { from, to });
                        }
                    }
                }
                Window::Once { from, to } => intervals.push(Interval {
                    from: instant(&zone, from.date, from.time)?,
                    to: instant(&zone, to.date, to.time)?,
                }),
            }
        }
        Some(intervals)
    }
}

/// The instant of a local time. One that a change of the clocks skips is taken as much later as they were put
/// forward; of one that comes twice it is the first.
fn instant(zone: &TimeZone, date: Date, time: ClockTime) -> Option<UnixMillis> {
    let (days, minutes): (Span, u16) = if time.minutes == MIDNIGHT { (1.day(), 0) } else { (0.days(), time.minutes) };
    let hour = i8::try_from(minutes / 60).ok()?;
    let minute = i8::try_from(minutes % 60).ok()?;
    let local = DateTime::from_parts(date.checked_add(days).ok()?, Time::new(hour, minute, 0, 0).ok()?);
    let millis = zone.to_timestamp(local).ok()?.as_millisecond();
    // Before 1970 nothing happens.
    Some(UnixMillis(u64::try_from(millis).unwrap_or(0)))
}

impl TryFrom<RawCalendar> for Calendar {
    type Error = InvalidCalendar;

    fn try_from(raw: RawCalendar) -> Result<Self, InvalidCalendar> {
        Self::new(raw.zone, raw.windows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> UnixMillis {
        let at: Timestamp = text.parse().expect("an instant");
        UnixMillis(u64::try_from(at.as_millisecond()).expect("after 1970"))
    }

    fn weekly(days: &[Weekday], from: &str, to: &str) -> Window {
        let time = |text: &str| text.parse().expect("a time of day");
        Window::Weekly { days: days.iter().copied().collect(), from: time(from), to: time(to) }
    }

    fn berlin(windows: Vec<Window>) -> Calendar {
        Calendar::new("Europe/Berlin".parse().expect("a zone"), windows).expect("sound windows")
    }

    #[track_caller]
    fn check(calendar: &Calendar, at: &str, expected: Within) {
        assert_eq!(calendar.at(utc(at)), Some(expected), "{at}");
    }

    #[test]
    fn weekly_hours_are_local_in_summer_and_in_winter() {
        let work = berlin(vec![weekly(&[Weekday::Mon, Weekday::Fri], "09:00", "17:00")]);
        // 2026-07-06 and 2026-01-05 are Mondays; Berlin is at +2 and +1.
        check(&work, "2026-07-06T06:59:59Z", Within::None);
        check(&work, "2026-07-06T07:00:00Z", Within::Window);
        check(&work, "2026-07-06T14:59:59Z", Within::Window);
        check(&work, "2026-07-06T15:00:00Z", Within::None);
        check(&work, "2026-01-05T07:30:00Z", Within::None);
        check(&work, "2026-01-05T08:00:00Z", Within::Window);
        check(&work, "2026-07-07T10:00:00Z", Within::None);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = berlin(vec![weekly(&[Weekday::Fri], "22:00", "06:00")]);
        check(&night, "2026-07-03T20:00:00Z", Within::Window);
        check(&night, "2026-07-04T03:59:00Z", Within::Window);
        check(&night, "2026-07-04T04:00:00Z", Within::None);
        check(&night, "2026-07-03T03:00:00Z", Within::None);
        let all_day = berlin(vec![weekly(&[Weekday::Sun], "00:00", "24:00")]);
        check(&all_day, "2026-07-05T21:59:00Z", Within::Window);
        check(&all_day, "2026-07-05T22:00:00Z", Within::None);
    }

    #[test]
    fn the_clocks_changes_neither_lose_nor_double_a_window() {
        // In Berlin 02:30 does not exist on 2026-03-29, and comes twice on 2026-10-25.
        let hour = berlin(vec![weekly(&[Weekday::Sun], "02:30", "04:00")]);
        check(&hour, "2026-03-29T01:29:00Z", Within::None);
        check(&hour, "2026-03-29T01:30:00Z", Within::Window);
        check(&hour, "2026-03-29T02:00:00Z", Within::None);
        check(&hour, "2026-10-25T00:30:00Z", Within::Window);
        check(&hour, "2026-10-25T01:30:00Z", Within::Window);
        check(&hour, "2026-10-25T03:00:00Z", Within::None);
    }

    #[test]
    fn what_comes_once_is_found_however_far_away_and_changes_come_in_order() {
        let time = |text: &str| text.parse().expect("a local time");
        let once = Window::Once { from: time("2026-12-24T00:00"), to: time("2026-12-27T00:00") };
        let both = berlin(vec![once, weekly(&[Weekday::Mon], "09:00", "10:00")]);
        check(&both, "2026-12-25T12:00:00Z", Within::Window);
        let changes = both.changes_after(utc("2026-07-01T00:00:00Z"));
        let expected = ["2026-07-06T07:00:00Z", "2026-07-06T08:00:00Z", "2026-12-23T23:00:00Z", "2026-12-26T23:00:00Z"];
        assert_eq!(changes, expected.map(utc));
    }

    #[test]
    fn wrong_windows_and_times_are_refused() {
        for text in ["9:00", "24:01", "12:60", "12", "", "-1:00"] {
            assert!(text.parse::<ClockTime>().is_err(), "{text:?}");
        }
        for text in ["2026-12-24", "2026-02-30T00:00", "2026-12-24T00:00Z", "2026-12-24 00:00"] {
            assert!(text.parse::<LocalTime>().is_err(), "{text:?}");
        }
        for text in ["Europe/Atlantis", "", "+02:00"] {
            assert!(text.parse::<ZoneName>().is_err(), "{text:?}");
        }
        let zone: ZoneName = "UTC".parse().expect("a zone");
        let refused = |windows| Calendar::new(zone.clone(), windows).expect_err("refused");
        assert_eq!(refused(Vec::new()), InvalidCalendar::Empty);
        assert_eq!(refused(vec![weekly(&[], "09:00", "10:00")]), InvalidCalendar::NoDays);
        assert!(matches!(
            refused(vec![weekly(&[Weekday::Mon], "09:00", "09:00")]),
            InvalidCalendar::EmptyWindow { .. }
        ));
        let many = vec![weekly(&[Weekday::Mon], "09:00", "10:00"); MAX_WINDOWS + 1];
        assert_eq!(refused(many), InvalidCalendar::TooMany { count: MAX_WINDOWS + 1 });
    }

    #[test]
    fn a_calendar_is_checked_when_it_is_read() {
        let calendar = berlin(vec![weekly(&[Weekday::Mon], "09:00", "17:00")]);
        let json = serde_json::to_string(&calendar).expect("JSON");
        assert_eq!(serde_json::from_str::<Calendar>(&json).expect("sound"), calendar);
        let broken = json.replace("17:00", "09:00");
        assert!(serde_json::from_str::<Calendar>(&broken).is_err());
    }
}
