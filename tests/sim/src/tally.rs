//! The budget of the service, tallied from the log: permits in the window, and what hosts hold in advance.

use crate::fixture::{MAX_PER_WINDOW, WINDOW};
use crate::scene::Scene;
use anyhow::Context as _;
use fettle_audit::leaf::Leaf;
use fettle_controlplane::journal::Journal;
use fettle_model::counter::LogPosition;
use fettle_model::id::PermitId;
use fettle_model::permit::{Permit, PermitRejection};
use fettle_model::record::{Body, Record};
use fettle_model::time::UnixMillis;
use fettle_permit_model::invariants::I4;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
struct Tally<'a> {
    /// One for each run that was permitted, and that a budget in advance was used for.
    spent: Vec<(PermitId, UnixMillis)>,
    /// Budgets in advance of which nobody has said what was used.
    held: BTreeMap<PermitId, u32>,
    budgets: BTreeMap<PermitId, &'a Permit>,
}

/// At no grant is more spent and held than the window has, and nobody says that they used less than they did.
pub(crate) fn check(scene: &mut Scene, journal: &Journal, log: &[Arc<Record>]) -> anyhow::Result<()> {
    let mut tally = Tally::default();
    for (position, record) in (0_u64..).map(LogPosition).zip(log) {
        let body = &record.body;
        if let Body::PermitGranted(permit) = body {
            let count = tally.grant(permit, received_at(journal, position)?);
            if count > MAX_PER_WINDOW {
                scene.truth.breaks(I4, format!("{count} runs may be within {WINDOW:?}"));
            }
        } else if let Body::PermitRejected(rejected) = body
            && rejected.because != PermitRejection::Replayed
        {
            tally.held.remove(&rejected.permit.context("a permit")?);
        } else if let Body::OfflineReturned(returned) = body {
            tally.give_back(returned.permit, returned.used, received_at(journal, position)?);
            let budget = tally.budgets.get(&returned.permit).context("a budget of the log")?;
            let runs = budget.all_units().filter(|unit| scene.truth.has_opened(unit.permit)).count();
            if u32::try_from(runs)? > returned.used {
                scene
                    .truth
                    .breaks(I4, format!("{runs} runs under {}, and {} are told", returned.permit, returned.used));
            }
        } else if let Body::OfflineExpired(expired) = body {
            let units = tally.held.get(&expired.permit).copied().unwrap_or_default();
            tally.give_back(expired.permit, units, received_at(journal, position)?);
        }
    }
    Ok(())
}

fn received_at(journal: &Journal, position: LogPosition) -> anyhow::Result<UnixMillis> {
    let row = journal.read(position, 1)?.pop().context("a record of the log")?;
    Ok(Leaf::decode(&row.leaf)?.received_at)
}

impl<'a> Tally<'a> {
    /// How many runs there may have been in the window then, this permit's included.
    fn grant(&mut self, permit: &'a Permit, at: UnixMillis) -> u32 {
        let units = permit.units.get();
        let within = self.spent.iter().filter(|(_, spent)| at.since(*spent) < WINDOW).count();
        let before = u32::try_from(within).unwrap_or(u32::MAX).saturating_add(self.held.values().sum());
        if permit.is_offline() {
            self.held.insert(permit.permit, units);
            self.budgets.insert(permit.permit, permit);
        } else {
            self.spent.push((permit.permit, at));
        }
        before.saturating_add(units)
    }

    /// A host's word, or the end of waiting for it. A word that comes after that gives back what was not used.
    fn give_back(&mut self, budget: PermitId, used: u32, at: UnixMillis) {
        if self.held.remove(&budget).is_some() {
            self.spent.extend((0..used).map(|_| (budget, at)));
            return;
        }
        let mut kept = 0;
        self.spent.retain(|(permit, _)| {
            kept += u32::from(*permit == budget);
            *permit != budget || kept <= used
        });
    }
}
