//! What the host would look like: real looks with predicted deeds on top.

use crate::call::{
    Activity, Call, FlagCall, FlagSetting, ReadError, ReleaseCall, ReleaseInfo, Reply, Revision, ServiceCall,
    ServiceStatus,
};
use fettle_model::id::RunId;
use fettle_model::name::Label;
use fettle_model::playbook::Action;
use fettle_model::run::Change;
use fettle_model::time::UnixMillis;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Things by label, as last seen or as predicted.
#[derive(Debug, Clone)]
pub(super) struct Overlay {
    services: BTreeMap<Label, Thing<ServiceStatus>>,
    releases: BTreeMap<Label, Thing<(ReleaseInfo, Revision)>>,
    histories: BTreeMap<Label, Vec<ReleaseInfo>>,
    flags: BTreeMap<Label, Thing<FlagSetting>>,
    run: RunId,
    deeds: u32,
}

/// A thing.
#[derive(Debug, Clone)]
enum Thing<T> {
    /// Just looked at, for the deed that waits.
    Seen(T),
    /// As a deed would leave it.
    Predicted(T),
}

impl<T> Thing<T> {
    const fn predicted(&self) -> Option<&T> {
        match self {
            Self::Seen(_) => None,
            Self::Predicted(thing) => Some(thing),
        }
    }

    const fn thing(&self) -> &T {
        match self {
            Self::Seen(thing) | Self::Predicted(thing) => thing,
        }
    }
}

/// Why a deed would not be done.
pub(super) enum Refusal {
    Stale(Revision),
    Failed(String),
}

impl Overlay {
    pub(super) const fn new(run: RunId) -> Self {
        Self {
            services: BTreeMap::new(),
            releases: BTreeMap::new(),
            histories: BTreeMap::new(),
            flags: BTreeMap::new(),
            run,
            deeds: 0,
        }
    }

    /// The answer to an observing call, where it rests on a prediction.
    pub(super) fn answer(&self, call: &Call) -> Option<Reply> {
        if let Call::Service { label, op } = call {
            let status = self.services.get(label)?.predicted()?;
            match op {
                ServiceCall::Status => Some(Reply::Service(Ok(status.clone()))),
                ServiceCall::WaitFor { activity, .. } => {
                    let there = status.activity == *activity;
                    Some(Reply::Service(if there { Ok(status.clone()) } else { Err(ReadError::Timeout) }))
                }
                ServiceCall::Open | ServiceCall::Tail { .. } | ServiceCall::Change { .. } => None,
            }
        } else if let Call::Release { label, op } = call {
            let (release, revision) = self.releases.get(label)?.predicted()?;
            match op {
                ReleaseCall::Current => Some(Reply::CurrentRelease(Ok((release.clone(), revision.clone())))),
                ReleaseCall::WaitSettled { .. } => Some(Reply::Settled(Ok(release.clone()))),
                ReleaseCall::Open | ReleaseCall::History | ReleaseCall::Activate { .. } => None,
            }
        } else if let Call::Flag { label, op: FlagCall::Read } = call {
            Some(Reply::Flag(Ok(self.flags.get(label)?.predicted()?.clone())))
        } else {
            None
        }
    }

    /// Keeps what a look saw, unless something is predicted of the thing already.
    pub(super) fn saw(&mut self, asked: &Call, reply: &Reply) {
        if let (Call::Service { label, op: ServiceCall::Status }, Reply::Service(Ok(status))) = (asked, reply) {
            keep(&mut self.services, label, status);
        } else if let (Call::Release { label, op: ReleaseCall::Current }, Reply::CurrentRelease(Ok(current))) =
            (asked, reply)
        {
            keep(&mut self.releases, label, current);
        } else if let (Call::Release { label, op: ReleaseCall::History }, Reply::Releases(Ok(history))) = (asked, reply)
        {
            self.histories.insert(label.clone(), history.clone());
        } else if let (Call::Flag { label, op: FlagCall::Read }, Reply::Flag(Ok(setting))) = (asked, reply) {
            keep(&mut self.flags, label, setting);
        }
    }

    /// The answer to a wait after an effect elsewhere: it is taken to come to what is waited for.
    pub(super) fn waited(&self, call: &Call, reply: Reply) -> Reply {
        match (call, reply) {
            (Call::Service { op: ServiceCall::WaitFor { activity, .. }, .. }, Reply::Service(Ok(status))) => {
                Reply::Service(Ok(ServiceStatus { activity: *activity, ..status }))
            }
            (_, Reply::CurrentRelease(current)) => Reply::Settled(current.map(|(release, _)| release)),
            (_, reply) => reply,
        }
    }

    /// What must be looked at before the deed can be predicted.
    pub(super) fn missing(&self, call: &Call) -> Option<Call> {
        if let Call::Service { label, .. } = call {
            let look = Call::Service { label: label.clone(), op: ServiceCall::Status };
            (!self.services.contains_key(label)).then_some(look)
        } else if let Call::Release { label, .. } = call {
            let look = |op| Some(Call::Release { label: label.clone(), op });
            match (self.releases.get(label), self.histories.get(label)) {
                (None, _) => look(ReleaseCall::Current),
                (Some(_), None) => look(ReleaseCall::History),
                (Some(_), Some(_)) => None,
            }
        } else if let Call::Flag { label, .. } = call {
            let look = Call::Flag { label: label.clone(), op: FlagCall::Read };
            (!self.flags.contains_key(label)).then_some(look)
        } else {
            None
        }
    }

    /// Predicts a deed on what was seen.
    pub(super) fn apply(&mut self, call: &Call, now: UnixMillis) -> Result<Change, Refusal> {
        let next = Next { run: self.run, deeds: self.deeds + 1, now };
        let result = if let Call::Service { label, op: ServiceCall::Change { action, expect } } = call {
            self.services.get_mut(label).ok_or_else(unseen).and_then(|thing| {
                let before = thing.thing().clone();
                fresh(&before.revision, expect)?;
                let (change, after) = service(before, *action, next)?;
                *thing = Thing::Predicted(after);
                Ok(change)
            })
        } else if let Call::Release { label, op: ReleaseCall::Activate { release, expect } } = call {
            let known =
                self.histories.get(label).and_then(|all| all.iter().find(|known| &known.id == release)).cloned();
            self.releases.get_mut(label).ok_or_else(unseen).and_then(|thing| {
                let (current, seen) = thing.thing().clone();
                fresh(&seen, expect)?;
                let known = known.ok_or_else(|| Refusal::Failed(format!("there is no release {release}")))?;
                if current.id == known.id {
                    return Ok(Change::Unneeded);
                }
                *thing = Thing::Predicted((ReleaseInfo { activated: Some(now), ..known }, next.revision(&seen)));
                Ok(Change::Made)
            })
        } else if let Call::Flag { label, op: FlagCall::Set { value, expect, .. } } = call {
            self.flags.get_mut(label).ok_or_else(unseen).and_then(|thing| {
                let before = thing.thing().clone();
                fresh(&before.revision, expect)?;
                if &before.value == value {
                    return Ok(Change::Unneeded);
                }
                *thing =
                    Thing::Predicted(FlagSetting { value: value.clone(), revision: next.revision(&before.revision) });
                Ok(Change::Made)
            })
        } else {
            Err(unseen())
        };
        if result.is_ok() {
            self.deeds += 1;
        }
        // A look holds for one deed: the next one looks anew, as the real run would.
        self.forget_looks();
        result
    }

    fn forget_looks(&mut self) {
        self.services.retain(|_, thing| thing.predicted().is_some());
        self.releases.retain(|_, thing| thing.predicted().is_some());
        self.flags.retain(|_, thing| thing.predicted().is_some());
    }
}

fn keep<T: Clone>(things: &mut BTreeMap<Label, Thing<T>>, label: &Label, seen: &T) {
    if things.get(label).is_none_or(|thing| thing.predicted().is_none()) {
        things.insert(label.clone(), Thing::Seen(seen.clone()));
    }
}

fn unseen() -> Refusal {
    Refusal::Failed("it was not looked at".to_owned())
}

fn fresh(is: &Revision, expected: &Revision) -> Result<(), Refusal> {
    if is == expected { Ok(()) } else { Err(Refusal::Stale(is.clone())) }
}

/// What the next deed leads to, as far as no look can tell.
#[derive(Clone, Copy)]
struct Next {
    run: RunId,
    deeds: u32,
    now: UnixMillis,
}

impl Next {
    /// A revision of the same form as the one before, which no host gives out.
    fn revision(self, before: &Revision) -> Revision {
        let (form, varies) = before.0.split_once(':').unwrap_or(("", &before.0));
        let colon = if form.is_empty() { "" } else { ":" };
        let hash = self.hash(&before.0);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).take(varies.len().div_ceil(2).max(8)).collect();
        Revision(format!("{form}{colon}{hex}"))
    }

    /// A process id of usual size.
    fn pid(self, before: &Revision) -> u32 {
        let hash = self.hash(&before.0);
        1_000 + hash.iter().take(2).fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    fn hash(self, before: &str) -> [u8; 32] {
        let hash = Sha256::new().chain_update(self.run.to_string()).chain_update(self.deeds.to_be_bytes());
        hash.chain_update(before).finalize().into()
    }
}

fn service(before: ServiceStatus, action: Action, next: Next) -> Result<(Change, ServiceStatus), Refusal> {
    let runs = matches!(before.activity, Activity::Active | Activity::Activating);
    let revision = next.revision(&before.revision);
    let pid = next.pid(&before.revision);
    let moved = |activity, restarts_last_hour| ServiceStatus {
        activity,
        since: next.now,
        restarts_last_hour,
        main_pid: (activity == Activity::Active).then_some(pid),
        revision,
    };
    match action {
        Action::Start if runs => Ok((Change::Unneeded, before)),
        Action::Stop if before.activity == Activity::Inactive => Ok((Change::Unneeded, before)),
        Action::Start => Ok((Change::Made, moved(Activity::Active, before.restarts_last_hour))),
        Action::Stop => Ok((Change::Made, moved(Activity::Inactive, before.restarts_last_hour))),
        Action::Restart => Ok((Change::Made, moved(Activity::Active, before.restarts_last_hour.saturating_add(1)))),
        Action::Reload if runs => Ok((Change::Made, before)),
        Action::Reload => Err(Refusal::Failed("it does not run".to_owned())),
        Action::Activate | Action::Set => Err(Refusal::Failed("no action of a service".to_owned())),
    }
}
