//! When a change of status counts. Pure; the schedule owns one [`Damping`] for each check.
//!
//! A check becomes worse when its last `fail_after` probes were all at least that bad, and better when
//! its last `recover_after` probes were all at least that good. Two warnings and one critical probe are
//! therefore three probes of at least `warning`, and not yet one of three criticals. A probe that
//! could not tell breaks every run and counts only towards `unknown`, never towards `critical`.

use fettle_model::check::{Check, Status};

/// A change of the damped status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// Before; `None`: there was none.
    pub from: Option<Status>,
    /// After.
    pub to: Status,
}

/// The damped status of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damping {
    thresholds: Thresholds,
    current: Option<Status>,
    runs: Runs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thresholds {
    fail_after: u32,
    recover_after: u32,
}

impl Thresholds {
    /// A threshold of 0 would be a change without a probe.
    fn of(check: &Check) -> Self {
        Self { fail_after: check.fail_after.max(1), recover_after: check.recover_after.max(1) }
    }
}

/// How many of the last probes, without a break, said so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Runs {
    unknown: u32,
    known: u32,
    at_least_warning: u32,
    critical: u32,
    at_most_warning: u32,
    passing: u32,
}

impl Runs {
    fn count(&mut self, probe: Status) {
        let (passing, warning, critical) = match probe {
            Status::Unknown => {
                *self = Self { unknown: self.unknown.saturating_add(1), ..Self::default() };
                return;
            }
            Status::Passing => (Said::Yes, Said::No, Said::No),
            Status::Warning => (Said::No, Said::Yes, Said::No),
            Status::Critical => (Said::No, Said::No, Said::Yes),
        };
        self.unknown = 0;
        Said::Yes.count(&mut self.known);
        warning.or(critical).count(&mut self.at_least_warning);
        critical.count(&mut self.critical);
        warning.or(passing).count(&mut self.at_most_warning);
        passing.count(&mut self.passing);
    }
}

#[derive(Clone, Copy)]
enum Said {
    Yes,
    No,
}

impl Said {
    const fn or(self, other: Self) -> Self {
        match self {
            Self::Yes => Self::Yes,
            Self::No => other,
        }
    }

    fn count(self, run: &mut u32) {
        *run = match self {
            Self::Yes => run.saturating_add(1),
            Self::No => 0,
        };
    }
}

impl Damping {
    /// Starts from the last durable status, so that a restart neither forgets a fault nor tells it twice.
    #[must_use]
    pub fn start(check: &Check, last: Option<Status>) -> Self {
        Self { thresholds: Thresholds::of(check), current: last, runs: Runs::default() }
    }

    /// The status that counts; `None` until there was a first one.
    #[must_use]
    pub const fn current(&self) -> Option<Status> {
        self.current
    }

    /// How many probes in a row have to pass for the check to pass: one while it does, or before it was ever told.
    #[must_use]
    pub const fn good_probes(&self) -> u32 {
        match self.current {
            Some(Status::Passing) | None => 1,
            Some(Status::Warning | Status::Critical | Status::Unknown) => self.thresholds.recover_after,
        }
    }

    /// The check was redefined: the status stays, the runs begin anew, since other probes made them.
    pub fn redefine(&mut self, check: &Check) {
        *self = Self::start(check, self.current);
    }

    /// Takes one probe's status; says when that completes a change.
    pub fn feed(&mut self, probe: Status) -> Option<Shift> {
        self.runs.count(probe);
        let to = self.target()?;
        let from = self.current;
        (from != Some(to)).then(|| {
            self.current = Some(to);
            Shift { from, to }
        })
    }

    fn target(&self) -> Option<Status> {
        let Thresholds { fail_after, recover_after } = self.thresholds;
        if self.runs.unknown >= fail_after {
            return Some(Status::Unknown);
        }
        let critical = (self.runs.critical >= fail_after).then_some(Status::Critical);
        let worse = critical.or((self.runs.at_least_warning >= fail_after).then_some(Status::Warning));
        let passing = (self.runs.passing >= recover_after).then_some(Status::Passing);
        let better = passing.or((self.runs.at_most_warning >= recover_after).then_some(Status::Warning));
        match self.current {
            Some(Status::Passing) => worse,
            Some(Status::Warning) => critical.or(passing),
            Some(Status::Critical) => better,
            // A check that goes up and down would otherwise stay unknown for ever, though its probes tell.
            Some(Status::Unknown) | None => critical
                .or(passing)
                .or(worse)
                .or((self.runs.known >= fail_after.max(recover_after)).then_some(Status::Warning)),
        }
    }
}

#[cfg(test)]
mod tests;
