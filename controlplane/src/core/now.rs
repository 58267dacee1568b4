//! The two clocks of the control plane, as values.
//!
//! The rim reads both once per command. The wall clock is for windows, cooldowns and expiry dates,
//! which people and the log see; the monotonic one only for giving back the slots of lost runs, so
//! that a step of the wall clock frees nothing early.

use fettle_model::time::{UnixMillis, whole_millis};
use std::time::Duration;

/// Time since some fixed moment of this process; it never goes back and means nothing after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// This instant, later by `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long until `later`; zero when it has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        later.0.saturating_sub(self.0)
    }
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// The wall clock; also the `received_at` of everything that is appended because of the command.
    pub wall: UnixMillis,
    /// The monotonic clock of this process.
    pub monotonic: Monotonic,
}

impl Now {
    /// The wall-clock time at which the monotonic clock will show `later`.
    #[must_use]
    pub fn wall_at(self, later: Monotonic) -> UnixMillis {
        UnixMillis(self.wall.0.saturating_add(whole_millis(self.monotonic.until(later))))
    }
}
