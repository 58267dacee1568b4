//! Delays between attempts to reach the control plane.
//!
//! The one place where the `backoff` crate is used (it is unmaintained, RUSTSEC-2025-0012; deny.toml
//! says why it is here). Nothing but delays comes from it: no retry of anything that has an effect.

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use std::time::Duration;

/// The first delay: a control plane that restarts is back within a second.
const FIRST: Duration = Duration::from_millis(200);

/// The longest delay: an outage of hours ends for every agent within half a minute, and 10 000 agents
/// that all wait so long make some 330 attempts a second.
const LONGEST: Duration = Duration::from_secs(30);

/// The delays of one agent: each twice as long as the last, randomised by half, up to the longest.
#[derive(Debug)]
pub(super) struct Delays {
    backoff: ExponentialBackoff,
}

impl Delays {
    pub(super) fn new() -> Self {
        let mut backoff = ExponentialBackoff {
            initial_interval: FIRST,
            randomization_factor: 0.5,
            multiplier: 2.0,
            max_interval: LONGEST,
            // An agent never gives up.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        backoff.reset();
        Self { backoff }
    }

    pub(super) fn next(&mut self) -> Duration {
        self.backoff.next_backoff().unwrap_or(LONGEST)
    }

    /// A session stood: the next outage begins with the first delay.
    pub(super) fn reset(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_never_end_and_begin_anew_after_a_session() {
        let mut delays = Delays::new();
        let first = delays.next();
        assert!(first >= FIRST / 2 && first <= FIRST * 3 / 2, "{first:?}");
        for _ in 0..200 {
            assert!(delays.next() <= LONGEST * 3 / 2);
        }
        assert!(delays.next() >= LONGEST / 2);
        delays.reset();
        assert!(delays.next() <= FIRST * 3 / 2);
    }
}
