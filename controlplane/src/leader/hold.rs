//! Hold points: lets a crash test stop this process around its n-th durable append.
//!
//! Only with the feature `hold-points`. `FETTLE_HOLD_AT=<n>` counts appends since the process started;
//! `FETTLE_HOLD_WHEN=appended|published` says on which side of the checkpoint, `published` when absent.
//! The test sees the stopped process, kills it, and starts it again without the variable.

use std::num::NonZeroU64;

/// On which side of the checkpoint to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Appended,
    Published,
}

/// Where to stop.
#[derive(Debug)]
pub(super) struct Hold {
    at: Option<(NonZeroU64, When)>,
    appends: u64,
}

impl Hold {
    pub(super) fn from_environment() -> Self {
        let when = match std::env::var("FETTLE_HOLD_WHEN").as_deref() {
            Ok("appended") => When::Appended,
            Ok(_) | Err(_) => When::Published,
        };
        let at = std::env::var("FETTLE_HOLD_AT").ok().and_then(|text| text.parse().ok());
        Self { at: at.map(|at| (at, when)), appends: 0 }
    }

    pub(super) fn appended(&mut self) {
        self.appends += 1;
        self.stop_when(When::Appended);
    }

    pub(super) fn published(&self) {
        self.stop_when(When::Published);
    }

    fn stop_when(&self, when: When) {
        if self.at.is_some_and(|(at, wanted)| at.get() == self.appends && wanted == when) {
            // A failure shows itself: the test waits for a stopped process in vain.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP).ok();
        }
    }
}
