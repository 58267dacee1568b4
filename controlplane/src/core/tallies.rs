//! Tallies: what the hosts of each group add up to, kept as records come in.
//!
//! The governor asks for these sums once per request; counting the hosts of a fleet anew each time would make
//! a decision cost as much as the fleet is large. [`State`](super::state::State) takes a host out before it
//! changes and puts it back after, so the sums cannot drift from what [`Group`](super::groups::Group), which
//! counts, would find.

use super::groups::checks_are_healthy;
use super::hosts::Host;
use super::runs::Run;
use fettle_model::configuration::Configuration;
use fettle_model::host::HostState;
use fettle_model::name::{EnvironmentName, ServiceName};
use fettle_model::service::Service;
use std::collections::BTreeMap;

/// What the hosts of one group add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::core) struct Tally {
    /// Hosts.
    pub(in crate::core) size: u32,
    /// Those that are healthy and hold no permit.
    pub(in crate::core) healthy: u32,
    /// Permits of the service in the environment whose effects may still be in progress.
    pub(in crate::core) in_flight: u32,
}

/// Whether a host holds a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Hands {
    /// It does not.
    Free,
    /// It does: it counts as unhealthy, whatever its checks say.
    Full,
}

/// What one host adds to one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Share {
    /// It is no member.
    None,
    /// A member that does not count as healthy.
    Unhealthy,
    /// A member that does.
    Healthy,
}

/// What a host adds to the group of a service in its own environment.
pub(in crate::core) fn share(host: &Host, service: &Service, hands: Hands) -> Share {
    let member = host.state != HostState::Revoked
        && service.hosts.selects(&host.name, &host.environment)
        && host.carries(&service.name);
    match (member, hands, host.state) {
        (false, Hands::Free | Hands::Full, _) => Share::None,
        // A quarantined host's word is not taken.
        (true, Hands::Free, HostState::Active) if checks_are_healthy(host, service) => Share::Healthy,
        (true, Hands::Free | Hands::Full, HostState::Active | HostState::Quarantined | HostState::Revoked) => {
            Share::Unhealthy
        }
    }
}

/// The configured services that a host says it carries.
fn carried<'a>(host: &'a Host, configuration: &'a Configuration) -> impl Iterator<Item = &'a Service> {
    let carried = host.description.iter().flat_map(|description| description.services.iter());
    carried.filter_map(|carried| configuration.service(&carried.name))
}

/// The tallies of all groups that have a host or a permit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Tallies {
    groups: BTreeMap<ServiceName, BTreeMap<EnvironmentName, Tally>>,
    /// Hosts that are in a group, by environment.
    hosts: BTreeMap<EnvironmentName, u32>,
}

impl Tallies {
    /// The tally of a service in an environment.
    pub(in crate::core) fn of(&self, service: &ServiceName, environment: &EnvironmentName) -> Tally {
        self.groups.get(service).and_then(|environments| environments.get(environment)).copied().unwrap_or_default()
    }

    /// The environments that have a host in a group, and how many.
    pub(in crate::core) fn environments(&self) -> impl Iterator<Item = (&EnvironmentName, u32)> {
        self.hosts.iter().map(|(name, hosts)| (name, *hosts))
    }

    /// Hosts of an environment that are in a group.
    pub(in crate::core) fn hosts_in(&self, environment: &EnvironmentName) -> u32 {
        self.hosts.get(environment).copied().unwrap_or(0)
    }

    /// A host comes in, or comes back changed.
    pub(in crate::core) fn join(&mut self, host: &Host, hands: Hands, configuration: &Configuration) {
        let one = |sum: &mut u32| *sum = sum.saturating_add(1);
        let mut anywhere = Share::None;
        for service in carried(host, configuration) {
            match self.add_up(host, hands, service, one) {
                Share::None => {}
                share @ (Share::Unhealthy | Share::Healthy) => anywhere = share,
            }
        }
        self.count(host, anywhere, one);
    }

    /// A host goes, or is about to change.
    pub(in crate::core) fn leave(&mut self, host: &Host, hands: Hands, configuration: &Configuration) {
        let one = |sum: &mut u32| *sum = sum.saturating_sub(1);
        let mut anywhere = Share::None;
        for service in carried(host, configuration) {
            match self.add_up(host, hands, service, one) {
                Share::None => {}
                share @ (Share::Unhealthy | Share::Healthy) => anywhere = share,
            }
        }
        self.count(host, anywhere, one);
    }

    /// A host comes back to the group of one of the services that it carries, the only one that is touched.
    pub(in crate::core) fn join_group(&mut self, host: &Host, hands: Hands, service: &Service) {
        self.add_up(host, hands, service, |sum| *sum = sum.saturating_add(1));
    }

    /// A host is about to change what only the group of this service asks about.
    pub(in crate::core) fn leave_group(&mut self, host: &Host, hands: Hands, service: &Service) {
        self.add_up(host, hands, service, |sum| *sum = sum.saturating_sub(1));
    }

    /// A permit was granted.
    pub(in crate::core) fn granted(&mut self, run: &Run) {
        self.change(&run.service, &run.environment, |tally| tally.in_flight = tally.in_flight.saturating_add(1));
    }

    /// A permit's slot is free again.
    pub(in crate::core) fn finished(&mut self, run: &Run) {
        self.change(&run.service, &run.environment, |tally| tally.in_flight = tally.in_flight.saturating_sub(1));
    }

    fn add_up(&mut self, host: &Host, hands: Hands, service: &Service, one: impl Fn(&mut u32)) -> Share {
        let share = share(host, service, hands);
        match share {
            Share::None => {}
            Share::Unhealthy | Share::Healthy => self.change(&service.name, &host.environment, |tally| {
                one(&mut tally.size);
                if share == Share::Healthy {
                    one(&mut tally.healthy);
                }
            }),
        }
        share
    }

    /// Counts a host in its environment, where it has a share in any group.
    fn count(&mut self, host: &Host, anywhere: Share, one: impl Fn(&mut u32)) {
        match anywhere {
            Share::None => {}
            Share::Unhealthy | Share::Healthy => {
                let hosts = self.hosts.entry(host.environment.clone()).or_default();
                one(hosts);
                if *hosts == 0 {
                    self.hosts.remove(&host.environment);
                }
            }
        }
    }

    /// Groups that add up to nothing have no entry, so that two states that say the same are equal.
    fn change(&mut self, service: &ServiceName, environment: &EnvironmentName, change: impl FnOnce(&mut Tally)) {
        let mut tally = self.of(service, environment);
        change(&mut tally);
        if tally != Tally::default() {
            let environments = match self.groups.get_mut(service) {
                Some(environments) => environments,
                None => self.groups.entry(service.clone()).or_default(),
            };
            match environments.get_mut(environment) {
                Some(known) => *known = tally,
                None => drop(environments.insert(environment.clone(), tally)),
            }
        } else if let Some(environments) = self.groups.get_mut(service) {
            environments.remove(environment);
            if environments.is_empty() {
                self.groups.remove(service);
            }
        }
    }
}
