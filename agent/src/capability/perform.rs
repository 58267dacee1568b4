//! Makes a deed happen: the look before, the deed, the look after a crash.
//!
//! Called by the effector, which has verified permit, ceiling and plan, and journals between the
//! steps; see [`super`].

use super::deed::{Before, Deed, Done, Look};
use super::flag::FlagHandle;
use super::open::{Handle, OpenTargets};
use super::release::ReleaseHandle;
use super::service::ServiceHandle;
use fettle_model::name::Label;
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::ActError;
use std::time::Duration;

impl OpenTargets {
    /// Looks before a deed. `now` is the wall clock; a hold counts from it.
    ///
    /// # Errors
    /// [`ActError::Stale`] when the thing moved since the playbook observed it; otherwise why the
    /// deed cannot be done. Nothing was done in any case.
    pub async fn before(&self, deed: &Deed, now: UnixMillis) -> Result<Before, ActError> {
        let boot = self.facts.boot;
        match deed {
            Deed::Service { label, expect, .. } | Deed::Kill { label, expect } => {
                self.service(label)?.before(boot, expect).await.map(Before::Service)
            }
            Deed::Activate { label, release, expect } => {
                self.releases(label)?.before(release, expect).map(Before::Release)
            }
            Deed::SetFlag { label, value, expect, hold } => {
                self.flag(label)?.before(value, expect, *hold, now).map(Before::Flag)
            }
            Deed::PutFlagBack { label, value, expect } => {
                self.flag(label)?.before_back(value, expect, now).map(Before::Flag)
            }
            Deed::Inject { injection, lasts, .. } => match injection.look(&self.slowed).await {
                Look::NotApplied => Ok(Before::Surroundings { until: now.plus(*lasts) }),
                Look::Applied(_) => Err(ActError::Failed("it is there already".to_owned())),
                Look::CannotTell { seen } => Err(ActError::Failed(seen)),
            },
        }
    }

    /// Does it, within `within`. Its future must be driven to the end.
    ///
    /// # Errors
    /// [`ActError::Indeterminate`] when what came of it cannot be told; every other error means
    /// that nothing changed, except that a service's job may have failed half-way, which the
    /// error's words say.
    pub async fn perform(&self, deed: &Deed, before: &Before, within: Duration) -> Result<Done, ActError> {
        match (deed, before) {
            (Deed::Service { label, action, .. }, Before::Service(before)) => {
                self.service(label)?.change(label, *action, before, within).await
            }
            (Deed::Kill { label, .. }, Before::Service(before)) => self.service(label)?.kill(before, within).await,
            (Deed::Activate { label, release, .. }, Before::Release(before)) => {
                self.releases(label)?.activate(label, release, before)
            }
            (Deed::SetFlag { label, value, .. }, Before::Flag(before)) => self.flag(label)?.set(label, value, before),
            (Deed::PutFlagBack { label, value, .. }, Before::Flag(before)) => self.flag(label)?.set_back(value, before),
            (Deed::Inject { label, injection, lasts }, Before::Surroundings { .. }) => {
                self.inject(label, injection, *lasts).await
            }
            (_, Before::Service(_) | Before::Release(_) | Before::Flag(_) | Before::Surroundings { .. }) => {
                Err(ActError::Failed("the journalled state before is of another kind than the deed".to_owned()))
            }
        }
    }

    /// Says from the thing itself whether a deed happened whose outcome was not journalled. Waits
    /// at most `within` for what an earlier effector may have left at work. Never acts.
    pub async fn look_after_crash(&self, deed: &Deed, before: &Before, within: Duration) -> Look {
        let boot = self.facts.boot;
        let not_open = |_| Look::cannot_tell("the label is not open in this run");
        match (deed, before) {
            (Deed::Service { label, action, .. }, Before::Service(before)) => match self.service(label) {
                Ok(service) => service.look_after_change(boot, label, *action, before, within).await,
                Err(error) => not_open(error),
            },
            (Deed::Kill { .. }, Before::Service(before)) => ServiceHandle::look_after_kill(boot, before),
            (Deed::Activate { label, release, .. }, Before::Release(before)) => match self.releases(label) {
                Ok(releases) => releases.look_after_activate(label, release, before),
                Err(error) => not_open(error),
            },
            (Deed::SetFlag { label, value, .. }, Before::Flag(before)) => match self.flag(label) {
                Ok(flag) => flag.look_after_set(label, value, before),
                Err(error) => not_open(error),
            },
            (Deed::PutFlagBack { label, .. }, Before::Flag(before)) => match self.flag(label) {
                Ok(flag) => flag.look_after_back(before),
                Err(error) => not_open(error),
            },
            (Deed::Inject { injection, .. }, Before::Surroundings { .. }) => injection.look(&self.slowed).await,
            (_, Before::Service(_) | Before::Release(_) | Before::Flag(_) | Before::Surroundings { .. }) => {
                Look::cannot_tell("the journalled state before is of another kind than the deed")
            }
        }
    }

    pub(super) fn service(&self, label: &Label) -> Result<&ServiceHandle, ActError> {
        match self.handles.get(label) {
            Some(Handle::Service(service)) => Ok(service),
            Some(Handle::Release { .. } | Handle::Flag(_) | Handle::Health | Handle::Facts) | None => {
                Err(not_bound(label))
            }
        }
    }

    pub(super) fn releases(&self, label: &Label) -> Result<&ReleaseHandle, ActError> {
        match self.handles.get(label) {
            Some(Handle::Release { releases, .. }) => Ok(releases),
            Some(Handle::Service(_) | Handle::Flag(_) | Handle::Health | Handle::Facts) | None => Err(not_bound(label)),
        }
    }

    pub(super) fn flag(&self, label: &Label) -> Result<&FlagHandle, ActError> {
        match self.handles.get(label) {
            Some(Handle::Flag(flag)) => Ok(flag),
            Some(Handle::Service(_) | Handle::Release { .. } | Handle::Health | Handle::Facts) | None => {
                Err(not_bound(label))
            }
        }
    }
}

fn not_bound(label: &Label) -> ActError {
    ActError::Denied(format!("no thing of this kind is bound to {label}"))
}
