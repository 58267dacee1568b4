//! Mutes and their end. Called for [`super::PersonRequest::Mute`] and [`super::PersonRequest::LiftMute`].

use super::{PersonRefusal, sound};
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::breaker::Scope;
use fettle_model::id::MuteId;
use fettle_model::mute::{MAX_MUTE, MAX_MUTES, MuteLifted, MuteStarted};
use fettle_model::name::PersonName;
use fettle_model::record::Body;
use std::time::Duration;

pub(super) fn start(
    state: &State,
    now: Now,
    by: &PersonName,
    mute: MuteId,
    scope: &Scope,
    lasts: Duration,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    if lasts.is_zero() || lasts > MAX_MUTE {
        return Err(PersonRefusal::MuteLength { asked: lasts });
    }
    if state.mutes.in_force(now.wall).count() >= MAX_MUTES {
        return Err(PersonRefusal::TooManyMutes);
    }
    let started = MuteStarted { mute, scope: scope.clone(), until: now.wall.plus(lasts), by: by.clone(), why };
    Ok(vec![Body::MuteStarted(Box::new(started))])
}

pub(super) fn lift(
    state: &State,
    now: Now,
    by: &PersonName,
    mute: MuteId,
    scope: &Scope,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    // Policies were asked about this scope.
    if !state.mutes.in_force(now.wall).any(|known| known.mute == mute && &known.scope == scope) {
        return Err(PersonRefusal::NotMuted(mute));
    }
    Ok(vec![Body::MuteLifted(Box::new(MuteLifted { mute, by: by.clone(), why }))])
}
