//! The budget that an agent holds in advance, in place of the effector's `offline`: when it asks for one, uses a unit and
//! gives it back. Which units are used is what the state file says.

use crate::agent::covers;
use crate::fixture;
use crate::flaw::Flaw;
use crate::host::Host;
use crate::scene::{Scene, Weather};
use crate::setting::Way;
use fettle_agent::effector::admission::lease_on_this_clock;
use fettle_agent::effector::store::{Use, Value};
use fettle_model::check::Status;
use fettle_model::offline::OfflineReturned;
use fettle_model::permit::{Permit, Purpose};
use fettle_model::record::Body;
use std::time::Duration;

/// The link counts as down after so long a silence: an agent says that it is here, and is answered, more often.
const DOWN_AFTER: Duration = Duration::from_secs(9);
/// From then on a unit may be used; the effector has the same.
const OFFLINE_AFTER: Duration = Duration::from_secs(15);

/// Whether the control plane is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    Down,
    /// Down for so long that the host may act alone.
    Gone,
}

impl Host {
    pub(crate) fn link(&self, scene: &Scene) -> Link {
        let silent = self.life.as_ref().map_or(Duration::ZERO, |life| self.now(scene).on_boot.since(life.heard));
        if silent >= OFFLINE_AFTER {
            Link::Gone
        } else if silent >= DOWN_AFTER {
            Link::Down
        } else {
            Link::Up
        }
    }

    pub(crate) fn holds_budget(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.budget.is_some())
    }

    /// Gives the budget back when it is over, uses a unit of it, or asks for one, whichever is due.
    pub(crate) fn tend_budget(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        if scene.setting.way != Way::Offline {
            return Ok(());
        }
        if self.budget_is_over(scene)? {
            self.give_budget_back(scene)?;
        }
        match self.link(scene) {
            Link::Up => self.ask_for_budget(scene),
            Link::Down => Ok(()),
            Link::Gone => self.use_unit(scene),
        }
    }

    /// The budget was granted: it is kept with the answer to its request.
    pub(crate) fn keep_budget(&mut self, permit: &Permit) -> anyhow::Result<()> {
        let Some(life) = &mut self.life else { return Ok(()) };
        let document = serde_json::to_string(permit)?;
        life.store.answer_with_value(permit.request, (Value::Offline, &document))?;
        life.requests.remove(&permit.request);
        life.budget = Some(permit.clone());
        Ok(())
    }

    fn used_units(&self) -> anyhow::Result<Vec<Permit>> {
        let Some(life) = &self.life else { return Ok(Vec::new()) };
        let mut used = Vec::new();
        for unit in life.budget.iter().flat_map(Permit::all_units) {
            match life.store.is_used(unit.permit)? {
                Use::Before => used.push(unit),
                Use::Never => {}
            }
        }
        Ok(used)
    }

    fn budget_is_over(&self, scene: &Scene) -> anyhow::Result<bool> {
        let Some(life) = self.life.as_ref().filter(|life| life.run.is_none()) else { return Ok(false) };
        let Some(budget) = &life.budget else { return Ok(false) };
        let now = self.now(scene);
        let lease = lease_on_this_clock(budget);
        let good_for = match self.link(scene) {
            Link::Up => lease / 2,
            Link::Down | Link::Gone => lease,
        };
        for order in life.stops.all() {
            if covers(order, budget)? && !scene.has(Flaw::StopIgnored) {
                return Ok(true);
            }
        }
        let used = u32::try_from(self.used_units()?.len())?;
        let late = now.on_boot >= budget.sent_at.plus(good_for);
        Ok(late || budget.boot != now.boot || used >= budget.units.get())
    }

    /// Says how many units were used, and holds the budget no longer.
    pub(crate) fn give_budget_back(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let used = if scene.has(Flaw::UnitsNotCounted) { 0 } else { u32::try_from(self.used_units()?.len())? };
        let Some(budget) = self.life.as_mut().and_then(|life| life.budget.take()) else { return Ok(()) };
        let body = Body::OfflineReturned(Box::new(OfflineReturned { permit: budget.permit, used }));
        self.record(scene, body, |store, sealed| store.append_with_value(sealed.as_new(), Value::Offline, ""))
    }

    fn ask_for_budget(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let now = self.now(scene).on_boot;
        let Some(life) = &self.life else { return Ok(()) };
        let well = life.head.as_ref().is_some_and(|head| head.status == Status::Passing);
        let free = life.run.is_none() && life.requests.is_empty() && life.budget.is_none();
        if !well || !free || life.budget_at > now || scene.weather == Weather::Still {
            return Ok(());
        }
        self.request(scene, Purpose::Offline { check: fixture::check()?, remediation: fixture::remediation()? })
    }

    /// Begins a run under the next unit, where the check is critical.
    fn use_unit(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let Some(life) = self.life.as_ref().filter(|life| life.run.is_none()) else { return Ok(()) };
        let critical = life.head.as_ref().is_some_and(|head| head.status == Status::Critical);
        let (Some(budget), true) = (&life.budget, critical) else { return Ok(()) };
        let used = self.used_units()?;
        let unused = |unit: &Permit| used.iter().all(|other| other.permit != unit.permit);
        let next = budget.all_units().find(|unit| unused(unit) || scene.has(Flaw::UnitUsedTwice));
        next.map_or(Ok(()), |unit| self.granted(scene, &unit))
    }
}
