//! Ramps: on how many hosts a remediation may act at once, as its runs succeed. Folded by [`super::course`].

use fettle_model::name::{EnvironmentName, RemediationName};
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// No ramp grows beyond this; no group has more hosts.
const MOST: u32 = 1 << 20;

/// A remediation in an environment.
pub(super) type Slope = (RemediationName, EnvironmentName);

/// What one of them has earned.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    /// Runs that it may have at once.
    earned: u32,
    /// Runs that succeeded since that grew.
    succeeded: u32,
    in_flight: u32,
    /// When it last did anything.
    last: UnixMillis,
}

impl Ramp {
    const fn first(at: UnixMillis) -> Self {
        Self { earned: 1, succeeded: 0, in_flight: 0, last: at }
    }

    fn is_over(&self, quiet: Duration, now: UnixMillis) -> bool {
        self.in_flight == 0 && now.since(self.last) >= quiet
    }
}

/// How many runs a remediation had at once, of how many that it might.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) limit: u32,
    pub(super) in_flight: u32,
}

/// All remediations that acted.
#[derive(Debug, Clone, Default)]
pub(super) struct Ramps(BTreeMap<Slope, Ramp>);

impl Ramps {
    /// After `quiet` without a run it begins anew.
    pub(super) fn step(&self, of: &Slope, quiet: Duration, now: UnixMillis) -> Step {
        match self.0.get(of).filter(|ramp| !ramp.is_over(quiet, now)) {
            Some(ramp) => Step { limit: ramp.earned, in_flight: ramp.in_flight },
            None => Step { limit: 1, in_flight: 0 },
        }
    }

    pub(super) fn granted(&mut self, of: &Slope, quiet: Duration, now: UnixMillis) {
        let ramp = self.0.entry(of.clone()).or_insert(Ramp::first(now));
        if ramp.is_over(quiet, now) {
            *ramp = Ramp::first(now);
        }
        ramp.in_flight = ramp.in_flight.saturating_add(1);
        ramp.last = now;
    }

    /// A slot is free again; `ending` is `None` where the agent refused the permit.
    pub(super) fn ended(&mut self, of: &Slope, ending: Option<Ending>, now: UnixMillis) {
        let Some(ramp) = self.0.get_mut(of) else { return };
        ramp.in_flight = ramp.in_flight.saturating_sub(1);
        ramp.last = now;
        match ending {
            Some(Ending::Succeeded) => {
                ramp.succeeded = ramp.succeeded.saturating_add(1);
                if ramp.succeeded >= ramp.earned {
                    (ramp.earned, ramp.succeeded) = (ramp.earned.saturating_mul(2).min(MOST), 0);
                }
            }
            Some(Ending::Ineffective | Ending::Failed | Ending::Reverted | Ending::InDoubt) => {
                (ramp.earned, ramp.succeeded) = (1, 0);
            }
            Some(Ending::Superseded | Ending::Cancelled | Ending::Expired) | None => {}
        }
    }

    /// Those of remediations that the newest configuration does not have are forgotten.
    pub(super) fn keep(&mut self, exists: impl Fn(&RemediationName) -> bool) {
        self.0.retain(|(remediation, _), _| exists(remediation));
    }
}
