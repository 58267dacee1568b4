//! The effector's clocks, read here and nowhere else in it.

use fettle_model::id::BootId;
use fettle_model::time::{BootInstant, UnixMillis, whole_millis};
use fettle_sandbox::machine::Now;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// This boot and its clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    boot: BootId,
}

impl Clocks {
    /// The clocks of a boot, as [`crate::capability::Facts`] read it.
    #[must_use]
    pub const fn of(boot: BootId) -> Self {
        Self { boot }
    }

    /// Reads both.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { boot: self.boot, on_boot: boot_clock(), wall: wall_clock() }
    }
}

/// `CLOCK_BOOTTIME`: goes on in suspend, never jumps.
fn boot_clock() -> BootInstant {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    BootInstant(whole_millis(Duration::new(seconds, nanoseconds)))
}

#[expect(clippy::disallowed_methods, reason = "the rim: this is where the effector reads the wall clock")]
fn wall_clock() -> UnixMillis {
    UnixMillis(whole_millis(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
}
