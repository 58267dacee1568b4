//! Breakers: failures in windows, and the switches that they open.
//!
//! A breaker is closed, open, or half-open: open, its cooldown over, and one probe allowed. Service and
//! playbook breakers use the guard of the remediation that failed; the two wider ones have limits of
//! their own, because one team's strict guard must not stop everybody.

use super::entry::Stamp;
use super::runs::{Role, Run};
use super::state::State;
use fettle_model::breaker::{BreakerClosed, BreakerEased, BreakerOpened, Easing, OpenReason, ReasonKind, Scope};
use fettle_model::counter::LogPosition;
use fettle_model::guard::Guard;
use fettle_model::id::{PermitId, RunId};
use fettle_model::name::{EnvironmentName, PlaybookName, ServiceName};
use fettle_model::permit::Purpose;
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Failures kept for counting. Far above every limit that opens a breaker: once one is open, one probe
/// at a time adds to them.
const MAX_FAILURES_KEPT: usize = 10_000;

/// A breaker that is not closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBreaker {
    reasons: BTreeMap<ReasonKind, Held>,
    /// When it last opened.
    pub opened: Stamp,
    /// The probe that is under way.
    pub probe: Option<Probe>,
}

/// One reason for which a breaker is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct Held {
    pub(in crate::core) because: OpenReason,
    /// From when on it lets a probe pass, or is gone; `None` while what it says still holds.
    pub(in crate::core) half_open_at: Option<UnixMillis>,
}

/// The one run that a half-open breaker lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Its permit.
    pub permit: PermitId,
    /// The run.
    pub run: RunId,
}

impl OpenBreaker {
    /// Why; each reason clears by its own rule.
    #[must_use]
    pub fn because(&self) -> Vec<OpenReason> {
        self.reasons.values().map(|held| held.because.clone()).collect()
    }

    /// When it goes half-open by itself: when the last of its reasons does. `None` while one of them holds.
    #[must_use]
    pub fn half_open_at(&self) -> Option<UnixMillis> {
        self.reasons
            .values()
            .map(|held| held.half_open_at)
            .try_fold(UnixMillis(0), |last, at| at.map(|at| last.max(at)))
    }

    pub(in crate::core) fn held(&self, kind: ReasonKind) -> Option<&Held> {
        self.reasons.get(&kind)
    }

    fn is_probed_by(&self, run: &Run) -> bool {
        self.probe.is_some_and(|probe| probe.permit == run.permit.permit)
    }
}

/// How a breaker stands at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Nothing is stopped.
    Closed,
    /// Everything in scope is stopped.
    Open(&'a OpenBreaker),
    /// One probe may pass, or is under way.
    HalfOpen(&'a OpenBreaker),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    stamp: Stamp,
    environment: EnvironmentName,
    service: ServiceName,
    playbook: PlaybookName,
}

/// All breakers, and the failures that they count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Breakers {
    open: BTreeMap<Scope, OpenBreaker>,
    failures: VecDeque<Failure>,
    /// Failures up to here no longer count in this scope: it was closed after them.
    cleared: BTreeMap<Scope, LogPosition>,
}

/// The scopes that a run is in, widest first.
pub(in crate::core) fn scopes(
    environment: &EnvironmentName,
    service: &ServiceName,
    playbook: Option<&PlaybookName>,
) -> Vec<Scope> {
    let mut scopes = vec![Scope::Global, Scope::Environment(environment.clone()), Scope::Service(service.clone())];
    scopes.extend(playbook.cloned().map(Scope::Playbook));
    scopes
}

fn scopes_of(run: &Run) -> Vec<Scope> {
    scopes(&run.environment, &run.service, Some(&run.playbook))
}

impl Failure {
    fn is_in(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Global => true,
            Scope::Environment(name) => &self.environment == name,
            Scope::Service(name) => &self.service == name,
            Scope::Playbook(name) => &self.playbook == name,
        }
    }
}

impl Breakers {
    pub(in crate::core) fn standing(&self, scope: &Scope, wall: UnixMillis) -> Standing<'_> {
        let Some(breaker) = self.open.get(scope) else { return Standing::Closed };
        match breaker.half_open_at() {
            Some(at) if at <= wall => Standing::HalfOpen(breaker),
            Some(_) | None => Standing::Open(breaker),
        }
    }

    pub(in crate::core) fn get(&self, scope: &Scope) -> Option<&OpenBreaker> {
        self.open.get(scope)
    }

    pub(in crate::core) fn open(&self) -> impl Iterator<Item = (&Scope, &OpenBreaker)> {
        self.open.iter()
    }

    pub(in crate::core) fn is_open(&self, scope: &Scope) -> bool {
        self.open.contains_key(scope)
    }

    fn failures_since(&self, scope: &Scope, window: Duration, wall: UnixMillis) -> u32 {
        let cleared = self.cleared.get(scope);
        let count = self.failures.iter().filter(|failure| {
            failure.is_in(scope)
                && cleared.is_none_or(|cleared| failure.stamp.position > *cleared)
                && wall.since(failure.stamp.at) < window
        });
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    }

    pub(in crate::core) fn on_opened(&mut self, opened: &BreakerOpened, stamp: Stamp) {
        let held = Held { because: opened.because.clone(), half_open_at: opened.half_open_at };
        let breaker = self.open.entry(opened.scope.clone()).or_insert_with(|| OpenBreaker {
            reasons: BTreeMap::new(),
            opened: stamp,
            probe: None,
        });
        breaker.reasons.insert(opened.because.kind(), held);
        breaker.opened = stamp;
        breaker.probe = None;
    }

    pub(in crate::core) fn on_eased(&mut self, eased: &BreakerEased) {
        let Some(breaker) = self.open.get_mut(&eased.scope) else { return };
        match eased.easing {
            Easing::HalfOpen { at } => {
                if let Some(held) = breaker.reasons.get_mut(&eased.reason) {
                    held.half_open_at = Some(at);
                }
            }
            Easing::Gone => {
                breaker.reasons.remove(&eased.reason);
            }
        }
        if breaker.reasons.is_empty() {
            self.open.remove(&eased.scope);
        }
    }

    pub(in crate::core) fn on_closed(&mut self, closed: &BreakerClosed, stamp: Stamp) {
        self.open.remove(&closed.scope);
        self.cleared.insert(closed.scope.clone(), stamp.position);
    }

    /// A permit was granted: wherever a breaker in its scopes is open, it was half-open and this is
    /// the probe, for nothing else is granted there.
    pub(in crate::core) fn on_granted(&mut self, run: &Run) {
        for scope in scopes_of(run) {
            if let Some(breaker) = self.open.get_mut(&scope)
                && breaker.probe.is_none()
            {
                breaker.probe = Some(Probe { permit: run.permit.permit, run: run.permit.run });
            }
        }
    }

    /// A run ended: a probe that proved nothing is free again.
    pub(in crate::core) fn on_finished(&mut self, permit: PermitId) {
        for breaker in self.open.values_mut() {
            if breaker.probe.is_some_and(|probe| probe.permit == permit) {
                breaker.probe = None;
            }
        }
    }

    /// A run failed. Drills are not counted: a version that fails its drill earns no evidence, and that
    /// must not stop the proven version in production.
    pub(in crate::core) fn on_failure(&mut self, run: &Run, stamp: Stamp) {
        match run.role() {
            Role::Remediation => {}
            Role::Healing | Role::Injection | Role::Repetition | Role::Budget => return,
        }
        self.failures.push_back(Failure {
            stamp,
            environment: run.environment.clone(),
            service: run.service.clone(),
            playbook: run.playbook.clone(),
        });
        while self.failures.len() > MAX_FAILURES_KEPT {
            self.failures.pop_front();
        }
    }
}

/// How many failures a scope allows, in which window, and how long it stays open.
struct Limits {
    allowed: u32,
    window: Duration,
    cooldown: Duration,
}

fn limits(state: &State, run: &Run, scope: &Scope) -> Limits {
    let wide = state.configuration().breakers();
    match scope {
        Scope::Global => Limits { allowed: wide.global_failures, window: wide.failure_window, cooldown: wide.cooldown },
        Scope::Environment(_) => {
            Limits { allowed: wide.environment_failures, window: wide.failure_window, cooldown: wide.cooldown }
        }
        Scope::Service(_) | Scope::Playbook(_) => {
            let remediation = match &run.permit.purpose {
                Purpose::Remediate { remediation, .. }
                | Purpose::Repeat { remediation, .. }
                | Purpose::Offline { remediation, .. } => state.configuration().remediation(remediation),
                Purpose::InjectFault { .. } => state.configuration().answer_to(&run.check),
            };
            // A remediation that was taken out of the configuration since is judged by the defaults.
            let guard = remediation.map_or_else(Guard::default, |remediation| remediation.guard.clone());
            Limits { allowed: guard.max_failures, window: guard.failure_window, cooldown: guard.cooldown }
        }
    }
}

/// The breakers that open because this run failed: those whose window now holds more failures than
/// allowed, and those whose probe it was.
pub(in crate::core) fn opened_by(state: &State, run: &Run, wall: UnixMillis) -> Vec<BreakerOpened> {
    let mut opened = Vec::new();
    for scope in scopes_of(run) {
        let Limits { allowed, window, cooldown } = limits(state, run, &scope);
        let counts = run.role() == Role::Remediation;
        let count = state.breakers.failures_since(&scope, window, wall).saturating_add(u32::from(counts));
        let opens = match state.breakers.open.get(&scope) {
            // Runs that were under way when it opened for something else may fail all the same.
            Some(breaker) if breaker.held(ReasonKind::Failures).is_none() && counts && count > allowed => true,
            Some(breaker) => breaker.is_probed_by(run),
            None => counts && count > allowed,
        };
        if opens {
            let because = OpenReason::Failures { count, allowed };
            opened.push(BreakerOpened { scope, because, half_open_at: Some(wall.plus(cooldown)) });
        }
    }
    opened
}

/// The breakers that close because this run, their probe, succeeded.
pub(in crate::core) fn closed_by(state: &State, run: &Run) -> Vec<BreakerClosed> {
    scopes_of(run)
        .into_iter()
        .filter(|scope| state.breakers.open.get(scope).is_some_and(|breaker| breaker.is_probed_by(run)))
        .map(|scope| BreakerClosed { scope, probe: Some(run.permit.run) })
        .collect()
}
