//! Budgets given in advance, as far as counting goes: which of their runs still count, and what became of their units.
//! Folded by [`super::course`].

use super::hosts::Group;
use super::problems::Fingerprint;
use fettle_model::id::{HostId, PermitId, RunId};
use fettle_model::permit::Permit;
use std::collections::BTreeMap;

/// So many runs that ended later and the control plane has forgotten a budget: what is told of it counts no more.
const REMEMBERED: u64 = 10_000;

#[derive(Debug, Clone)]
struct Budget {
    of: Fingerprint,
    group: Group,
    units: u32,
    /// Runs under it that were told of.
    told: u32,
    state: Held,
}

/// Whether a budget holds its units. With how many runs and budgets were over when it no longer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Yes,
    Expired(u64),
    /// So many of its runs were begun.
    Returned(u64, u32),
    Refused,
}

/// What became of a budget's units.
pub(super) enum Units {
    /// It holds them no more, and so many were used; all, where nobody knows.
    Settled(Group, Option<u32>),
    /// All counted as used, and only so many were.
    Corrected(Group, u32),
}

/// All budgets.
#[derive(Debug, Clone, Default)]
pub(super) struct Budgets {
    by_permit: BTreeMap<PermitId, Budget>,
    /// The units of which nothing was told yet, and whose they are.
    untold: BTreeMap<PermitId, (PermitId, RunId)>,
    /// Runs and budgets that are over.
    over: u64,
}

impl Budgets {
    pub(super) fn give(&mut self, permit: &Permit, of: Fingerprint, group: Group) {
        let budget = Budget { of, group, units: permit.units.get(), told: 0, state: Held::Yes };
        self.by_permit.insert(permit.permit, budget);
        for unit in permit.all_units() {
            self.untold.insert(unit.permit, (permit.permit, unit.run));
        }
    }

    /// A run is over.
    pub(super) const fn one_more_is_over(&mut self) {
        self.over = self.over.saturating_add(1);
    }

    const fn remembers(&self, since: u64) -> bool {
        self.over < since.saturating_add(REMEMBERED)
    }

    /// The run under a unit of which nothing was told yet, and what it answers, where it still counts.
    pub(super) fn unit(&self, unit: PermitId, host: HostId) -> Option<(RunId, Fingerprint)> {
        let (budget, run) = self.untold.get(&unit)?;
        let budget = self.by_permit.get(budget).filter(|budget| budget.of.host == host)?;
        let counts = match budget.state {
            Held::Yes => true,
            Held::Expired(since) => self.remembers(since),
            Held::Returned(since, used) => self.remembers(since) && budget.told < used,
            Held::Refused => false,
        };
        counts.then(|| (*run, budget.of.clone()))
    }

    /// It was told of.
    pub(super) fn tell(&mut self, unit: PermitId) {
        if let Some(budget) = self.untold.remove(&unit).and_then(|(budget, _)| self.by_permit.get_mut(&budget)) {
            budget.told = budget.told.saturating_add(1);
        }
        self.one_more_is_over();
    }

    /// Its host refused it: nothing was or will be used.
    pub(super) fn refuse(&mut self, permit: PermitId, host: HostId) -> Option<Units> {
        let group = self.end(permit, host, |_| Held::Refused)?;
        Some(Units::Settled(group, Some(0)))
    }

    pub(super) fn expire(&mut self, permit: PermitId, host: HostId) -> Option<Units> {
        let group = self.end(permit, host, Held::Expired)?;
        Some(Units::Settled(group, None))
    }

    /// A budget that holds its units holds them no more.
    fn end(&mut self, permit: PermitId, host: HostId, state: impl FnOnce(u64) -> Held) -> Option<Group> {
        let over = self.over.saturating_add(1);
        let budget = self.by_permit.get_mut(&permit)?;
        if budget.state != Held::Yes || budget.of.host != host {
            return None;
        }
        budget.state = state(over);
        self.over = over;
        Some(budget.group.clone())
    }

    /// Its agent gives back what is left. Its word counts no lower than what it has told of, and no higher than what there was.
    pub(super) fn give_back(&mut self, permit: PermitId, host: HostId, used: u32) -> Option<Units> {
        let budget = self.by_permit.get(&permit).filter(|budget| budget.of.host == host)?;
        let used = used.max(budget.told).min(budget.units);
        match budget.state {
            Held::Yes => {
                let group = self.end(permit, host, |over| Held::Returned(over, used))?;
                Some(Units::Settled(group, Some(used)))
            }
            Held::Expired(since) if self.remembers(since) => {
                let budget = self.by_permit.get_mut(&permit)?;
                budget.state = Held::Returned(since, used);
                Some(Units::Corrected(budget.group.clone(), used))
            }
            Held::Expired(_) | Held::Returned(..) | Held::Refused => None,
        }
    }
}
