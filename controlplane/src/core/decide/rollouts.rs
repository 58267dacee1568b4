//! When a rollout goes on, halts or is not needed. Called by the tick, and where a configuration is set.

use crate::core::conditions::Senses;
use crate::core::hosts::Host;
use crate::core::now::Now;
use crate::core::rollout::{InForce, Rollout, RolloutStanding, concerns};
use crate::core::state::State;
use fettle_model::configuration::Configuration;
use fettle_model::host::HostState;
use fettle_model::id::{HostId, IncidentId};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::name::EnvironmentName;
use fettle_model::record::Body;
use fettle_model::remediation::Mode;
use fettle_model::rollout::{
    Changes, ConfigurationRejected, Reach, Ring, RolloutAdvanced, RolloutHalted, RolloutLimits, Setback,
};
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// What connected agents hold.
type HeldBy = BTreeMap<HostId, InForce>;

/// Whom a configuration reaches at once: everybody, where nothing that hosts hold changes, and nothing that they begin to
/// hold acts by itself.
pub(super) fn reach(state: &State, target: &Configuration) -> Reach {
    if state.configured().is_none() {
        return Reach::Everywhere;
    }
    // During a rollout, what counts is what was in force before it: the target that is replaced is on few hosts.
    let previous = state.rollout().map_or_else(|| state.configuration(), Rollout::previous);
    let mut changes = Changes::between(previous, target);
    changes.services.retain(|name| {
        let answers = target.remediations().iter().filter(|answer| &answer.service == name);
        let acts = answers.into_iter().any(|answer| answer.modes.values().any(|mode| *mode == Mode::Auto));
        previous.service(name).is_some() || acts
    });
    let concerned = active(state).any(|host| concerns(&changes, previous, target, host));
    if concerned { Reach::Rings } else { Reach::Everywhere }
}

fn active(state: &State) -> impl Iterator<Item = &Host> {
    state.hosts().filter(|host| host.state == HostState::Active)
}

/// What follows from a host's rejection of a configuration that was set everywhere at once: people are called, for the
/// first such host. A rollout halts by itself.
pub(super) fn after_rejection(
    state: &State,
    host: HostId,
    rejected: &ConfigurationRejected,
    incident: IncidentId,
) -> Vec<Body> {
    let generation = rejected.generation;
    let newest = generation == state.configuration().generation();
    if !newest || state.rollout().is_some() || !state.rejections().is_empty() {
        return Vec::new();
    }
    let cause = IncidentCause::ConfigurationRejected { generation };
    vec![Body::IncidentOpened(Box::new(IncidentOpened { incident, host: Some(host), check: None, cause }))]
}

/// The halt or the next ring, when it is due.
pub(super) fn due(state: &State, now: Now, senses: &Senses, incident: IncidentId) -> Vec<Body> {
    let Some(rollout) = state.rollout() else { return Vec::new() };
    match rollout.standing {
        RolloutStanding::Halted { .. } => Vec::new(),
        RolloutStanding::Running if !rollout.setbacks.is_empty() => halt(state, rollout, incident),
        RolloutStanding::Running => advance(state, rollout, now, &senses.held).into_iter().collect(),
    }
}

fn halt(state: &State, rollout: &Rollout, incident: IncidentId) -> Vec<Body> {
    let generation = state.configuration().generation();
    let because = rollout.setbacks.clone();
    // A breaker is no host's.
    let host = because.iter().find_map(|setback| match setback {
        Setback::Rejected { host } | Setback::RunEnded { host, .. } => Some(*host),
        Setback::BreakerOpened { .. } => None,
    });
    let halted = Body::RolloutHalted(Box::new(RolloutHalted { generation, ring: rollout.ring, because }));
    let cause = IncidentCause::RolloutHalted { generation };
    vec![halted, Body::IncidentOpened(Box::new(IncidentOpened { incident, host, check: None, cause }))]
}

fn advance(state: &State, rollout: &Rollout, now: Now, held: &HeldBy) -> Option<Body> {
    let (generation, limits) = (state.configuration().generation(), state.configuration().rollout());
    let advanced = |ring, hosts| Some(Body::RolloutAdvanced(Box::new(RolloutAdvanced { generation, ring, hosts })));
    match rollout.wait(state, now, held) {
        Some(Wait::Members) => match rollout.ring {
            // Those that were chosen are not active any more: others take their place.
            ring @ (Ring::One | Ring::Part) => match picks(state, rollout, limits, ring, held) {
                Picks::Hosts(hosts) => advanced(ring, hosts),
                Picks::Nobody | Picks::NobodyConnected => None,
            },
            Ring::Staging | Ring::All => None,
        },
        Some(Wait::Connection | Wait::Hosts(_) | Wait::Soak { .. }) => None,
        None => {
            let mut ring = rollout.ring.next()?;
            loop {
                match picks(state, rollout, limits, ring, held) {
                    Picks::Hosts(hosts) => return advanced(ring, hosts),
                    Picks::NobodyConnected => return None,
                    // An empty ring is passed at once.
                    Picks::Nobody => match ring.next() {
                        Some(next) => ring = next,
                        None => return advanced(ring, BTreeSet::new()),
                    },
                }
            }
        }
    }
}

/// What a rollout waits for in the ring that it has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// None of the hosts that were chosen for the ring is active any more.
    Members,
    /// None of the ring's hosts that carry what changes is connected.
    Connection,
    /// Connected hosts that do not hold it yet.
    Hosts(Vec<HostId>),
    /// All hold it; the soak is over then.
    Soak {
        /// When.
        until: UnixMillis,
    },
}

impl Rollout {
    /// What a rollout waits for; `None`: it may go on.
    #[must_use]
    pub fn wait(&self, state: &State, now: Now, held: &HeldBy) -> Option<Wait> {
        let rollout = self;
        let target = state.configuration();
        let (generation, soak) = (target.generation(), target.rollout().soak);
        let earliest = rollout.reached.at.plus(soak);
        let reached = || active(state).filter(|host| rollout.reaches(host));
        let concerned = |host: &&Host| rollout.concerns(host, target);
        let chosen = || reached().filter(|host| !host.environment.is_staging());
        match rollout.ring {
            Ring::One | Ring::Part if chosen().next().is_none() => return Some(Wait::Members),
            // Nobody in it carries what changes.
            Ring::Staging if reached().filter(concerned).all(|host| rollout.is_excused(host.id)) => return None,
            Ring::Staging | Ring::One | Ring::Part | Ring::All => {}
        }
        let awaited = || reached().filter(|host| !rollout.is_excused(host.id));
        let connected = || awaited().filter_map(|host| held.get(&host.id).map(|held| (host.id, held)));
        let is_there = |host: &Host| held.contains_key(&host.id);
        let mut carriers = awaited().filter(concerned).peekable();
        if carriers.peek().is_some() && !carriers.any(is_there) {
            return Some(Wait::Connection);
        }
        let behind: Vec<HostId> =
            connected().filter(|(_, held)| held.generation != generation).map(|(host, _)| host).collect();
        if !behind.is_empty() {
            return Some(Wait::Hosts(behind));
        }
        let all_since = connected().map(|(_, InForce { since, .. })| since.plus(soak)).max();
        let until = all_since.map_or(earliest, |since| since.max(earliest));
        (until > now.wall).then_some(Wait::Soak { until })
    }
}

/// The hosts that a ring adds.
enum Picks {
    Hosts(BTreeSet<HostId>),
    /// It adds nobody: all that it would have are reached.
    Nobody,
    /// It would add some, and none of them is connected.
    NobodyConnected,
}

/// Chooses by id, so that the choice follows from the log and from who is connected.
fn picks(state: &State, rollout: &Rollout, limits: &RolloutLimits, ring: Ring, held: &HeldBy) -> Picks {
    let target = state.configuration();
    let mut environments: BTreeMap<&EnvironmentName, Vec<&Host>> = BTreeMap::new();
    for host in active(state).filter(|host| !host.environment.is_staging() && rollout.concerns(host, target)) {
        environments.entry(&host.environment).or_default().push(host);
    }
    let (mut hosts, mut wanted) = (BTreeSet::new(), 0);
    for carriers in environments.values() {
        let all = u32::try_from(carriers.len()).unwrap_or(u32::MAX);
        let size = match ring {
            Ring::Staging | Ring::All => return Picks::Nobody,
            Ring::One => 1,
            Ring::Part => limits.part.as_maximum(all).max(1),
        };
        let reached = carriers.iter().filter(|host| rollout.reaches(host)).count();
        let missing = usize::try_from(size).unwrap_or(usize::MAX).saturating_sub(reached).min(carriers.len() - reached);
        wanted += missing;
        let free = carriers.iter().filter(|host| !rollout.reaches(host) && held.contains_key(&host.id));
        hosts.extend(free.take(missing).map(|host| host.id));
    }
    match (wanted, hosts.is_empty()) {
        (0, _) => Picks::Nobody,
        (_, true) => Picks::NobodyConnected,
        (_, false) => Picks::Hosts(hosts),
    }
}
