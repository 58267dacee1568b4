//! The replay: a state of its own, to which every record of the log is given in order, and what comes due in between.
//!
//! Until the edit counts, records are folded as they are. From then on [`Course`] says what becomes of each. Positions
//! and agents' sequences are the replay's own, because records are left out and put in; the epochs of checks that the edit
//! touches are doubled, so that there is room for a recovery that the log does not have.

use super::Terms;
use super::course::Course;
use super::past::{FaultKey, MAX_PAST_FAULTS, Past, TooManyFaults};
use super::rows::{RowId, Rows};
use crate::core::conditions::storm_due;
use crate::core::decide::Core;
use crate::core::decide::endings::counted;
use crate::core::entry::{ApplyError, Entry, Stamp};
use crate::core::governor::EFFECT_WITHIN;
use crate::core::now::{Monotonic, Now};
use crate::core::state::State;
use crate::core::views;
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::configuration::Configuration;
use fettle_model::counter::TransitionEpoch;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::{HostId, PermitId};
use fettle_model::record::{Author, Body, ConfigurationSet, Kind, Record};
use fettle_model::rollout::Reach;
use fettle_model::run::Ending;
use fettle_model::simulation::{Asked, SimulatedFault, Simulation, answers};
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How often a storm is looked for, at most: the leader looks four times a second.
const STORM_EVERY: Duration = Duration::from_secs(1);
/// Most changes of breakers at one look: as many as there are scopes with a storm, and a service has one.
const MAX_STORMS: usize = 1_024;

/// Most decisions of one replay: a fault that goes on for a month and is refused every quarter of an hour takes 2 880, and
/// 35 such faults are a fleet in which an answer to this question matters least. At Cedar's third of a millisecond each
/// they take half a minute.
pub(super) const MAX_DECISIONS: u64 = 100_000;

/// Why a replay cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// There are too many decisions.
    #[error("the edited rules would be asked more than {MAX_DECISIONS} times in that time")]
    TooManyDecisions,
    /// The log is not one that this state machine writes.
    #[error("a record does not follow those before it")]
    Apply(#[from] ApplyError),
    /// There are too many faults.
    #[error(transparent)]
    TooManyFaults(#[from] TooManyFaults),
}

/// A check on a host.
pub(super) type Place = (HostId, CheckRef);

/// A fault that goes on.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) row: RowId,
    /// As the replay counts.
    pub(super) epoch: TransitionEpoch,
    /// As the log counts.
    pub(super) key: FaultKey,
    pub(super) waits: Waits,
}

/// What a fault's agent waits for before it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// For the moment at which it asked then, or said that it does not.
    ItsMoment,
    /// For this time.
    Until(UnixMillis),
    /// For something to change, or for the run on its host to end.
    Change,
}

/// Something that comes due.
#[derive(Debug, Clone)]
pub(super) enum Due {
    /// An agent asks again.
    Ask(Place),
    /// A simulated run ends.
    End(Ends),
}

/// The end of a simulated run.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    pub(super) permit: PermitId,
    pub(super) place: Place,
    pub(super) ending: Ending,
    /// The epoch of the fault that is over with it.
    pub(super) helps: Option<TransitionEpoch>,
}

/// How far the replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The edit does not count yet.
    Before,
    /// It does.
    Since,
}

/// The past once more.
pub struct Replay<'a> {
    pub(super) terms: Terms<'a>,
    pub(super) core: Core,
    pub(super) now: Now,
    pub(super) past: Past,
    pub(super) rows: Rows,
    pub(super) open: BTreeMap<Place, Open>,
    pub(super) agenda: BTreeMap<(UnixMillis, u64), Due>,
    /// Ids that were minted, and places in the agenda.
    pub(super) minted: u64,
    pub(super) decisions: u64,
    grounds: Vec<Body>,
    stage: Stage,
    begins: Option<UnixMillis>,
    records: u64,
    looked_at: UnixMillis,
    /// Kinds of records that may have opened a way since it was last looked who waits for one.
    opened: BTreeSet<Kind>,
}

impl<'a> Replay<'a> {
    /// An empty state.
    #[must_use]
    pub fn new(terms: Terms<'a>, past: Past, grounds: Vec<Body>) -> Self {
        let now = Now::default();
        Self {
            terms,
            core: Core::on_start(State::default(), now),
            now,
            past,
            rows: Rows::default(),
            open: BTreeMap::new(),
            agenda: BTreeMap::new(),
            minted: 0,
            decisions: 0,
            grounds,
            stage: Stage::Before,
            begins: None,
            records: 0,
            looked_at: UnixMillis(0),
            opened: BTreeSet::new(),
        }
    }

    /// Takes the next record of the log.
    ///
    /// # Errors
    /// When the log does not follow from itself, or has too many faults.
    pub fn take(&mut self, entry: &Entry<'_>) -> Result<(), ReplayError> {
        self.begins.get_or_insert(entry.received_at);
        self.records = self.records.saturating_add(1);
        if self.stage == Stage::Before && entry.received_at >= self.terms.from {
            self.stage = Stage::Since;
            self.begin(entry.received_at)?;
        }
        match self.stage {
            Stage::Before => {
                self.set_clock(entry.received_at);
                Ok(self.core.apply(self.now, entry)?)
            }
            Stage::Since => {
                self.catch_up(entry.received_at)?;
                self.weigh(entry)?;
                self.settle()
            }
        }
    }

    /// Everything that comes due until the end, and what there is to tell.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn finish(mut self) -> Result<Simulation, ReplayError> {
        let until = self.terms.until;
        self.catch_up(until)?;
        let (faults, summary, critical) = self.rows.told(&mut self.past);
        let quiet = self.terms.edit.remediations.iter().map(answers).filter(|check| !critical.contains(check));
        Ok(Simulation {
            from: self.terms.from,
            begins: self.begins.unwrap_or(until),
            until,
            records: self.records,
            assumed: self.terms.assume,
            assumed_after: EFFECT_WITHIN,
            faults,
            quiet: quiet.collect(),
            summary,
        })
    }

    /// The edit counts from here on, also for faults that are under way.
    fn begin(&mut self, at: UnixMillis) -> Result<(), ReplayError> {
        self.set_clock(at);
        for body in std::mem::take(&mut self.grounds) {
            self.own(body)?;
        }
        let current = self.core.state().configuration().clone();
        if self.core.state().configured().is_some() {
            self.configure(&current)?;
        }
        let critical: Vec<(HostId, Transition, Stamp)> = self
            .core
            .state()
            .hosts()
            .flat_map(|host| host.checks.iter().map(|known| (host.id, known)))
            .filter(|(_, known)| known.transition.to == Status::Critical)
            .map(|(host, known)| (host, known.transition.clone(), known.seen))
            .collect();
        for (host, transition, seen) in critical {
            if self.is_judged(host, &transition.of) {
                let key = FaultKey { host, check: transition.of.clone(), epoch: transition.epoch };
                self.begin_fault(key, transition.epoch, seen)?;
            }
        }
        self.settle()
    }

    pub(super) fn set_clock(&mut self, at: UnixMillis) {
        // A clock that was set back says nothing about how much time passed.
        let wall = self.now.wall.max(at);
        let since = wall.since(self.begins.unwrap_or(wall));
        self.now = Now { wall, monotonic: Monotonic(since) };
    }

    /// What comes due until this time, in order.
    fn catch_up(&mut self, until: UnixMillis) -> Result<(), ReplayError> {
        while let Some(first) = self.agenda.first_entry().filter(|first| first.key().0 <= until) {
            let ((at, _), due) = first.remove_entry();
            self.set_clock(at);
            self.look_for_storms()?;
            match due {
                Due::Ask(place) => self.ask_in_time(&place)?,
                Due::End(ends) => self.end(&ends)?,
            }
            self.settle()?;
        }
        self.set_clock(until);
        self.look_for_storms()?;
        self.settle()
    }

    fn look_for_storms(&mut self) -> Result<(), ReplayError> {
        if self.stage == Stage::Before || self.now.wall.since(self.looked_at) < STORM_EVERY {
            return Ok(());
        }
        self.looked_at = self.now.wall;
        for _ in 0..MAX_STORMS {
            let Some(change) = storm_due(self.core.state(), self.now.wall) else { break };
            self.own(change)?;
        }
        Ok(())
    }

    /// What becomes of a record of the log.
    fn weigh(&mut self, entry: &Entry<'_>) -> Result<(), ReplayError> {
        match Course::of(&entry.record.body) {
            Course::Stands => self.stand(entry),
            Course::FollowsAnew => Ok(()),
            Course::Configuration(configuration) => self.configure(configuration),
            Course::Transition(transition) => self.see(entry, transition),
            Course::Request(request, check) if self.is_judged(request.host, check) => {
                self.at_its_moment(&(request.host, check.clone()))
            }
            Course::Withheld(check) => {
                let Author::Agent { host, .. } = entry.record.author else { return Ok(()) };
                self.stand(entry)?;
                if self.is_judged(host, check) { self.at_its_moment(&(host, check.clone())) } else { Ok(()) }
            }
            Course::OfFault(host, check) if self.is_judged(host, check) => Ok(()),
            Course::Request(..) | Course::OfFault(..) => self.stand(entry),
            Course::RunEnd(permit, ending) => self.run_ends(entry, permit, ending),
        }
    }

    /// Whether the edit decides about a check of a host: a rule that it touches answers it there, and no drill breaks it.
    pub(super) fn is_judged(&self, host: HostId, check: &CheckRef) -> bool {
        let state = self.core.state();
        let drilled = state.drills.on_host(host).is_some_and(|running| &running.check() == check);
        self.terms.edit.touches(check) && !drilled && state.answer_on(host, check).is_some()
    }

    fn configure(&mut self, configuration: &Configuration) -> Result<(), ReplayError> {
        let declared = self.terms.edit.onto(&configuration.declared());
        // The edit was sound over what is in force; over an older one it may not be, and then that one stands.
        let edited = Configuration::new(configuration.generation(), declared).unwrap_or_else(|_| configuration.clone());
        let set = ConfigurationSet { configuration: edited, by: self.terms.by.clone(), reach: Reach::Everywhere };
        self.own(Body::ConfigurationSet(Box::new(set)))
    }

    fn see(&mut self, entry: &Entry<'_>, transition: &Transition) -> Result<(), ReplayError> {
        let Author::Agent { host, .. } = entry.record.author else { return Ok(()) };
        let check = &transition.of;
        if !self.terms.edit.touches(check) {
            return self.stand(entry);
        }
        let key = FaultKey { host, check: check.clone(), epoch: transition.epoch };
        let epoch = TransitionEpoch(transition.epoch.0.saturating_mul(2));
        let renumbered = Transition { epoch, ..transition.clone() };
        self.agent(host, Body::TransitionSeen(Box::new(renumbered)), entry.envelope)?;
        self.open.remove(&(host, check.clone()));
        let seen = self.core.state().host(host).and_then(|host| host.checks.get(check)).map(|known| known.seen);
        match (transition.to, seen) {
            (Status::Critical, Some(seen)) if self.is_judged(host, check) => {
                let stamp = Stamp { position: entry.position, at: seen.at };
                self.begin_fault(key, epoch, stamp)
            }
            (Status::Critical | Status::Passing | Status::Warning | Status::Unknown, _) => Ok(()),
        }
    }

    fn begin_fault(&mut self, key: FaultKey, epoch: TransitionEpoch, seen: Stamp) -> Result<(), ReplayError> {
        if self.rows.len() >= MAX_PAST_FAULTS {
            return Err(TooManyFaults.into());
        }
        let state = self.core.state();
        let (Some(host), Some(answer)) = (state.host(key.host), state.answer_on(key.host, &key.check)) else {
            return Ok(());
        };
        let asked_before = {
            let mut refusals = state.answers.refusals(key.host, Some(&key.check));
            refusals.any(|known| known.refusal.epoch == Some(epoch))
        };
        let asked = if self.past.request(&key).is_some() || asked_before { Asked::Then } else { Asked::Synthesised };
        let fault = SimulatedFault {
            host: host.name.clone(),
            environment: host.environment.clone(),
            check: key.check.clone(),
            at: seen.at,
            position: seen.position,
            remediation: answer.name.clone(),
            asked,
            decisions: Vec::new(),
            more_decisions: 0,
            happened: Vec::new(),
            more_happened: 0,
        };
        let has_moment = self.past.request(&key).is_some() || self.past.withheld(&key).is_some();
        let waits = if has_moment { Waits::ItsMoment } else { Waits::Change };
        let place = (key.host, key.check.clone());
        let row = self.rows.add(key.clone(), fault);
        self.open.insert(place.clone(), Open { row, epoch, key, waits });
        if has_moment { Ok(()) } else { self.ask(&place) }
    }

    /// A run of the past ends; one that the replay did not permit was none.
    fn run_ends(&mut self, entry: &Entry<'_>, permit: PermitId, ending: Option<Ending>) -> Result<(), ReplayError> {
        let state = self.core.state();
        let Some(run) = state.runs.in_flight_under(permit) else { return Ok(()) };
        let host = run.permit.host;
        let follows = ending.map(|ending| counted(state, run, ending, self.now)).unwrap_or_default();
        self.stand(entry)?;
        for body in follows {
            self.own(body)?;
        }
        self.ask_on(host)
    }

    /// Who waits for a change, after one.
    fn settle(&mut self) -> Result<(), ReplayError> {
        while let Some(kind) = self.opened.pop_first() {
            for nudge in views::nudges(self.core.state(), kind) {
                self.ask_after_change(&(nudge.host, nudge.check))?;
            }
        }
        Ok(())
    }

    /// A record of the control plane.
    pub(super) fn own(&mut self, body: Body) -> Result<(), ReplayError> {
        let record = Record { author: Author::ControlPlane, at: self.now.wall, body };
        self.put(&record, EnvelopeDigest::of(&[]))
    }

    /// A record of an agent, the next of its chain.
    pub(super) fn agent(&mut self, host: HostId, body: Body, envelope: EnvelopeDigest) -> Result<(), ReplayError> {
        let head = self.core.state().host(host).map(|host| host.head).unwrap_or_default();
        let author = Author::Agent { host, sequence: head.sequence.next(), previous: head.envelope };
        self.put(&Record { author, at: self.now.wall, body }, envelope)
    }

    /// A record of the log as it is.
    fn stand(&mut self, entry: &Entry<'_>) -> Result<(), ReplayError> {
        match &entry.record.author {
            Author::Agent { host, .. } => self.agent(*host, entry.record.body.clone(), entry.envelope),
            Author::ControlPlane | Author::Person { .. } => self.put(entry.record, entry.envelope),
        }
    }

    fn put(&mut self, record: &Record, envelope: EnvelopeDigest) -> Result<(), ReplayError> {
        let (position, received_at) = (self.core.state().next_position(), self.now.wall);
        self.core.apply(self.now, &Entry { position, envelope, received_at, record })?;
        let kind = record.body.kind();
        if views::opens_a_way(kind) {
            self.opened.insert(kind);
        }
        Ok(())
    }
}
