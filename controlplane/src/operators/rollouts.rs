//! How the newest configuration reaches the hosts, as rows. Called by the query; changes nothing.

use crate::core::{Host, InForce, Now, Rollout, RolloutStanding as Standing, State, Wait};
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::name::HostName;
use fettle_model::rollout::{Ring, Setback};
use fettle_proto::operator::{
    MAX_RING_HOSTS, RejectionRow, RingHost, RingRow, RingState, RolloutProgress, RolloutStanding, RolloutView,
    SetbackRow, WaitsFor,
};
use std::collections::BTreeMap;

/// What connected agents hold.
type HeldBy = BTreeMap<HostId, InForce>;

pub(super) fn view(state: &State, held: &HeldBy, now: Now) -> RolloutView {
    let rejections = state.rejections().iter().filter_map(|(host, rejection)| {
        Some(RejectionRow {
            host: named(state, *host)?,
            keeps: rejection.keeps,
            position: rejection.stamp.position,
            because: rejection.because.iter().cloned().collect(),
        })
    });
    RolloutView {
        generation: state.configuration().generation(),
        rollout: state.rollout().map(|rollout| Box::new(progress(state, rollout, held, now))),
        rejections: rejections.take(MAX_RING_HOSTS).collect(),
    }
}

fn named(state: &State, host: HostId) -> Option<HostName> {
    state.host(host).map(|host| host.name.clone())
}

fn progress(state: &State, rollout: &Rollout, held: &HeldBy, now: Now) -> RolloutProgress {
    let standing = match &rollout.standing {
        Standing::Running => RolloutStanding::Running { waits: waits(state, rollout, held, now) },
        Standing::Halted { stamp, because } => RolloutStanding::Halted {
            position: stamp.position,
            since: stamp.at,
            because: because.iter().map(|setback| row(state, setback)).collect(),
        },
    };
    RolloutProgress {
        previous: rollout.previous().generation(),
        services: rollout.changes().services.iter().cloned().collect(),
        remediations: rollout.changes().remediations.iter().cloned().collect(),
        rings: Ring::ALL.iter().map(|ring| ring_row(state, rollout, held, *ring)).collect(),
        standing,
    }
}

fn row(state: &State, setback: &Setback) -> SetbackRow {
    let host = match setback {
        Setback::Rejected { host } | Setback::RunEnded { host, .. } => named(state, *host),
        Setback::BreakerOpened { .. } => None,
    };
    SetbackRow { setback: setback.clone(), host }
}

fn waits(state: &State, rollout: &Rollout, held: &HeldBy, now: Now) -> WaitsFor {
    match rollout.wait(state, now, held) {
        None => WaitsFor::NextRing,
        Some(Wait::Members) => WaitsFor::Members,
        Some(Wait::Connection) => WaitsFor::Connection,
        Some(Wait::Soak { until }) => WaitsFor::Soak { until },
        Some(Wait::Hosts(hosts)) => {
            let hosts = hosts.into_iter().filter_map(|host| named(state, host)).take(MAX_RING_HOSTS).collect();
            WaitsFor::Hosts { hosts }
        }
    }
}

fn ring_row(state: &State, rollout: &Rollout, held: &HeldBy, ring: Ring) -> RingRow {
    let is_of = |host: &&Host| host.state == HostState::Active && rollout.ring_of(host) == ring;
    let hosts = || state.hosts().filter(is_of);
    let ring_state = match ring.cmp(&rollout.ring) {
        std::cmp::Ordering::Less => RingState::Passed,
        std::cmp::Ordering::Equal => RingState::Reached,
        std::cmp::Ordering::Greater => RingState::Ahead,
    };
    let host = |host: &Host| RingHost { host: host.name.clone(), holds: held.get(&host.id).map(|it| it.generation) };
    RingRow {
        ring,
        state: ring_state,
        count: u64::try_from(hosts().count()).unwrap_or(u64::MAX),
        hosts: hosts().take(MAX_RING_HOSTS).map(host).collect(),
    }
}
