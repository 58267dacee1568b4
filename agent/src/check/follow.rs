//! Following one check's results, to tell whether it stays healthy. Made by
//! [`super::Schedule::subscribe`]; results come while the schedule is drained.

use super::observation::Observation;
use fettle_model::check::{CheckRef, Status};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

/// The results of one check from now on.
#[derive(Debug)]
pub struct Results {
    of: CheckRef,
    feed: Receiver<Observation>,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sequel {
    /// One more result.
    Result(Observation),
    /// The reader was too slow and results are gone.
    Missed,
    /// The schedule is gone.
    Ended,
}

/// Whether a check stayed healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stay {
    /// Every result passed, and the last was at least so long after the first.
    Stayed,
    /// This result did not pass.
    Broke(Observation),
    /// Results were missed or the schedule ended: nothing can be said.
    Untold,
}

impl Results {
    pub(super) const fn new(of: CheckRef, feed: Receiver<Observation>) -> Self {
        Self { of, feed }
    }

    /// Waits for the check's next result.
    // CANCEL: a result is taken only when it is returned; results of other checks may be dropped.
    pub async fn next(&mut self) -> Sequel {
        loop {
            match self.feed.recv().await {
                Ok(observation) if observation.check == self.of => return Sequel::Result(observation),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Sequel::Missed,
                Err(RecvError::Closed) => return Sequel::Ended,
            }
        }
    }

    /// Waits until results have passed for so long, counted from the first of them, or one does not pass.
    /// Silence is not health: with no results this waits on, so callers bound it.
    pub async fn stays_passing(&mut self, healthy_for: Duration) -> Stay {
        let mut since = None;
        loop {
            let observation = match self.next().await {
                Sequel::Result(observation) => observation,
                Sequel::Missed | Sequel::Ended => return Stay::Untold,
            };
            match observation.status {
                Status::Passing => {}
                Status::Warning | Status::Critical | Status::Unknown => return Stay::Broke(observation),
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= healthy_for {
                return Stay::Stayed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reason::Reason;
    use super::*;
    use fettle_model::time::UnixMillis;
    use tokio::sync::broadcast;

    fn of(check: &str) -> CheckRef {
        CheckRef { service: "web".parse().expect("a name"), check: check.parse().expect("a name") }
    }

    fn said(check: &str, status: Status) -> Observation {
        Observation { check: of(check), status, reason: Reason::new("so it is"), at: UnixMillis(1) }
    }

    #[track_caller]
    fn check(results: &[Observation], healthy_for: Duration, expected: &Stay) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (sender, feed) = broadcast::channel(4);
        let mut followed = Results::new(of("answers"), feed);
        for result in results {
            sender.send(result.clone()).expect("there is a reader");
        }
        drop(sender);
        assert_eq!(&runtime.block_on(followed.stays_passing(healthy_for)), expected);
    }

    #[test]
    fn a_check_stays_healthy_only_while_its_own_results_pass() {
        let passing = said("answers", Status::Passing);
        check(std::slice::from_ref(&passing), Duration::ZERO, &Stay::Stayed);
        check(&[said("other", Status::Critical), passing.clone()], Duration::ZERO, &Stay::Stayed);
        for status in [Status::Warning, Status::Critical, Status::Unknown] {
            let broke = said("answers", status);
            check(&[passing.clone(), broke.clone()], Duration::from_secs(60), &Stay::Broke(broke));
        }
    }

    #[test]
    fn nothing_is_said_of_results_that_were_missed_or_never_came() {
        check(&[said("answers", Status::Passing)], Duration::from_secs(60), &Stay::Untold);
        check(&[], Duration::ZERO, &Stay::Untold);
        let many = vec![said("answers", Status::Passing); 5];
        check(&many, Duration::ZERO, &Stay::Untold);
    }
}
