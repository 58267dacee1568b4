//! Rollouts: which configuration stands for a host, whether one that was everywhere at once might be, and whether rings were
//! reached in their order.

use super::finding::{At, Rule};
use super::hosts::{Host, Hosts};
use fettle_model::configuration::Configuration;
use fettle_model::id::HostId;
use fettle_model::name::HostName;
use fettle_model::record::ConfigurationSet;
use fettle_model::remediation::Mode;
use fettle_model::rollout::{
    Changes, Reach, Ring, RolloutAdvanced, RolloutHalted, RolloutOrder, RolloutOrdered, held_back,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A rollout that is under way.
#[derive(Debug, Clone)]
struct Running {
    previous: Arc<Configuration>,
    held_back: Arc<Configuration>,
    ring: Ring,
    hosts: BTreeSet<HostId>,
    progress: Progress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Running,
    Halted,
    /// A person took it back; the configuration that was in force before it comes next.
    Aborted,
}

/// The newest configuration, and who does not have it yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Configurations {
    newest: Option<Arc<Configuration>>,
    running: Option<Running>,
}

impl Configurations {
    pub(super) fn newest(&self) -> Option<&Configuration> {
        self.newest.as_deref()
    }

    /// What stands for a host.
    pub(super) fn of(&self, id: HostId, host: &Host) -> Option<&Configuration> {
        match &self.running {
            Some(running) if !host.environment.is_staging() && !running.hosts.contains(&id) => Some(&running.held_back),
            Some(_) | None => self.newest(),
        }
    }

    pub(super) fn set(&mut self, set: &ConfigurationSet, hosts: &Hosts, at: &mut At<'_>) {
        let generation = set.configuration.generation();
        if let Some(before) = &self.newest
            && generation <= before.generation()
        {
            at.flag(Rule::Configuration, format!("generation {generation} does not follow {}", before.generation()));
        }
        let target = Arc::new(set.configuration.clone());
        let before = self.newest.replace(Arc::clone(&target));
        let previous = match self.running.take() {
            Some(running) => {
                let taken_back = running.progress == Progress::Aborted;
                if taken_back && !target.declares(&running.previous.declared()) {
                    at.flag(Rule::Rollout, format!("generation {generation} is not what was in force before"));
                }
                Some(running.previous)
            }
            None => before,
        };
        if let (Reach::Everywhere, Some(previous)) = (set.reach, &previous)
            && let Some(name) = concerned(previous, &target, hosts)
        {
            let words = format!("generation {generation} changes what {name} holds, and was everywhere at once");
            at.flag(Rule::Rollout, words);
        }
        self.running = match (set.reach, previous) {
            (Reach::Rings, Some(previous)) => Some(Running {
                held_back: Arc::new(held_back(&previous, &target)),
                previous,
                ring: Ring::Staging,
                hosts: BTreeSet::new(),
                progress: Progress::Running,
            }),
            (Reach::Everywhere | Reach::Rings, _) => None,
        };
    }

    pub(super) fn advance(&mut self, advanced: &RolloutAdvanced, hosts: &Hosts, at: &mut At<'_>) {
        let newest = self.newest.as_ref().map(|newest| newest.generation());
        let Some(running) = self.running.as_mut().filter(|_| newest == Some(advanced.generation)) else {
            return at.flag(Rule::Rollout, format!("generation {} was not being rolled out", advanced.generation));
        };
        let ring = advanced.ring;
        if running.progress != Progress::Running {
            at.flag(Rule::Rollout, format!("the ring {} was reached by a rollout that was halted", ring.as_str()));
        }
        // Hosts of a ring that are gone are replaced.
        let again = ring == running.ring && matches!(ring, Ring::One | Ring::Part);
        if ring <= running.ring && !again {
            at.flag(Rule::Rollout, format!("the ring {} comes after {}", ring.as_str(), running.ring.as_str()));
        }
        let fits = |id: &HostId| hosts.get(*id).is_some_and(|host| !host.environment.is_staging());
        let expected = match ring {
            Ring::One | Ring::Part => !advanced.hosts.is_empty() && advanced.hosts.iter().all(fits),
            Ring::Staging | Ring::All => advanced.hosts.is_empty(),
        };
        if !expected {
            at.flag(Rule::Rollout, format!("the ring {} is not of hosts that it may have", ring.as_str()));
        }
        running.ring = ring;
        running.hosts.extend(&advanced.hosts);
        if ring == Ring::All {
            self.running = None;
        }
    }

    pub(super) fn halt(&mut self, halted: &RolloutHalted, at: &mut At<'_>) {
        let newest = self.newest.as_ref().map(|newest| newest.generation());
        let running = self.running.as_mut().filter(|_| newest == Some(halted.generation));
        let Some(running) = running.filter(|running| running.progress == Progress::Running) else {
            return at.flag(Rule::Rollout, format!("generation {} was not being rolled out", halted.generation));
        };
        if halted.because.is_empty() || halted.ring != running.ring {
            at.flag(Rule::Rollout, "a rollout halted without a reason, or in another ring than it had reached");
        }
        running.progress = Progress::Halted;
    }

    pub(super) fn order(&mut self, ordered: &RolloutOrdered, at: &mut At<'_>) {
        let newest = self.newest.as_ref().map(|newest| newest.generation());
        let Some(running) = self.running.as_mut().filter(|_| newest == Some(ordered.generation)) else {
            return at.flag(Rule::Rollout, format!("generation {} was not being rolled out", ordered.generation));
        };
        match (ordered.order, running.progress) {
            (RolloutOrder::Resume, Progress::Halted) => running.progress = Progress::Running,
            (RolloutOrder::Abort, Progress::Running | Progress::Halted) => running.progress = Progress::Aborted,
            (RolloutOrder::Resume | RolloutOrder::Abort, Progress::Running | Progress::Aborted) => {
                at.flag(Rule::Rollout, format!("{} ordered a rollout that was not halted to go on", ordered.by));
            }
        }
    }
}

/// An active host on which a service runs that changes for who holds it, or that begins to act by itself.
fn concerned<'h>(previous: &Configuration, target: &Configuration, hosts: &'h Hosts) -> Option<&'h HostName> {
    let mut services = Changes::between(previous, target).services;
    services.retain(|name| {
        let mut answers = target.remediations().iter().filter(|answer| &answer.service == name);
        previous.service(name).is_some() || answers.any(|answer| answer.modes.values().any(|mode| *mode == Mode::Auto))
    });
    let runs_on = |host: &Host, name| {
        let mut defined = [previous, target].into_iter().filter_map(|it| it.service(name));
        host.carries(name) && defined.any(|service| host.is_selected_by(service))
    };
    let mut active = hosts.active();
    active.find(|host| services.iter().any(|name| runs_on(host, name))).map(Host::name)
}
