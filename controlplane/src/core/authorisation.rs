//! What the rim hands to Cedar, and what Cedar said.
//!
//! Code computes, Cedar decides: the facts are plain data about one request at one state of the log.

use super::drills::RunningDrill;
use super::groups::Group;
use super::playbooks::Admitted;
use super::proposals::KnownProposal;
use super::state::State;
use fettle_model::digest::PlaybookDigest;
use fettle_model::escalation::Rung;
use fettle_model::host::HostState;
use fettle_model::id::{BreakGlassId, DrillId, HostId, ProposalId};
use fettle_model::identity::HeldRole;
use fettle_model::name::{
    EnvironmentName, PersonName, PlaybookName, PublisherName, RemediationName, ServiceName, TeamName,
};
use fettle_model::permit::{PermitRequest, Purpose};
use fettle_model::playbook::Action;
use fettle_model::remediation::{Mode, Remediation};
use fettle_model::service::Tier;
use serde::Serialize;
use std::collections::BTreeSet;

/// The floor under mode `approve`: what it says besides the governor's own reason is nothing new to a person.
pub const FLOOR_APPROVED: &str = "floor-approved-where-people-decide";

/// Cedar's answer. Any evaluation error is a denial, with the error in place of the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorisation {
    /// Permitted, and nothing forbids it.
    Allowed,
    /// Forbidden, or not permitted.
    Denied {
        /// The ids of the policies that forbade it, or the error; empty when none permitted it.
        policies: Vec<String>,
    },
}

/// What a person asks for, as policies and the log name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PersonAction {
    /// Create a join token.
    CreateToken,
    /// Replace the configuration.
    SetConfiguration,
    /// Admit a playbook version.
    AdmitPlaybook,
    /// Trust a publisher's key.
    TrustPublisher,
    /// Give a person a role.
    GrantRole,
    /// End a person's roles and certificates.
    RevokePerson,
    /// End one role of a person.
    RevokeRole,
    /// Ask for a role for a while.
    AskBreakGlass,
    /// Confirm such an ask of somebody else.
    ConfirmBreakGlass,
    /// End it before its time.
    CloseBreakGlass,
    /// Get one's own next certificate.
    RenewCertificate,
    /// Register one's own signing key.
    SetSigningKey,
    /// Get a certificate by the word of the OpenID provider.
    LogIn,
    /// Stop automation.
    Stop,
    /// Let it go on.
    Resume,
    /// Freeze a scope for a while.
    Freeze,
    /// End a freeze before its time.
    LiftFreeze,
    /// Mute a scope for a while.
    Mute,
    /// End a mute before its time.
    LiftMute,
    /// Start a drill.
    StartDrill,
    /// Ask for a run by hand.
    WishRun,
    /// Quarantine, revoke or reinstate a host.
    SetHostState,
    /// Say yes or no to a proposal.
    Approve,
}

impl PersonAction {
    /// All actions.
    pub const ALL: [Self; 23] = [
        Self::CreateToken,
        Self::SetConfiguration,
        Self::AdmitPlaybook,
        Self::TrustPublisher,
        Self::GrantRole,
        Self::RevokePerson,
        Self::RevokeRole,
        Self::AskBreakGlass,
        Self::ConfirmBreakGlass,
        Self::CloseBreakGlass,
        Self::RenewCertificate,
        Self::SetSigningKey,
        Self::LogIn,
        Self::Stop,
        Self::Resume,
        Self::Freeze,
        Self::LiftFreeze,
        Self::Mute,
        Self::LiftMute,
        Self::StartDrill,
        Self::WishRun,
        Self::SetHostState,
        Self::Approve,
    ];

    /// The action's name in policies and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateToken => "token.create",
            Self::SetConfiguration => "configuration.set",
            Self::AdmitPlaybook => "playbook.admit",
            Self::TrustPublisher => "publisher.trust",
            Self::GrantRole => "role.grant",
            Self::RevokePerson => "person.revoke",
            Self::RevokeRole => "role.revoke",
            Self::AskBreakGlass => "break-glass.ask",
            Self::ConfirmBreakGlass => "break-glass.confirm",
            Self::CloseBreakGlass => "break-glass.close",
            Self::RenewCertificate => "certificate.renew",
            Self::SetSigningKey => "signing-key.set",
            Self::LogIn => "person.log-in",
            Self::Stop => "automation.stop",
            Self::Resume => "automation.resume",
            Self::Freeze => "freeze.declare",
            Self::LiftFreeze => "freeze.lift",
            Self::Mute => "mute.start",
            Self::LiftMute => "mute.lift",
            Self::StartDrill => "drill.start",
            Self::WishRun => "run.wish",
            Self::SetHostState => "host.set-state",
            Self::Approve => "proposal.approve",
        }
    }
}

/// What a person's request is about, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The installation as a whole.
    Installation,
    /// A service.
    Service(ServiceName),
    /// The service of a remediation.
    Remediation(RemediationName),
    /// A person.
    Person(PersonName),
    /// The service of a proposal.
    Proposal(ProposalId),
    /// An ask for a role for a while.
    BreakGlass(BreakGlassId),
}

/// What a person's request is about, as policies see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The installation as a whole; also a service that is not configured, so that only whoever may do
    /// something everywhere is told that.
    Installation,
    /// A configured service.
    Service {
        /// Its name.
        service: ServiceName,
        /// The team that owns it.
        owner: TeamName,
    },
    /// The installation's people, and this one among them.
    Person(PersonName),
    /// An ask for a role for a while.
    BreakGlass {
        /// The team that the role is for; `None`: the whole installation, or an ask that nobody knows.
        team: Option<TeamName>,
        /// Who asked, and who confirmed it.
        people: BTreeSet<PersonName>,
    },
}

/// What a permit is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PurposeKind {
    /// To answer a fault.
    Remediate,
    /// To inject a drill's fault.
    InjectFault,
    /// To answer faults while the control plane cannot be reached.
    Offline,
}

/// Facts about one permit request. `None` means that the log does not know; policies must read it as a no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthorisationFacts {
    /// The host that asks.
    pub host: HostId,
    /// Where it stands; `None`: never enrolled.
    pub host_state: Option<HostState>,
    /// Its environment.
    pub environment: Option<EnvironmentName>,
    /// What the permit is for.
    pub purpose: PurposeKind,
    /// The service.
    pub service: Option<ServiceName>,
    /// How much it matters.
    pub tier: Option<Tier>,
    /// Who owns it.
    pub owner: Option<TeamName>,
    /// The playbook that would run, or that a drill is to prove.
    pub playbook: Option<PlaybookFacts>,
    /// The remediation's mode in the environment.
    pub mode: Option<Mode>,
    /// The drill that runs on the host.
    pub drill: Option<DrillId>,
    /// Who started it.
    pub drill_by: Option<PersonName>,
    /// Hosts in the group.
    pub group_size: u32,
    /// Healthy ones without a permit, the target not counted.
    pub healthy_besides: u32,
    /// Permits of the group whose effects may be in progress.
    pub in_flight: u32,
    /// Runs for this check on this host so far.
    pub attempts: u32,
    /// People who approved the proposal that waits for it.
    pub approvals: u32,
    /// How many must; at least 1.
    pub approvals_required: u32,
}

/// Facts about an admitted playbook version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaybookFacts {
    /// Its name.
    pub name: PlaybookName,
    /// Its digest.
    pub digest: PlaybookDigest,
    /// Who signed it.
    pub publisher: PublisherName,
    /// Every changing action that its grants ask for.
    pub actions: BTreeSet<Action>,
}

impl PlaybookFacts {
    fn of(admitted: &Admitted) -> Self {
        let manifest = &admitted.admission.manifest;
        Self {
            name: manifest.playbook.name.clone(),
            digest: admitted.admission.digest,
            publisher: admitted.admission.publisher.clone(),
            actions: manifest.grants.iter().flat_map(|grant| grant.actions.iter().copied()).collect(),
        }
    }
}

/// The facts about a request, from the log alone. The rim asks Cedar with them and passes the outcome
/// into the command; both must happen at the same state.
#[must_use]
pub fn facts_for_authorisation(state: &State, request: &PermitRequest) -> AuthorisationFacts {
    let host = state.host(request.host);
    let running = state.drills.on_host(request.host);
    let (purpose, check) = match &request.purpose {
        // The same playbook with the same grants, on the same host.
        Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } => {
            (PurposeKind::Remediate, Some(check.clone()))
        }
        Purpose::Offline { check, .. } => (PurposeKind::Offline, Some(check.clone())),
        Purpose::InjectFault { drill, .. } => {
            (PurposeKind::InjectFault, running.filter(|running| running.drill.drill == *drill).map(RunningDrill::check))
        }
    };
    let configuration = host.map_or_else(|| state.configuration(), |host| state.configuration_of(host));
    let service = check.as_ref().and_then(|check| configuration.service(&check.service));
    let answer = check.as_ref().and_then(|check| configuration.answer_to(check));
    let remediation = answer.and_then(|answer| answer.at(rung_asked_for(answer, request, running)));
    let group = match (service, host) {
        (Some(service), Some(host)) => Some(Group::of(state, service, &host.environment)),
        (Some(_) | None, Some(_) | None) => None,
    };
    let proposal = check.as_ref().and_then(|check| state.proposals.open_at(request.host, check));
    AuthorisationFacts {
        approvals: proposal.map_or(0, KnownProposal::count),
        approvals_required: proposal.map_or(1, |known| known.proposal.required.max(1)),
        host: request.host,
        host_state: host.map(|host| host.state),
        environment: host.map(|host| host.environment.clone()),
        purpose,
        service: service.map(|service| service.name.clone()),
        tier: service.map(|service| service.tier),
        owner: service.map(|service| service.owner.clone()),
        playbook: remediation
            .as_deref()
            .and_then(|remediation| state.playbooks.version(&remediation.playbook))
            .map(PlaybookFacts::of),
        mode: remediation.as_deref().zip(host).map(|(remediation, host)| remediation.mode_in(&host.environment)),
        drill: running.map(|running| running.drill.drill),
        drill_by: running.map(|running| running.drill.by.clone()),
        group_size: group.as_ref().map_or(0, Group::size),
        healthy_besides: group.as_ref().map_or(0, |group| group.healthy_besides(request.host)),
        in_flight: group.as_ref().map_or(0, Group::in_flight),
        attempts: check.map_or(0, |check| state.attempts(request.host, &check).count),
    }
}

/// The rung whose playbook would run, or which a drill is to prove.
fn rung_asked_for(answer: &Remediation, request: &PermitRequest, running: Option<&RunningDrill>) -> Rung {
    match &request.purpose {
        Purpose::Remediate { rung, .. } => *rung,
        // Only a list's first playbook is given in advance.
        Purpose::Offline { .. } => Rung::FIRST,
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } => {
            running.and_then(|running| answer.rung_of(&running.drill.playbook)).unwrap_or_default()
        }
    }
}

impl State {
    /// What a request is about, as the configuration in force has it.
    #[must_use]
    pub fn resource(&self, subject: &Subject) -> Resource {
        let configuration = self.configuration();
        let service = match subject {
            Subject::Installation => return Resource::Installation,
            Subject::Person(person) => return Resource::Person(person.clone()),
            Subject::BreakGlass(ask) => return self.asked(*ask),
            Subject::Service(service) => configuration.service(service),
            Subject::Proposal(proposal) => {
                self.proposal(*proposal).and_then(|known| configuration.service(&known.proposal.check.service))
            }
            Subject::Remediation(remediation) => configuration
                .remediation(remediation)
                .and_then(|remediation| configuration.service(&remediation.service)),
        };
        service.map_or(Resource::Installation, |service| Resource::Service {
            service: service.name.clone(),
            owner: service.owner.clone(),
        })
    }

    fn asked(&self, ask: BreakGlassId) -> Resource {
        let known = self.glass(ask);
        let opened = known.and_then(|known| known.opened.as_ref());
        Resource::BreakGlass {
            team: known.and_then(|known| known.asked.team.clone()),
            people: known.map(|known| &known.by).into_iter().chain(opened.map(|opened| &opened.by)).cloned().collect(),
        }
    }

    /// The roles that a person was given; none for somebody whom the log does not know.
    #[must_use]
    pub fn roles(&self, person: &PersonName) -> BTreeSet<HeldRole> {
        self.people.roles.get(person).cloned().unwrap_or_default()
    }
}
