//! Breakers, stop orders and freezes, by scope.

use crate::core::breakers::{OpenBreaker, Standing};
use crate::core::entry::Stamp;
use crate::core::freezes;
use crate::core::state::State;
use fettle_model::breaker::{OpenReason, Scope};
use fettle_model::freeze::{FrozenBy, Standing as FreezeStanding};
use fettle_model::id::RunId;
use fettle_model::time::UnixMillis;
use serde::Serialize;
use std::collections::BTreeSet;

/// One scope in which automation is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BreakerRow {
    /// The scope.
    pub scope: Scope,
    /// How it stands.
    pub standing: SwitchStanding,
    /// Every reason, a stop order by hand included.
    pub because: Vec<OpenReason>,
    /// The newest record that opened it or ordered the stop.
    pub since: Stamp,
    /// When it goes half-open by itself; `None` while a person must resume it.
    pub half_open_at: Option<UnixMillis>,
    /// The probe that is under way.
    pub probe: Option<RunId>,
}

/// How a switch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchStanding {
    /// Nothing passes.
    Open,
    /// One probe passes.
    HalfOpen,
}

/// A freeze and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreezeRow {
    /// Where.
    pub scope: Scope,
    /// Which.
    pub freeze: FrozenBy,
    /// Why.
    pub why: String,
    /// How it stands.
    pub standing: FreezeStanding,
}

/// Freezes that hold at `wall`, the calendars' first; calendars that do not hold then follow.
#[must_use]
pub fn freezes(state: &State, wall: UnixMillis) -> Vec<FreezeRow> {
    let holding = freezes::in_force(state, wall).map(|frozen| FreezeRow {
        scope: frozen.scope,
        freeze: frozen.freeze,
        why: frozen.why,
        standing: FreezeStanding::Frozen { until: frozen.until },
    });
    let open = state.configuration().freezes().iter().filter(|freeze| freeze.at(wall) == FreezeStanding::Open);
    let open = open.map(|freeze| FreezeRow {
        scope: freeze.scope.clone(),
        freeze: FrozenBy::Calendar { name: freeze.name.clone() },
        why: freeze.why.clone(),
        standing: FreezeStanding::Open,
    });
    holding.chain(open).collect()
}

/// All scopes that are not closed, widest first.
#[must_use]
pub fn breakers(state: &State, wall: UnixMillis) -> Vec<BreakerRow> {
    let scopes: BTreeSet<&Scope> = state
        .breakers
        .open()
        .map(|(scope, _)| scope)
        .chain(state.stops.all_in_force().map(|(order, _)| &order.scope))
        .collect();
    scopes.into_iter().filter_map(|scope| row(state, scope, wall)).collect()
}

fn row(state: &State, scope: &Scope, wall: UnixMillis) -> Option<BreakerRow> {
    let stop = state.stops.all_in_force().find(|(order, _)| &order.scope == scope);
    let (standing, breaker) = match state.breakers.standing(scope, wall) {
        Standing::Closed => (SwitchStanding::Open, None),
        Standing::Open(breaker) => (SwitchStanding::Open, Some(breaker)),
        Standing::HalfOpen(breaker) => (SwitchStanding::HalfOpen, Some(breaker)),
    };
    let mut because = breaker.map(OpenBreaker::because).unwrap_or_default();
    because.extend(stop.map(|(order, _)| OpenReason::ByHand { by: order.by.clone(), why: order.why.clone() }));
    let since = breaker.map(|breaker| breaker.opened).max(stop.map(|(_, stamp)| stamp))?;
    Some(BreakerRow {
        scope: scope.clone(),
        standing: if stop.is_some() { SwitchStanding::Open } else { standing },
        because,
        since,
        half_open_at: breaker.filter(|_| stop.is_none()).and_then(OpenBreaker::half_open_at),
        probe: breaker.and_then(|breaker| breaker.probe).map(|probe| probe.run),
    })
}
