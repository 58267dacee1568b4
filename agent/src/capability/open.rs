//! Turns the permit's bound targets into handles, before the run.
//!
//! Called by the effector once per run. Whatever the permit says, only things that stand in the
//! host owner's configuration are opened. What a handle holds (a folder's descriptor, a unit's
//! canonical name and object) is what is acted on afterwards; names are not resolved again.

use super::Facts;
use super::flag::FlagHandle;
use super::injection::{Injection, Slowed, TakenBack};
use super::release::ReleaseHandle;
use super::service::ServiceHandle;
use super::service::command::CommandHandle;
use super::service::systemd::SystemdLink;
use crate::config::{AgentConfig, FaultSettings, Manager, ServiceSettings};
use fettle_model::name::Label;
use fettle_model::permit::{BoundTarget, Target};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What this host can open: its configuration and its facts.
#[derive(Debug, Clone)]
pub struct Capabilities {
    config: AgentConfig,
    facts: Facts,
    slowed: Arc<Slowed>,
}

/// A bound target cannot be opened. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// The host's configuration has no such thing.
    #[error("the host's configuration has nothing like the thing bound to {label}")]
    NotConfigured {
        /// The label.
        label: Label,
    },
    /// It is configured, but it is not there as it should be.
    #[error("the thing bound to {label} cannot be opened: {why}")]
    Unusable {
        /// The label.
        label: Label,
        /// Why.
        why: String,
    },
    /// Two targets have one label.
    #[error("two things are bound to {label}")]
    TwiceBound {
        /// The label.
        label: Label,
    },
}

/// The things of one run, by label.
#[derive(Debug)]
pub struct OpenTargets {
    pub(super) handles: BTreeMap<Label, Handle>,
    /// The faults that the owner names for the service of the label's thing.
    pub(super) faults: BTreeMap<Label, FaultSettings>,
    pub(super) facts: Facts,
    pub(super) slowed: Arc<Slowed>,
}

#[derive(Debug)]
pub(super) enum Handle {
    Service(ServiceHandle),
    Release {
        releases: ReleaseHandle,
        /// What serves them, where something is managed: [`super::OpenTargets::answer`] waits for it.
        service: Option<ServiceHandle>,
    },
    Flag(FlagHandle),
    /// The effector answers for it.
    Health,
    Facts,
}

impl Capabilities {
    /// Over a host's configuration and facts.
    #[must_use]
    pub fn new(config: AgentConfig, facts: Facts) -> Self {
        Self { config, facts, slowed: Arc::default() }
    }

    /// The host's configuration.
    #[must_use]
    pub const fn config(&self) -> &AgentConfig {
        &self.config
    }

    /// The host's facts.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Takes back what a drill injected. Nothing to take back is success.
    ///
    /// # Errors
    /// Why it could not be done now.
    pub async fn take_back(&self, injection: &Injection) -> Result<TakenBack, String> {
        injection.take_back(&self.slowed).await
    }

    /// Opens what a permit binds. Connects to systemd only when a unit is among it.
    ///
    /// # Errors
    /// When one of the things is not configured, or not there as it should be; then none is opened.
    pub async fn open(&self, targets: &[BoundTarget]) -> Result<OpenTargets, NotOpened> {
        self.open_with(targets, None).await
    }

    pub(super) async fn open_with(
        &self,
        targets: &[BoundTarget],
        mut systemd: Option<SystemdLink>,
    ) -> Result<OpenTargets, NotOpened> {
        let (mut handles, mut faults) = (BTreeMap::new(), BTreeMap::new());
        for BoundTarget { label, target } in targets {
            let handle = self.open_one(label, target, &mut systemd).await?;
            faults.extend(self.config.service_of(target).map(|(_, settings)| (label.clone(), settings.faults.clone())));
            if handles.insert(label.clone(), handle).is_some() {
                return Err(NotOpened::TwiceBound { label: label.clone() });
            }
        }
        Ok(OpenTargets { handles, faults, facts: self.facts.clone(), slowed: Arc::clone(&self.slowed) })
    }

    async fn open_one(
        &self,
        label: &Label,
        target: &Target,
        systemd: &mut Option<SystemdLink>,
    ) -> Result<Handle, NotOpened> {
        let not_configured = || NotOpened::NotConfigured { label: label.clone() };
        let unusable = |why| NotOpened::Unusable { label: label.clone(), why };
        let owner = || self.config.owner_of(target).map(|(_, settings)| settings).ok_or_else(not_configured);
        match target {
            Target::SystemdUnit { .. } | Target::CommandService { .. } => {
                let service = self.open_service(owner()?, systemd).await.map_err(unusable)?;
                service.map(Handle::Service).ok_or_else(not_configured)
            }
            Target::ReleaseRoot { .. } => {
                let settings = owner()?;
                let releases = settings.releases.as_ref().ok_or_else(not_configured)?;
                let releases = ReleaseHandle::open(releases).map_err(unusable)?;
                let service = self.open_service(settings, systemd).await.map_err(unusable)?;
                Ok(Handle::Release { releases, service })
            }
            Target::Flag { file, key } => {
                let mut flags = owner()?.flags.values();
                let settings = flags.find(|flag| flag.file.as_str() == file && &flag.key == key);
                FlagHandle::open(settings.ok_or_else(not_configured)?).map(Handle::Flag).map_err(unusable)
            }
            Target::Health { check } => match self.config.services.get(&check.service) {
                Some(_) => Ok(Handle::Health),
                None => Err(not_configured()),
            },
            Target::Facts => Ok(Handle::Facts),
        }
    }

    async fn open_service(
        &self,
        settings: &ServiceSettings,
        systemd: &mut Option<SystemdLink>,
    ) -> Result<Option<ServiceHandle>, String> {
        match &settings.manager {
            Manager::Systemd { unit } => {
                let link = match systemd {
                    Some(link) => link,
                    None => systemd.insert(SystemdLink::connect().await?),
                };
                Ok(Some(ServiceHandle::Systemd(link.open(unit).await?)))
            }
            Manager::Command(commands) => {
                Ok(Some(ServiceHandle::Command(CommandHandle::new(commands.clone(), self.facts.boot))))
            }
            Manager::None => Ok(None),
        }
    }
}
