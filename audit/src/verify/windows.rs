//! Windows: how many permits a group got within the window of the guard that let one more through. Folded by
//! [`super::course`]. Units that a host holds in advance count in every window for as long as it holds them.

use super::finding::{At, Rule};
use super::hosts::Group;
use fettle_model::guard::{Guard, MAX_PER_WINDOW, MAX_WINDOW};
use fettle_model::id::PermitId;
use fettle_model::playbook::Reversibility;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, VecDeque};

/// Permits remembered of a group: no guard may allow more.
const MAX_REMEMBERED: usize = MAX_PER_WINDOW as usize;

#[derive(Debug, Clone, Copy)]
struct Spent {
    at: UnixMillis,
    reversibility: Reversibility,
    permit: PermitId,
}

/// The permits of one group.
#[derive(Debug, Clone, Default)]
struct Account {
    spent: VecDeque<Spent>,
    /// Units that hosts hold in advance.
    held: BTreeMap<PermitId, u32>,
}

/// One more permit.
pub(super) struct Spending<'a> {
    pub(super) group: &'a Group,
    pub(super) permit: PermitId,
    pub(super) units: u32,
    pub(super) reversibility: Reversibility,
    pub(super) now: UnixMillis,
}

/// The permits of all groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows(BTreeMap<Group, Account>);

impl Windows {
    /// The window has room for one more permit, with all its units.
    pub(super) fn check(&self, spending: &Spending<'_>, guard: &Guard, at: &mut At<'_>) {
        let (service, environment) = spending.group;
        let account = self.0.get(spending.group);
        let within = |from| account.map_or(0, |account| account.count(guard, from, spending.now));
        let held: u32 = account.into_iter().flat_map(|account| account.held.values()).sum();
        let all = within(Reversibility::Reversible).saturating_add(held);
        if all.saturating_add(spending.units) > guard.max_per_window {
            let words = format!("{all} permits and units for {service} in {environment} within the guard's window");
            at.flag(Rule::Window, format!("{words}, of {}, before {} more", guard.max_per_window, spending.units));
        }
        let grave = within(Reversibility::Irreversible);
        if spending.reversibility == Reversibility::Irreversible && grave >= guard.max_irreversible {
            let words = format!("{grave} irreversible permits for {service} in {environment}");
            at.flag(Rule::Window, format!("{words} within the guard's window, of {}", guard.max_irreversible));
        }
    }

    /// It spends from its group's window, whatever it is for.
    pub(super) fn spend(&mut self, spending: &Spending<'_>) {
        let account = self.0.entry(spending.group.clone()).or_default();
        account.spend(spending.permit, spending.reversibility, spending.now);
    }

    /// It is given in advance: its units are spent when they are used.
    pub(super) fn hold(&mut self, spending: &Spending<'_>) {
        self.0.entry(spending.group.clone()).or_default().held.insert(spending.permit, spending.units);
    }

    /// A host holds it no more. `used` of its units are spent; all, where nobody knows.
    pub(super) fn settle(&mut self, group: &Group, permit: PermitId, used: Option<u32>, now: UnixMillis) {
        let account = self.0.entry(group.clone()).or_default();
        let held = account.held.remove(&permit).unwrap_or(0);
        for _ in 0..used.unwrap_or(held).min(held) {
            account.spend(permit, Reversibility::Reversible, now);
        }
    }

    /// Only so many of its units were used.
    pub(super) fn correct(&mut self, group: &Group, permit: PermitId, used: u32) {
        let Some(account) = self.0.get_mut(group) else { return };
        let mut left = used;
        account.spent.retain(|spent| {
            let kept = spent.permit != permit || left > 0;
            if spent.permit == permit {
                left = left.saturating_sub(1);
            }
            kept
        });
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

    /// Permits within the guard's window, at least as grave.
    fn count(&self, guard: &Guard, from: Reversibility, now: UnixMillis) -> u32 {
        let within = self.spent.iter().filter(|it| now.since(it.at) < guard.window && it.reversibility >= from);
        u32::try_from(within.count()).unwrap_or(u32::MAX)
    }
}
