//! What one run may look at and change: the manifest's grants cut down to the permitted targets.
//!
//! The machine asks it before every call, the plan's predictor asks the same one: a plan is refused
//! what the real run would be refused. It does not know the host owner's ceiling, which the effector
//! holds against the permit before.

use crate::call::{ActError, Call, OpenError, ReadError, Reply, ServiceCall};
use crate::call::{FlagCall, HealthCall, ReleaseCall};
use fettle_model::name::Label;
use fettle_model::permit::{PermittedTarget, Target};
use fettle_model::playbook::{Action, GrantKind, Manifest};
use std::collections::{BTreeMap, BTreeSet};

/// What one run may look at and change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    grants: BTreeMap<Label, Grant>,
    actions: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Grant {
    kind: GrantKind,
    binding: Binding,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Binding {
    Unbound,
    Bound(BTreeSet<Action>),
}

impl Authority {
    /// What the manifest asks for *and* the targets allow: a target whose kind is not the grant's
    /// counts as unbound, an action that only one of the two names is not allowed, and the smaller
    /// number of actions holds.
    #[must_use]
    pub fn new(manifest: &Manifest, targets: &[PermittedTarget], actions: u32) -> Self {
        let bound = |label: &Label, kind: GrantKind| {
            targets.iter().find(|target| &target.label == label && kind_of(&target.target) == kind)
        };
        let grants = manifest.grants.iter().map(|grant| {
            let binding = bound(&grant.label, grant.kind).map_or(Binding::Unbound, |target| {
                Binding::Bound(grant.actions.intersection(&target.actions).copied().collect())
            });
            (grant.label.clone(), Grant { kind: grant.kind, binding })
        });
        Self { grants: grants.collect(), actions: actions.min(manifest.limits.actions) }
    }

    /// Whether the label may be opened as this kind of thing.
    ///
    /// # Errors
    /// When the manifest has no such grant, or nothing is bound to it.
    pub fn open(&self, label: &Label, kind: GrantKind) -> Result<(), OpenError> {
        match self.grants.get(label) {
            Some(Grant { kind: granted, binding: Binding::Bound(_) }) if *granted == kind => Ok(()),
            Some(Grant { kind: granted, binding: Binding::Unbound }) if *granted == kind => Err(OpenError::Unbound),
            Some(Grant { .. }) | None => Err(OpenError::Undeclared),
        }
    }

    /// Whether an observing call may reach the host.
    ///
    /// # Errors
    /// With the reply that it gets instead.
    pub fn look(&self, call: &Call) -> Result<(), Reply> {
        let allowed = match (call.label(), kind_of_call(call)) {
            (Some(label), Some(kind)) => self.open(label, kind),
            (None, Some(kind)) if self.has(kind) => Ok(()),
            (None, Some(_)) => Err(OpenError::Undeclared),
            (_, None) => Ok(()),
        };
        allowed.map_err(|error| unseen(call, error))
    }

    /// Whether a changing call may reach the host, after `effects` others were begun.
    ///
    /// # Errors
    /// `denied` or `exhausted`; nothing is done then.
    pub fn act(&self, call: &Call, action: Action, effects: u32) -> Result<(), ActError> {
        let denied = |why: String| Err(ActError::Denied(why));
        let Some(label) = call.label() else { return denied("the call names no label".to_owned()) };
        if kind_of_call(call) != Some(action.kind()) {
            return denied(format!("{} is no action of this interface", action.as_str()));
        }
        match self.grants.get(label) {
            Some(Grant { kind, binding: Binding::Bound(actions) })
                if *kind == action.kind() && actions.contains(&action) => {}
            Some(_) | None => return denied(format!("{} {label} is not permitted", action.as_str())),
        }
        if effects >= self.actions {
            return Err(ActError::Exhausted(format!("the {} changing calls of this run are used up", self.actions)));
        }
        Ok(())
    }

    fn has(&self, kind: GrantKind) -> bool {
        self.grants.values().any(|grant| grant.kind == kind && grant.binding != Binding::Unbound)
    }
}

/// The reply to an observing call that may not reach the host, in the shape of the call.
fn unseen(call: &Call, error: OpenError) -> Reply {
    let no = || ReadError::Unavailable("not permitted for this run".to_owned());
    match call {
        Call::Clock(_) | Call::Log(_) => Reply::Unit,
        Call::Facts(_) => Reply::Fact(Err(no())),
        Call::Service { op, .. } => match op {
            ServiceCall::Open => Reply::Opened(Err(error)),
            ServiceCall::Status | ServiceCall::WaitFor { .. } => Reply::Service(Err(no())),
            ServiceCall::Tail { .. } => Reply::Lines(Err(no())),
            ServiceCall::Change { .. } => Reply::Acted(Err(ActError::Denied("not permitted".to_owned()))),
        },
        Call::Release { op, .. } => match op {
            ReleaseCall::Open => Reply::Opened(Err(error)),
            ReleaseCall::Current => Reply::CurrentRelease(Err(no())),
            ReleaseCall::History => Reply::Releases(Err(no())),
            ReleaseCall::Activate { .. } => Reply::Acted(Err(ActError::Denied("not permitted".to_owned()))),
            ReleaseCall::WaitSettled { .. } => Reply::Settled(Err(no())),
        },
        Call::Flag { op, .. } => match op {
            FlagCall::Open => Reply::Opened(Err(error)),
            FlagCall::Read => Reply::Flag(Err(no())),
            FlagCall::Set { .. } => Reply::Acted(Err(ActError::Denied("not permitted".to_owned()))),
        },
        Call::Health { op, .. } => match op {
            HealthCall::Open => Reply::Opened(Err(error)),
            HealthCall::Probe | HealthCall::WaitHealthy { .. } => Reply::Health(Err(no())),
        },
    }
}

const fn kind_of_call(call: &Call) -> Option<GrantKind> {
    match call {
        Call::Clock(_) | Call::Log(_) => None,
        Call::Facts(_) => Some(GrantKind::Facts),
        Call::Service { .. } => Some(GrantKind::Service),
        Call::Release { .. } => Some(GrantKind::Release),
        Call::Flag { .. } => Some(GrantKind::Flag),
        Call::Health { .. } => Some(GrantKind::Health),
    }
}

const fn kind_of(target: &Target) -> GrantKind {
    match target {
        Target::SystemdUnit { .. } | Target::CommandService { .. } => GrantKind::Service,
        Target::ReleaseRoot { .. } => GrantKind::Release,
        Target::Flag { .. } => GrantKind::Flag,
        Target::Health { .. } => GrantKind::Health,
        Target::Facts => GrantKind::Facts,
    }
}
