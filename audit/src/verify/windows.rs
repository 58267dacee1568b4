//! Windows: how many permits a group got within the window of the guard that let one more through.

use super::finding::{At, Rule};
use super::hosts::Group;
use fettle_model::guard::{Guard, MAX_PER_WINDOW, MAX_WINDOW};
use fettle_model::playbook::Reversibility;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, VecDeque};

/// Permits remembered of a group: no guard may allow more.
const MAX_REMEMBERED: usize = MAX_PER_WINDOW as usize;

#[derive(Debug, Clone, Copy)]
struct Spent {
    at: UnixMillis,
    reversibility: Reversibility,
}

/// The permits of all groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows(BTreeMap<Group, VecDeque<Spent>>);

impl Windows {
    /// One more permit, which spends from its group's window, whatever it is for.
    pub(super) fn spend(
        &mut self,
        group: &Group,
        guard: Option<&Guard>,
        reversibility: Reversibility,
        now: UnixMillis,
        at: &mut At<'_>,
    ) {
        let spent = self.0.entry(group.clone()).or_default();
        if let Some(guard) = guard {
            let (service, environment) = group;
            let within = |from| count(spent, guard, from, now);
            let all = within(Reversibility::Reversible);
            if all >= guard.max_per_window {
                let words = format!("{all} permits for {service} in {environment} within the guard's window");
                at.flag(Rule::Window, format!("{words}, of {} before this one", guard.max_per_window));
            }
            let grave = within(Reversibility::Irreversible);
            if reversibility == Reversibility::Irreversible && grave >= guard.max_irreversible {
                let words = format!("{grave} irreversible permits for {service} in {environment}");
                at.flag(Rule::Window, format!("{words} within the guard's window, of {}", guard.max_irreversible));
            }
        }
        spent.push_back(Spent { at: now, reversibility });
        while spent.len() > MAX_REMEMBERED || spent.front().is_some_and(|oldest| now.since(oldest.at) >= MAX_WINDOW) {
            spent.pop_front();
        }
    }
}

/// Permits within the guard's window, at least as grave.
fn count(spent: &VecDeque<Spent>, guard: &Guard, from: Reversibility, now: UnixMillis) -> u32 {
    let within = spent.iter().filter(|it| now.since(it.at) < guard.window && it.reversibility >= from);
    u32::try_from(within.count()).unwrap_or(u32::MAX)
}
