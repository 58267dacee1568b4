//! Simulated services, releases and flags. Each counts its deeds and its revisions.

use super::deed::{SimBefore, SimDeed, SimDone};
use super::spec::{FlagSpec, ReleaseRootSpec, ReleaseSpec, ServiceSpec, StartsInto};
use crate::call::{ActError, Activity, FlagSetting, Goodness, ReadError, ReleaseInfo, Revision, ServiceStatus};
use fettle_model::name::Label;
use fettle_model::playbook::Action;
use fettle_model::run::{Change, UndoClass};
use fettle_model::time::{UnixMillis, whole_millis};

/// Counts of one thing.
#[derive(Debug, Clone, Default)]
pub(super) struct Marks {
    revision: u32,
    deeds: u32,
    last: Option<SimDone>,
}

impl Marks {
    pub(super) fn revision(&self) -> Revision {
        Revision(format!("rev{}", self.revision + 1))
    }

    pub(super) fn before(&self) -> SimBefore {
        SimBefore { revision: self.revision(), deeds: self.deeds }
    }

    /// What the last deed was, if it was the only one since.
    pub(super) fn since(&self, before: &SimBefore) -> Since<'_> {
        match (self.deeds.checked_sub(before.deeds), &self.last) {
            (Some(0), _) => Since::Nothing,
            (Some(1), Some(done)) => Since::Done(done),
            (Some(_) | None, _) => Since::Others,
        }
    }

    pub(super) fn done(&mut self, done: SimDone) -> SimDone {
        self.deeds += 1;
        self.last = Some(done.clone());
        done
    }

    fn moved(&mut self) {
        self.revision += 1;
    }
}

pub(super) enum Since<'a> {
    Nothing,
    Done(&'a SimDone),
    Others,
}

const fn unneeded(undo: UndoClass) -> SimDone {
    SimDone { change: Change::Unneeded, undo, inverse: None }
}

const fn made(undo: UndoClass, inverse: Option<SimDeed>) -> SimDone {
    SimDone { change: Change::Made, undo, inverse }
}

#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) spec: ServiceSpec,
    pub(super) marks: Marks,
    activity: Activity,
    since: u64,
    restarts: u32,
    /// When its start ends.
    starting_until: u64,
}

impl Service {
    pub(super) fn new(spec: ServiceSpec) -> Self {
        let (activity, restarts) = (spec.activity, spec.restarts_last_hour);
        Self { spec, marks: Marks::default(), activity, since: 0, restarts, starting_until: 0 }
    }

    pub(super) fn activity(&self, now: u64) -> Activity {
        match (self.activity, self.spec.starts_into) {
            (Activity::Activating, StartsInto::Active) if now >= self.starting_until => Activity::Active,
            (Activity::Activating, StartsInto::Failed) if now >= self.starting_until => Activity::Failed,
            (activity, StartsInto::Active | StartsInto::Failed) => activity,
        }
    }

    pub(super) fn status(&self, now: u64, epoch: UnixMillis) -> ServiceStatus {
        let activity = self.activity(now);
        ServiceStatus {
            activity,
            since: UnixMillis(epoch.0 + self.since),
            restarts_last_hour: self.restarts,
            main_pid: (activity == Activity::Active).then_some(1_000 + self.marks.revision),
            revision: self.marks.revision(),
        }
    }

    /// When it will do so, if by what is going on already.
    pub(super) fn when(&self, wanted: Activity, now: u64) -> Option<u64> {
        [now, self.starting_until.max(now)].into_iter().find(|at| self.activity(*at) == wanted)
    }

    pub(super) fn change(&mut self, label: &Label, action: Action, now: u64) -> Result<SimDone, ActError> {
        let runs = matches!(self.activity(now), Activity::Active | Activity::Activating);
        let done = match action {
            Action::Start if runs => unneeded(UndoClass::Automatic),
            Action::Stop if !runs => unneeded(UndoClass::Automatic),
            Action::Start => {
                self.start(now);
                made(UndoClass::Automatic, Some(SimDeed::service(label, Action::Stop, self.marks.revision())))
            }
            Action::Stop => {
                (self.activity, self.since) = (Activity::Inactive, now);
                self.marks.moved();
                made(UndoClass::Automatic, Some(SimDeed::service(label, Action::Start, self.marks.revision())))
            }
            Action::Restart => {
                self.restarts += 1;
                self.start(now);
                made(UndoClass::None, None)
            }
            Action::Reload if runs => made(UndoClass::None, None),
            Action::Reload => return Err(ActError::Failed("it does not run".to_owned())),
            Action::Activate | Action::Set => return Err(ActError::Failed("no action of a service".to_owned())),
        };
        Ok(self.marks.done(done))
    }

    fn start(&mut self, now: u64) {
        (self.activity, self.since) = (Activity::Activating, now);
        self.starting_until = now.saturating_add(whole_millis(self.spec.start_takes.0));
        self.marks.moved();
    }
}

#[derive(Debug, Clone)]
pub(super) struct Releases {
    spec: ReleaseRootSpec,
    pub(super) marks: Marks,
    current: String,
    activated: Option<u64>,
}

impl Releases {
    pub(super) fn new(spec: ReleaseRootSpec) -> Self {
        let current = spec.current.clone();
        Self { spec, marks: Marks::default(), current, activated: None }
    }

    pub(super) fn id(&self) -> &str {
        &self.current
    }

    pub(super) fn current(&self, epoch: UnixMillis) -> Result<ReleaseInfo, ReadError> {
        let found = self.spec.history.iter().find(|release| release.id == self.current);
        found.map(|release| self.info(release, epoch)).ok_or(ReadError::NotFound)
    }

    pub(super) fn history(&self, epoch: UnixMillis) -> Vec<ReleaseInfo> {
        self.spec.history.iter().map(|release| self.info(release, epoch)).collect()
    }

    fn info(&self, release: &ReleaseSpec, epoch: UnixMillis) -> ReleaseInfo {
        let activated = self.activated.filter(|_| release.id == self.current);
        ReleaseInfo {
            id: release.id.clone(),
            version: release.version.clone(),
            activated: activated.map(|at| UnixMillis(epoch.0 + at)),
            known_good: if release.known_good { Goodness::KnownGood } else { Goodness::Unproven },
        }
    }

    /// When the current release serves, if it ever does.
    pub(super) fn serves_at(&self) -> Option<u64> {
        let serves = self.spec.history.iter().any(|release| release.id == self.current && release.serves);
        let settled = self.activated.map_or(0, |at| at.saturating_add(whole_millis(self.spec.settle_takes.0)));
        serves.then_some(settled)
    }

    pub(super) fn activate(&mut self, label: &Label, release: &str, now: u64) -> Result<SimDone, ActError> {
        if !self.spec.history.iter().any(|known| known.id == release) {
            return Err(ActError::Failed(format!("there is no release {release}")));
        }
        if self.current == release {
            return Ok(self.marks.done(unneeded(UndoClass::Automatic)));
        }
        let old = std::mem::replace(&mut self.current, release.to_owned());
        self.activated = Some(now);
        self.marks.moved();
        let inverse = SimDeed::activate(label, &old, self.marks.revision());
        Ok(self.marks.done(made(UndoClass::Automatic, Some(inverse))))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Flag {
    spec: FlagSpec,
    pub(super) marks: Marks,
    value: String,
    /// What comes back, and when.
    held: Option<(String, u64)>,
}

impl Flag {
    pub(super) fn new(spec: FlagSpec) -> Self {
        let value = spec.value.clone();
        Self { spec, marks: Marks::default(), value, held: None }
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn setting(&self) -> FlagSetting {
        FlagSetting { value: self.value.clone(), revision: self.marks.revision() }
    }

    /// Puts back what is due.
    pub(super) fn expire(&mut self, now: u64) {
        if let Some((old, _)) = self.held.take_if(|(_, until)| *until <= now) {
            self.value = old;
            self.marks.moved();
        }
    }

    /// Sets the variant for `hold_ms`; for no time, it puts it back for good.
    pub(super) fn set(&mut self, label: &Label, value: &str, hold_ms: u32, now: u64) -> Result<SimDone, ActError> {
        if !self.spec.variants.iter().any(|variant| variant == value) {
            return Err(ActError::Failed(format!("the flag's variants are {}", self.spec.variants.join(", "))));
        }
        let until = now.saturating_add(u64::from(hold_ms));
        if self.value == value {
            if let Some((_, held_until)) = &mut self.held {
                *held_until = until.max(*held_until);
            }
            return Ok(self.marks.done(unneeded(UndoClass::Expires)));
        }
        let old = std::mem::replace(&mut self.value, value.to_owned());
        self.marks.moved();
        if hold_ms == 0 {
            self.held = None;
            return Ok(self.marks.done(made(UndoClass::None, None)));
        }
        let first = self.held.take().map_or_else(|| old.clone(), |(first, _)| first);
        self.held = Some((first, until));
        let inverse = SimDeed::put_back(label, &old, self.marks.revision());
        Ok(self.marks.done(made(UndoClass::Expires, Some(inverse))))
    }
}
