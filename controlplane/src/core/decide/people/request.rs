//! A person's request, under the name that policies and the log have for it.
//!
//! Put together by the operators' API with names resolved to ids. Decides nothing.

use crate::core::authorisation::{PersonAction, Subject};
use crate::core::decide::enrolment::NewCertificate;
use fettle_model::breaker::Scope;
use fettle_model::check::CheckRef;
use fettle_model::configuration::Declared;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::digest::DocumentDigest;
use fettle_model::escalation::Rung;
use fettle_model::evidence::Fault;
use fettle_model::host::HostState;
use fettle_model::id::{BreakGlassId, DrillId, FreezeId, HostId, MuteId, TokenId};
use fettle_model::identity::HeldRole;
use fettle_model::login::OidcIdentity;
use fettle_model::name::{EnvironmentName, HostName, PersonName, PublisherName};
use fettle_model::person_key::SigningKeyProof;
use fettle_model::record::PlaybookAdmitted;
use fettle_model::rollout::RolloutOrder;
use fettle_model::scenarios::ScenarioReport;
use fettle_model::time::UnixMillis;
use std::time::Duration;

/// What a renewal or a login is about, for the record of a refusal: who asked stands beside it.
pub const OWN_CERTIFICATE: &str = "own certificate";

/// What the registration of a key is about, likewise.
pub const OWN_SIGNING_KEY: &str = "own signing key";
/// What a provider's token says of a person: signature, issuer, audience, expiry and the key that it is bound to are
/// verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLogin {
    /// Who, as the provider names them.
    pub identity: OidcIdentity,
    /// SHA-256 of what the provider signed.
    pub token: DocumentDigest,
    /// When the provider issued it.
    pub issued_at: UnixMillis,
    /// When the provider last authenticated them, where it says so.
    pub authenticated_at: Option<UnixMillis>,
    /// How, where it says so.
    pub context: Option<String>,
}

/// A report on scenarios whose signature is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReport {
    /// What it says.
    pub report: ScenarioReport,
    /// The publisher's DSSE envelope over it, as text.
    pub signed: String,
}

/// What a person asks for.
#[derive(Debug, Clone)]
pub enum PersonRequest {
    /// Create a join token; the rim keeps its secret.
    CreateToken {
        /// Its public name.
        token: TokenId,
        /// Into which environment it enrols.
        environment: EnvironmentName,
        /// The only host name that it enrols.
        host: Option<HostName>,
        /// At most [`super::MAX_TOKEN_VALIDITY`].
        valid_for: Duration,
    },
    /// Replace the configuration.
    SetConfiguration {
        /// All of it.
        declared: Box<Declared>,
        /// The generation that the person saw.
        replaces: ConfigurationGeneration,
    },
    /// Let a rollout go on, or take it back.
    OrderRollout {
        /// What.
        order: RolloutOrder,
        /// The generation that the person saw being rolled out.
        seen: ConfigurationGeneration,
        /// Why.
        why: String,
    },
    /// Admit a playbook version whose publication, package and imports the rim has verified.
    AdmitPlaybook {
        /// The record's body; its `by` is replaced by who asks.
        admission: Box<PlaybookAdmitted>,
        /// The publisher's word on its scenarios, signed by the same key; `None`: none was brought, and it cannot be
        /// drilled.
        report: Option<Box<SignedReport>>,
        /// The 32 public bytes of the key that signed the publication, base64.
        key: String,
    },
    /// Trust a publisher's key.
    TrustPublisher {
        /// The publisher.
        publisher: PublisherName,
        /// The 32 public bytes, base64.
        key: String,
    },
    /// Give a person a role.
    GrantRole {
        /// Who gets it.
        person: PersonName,
        /// Which, and where.
        role: HeldRole,
    },
    /// Give a person a role, and a certificate and a signing key, whose secret halves they have proven.
    AddPerson {
        /// Who gets them.
        person: PersonName,
        /// Which role, and where.
        role: HeldRole,
        /// What the rim would issue.
        certificate: NewCertificate,
        /// Their signing key, whose proof the rim has checked.
        signing_key: SigningKeyProof,
    },
    /// Register a signing key for whoever asks and has none.
    SetSigningKey {
        /// The serial number of the certificate that they show.
        shown: String,
        /// The key, whose proof the rim has checked.
        signing_key: SigningKeyProof,
    },
    /// Give a person a role, and let in whoever the provider says has this identity as them.
    RegisterPerson {
        /// Who gets them.
        person: PersonName,
        /// Which role, and where.
        role: HeldRole,
        /// What the provider calls them.
        identity: OidcIdentity,
    },
    /// Give whoever the provider identified as the person who asks a certificate, for the key to which the
    /// provider's token is bound.
    LogIn {
        /// What the rim has verified.
        login: Box<VerifiedLogin>,
        /// What the rim would issue.
        certificate: NewCertificate,
    },
    /// Give whoever asks the next certificate for a key that they have proven. No role changes, and nobody
    /// else can be named.
    RenewCertificate {
        /// The serial number of the certificate that they show.
        shown: String,
        /// What the rim would issue.
        certificate: NewCertificate,
    },
    /// End a person's roles, and every certificate that they were given.
    RevokePerson {
        /// Who.
        person: PersonName,
        /// Why; at most [`super::MAX_WHY_BYTES`].
        why: String,
    },
    /// End one role of a person.
    RevokeRole {
        /// Who.
        person: PersonName,
        /// Which, and where.
        role: HeldRole,
        /// Why; at most [`super::MAX_WHY_BYTES`].
        why: String,
    },
    /// End broken glass before its time, or withdraw an ask that waits.
    CloseBreakGlass {
        /// Which.
        ask: BreakGlassId,
        /// Why; at most [`super::MAX_WHY_BYTES`].
        why: String,
    },
    /// Stop automation.
    Stop {
        /// Where.
        scope: Scope,
        /// Why; at most [`super::MAX_WHY_BYTES`].
        why: String,
    },
    /// Let it go on; also closes a breaker that failures opened in exactly this scope.
    Resume {
        /// Where.
        scope: Scope,
        /// Why.
        why: String,
    },
    /// Freeze a scope for a while.
    Freeze {
        /// The id that the rim minted.
        freeze: FreezeId,
        /// Where.
        scope: Scope,
        /// At most [`fettle_model::freeze::MAX_FREEZE`].
        lasts: Duration,
        /// Why.
        why: String,
    },
    /// End a freeze before its time.
    LiftFreeze {
        /// Which.
        freeze: FreezeId,
        /// Where it is in force.
        scope: Scope,
        /// Why.
        why: String,
    },
    /// Mute a scope for a while.
    Mute {
        /// The id that the rim minted.
        mute: MuteId,
        /// Where.
        scope: Scope,
        /// At most [`fettle_model::mute::MAX_MUTE`].
        lasts: Duration,
        /// Why.
        why: String,
    },
    /// End a mute before its time.
    LiftMute {
        /// Which.
        mute: MuteId,
        /// Where it is in force.
        scope: Scope,
        /// Why.
        why: String,
    },
    /// Start a drill of the version that the configuration binds to the check.
    StartDrill {
        /// The id that the rim minted.
        drill: DrillId,
        /// The host.
        host: HostId,
        /// The check that must go critical and pass again.
        check: CheckRef,
        /// The fault; one that the playbook declares.
        fault: Fault,
        /// The rung of the check's remediation whose playbook is to heal it.
        rung: Rung,
    },
    /// Ask an agent to ask for a run.
    WishRun {
        /// The host.
        host: HostId,
        /// The check whose remediation is to run.
        check: CheckRef,
    },
    /// Quarantine, revoke or reinstate a host.
    SetHostState {
        /// The host.
        host: HostId,
        /// Its state from now on.
        state: HostState,
        /// Why.
        why: String,
    },
}

impl PersonRequest {
    /// The action's name for policies and records.
    #[must_use]
    pub const fn action(&self) -> PersonAction {
        match self {
            Self::CreateToken { .. } => PersonAction::CreateToken,
            // Whoever may set a configuration may say how it goes on.
            Self::SetConfiguration { .. } | Self::OrderRollout { .. } => PersonAction::SetConfiguration,
            Self::AdmitPlaybook { .. } => PersonAction::AdmitPlaybook,
            Self::TrustPublisher { .. } => PersonAction::TrustPublisher,
            Self::GrantRole { .. } | Self::AddPerson { .. } | Self::RegisterPerson { .. } => PersonAction::GrantRole,
            Self::LogIn { .. } => PersonAction::LogIn,
            Self::RevokePerson { .. } => PersonAction::RevokePerson,
            Self::RevokeRole { .. } => PersonAction::RevokeRole,
            Self::CloseBreakGlass { .. } => PersonAction::CloseBreakGlass,
            Self::RenewCertificate { .. } => PersonAction::RenewCertificate,
            Self::SetSigningKey { .. } => PersonAction::SetSigningKey,
            Self::Stop { .. } => PersonAction::Stop,
            Self::Resume { .. } => PersonAction::Resume,
            Self::Freeze { .. } => PersonAction::Freeze,
            Self::LiftFreeze { .. } => PersonAction::LiftFreeze,
            Self::Mute { .. } => PersonAction::Mute,
            Self::LiftMute { .. } => PersonAction::LiftMute,
            Self::StartDrill { .. } => PersonAction::StartDrill,
            Self::WishRun { .. } => PersonAction::WishRun,
            Self::SetHostState { .. } => PersonAction::SetHostState,
        }
    }

    /// What policies are asked about. A request that is about a service is judged by who owns the service.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self {
            Self::Stop { scope: Scope::Service(service), .. }
            | Self::Resume { scope: Scope::Service(service), .. }
            | Self::Freeze { scope: Scope::Service(service), .. }
            | Self::LiftFreeze { scope: Scope::Service(service), .. }
            | Self::Mute { scope: Scope::Service(service), .. }
            | Self::LiftMute { scope: Scope::Service(service), .. } => Subject::Service(service.clone()),
            Self::CloseBreakGlass { ask, .. } => Subject::BreakGlass(*ask),
            Self::StartDrill { check, .. } | Self::WishRun { check, .. } => Subject::Service(check.service.clone()),
            Self::GrantRole { person, .. }
            | Self::AddPerson { person, .. }
            | Self::RegisterPerson { person, .. }
            | Self::RevokeRole { person, .. }
            | Self::RevokePerson { person, .. } => Subject::Person(person.clone()),
            Self::Stop { scope: Scope::Global | Scope::Environment(_) | Scope::Playbook(_), .. }
            | Self::Resume { scope: Scope::Global | Scope::Environment(_) | Scope::Playbook(_), .. }
            | Self::Freeze { scope: Scope::Global | Scope::Environment(_) | Scope::Playbook(_), .. }
            | Self::LiftFreeze { scope: Scope::Global | Scope::Environment(_) | Scope::Playbook(_), .. }
            | Self::Mute { scope: Scope::Global | Scope::Environment(_) | Scope::Playbook(_), .. }
            | Self::LiftMute { scope: Scope::Global | Scope::Environment(_) | Scope::Playbook(_), .. }
            | Self::CreateToken { .. }
            | Self::SetConfiguration { .. }
            | Self::OrderRollout { .. }
            | Self::AdmitPlaybook { .. }
            | Self::TrustPublisher { .. }
            | Self::RenewCertificate { .. }
            | Self::SetSigningKey { .. }
            | Self::LogIn { .. }
            | Self::SetHostState { .. } => Subject::Installation,
        }
    }

    /// What it is about, for the record of a refusal.
    #[must_use]
    pub fn resource(&self) -> String {
        match self {
            Self::CreateToken { environment, .. } => format!("environment:{environment}"),
            Self::SetConfiguration { .. } => "configuration".to_owned(),
            Self::OrderRollout { order, .. } => format!("configuration/{}", order.as_str()),
            Self::AdmitPlaybook { admission, .. } => {
                format!("playbook:{}@{}", admission.manifest.playbook.name, admission.digest)
            }
            Self::TrustPublisher { publisher, .. } => format!("publisher:{publisher}"),
            Self::GrantRole { person, role }
            | Self::AddPerson { person, role, .. }
            | Self::RegisterPerson { person, role, .. }
            | Self::RevokeRole { person, role, .. } => {
                format!("person:{person}/{role}")
            }
            Self::RevokePerson { person, .. } => format!("person:{person}"),
            Self::CloseBreakGlass { ask, .. } => format!("break-glass:{ask}"),
            Self::SetSigningKey { .. } => OWN_SIGNING_KEY.to_owned(),
            Self::RenewCertificate { .. } | Self::LogIn { .. } => OWN_CERTIFICATE.to_owned(),
            Self::Stop { scope, .. }
            | Self::Resume { scope, .. }
            | Self::Freeze { scope, .. }
            | Self::LiftFreeze { scope, .. }
            | Self::Mute { scope, .. }
            | Self::LiftMute { scope, .. } => scope.to_string(),
            Self::StartDrill { host, check, .. } | Self::WishRun { host, check } => format!("host:{host}/{check}"),
            Self::SetHostState { host, state, .. } => format!("host:{host}/{}", state.as_str()),
        }
    }
}
