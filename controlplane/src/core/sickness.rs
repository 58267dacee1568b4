//! Sickness: the unique hosts of each group that are unhealthy, or were lately. Storms are counted from it.
//!
//! A host is sick by its own checks' word: a permit does not make it so, nor does a check that never reported, and
//! a host under a drill is broken on purpose. Kept by [`State`](super::state::State) as records come in.

use super::hosts::{Host, is_healthy};
use super::tallies::{Hands, Share, share};
use fettle_model::configuration::Configuration;
use fettle_model::id::HostId;
use fettle_model::name::{EnvironmentName, ServiceName};
use fettle_model::service::Service;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How a host stands in a ward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    /// It is not of this group, so neither is what it once was.
    Absent,
    /// No check of it says that it is unwell.
    Well,
    /// One does.
    Sick,
}

/// The hosts of one group, of one environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Ward {
    sick: BTreeSet<HostId>,
    /// When hosts that are not sick any more recovered; one entry per host at most.
    recovered: BTreeMap<HostId, UnixMillis>,
    /// The same by time, so that nobody has to be looked at to count those of a window.
    by_time: BTreeSet<(UnixMillis, HostId)>,
}

impl Ward {
    fn see(&mut self, host: HostId, health: Health, at: UnixMillis) {
        match health {
            Health::Sick => {
                self.leave(host);
                self.sick.insert(host);
            }
            Health::Well => {
                if self.sick.remove(&host) {
                    self.recovered.insert(host, at);
                    self.by_time.insert((at, host));
                }
            }
            Health::Absent => self.leave(host),
        }
    }

    fn leave(&mut self, host: HostId) {
        self.sick.remove(&host);
        if let Some(at) = self.recovered.remove(&host) {
            self.by_time.remove(&(at, host));
        }
    }

    /// Forgets who recovered longer ago than `window`.
    fn forget(&mut self, window: Duration, wall: UnixMillis) {
        while let Some((at, host)) = self.by_time.first().copied()
            && wall.since(at) >= window
        {
            self.by_time.remove(&(at, host));
            self.recovered.remove(&host);
        }
    }

    /// Unique hosts that are sick or were within the window.
    fn count(&self, window: Duration, wall: UnixMillis) -> u32 {
        // Those that the next record will make it forget stand first.
        let over = self.by_time.iter().take_while(|(at, _)| wall.since(*at) >= window).count();
        u32::try_from(self.sick.len() + self.by_time.len() - over).unwrap_or(u32::MAX)
    }

    fn is_empty(&self) -> bool {
        self.sick.is_empty() && self.recovered.is_empty()
    }
}

/// The wards that have, or lately had, a sick host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Sickness {
    services: BTreeMap<ServiceName, BTreeMap<EnvironmentName, Ward>>,
    environments: BTreeMap<EnvironmentName, Ward>,
}

fn health(host: &Host, service: &Service) -> Health {
    let unwell = || {
        service.checks.iter().any(|check| {
            host.checks.of(&service.name, &check.name).is_some_and(|known| !is_healthy(known.transition.to))
        })
    };
    match share(host, service, Hands::Free) {
        Share::None => Health::Absent,
        Share::Unhealthy | Share::Healthy => {
            if unwell() {
                Health::Sick
            } else {
                Health::Well
            }
        }
    }
}

impl Sickness {
    /// A host came in, changed, or goes on as before.
    pub(in crate::core) fn see(&mut self, host: &Host, configuration: &Configuration, at: UnixMillis) {
        let window = configuration.breakers().storm_window;
        let mut worst = Health::Absent;
        let carried = host.description.iter().flat_map(|description| description.services.iter());
        for service in carried.filter_map(|carried| configuration.service(&carried.name)) {
            let health = health(host, service);
            worst = worst.max(health);
            if health == Health::Sick {
                let environments = self.services.entry(service.name.clone()).or_default();
                environments.entry(host.environment.clone()).or_default().see(host.id, health, at);
            }
        }
        // Where it is not sick, only a group that knows it has anything to learn.
        for (name, environments) in &mut self.services {
            if let Some(ward) = environments.get_mut(&host.environment) {
                let service = configuration.service(name).filter(|service| host.carries(&service.name));
                ward.see(host.id, service.map_or(Health::Absent, |service| health(host, service)), at);
                ward.forget(window, at);
                if ward.is_empty() {
                    environments.remove(&host.environment);
                }
            }
        }
        self.services.retain(|_, environments| !environments.is_empty());
        let ward = self.environments.entry(host.environment.clone()).or_default();
        ward.see(host.id, worst, at);
        ward.forget(window, at);
        if ward.is_empty() {
            self.environments.remove(&host.environment);
        }
    }

    /// A drill breaks a host on purpose: it counts nowhere until it is seen again after the drill.
    pub(in crate::core) fn spare(&mut self, host: HostId) {
        let wards = self.services.values_mut().flat_map(BTreeMap::values_mut).chain(self.environments.values_mut());
        for ward in wards {
            ward.leave(host);
        }
    }

    /// Unique hosts that carry the service in the environment and are sick, or were within the window.
    pub(in crate::core) fn of_service(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        window: Duration,
        wall: UnixMillis,
    ) -> u32 {
        let ward = self.services.get(service).and_then(|environments| environments.get(environment));
        ward.map_or(0, |ward| ward.count(window, wall))
    }

    /// The same of the environment, whatever the service.
    pub(in crate::core) fn of_environment(
        &self,
        environment: &EnvironmentName,
        window: Duration,
        wall: UnixMillis,
    ) -> u32 {
        self.environments.get(environment).map_or(0, |ward| ward.count(window, wall))
    }
}
