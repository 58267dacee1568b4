//! Freezes by hand and their end. Called for [`super::PersonRequest::Freeze`] and [`super::PersonRequest::LiftFreeze`].

use super::{PersonRefusal, sound};
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::breaker::Scope;
use fettle_model::freeze::{FreezeDeclared, FreezeLifted, MAX_FREEZE, MAX_FREEZES_BY_HAND};
use fettle_model::id::FreezeId;
use fettle_model::name::PersonName;
use fettle_model::record::Body;
use std::time::Duration;

pub(super) fn declare(
    state: &State,
    now: Now,
    by: &PersonName,
    freeze: FreezeId,
    scope: &Scope,
    lasts: Duration,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    if lasts.is_zero() || lasts > MAX_FREEZE {
        return Err(PersonRefusal::FreezeLength { asked: lasts });
    }
    if state.freezes.count(now.wall) >= MAX_FREEZES_BY_HAND {
        return Err(PersonRefusal::TooManyFreezes);
    }
    let declared = FreezeDeclared { freeze, scope: scope.clone(), until: now.wall.plus(lasts), by: by.clone(), why };
    Ok(vec![Body::FreezeDeclared(Box::new(declared))])
}

pub(super) fn lift(
    state: &State,
    now: Now,
    by: &PersonName,
    freeze: FreezeId,
    scope: &Scope,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    // Policies were asked about this scope.
    if state.freezes.by_hand(freeze, now.wall).is_none_or(|declared| &declared.scope != scope) {
        return Err(PersonRefusal::NotFrozen(freeze));
    }
    Ok(vec![Body::FreezeLifted(Box::new(FreezeLifted { freeze, by: by.clone(), why }))])
}
