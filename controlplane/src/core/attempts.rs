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
    /// When the last run ended.
    pub last_end: Option<UnixMillis>,
    pub(in crate::core) called: Called,
}

/// The attempts at all problems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Ledger(BTreeMap<Fingerprint, Attempts>);

impl Ledger {
    pub(in crate::core) fn of(&self, fingerprint: &Fingerprint) -> Attempts {
        self.0.get(fingerprint).copied().unwrap_or_default()
    }

    pub(in crate::core) fn reserve(&mut self, fingerprint: Fingerprint) {
        let attempts = self.0.entry(fingerprint).or_default();
        attempts.count = attempts.count.saturating_add(1);
    }

    pub(in crate::core) fn ended(&mut self, fingerprint: Fingerprint, at: UnixMillis) {
        self.0.entry(fingerprint).or_default().last_end = Some(at);
    }

    pub(in crate::core) fn called(&mut self, fingerprint: Fingerprint) {
        self.0.entry(fingerprint).or_default().called = Called::Yes;
    }

    /// The check stayed healthy long enough: what comes now is a new problem. The cooldown goes on.
    pub(in crate::core) fn new_problem(&mut self, fingerprint: &Fingerprint) {
        if let Some(attempts) = self.0.get_mut(fingerprint) {
            attempts.count = 0;
            attempts.called = Called::NotYet;
        }
    }
}
