//! Freezes: those by calendar, from the configuration, and those that people declared for a while.
//!
//! Several about one scope must all let it act, so all that hold are told. The kinds of the log that are not grants
//! do not ask here: agents' words, reports of runs under way and people's orders pass through every freeze.

use super::entry::Stamp;
use super::state::State;
use fettle_model::breaker::Scope;
use fettle_model::freeze::{FreezeDeclared, FrozenBy, Standing};
use fettle_model::id::FreezeId;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// The freezes by hand that were neither lifted nor forgotten; one that is over is forgotten when the next is
/// declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Freezes {
    by_hand: BTreeMap<FreezeId, FreezeDeclared>,
}

/// A freeze that holds something back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct Frozen {
    /// Where.
    pub(in crate::core) scope: Scope,
    /// Which one.
    pub(in crate::core) freeze: FrozenBy,
    /// Why.
    pub(in crate::core) why: String,
    /// Until when, where that is known.
    pub(in crate::core) until: Option<UnixMillis>,
}

impl Freezes {
    pub(in crate::core) fn declare(&mut self, declared: &FreezeDeclared, stamp: Stamp) {
        self.by_hand.retain(|_, freeze| freeze.until > stamp.at);
        self.by_hand.insert(declared.freeze, declared.clone());
    }

    pub(in crate::core) fn lift(&mut self, freeze: FreezeId) {
        self.by_hand.remove(&freeze);
    }

    /// A freeze by hand that is in force.
    pub(in crate::core) fn by_hand(&self, freeze: FreezeId, wall: UnixMillis) -> Option<&FreezeDeclared> {
        self.by_hand.get(&freeze).filter(|declared| declared.until > wall)
    }

    pub(in crate::core) fn count(&self, wall: UnixMillis) -> usize {
        self.by_hand.values().filter(|declared| declared.until > wall).count()
    }
}

/// Every freeze of exactly this scope that holds now.
pub(in crate::core) fn holding<'a>(
    state: &'a State,
    scope: &'a Scope,
    wall: UnixMillis,
) -> impl Iterator<Item = Frozen> + 'a {
    all_in_force(state, wall, move |of| of == scope)
}

/// Every freeze that holds now, the calendars' first.
pub(in crate::core) fn in_force(state: &State, wall: UnixMillis) -> impl Iterator<Item = Frozen> + '_ {
    all_in_force(state, wall, |_| true)
}

fn all_in_force<'a>(
    state: &'a State,
    wall: UnixMillis,
    wanted: impl Fn(&Scope) -> bool + Copy + 'a,
) -> impl Iterator<Item = Frozen> + 'a {
    // The scope is asked first: calendars take time to read.
    let calendars = state.configuration().freezes().iter().filter(move |freeze| wanted(&freeze.scope));
    let calendars = calendars.filter_map(move |freeze| match freeze.at(wall) {
        Standing::Open => None,
        Standing::Frozen { until } => Some(Frozen {
            scope: freeze.scope.clone(),
            freeze: FrozenBy::Calendar { name: freeze.name.clone() },
            why: freeze.why.clone(),
            until,
        }),
    });
    let by_hand = state.freezes.by_hand.values().filter(move |declared| wanted(&declared.scope));
    let by_hand = by_hand.filter(move |declared| declared.until > wall).map(|declared| Frozen {
        scope: declared.scope.clone(),
        freeze: FrozenBy::Person { freeze: declared.freeze, by: declared.by.clone() },
        why: declared.why.clone(),
        until: Some(declared.until),
    });
    calendars.chain(by_hand)
}
