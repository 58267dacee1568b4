//! What a run is about: the verified permit with the manifest of its playbook.

use crate::authority::Authority;
use fettle_model::check::CheckRef;
use fettle_model::evidence::Fault;
use fettle_model::name::Label;
use fettle_model::permit::{Permit, Purpose, Target, UNDO_WITHIN};
use fettle_model::playbook::{Manifest, UndoPolicy};
use fettle_model::run::PlannedStep;
use fettle_model::time::BootInstant;
use std::time::Duration;

/// A permit and a manifest that fit each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Charter {
    permit: Permit,
    work: Work,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    /// Run the playbook.
    Remedy(Box<Remedy>),
    /// Inject a drill's fault.
    Inject(Fault),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Remedy {
    /// The check that it heals.
    pub(super) fault: CheckRef,
    /// How that check must stand before the first effect.
    pub(super) premise: Premise,
    /// The check that confirms.
    pub(super) confirm: CheckRef,
    /// Healthy for so long without interruption.
    pub(super) stable: Duration,
    /// Within so long.
    pub(super) within: Duration,
    /// From the start of the run to its end.
    pub(super) duration: Duration,
    /// What happens to reversible steps.
    pub(super) undo: UndoPolicy,
    pub(super) authority: Authority,
    /// The changing calls that people approved; `None` where nobody had to.
    pub(super) approved: Option<Vec<PlannedStep>>,
}

/// How the check must stand before a run's first effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Premise {
    /// Critical: without a fault there is nothing to do.
    Critical,
    /// Anyhow: what the playbook does without a fault is what a drill wants to see.
    Any,
}

impl Premise {
    const fn of(purpose: &Purpose) -> Self {
        match purpose {
            Purpose::Remediate { .. } | Purpose::InjectFault { .. } | Purpose::Offline { .. } => Self::Critical,
            Purpose::Repeat { .. } => Self::Any,
        }
    }
}

/// The permit and the manifest do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCharter {
    /// A playbook is to run, and there is no manifest.
    #[error("the permit is for a playbook, and its manifest is not there")]
    ManifestMissing,
    /// The permit binds no check to the label that confirms.
    #[error("the permit binds no check to {label}, which confirms the run")]
    NoConfirmation {
        /// The label.
        label: Label,
    },
}

impl Charter {
    /// Puts a permit and the manifest of its playbook together. A drill's fault needs no manifest.
    ///
    /// # Errors
    /// When they do not fit; nothing may be done under them then.
    pub fn new(permit: Permit, manifest: Option<&Manifest>) -> Result<Self, InvalidCharter> {
        let work = match &permit.purpose {
            Purpose::InjectFault { fault, .. } => Work::Inject(fault.clone()),
            Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } | Purpose::Offline { check, .. } => {
                let manifest = manifest.ok_or(InvalidCharter::ManifestMissing)?;
                Work::Remedy(Box::new(Remedy {
                    fault: check.clone(),
                    premise: Premise::of(&permit.purpose),
                    confirm: confirming(&permit, &manifest.confirm.health)?,
                    stable: manifest.confirm.stable.0,
                    within: manifest.confirm.within.0,
                    duration: manifest.limits.duration.0,
                    undo: manifest.on_failure.undo,
                    authority: Authority::new(manifest, &permit.targets, permit.actions),
                    approved: permit.approved.as_ref().map(|approved| approved.steps.clone()),
                }))
            }
        };
        Ok(Self { permit, work })
    }

    /// The permit.
    #[must_use]
    pub const fn permit(&self) -> &Permit {
        &self.permit
    }

    pub(super) const fn work(&self) -> &Work {
        &self.work
    }

    pub(super) fn remedy(&self) -> Option<&Remedy> {
        match &self.work {
            Work::Remedy(remedy) => Some(remedy),
            Work::Inject(_) => None,
        }
    }

    /// No effect of the component starts later: what the permit allows, or what the manifest asks
    /// for where that is less.
    pub(super) fn deadline(&self, started: BootInstant) -> BootInstant {
        let within = self.remedy().map_or(self.permit.run_within, |remedy| remedy.duration.min(self.permit.run_within));
        started.plus(within)
    }

    /// No inverse starts later; see [`UNDO_WITHIN`].
    pub(super) fn undo_until(&self, started: BootInstant) -> BootInstant {
        let confirming = self.remedy().map_or(Duration::ZERO, |remedy| remedy.within);
        started.plus(self.permit.run_within).plus(confirming).plus(UNDO_WITHIN)
    }
}

fn confirming(permit: &Permit, label: &Label) -> Result<CheckRef, InvalidCharter> {
    let check = permit.targets.iter().filter(|bound| &bound.label == label).find_map(|bound| match &bound.target {
        Target::Health { check } => Some(check.clone()),
        Target::SystemdUnit { .. }
        | Target::CommandService { .. }
        | Target::ReleaseRoot { .. }
        | Target::Flag { .. }
        | Target::Facts => None,
    });
    check.ok_or_else(|| InvalidCharter::NoConfirmation { label: label.clone() })
}
