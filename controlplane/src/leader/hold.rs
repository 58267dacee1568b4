//! Hold points: lets a crash test stop this process around the append that holds its n-th record.
//!
//! Only with the feature `hold-points`. `FETTLE_HOLD_AT=<n>` counts records since the process started:
//! which of them share an append is chance, and a test must not miss the one that it is after;
//! `FETTLE_HOLD_WHEN=appended|published` says on which side of the checkpoint, `published` when absent.
//! The test sees the stopped process, kills it, and starts it again without the variable.

use std::num::NonZeroU64;
use std::time::Duration;

/// How long this thread waits for the stop to reach it: the kernel gives the signal to the main thread
/// first, and that takes some microseconds.
const STOPPED_WITHIN: Duration = Duration::from_millis(500);

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
    /// Records before the newest append, and with it.
    before: u64,
    records: u64,
}

impl Hold {
    pub(super) fn from_environment() -> Self {
        let when = match std::env::var("FETTLE_HOLD_WHEN").as_deref() {
            Ok("appended") => When::Appended,
            Ok(_) | Err(_) => When::Published,
        };
        let at = std::env::var("FETTLE_HOLD_AT").ok().and_then(|text| text.parse().ok());
        Self { at: at.map(|at| (at, when)), before: 0, records: 0 }
    }

    pub(super) fn appended(&mut self, records: usize) {
        self.before = self.records;
        self.records += u64::try_from(records).unwrap_or(u64::MAX);
        self.stop_when(When::Appended);
    }

    pub(super) fn published(&self) {
        self.stop_when(When::Published);
    }

    fn stop_when(&self, when: When) {
        let newest = self.before + 1..=self.records;
        if self.at.is_some_and(|(at, wanted)| newest.contains(&at.get()) && wanted == when) {
            // A failure shows itself: the test waits for a stopped process in vain.
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP).ok();
            std::thread::park_timeout(STOPPED_WITHIN);
        }
    }
}
