//! Checks that a run asks about: once before its first effect, again and again for its confirmation, and
//! for the playbook's own looks. The daemon probes; what it says is given to the machine here.

use super::run::Watching;
use super::serve::{Effector, EffectorError};
use crate::ipc::daemon::{Ask, ToDaemon};
use fettle_model::check::{CheckRef, Status};
use fettle_model::name::Label;
use fettle_model::permit::{Permit, Target};
use fettle_model::time::BootInstant;
use fettle_sandbox::call::{Call, HealthCall, HealthReport, Reply, Verdict};
use fettle_sandbox::machine::Event;
use std::time::Duration;

/// Time between two questions about a check that is watched: fast enough to end a run soon after the
/// service is back, slow enough to cost nothing.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Effector {
    /// Health is the daemon's to see; everything else is there for the hands to look at.
    pub(super) async fn look(&mut self, call: Call) {
        let Some(active) = &self.active else { return };
        match &call {
            Call::Health { label, op: HealthCall::Probe } => {
                if let Some(check) = bound_check(permitted(&active.permit), label) {
                    self.watch(Watching::Probe(check)).await;
                    return;
                }
            }
            Call::Health { label, op: HealthCall::WaitHealthy { stable_for_ms, timeout_ms } } => {
                if let Some(check) = bound_check(permitted(&active.permit), label) {
                    let until = self.clocks.now().on_boot.plus(Duration::from_millis(u64::from(*timeout_ms)));
                    let stable = Duration::from_millis(u64::from(*stable_for_ms));
                    self.watch(Watching::Wait { check, stable, until, since: None }).await;
                    return;
                }
            }
            Call::Clock(_)
            | Call::Log(_)
            | Call::Facts(_)
            | Call::Service { .. }
            | Call::Release { .. }
            | Call::Flag { .. }
            | Call::Health { op: HealthCall::Open, .. } => {}
        }
        self.with_hands(|hands| hands.look(call));
    }

    /// Begins (or ends) to ask the daemon about a check.
    pub(super) async fn watch(&mut self, watching: Watching) {
        if let Some(active) = &mut self.active {
            active.watching = watching;
            active.asked = None;
            active.ask_at = None;
        }
        self.ask_daemon().await;
    }

    pub(super) async fn ask_daemon(&mut self) {
        let Some(active) = &mut self.active else { return };
        active.ask_at = None;
        let check = match &active.watching {
            Watching::Nothing => return,
            Watching::Once(check)
            | Watching::Confirmation(check)
            | Watching::Probe(check)
            | Watching::Wait { check, .. } => check.clone(),
        };
        let ask = self.probe(check).await;
        if let Some(active) = &mut self.active {
            active.asked = Some(ask);
        }
    }

    /// Asks the daemon to probe a check now.
    pub(super) async fn probe(&mut self, check: CheckRef) -> Ask {
        self.next_ask += 1;
        let ask = Ask(self.next_ask);
        self.tell_daemon(&ToDaemon::Probe { ask, check }).await;
        ask
    }

    /// The daemon's answer about a check.
    pub(super) async fn probed(&mut self, ask: Ask, status: Status, reason: String) -> Result<(), EffectorError> {
        let now = self.clocks.now().on_boot;
        let Some(active) = self.active.as_mut().filter(|active| active.asked == Some(ask)) else {
            return self.plan_probed(ask, status, reason).await;
        };
        active.asked = None;
        match &mut active.watching {
            Watching::Nothing => Ok(()),
            Watching::Once(_) => {
                active.watching = Watching::Nothing;
                self.drive(Event::CheckRerun(status)).await
            }
            Watching::Confirmation(_) => {
                active.ask_at = Some(now.plus(ASK_AGAIN));
                self.drive(Event::ConfirmSaw(status)).await
            }
            Watching::Probe(_) => {
                active.watching = Watching::Nothing;
                self.drive(Event::Looked(Reply::Health(Ok(report(status, reason))))).await
            }
            Watching::Wait { stable, until, since, .. } => match waited(status, now, *stable, *until, since) {
                Waited::Again => {
                    active.ask_at = Some(now.plus(ASK_AGAIN).min(*until));
                    Ok(())
                }
                Waited::Over => {
                    active.watching = Watching::Nothing;
                    self.drive(Event::Looked(Reply::Health(Ok(report(status, reason))))).await
                }
            },
        }
    }
}

/// The check that is bound to a label.
pub(super) fn bound_check<'a>(
    bound: impl IntoIterator<Item = (&'a Label, &'a Target)>,
    label: &Label,
) -> Option<CheckRef> {
    bound.into_iter().filter(|(known, _)| *known == label).find_map(|(_, target)| match target {
        Target::Health { check } => Some(check.clone()),
        Target::SystemdUnit { .. }
        | Target::CommandService { .. }
        | Target::ReleaseRoot { .. }
        | Target::Flag { .. }
        | Target::Facts => None,
    })
}

fn permitted(permit: &Permit) -> impl Iterator<Item = (&Label, &Target)> {
    permit.targets.iter().map(|target| (&target.label, &target.target))
}

pub(super) fn report(status: Status, reason: String) -> HealthReport {
    let verdict = match status {
        Status::Passing => Verdict::Healthy,
        Status::Warning => Verdict::Degraded,
        Status::Critical => Verdict::Unhealthy,
        Status::Unknown => Verdict::Unknown,
    };
    HealthReport { verdict, reasons: vec![reason] }
}

/// Whether a `wait-healthy` is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Again,
    Over,
}

fn waited(
    status: Status,
    now: BootInstant,
    stable: Duration,
    until: BootInstant,
    since: &mut Option<BootInstant>,
) -> Waited {
    match status {
        Status::Passing => {
            let began = *since.get_or_insert(now);
            if now.since(began) >= stable || now >= until { Waited::Over } else { Waited::Again }
        }
        Status::Warning | Status::Critical | Status::Unknown => {
            *since = None;
            if now >= until { Waited::Over } else { Waited::Again }
        }
    }
}
