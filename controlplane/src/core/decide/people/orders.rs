//! Stop orders and their end. Called for [`super::PersonRequest::Stop`] and [`super::PersonRequest::Resume`].

use super::{PersonRefusal, sound};
use crate::core::state::State;
use fettle_model::breaker::{BreakerClosed, ResumeOrder, Scope, StopOrder};
use fettle_model::name::PersonName;
use fettle_model::record::Body;

pub(super) fn stop(state: &State, by: &PersonName, scope: &Scope, why: &str) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    let order = StopOrder { scope: scope.clone(), epoch: state.stops.epoch.next(), by: by.clone(), why };
    Ok(vec![Body::AutomationStopped(Box::new(order))])
}

pub(super) fn resume(state: &State, by: &PersonName, scope: &Scope, why: &str) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    let mut bodies = Vec::new();
    if state.stops.in_force(scope).is_some() {
        let order = ResumeOrder { scope: scope.clone(), by: by.clone(), why };
        bodies.push(Body::AutomationResumed(Box::new(order)));
    }
    if state.breakers.is_open(scope) {
        let closed = BreakerClosed { scope: scope.clone(), probe: None };
        bodies.push(Body::BreakerClosed(Box::new(closed)));
    }
    if bodies.is_empty() { Err(PersonRefusal::NotStopped(scope.clone())) } else { Ok(bodies) }
}
