//! How much a host may add to the log: a bucket that empties with time.
//!
//! An agent that is broken or taken over signs records as fast as it can, and the log keeps them all. Beyond its
//! allowance a host's session reads no faster than the bucket empties: nothing is lost, it waits with the agent.
//! Kept by host and not by session, so that a new connection brings no new allowance. Reads no clock.

use crate::core::Monotonic;
use std::time::Duration;

/// What a record costs besides its envelope: its leaf, its share of tree and checkpoint, and the answer to it.
const RECORD_BYTES: u64 = 3 * 1024;
/// What a host may add for good: four records of a kilobyte every second, 1.4 GB a day. A host whose twenty checks
/// each change every five seconds writes as much. A disk of 100 GB then has room for ten weeks in
/// which the control plane's own log names the host every minute.
const BYTES_PER_SECOND: u64 = 16 * 1024;
/// What it may add at once: 4 000 records of a kilobyte, which is an outage of weeks, or two of the largest.
const BURST_BYTES: u64 = 16 * 1024 * 1024;

/// How long it is not said again that a host is slowed.
const SAY_AGAIN: Duration = Duration::from_mins(1);

/// What one host has added and the bucket has not lost since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    bytes: u64,
    /// Up to when the emptying is reckoned.
    at: Monotonic,
    said_at: Option<Monotonic>,
}

/// Whether people are to be told that a host is slowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// They are.
    Due,
    /// They were a moment ago.
    Given,
}

impl Bucket {
    /// How long the host's next record has to wait. One record is taken whole as soon as there is any room, so that
    /// the largest passes too, and is paid for afterwards.
    pub(super) fn wait(&mut self, now: Monotonic) -> Duration {
        self.empty(now);
        let over = self.bytes.saturating_sub(BURST_BYTES);
        Duration::from_millis(over.saturating_mul(1_000).div_ceil(BYTES_PER_SECOND))
    }

    /// A record of so many bytes is taken.
    pub(super) fn add(&mut self, envelope_bytes: usize, now: Monotonic) {
        self.empty(now);
        let envelope = u64::try_from(envelope_bytes).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(envelope).saturating_add(RECORD_BYTES);
    }

    /// The host is slowed.
    pub(super) fn notice(&mut self, now: Monotonic) -> Notice {
        if self.said_at.is_some_and(|at| at.until(now) < SAY_AGAIN) {
            return Notice::Given;
        }
        self.said_at = Some(now);
        Notice::Due
    }

    fn empty(&mut self, now: Monotonic) {
        let millis = u64::try_from(self.at.until(now).as_millis()).unwrap_or(u64::MAX);
        let lost = millis.saturating_mul(BYTES_PER_SECOND) / 1_000;
        self.bytes = self.bytes.saturating_sub(lost);
        // Whole milliseconds only: the rest counts the next time.
        self.at = self.at.plus(Duration::from_millis(millis));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDINARY: usize = 1_024;

    fn at(millis: u64) -> Monotonic {
        Monotonic(Duration::from_millis(millis))
    }

    /// How many ordinary records get through until `until`, each as early as it may.
    fn taken(bucket: &mut Bucket, from: u64, until: u64) -> u64 {
        let (mut now, mut taken) = (from, 0);
        loop {
            now += u64::try_from(bucket.wait(at(now)).as_millis()).expect("small");
            if now > until {
                return taken;
            }
            bucket.add(ORDINARY, at(now));
            taken += 1;
        }
    }

    #[test]
    fn a_host_has_its_burst_at_once_and_then_its_share() {
        let mut bucket = Bucket::default();
        let burst = taken(&mut bucket, 0, 0);
        assert_eq!(burst, BURST_BYTES / 4_096 + 1);
        assert!(bucket.wait(at(0)) > Duration::ZERO);
        let hour = taken(&mut bucket, 0, 3_600_000);
        assert_eq!(hour, 4 * 3_600);
        // Silence earns no more than the burst.
        assert_eq!(taken(&mut bucket, 1_000_000_000, 1_000_000_000), burst);
    }

    #[test]
    fn the_largest_record_passes_and_is_paid_for_afterwards() {
        let mut bucket = Bucket::default();
        for now in [0, 0, 1_000] {
            assert_eq!(bucket.wait(at(now)), Duration::ZERO);
            bucket.add(8 * 1024 * 1024, at(now));
        }
        let wait = bucket.wait(at(1_000));
        assert!(wait > Duration::from_secs(500) && wait < Duration::from_secs(520), "{wait:?}");
        assert_eq!(bucket.wait(at(521_000)), Duration::ZERO);
    }

    #[test]
    fn it_is_said_once_a_minute_that_a_host_is_slowed() {
        let mut bucket = Bucket::default();
        let notices = [0, 1, 59_999, 60_000, 60_001].map(|millis| bucket.notice(at(millis)));
        assert_eq!(notices, [Notice::Due, Notice::Given, Notice::Given, Notice::Due, Notice::Given]);
    }
}
