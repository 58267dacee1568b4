//! A drill's faults as deeds.
//!
//! Called by the effector under a permit whose purpose is to inject a fault, on a host whose owner
//! allows drills. A fault is an ordinary deed from here on: looked before, journalled, looked after.

use super::deed::{Deed, Done, not_seen};
use super::injection::{Injection, fill, plan_fill, refuse};
use super::open::OpenTargets;
use super::service::may_be_signalled;
use crate::config::FaultSettings;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::name::Label;
use fettle_model::playbook::Action;
use fettle_sandbox::call::{ActError, Revision};
use std::time::Duration;

impl OpenTargets {
    /// The deed that injects a fault now. `hold` bounds how long one lasts that does not end by itself when
    /// nothing heals it: the time to the drill's deadline, or less where the host's owner allows less.
    ///
    /// # Errors
    /// When there is nothing to inject it on: no release that is unproven, no variant that means *on*, a fault
    /// that the owner does not name. Nothing was done.
    pub async fn fault(&self, fault: &Fault, hold: Duration) -> Result<Deed, ActError> {
        let label = &fault.on;
        match fault.kind {
            FaultKind::StopService => {
                let expect = self.service_revision(label).await?;
                Ok(Deed::Service { label: label.clone(), action: Action::Stop, expect })
            }
            FaultKind::KillProcess => {
                let expect = self.service_revision(label).await?;
                Ok(Deed::Kill { label: label.clone(), expect })
            }
            FaultKind::BadRelease => {
                let releases = self.releases(label)?;
                let (_, expect) = releases.current().map_err(not_seen)?;
                let bad = releases.newest_unproven().map_err(not_seen)?;
                let bad = bad.ok_or_else(|| ActError::Failed("every other release is known to be good".to_owned()))?;
                Ok(Deed::Activate { label: label.clone(), release: bad.id, expect })
            }
            FaultKind::FlagOn => {
                let flag = self.flag(label)?;
                let expect = flag.setting().map_err(not_seen)?.revision;
                let on = flag.on_variant().map_err(not_seen)?;
                let value = on.ok_or_else(|| ActError::Failed("no variant of the flag means on".to_owned()))?;
                let hold = hold.min(flag.longest_hold());
                Ok(Deed::SetFlag { label: label.clone(), value, expect, hold })
            }
            FaultKind::FillDisk => {
                let settings = self.named(label, |faults| faults.fill_disk.as_ref())?;
                let injection = plan_fill(settings)?;
                Ok(Deed::Inject { label: label.clone(), injection, lasts: hold.min(settings.longest) })
            }
            FaultKind::RefusePort => {
                let settings = self.named(label, |faults| faults.refuse_port.as_ref())?;
                let injection = Injection::RefusePort { port: settings.port.get() };
                Ok(Deed::Inject { label: label.clone(), injection, lasts: hold.min(settings.longest) })
            }
            FaultKind::SlowResponses => {
                let settings = self.named(label, |faults| faults.slow_responses.as_ref())?;
                let main = self.service(label)?.observe().await.map_err(not_seen)?.main;
                let process = main.filter(|main| may_be_signalled(*main));
                let none = || ActError::Failed("the service has no main process that may be stopped".to_owned());
                let injection = Injection::SlowResponses { process: process.ok_or_else(none)? };
                Ok(Deed::Inject { label: label.clone(), injection, lasts: hold.min(settings.longest) })
            }
        }
    }

    /// Injects what a deed says, within what the owner allows.
    pub(super) async fn inject(&self, label: &Label, injection: &Injection, lasts: Duration) -> Result<Done, ActError> {
        match injection {
            Injection::FillDisk { folder, bytes } => {
                let settings = self.named(label, |faults| faults.fill_disk.as_ref())?;
                if settings.folder.as_str() != folder {
                    return Err(ActError::Denied("the owner names another folder".to_owned()));
                }
                fill(settings, *bytes)
            }
            Injection::RefusePort { port } => {
                let settings = self.named(label, |faults| faults.refuse_port.as_ref())?;
                if settings.port.get() != *port {
                    return Err(ActError::Denied("the owner names another port".to_owned()));
                }
                refuse(*port).await
            }
            Injection::SlowResponses { process } => {
                let settings = self.named(label, |faults| faults.slow_responses.as_ref())?;
                let main = self.service(label)?.observe().await.map_err(not_seen)?.main;
                if main != Some(*process) {
                    return Err(ActError::Failed("the service has another main process since".to_owned()));
                }
                self.slowed.begin(*process, settings, lasts.min(settings.longest))
            }
        }
    }

    /// What the owner says of a fault by name, for the service that the label belongs to.
    fn named<'a, T>(
        &'a self,
        label: &Label,
        of: impl FnOnce(&'a FaultSettings) -> Option<&'a T>,
    ) -> Result<&'a T, ActError> {
        let denied = || ActError::Denied(format!("the owner does not name this fault for what is bound to {label}"));
        self.faults.get(label).and_then(of).ok_or_else(denied)
    }

    async fn service_revision(&self, label: &Label) -> Result<Revision, ActError> {
        Ok(self.service(label)?.observe().await.map_err(not_seen)?.status.revision)
    }
}
