//! How many enrolments may fail from one address before it has to wait; the same for logins, counted apart.
//!
//! Guessing a token of 256 bits is hopeless; this bounds what the attempts cost: work on a port that asks for
//! no certificate, and lines of the log. Who proves its token is not counted, so that a fleet behind one
//! address enrols as fast as it likes. Reads no clock.

use crate::core::Monotonic;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// Failures from one address at once: a rack of hosts that were given yesterday's tokens.
const BURST: u32 = 32;
/// One more is allowed after so long.
const REFILL: Duration = Duration::from_secs(1);
/// Addresses that are remembered, some 100 bytes each. Beyond it, those that have failed least are forgotten.
const MAX_ADDRESSES: usize = 4_096;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// Up to when the refill is reckoned.
    at: Monotonic,
}

impl Failures {
    /// What is left of them by now.
    fn by(self, now: Monotonic) -> Self {
        let refilled = self.at.until(now).as_secs() / REFILL.as_secs();
        let refilled = u32::try_from(refilled).unwrap_or(u32::MAX);
        let at = self.at.plus(REFILL.saturating_mul(refilled));
        Self { count: self.count.saturating_sub(refilled), at }
    }
}

/// The failures by address.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    failures: HashMap<IpAddr, Failures>,
}

/// The address has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many attempts from this address have failed; wait {REFILL:?}")]
pub(crate) struct TooMany;

impl Pace {
    /// Whether an address may try.
    ///
    /// # Errors
    /// When it has to wait.
    pub(crate) fn may_try(&self, address: IpAddr, now: Monotonic) -> Result<(), TooMany> {
        let count = self.failures.get(&address).map_or(0, |failures| failures.by(now).count);
        if count < BURST { Ok(()) } else { Err(TooMany) }
    }

    /// An address failed.
    pub(crate) fn failed(&mut self, address: IpAddr, now: Monotonic) {
        if self.failures.len() >= MAX_ADDRESSES && !self.failures.contains_key(&address) {
            self.forget(now);
        }
        let failures = self.failures.entry(address).or_insert(Failures { count: 0, at: now });
        *failures = failures.by(now);
        failures.count = failures.count.saturating_add(1).min(BURST);
    }

    fn forget(&mut self, now: Monotonic) {
        self.failures.retain(|_, failures| failures.by(now).count > 0);
        if self.failures.len() >= MAX_ADDRESSES {
            let least = self.failures.values().map(|failures| failures.by(now).count).min().unwrap_or_default();
            self.failures.retain(|_, failures| failures.by(now).count > least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn address(last: u16) -> IpAddr {
        IpAddr::from([10, 0, last.to_be_bytes()[0], last.to_be_bytes()[1]])
    }

    #[test]
    fn an_address_that_failed_often_waits_and_others_do_not() {
        let mut pace = Pace::default();
        for _ in 0..BURST {
            assert_eq!(pace.may_try(address(1), at(10)), Ok(()));
            pace.failed(address(1), at(10));
        }
        assert_eq!(pace.may_try(address(1), at(10)), Err(TooMany));
        assert_eq!(pace.may_try(address(2), at(10)), Ok(()));
        assert_eq!(pace.may_try(address(1), at(11)), Ok(()));
        pace.failed(address(1), at(11));
        assert_eq!(pace.may_try(address(1), at(11)), Err(TooMany));
        assert_eq!(pace.may_try(address(1), at(1_000)), Ok(()));
    }

    #[test]
    fn a_crowd_of_addresses_is_forgotten_before_one_that_failed_often() {
        let mut pace = Pace::default();
        for _ in 0..BURST {
            pace.failed(address(0), at(1));
        }
        for last in 1..=u16::try_from(2 * MAX_ADDRESSES).expect("fits") {
            pace.failed(address(last), at(1));
            assert!(pace.failures.len() <= MAX_ADDRESSES);
        }
        assert_eq!(pace.may_try(address(0), at(1)), Err(TooMany));
    }
}
