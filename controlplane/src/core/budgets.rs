//! Budgets: the permits of each group within the windows of its guards.
//!
//! A permit is spent when it is granted and never given back: neither a lost run nor one that did nothing
//! returns it. Every trigger spends from the same budget. Units that a host holds in advance count in every window for
//! as long as it holds them, because a run under them may begin at any time; those that its agent says it did not use
//! are given back, and no others.

use super::entry::Stamp;
use super::runs::Run;
use fettle_model::guard::{MAX_PER_WINDOW, MAX_WINDOW};
use fettle_model::id::PermitId;
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
    permit: PermitId,
}

/// The permits of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    spent: VecDeque<Spent>,
    /// Units that hosts hold in advance; a budget without any left has no entry.
    held: BTreeMap<PermitId, u32>,
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
pub(in crate::core) struct Budgets(BTreeMap<ServiceName, BTreeMap<EnvironmentName, Account>>);

impl Budgets {
    fn account(&mut self, run: &Run) -> &mut Account {
        self.0.entry(run.service.clone()).or_default().entry(run.environment.clone()).or_default()
    }

    /// A permit was granted.
    pub(in crate::core) fn spend(&mut self, run: &Run, reversibility: Reversibility, stamp: Stamp) {
        self.account(run).spend(run.permit.permit, reversibility, stamp.at);
    }

    /// A budget was given in advance.
    pub(in crate::core) fn hold(&mut self, run: &Run) {
        self.account(run).held.insert(run.permit.permit, run.permit.units.get());
    }

    /// The host does not hold it any more. `used` of its units are spent; all, where nobody knows.
    pub(in crate::core) fn settle(&mut self, run: &Run, used: Option<u32>, at: UnixMillis) {
        let account = self.account(run);
        let held = account.held.remove(&run.permit.permit).unwrap_or(0);
        for _ in 0..used.unwrap_or(held).min(held) {
            account.spend(run.permit.permit, Reversibility::Reversible, at);
        }
    }

    /// An agent says late how many units it used: the others were not, and are given back.
    pub(in crate::core) fn correct(&mut self, run: &Run, used: u32) {
        let mut left = used;
        self.account(run).spent.retain(|spent| {
            let kept = spent.permit != run.permit.permit || left > 0;
            if spent.permit == run.permit.permit {
                left = left.saturating_sub(1);
            }
            kept
        });
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
        let account = self.0.get(service).and_then(|environments| environments.get(environment));
        let group = account.map(|account| &account.spent);
        let held = match from {
            Reversibility::Reversible => account.into_iter().flat_map(|account| account.held.values()).sum(),
            // Nothing irreversible is given in advance.
            Reversibility::Irreversible => 0,
        };
        let mut counted = Counted { count: held, first_leaves: None };
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

impl Account {
    fn spend(&mut self, permit: PermitId, reversibility: Reversibility, at: UnixMillis) {
        self.spent.push_back(Spent { at, reversibility, permit });
        while self.spent.len() > MAX_REMEMBERED
            || self.spent.front().is_some_and(|oldest| at.since(oldest.at) >= MAX_WINDOW)
        {
            self.spent.pop_front();
        }
    }
}
