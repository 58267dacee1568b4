//! Simulated checks: what one says at an instant, and when it was healthy for long enough.

use super::spec::HealthSpec;
use crate::call::{HealthReport, Verdict};

/// A check. Instants are milliseconds of virtual time.
#[derive(Debug, Clone)]
pub(super) struct Health {
    spec: HealthSpec,
    /// When which of `spec.becomes` takes effect, in order of time; later ones hold.
    turns: Vec<(u64, usize)>,
}

impl Health {
    pub(super) fn new(spec: HealthSpec) -> Self {
        let mut health = Self { spec, turns: Vec::new() };
        health.follow(None, 0);
        health
    }

    /// An action was done: what follows it takes effect later.
    pub(super) fn follow(&mut self, action: Option<&str>, now: u64) {
        for (index, becomes) in self.spec.becomes.iter().enumerate() {
            if becomes.following.as_deref() == action {
                let after = fettle_model::time::whole_millis(becomes.after.0);
                self.turns.push((now.saturating_add(after), index));
            }
        }
        self.turns.sort_by_key(|(at, _)| *at);
    }

    pub(super) fn at(&self, now: u64) -> HealthReport {
        let turn = self.turns.iter().rev().find(|(at, _)| *at <= now);
        let (verdict, reasons) = turn
            .and_then(|(_, index)| self.spec.becomes.get(*index))
            .map_or((self.spec.verdict, &self.spec.reasons), |becomes| (becomes.verdict, &becomes.reasons));
        HealthReport { verdict, reasons: reasons.clone() }
    }

    /// When it will have been healthy for `stable` without interruption, if not later than `until`.
    pub(super) fn stable_at(&self, now: u64, stable: u64, until: u64) -> Option<u64> {
        let turns = self.turns.iter().map(|(at, _)| *at).filter(|at| *at > now && *at <= until);
        let mut since = None;
        for instant in std::iter::once(now).chain(turns) {
            match (since, self.at(instant).verdict) {
                (Some(since), _) if instant - since >= stable => return Some(since + stable),
                (None, Verdict::Healthy) => since = Some(instant),
                (Some(_), Verdict::Healthy) => {}
                (_, Verdict::Degraded | Verdict::Unhealthy | Verdict::Unknown) => since = None,
            }
        }
        since.map(|since| since + stable).filter(|at| *at <= until)
    }
}
