//! Groups: the hosts that carry a service in an environment. Every share in a guard is a share of one.

use super::hosts::{Host, is_healthy};
use super::state::State;
use fettle_model::check::CheckRef;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::name::EnvironmentName;
use fettle_model::service::Service;
use std::collections::BTreeSet;

/// The hosts that carry a service in one environment: enrolled and not revoked, selected by the
/// service, and carrying it by their own description.
#[derive(Debug)]
pub struct Group<'a> {
    service: &'a Service,
    members: Vec<&'a Host>,
    busy: BTreeSet<HostId>,
    in_flight: u32,
}

impl<'a> Group<'a> {
    /// The group of a service in an environment.
    #[must_use]
    pub fn of(state: &'a State, service: &'a Service, environment: &EnvironmentName) -> Self {
        let members = state
            .hosts()
            .filter(|host| {
                &host.environment == environment
                    && host.state != HostState::Revoked
                    && service.hosts.selects(&host.name, &host.environment)
                    && host.carries(&service.name)
            })
            .collect();
        let in_flight =
            state.runs.in_flight().filter(|run| run.service == service.name && &run.environment == environment).count();
        Self {
            service,
            members,
            busy: state.runs.in_flight().map(|run| run.permit.host).collect(),
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
        }
    }

    /// Its hosts.
    #[must_use]
    pub fn members(&self) -> &[&'a Host] {
        &self.members
    }

    /// How many hosts it has.
    #[must_use]
    pub fn size(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// How many hosts it has besides `target`.
    #[must_use]
    pub fn others(&self, target: HostId) -> u32 {
        u32::try_from(self.members.iter().filter(|host| host.id != target).count()).unwrap_or(u32::MAX)
    }

    /// Permits of the service in the environment whose effects may still be in progress.
    #[must_use]
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Healthy hosts without a permit, `target` not counted.
    #[must_use]
    pub fn healthy_besides(&self, target: HostId) -> u32 {
        let healthy = self.members.iter().filter(|host| host.id != target && self.counts_as_healthy(host)).count();
        u32::try_from(healthy).unwrap_or(u32::MAX)
    }

    /// Healthy hosts without a permit.
    #[must_use]
    pub fn healthy(&self) -> u32 {
        u32::try_from(self.members.iter().filter(|host| self.counts_as_healthy(host)).count()).unwrap_or(u32::MAX)
    }

    /// Whether a member counts as healthy: active (a quarantined host's word is not taken), no permit,
    /// and the newest status of every check of the service is passing or warning. A check that never
    /// reported, or cannot tell, is not healthy.
    #[must_use]
    pub fn counts_as_healthy(&self, host: &Host) -> bool {
        host.state == HostState::Active && !self.busy.contains(&host.id) && checks_are_healthy(host, self.service)
    }
}

fn checks_are_healthy(host: &Host, service: &Service) -> bool {
    service.checks.iter().all(|check| {
        let check = CheckRef { service: service.name.clone(), check: check.name.clone() };
        host.checks.get(&check).is_some_and(|known| is_healthy(known.transition.to))
    })
}
