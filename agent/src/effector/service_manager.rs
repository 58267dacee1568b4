//! What the effector tells the service manager (`sd_notify`): that it serves, and from then on that its loop turns.
//!
//! Owned by the loop, which alone says so, once in each turn at most: a loop that is stuck is silent, and the manager
//! ends the process and starts it again. Without a manager, or without a watchdog, nothing is said.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::Instant;

/// The manager hears so many times within the time after which it takes silence for death: a turn that was late for
/// one is in time for the next.
const TIMES: u32 = 3;

/// The manager's ear.
#[derive(Debug)]
pub(super) struct ServiceManager {
    watchdog: Option<Watchdog>,
}

/// How often the manager wants to hear, and when it is due.
#[derive(Debug, PartialEq, Eq)]
struct Watchdog {
    every: Duration,
    due: Instant,
}

impl Watchdog {
    fn new(within: Duration, now: Instant) -> Self {
        let every = within / TIMES;
        Self { every, due: now + every }
    }

    /// Whether it is time; if so, it is again after a while.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.due;
        if is_due {
            self.due = now + self.every;
        }
        is_due
    }
}

impl ServiceManager {
    /// Says that the effector serves.
    pub(super) fn ready() -> Self {
        tell(NotifyState::Ready);
        Self { watchdog: sd_notify::watchdog_enabled().map(|within| Watchdog::new(within, Instant::now())) }
    }

    /// Waits until the manager wants to hear again.
    pub(super) fn due(&self) -> impl Future<Output = ()> + use<> {
        let due = self.watchdog.as_ref().map(|watchdog| watchdog.due);
        async move {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        }
    }

    /// The loop has turned once more.
    pub(super) fn turned(&mut self) {
        if self.watchdog.as_mut().is_some_and(|watchdog| watchdog.is_due(Instant::now())) {
            tell(NotifyState::Watchdog);
        }
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_told_three_times_within_the_managers_patience_and_not_more_often() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut watchdog = Watchdog::new(60 * second, start);
        let told = (0..=60).filter(|seconds| watchdog.is_due(start + *seconds * second)).collect::<Vec<u32>>();
        assert_eq!(told, [20, 40, 60]);
        // A late turn is told at once, and a whole interval counts from there.
        assert!(watchdog.is_due(start + 95 * second));
        assert!(!watchdog.is_due(start + 114 * second));
    }
}
