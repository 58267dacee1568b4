//! Problems: since when each check is healthy, and how often automation has tried to mend one since it last stayed so.
//! Folded by [`super::course`] in the order of the log.

use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::counter::TransitionEpoch;
use fettle_model::id::HostId;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks of one host that count. The control plane ignores those beyond: they never get a permit.
const MAX_CHECKS_PER_HOST: usize = 1_000;

/// What problems are counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint {
    pub(super) host: HostId,
    pub(super) check: CheckRef,
}

/// The newest transition of a check, and since when the check is healthy: as received, and on the agent's clock.
#[derive(Debug, Clone)]
struct Known {
    epoch: TransitionEpoch,
    healthy_since: Option<(UnixMillis, UnixMillis)>,
}

/// What a transition says.
pub(super) enum Change {
    /// It is older than what is known.
    Ignored,
    /// The check is healthy, or stays unhealthy.
    Noted,
    /// The check had been healthy for so long.
    LeftHealth(Duration),
}

/// The health of all checks.
#[derive(Debug, Clone, Default)]
pub(super) struct Health(BTreeMap<HostId, BTreeMap<CheckRef, Known>>);

impl Health {
    pub(super) fn see(&mut self, host: HostId, seen: &Transition, received_at: UnixMillis) -> Change {
        let checks = self.0.entry(host).or_default();
        let before = checks.get(&seen.of);
        if before.map_or(checks.len() >= MAX_CHECKS_PER_HOST, |known| seen.epoch <= known.epoch) {
            return Change::Ignored;
        }
        let since = before.and_then(|known| known.healthy_since);
        let healthy_since = match seen.to {
            Status::Passing | Status::Warning => since.or(Some((received_at, seen.at))),
            Status::Critical | Status::Unknown => None,
        };
        checks.insert(seen.of.clone(), Known { epoch: seen.epoch, healthy_since });
        match since {
            // The shorter by two clocks.
            Some((received, on_host)) if healthy_since.is_none() => {
                Change::LeftHealth(received_at.since(received).min(seen.at.since(on_host)))
            }
            Some(_) | None => Change::Noted,
        }
    }
}

/// Whether people were called about a problem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Called {
    #[default]
    NotYet,
    Yes,
}

/// What was done about one problem.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Attempts {
    pub(super) count: u32,
    pub(super) called: Called,
}

/// The newest run on a host that answered a fault.
#[derive(Debug, Clone)]
struct Fix {
    check: CheckRef,
    /// `None` while its effects may be in progress.
    ended: Option<UnixMillis>,
}

/// The attempts at all problems. Checks that a fix for another one brought down share that one's problem.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// By the check with which the problem began.
    problems: BTreeMap<Fingerprint, Attempts>,
    /// Checks whose problem began with another one of their host, which has no entry here itself.
    began_with: BTreeMap<Fingerprint, CheckRef>,
    fixes: BTreeMap<HostId, Fix>,
    /// When the last run for each check ended.
    ends: BTreeMap<Fingerprint, UnixMillis>,
}

impl Ledger {
    fn root(&self, of: &Fingerprint) -> Fingerprint {
        let check = self.began_with.get(of).unwrap_or(&of.check).clone();
        Fingerprint { host: of.host, check }
    }

    pub(super) fn of(&self, of: &Fingerprint) -> Attempts {
        self.problems.get(&self.root(of)).copied().unwrap_or_default()
    }

    fn entry(&mut self, of: &Fingerprint) -> &mut Attempts {
        let root = self.root(of);
        self.problems.entry(root).or_default()
    }

    /// One more attempt.
    pub(super) fn attempt(&mut self, of: &Fingerprint) {
        let attempts = self.entry(of);
        attempts.count = attempts.count.saturating_add(1);
    }

    pub(super) fn called(&mut self, of: &Fingerprint) {
        self.entry(of).called = Called::Yes;
    }

    pub(super) fn ended(&mut self, of: &Fingerprint, at: UnixMillis) {
        self.ends.insert(of.clone(), at);
    }

    /// When the last run for this check ended.
    pub(super) fn last_end(&self, of: &Fingerprint) -> Option<UnixMillis> {
        self.ends.get(of).copied()
    }

    /// A run outside of drills began, or ended.
    pub(super) fn fixes(&mut self, of: &Fingerprint, ended: Option<UnixMillis>) {
        self.fixes.insert(of.host, Fix { check: of.check.clone(), ended });
    }

    /// The newest fix on the host that was for another check, and when it ended.
    pub(super) fn fix_of_another(&self, of: &Fingerprint) -> Option<(&CheckRef, Option<UnixMillis>)> {
        let fix = self.fixes.get(&of.host).filter(|fix| fix.check != of.check)?;
        Some((&fix.check, fix.ended))
    }

    /// The check stayed healthy long enough. Those that shared its problem keep it, under the first of them.
    pub(super) fn new_problem(&mut self, of: &Fingerprint) {
        if self.began_with.remove(of).is_some() {
            return;
        }
        let Some(old) = self.problems.remove(of) else { return };
        let mut shared = self.sharing(of).into_iter();
        let Some(heir) = shared.next() else { return };
        self.began_with.remove(&heir);
        for other in shared {
            self.began_with.insert(other, heir.check.clone());
        }
        self.problems.insert(heir, old);
    }

    /// The check failed because of a fix for `from`: both have one problem.
    pub(super) fn join(&mut self, of: &Fingerprint, from: &CheckRef) {
        let root = self.root(&Fingerprint { host: of.host, check: from.clone() });
        if self.root(of) == root {
            return;
        }
        if self.began_with.insert(of.clone(), root.check.clone()).is_some() {
            return;
        }
        for other in self.sharing(of) {
            self.began_with.insert(other, root.check.clone());
        }
        let brought = self.problems.remove(of).unwrap_or_default();
        let attempts = self.problems.entry(root).or_default();
        attempts.count = attempts.count.saturating_add(brought.count);
        if brought.called == Called::Yes {
            attempts.called = Called::Yes;
        }
    }

    fn sharing(&self, root: &Fingerprint) -> Vec<Fingerprint> {
        let shares = |(of, began): &(&Fingerprint, &CheckRef)| of.host == root.host && **began == root.check;
        self.began_with.iter().filter(shares).map(|(of, _)| of.clone()).collect()
    }
}
