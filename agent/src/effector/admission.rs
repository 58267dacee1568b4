//! Whether this host accepts a permit: the effector's own decision, from its own state.
//!
//! Pure. Signature and inclusion are verified before (`Published::verify`); everything else that
//! design section 2 demands of a permit is checked here, against what *this host's owner* wrote and
//! what *this agent* remembers. Called by the effector for every permit before it is marked as used.

use fettle_model::breaker::{Scope, StopOrder};
use fettle_model::counter::{Fence, StopEpoch};
use fettle_model::evidence::Drill;
use fettle_model::host::DrillConsent;
use fettle_model::id::{BootId, DrillId, HostId};
use fettle_model::name::EnvironmentName;
use fettle_model::permit::{BoundTarget, KillPoint, Permit, PermitRejection, PermitRequest, Purpose, Target};
use fettle_model::playbook::Action;
use fettle_model::time::{BootInstant, whole_millis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Clock-rate error that is allowed for between this host and the control plane: 1 %. Crystal
/// oscillators are within 0.01 %; virtual machines that lose ticks have been seen at 0.5 %.
const CLOCK_RATE_ALLOWANCE_PERCENT: u64 = 1;

/// What the owner allows at most: for each thing, the changing actions.
pub type Ceiling = BTreeMap<Target, BTreeSet<Action>>;

/// Whether the playbook of a permit is ready to run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaybookTrust {
    /// Its bytes have the digest, and a publisher that this host trusts signed it.
    Trusted,
    /// Not so, or it is not here.
    Untrusted,
}

/// Whether a run is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupation {
    /// None is.
    Free,
    /// One is.
    Busy,
}

/// Whether the log that this agent follows is one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogView {
    /// As far as this agent has seen.
    Consistent,
    /// It saw two that contradict each other: observe only.
    Forked,
}

/// What this agent knows when a permit arrives.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// This host.
    pub host: HostId,
    /// Its environment.
    pub environment: &'a EnvironmentName,
    /// This boot.
    pub boot: BootId,
    /// Now, on this boot's clock.
    pub now: BootInstant,
    /// The request that the permit says it answers, if this agent made it and waits for it.
    pub request: Option<&'a PermitRequest>,
    /// Whether it was used before.
    pub used: crate::effector::store::Use,
    /// The highest fence that was accepted.
    pub highest_fence: Fence,
    /// Every stop order that was seen, lifted ones included: an older permit stays void.
    pub stops: &'a [StopOrder],
    /// The playbook's standing.
    pub playbook: PlaybookTrust,
    /// What the owner bound for this playbook and service.
    pub bound: &'a [BoundTarget],
    /// What the owner allows at most.
    pub ceiling: &'a Ceiling,
    /// Whether drills may run here.
    pub drills: DrillConsent,
    /// The newest drill that was published for this host.
    pub drill: Option<&'a Drill>,
    /// Whether a run is in progress.
    pub occupation: Occupation,
    /// Whether the log is one.
    pub log: LogView,
}

/// Decides; the first rule that fails is the reason.
///
/// # Errors
/// The rule that refuses the permit.
pub fn admit(permit: &Permit, situation: &Situation<'_>) -> Result<(), PermitRejection> {
    let s = situation;
    if s.log == LogView::Forked {
        return Err(PermitRejection::LogForked);
    }
    if permit.host != s.host {
        return Err(PermitRejection::OtherHost);
    }
    if s.used == crate::effector::store::Use::Before {
        return Err(PermitRejection::Replayed);
    }
    // A budget answered a request when it was kept; each of its runs has only to be of its boot and its fence.
    let (asked_for, stale) = match permit.unit {
        None => (answers_request(permit, s), permit.fence <= s.highest_fence),
        Some(_) => (of_this_boot(permit, s), permit.fence < s.highest_fence),
    };
    asked_for?;
    within_lease(permit, s.now)?;
    if stale {
        return Err(PermitRejection::StaleFence { fence: permit.fence, seen: s.highest_fence });
    }
    not_stopped(permit, s)?;
    match permit.purpose {
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } if s.drills == DrillConsent::Refused => {
            return Err(PermitRejection::DrillsRefused);
        }
        Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. }
            if s.playbook == PlaybookTrust::Untrusted =>
        {
            return Err(PermitRejection::PlaybookUntrusted);
        }
        Purpose::InjectFault { .. } | Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {}
    }
    if !permit.is_offline() && !permit.units.is_one() {
        return Err(PermitRejection::NotForOffline);
    }
    may_be_killed(permit, s)?;
    within_ceiling(permit, s)?;
    if s.occupation == Occupation::Busy {
        return Err(PermitRejection::Busy);
    }
    Ok(())
}

/// Only what heals the fault of a drill that this host knows, where the owner allows drills, is ever killed.
fn may_be_killed(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let heals = match permit.purpose {
        Purpose::Remediate { .. } => permit.drill.is_some_and(|id| s.drill.is_some_and(|known| known.drill == id)),
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => false,
    };
    match (permit.kill, s.drills) {
        (None, _) => Ok(()),
        (Some(KillPoint::FirstDeed), DrillConsent::Allowed) if heals => Ok(()),
        (Some(KillPoint::FirstDeed), DrillConsent::Allowed | DrillConsent::Refused) => {
            Err(PermitRejection::DrillsRefused)
        }
    }
}

fn answers_request(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let Some(request) = s.request else { return Err(PermitRejection::OtherRequest) };
    let same = permit.request == request.request
        && permit.run == request.run
        && permit.boot == s.boot
        && permit.boot == request.boot
        && permit.sent_at == request.sent_at
        && permit.purpose == request.purpose
        && permit.playbook.as_ref().map(|playbook| playbook.digest) == request.playbook;
    if same { Ok(()) } else { Err(PermitRejection::OtherRequest) }
}

fn of_this_boot(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    if permit.boot == s.boot { Ok(()) } else { Err(PermitRejection::OtherRequest) }
}

/// A permit's lease, less the allowance for clock rate.
#[must_use]
pub fn lease_on_this_clock(permit: &Permit) -> Duration {
    Duration::from_millis(whole_millis(permit.lease).saturating_mul(100 - CLOCK_RATE_ALLOWANCE_PERCENT) / 100)
}

fn within_lease(permit: &Permit, now: BootInstant) -> Result<(), PermitRejection> {
    let age_ms = whole_millis(now.since(permit.sent_at));
    let lease_ms = whole_millis(lease_on_this_clock(permit));
    if now >= permit.sent_at && age_ms < lease_ms { Ok(()) } else { Err(PermitRejection::Expired { age_ms, lease_ms }) }
}

fn not_stopped(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let newest = s
        .stops
        .iter()
        .filter(|stop| in_scope(&stop.scope, permit, s.environment, s.drill))
        .map(|stop| stop.epoch)
        .max()
        .unwrap_or(StopEpoch(0));
    if permit.stop_epoch < newest {
        return Err(PermitRejection::Stopped { epoch: permit.stop_epoch, seen: newest });
    }
    Ok(())
}

/// Whether a scope covers what a permit is for. A permit to inject names its drill only; of which service and
/// playbook that is stands in `drill`, where it is the one.
#[must_use]
pub fn in_scope(scope: &Scope, permit: &Permit, environment: &EnvironmentName, drill: Option<&Drill>) -> bool {
    match scope {
        Scope::Global => true,
        Scope::Environment(name) => name == environment,
        Scope::Service(stopped) => match &permit.purpose {
            Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } | Purpose::Offline { check, .. } => {
                stopped == &check.service
            }
            Purpose::InjectFault { drill: id, .. } => {
                of_drill(*id, drill).is_none_or(|drill| stopped == &drill.service)
            }
        },
        Scope::Playbook(stopped) => match &permit.purpose {
            Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
                permit.playbook.as_ref().is_some_and(|playbook| stopped == &playbook.name)
            }
            Purpose::InjectFault { drill: id, .. } => {
                of_drill(*id, drill).is_none_or(|drill| stopped == &drill.playbook.name)
            }
        },
    }
}

/// The drill of a permit, where it is the one that this host knows. Of another one nobody here can say what it
/// is about: a fault that stays out costs a drill, one that hits a stopped service is an accident.
fn of_drill(id: DrillId, known: Option<&Drill>) -> Option<&Drill> {
    known.filter(|known| known.drill == id)
}

fn within_ceiling(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let wanted: BTreeSet<(&_, &Target)> = permit.targets.iter().map(|t| (&t.label, &t.target)).collect();
    let bound: BTreeSet<(&_, &Target)> = s.bound.iter().map(|t| (&t.label, &t.target)).collect();
    // An injected fault touches one of the bound things, a playbook gets exactly all of them.
    let differs = match permit.purpose {
        Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
            wanted.symmetric_difference(&bound).next().copied()
        }
        Purpose::InjectFault { .. } => wanted.difference(&bound).next().copied(),
    };
    if let Some((label, _)) = differs {
        return Err(PermitRejection::TargetsDiffer { label: label.clone() });
    }
    if wanted.len() != permit.targets.len() || permit.targets.is_empty() {
        return Err(PermitRejection::OtherRequest);
    }
    let none = BTreeSet::new();
    for target in &permit.targets {
        let allowed = s.ceiling.get(&target.target).unwrap_or(&none);
        // A drill's fault is bounded by the owner's consent to drills, not by the actions of repair.
        let excess = match permit.purpose {
            Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
                target.actions.difference(allowed).next()
            }
            Purpose::InjectFault { .. } => None,
        };
        if let Some(action) = excess {
            return Err(PermitRejection::AboveCeiling { label: target.label.clone(), action: *action });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
