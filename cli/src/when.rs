//! Instants and durations as people read them. Pure: "now" is passed in.

use fettle_model::time::{UnixMillis, whole_millis};
use std::time::Duration;

/// An instant in UTC, to the second: `2026-11-26 22:18:01Z`.
#[must_use]
pub(crate) fn instant(at: UnixMillis) -> String {
    formatted(at, "%Y-%m-%d %H:%M:%SZ")
}

/// The day of an instant in UTC: `2026-11-26`.
#[must_use]
pub(crate) fn day(at: UnixMillis) -> String {
    formatted(at, "%Y-%m-%d")
}

/// The time of an instant within its day in UTC, to the millisecond: `22:18:01.250`.
#[must_use]
pub(crate) fn time_of_day(at: UnixMillis) -> String {
    formatted(at, "%H:%M:%S%.3f")
}

fn formatted(at: UnixMillis, format: &str) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map_or_else(|| format!("{} ms", at.0), |stamp| stamp.strftime(format).to_string())
}

/// How far an instant is from now: `3m 10s ago`, `in 2h 5m`, `now`.
#[must_use]
pub(crate) fn distance(at: UnixMillis, now: UnixMillis) -> String {
    if at.0 / 1_000 == now.0 / 1_000 {
        "now".to_owned()
    } else if at < now {
        format!("{} ago", span(now.since(at)))
    } else {
        format!("in {}", span(at.since(now)))
    }
}

/// An instant with its distance: `2026-11-26 22:18:01Z (3m 10s ago)`.
#[must_use]
pub(crate) fn instant_with_distance(at: UnixMillis, now: UnixMillis) -> String {
    format!("{} ({})", instant(at), distance(at, now))
}

/// A duration in its two largest units: `850ms`, `4.2s`, `3m 10s`, `2h 5m`, `4d 3h`.
#[must_use]
pub(crate) fn span(duration: Duration) -> String {
    let millis = whole_millis(duration);
    let seconds = millis / 1_000;
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit} {small}{small_unit}") }
    };
    match seconds {
        0 => format!("{millis}ms"),
        1..=9 if !millis.is_multiple_of(1_000) => format!("{}.{}s", seconds, millis % 1_000 / 100),
        1..=59 => format!("{seconds}s"),
        60..=3_599 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..=86_399 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_utc_to_the_second() {
        assert_eq!(instant(UnixMillis(1_795_731_481_999)), "2026-11-26 22:18:01Z");
        assert_eq!(instant(UnixMillis(u64::MAX)), "18446744073709551615 ms");
        assert_eq!(day(UnixMillis(1_795_731_481_999)), "2026-11-26");
        assert_eq!(time_of_day(UnixMillis(1_795_731_481_050)), "22:18:01.050");
    }

    #[test]
    fn a_span_has_its_two_largest_units() {
        for (millis, text) in [
            (0, "0ms"),
            (850, "850ms"),
            (4_200, "4.2s"),
            (4_000, "4s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (190_000, "3m 10s"),
            (7_500_000, "2h 5m"),
            (356_400_000, "4d 3h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_distance_has_a_direction() {
        let now = UnixMillis(1_000_000);
        assert_eq!(distance(UnixMillis(810_000), now), "3m 10s ago");
        assert_eq!(distance(UnixMillis(1_000_400), now), "now");
        assert_eq!(distance(UnixMillis(1_060_000), now), "in 1m");
    }
}
