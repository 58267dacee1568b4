//! The simulated world: answers calls, does deeds, looks after crashes, lets time go by.

use super::deed::{SimBefore, SimDeed, SimDone};
use super::health::Health;
use super::inject::{Effectiveness, Injection, Variant, name};
use super::spec::WorldSpec;
use super::thing::{Flag, Releases, Service, Since};
use crate::call::{
    ActError, Activity, Call, ClockCall, Fact, FactsCall, FlagCall, HealthCall, ReadError, ReleaseCall, Reply,
    Revision, ServiceCall, Verdict,
};
use crate::journal::Look;
use crate::words::activity_name;
use fettle_model::check::Status;
use fettle_model::name::Label;
use fettle_model::run::Change;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// Virtual time that a look takes: enough that things can happen between two looks.
const LOOK_TAKES_MS: u64 = 10;
/// Virtual time that a deed takes.
const DEED_TAKES_MS: u64 = 50;

/// Whether looking after a crash tells what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sight {
    /// It does.
    #[default]
    Clear,
    /// It never does.
    Blind,
}

/// A world.
#[derive(Debug, Clone)]
pub struct World {
    epoch: UnixMillis,
    now: u64,
    sight: Sight,
    services: BTreeMap<Label, Service>,
    releases: BTreeMap<Label, Releases>,
    flags: BTreeMap<Label, Flag>,
    checks: BTreeMap<Label, Health>,
    facts: BTreeMap<String, Fact>,
    injections: Vec<Injection>,
    /// How often each call was made.
    made: BTreeMap<String, u32>,
    /// What was changed, in order.
    changed: Vec<String>,
    /// An injected error of the deed that is about to be performed.
    failing: Option<(Variant, Effectiveness)>,
}

impl World {
    /// A world at its beginning, which is `epoch` on the wall clock.
    #[must_use]
    pub fn new(spec: &WorldSpec, injections: Vec<Injection>, epoch: UnixMillis) -> Self {
        fn things<S: Clone, T>(specs: &BTreeMap<Label, S>, new: fn(S) -> T) -> BTreeMap<Label, T> {
            specs.iter().map(|(label, spec)| (label.clone(), new(spec.clone()))).collect()
        }
        Self {
            epoch,
            now: 0,
            sight: Sight::Clear,
            services: things(&spec.service, Service::new),
            releases: things(&spec.release, Releases::new),
            flags: things(&spec.flag, Flag::new),
            checks: things(&spec.health, Health::new),
            facts: spec.fact.iter().filter_map(|(key, value)| fact(value).map(|fact| (key.clone(), fact))).collect(),
            injections,
            made: BTreeMap::new(),
            changed: Vec::new(),
            failing: None,
        }
    }

    /// What looking after a crash tells from now on.
    pub const fn set_sight(&mut self, sight: Sight) {
        self.sight = sight;
    }

    /// Milliseconds since the beginning.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The wall clock.
    #[must_use]
    pub const fn wall(&self) -> UnixMillis {
        UnixMillis(self.epoch.0.saturating_add(self.now))
    }

    /// Lets time go by until `at`; never backwards.
    pub fn advance_to(&mut self, at: u64) {
        self.now = self.now.max(at);
        for flag in self.flags.values_mut() {
            flag.expire(self.now);
        }
    }

    /// What was changed, in order: `service.restart`.
    #[must_use]
    pub fn changed(&self) -> &[String] {
        &self.changed
    }

    /// The state of every thing that a deed can change, without instants.
    #[must_use]
    pub fn state(&self) -> BTreeMap<String, String> {
        let service = |(label, service): (&Label, &Service)| {
            let activity = activity_name(service.activity(self.now));
            (label.to_string(), format!("{activity} {}", service.marks.revision().0))
        };
        let release = |(label, releases): (&Label, &Releases)| {
            (label.to_string(), format!("{} {}", releases.id(), releases.marks.revision().0))
        };
        let flag = |(label, flag): (&Label, &Flag)| {
            (label.to_string(), format!("{} {}", flag.value(), flag.marks.revision().0))
        };
        let services = self.services.iter().map(service);
        services.chain(self.releases.iter().map(release)).chain(self.flags.iter().map(flag)).collect()
    }

    /// What a check says now; no fault is injected into it.
    #[must_use]
    pub fn status(&self, label: &Label) -> Status {
        match self.checks.get(label).map(|check| check.at(self.now).verdict) {
            Some(Verdict::Healthy) => Status::Passing,
            Some(Verdict::Degraded) => Status::Warning,
            Some(Verdict::Unhealthy) => Status::Critical,
            Some(Verdict::Unknown) | None => Status::Unknown,
        }
    }

    /// Answers an observing call.
    pub fn answer(&mut self, call: &Call) -> Reply {
        self.advance_to(self.now + LOOK_TAKES_MS);
        let injected = self.injected(call);
        let reply = self.look(call);
        injected.and_then(|injection| injection.returns.instead_of(&reply).ok()).unwrap_or(reply)
    }

    fn injected(&mut self, call: &Call) -> Option<Injection> {
        let name = name(call);
        let made = self.made.entry(name.clone()).or_default();
        *made += 1;
        self.injections.iter().find(|injection| injection.call == name && injection.nth == *made).cloned()
    }

    fn look(&mut self, call: &Call) -> Reply {
        match call {
            Call::Clock(ClockCall::Now) => Reply::Time(self.wall()),
            Call::Clock(ClockCall::Remaining) => Reply::Millis(u32::MAX),
            Call::Clock(ClockCall::Sleep { duration_ms }) => {
                self.advance_to(self.now + u64::from(*duration_ms));
                Reply::Unit
            }
            Call::Log(_) => Reply::Unit,
            Call::Facts(FactsCall::Get { key }) => Reply::Fact(self.facts.get(key).cloned().ok_or(ReadError::NotFound)),
            Call::Service { label, op } => self.look_at_service(label, op),
            Call::Release { label, op } => self.look_at_release(label, op),
            Call::Flag { label, op } => match op {
                FlagCall::Open => Reply::Opened(Ok(())),
                FlagCall::Read => Reply::Flag(self.flags.get(label).map(Flag::setting).ok_or(ReadError::NotFound)),
                FlagCall::Set { .. } => no_look(),
            },
            Call::Health { label, op } => self.look_at_health(label, op),
        }
    }

    fn look_at_service(&mut self, label: &Label, op: &ServiceCall) -> Reply {
        let Some(service) = self.services.get(label) else { return Reply::Service(Err(ReadError::NotFound)) };
        match op {
            ServiceCall::Open => Reply::Opened(Ok(())),
            ServiceCall::Status => Reply::Service(Ok(service.status(self.now, self.epoch))),
            ServiceCall::Tail { lines } => {
                let skip = service.spec.log.len().saturating_sub(usize::from(*lines));
                Reply::Lines(Ok(service.spec.log.iter().skip(skip).cloned().collect()))
            }
            ServiceCall::WaitFor { activity, timeout_ms } => {
                let until = self.now + u64::from(*timeout_ms);
                let found = service.when(*activity, self.now).filter(|at| *at <= until);
                let status = service.status(found.unwrap_or(until), self.epoch);
                self.advance_to(found.unwrap_or(until));
                Reply::Service(found.map(|_| status).ok_or(ReadError::Timeout))
            }
            ServiceCall::Change { .. } => no_look(),
        }
    }

    fn look_at_release(&mut self, label: &Label, op: &ReleaseCall) -> Reply {
        let Some(releases) = self.releases.get(label) else { return Reply::CurrentRelease(Err(ReadError::NotFound)) };
        match op {
            ReleaseCall::Open => Reply::Opened(Ok(())),
            ReleaseCall::Current => {
                Reply::CurrentRelease(releases.current(self.epoch).map(|release| (release, releases.marks.revision())))
            }
            ReleaseCall::History => Reply::Releases(Ok(releases.history(self.epoch))),
            ReleaseCall::WaitSettled { timeout_ms } => {
                let until = self.now + u64::from(*timeout_ms);
                let settled = releases.serves_at().map(|at| at.max(self.now)).filter(|at| *at <= until);
                let current = releases.current(self.epoch);
                self.advance_to(settled.unwrap_or(until));
                Reply::Settled(settled.ok_or(ReadError::Timeout).and(current))
            }
            ReleaseCall::Activate { .. } => no_look(),
        }
    }

    fn look_at_health(&mut self, label: &Label, op: &HealthCall) -> Reply {
        let Some(check) = self.checks.get(label) else { return Reply::Health(Err(ReadError::NotFound)) };
        match op {
            HealthCall::Open => Reply::Opened(Ok(())),
            HealthCall::Probe => Reply::Health(Ok(check.at(self.now))),
            HealthCall::WaitHealthy { stable_for_ms, timeout_ms } => {
                let until = self.now + u64::from(*timeout_ms);
                let stable = check.stable_at(self.now, u64::from(*stable_for_ms), until);
                let report = check.at(stable.unwrap_or(until));
                self.advance_to(stable.unwrap_or(until));
                Reply::Health(stable.map(|_| report).ok_or(ReadError::Timeout))
            }
        }
    }

    /// Looks before a deed.
    ///
    /// # Errors
    /// As the real thing: stale, or what was injected. Nothing is done then.
    pub fn before(&mut self, deed: &SimDeed) -> Result<SimBefore, ActError> {
        self.advance_to(self.now + LOOK_TAKES_MS);
        self.failing = None;
        if let Some(injection) = self.injected(deed.call()) {
            match injection.returns.as_act_error() {
                Some(ActError::Failed(_) | ActError::Indeterminate(_)) => {
                    self.failing = Some((injection.returns, injection.effect));
                }
                Some(error) => return Err(error),
                None => {}
            }
        }
        let before = self.marks(deed).ok_or_else(|| ActError::Failed("there is no such thing".to_owned()))?;
        match expected(deed.call()) {
            Some(expect) if *expect != before.revision => Err(ActError::Stale(before.revision)),
            Some(_) | None => Ok(before),
        }
    }

    /// Does a deed.
    ///
    /// # Errors
    /// As the real thing, or what was injected.
    pub fn perform(&mut self, deed: &SimDeed, before: &SimBefore) -> Result<SimDone, ActError> {
        self.advance_to(self.now + DEED_TAKES_MS);
        if self.marks(deed).is_none_or(|now| now.revision != before.revision) {
            return Err(ActError::Stale(before.revision.clone()));
        }
        let failing =
            self.failing.take().and_then(|(variant, effect)| variant.as_act_error().map(|error| (error, effect)));
        match failing {
            Some((error, Effectiveness::None)) => Err(error),
            Some((error, Effectiveness::Happens)) => self.change(deed).and(Err(error)),
            None => self.change(deed),
        }
    }

    fn change(&mut self, deed: &SimDeed) -> Result<SimDone, ActError> {
        let now = self.now;
        let gone = || ActError::Failed("there is no such thing".to_owned());
        let done = if let Call::Service { label, op: ServiceCall::Change { action, .. } } = deed.call() {
            self.services.get_mut(label).ok_or_else(gone)?.change(label, *action, now)?
        } else if let Call::Release { label, op: ReleaseCall::Activate { release, .. } } = deed.call() {
            self.releases.get_mut(label).ok_or_else(gone)?.activate(label, release, now)?
        } else if let Call::Flag { label, op: FlagCall::Set { value, hold_ms, .. } } = deed.call() {
            self.flags.get_mut(label).ok_or_else(gone)?.set(label, value, *hold_ms, now)?
        } else {
            return Err(gone());
        };
        let name = name(deed.call());
        for check in self.checks.values_mut() {
            check.follow(Some(&name), now);
        }
        if done.change == Change::Made {
            self.changed.push(name);
        }
        Ok(done)
    }

    /// Tells from the thing itself whether a deed happened.
    #[must_use]
    pub fn look_after_crash(&self, deed: &SimDeed, before: &SimBefore) -> Look<SimDone> {
        if self.sight == Sight::Blind {
            return Look::CannotTell("nothing can be seen".to_owned());
        }
        let marks = match deed.call() {
            Call::Service { label, .. } => self.services.get(label).map(|service| &service.marks),
            Call::Release { label, .. } => self.releases.get(label).map(|releases| &releases.marks),
            Call::Flag { label, .. } => self.flags.get(label).map(|flag| &flag.marks),
            Call::Clock(_) | Call::Log(_) | Call::Facts(_) | Call::Health { .. } => None,
        };
        match marks.map(|marks| marks.since(before)) {
            Some(Since::Nothing) => Look::NotApplied,
            Some(Since::Done(done)) => Look::Applied(done.clone()),
            Some(Since::Others) | None => Look::CannotTell("somebody else changed it".to_owned()),
        }
    }

    fn marks(&self, deed: &SimDeed) -> Option<SimBefore> {
        match deed.call() {
            Call::Service { label, .. } => self.services.get(label).map(|service| service.marks.before()),
            Call::Release { label, .. } => self.releases.get(label).map(|releases| releases.marks.before()),
            Call::Flag { label, .. } => self.flags.get(label).map(|flag| flag.marks.before()),
            Call::Clock(_) | Call::Log(_) | Call::Facts(_) | Call::Health { .. } => None,
        }
    }

    /// Whether a service does this now.
    #[must_use]
    pub fn is(&self, label: &Label, activity: Activity) -> bool {
        self.services.get(label).is_some_and(|service| service.activity(self.now) == activity)
    }
}

const fn expected(call: &Call) -> Option<&Revision> {
    match call {
        Call::Service { op: ServiceCall::Change { expect, .. }, .. }
        | Call::Release { op: ReleaseCall::Activate { expect, .. }, .. }
        | Call::Flag { op: FlagCall::Set { expect, .. }, .. } => Some(expect),
        Call::Clock(_)
        | Call::Log(_)
        | Call::Facts(_)
        | Call::Service { .. }
        | Call::Release { .. }
        | Call::Flag { .. }
        | Call::Health { .. } => None,
    }
}

/// A changing call is no look; the machine never asks for one so.
fn no_look() -> Reply {
    Reply::Acted(Err(ActError::Denied("not a look".to_owned())))
}

/// Whether a value in TOML can be a fact.
#[must_use]
pub fn is_fact(value: &toml::Value) -> bool {
    fact(value).is_some()
}

fn fact(value: &toml::Value) -> Option<Fact> {
    match value {
        toml::Value::String(text) => Some(Fact::Text(text.clone())),
        toml::Value::Integer(number) => Some(Fact::Integer(*number)),
        toml::Value::Boolean(value) => Some(Fact::Boolean(*value)),
        toml::Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>().map(Fact::Texts)
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
