//! What really happened, whatever anybody believes or reports, and the invariants that are asked at each effect.
//! The names of the invariants are those of the model.

use crate::fixture::HOSTS;
use fettle_model::counter::Fence;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{PermitId, RunId};
use fettle_model::permit::Permit;
use fettle_model::playbook::Reversibility;
use fettle_permit_model::invariants::{I1, I2, I3, I5, I6, I8, I9, I10};
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Something happened that must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The seed of the history.
    pub seed: u64,
    /// When, since its beginning.
    pub at: Duration,
    /// Which invariant it breaks.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, after {:?}: {} ({})", self.seed, self.at, self.invariant, self.what)
    }
}

/// How much happened in a history, so that one in which nothing does is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Effects that began.
    pub effects: u32,
    /// Effects whose agent died meanwhile.
    pub orphans: u32,
    /// Permits in the log.
    pub granted: u32,
    /// Refusals in the log.
    pub refused: u32,
    /// Permits that agents refused.
    pub rejected: u32,
    /// Runs that were given up.
    pub unresolved: u32,
    /// Runs that a crash interrupted and that were taken up.
    pub resumed: u32,
    /// Leaders that found themselves deposed.
    pub deposed: u32,
    /// Orders to stop in the log.
    pub stops: u32,
    /// Runs that began under a budget in advance.
    pub units: u32,
    /// Budgets in advance that were not given back in time.
    pub expired: u32,
    /// Permits that people said yes to.
    pub approved: u32,
}

impl Counts {
    /// The sum of two.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self {
            effects: self.effects + more.effects,
            orphans: self.orphans + more.orphans,
            granted: self.granted + more.granted,
            refused: self.refused + more.refused,
            rejected: self.rejected + more.rejected,
            unresolved: self.unresolved + more.unresolved,
            resumed: self.resumed + more.resumed,
            deposed: self.deposed + more.deposed,
            stops: self.stops + more.stops,
            units: self.units + more.units,
            expired: self.expired + more.expired,
            approved: self.approved + more.approved,
        }
    }
}

/// An effect on a thing of a host.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) host: usize,
    pub(crate) permit: PermitId,
    pub(crate) run: RunId,
    /// The number of the changing call in its run.
    pub(crate) number: u32,
    /// The steps that people approved, where they had to.
    pub(crate) planned: Option<usize>,
    /// Whether an inverse takes it back.
    pub(crate) reversibility: Reversibility,
    pub(crate) progress: Progress,
}

/// How far an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Under,
    Happened,
    Failed,
}

/// Whether the run's journal on the disk has the intent of an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Durable,
    Missing,
}

/// Whether an order to stop that covers the run arrived at its host after the permit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halted {
    No,
    Yes,
}

/// The truth.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) effects: Vec<Effect>,
    /// Runs that were opened on each host, with their permits' fences.
    pub(crate) opened: [Vec<(RunId, PermitId, Fence)>; HOSTS],
    /// What people said yes to, whatever anybody signed in their names.
    yes: BTreeSet<(usize, DocumentDigest)>,
    pub(crate) counts: Counts,
    /// Steps whose intents are in the log.
    logged: BTreeSet<(RunId, u32)>,
    limit: u32,
    breach: Option<(&'static str, String)>,
}

impl Truth {
    pub(crate) fn new(limit: u32) -> Self {
        let opened = std::array::from_fn(|_| Vec::new());
        let (effects, counts) = (Vec::new(), Counts::default());
        Self { effects, opened, yes: BTreeSet::new(), logged: BTreeSet::new(), counts, limit, breach: None }
    }

    /// The first that broke.
    pub(crate) fn breach(&self) -> Option<&(&'static str, String)> {
        self.breach.as_ref()
    }

    pub(crate) fn breaks(&mut self, invariant: &'static str, what: String) {
        self.breach.get_or_insert((invariant, what));
    }

    /// The log holds the intent of a step.
    pub(crate) fn logs(&mut self, run: RunId, number: u32) {
        self.logged.insert((run, number));
    }

    /// A host opens a run under a permit.
    pub(crate) fn opens(&mut self, host: usize, permit: &Permit) {
        let Some(opened) = self.opened.get_mut(host) else { return };
        let newest = opened.last().map(|(_, _, fence)| *fence);
        let (run, fence) = (permit.run, permit.fence);
        opened.push((run, permit.permit, fence));
        self.counts.units += u32::from(permit.unit.is_some());
        // All units of a budget have its fence.
        let stale = |newest: Fence| if permit.unit.is_some() { fence < newest } else { fence <= newest };
        if newest.is_some_and(stale) {
            self.breaks(I5, format!("host {host} opened run {run} under fence {} after {newest:?}", fence.0));
        }
    }

    /// An effect begins; gives its place.
    pub(crate) fn begins(&mut self, effect: Effect, intent: Intent, halted: Halted) -> usize {
        let Effect { host, run, number, permit, planned, reversibility, .. } = effect;
        let what = format!("host {host}, run {run}, effect {number}");
        if intent == Intent::Missing {
            self.breaks(I2, what.clone());
        }
        if halted == Halted::Yes {
            self.breaks(I6, what.clone());
        }
        if self.effects.iter().any(|other| (other.permit, other.number) == (permit, number)) {
            self.breaks(I1, what.clone());
        }
        let before = self.effects.iter().filter(|other| other.permit == permit).count();
        if planned.is_some_and(|planned| before >= planned) {
            self.breaks(I10, format!("{what} is none of {planned:?} steps"));
        }
        if reversibility == Reversibility::Irreversible && !self.logged.contains(&(run, number)) {
            self.breaks(I8, what.clone());
        }
        let under = |effects: &[Effect]| effects.iter().filter(|one| one.progress == Progress::Under).count();
        if self.effects.iter().any(|other| other.host == host && other.progress == Progress::Under) {
            self.breaks(I9, format!("{what} began while another effect was in progress there"));
        }
        self.effects.push(effect);
        self.counts.effects += 1;
        let at_once = under(&self.effects);
        if u32::try_from(at_once).is_ok_and(|at_once| at_once > self.limit) {
            self.breaks(I3, format!("{what} makes {at_once} at once where {} may be", self.limit));
        }
        self.effects.len() - 1
    }

    /// A person says yes to exactly this.
    pub(crate) fn says_yes(&mut self, person: usize, request: DocumentDigest) {
        self.yes.insert((person, request));
    }

    /// Whether any host opened a run under this permit.
    pub(crate) fn has_opened(&self, permit: PermitId) -> bool {
        self.opened.iter().flatten().any(|(_, opened, _)| *opened == permit)
    }

    pub(crate) fn said_yes(&self, person: usize, request: DocumentDigest) -> bool {
        self.yes.contains(&(person, request))
    }

    pub(crate) fn ends(&mut self, effect: usize, progress: Progress) {
        if let Some(effect) = self.effects.get_mut(effect) {
            effect.progress = progress;
        }
    }
}
