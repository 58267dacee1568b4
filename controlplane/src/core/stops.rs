//! Stop orders: what people stopped by hand, and what they let go on.

use super::entry::Stamp;
use fettle_model::breaker::{ResumeOrder, Scope, StopOrder};
use fettle_model::counter::StopEpoch;
use std::collections::BTreeMap;

/// The newest order in one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its place in the log.
    pub stamp: Stamp,
    /// What it orders.
    pub kind: OrderKind,
}

/// What an order says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderKind {
    /// Stop.
    Stopped(StopOrder),
    /// Go on.
    Resumed(ResumeOrder),
}

/// The newest order of every scope that ever had one. Scopes are names in use, so the map is as
/// large as the configuration's history of names at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Stops {
    pub(in crate::core) orders: BTreeMap<Scope, Order>,
    pub(in crate::core) epoch: StopEpoch,
}

impl Stops {
    pub(in crate::core) fn stop(&mut self, order: &StopOrder, stamp: Stamp) {
        self.epoch = self.epoch.max(order.epoch);
        self.orders.insert(order.scope.clone(), Order { stamp, kind: OrderKind::Stopped(order.clone()) });
    }

    pub(in crate::core) fn resume(&mut self, order: &ResumeOrder, stamp: Stamp) {
        self.orders.insert(order.scope.clone(), Order { stamp, kind: OrderKind::Resumed(order.clone()) });
    }

    /// The stop order in force in exactly this scope.
    pub(in crate::core) fn in_force(&self, scope: &Scope) -> Option<&StopOrder> {
        match &self.orders.get(scope)?.kind {
            OrderKind::Stopped(order) => Some(order),
            OrderKind::Resumed(_) => None,
        }
    }

    pub(in crate::core) fn all_in_force(&self) -> impl Iterator<Item = (&StopOrder, Stamp)> {
        self.orders.values().filter_map(|order| match &order.kind {
            OrderKind::Stopped(stop) => Some((stop, order.stamp)),
            OrderKind::Resumed(_) => None,
        })
    }
}
