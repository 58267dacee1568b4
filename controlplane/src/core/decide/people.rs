//! What people ask for.
//!
//! Cedar has answered outside. A denial becomes an action-refused record and a refusal; a request that
//! is allowed but makes no sense (a playbook that is not admitted, a drill in production) is only refused.

mod revocation;

use super::enrolment::NewCertificate;
use super::{Decision, Outcome};
use crate::core::authorisation::{Authorisation, PersonAction};
use crate::core::drills::DRILL_ALLOWANCE;
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::breaker::{BreakerClosed, ResumeOrder, Scope, StopOrder};
use fettle_model::check::CheckRef;
use fettle_model::configuration::{Configuration, InconsistentConfiguration};
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::evidence::{Drill, Fault};
use fettle_model::host::{DrillConsent, HostState};
use fettle_model::id::{DrillId, HostId, TokenId};
use fettle_model::identity::{Principal, Role, SpiffeId};
use fettle_model::name::{EnvironmentName, HostName, PersonName, PlaybookName, PublisherName, RemediationName};
use fettle_model::playbook::DrillDeclaration;
use fettle_model::record::{
    ActionRefused, Body, CertificateIssued, ConfigurationSet, HostStateSet, PlaybookAdmitted, PublisherTrusted,
    RoleGranted, RunWished, TokenCreated,
};
use fettle_model::remediation::{Mode, PlaybookVersion, Remediation};
use fettle_model::service::Service;
use fettle_model::time::UnixMillis;
use std::time::Duration;

/// Longest a join token is valid: an installation that is prepared on a Monday is done by Sunday.
pub const MAX_TOKEN_VALIDITY: Duration = Duration::from_hours(7 * 24);

/// Most join tokens that are open at once: a fleet of 10 000 hosts prepared in one go, and as many again.
pub const MAX_OPEN_TOKENS: usize = 20_000;

/// Longest reason that a person gives: a line on a wide screen, twice.
pub const MAX_WHY_BYTES: usize = 400;

/// What a renewal is about, for the record of a refusal: who asked stands beside it.
pub const OWN_CERTIFICATE: &str = "own certificate";

/// A person's request with Cedar's answer to it.
#[derive(Debug, Clone)]
pub struct PersonCommand {
    /// Who.
    pub by: PersonName,
    /// What Cedar says of [`PersonRequest::action`] by this person.
    pub authorised: Authorisation,
    /// What.
    pub request: PersonRequest,
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
        /// At most [`MAX_TOKEN_VALIDITY`].
        valid_for: Duration,
    },
    /// Replace the configuration.
    SetConfiguration {
        /// All services.
        services: Vec<Service>,
        /// All remediations, playbooks resolved to versions and parameters completed.
        remediations: Vec<Remediation>,
        /// The generation that the person saw.
        replaces: ConfigurationGeneration,
    },
    /// Admit a playbook version whose publication, package and imports the rim has verified.
    AdmitPlaybook {
        /// The record's body; its `by` is replaced by who asks.
        admission: Box<PlaybookAdmitted>,
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
        /// Which.
        role: Role,
    },
    /// Give a person a role and a certificate, whose key they have proven.
    AddPerson {
        /// Who gets them.
        person: PersonName,
        /// Which role.
        role: Role,
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
        /// Why; at most [`MAX_WHY_BYTES`].
        why: String,
    },
    /// Stop automation.
    Stop {
        /// Where.
        scope: Scope,
        /// Why; at most [`MAX_WHY_BYTES`].
        why: String,
    },
    /// Let it go on; also closes a breaker that failures opened in exactly this scope.
    Resume {
        /// Where.
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

/// Why a person is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PersonRefusal {
    /// Cedar says no. This refusal is a record.
    #[error("{} may not {}", .by, .action.as_str())]
    NotAuthorised {
        /// Who.
        by: PersonName,
        /// What.
        action: PersonAction,
        /// The policies that forbade it; empty when none permitted it.
        policies: Vec<String>,
    },
    /// The certificate that they show was withdrawn.
    #[error("the certificate of {0} was withdrawn")]
    CertificateWithdrawn(PersonName),
    /// The person has no role and was never revoked.
    #[error("the log knows no person {0} with a role")]
    UnknownPerson(PersonName),
    /// Without them nobody could give a role.
    #[error("{0} is the last operator")]
    LastOperator(PersonName),
    /// The reason is empty, too long, or has control characters.
    #[error("a reason must be one line of 1 to {MAX_WHY_BYTES} bytes")]
    Why,
    /// The validity is zero or too long.
    #[error("a token is valid for at most 7 days")]
    TokenValidity,
    /// The token's id is known.
    #[error("the token {0} exists already")]
    TokenKnown(TokenId),
    /// Too many tokens are open.
    #[error("{MAX_OPEN_TOKENS} join tokens are open, and no more may be")]
    TokensOpen {
        /// When the first of them expires.
        clears_at: UnixMillis,
    },
    /// Somebody else replaced the configuration meanwhile.
    #[error("the configuration has generation {current} by now, not {seen}")]
    ConfigurationChanged {
        /// The generation that the person saw.
        seen: ConfigurationGeneration,
        /// The one in force.
        current: ConfigurationGeneration,
    },
    /// The configuration contradicts itself.
    #[error("the configuration is not consistent")]
    Configuration(#[source] InconsistentConfiguration),
    /// A remediation uses a version that is not admitted under this name.
    #[error("remediation {remediation} uses {} {}, which is not admitted", version.name, version.digest)]
    PlaybookNotAdmitted {
        /// The remediation.
        remediation: RemediationName,
        /// What it uses.
        version: PlaybookVersion,
    },
    /// A remediation's parameters are not exactly those that the manifest declares.
    #[error("remediation {remediation} gives other parameters than its playbook declares")]
    Parameters {
        /// The remediation.
        remediation: RemediationName,
    },
    /// The publisher's key is not trusted.
    #[error("the publisher {0} is not trusted with this key")]
    PublisherNotTrusted(PublisherName),
    /// The playbook's earlier versions come from another publisher.
    #[error("the playbook {playbook} is published by {publisher}")]
    PublisherDiffers {
        /// The playbook.
        playbook: PlaybookName,
        /// Who published it before.
        publisher: PublisherName,
    },
    /// Nothing is stopped, and no breaker is open, in exactly this scope.
    #[error("nothing is stopped in the scope {0}")]
    NotStopped(Scope),
    /// The host was never enrolled.
    #[error("the host {0} is not enrolled")]
    UnknownHost(HostId),
    /// The host is quarantined, revoked, or does not describe itself as enrolled.
    #[error("the host {0} is not active")]
    HostNotActive(HostId),
    /// A revoked host stays revoked; it is enrolled anew.
    #[error("the host {0} is revoked, and enrols anew")]
    Revoked(HostId),
    /// No remediation answers the check.
    #[error("no remediation answers the check {0}")]
    NoRemediation(CheckRef),
    /// Drills run in staging, on hosts that carry the service and whose owner allows them.
    #[error("the host {0} is not in staging, does not carry the service, or its owner refuses drills")]
    DrillsRefused(HostId),
    /// The remediation does not act by itself in staging, so nothing would heal the fault.
    #[error("the remediation is in mode {} in staging, so nothing would heal the fault", .0.as_str())]
    DrillMode(Mode),
    /// The playbook does not declare this fault.
    #[error("the playbook does not declare this fault")]
    UndeclaredFault,
    /// A drill runs on the host already, or its id is known.
    #[error("the drill {0} runs already")]
    DrillRuns(DrillId),
}

impl PersonRequest {
    /// The action's name for policies and records.
    #[must_use]
    pub const fn action(&self) -> PersonAction {
        match self {
            Self::CreateToken { .. } => PersonAction::CreateToken,
            Self::SetConfiguration { .. } => PersonAction::SetConfiguration,
            Self::AdmitPlaybook { .. } => PersonAction::AdmitPlaybook,
            Self::TrustPublisher { .. } => PersonAction::TrustPublisher,
            Self::GrantRole { .. } | Self::AddPerson { .. } => PersonAction::GrantRole,
            Self::RevokePerson { .. } => PersonAction::RevokePerson,
            Self::RenewCertificate { .. } => PersonAction::RenewCertificate,
            Self::Stop { .. } => PersonAction::Stop,
            Self::Resume { .. } => PersonAction::Resume,
            Self::StartDrill { .. } => PersonAction::StartDrill,
            Self::WishRun { .. } => PersonAction::WishRun,
            Self::SetHostState { .. } => PersonAction::SetHostState,
        }
    }

    /// What it is about, for the record of a refusal.
    #[must_use]
    pub fn resource(&self) -> String {
        match self {
            Self::CreateToken { environment, .. } => format!("environment:{environment}"),
            Self::SetConfiguration { .. } => "configuration".to_owned(),
            Self::AdmitPlaybook { admission, .. } => {
                format!("playbook:{}@{}", admission.manifest.playbook.name, admission.digest)
            }
            Self::TrustPublisher { publisher, .. } => format!("publisher:{publisher}"),
            Self::GrantRole { person, role } | Self::AddPerson { person, role, .. } => {
                format!("person:{person}/{}", role.as_str())
            }
            Self::RevokePerson { person, .. } => format!("person:{person}"),
            Self::RenewCertificate { .. } => OWN_CERTIFICATE.to_owned(),
            Self::Stop { scope, .. } | Self::Resume { scope, .. } => scope.to_string(),
            Self::StartDrill { host, check, .. } | Self::WishRun { host, check } => format!("host:{host}/{check}"),
            Self::SetHostState { host, state, .. } => format!("host:{host}/{}", state.as_str()),
        }
    }
}

pub(super) fn decide(state: &State, now: Now, command: &PersonCommand) -> Decision {
    let refused = |refusal| Decision::nothing(Outcome::PersonRefused(refusal));
    match &command.authorised {
        Authorisation::Allowed => match accept(state, now, &command.by, &command.request) {
            Ok(bodies) if bodies.is_empty() => Decision::nothing(Outcome::Unchanged),
            Ok(bodies) => Decision::own(bodies),
            Err(refusal) => refused(refusal),
        },
        Authorisation::Denied { policies } => {
            let (by, action) = (command.by.clone(), command.request.action());
            let record = ActionRefused {
                by: by.clone(),
                action: action.as_str().to_owned(),
                resource: command.request.resource(),
                policies: policies.clone(),
            };
            let append = Decision::own(vec![Body::ActionRefused(Box::new(record))]).append;
            let refusal = PersonRefusal::NotAuthorised { by, action, policies: policies.clone() };
            Decision { append, outcome: Outcome::PersonRefused(refusal) }
        }
    }
}

/// The bodies to append; none when it is so already.
fn accept(state: &State, now: Now, by: &PersonName, request: &PersonRequest) -> Result<Vec<Body>, PersonRefusal> {
    match request {
        PersonRequest::CreateToken { token, environment, host, valid_for } => {
            if valid_for.is_zero() || *valid_for > MAX_TOKEN_VALIDITY {
                return Err(PersonRefusal::TokenValidity);
            }
            if state.token(*token).is_some() {
                return Err(PersonRefusal::TokenKnown(*token));
            }
            let open = state.people.open_tokens(now.wall);
            if let Some(clears_at) = open.first_expiry.filter(|_| open.count >= MAX_OPEN_TOKENS) {
                return Err(PersonRefusal::TokensOpen { clears_at });
            }
            let created = TokenCreated {
                token: *token,
                environment: environment.clone(),
                host: host.clone(),
                expires_at: now.wall.plus(*valid_for),
                by: by.clone(),
            };
            Ok(vec![Body::TokenCreated(Box::new(created))])
        }
        PersonRequest::SetConfiguration { services, remediations, replaces } => {
            set_configuration(state, by, services, remediations, *replaces)
        }
        PersonRequest::AdmitPlaybook { admission, key } => admit(state, by, admission, key),
        PersonRequest::TrustPublisher { publisher, key } => {
            let trusted = PublisherTrusted { publisher: publisher.clone(), key: key.clone(), by: by.clone() };
            let known = state.people.trusts(publisher, key);
            Ok(unless(known, Body::PublisherTrusted(Box::new(trusted))))
        }
        PersonRequest::GrantRole { person, role } => {
            let granted = RoleGranted { person: person.clone(), role: *role, by: Some(by.clone()) };
            let known = state.roles(person).contains(role);
            Ok(unless(known, Body::RoleGranted(Box::new(granted))))
        }
        PersonRequest::AddPerson { person, role, certificate } => {
            // Said again for somebody who has the role: it names who let this key speak for them.
            let granted = RoleGranted { person: person.clone(), role: *role, by: Some(by.clone()) };
            let granted = Body::RoleGranted(Box::new(granted));
            Ok(std::iter::once(granted).chain(certified(state, person, certificate)).collect())
        }
        PersonRequest::RenewCertificate { shown, certificate } => {
            if state.is_withdrawn(by, shown) {
                return Err(PersonRefusal::CertificateWithdrawn(by.clone()));
            }
            Ok(certified(state, by, certificate).into_iter().collect())
        }
        PersonRequest::RevokePerson { person, why } => revocation::decide(state, by, person, why),
        PersonRequest::Stop { scope, why } => {
            let why = sound(why)?;
            let order = StopOrder { scope: scope.clone(), epoch: state.stops.epoch.next(), by: by.clone(), why };
            Ok(vec![Body::AutomationStopped(Box::new(order))])
        }
        PersonRequest::Resume { scope, why } => resume(state, by, scope, why),
        PersonRequest::StartDrill { drill, host, check, fault } => {
            start_drill(state, now, by, *drill, *host, check, fault)
        }
        PersonRequest::WishRun { host, check } => {
            let known = state.host(*host).ok_or(PersonRefusal::UnknownHost(*host))?;
            if !known.may_act() {
                return Err(PersonRefusal::HostNotActive(*host));
            }
            state.configuration().answer_to(check).ok_or_else(|| PersonRefusal::NoRemediation(check.clone()))?;
            let wished = RunWished { host: *host, check: check.clone(), by: by.clone() };
            Ok(vec![Body::RunWished(Box::new(wished))])
        }
        PersonRequest::SetHostState { host, state: wanted, why } => set_host_state(state, by, *host, *wanted, why),
    }
}

fn unless(known: bool, body: Body) -> Vec<Body> {
    if known { Vec::new() } else { vec![body] }
}

/// The record of a person's next certificate; `None` before the log is open, when nobody has a role.
pub(super) fn certified(state: &State, person: &PersonName, certificate: &NewCertificate) -> Option<Body> {
    let subject =
        SpiffeId { trust_domain: state.log()?.trust_domain.clone(), principal: Principal::Person(person.clone()) };
    Some(Body::CertificateIssued(Box::new(CertificateIssued {
        subject,
        serial: certificate.serial.clone(),
        generation: state.people.certificate(person).next(),
        not_after: certificate.not_after,
        token: None,
    })))
}

fn sound(why: &str) -> Result<String, PersonRefusal> {
    let sound = !why.trim().is_empty() && why.len() <= MAX_WHY_BYTES && !why.chars().any(char::is_control);
    if sound { Ok(why.to_owned()) } else { Err(PersonRefusal::Why) }
}

fn set_configuration(
    state: &State,
    by: &PersonName,
    services: &[Service],
    remediations: &[Remediation],
    seen: ConfigurationGeneration,
) -> Result<Vec<Body>, PersonRefusal> {
    let current = state.configuration();
    if current.generation() != seen {
        return Err(PersonRefusal::ConfigurationChanged { seen, current: current.generation() });
    }
    if state.configured().is_some() && current.services() == services && current.remediations() == remediations {
        return Ok(Vec::new());
    }
    for remediation in remediations {
        let admitted =
            state.playbooks.version(&remediation.playbook).ok_or_else(|| PersonRefusal::PlaybookNotAdmitted {
                remediation: remediation.name.clone(),
                version: remediation.playbook.clone(),
            })?;
        if !admitted.accepts(&remediation.parameters) {
            return Err(PersonRefusal::Parameters { remediation: remediation.name.clone() });
        }
    }
    let configuration = Configuration::new(current.generation().next(), services.to_vec(), remediations.to_vec())
        .map_err(PersonRefusal::Configuration)?;
    Ok(vec![Body::ConfigurationSet(Box::new(ConfigurationSet { configuration, by: by.clone() }))])
}

fn admit(state: &State, by: &PersonName, admission: &PlaybookAdmitted, key: &str) -> Result<Vec<Body>, PersonRefusal> {
    if !state.people.trusts(&admission.publisher, key) {
        return Err(PersonRefusal::PublisherNotTrusted(admission.publisher.clone()));
    }
    let name = &admission.manifest.playbook.name;
    // Whoever published a name first keeps it: another publisher's package of the same name would
    // inherit its breakers, its configuration and people's trust.
    let other = state.playbooks.named(name).find(|known| known.admission.publisher != admission.publisher);
    if let Some(other) = other {
        let publisher = other.admission.publisher.clone();
        return Err(PersonRefusal::PublisherDiffers { playbook: name.clone(), publisher });
    }
    let known = state.playbook(&admission.digest).is_some();
    let admission = PlaybookAdmitted { by: by.clone(), ..admission.clone() };
    Ok(unless(known, Body::PlaybookAdmitted(Box::new(admission))))
}

fn resume(state: &State, by: &PersonName, scope: &Scope, why: &str) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    let mut bodies = Vec::new();
    if state.stops.in_force(scope).is_some() {
        let order = ResumeOrder { scope: scope.clone(), by: by.clone(), why };
        bodies.push(Body::AutomationResumed(Box::new(order)));
    }
    if state.breakers.is_open(scope) {
        let closed = BreakerClosed { scope: scope.clone(), probe: None };
        bodies.push(Body::BreakerClosed(Box::new(closed)));
    }
    if bodies.is_empty() { Err(PersonRefusal::NotStopped(scope.clone())) } else { Ok(bodies) }
}

fn start_drill(
    state: &State,
    now: Now,
    by: &PersonName,
    drill: DrillId,
    host: HostId,
    check: &CheckRef,
    fault: &Fault,
) -> Result<Vec<Body>, PersonRefusal> {
    let known = state.host(host).ok_or(PersonRefusal::UnknownHost(host))?;
    if !known.may_act() {
        return Err(PersonRefusal::HostNotActive(host));
    }
    let configuration = state.configuration();
    let no_remediation = || PersonRefusal::NoRemediation(check.clone());
    let remediation = configuration.answer_to(check).ok_or_else(no_remediation)?;
    let service = configuration.service(&check.service).ok_or_else(no_remediation)?;
    let playbook = state.playbooks.version(&remediation.playbook).ok_or_else(no_remediation)?;
    let consents = known.description.as_ref().is_some_and(|description| match description.drills {
        DrillConsent::Allowed => true,
        DrillConsent::Refused => false,
    });
    let carries = service.hosts.selects(&known.name, &known.environment) && known.carries(&check.service);
    if !(known.environment.is_staging() && consents && carries) {
        return Err(PersonRefusal::DrillsRefused(host));
    }
    match remediation.mode_in(&known.environment) {
        Mode::Auto => {}
        mode @ (Mode::Observe | Mode::Approve) => return Err(PersonRefusal::DrillMode(mode)),
    }
    let manifest = &playbook.admission.manifest;
    if !manifest.drills.contains(&DrillDeclaration { fault: fault.kind, on: fault.on.clone() }) {
        return Err(PersonRefusal::UndeclaredFault);
    }
    if let Some(running) = state.drills.on_host(host).or_else(|| state.drills.get(drill)) {
        return Err(PersonRefusal::DrillRuns(running.drill.drill));
    }
    let longest = DRILL_ALLOWANCE.saturating_add(manifest.limits.duration.0).saturating_add(manifest.confirm.within.0);
    let started = Drill {
        drill,
        playbook: remediation.playbook.clone(),
        host,
        service: check.service.clone(),
        check: check.check.clone(),
        fault: fault.clone(),
        by: by.clone(),
        deadline: now.wall.plus(longest),
    };
    Ok(vec![Body::DrillStarted(Box::new(started))])
}

fn set_host_state(
    state: &State,
    by: &PersonName,
    host: HostId,
    wanted: HostState,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    let known = state.host(host).ok_or(PersonRefusal::UnknownHost(host))?;
    match (known.state, wanted) {
        (HostState::Revoked, HostState::Active | HostState::Quarantined) => Err(PersonRefusal::Revoked(host)),
        (HostState::Revoked, HostState::Revoked)
        | (
            HostState::Active | HostState::Quarantined,
            HostState::Active | HostState::Quarantined | HostState::Revoked,
        ) => {
            let set = HostStateSet { host, state: wanted, by: Some(by.clone()), why };
            Ok(unless(known.state == wanted, Body::HostStateSet(Box::new(set))))
        }
    }
}

#[cfg(test)]
mod tests;
