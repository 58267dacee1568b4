//! Time. There is no clock reading in a state, only what is left of each duration: so time has no end, and the states
//! are finitely many all the same.
//!
//! The leader's clock is the true one. An agent's clock may stand while time passes, as often as the setting's lag allows; a
//! leader's clock that runs ahead is the same seen from the other side.

use super::set::HostNo;
use super::state::{Host, Phase, Standing, State};
use super::{Protocol, Step};

/// A tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// The host whose clock stands.
    pub slow: Option<HostNo>,
}

impl Protocol {
    pub(super) fn ticks(&self, state: &State, steps: &mut Vec<Step>) {
        let slow = self.hosts().filter(|_| state.lag_left > 0).map(Some);
        let ticks = std::iter::once(None).chain(slow).map(|slow| Tick { slow });
        steps.extend(ticks.filter(|tick| self.may_pass(state, *tick)).map(Step::Time));
    }

    /// An effect that has lasted as long as it may is ended by its host before time goes on.
    fn may_pass(&self, state: &State, tick: Tick) -> bool {
        self.hosts().filter(|host| tick.slow != Some(*host)).all(|host| !is_overdue(state.host(host)))
    }

    pub(super) fn tick(&self, state: &mut State, Tick { slow }: Tick) {
        if slow.is_some() {
            state.lag_left -= 1;
        }
        for host in self.hosts().filter(|host| slow != Some(*host)) {
            let here = state.host_mut(host);
            if let Some(request) = &mut here.waiting {
                request.lease_left = request.lease_left.saturating_sub(1);
            }
            if let Some(run) = &mut here.run {
                run.left = run.left.saturating_sub(1);
            }
            if let Some(orphan) = &mut here.orphan {
                orphan.left = orphan.left.saturating_sub(1);
            }
        }
        for permit in state.permits_mut() {
            if slow != Some(permit.host) && permit.lease_left != super::state::NOT_RECEIVED {
                permit.lease_left = permit.lease_left.saturating_sub(1);
            }
            if permit.standing == Standing::InFlight {
                permit.hold_left = permit.hold_left.saturating_sub(1);
            }
        }
    }
}

fn is_overdue(host: &Host) -> bool {
    let run = host.run.is_some_and(|run| match run.phase {
        Phase::Acting | Phase::Acted => run.left == 0,
        Phase::Opened | Phase::Suspended | Phase::Declared | Phase::Published => false,
    });
    run || host.orphan.is_some_and(|orphan| orphan.left == 0)
}
