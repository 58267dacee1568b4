//! Budgets: the permits of each group within the windows of its guards.
//!
//! A permit is spent when it is granted and never given back: neither a lost run nor one that did nothing
//! returns it. Every trigger spends from the same budget.

use super::entry::Stamp;
use super::runs::Run;
use fettle_model::guard::{MAX_PER_WINDOW, MAX_WINDOW};
use fettle_model::name::{EnvironmentName, ServiceName};
use fettle_model::playbook::Reversibility;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Permits remembered per group: as many as the largest limit, so that what is forgotten cannot matter.
const MAX_REMEMBERED: usize = MAX_PER_WINDOW as usize;

/// One permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spent {
    at: UnixMillis,
    reversibility: Reversibility,
}

/// Permits counted in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct Counted {
    /// How many.
    pub(in crate::core) count: u32,
    /// When the oldest of them leaves the window.
    pub(in crate::core) first_leaves: Option<UnixMillis>,
}

/// The permits of all groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Budgets(BTreeMap<ServiceName, BTreeMap<EnvironmentName, VecDeque<Spent>>>);

impl Budgets {
    /// A permit was granted.
    pub(in crate::core) fn spend(&mut self, run: &Run, reversibility: Reversibility, stamp: Stamp) {
        let group = self.0.entry(run.service.clone()).or_default().entry(run.environment.clone()).or_default();
        group.push_back(Spent { at: stamp.at, reversibility });
        while group.len() > MAX_REMEMBERED
            || group.front().is_some_and(|oldest| stamp.at.since(oldest.at) >= MAX_WINDOW)
        {
            group.pop_front();
        }
    }

    /// Permits of a group within the window, at least as grave as `from`.
    pub(in crate::core) fn within(
        &self,
        service: &ServiceName,
        environment: &EnvironmentName,
        window: Duration,
        from: Reversibility,
        wall: UnixMillis,
    ) -> Counted {
        let group = self.0.get(service).and_then(|environments| environments.get(environment));
        let mut counted = Counted { count: 0, first_leaves: None };
        // From the newest: the clock may have been set back, so that not every older one is out of the window.
        for spent in group.into_iter().flatten().rev() {
            if wall.since(spent.at) < window && spent.reversibility >= from {
                counted.count = counted.count.saturating_add(1);
                let leaves = spent.at.plus(window);
                counted.first_leaves = Some(counted.first_leaves.map_or(leaves, |first| first.min(leaves)));
            }
        }
        counted
    }
}
