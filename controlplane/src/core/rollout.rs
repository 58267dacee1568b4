//! The rollout of a configuration: which hosts it has reached, and what the others are judged by meanwhile.
//!
//! One at most. Two generations are kept: the one that was in force before it began, and the target
//! ([`State::configuration`](super::state::State::configuration)). Changed by [`State`](super::state::State)'s folds
//! alone; what is due is decided in [`super::decide`].

use super::entry::Stamp;
use super::hosts::Host;
use super::runs::Run;
use fettle_model::breaker::Scope;
use fettle_model::configuration::Configuration;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::id::HostId;
use fettle_model::record::ConfigurationSet;
use fettle_model::rollout::{
    Changes, ConfigurationFaults, ConfigurationRejected, Reach, Ring, RolloutAdvanced, RolloutHalted, Setback,
    held_back,
};
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// Setbacks that are told of one halt: a page for a person. The first one halts already; more than one come only within
/// one batch of the leader.
const MAX_SETBACKS: usize = 16;

/// Which configuration an agent that is connected holds, and since when the control plane knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InForce {
    /// The configuration.
    pub generation: ConfigurationGeneration,
    /// When it was first said to hold it, by this process.
    pub since: UnixMillis,
}

/// Whether a rollout goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutStanding {
    /// It does.
    Running,
    /// It waits for a person.
    Halted {
        /// When it halted.
        stamp: Stamp,
        /// Why.
        because: Vec<Setback>,
    },
}

/// A rollout that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// What was in force before, and is on hosts beyond the reached rings.
    previous: Configuration,
    previous_set: Stamp,
    /// What those hosts are judged by.
    held_back: Configuration,
    /// What the target changes for them.
    changes: Changes,
    /// The ring that was reached last.
    pub ring: Ring,
    /// When it was reached, or when a person let the rollout go on in it.
    pub reached: Stamp,
    /// The hosts outside staging that were reached, with the ring that added them.
    hosts: BTreeMap<HostId, Ring>,
    /// Whether it goes on.
    pub standing: RolloutStanding,
    /// What happened and halts it at the next tick.
    pub(in crate::core) setbacks: Vec<Setback>,
    /// Hosts that cannot hold it, which a person has looked at: nobody waits for them.
    excused: BTreeSet<HostId>,
}

impl Rollout {
    /// What was in force before.
    #[must_use]
    pub const fn previous(&self) -> &Configuration {
        &self.previous
    }

    /// What the target changes.
    #[must_use]
    pub const fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The ring that adds this host; `all` for one that no ring before has chosen.
    #[must_use]
    pub fn ring_of(&self, host: &Host) -> Ring {
        let chosen = self.hosts.get(&host.id).copied().unwrap_or(Ring::All);
        if host.environment.is_staging() { Ring::Staging } else { chosen }
    }

    /// Whether the target is what this host gets and is judged by.
    #[must_use]
    pub fn reaches(&self, host: &Host) -> bool {
        host.environment.is_staging() || self.hosts.contains_key(&host.id)
    }

    /// Whether anything that changes runs on this host, before or after.
    #[must_use]
    pub fn concerns(&self, host: &Host, target: &Configuration) -> bool {
        concerns(&self.changes, &self.previous, target, host)
    }

    pub(in crate::core) fn is_excused(&self, host: HostId) -> bool {
        self.excused.contains(&host)
    }

    fn note(&mut self, setback: Setback) {
        match self.standing {
            RolloutStanding::Running if self.setbacks.len() < MAX_SETBACKS => self.setbacks.push(setback),
            RolloutStanding::Running | RolloutStanding::Halted { .. } => {}
        }
    }
}

/// Whether a service that changes runs on the host, by either configuration.
pub(in crate::core) fn concerns(
    changes: &Changes,
    previous: &Configuration,
    target: &Configuration,
    host: &Host,
) -> bool {
    let selects = |configuration: &Configuration, name| {
        configuration.service(name).is_some_and(|service| service.hosts.selects(&host.name, &host.environment))
    };
    changes.services.iter().any(|name| host.carries(name) && (selects(previous, name) || selects(target, name)))
}

/// A host that cannot hold the newest configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// When it said so.
    pub stamp: Stamp,
    /// What it holds instead; zero: nothing.
    pub keeps: ConfigurationGeneration,
    /// Why.
    pub because: ConfigurationFaults,
}

/// The rollout that is under way, and the hosts that cannot hold the newest configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Rollouts {
    running: Option<Box<Rollout>>,
    /// One for each host at most.
    rejections: BTreeMap<HostId, Rejection>,
}

impl Rollouts {
    pub(in crate::core) fn running(&self) -> Option<&Rollout> {
        self.running.as_deref()
    }

    pub(in crate::core) fn rejections(&self) -> &BTreeMap<HostId, Rejection> {
        &self.rejections
    }

    /// What a host is judged by, where `newest` is the newest configuration.
    pub(in crate::core) fn configuration_of<'a>(&'a self, host: &Host, newest: &'a Configuration) -> &'a Configuration {
        match &self.running {
            Some(rollout) if !rollout.reaches(host) => &rollout.held_back,
            Some(_) | None => newest,
        }
    }

    /// Where the configuration was set that a host gets, where `newest` is the newest one's place.
    pub(in crate::core) fn set_for(&self, host: &Host, newest: Option<Stamp>) -> Option<Stamp> {
        match &self.running {
            Some(rollout) if !rollout.reaches(host) => Some(rollout.previous_set),
            Some(_) | None => newest,
        }
    }

    /// A configuration was set. One that is set during a rollout takes the place of its target: what was in force before
    /// the first of them is what hosts go on with.
    pub(in crate::core) fn configure(
        &mut self,
        set: &ConfigurationSet,
        before: (Configuration, Option<Stamp>),
        stamp: Stamp,
    ) {
        self.rejections.clear();
        let before = match self.running.take().map(|rollout| *rollout) {
            Some(Rollout { previous, previous_set, .. }) => Some((previous, previous_set)),
            None => before.1.map(|set| (before.0, set)),
        };
        self.running = match (set.reach, before) {
            (Reach::Rings, Some((previous, previous_set))) => Some(Box::new(Rollout {
                held_back: held_back(&previous, &set.configuration),
                changes: Changes::between(&previous, &set.configuration),
                previous,
                previous_set,
                ring: Ring::Staging,
                reached: stamp,
                hosts: BTreeMap::new(),
                standing: RolloutStanding::Running,
                setbacks: Vec::new(),
                excused: BTreeSet::new(),
            })),
            (Reach::Everywhere | Reach::Rings, _) => None,
        };
    }

    /// One more ring is reached; that of all ends the rollout.
    pub(in crate::core) fn advance(&mut self, advanced: &RolloutAdvanced, stamp: Stamp) {
        match advanced.ring {
            Ring::All => self.running = None,
            ring @ (Ring::Staging | Ring::One | Ring::Part) => {
                if let Some(rollout) = &mut self.running {
                    rollout.ring = ring;
                    rollout.reached = stamp;
                    rollout.hosts.extend(advanced.hosts.iter().map(|host| (*host, ring)));
                }
            }
        }
    }

    pub(in crate::core) fn halt(&mut self, halted: &RolloutHalted, stamp: Stamp) {
        if let Some(rollout) = &mut self.running {
            rollout.setbacks.clear();
            rollout.standing = RolloutStanding::Halted { stamp, because: halted.because.clone() };
        }
    }

    /// A person lets it go on: nobody waits for the hosts that cannot hold it, and the soak begins anew.
    pub(in crate::core) fn resume(&mut self, stamp: Stamp) {
        if let Some(rollout) = &mut self.running {
            rollout.standing = RolloutStanding::Running;
            rollout.reached = stamp;
            rollout.excused = self.rejections.keys().copied().collect();
        }
    }

    pub(in crate::core) fn rejected(
        &mut self,
        host: HostId,
        rejected: &ConfigurationRejected,
        newest: ConfigurationGeneration,
        stamp: Stamp,
    ) {
        if rejected.generation != newest {
            return;
        }
        let ConfigurationRejected { generation: _, keeps, because } = rejected;
        self.rejections.insert(host, Rejection { stamp, keeps: *keeps, because: because.clone() });
        if let Some(rollout) = self.running.as_mut().filter(|rollout| !rollout.is_excused(host)) {
            rollout.note(Setback::Rejected { host });
        }
    }

    /// A run under the target ended. One of a service that nothing changes for says nothing about it.
    pub(in crate::core) fn ended(&mut self, run: &Run, ending: Ending, newest: ConfigurationGeneration) {
        let Some(rollout) = &mut self.running else { return };
        let concerned = run.permit.configuration == newest && rollout.changes.services.contains(&run.service);
        if concerned && ending.counts_as_failure() {
            rollout.note(Setback::RunEnded { run: run.permit.run, host: run.permit.host, ending });
        }
    }

    /// A breaker opened. That of an environment or of everything halts a rollout too: hosts in trouble are no place for a
    /// change, whatever the trouble is.
    pub(in crate::core) fn breaker_opened(&mut self, scope: &Scope) {
        let Some(rollout) = &mut self.running else { return };
        let covers = match scope {
            Scope::Global | Scope::Environment(_) => true,
            Scope::Service(service) => rollout.changes.services.contains(service),
            Scope::Playbook(playbook) => rollout.changes.playbooks.contains(playbook),
        };
        if covers {
            rollout.note(Setback::BreakerOpened { scope: scope.clone() });
        }
    }
}
