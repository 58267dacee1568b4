//! Ramps: how many hosts a remediation may act on at once, as its runs succeed.
//!
//! One at first; when as many runs as it may have at once have succeeded, twice as many. A failure takes it back
//! to one, and so does a quiet time: the next fault is a new one. The guard's `max_in_flight` stands above it.

use fettle_model::name::{EnvironmentName, RemediationName};
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// No ramp grows beyond this; no group has more hosts.
const MOST: u32 = 1 << 20;

/// The ramp of one remediation in one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct Ramp {
    /// How many runs it may have at once.
    earned: u32,
    /// Runs that succeeded since it last grew.
    succeeded: u32,
    /// Runs in progress.
    in_flight: u32,
    /// When it last did anything.
    last: UnixMillis,
}

/// What a ramp allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct Step {
    /// Runs at once.
    pub(in crate::core) limit: u32,
    /// Runs in progress.
    pub(in crate::core) in_flight: u32,
}

impl Ramp {
    const fn first(at: UnixMillis) -> Self {
        Self { earned: 1, succeeded: 0, in_flight: 0, last: at }
    }

    fn is_over(&self, quiet: Duration, wall: UnixMillis) -> bool {
        self.in_flight == 0 && wall.since(self.last) >= quiet
    }
}

/// The ramps of all remediations that acted lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Ramps(BTreeMap<RemediationName, BTreeMap<EnvironmentName, Ramp>>);

impl Ramps {
    fn get(&self, remediation: &RemediationName, environment: &EnvironmentName) -> Option<&Ramp> {
        self.0.get(remediation)?.get(environment)
    }

    /// What the remediation may do in the environment; after `quiet` without a run it begins anew.
    pub(in crate::core) fn step(
        &self,
        remediation: &RemediationName,
        environment: &EnvironmentName,
        quiet: Duration,
        wall: UnixMillis,
    ) -> Step {
        match self.get(remediation, environment).filter(|ramp| !ramp.is_over(quiet, wall)) {
            Some(ramp) => Step { limit: ramp.earned, in_flight: ramp.in_flight },
            None => Step { limit: 1, in_flight: 0 },
        }
    }

    /// A permit was granted.
    pub(in crate::core) fn granted(
        &mut self,
        remediation: &RemediationName,
        environment: &EnvironmentName,
        quiet: Duration,
        at: UnixMillis,
    ) {
        let ramps = self.0.entry(remediation.clone()).or_default();
        let ramp = ramps.entry(environment.clone()).or_insert(Ramp::first(at));
        if ramp.is_over(quiet, at) {
            *ramp = Ramp::first(at);
        }
        ramp.in_flight = ramp.in_flight.saturating_add(1);
        ramp.last = at;
    }

    /// A run's slot is free again; `ending` is `None` where the agent refused the permit.
    pub(in crate::core) fn ended(
        &mut self,
        remediation: &RemediationName,
        environment: &EnvironmentName,
        ending: Option<Ending>,
        at: UnixMillis,
    ) {
        let Some(ramp) = self.0.get_mut(remediation).and_then(|ramps| ramps.get_mut(environment)) else { return };
        ramp.in_flight = ramp.in_flight.saturating_sub(1);
        ramp.last = at;
        match ending {
            Some(Ending::Succeeded) => {
                ramp.succeeded = ramp.succeeded.saturating_add(1);
                if ramp.succeeded >= ramp.earned {
                    ramp.earned = ramp.earned.saturating_mul(2).min(MOST);
                    ramp.succeeded = 0;
                }
            }
            Some(ending) if ending.counts_as_failure() => (ramp.earned, ramp.succeeded) = (1, 0),
            Some(_) | None => {}
        }
    }

    /// A configuration was set: ramps of remediations that it does not have are forgotten.
    pub(in crate::core) fn keep(&mut self, exists: impl Fn(&RemediationName) -> bool) {
        self.0.retain(|remediation, _| exists(remediation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_mins(10);

    /// Plays `g`rants, `s`uccesses, `f`ailures, a superseded run (`x`) and a quiet time (`_`), and gives the limit after each.
    #[track_caller]
    fn check(story: &str, limits: &[u32]) {
        let (remediation, environment) = ("heal".parse().expect("a name"), "production".parse().expect("a name"));
        let mut ramps = Ramps::default();
        let mut wall = UnixMillis(1_000_000);
        let mut found = Vec::new();
        for event in story.chars() {
            match event {
                'g' => ramps.granted(&remediation, &environment, QUIET, wall),
                's' => ramps.ended(&remediation, &environment, Some(Ending::Succeeded), wall),
                'f' => ramps.ended(&remediation, &environment, Some(Ending::Failed), wall),
                'x' => ramps.ended(&remediation, &environment, Some(Ending::Superseded), wall),
                _ => wall = wall.plus(QUIET),
            }
            found.push(ramps.step(&remediation, &environment, QUIET, wall).limit);
        }
        assert_eq!(found, limits, "{story}");
    }

    #[test]
    fn it_doubles_when_all_that_it_may_have_at_once_succeeded() {
        check("gsggssggggssss", &[1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 8]);
    }

    #[test]
    fn a_failure_or_a_quiet_time_takes_it_back_to_one_and_what_proved_nothing_leaves_it() {
        check("gsgx", &[1, 2, 2, 2]);
        check("gsggsf", &[1, 2, 2, 2, 2, 1]);
        check("gs_gs", &[1, 2, 1, 1, 2]);
        // While a run is in progress nothing is quiet.
        check("gsg_", &[1, 2, 2, 2]);
    }
}
