//! The budget that this host holds in advance: asking for one while nothing is wrong, using it while the control plane
//! cannot be reached, and giving back what is left.
//!
//! The control plane grants this host nothing else while it holds one, so it is given back before anything is asked
//! for; it ends with a new configuration, a stop order, a reboot and its lease. What was used is read from the permits
//! that the state file has as used, so no crash can make a unit good twice:
//!
//! | crash | what the next life finds |
//! |---|---|
//! | before it is kept | the request, which is answered with the same permit once more |
//! | after a unit is marked as used | an open run, which is taken up |
//! | after it is given back | no budget: its record and its end are one transaction |
//!
//! Called by the effector's loop; what a run does is none of its business.

use super::serve::{Effector, EffectorError, LinkState};
use super::store::{StoreError, Use, Value};
use fettle_audit::published::Published;
use fettle_model::breaker::Scope;
use fettle_model::check::{CheckRef, Status};
use fettle_model::id::RunId;
use fettle_model::offline::OfflineReturned;
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::playbook::{Manifest, Reversibility};
use fettle_model::record::Body;
use fettle_model::remediation::{Mode, Remediation};
use fettle_model::time::{BootInstant, UnixMillis};
use std::time::Duration;

/// A unit is used when the control plane was not reached for so long. A control plane that is started again is back
/// after the first six attempts to reach it, which take 12.6 seconds (`daemon/reconnect.rs`).
const OFFLINE_AFTER: Duration = Duration::from_secs(15);
/// A budget that was given back is asked for again after so long at the earliest: one request a minute at most, however
/// often something else is asked for between.
const ASK_AGAIN: Duration = Duration::from_mins(1);
/// After a refusal that names no time. A request an hour for each host, while nothing changes.
const REFUSED_AGAIN: Duration = Duration::from_hours(1);

/// The budget with its document.
#[derive(Debug, Clone)]
struct Budget {
    permit: Permit,
    /// As it was published; kept with every run under it.
    published: String,
}

/// Whether more may be begun under the budget that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// Something ended it while a run under it was in progress: it is given back when that has ended.
    Over,
}

/// What is known of budgets in advance.
#[derive(Debug)]
pub(super) struct Offline {
    held: Option<Budget>,
    standing: Standing,
    /// Since when the control plane is not reached, on the boot clock; `None` while it is.
    since: Option<BootInstant>,
    /// Not asked for before, on the wall clock.
    ask_at: UnixMillis,
    /// No unit is used before, on the wall clock: the remediation's cooldown.
    rest_until: UnixMillis,
}

impl Offline {
    /// At the start of this process nothing is reached.
    pub(super) const fn new(now: BootInstant) -> Self {
        Self {
            held: None,
            standing: Standing::Good,
            since: Some(now),
            ask_at: UnixMillis(0),
            rest_until: UnixMillis(0),
        }
    }

    /// The control plane is reached.
    pub(super) const fn reached(&mut self) {
        self.since = None;
    }

    /// It is not reached any more.
    pub(super) fn lost(&mut self, now: BootInstant) {
        self.since.get_or_insert(now);
    }

    /// A new configuration may give what the one before refused.
    pub(super) const fn reconsider(&mut self) {
        self.ask_at = UnixMillis(0);
    }

    fn check(&self) -> Option<&CheckRef> {
        match &self.held.as_ref()?.permit.purpose {
            Purpose::Offline { check, .. } => Some(check),
            Purpose::Remediate { .. } | Purpose::InjectFault { .. } | Purpose::Repeat { .. } => None,
        }
    }
}

/// The permit under which a stored run runs: the one that was published, or the unit of it whose run this is.
pub(super) fn permit_of(run: RunId, published: Permit) -> Option<Permit> {
    if published.is_offline() { published.all_units().find(|unit| unit.run == run) } else { Some(published) }
}

impl Effector {
    /// Reads the budget that an earlier life of this process kept. Called once, after the pins are read.
    pub(super) fn load_budget(&mut self) -> Result<(), EffectorError> {
        let malformed = || EffectorError::Store(StoreError::Malformed { what: "budget given in advance" });
        let Some(document) = self.store.value(Value::Offline)?.filter(|document| !document.is_empty()) else {
            return Ok(());
        };
        let pins = self.pins.as_ref().ok_or_else(malformed)?;
        let published = Published::parse(document.as_bytes()).map_err(|_| malformed())?;
        let record = pins.believe(&published).map_err(|_| malformed())?.record;
        let Body::PermitGranted(permit) = record.body else { return Err(malformed()) };
        self.offline.held = Some(Budget { permit: *permit, published: document });
        if self.used_units()? > 0 {
            // When the last run under it ended is not kept.
            self.rest();
        }
        Ok(())
    }

    /// Whether this is the budget that is held already: its answer was lost and came again.
    pub(super) fn holds_budget(&self, permit: &Permit) -> bool {
        self.offline.held.as_ref().is_some_and(|held| held.permit.permit == permit.permit)
    }

    /// Why a permit given in advance is refused though every other permit like it would be accepted.
    pub(super) fn judge_budget(&self, permit: &Permit) -> Result<(), PermitRejection> {
        may_be_given(permit.playbook.as_ref().and_then(|playbook| self.library.manifest(playbook.digest)))
    }

    /// Keeps a budget that was accepted, together with the answer to its request.
    pub(super) fn keep_budget(&mut self, permit: Permit, published: &str) -> Result<(), EffectorError> {
        tracing::info!(permit = %permit.permit, units = permit.units.get(), "a budget in advance is held");
        self.store.answer_with_value(permit.request, (Value::Offline, published))?;
        self.requests.remove(&permit.request);
        self.offline.held = Some(Budget { permit, published: published.to_owned() });
        self.offline.standing = Standing::Good;
        Ok(())
    }

    /// A request for a budget was refused.
    pub(super) fn budget_refused(&mut self, retry_at: Option<UnixMillis>) {
        self.offline.ask_at = retry_at.unwrap_or_else(|| self.clocks.now().wall.plus(REFUSED_AGAIN));
    }

    /// The run under a unit has ended.
    pub(super) fn rest(&mut self) {
        let answer = self.offline.check().and_then(|check| self.configuration.answer_to(check));
        let cooldown = answer.map_or(Duration::ZERO, |answer| answer.guard.cooldown);
        self.offline.rest_until = self.clocks.now().wall.plus(cooldown);
    }

    /// Gives the budget back when it is over, uses a unit of it, or asks for one, whichever is due.
    pub(super) async fn tend_budget(&mut self) -> Result<(), EffectorError> {
        if self.budget_is_over()? {
            self.give_budget_back().await?;
            // The next one is asked for at once: an outage may begin in any minute.
            self.offline.ask_at = UnixMillis(0);
        }
        match self.link {
            LinkState::Up => self.ask_for_budget().await,
            LinkState::Down => self.use_unit().await,
        }
    }

    /// When [`Self::tend_budget`] has something to do by time alone, as waits from now.
    pub(super) fn budget_waits(&self) -> impl Iterator<Item = Duration> + use<> {
        let now = self.clocks.now();
        let held = self.offline.held.as_ref().filter(|_| self.active.is_none());
        let over = held.map(|held| held.permit.sent_at.plus(good_for(&held.permit, self.link)).since(now.on_boot));
        let critical = self.offline.check().is_some_and(|check| self.is_critical(check));
        let due = self.offline.since.filter(|_| held.is_some() && critical).map(|since| {
            let settled = self.offline.check().and_then(|check| self.retry_at.get(check)).copied();
            let rested = self.offline.rest_until.max(settled.unwrap_or(UnixMillis(0))).since(now.wall);
            since.plus(OFFLINE_AFTER).since(now.on_boot).max(rested)
        });
        let wanted = self.link == LinkState::Up && self.offline.held.is_none() && self.wanted_budget().is_some();
        let ask = wanted.then(|| self.offline.ask_at.since(now.wall)).filter(|wait| !wait.is_zero());
        [over, due.filter(|wait| !wait.is_zero()), ask].into_iter().flatten()
    }

    fn is_critical(&self, check: &CheckRef) -> bool {
        self.heads.get(check).is_some_and(|head| head.status == Status::Critical)
    }

    fn used_units(&self) -> Result<u32, EffectorError> {
        let Some(held) = &self.offline.held else { return Ok(0) };
        let mut used = 0;
        for unit in held.permit.all_units() {
            match self.store.is_used(unit.permit)? {
                Use::Before => used += 1,
                Use::Never => {}
            }
        }
        Ok(used)
    }

    /// Whether the budget is good for no further run. One under it that is in progress goes on.
    fn budget_is_over(&self) -> Result<bool, EffectorError> {
        let (Some(held), None) = (&self.offline.held, &self.active) else { return Ok(false) };
        let (permit, now) = (&held.permit, self.clocks.now());
        Ok(self.offline.standing == Standing::Over
            || permit.boot != now.boot
            || permit.configuration != self.configuration.generation()
            || now.on_boot >= permit.sent_at.plus(good_for(permit, self.link))
            || self.stop_of(permit).is_some()
            || self.used_units()? >= permit.units.get())
    }

    /// Says how many units were used, and holds the budget no longer. Asked before anything else is asked for: the host
    /// gets no other permit while it holds one.
    pub(super) async fn give_budget_back(&mut self) -> Result<(), EffectorError> {
        if self.active.as_ref().is_some_and(|active| active.permit.is_offline()) {
            // Its slot is needed to the end of the run.
            self.offline.standing = Standing::Over;
            return Ok(());
        }
        let used = self.used_units()?;
        let Some(held) = self.offline.held.take() else { return Ok(()) };
        tracing::info!(permit = %held.permit.permit, used, "a budget in advance is given back");
        self.offline.ask_at = self.clocks.now().wall.plus(ASK_AGAIN);
        let body = Body::OfflineReturned(Box::new(OfflineReturned { permit: held.permit.permit, used }));
        self.record(body, |store, sealed| store.append_with_value(sealed.as_new(), Value::Offline, "")).await
    }

    /// Gives the budget back where a scope covers what it is for.
    pub(super) async fn end_budget_in(&mut self, scope: &Scope) -> Result<(), EffectorError> {
        let environment = &self.capabilities.config().host.environment;
        let covers = |held: &Budget| super::admission::in_scope(scope, &held.permit, environment, None);
        if self.offline.held.as_ref().is_some_and(covers) { self.give_budget_back().await } else { Ok(()) }
    }

    /// The first remediation that gives a budget and whose check is well, while nothing else is to be done.
    fn wanted_budget(&self) -> Option<Remediation> {
        let now = self.clocks.now().wall;
        let answered = |check: &CheckRef| self.configuration.answer_to(check).is_some();
        let ill = self.heads.values().any(|head| head.status == Status::Critical && answered(&head.check));
        let drilled = self.drill_wanted.is_some() || self.drill.as_ref().is_some_and(|drill| drill.deadline > now);
        if self.active.is_some() || !self.requests.is_empty() || ill || drilled {
            return None;
        }
        let environment = &self.capabilities.config().host.environment;
        let gives = self.configuration.remediations().iter().filter(|answer| answer.offline.is_some());
        let mut gives = gives.filter(|answer| answer.mode_in(environment) == Mode::Auto);
        gives
            .find(|answer| {
                let check = check_of(answer);
                self.carries(&check) && self.heads.get(&check).is_some_and(|head| head.status == Status::Passing)
            })
            .cloned()
    }

    async fn ask_for_budget(&mut self) -> Result<(), EffectorError> {
        if self.offline.held.is_some() || self.offline.ask_at > self.clocks.now().wall {
            return Ok(());
        }
        let (Some(answer), Some(host)) = (self.wanted_budget(), self.recorder.host()) else { return Ok(()) };
        let check = check_of(&answer);
        // What this host cannot run it says when there is a fault to answer.
        let Ok(targets) = self.runnable(answer.playbook.digest, &check) else { return Ok(()) };
        let purpose = Purpose::Offline { check, remediation: answer.name };
        self.ask(host, purpose, Some(answer.playbook.digest), targets).await
    }

    /// Begins a run under the next unit, where its check is critical and the control plane was not reached for long
    /// enough.
    async fn use_unit(&mut self) -> Result<(), EffectorError> {
        let now = self.clocks.now();
        let (Some(held), None) = (self.offline.held.clone(), &self.active) else { return Ok(()) };
        let Some(check) = self.offline.check() else { return Ok(()) };
        let long_enough = self.offline.since.is_some_and(|since| since.plus(OFFLINE_AFTER) <= now.on_boot);
        let settled = self.retry_at.get(check).is_none_or(|at| *at <= now.wall);
        let rested = self.offline.rest_until <= now.wall && settled;
        if !long_enough || !rested || !self.is_critical(check) {
            return Ok(());
        }
        for unit in held.permit.all_units() {
            match self.store.is_used(unit.permit)? {
                Use::Before => {}
                Use::Never => {
                    tracing::info!(run = %unit.run, "the control plane is not reached: a unit given in advance is used");
                    return Box::pin(self.granted(unit, &held.published)).await;
                }
            }
        }
        Ok(())
    }
}

/// Only what can be undone is done without asking, whoever signed that it may.
fn may_be_given(manifest: Option<&Manifest>) -> Result<(), PermitRejection> {
    match manifest.map(Manifest::reversibility) {
        Some(Reversibility::Reversible) => Ok(()),
        Some(Reversibility::Irreversible) | None => Err(PermitRejection::NotForOffline),
    }
}

/// From its request, how long a budget is held: to the end of its lease, less what is allowed for the clock's rate, and
/// while another can be had to half of that, so that an outage never begins with one that is nearly over.
fn good_for(permit: &Permit, link: LinkState) -> Duration {
    let lease = super::admission::lease_on_this_clock(permit);
    match link {
        LinkState::Up => lease / 2,
        LinkState::Down => lease,
    }
}

fn check_of(answer: &Remediation) -> CheckRef {
    CheckRef { service: answer.service.clone(), check: answer.check.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(actions: &str) -> Manifest {
        let text = format!(
            r#"manifest = 1
[playbook]
name = "p"
version = "1.0.0"
summary = "s"
owners = ["o"]
host = "fettle:host@0.1.0"
[[grant]]
label = "worker"
kind = "service"
actions = [{actions}]
why = "w"
[[grant]]
label = "health"
kind = "health"
why = "w"
[limits]
actions = 1
duration = "1m"
[confirm]
health = "health"
stable = "1s"
within = "10s"
[on-failure]
undo = "leave"
why = "a test"
"#
        );
        Manifest::from_toml(&text).expect("a sound manifest")
    }

    #[test]
    fn what_cannot_be_undone_is_not_done_without_asking() {
        assert_eq!(may_be_given(Some(&manifest("\"start\", \"stop\""))), Ok(()));
        for actions in ["\"restart\"", "\"start\", \"reload\""] {
            assert_eq!(may_be_given(Some(&manifest(actions))), Err(PermitRejection::NotForOffline), "{actions}");
        }
        assert_eq!(may_be_given(None), Err(PermitRejection::NotForOffline));
    }
}
