//! Attempts: how often automation has tried one check on one host since it last stayed healthy.

use fettle_model::check::CheckRef;
use fettle_model::id::HostId;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// What attempts are counted for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The host.
    pub host: HostId,
    /// The check.
    pub check: CheckRef,
}

/// Whether people were called about the present problem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::core) enum Called {
    /// Not yet.
    #[default]
    NotYet,
    /// An incident says that the attempts are used up.
    Yes,
}

/// The attempts at one problem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Permits granted. Counted at the grant, and never given back: neither a lost run nor one that
    /// did nothing returns its attempt.
    pub count: u32,
    pub(in crate::core) called: Called,
}

/// The newest run on a host that answered a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct Fix {
    /// The check that it answered.
    pub(in crate::core) check: CheckRef,
    /// When it ended; `None` while it may have effects in progress.
    pub(in crate::core) ended: Option<UnixMillis>,
}

/// The attempts at all problems.
///
/// A fix that brings another check of the host down has not solved a problem but moved it: both checks then share
/// one problem and its attempts, so that two remediations cannot keep each other busy. The cooldown stays each
/// check's own: it gives a fix time to show, and the fix for the other check has not been tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Ledger {
    /// By the check with which a problem began.
    problems: BTreeMap<Fingerprint, Attempts>,
    /// Checks whose problem began with another check of the host: always with one that has no entry here.
    moved: BTreeMap<Fingerprint, CheckRef>,
    fixes: BTreeMap<HostId, Fix>,
    /// When the last run for a check ended.
    ends: BTreeMap<Fingerprint, UnixMillis>,
}

impl Ledger {
    /// The check with which this check's problem began.
    fn root(&self, of: &Fingerprint) -> Fingerprint {
        let check = self.moved.get(of).unwrap_or(&of.check).clone();
        Fingerprint { host: of.host, check }
    }

    /// The check with which this check's problem began, where that is another one.
    pub(in crate::core) fn began_with(&self, fingerprint: &Fingerprint) -> Option<&CheckRef> {
        self.moved.get(fingerprint)
    }

    pub(in crate::core) fn of(&self, fingerprint: &Fingerprint) -> Attempts {
        self.problems.get(&self.root(fingerprint)).copied().unwrap_or_default()
    }

    fn change(&mut self, fingerprint: &Fingerprint, change: impl FnOnce(&mut Attempts)) {
        change(self.problems.entry(self.root(fingerprint)).or_default());
    }

    pub(in crate::core) fn reserve(&mut self, fingerprint: &Fingerprint) {
        self.change(fingerprint, |attempts| attempts.count = attempts.count.saturating_add(1));
    }

    pub(in crate::core) fn ended(&mut self, fingerprint: &Fingerprint, at: UnixMillis) {
        self.ends.insert(fingerprint.clone(), at);
    }

    /// When the last run for this check ended.
    pub(in crate::core) fn last_end(&self, fingerprint: &Fingerprint) -> Option<UnixMillis> {
        self.ends.get(fingerprint).copied()
    }

    pub(in crate::core) fn called(&mut self, fingerprint: &Fingerprint) {
        self.change(fingerprint, |attempts| attempts.called = Called::Yes);
    }

    /// A run outside of drills was granted, or ended.
    pub(in crate::core) fn fixes(&mut self, of: &Fingerprint, ended: Option<UnixMillis>) {
        self.fixes.insert(of.host, Fix { check: of.check.clone(), ended });
    }

    /// The newest fix on the host, when it was for another check.
    pub(in crate::core) fn fix_of_another(&self, fingerprint: &Fingerprint) -> Option<&Fix> {
        self.fixes.get(&fingerprint.host).filter(|fix| fix.check != fingerprint.check)
    }

    /// The check stayed healthy long enough: what comes now is a new problem. The cooldown goes on, and so does the
    /// old problem of checks that shared it.
    pub(in crate::core) fn new_problem(&mut self, fingerprint: &Fingerprint) {
        if self.moved.remove(fingerprint).is_none()
            && let Some(old) = self.problems.remove(fingerprint)
        {
            let mut shared = self.sharing(fingerprint).into_iter();
            if let Some(heir) = shared.next() {
                self.moved.remove(&heir);
                for other in shared {
                    self.moved.insert(other, heir.check.clone());
                }
                self.problems.insert(heir, old);
            }
        }
    }

    /// The check failed because of a fix for another: the problems are one.
    pub(in crate::core) fn moved(&mut self, to: &Fingerprint, from: &CheckRef) {
        let root = self.root(&Fingerprint { host: to.host, check: from.clone() });
        if self.root(to) == root {
            return;
        }
        if self.moved.insert(to.clone(), root.check.clone()).is_none() {
            for other in self.sharing(to) {
                self.moved.insert(other, root.check.clone());
            }
            let brought = self.problems.remove(to).unwrap_or_default();
            let attempts = self.problems.entry(root).or_default();
            attempts.count = attempts.count.saturating_add(brought.count);
            if brought.called == Called::Yes {
                attempts.called = Called::Yes;
            }
        }
    }

    /// The checks whose problem began with this one. A host has few checks, and fewer that share a problem.
    fn sharing(&self, root: &Fingerprint) -> Vec<Fingerprint> {
        let shares = |(of, began): &(&Fingerprint, &CheckRef)| of.host == root.host && **began == root.check;
        self.moved.iter().filter(shares).map(|(of, _)| of.clone()).collect()
    }
}
