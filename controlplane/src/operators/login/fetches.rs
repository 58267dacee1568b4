//! How often the provider may be asked for its keys, whatever is sent here.
//!
//! Anybody who reaches the enrolment port can send a token that names an unknown key; the provider must not be
//! asked once for each. Reads no clock.

use crate::core::Monotonic;
use std::time::Duration;

/// Fetches at once: the first, a rotation, and a few that fail.
const BURST: u32 = 8;
/// One more is allowed after so long.
const REFILL: Duration = Duration::from_secs(15);
/// How long fetched keys are used without a look: a key that the provider withdrew is good here for so long at most.
const KEYS_LIVE: Duration = Duration::from_hours(1);

/// What was fetched, and how often.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fetches {
    spent: u32,
    /// Up to when the refill is reckoned.
    at: Monotonic,
}

impl Fetches {
    /// Takes one fetch; `false` when there is none left now.
    pub(super) fn take(&mut self, now: Monotonic) -> bool {
        let refilled = self.at.until(now).as_secs() / REFILL.as_secs();
        let refilled = u32::try_from(refilled).unwrap_or(u32::MAX);
        self.at = if self.spent <= refilled { now } else { self.at.plus(REFILL.saturating_mul(refilled)) };
        self.spent = self.spent.saturating_sub(refilled);
        let left = self.spent < BURST;
        if left {
            self.spent += 1;
        }
        left
    }
}

/// Whether keys that were fetched then may be used.
pub(super) fn is_fresh(fetched: Monotonic, now: Monotonic) -> bool {
    fetched.until(now) < KEYS_LIVE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    #[test]
    fn a_flood_of_unknown_keys_fetches_a_few_times_and_then_at_the_pace() {
        let mut fetches = Fetches::default();
        let taken = (0..100).filter(|_| fetches.take(at(1_000))).count();
        assert_eq!(taken, 8);
        assert!(!fetches.take(at(1_014)));
        assert!(fetches.take(at(1_015)) && !fetches.take(at(1_015)));
        let within_an_hour = (0..3_600).filter(|second| fetches.take(at(1_015 + second))).count();
        assert!(within_an_hour <= 3_600 / 15, "{within_an_hour}");
        assert_eq!((0..100).filter(|_| fetches.take(at(100_000))).count(), 8);
    }

    #[test]
    fn keys_are_looked_at_again_after_an_hour() {
        assert!(is_fresh(at(10), at(3_609)) && !is_fresh(at(10), at(3_610)));
    }
}
