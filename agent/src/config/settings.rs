//! The configuration as the agent's processes use it: typed, resolved, held together.
//!
//! Built by [`AgentConfig::parse`] only. The effector asks it what is bound and what the ceiling
//! is; the daemon asks it for host values and registered commands.

use super::document::Document;
use super::faults::FaultSettings;
use super::mistake::{Complaints, ConfigError, Mistake};
use super::scalar::{AbsolutePath, Argv, Endpoint, LogKeyPin, PublicKey, UnitName};
use fettle_model::check::CheckRef;
use fettle_model::digest::DocumentDigest;
use fettle_model::evidence::{FaultConsent, FaultKind};
use fettle_model::host::{Binding, CarriedService, DrillConsent, HostDescription, Isolation, ManagerKind};
use fettle_model::identity::TrustDomain;
use fettle_model::name::{CheckName, EnvironmentName, HostName, Label, PlaybookName, PublisherName, ServiceName};
use fettle_model::permit::{BoundTarget, Target};
use fettle_model::playbook::{Action, Grant, GrantKind, Manifest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// The whole configuration of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// The host.
    pub host: HostSettings,
    /// The control plane.
    pub control_plane: ControlPlaneSettings,
    /// Whose playbooks may run here. Empty: none.
    pub publishers: Vec<TrustedPublisher>,
    /// The services that the host carries.
    pub services: BTreeMap<ServiceName, ServiceSettings>,
    /// What the owner bound by name; see [`AgentConfig::bound_targets`] for the rest.
    pub bindings: Vec<Binding>,
    /// What is allowed at most. A thing that is not here allows nothing.
    pub ceiling: BTreeMap<Target, BTreeSet<Action>>,
    /// Registered check commands.
    pub commands: BTreeMap<CheckName, Argv>,
}

/// `[host]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// The host's name for people.
    pub name: HostName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// Where the agent keeps its state.
    pub state_dir: AbsolutePath,
    /// Whether faults may be injected.
    pub drills: DrillConsent,
}

/// `[control-plane]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlaneSettings {
    /// Where agents connect.
    pub address: Endpoint,
    /// Where they enrol.
    pub enrol_address: Endpoint,
    /// SHA-256 of the root certificate's public key.
    pub ca_pin: DocumentDigest,
    /// The installation's trust domain.
    pub trust_domain: TrustDomain,
    /// Where given: enrolment must answer with this log key.
    pub log_key: Option<LogKeyPin>,
    /// Where given: enrolment must answer with this permit key.
    pub permit_key: Option<PublicKey>,
    /// The file that holds the join token; read once, at enrolment.
    pub join_token_file: Option<AbsolutePath>,
}

/// `[[publisher]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedPublisher {
    /// The publisher.
    pub name: PublisherName,
    /// The key that signs its playbooks.
    pub key: PublicKey,
}

/// `[service.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// What manages it.
    pub manager: Manager,
    /// Its releases.
    pub releases: Option<ReleaseSettings>,
    /// Its flags, by the name under which `[[bind]]` refers to them.
    pub flags: BTreeMap<Label, FlagSettings>,
    /// Values for `{host.x}` in checks.
    pub host_values: BTreeMap<String, String>,
    /// The faults that drills may inject by name.
    pub faults: FaultSettings,
}

/// What manages a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manager {
    /// systemd.
    Systemd {
        /// The unit.
        unit: UnitName,
    },
    /// Commands and a pid file.
    Command(CommandSettings),
    /// Nothing.
    None,
}

/// A service that commands manage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// Starts it, and returns when it is started or is being started.
    pub start: Argv,
    /// Stops it.
    pub stop: Argv,
    /// Makes it read its configuration again.
    pub reload: Option<Argv>,
    /// Says by its exit code whether it runs (LSB: 0 runs, 3 is stopped, 1 and 2 died).
    pub status: Option<Argv>,
    /// Holds its main process's id.
    pub pid_file: AbsolutePath,
    /// Its log, for `tail`.
    pub log_file: Option<AbsolutePath>,
}

/// A symlink layout of releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSettings {
    /// The folder that holds `releases/` and `current`.
    pub root: AbsolutePath,
    /// How many a playbook is shown, 1 to 20.
    pub history: usize,
}

/// A flag in a flagd-format file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagSettings {
    /// The file.
    pub file: AbsolutePath,
    /// The flag's key in it.
    pub key: String,
    /// Longest time for which a playbook may set it.
    pub longest_hold: Duration,
}

/// Why a playbook's label has no thing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbound {
    /// Nothing bound, and not exactly one thing of its kind.
    #[error("playbook {playbook} needs a [[bind]] for the label {label} of service {service}")]
    NothingFits {
        /// The playbook.
        playbook: PlaybookName,
        /// The service.
        service: ServiceName,
        /// The label.
        label: Label,
    },
    /// The owner bound a thing of another kind than the manifest asks for.
    #[error("playbook {playbook} asks for another kind of thing than is bound to its label {label}")]
    OtherKind {
        /// The playbook.
        playbook: PlaybookName,
        /// The label.
        label: Label,
    },
}

impl AgentConfig {
    /// Parses the text of `agent.toml`; `file` is only named in complaints.
    ///
    /// # Errors
    /// With every mistake that was found, each with its line and its remedy.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let mistaken = |mistakes: Vec<Mistake>| ConfigError::Mistaken { file: file.to_owned(), mistakes };
        let mut complaints = Complaints::about(text);
        let document: Document = toml::from_str(text).map_err(|error| {
            let mut complaints = Complaints::about(text);
            complaints.note(
                error.span().map_or(0, |span| span.start),
                error.message().trim().replace('\n', " "),
                "compare it with agent.toml.example, which shows every key",
            );
            mistaken(complaints.into_found())
        })?;
        let resolved = super::resolve::resolve(document, &mut complaints);
        match (resolved, complaints.into_found()) {
            (Some(config), none) if none.is_empty() => Ok(config),
            (_, mistakes) => Err(mistaken(mistakes)),
        }
    }

    /// Whether the ceiling allows an action on a thing.
    #[must_use]
    pub fn allows(&self, target: &Target, action: Action) -> bool {
        self.ceiling.get(target).is_some_and(|actions| actions.contains(&action))
    }

    /// The things behind a playbook's labels for one service, in the manifest's order.
    ///
    /// What the owner wrote as `[[bind]]` counts first. A label without one gets the thing that is
    /// unambiguous: the service itself, its releases, its only flag, the check that the run answers,
    /// the host's facts. The ceiling limits both alike.
    ///
    /// # Errors
    /// When a label has neither, or its thing is of another kind than the manifest says.
    pub fn bound_targets(
        &self,
        manifest: &Manifest,
        service: &ServiceName,
        answers: Option<&CheckName>,
    ) -> Result<Vec<BoundTarget>, Unbound> {
        self.bindings_of(manifest, service, answers).collect()
    }

    /// The same, label by label: what hinders one hides nothing of the others.
    pub fn bindings_of<'a>(
        &'a self,
        manifest: &'a Manifest,
        service: &'a ServiceName,
        answers: Option<&'a CheckName>,
    ) -> impl Iterator<Item = Result<BoundTarget, Unbound>> + 'a {
        let playbook = &manifest.playbook.name;
        let bound = self.bindings.iter().find(|b| &b.playbook == playbook && &b.service == service);
        let target_of = move |grant: &Grant| {
            let target = match bound.and_then(|binding| binding.target(&grant.label)) {
                Some(bound) => bound.target.clone(),
                None => self.unambiguous(grant.kind, service, answers).ok_or_else(|| Unbound::NothingFits {
                    playbook: playbook.clone(),
                    service: service.clone(),
                    label: grant.label.clone(),
                })?,
            };
            if kind_of(&target) == grant.kind {
                Ok(BoundTarget { label: grant.label.clone(), target })
            } else {
                Err(Unbound::OtherKind { playbook: playbook.clone(), label: grant.label.clone() })
            }
        };
        manifest.grants.iter().map(target_of)
    }

    fn unambiguous(&self, kind: GrantKind, service: &ServiceName, answers: Option<&CheckName>) -> Option<Target> {
        let settings = self.services.get(service)?;
        match kind {
            GrantKind::Service => settings.manager.target(service),
            GrantKind::Release => settings.releases.as_ref().map(ReleaseSettings::target),
            GrantKind::Flag => match settings.flags.len() {
                1 => settings.flags.values().next().map(FlagSettings::target),
                _ => None,
            },
            GrantKind::Health => answers
                .map(|check| Target::Health { check: CheckRef { service: service.clone(), check: check.clone() } }),
            GrantKind::Facts => Some(Target::Facts),
        }
    }

    /// The service to which a thing belongs. Health and facts belong to none.
    #[must_use]
    pub fn owner_of(&self, target: &Target) -> Option<(&ServiceName, &ServiceSettings)> {
        self.services.iter().find(|(name, settings)| settings.targets(name).contains(target))
    }

    /// The service that a thing is about: its owner, or the one whose check it is.
    #[must_use]
    pub fn service_of(&self, target: &Target) -> Option<(&ServiceName, &ServiceSettings)> {
        match target {
            Target::Health { check } => self.services.get_key_value(&check.service),
            Target::SystemdUnit { .. }
            | Target::CommandService { .. }
            | Target::ReleaseRoot { .. }
            | Target::Flag { .. }
            | Target::Facts => self.owner_of(target),
        }
    }

    /// Whether the owner allows a kind of fault on a thing.
    #[must_use]
    pub fn consents_to(&self, fault: FaultKind, target: &Target) -> DrillConsent {
        let named = || self.service_of(target).is_some_and(|(_, service)| service.faults.kinds().contains(&fault));
        match fault.consent() {
            FaultConsent::WithDrills => self.host.drills,
            FaultConsent::ByName if named() => self.host.drills,
            FaultConsent::ByName => DrillConsent::Refused,
        }
    }

    /// The settings of a flag, for the end of a hold.
    #[must_use]
    pub fn flag(&self, file: &str, key: &str) -> Option<&FlagSettings> {
        let mut flags = self.services.values().flat_map(|service| service.flags.values());
        flags.find(|flag| flag.file.as_str() == file && flag.key == key)
    }

    /// What the agent says of its host. The facts come from [`crate::capability::Facts`].
    #[must_use]
    pub fn describe(
        &self,
        facts: &crate::capability::Facts,
        agent_version: &str,
        isolation: Isolation,
        bindings: Vec<Binding>,
    ) -> HostDescription {
        let carried = |(name, settings): (&ServiceName, &ServiceSettings)| CarriedService {
            name: name.clone(),
            manager: settings.manager.kind(),
            faults: settings.faults.kinds(),
        };
        HostDescription {
            name: self.host.name.clone(),
            environment: self.host.environment.clone(),
            agent_version: agent_version.to_owned(),
            os: facts.os.clone(),
            architecture: facts.architecture.clone(),
            services: self.services.iter().map(carried).collect(),
            drills: self.host.drills,
            isolation,
            bindings: bindings.into(),
        }
    }
}

impl ServiceSettings {
    /// The things of this service on which something may be done.
    #[must_use]
    pub fn targets(&self, name: &ServiceName) -> Vec<Target> {
        let releases = self.releases.as_ref().map(ReleaseSettings::target);
        self.manager
            .target(name)
            .into_iter()
            .chain(releases)
            .chain(self.flags.values().map(FlagSettings::target))
            .collect()
    }
}

impl Manager {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ManagerKind {
        match self {
            Self::Systemd { .. } => ManagerKind::Systemd,
            Self::Command(_) => ManagerKind::Command,
            Self::None => ManagerKind::None,
        }
    }

    /// The thing that a service under this manager is; `None` when nothing manages it.
    #[must_use]
    pub fn target(&self, service: &ServiceName) -> Option<Target> {
        match self {
            Self::Systemd { unit } => Some(Target::SystemdUnit { unit: unit.as_str().to_owned() }),
            Self::Command(_) => Some(Target::CommandService { name: service.as_str().to_owned() }),
            Self::None => None,
        }
    }
}

impl ReleaseSettings {
    /// The thing.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::ReleaseRoot { root: self.root.as_str().to_owned() }
    }
}

impl FlagSettings {
    /// The thing.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::Flag { file: self.file.as_str().to_owned(), key: self.key.clone() }
    }
}

/// The kind of grant that a thing answers.
pub(super) const fn kind_of(target: &Target) -> GrantKind {
    match target {
        Target::SystemdUnit { .. } | Target::CommandService { .. } => GrantKind::Service,
        Target::ReleaseRoot { .. } => GrantKind::Release,
        Target::Flag { .. } => GrantKind::Flag,
        Target::Health { .. } => GrantKind::Health,
        Target::Facts => GrantKind::Facts,
    }
}
