//! Groups: the hosts that carry a service in an environment. Every share in a guard is a share of one.

use super::hosts::{Host, is_healthy};
use super::state::State;
use super::tallies::{Share, Tally, share};
use fettle_model::id::HostId;
use fettle_model::name::EnvironmentName;
use fettle_model::service::Service;

/// The hosts that carry a service in one environment: enrolled and not revoked, selected by the
/// service, and carrying it by their own description.
#[derive(Debug)]
pub struct Group<'a> {
    state: &'a State,
    service: &'a Service,
    environment: &'a EnvironmentName,
    tally: Tally,
}

impl<'a> Group<'a> {
    /// The group of a service in an environment.
    #[must_use]
    pub fn of(state: &'a State, service: &'a Service, environment: &'a EnvironmentName) -> Self {
        Self { state, service, environment, tally: state.tallies.of(&service.name, environment) }
    }

    /// Its hosts, by id. Looks at every host there is.
    pub fn members(&self) -> impl Iterator<Item = &'a Host> + use<'a> {
        let (state, service, environment) = (self.state, self.service, self.environment);
        state.hosts().filter(move |host| {
            &host.environment == environment && share(host, service, state.hands(host.id)) != Share::None
        })
    }

    /// How many hosts it has.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.tally.size
    }

    /// How many hosts it has besides `target`.
    #[must_use]
    pub fn others(&self, target: HostId) -> u32 {
        match self.share_of(target) {
            Share::None => self.tally.size,
            Share::Unhealthy | Share::Healthy => self.tally.size.saturating_sub(1),
        }
    }

    /// Permits of the service in the environment whose effects may still be in progress.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.tally.in_flight
    }

    /// Healthy hosts without a permit, `target` not counted.
    #[must_use]
    pub fn healthy_besides(&self, target: HostId) -> u32 {
        match self.share_of(target) {
            Share::Healthy => self.tally.healthy.saturating_sub(1),
            Share::None | Share::Unhealthy => self.tally.healthy,
        }
    }

    /// Healthy hosts without a permit: active (a quarantined host's word is not taken), no permit, and the
    /// newest status of every check of the service passing or warning. A check that never reported, or cannot
    /// tell, is not healthy.
    #[must_use]
    pub const fn healthy(&self) -> u32 {
        self.tally.healthy
    }

    fn share_of(&self, target: HostId) -> Share {
        match self.state.host(target) {
            Some(host) if &host.environment == self.environment => share(host, self.service, self.state.hands(target)),
            Some(_) | None => Share::None,
        }
    }
}

/// Whether the newest status of every check of the service is passing or warning.
pub(in crate::core) fn checks_are_healthy(host: &Host, service: &Service) -> bool {
    service
        .checks
        .iter()
        .all(|check| host.checks.of(&service.name, &check.name).is_some_and(|known| is_healthy(known.transition.to)))
}
