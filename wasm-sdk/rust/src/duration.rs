//! Durations as the interface carries them.

use serde::Deserialize;
use std::fmt;

/// Whole milliseconds; at most 49 days. A `duration` parameter arrives as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u32);

/// So many seconds; the longest that [`Millis`] holds where it would be more.
#[must_use]
pub const fn secs(seconds: u32) -> Millis {
    Millis(seconds.saturating_mul(1_000))
}

/// So many minutes; the longest that [`Millis`] holds where it would be more.
#[must_use]
pub const fn mins(minutes: u32) -> Millis {
    secs(minutes.saturating_mul(60))
}

/// So many hours; the longest that [`Millis`] holds where it would be more.
#[must_use]
pub const fn hours(hours: u32) -> Millis {
    mins(hours.saturating_mul(60))
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        write!(f, "{}ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(duration: Millis, expected_ms: u32, expected_text: &str) {
        assert_eq!((duration.0, duration.to_string().as_str()), (expected_ms, expected_text));
    }

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit_and_never_wraps() {
        check(Millis(250), 250, "250ms");
        check(secs(90), 90_000, "90s");
        check(mins(5), 300_000, "5m");
        check(hours(36), 129_600_000, "36h");
        check(hours(u32::MAX), u32::MAX, "4294967295ms");
    }
}
