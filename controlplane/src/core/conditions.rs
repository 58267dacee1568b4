//! Conditions of the fleet that open breakers by themselves: a storm, blindness, a log that lags.
//!
//! Looked at on every tick, one change at a time. The governor asks about storms itself as well: the requests of a
//! storm's first moment are decided before the next tick. What the log cannot tell (who is silent, how long a
//! record takes) comes in as [`Senses`]; that a breaker opened because of it is a record.

use super::breakers::Held;
use super::now::Now;
use super::rollout::InForce;
use super::state::State;
use fettle_model::breaker::{BreakerEased, BreakerOpened, Easing, OpenReason, ReasonKind, Scope};
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::id::HostId;
use fettle_model::name::EnvironmentName;
use fettle_model::record::Body;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What the rim sees and the log does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Senses {
    /// Active hosts and how many of them are silent, by environment.
    pub heard: BTreeMap<EnvironmentName, Heard>,
    /// How long the newest record took to become durable and published.
    pub lag: Duration,
    /// What connected agents hold. Empty while no configuration is rolled out.
    pub held: Arc<BTreeMap<HostId, InForce>>,
}

/// How well one environment is heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    /// Agents that should be heard.
    pub hosts: u32,
    /// Those that were not for `silent-after`.
    pub silent: u32,
}

/// The storm in a scope, when there is one. A service's storm is that of its worst environment.
pub(in crate::core) fn storm(state: &State, scope: &Scope, wall: UnixMillis) -> Option<OpenReason> {
    let limits = state.configuration().breakers();
    let over = |unhealthy: u32, hosts: u32| {
        let allowed = limits.storm.as_maximum(hosts);
        (unhealthy > allowed).then_some(OpenReason::Storm { unhealthy, hosts, allowed })
    };
    match scope {
        Scope::Global => {
            let wards = state.tallies.environments().map(|(environment, hosts)| {
                (state.sickness.of_environment(environment, limits.storm_window, wall), hosts)
            });
            let (unhealthy, hosts) = wards.fold((0_u32, 0_u32), |(sick, all), (unhealthy, hosts)| {
                (sick.saturating_add(unhealthy), all.saturating_add(hosts))
            });
            over(unhealthy, hosts)
        }
        Scope::Environment(environment) => {
            let unhealthy = state.sickness.of_environment(environment, limits.storm_window, wall);
            over(unhealthy, state.tallies.hosts_in(environment))
        }
        Scope::Service(service) => state
            .tallies
            .environments()
            .filter_map(|(environment, _)| {
                let unhealthy = state.sickness.of_service(service, environment, limits.storm_window, wall);
                over(unhealthy, state.tallies.of(service, environment).size)
            })
            .max(),
        Scope::Playbook(_) => None,
    }
}

fn blindness(state: &State, scope: &Scope, senses: &Senses) -> Option<OpenReason> {
    let Heard { hosts, silent } = match scope {
        Scope::Global => senses.heard.values().fold(Heard::default(), |all, one| Heard {
            hosts: all.hosts.saturating_add(one.hosts),
            silent: all.silent.saturating_add(one.silent),
        }),
        Scope::Environment(environment) => senses.heard.get(environment).copied().unwrap_or_default(),
        Scope::Service(_) | Scope::Playbook(_) => return None,
    };
    let allowed = state.configuration().breakers().blindness.as_maximum(hosts);
    (silent > allowed).then_some(OpenReason::Blindness { silent, hosts, allowed })
}

fn log_lag(state: &State, scope: &Scope, senses: &Senses) -> Option<OpenReason> {
    let allowed = state.configuration().breakers().log_lag;
    match scope {
        Scope::Global if senses.lag > allowed => Some(OpenReason::LogLag { lag: senses.lag, allowed }),
        Scope::Global | Scope::Environment(_) | Scope::Service(_) | Scope::Playbook(_) => None,
    }
}

/// How a reason ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Once it has been over for this long a probe may pass, and that closes the breaker.
    Probe(Duration),
    /// Once it has been over for this long it is gone.
    Steady(Duration),
}

fn ending(kind: ReasonKind, limits: &BreakerLimits) -> Ending {
    match kind {
        ReasonKind::Storm | ReasonKind::Failures | ReasonKind::ByHand => Ending::Probe(limits.cooldown),
        ReasonKind::Blindness | ReasonKind::LogLag => Ending::Steady(limits.steady_for),
    }
}

/// The first change that is due, if any.
pub(in crate::core) fn due(state: &State, now: Now, senses: &Senses) -> Option<Body> {
    scopes(state).into_iter().find_map(|scope| {
        let found = [
            (ReasonKind::Storm, storm(state, &scope, now.wall)),
            (ReasonKind::Blindness, blindness(state, &scope, senses)),
            (ReasonKind::LogLag, log_lag(state, &scope, senses)),
        ];
        found.into_iter().find_map(|(kind, found)| change(state, &scope, kind, found, now.wall))
    })
}

/// The first change that a storm makes, if any.
pub(in crate::core) fn storm_due(state: &State, wall: UnixMillis) -> Option<Body> {
    let mut scopes = scopes(state).into_iter();
    scopes.find_map(|scope| change(state, &scope, ReasonKind::Storm, storm(state, &scope, wall), wall))
}

/// Every scope in which a condition may hold, or held.
fn scopes(state: &State) -> BTreeSet<Scope> {
    let services = state.configuration().services().iter().map(|service| Scope::Service(service.name.clone()));
    let environments = state.tallies.environments().map(|(name, _)| Scope::Environment(name.clone()));
    let open = state.breakers.open().map(|(scope, _)| scope.clone());
    std::iter::once(Scope::Global).chain(environments).chain(services).chain(open).collect()
}

fn change(state: &State, scope: &Scope, kind: ReasonKind, found: Option<OpenReason>, wall: UnixMillis) -> Option<Body> {
    let held = state.breakers.get(scope).and_then(|breaker| breaker.held(kind));
    let eased =
        |easing| Some(Body::BreakerEased(Box::new(BreakerEased { scope: scope.clone(), reason: kind, easing })));
    match (found, held) {
        (None, None) | (Some(_), Some(Held { half_open_at: None, .. })) => None,
        // It is there, or there again: whatever quiet there was counts no more.
        (Some(because), None | Some(Held { half_open_at: Some(_), .. })) => {
            let opened = BreakerOpened { scope: scope.clone(), because, half_open_at: None };
            Some(Body::BreakerOpened(Box::new(opened)))
        }
        (None, Some(Held { half_open_at: None, .. })) => {
            let (Ending::Probe(quiet) | Ending::Steady(quiet)) = ending(kind, state.configuration().breakers());
            eased(Easing::HalfOpen { at: wall.plus(quiet) })
        }
        (None, Some(Held { half_open_at: Some(at), .. })) => match ending(kind, state.configuration().breakers()) {
            Ending::Steady(_) if *at <= wall => eased(Easing::Gone),
            Ending::Steady(_) | Ending::Probe(_) => None,
        },
    }
}
