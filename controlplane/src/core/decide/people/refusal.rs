//! Why a person is refused. Told by the operators' API with a remedy beside it.

use super::{MAX_OPEN_TOKENS, MAX_WHY_BYTES};
use crate::core::authorisation::PersonAction;
use fettle_model::break_glass::MAX_ASK_WAITS;
use fettle_model::breaker::Scope;
use fettle_model::check::CheckRef;
use fettle_model::configuration::InconsistentConfiguration;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::evidence::FaultKind;
use fettle_model::freeze::{MAX_FREEZE, MAX_FREEZES_BY_HAND};
use fettle_model::id::{BreakGlassId, DrillId, FreezeId, HostId, MuteId, ProposalId, RunId, TokenId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::login::{MAX_TOKEN_AGE, OidcIdentity};
use fettle_model::mute::{MAX_MUTE, MAX_MUTES};
use fettle_model::name::{PersonName, PlaybookName, PublisherName, RemediationName};
use fettle_model::proposal::EndedBecause;
use fettle_model::remediation::{Mode, PlaybookVersion};
use fettle_model::scenarios::ReportFlaw;
use fettle_model::time::{HumanDuration, UnixMillis};
use std::time::Duration;

/// What a person has to do with what they would approve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Involvement {
    /// They wished for the run.
    Wished,
    /// They admitted this version of the playbook.
    Admitted,
    /// They wrote the standing configuration of the remediation.
    Configured,
}

impl Involvement {
    /// The rule's name, as the record of a refusal has it.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Wished => "nobody-approves-what-they-wished-for",
            Self::Admitted => "nobody-approves-a-playbook-that-they-admitted",
            Self::Configured => "nobody-approves-what-they-configured",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Wished => "wished for the run",
            Self::Admitted => "admitted this version of the playbook",
            Self::Configured => "wrote the remediation's configuration",
        }
    }
}

/// Why somebody is not the second person that broken glass needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// They asked.
    Same,
    /// One of the two registered the other's key or identity, and may be both.
    Registered,
}

impl Tie {
    /// The rule's name, as the record of a refusal has it.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Same => "nobody-confirms-what-they-asked-for",
            Self::Registered => "nobody-confirms-for-whom-they-registered",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Same => "they asked for it",
            Self::Registered => "one of the two registered the other's key or identity",
        }
    }
}

/// How an ask ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskEnd {
    /// Nobody confirmed it in time.
    Expired,
    /// It was confirmed before.
    Confirmed,
    /// It was closed, or one of the two was revoked.
    Closed,
}

impl AskEnd {
    const fn words(self) -> &'static str {
        match self {
            Self::Expired => "has expired",
            Self::Confirmed => "was confirmed already",
            Self::Closed => "was closed",
        }
    }
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
    /// Only an administrator replaces a key that stands, by adding the person anew.
    #[error("{0} has a signing key already")]
    SigningKeyStands(PersonName),
    /// A key belongs to one person for ever, and is registered once.
    #[error("this signing key was registered before")]
    SigningKeyKnown,
    /// The certificate came from a login and is not renewed: the provider has to be asked again.
    #[error("the certificate of {0} came from a login, and is not renewed")]
    LogInAgain(PersonName),
    /// The identity is nobody's, or was the person's only until they were revoked.
    #[error("{0} lets nobody in")]
    IdentityUnknown(OidcIdentity),
    /// The identity is somebody else's.
    #[error("{identity} is {person} already")]
    IdentityTaken {
        /// The identity.
        identity: OidcIdentity,
        /// Whose it is.
        person: PersonName,
    },
    /// The person has another identity.
    #[error("{person} is {identity} already")]
    PersonHasIdentity {
        /// Who.
        person: PersonName,
        /// Their identity.
        identity: OidcIdentity,
    },
    /// The token has logged somebody in before.
    #[error("the token was used before")]
    TokenUsed,
    /// The token was issued too long ago, or in the future.
    #[error("the token is older than {}, or from the future", HumanDuration(MAX_TOKEN_AGE))]
    TokenAge {
        /// When, on the provider's clock.
        issued_at: UnixMillis,
    },
    /// They have no key to sign with.
    #[error("{0} has no signing key")]
    NoSigningKey(PersonName),
    /// Somebody else signed it, or they signed with a key that does not stand for them any more.
    #[error("it is not signed by the key that stands for {0}")]
    OtherSigningKey(PersonName),
    /// What they signed is no yes or no of theirs.
    #[error("what was signed is no approval by {0}")]
    NoApproval(PersonName),
    /// No such proposal is known.
    #[error("no proposal {0} is known")]
    UnknownProposal(ProposalId),
    /// It ended.
    #[error("the proposal {proposal} has ended: {}", .because.rule())]
    ProposalOver {
        /// Which.
        proposal: ProposalId,
        /// Why.
        because: EndedBecause,
    },
    /// A permit used it up.
    #[error("the proposal {proposal} was approved, and run {run} was permitted")]
    ProposalGranted {
        /// Which.
        proposal: ProposalId,
        /// The run.
        run: RunId,
    },
    /// The hash that was signed is that of something else.
    #[error("what was signed is not what the proposal {proposal} asks for")]
    OtherRequest {
        /// Which.
        proposal: ProposalId,
    },
    /// A yes to one's own work. This refusal is a record.
    #[error("{by} may not approve it: they {}", .because.words())]
    NotIndependent {
        /// Who.
        by: PersonName,
        /// What they did.
        because: Involvement,
    },
    /// One person counts once.
    #[error("{by} has approved it already")]
    ApprovedAlready {
        /// Who.
        by: PersonName,
    },
    /// The person has no role and was never revoked.
    #[error("the log knows no person {0} with a role")]
    UnknownPerson(PersonName),
    /// What they signed is no ask or confirmation of theirs.
    #[error("what was signed is no break-glass ask or confirmation by {0}")]
    NoBreakGlass(PersonName),
    /// An ask would wait too long, or has expired.
    #[error("an ask waits for more than no time, and at most {}", HumanDuration(MAX_ASK_WAITS))]
    AskWaits,
    /// The ask's id was used before.
    #[error("the ask {0} is known already")]
    AskKnown(BreakGlassId),
    /// They have another ask that waits, or glass that is broken: there is no extension.
    #[error("the ask {0} waits or is open")]
    AskStands(BreakGlassId),
    /// They hold the role already.
    #[error("{person} is {role} already")]
    RoleHeld {
        /// Who.
        person: PersonName,
        /// Which role, and where.
        role: HeldRole,
    },
    /// No such ask is known.
    #[error("no break-glass ask {0} is known")]
    UnknownAsk(BreakGlassId),
    /// It does not wait any more.
    #[error("the ask {ask} {}", .because.words())]
    AskOver {
        /// Which.
        ask: BreakGlassId,
        /// How it ended.
        because: AskEnd,
    },
    /// The digest that was signed is that of something else.
    #[error("what was signed is not what the ask {0} asks for")]
    OtherAsk(BreakGlassId),
    /// There are not two people. This refusal is a record.
    #[error("{by} may not confirm it: {}", .because.words())]
    NoSecondPerson {
        /// Who.
        by: PersonName,
        /// Why.
        because: Tie,
    },
    /// Whoever asked has no role any more, or signs with another key.
    #[error("{0}, who asked, has no role any more, or another signing key")]
    AskerLost(PersonName),
    /// The person does not hold the role in this scope.
    #[error("{person} is not {role}")]
    RoleNotHeld {
        /// Who.
        person: PersonName,
        /// Which role, and where.
        role: HeldRole,
    },
    /// Without them nobody could give a role.
    #[error("{0} is the last administrator")]
    LastAdministrator(PersonName),
    /// Nothing that the role allows is about a service.
    #[error("the role {} is given for the whole installation only", .0.as_str())]
    RoleHasNoTeam(Role),
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
    /// No configuration is being rolled out.
    #[error("no configuration is being rolled out")]
    NoRollout,
    /// The rollout goes on as it is.
    #[error("the rollout is not halted")]
    RolloutRuns,
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
    /// What was brought does not say that the scenarios of this version passed.
    #[error("the second stage of validation is not passed")]
    ScenarioReport(#[source] ReportFlaw),
    /// The version has not passed the stage before a drill.
    #[error("{} {} has no record that its scenarios passed, which comes before a drill", .0.name, .0.digest)]
    NoScenarios(PlaybookVersion),
    /// Nothing is stopped, and no breaker is open, in exactly this scope.
    #[error("nothing is stopped in the scope {0}")]
    NotStopped(Scope),
    /// A freeze by hand is too long, or lasts no time.
    #[error("a freeze of {} is not between a moment and {} days", HumanDuration(*.asked), MAX_FREEZE.as_secs() / 86_400)]
    FreezeLength {
        /// What was asked for.
        asked: Duration,
    },
    /// Too many freezes by hand are in force.
    #[error("{MAX_FREEZES_BY_HAND} freezes by hand are in force")]
    TooManyFreezes,
    /// No freeze by hand of this id is in force in the scope.
    #[error("no freeze {0} is in force there")]
    NotFrozen(FreezeId),
    /// A mute is too long, or lasts no time.
    #[error("a mute of {} is not between a moment and {} days", HumanDuration(*.asked), MAX_MUTE.as_secs() / 86_400)]
    MuteLength {
        /// What was asked for.
        asked: Duration,
    },
    /// Too many mutes are in force.
    #[error("{MAX_MUTES} mutes are in force")]
    TooManyMutes,
    /// No mute of this id is in force in the scope.
    #[error("no mute {0} is in force there")]
    NotMuted(MuteId),
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
    /// The host's owner allows drills, but not this fault for this service.
    #[error("the owner of the host {host} does not name the fault {} for this service", .fault.as_str())]
    FaultRefused {
        /// The host.
        host: HostId,
        /// The fault.
        fault: FaultKind,
    },
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
