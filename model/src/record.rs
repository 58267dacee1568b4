//! Records: the entries of the log.
//!
//! A record is the payload of a DSSE envelope of type [`RECORD_PAYLOAD_TYPE`], signed by its author.
//! The envelope's bytes are kept as they were signed. The log's records are at once the control
//! plane's events: its state is a projection of them and of nothing else.

use crate::break_glass::{BreakGlassAsked, BreakGlassClosed, BreakGlassOpened};
use crate::breaker::{BreakerClosed, BreakerEased, BreakerOpened, ResumeOrder, StopOrder};
use crate::check::Transition;
use crate::configuration::Configuration;
use crate::counter::{AgentSequence, CertificateGeneration};
use crate::digest::{EnvelopeDigest, KeyId, PlaybookDigest};
use crate::evidence::{Drill, DrillEnding, DrillStagePassed, Evidence};
use crate::freeze::{FreezeDeclared, FreezeLifted};
use crate::host::{HostDescription, HostState};
use crate::id::{HostId, PermitId, RunId, TokenId};
use crate::identity::{Role, SpiffeId, TrustDomain};
use crate::incident::IncidentOpened;
use crate::login::{IdentityRegistered, PersonLoggedIn};
use crate::mute::{MuteLifted, MuteStarted};
use crate::name::{EnvironmentName, HostName, PersonName, PublisherName, TeamName};
use crate::offline::{OfflineExpired, OfflineReturned};
use crate::permit::{Permit, PermitRejection, PermitRequest};
use crate::person_key::PersonKeySet;
use crate::playbook::Manifest;
use crate::promotion::PromotionProposed;
use crate::proposal::{Approval, Proposal, ProposalEnding};
use crate::refusal::Refusal;
use crate::rollout::{ConfigurationRejected, Reach, RolloutAdvanced, RolloutHalted, RolloutOrdered};
use crate::run::{Plan, RunRecord, StepIntended};
use crate::scenarios::ScenariosPassed;
use crate::schedule::ScheduleRefused;
use crate::time::UnixMillis;
use crate::withheld::RequestWithheld;
use serde::{Deserialize, Serialize};

/// DSSE payload type of a [`Record`].
pub const RECORD_PAYLOAD_TYPE: &str = "application/vnd.fettle.record.v1+json";

/// Largest record in bytes of its envelope. A configuration of [`crate::configuration::MAX_SERVICES`]
/// services is the largest body there is.
pub const MAX_RECORD_BYTES: usize = 8 * 1024 * 1024;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Who says so.
    pub author: Author,
    /// When, on the author's wall clock. For people; no rule depends on it.
    pub at: UnixMillis,
    /// What.
    pub body: Body,
}

/// Who says something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Author {
    /// The control plane, by its permit key.
    ControlPlane,
    /// An agent, by its record key, in an unbroken chain.
    Agent {
        /// The host.
        host: HostId,
        /// Its place in the agent's chain, from 1.
        sequence: AgentSequence,
        /// Digest of the agent's record before this one; `None` for the first.
        previous: Option<EnvelopeDigest>,
    },
    /// A person, by the signing key that stands for them at this place of the log.
    Person {
        /// Who.
        person: PersonName,
    },
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $variant:ident($payload:ty) = $code:literal, $text:literal;)*) => {
        /// What a record says. Closed: every kind has a number that is part of the leaf's format.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "kind", content = "body", rename_all = "kebab-case")]
        pub enum Body {
            $($(#[$doc])* $variant(Box<$payload>),)*
        }

        /// A record's kind without its content.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Body {
            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> Kind {
                match self {
                    $(Self::$variant(_) => Kind::$variant,)*
                }
            }
        }

        impl Kind {
            /// All kinds, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its number in the leaf; never reused.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The kind with this number.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name in documents and tables.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

bodies! {
    /// The first record: the log's name and the keys that it starts with.
    LogOpened(LogOpened) = 1, "log-opened";
    /// A person got a role.
    RoleGranted(RoleGranted) = 2, "role-granted";
    /// A join token was created.
    TokenCreated(TokenCreated) = 3, "token-created";
    /// A host was enrolled: its identity and its record key.
    HostEnrolled(HostEnrolled) = 4, "host-enrolled";
    /// A certificate was issued.
    CertificateIssued(CertificateIssued) = 5, "certificate-issued";
    /// A host was quarantined, revoked or made active again.
    HostStateSet(HostStateSet) = 6, "host-state-set";
    /// An agent describes its host.
    HostDescribed(HostDescription) = 7, "host-described";
    /// A publisher's key is trusted for admission.
    PublisherTrusted(PublisherTrusted) = 8, "publisher-trusted";
    /// A playbook version passed admission.
    PlaybookAdmitted(PlaybookAdmitted) = 9, "playbook-admitted";
    /// The configuration was replaced.
    ConfigurationSet(ConfigurationSet) = 10, "configuration-set";
    /// A check changed its status.
    TransitionSeen(Transition) = 11, "transition-seen";
    /// An agent asks for a permit.
    PermitRequested(PermitRequest) = 12, "permit-requested";
    /// The control plane grants one.
    PermitGranted(Permit) = 13, "permit-granted";
    /// The control plane refuses one.
    PermitRefused(Refusal) = 14, "permit-refused";
    /// An agent refuses a permit that it was given.
    PermitRejected(PermitRejected) = 15, "permit-rejected";
    /// A run ended.
    RunEnded(RunRecord) = 16, "run-ended";
    /// A run never reported; its slot is given back, its budget is not.
    RunUnresolved(RunUnresolved) = 17, "run-unresolved";
    /// What a run would do.
    PlanMade(Plan) = 18, "plan-made";
    /// A breaker opened.
    BreakerOpened(BreakerOpened) = 19, "breaker-opened";
    /// A breaker closed.
    BreakerClosed(BreakerClosed) = 20, "breaker-closed";
    /// A person stopped automation.
    AutomationStopped(StopOrder) = 21, "automation-stopped";
    /// A person let it go on.
    AutomationResumed(ResumeOrder) = 22, "automation-resumed";
    /// A drill began.
    DrillStarted(Drill) = 23, "drill-started";
    /// A drill ended.
    DrillEnded(DrillEnding) = 24, "drill-ended";
    /// A playbook version earned evidence.
    EvidenceEarned(Evidence) = 25, "evidence-earned";
    /// People are called.
    IncidentOpened(IncidentOpened) = 26, "incident-opened";
    /// A person was refused something.
    ActionRefused(ActionRefused) = 27, "action-refused";
    /// An agent saw two logs that contradict each other.
    ForkSeen(ForkSeen) = 28, "fork-seen";
    /// A person asked for a run by hand; the agent will be nudged to ask.
    RunWished(RunWished) = 29, "run-wished";
    /// An agent does not ask for a permit, because its host could not run the playbook.
    RequestWithheld(RequestWithheld) = 30, "request-withheld";
    /// A person was revoked: their roles and all certificates until here.
    PersonRevoked(PersonRevoked) = 31, "person-revoked";
    /// A person froze a scope for a while.
    FreezeDeclared(FreezeDeclared) = 32, "freeze-declared";
    /// A person ended a freeze before its time.
    FreezeLifted(FreezeLifted) = 33, "freeze-lifted";
    /// A person muted a scope for a while.
    MuteStarted(MuteStarted) = 34, "mute-started";
    /// A person ended a mute before its time.
    MuteLifted(MuteLifted) = 35, "mute-lifted";
    /// A reason for which a breaker is open has ended.
    BreakerEased(BreakerEased) = 36, "breaker-eased";
    /// A person's signing key was registered.
    PersonKeySet(PersonKeySet) = 40, "person-key-set";
    /// A plan waits for people's yes.
    ProposalMade(Proposal) = 41, "proposal-made";
    /// A person says yes or no to a proposal.
    ApprovalGiven(Approval) = 42, "approval-given";
    /// A proposal ended without a permit.
    ProposalEnded(ProposalEnding) = 43, "proposal-ended";
    /// An administrator said which OpenID identity is a person's.
    IdentityRegistered(IdentityRegistered) = 44, "identity-registered";
    /// A person logged in at an OpenID provider.
    PersonLoggedIn(PersonLoggedIn) = 45, "person-logged-in";
    /// A person asks for a role that a second one is to open for a while.
    BreakGlassAsked(BreakGlassAsked) = 46, "break-glass-asked";
    /// A second person opened it.
    BreakGlassOpened(BreakGlassOpened) = 47, "break-glass-opened";
    /// A person lost a role.
    RoleRevoked(RoleRevoked) = 48, "role-revoked";
    /// A person ended it before its time.
    BreakGlassClosed(BreakGlassClosed) = 49, "break-glass-closed";
    /// A drill passed a stage.
    DrillStagePassed(DrillStagePassed) = 50, "drill-stage-passed";
    /// A drill that was due was not started.
    ScheduleRefused(ScheduleRefused) = 51, "schedule-refused";
    /// A playbook version's scenarios all passed, as its publisher says.
    ScenariosPassed(ScenariosPassed) = 52, "scenarios-passed";
    /// An agent gives what is left of a budget given in advance back.
    OfflineReturned(OfflineReturned) = 53, "offline-returned";
    /// A budget given in advance was not returned in time.
    OfflineExpired(OfflineExpired) = 54, "offline-expired";
    /// An agent is about to do what cannot be taken back, and waits until this is in the log.
    StepIntended(StepIntended) = 55, "step-intended";
    /// A configuration reached one more ring.
    RolloutAdvanced(RolloutAdvanced) = 60, "rollout-advanced";
    /// A rollout halted.
    RolloutHalted(RolloutHalted) = 61, "rollout-halted";
    /// An agent cannot hold a configuration, and keeps what it held.
    ConfigurationRejected(ConfigurationRejected) = 62, "configuration-rejected";
    /// A remediation has earned its next mode.
    PromotionProposed(PromotionProposed) = 63, "promotion-proposed";
    /// A person ordered a rollout to go on or to go back.
    RolloutOrdered(RolloutOrdered) = 66, "rollout-ordered";
}

/// The log's name and the keys that it starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogOpened {
    /// The checkpoint's origin line.
    pub origin: String,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The 32 public bytes of the permit key, base64: signs the control plane's records.
    pub permit_key: String,
    /// The log key as a C2SP verifier key: signs checkpoints.
    pub log_key: String,
}

/// A person got a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleGranted {
    /// Who.
    pub person: PersonName,
    /// Which role.
    pub role: Role,
    /// The team whose services it is about; `None`: the whole installation.
    #[serde(default)]
    pub team: Option<TeamName>,
    /// By whom; `None` at initialisation.
    pub by: Option<PersonName>,
}

/// A person lost one role in one scope. What they hold besides, their certificates and their signing key stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleRevoked {
    /// Who.
    pub person: PersonName,
    /// Which role.
    pub role: Role,
    /// The team whose services it was about; `None`: the whole installation.
    #[serde(default)]
    pub team: Option<TeamName>,
    /// By whom.
    pub by: PersonName,
    /// Why.
    pub why: String,
}

/// A person was revoked: they have no role from here on, and no certificate that they were given before is
/// accepted again, whatever roles they get later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonRevoked {
    /// Who.
    pub person: PersonName,
    /// By whom.
    pub by: PersonName,
    /// Why.
    pub why: String,
}

/// A join token was created. The secret is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCreated {
    /// Its public name.
    pub token: TokenId,
    /// The environment into which it enrols.
    pub environment: EnvironmentName,
    /// The only host name that it enrols, where one was given.
    pub host: Option<HostName>,
    /// When it expires.
    pub expires_at: UnixMillis,
    /// Who created it.
    pub by: PersonName,
}

/// A host was enrolled: once in its life. One that comes back with its record key and a new token gets a
/// certificate ([`CertificateIssued::token`]) and stays who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostEnrolled {
    /// The host.
    pub host: HostId,
    /// Its name for people.
    pub name: HostName,
    /// Its environment.
    pub environment: EnvironmentName,
    /// The 32 public bytes of its record key, base64.
    pub record_key: String,
    /// The token that was used up.
    pub token: TokenId,
}

/// A certificate was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateIssued {
    /// To whom.
    pub subject: SpiffeId,
    /// Its serial number in lower-case hexadecimal.
    pub serial: String,
    /// The subject's certificate count.
    pub generation: CertificateGeneration,
    /// When it ends.
    pub not_after: UnixMillis,
    /// The join token that was used up for it: a host that is enrolled proved its record key and a new token,
    /// because its certificate had expired or was lost. `None` for a host's first certificate, whose token
    /// [`HostEnrolled`] names, for a rotation, and for whoever is no agent.
    pub token: Option<TokenId>,
}

/// A host's state was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostStateSet {
    /// The host.
    pub host: HostId,
    /// Its state from now on.
    pub state: HostState,
    /// By whom; `None` when the control plane did so itself.
    pub by: Option<PersonName>,
    /// Why.
    pub why: String,
}

/// A publisher's key is trusted for admission. Each host's owner decides anew on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublisherTrusted {
    /// The publisher.
    pub publisher: PublisherName,
    /// The 32 public bytes of the key, base64.
    pub key: String,
    /// By whom.
    pub by: PersonName,
}

/// A playbook version passed admission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaybookAdmitted {
    /// SHA-256 of the package.
    pub digest: PlaybookDigest,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Who signed it.
    pub publisher: PublisherName,
    /// With which key.
    pub key: KeyId,
    /// The publisher's DSSE envelope over the [`crate::playbook::Publication`], as text: agents verify it themselves.
    pub publication: String,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Its size.
    pub size_bytes: u64,
    /// Who brought it.
    pub by: PersonName,
}

/// The configuration was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigurationSet {
    /// The whole of it.
    pub configuration: Configuration,
    /// By whom.
    pub by: PersonName,
    /// Whom it reaches from here on.
    #[serde(default)]
    pub reach: Reach,
}

/// An agent refused a permit; nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermitRejected {
    /// The permit, where the envelope could be read.
    pub permit: Option<PermitId>,
    /// The run, where the envelope could be read.
    pub run: Option<RunId>,
    /// SHA-256 of the envelope as it was received.
    pub envelope: EnvelopeDigest,
    /// Why.
    pub because: PermitRejection,
}

/// A run never reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunUnresolved {
    /// The run.
    pub run: RunId,
    /// Its permit.
    pub permit: PermitId,
    /// The host.
    pub host: HostId,
}

/// A person was refused something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionRefused {
    /// Who.
    pub by: PersonName,
    /// What they asked for: the policy action's name.
    pub action: String,
    /// On what.
    pub resource: String,
    /// The policies that forbade it; empty when none permitted it.
    pub policies: Vec<String>,
}

/// An agent saw two logs that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkSeen {
    /// The signed checkpoint that it held.
    pub held: String,
    /// The signed checkpoint that it was given.
    pub given: String,
}

/// A person asked for a run by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunWished {
    /// The host.
    pub host: HostId,
    /// The check whose remediation is to run.
    pub check: crate::check::CheckRef,
    /// Who.
    pub by: PersonName,
}

/// How long a record's body is kept; the leaf stays for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetentionClass {
    /// 400 days: telemetry-like records.
    Operations,
    /// 7 years: decisions, permits, runs, people's actions.
    Regulated,
}

impl RetentionClass {
    /// Its number in the leaf.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Operations => 0,
            Self::Regulated => 1,
        }
    }

    /// The class with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Operations),
            1 => Some(Self::Regulated),
            _ => None,
        }
    }
}

impl Kind {
    /// The class under which records of this kind are kept.
    #[must_use]
    pub const fn retention(self) -> RetentionClass {
        match self {
            Self::TransitionSeen | Self::HostDescribed | Self::PlanMade => RetentionClass::Operations,
            Self::LogOpened
            | Self::RoleGranted
            | Self::TokenCreated
            | Self::HostEnrolled
            | Self::CertificateIssued
            | Self::HostStateSet
            | Self::PublisherTrusted
            | Self::PlaybookAdmitted
            | Self::ScenariosPassed
            | Self::ConfigurationSet
            | Self::PermitRequested
            | Self::PermitGranted
            | Self::PermitRefused
            | Self::PermitRejected
            | Self::RunEnded
            | Self::RunUnresolved
            | Self::BreakerOpened
            | Self::BreakerClosed
            | Self::BreakerEased
            | Self::FreezeDeclared
            | Self::FreezeLifted
            | Self::MuteStarted
            | Self::MuteLifted
            | Self::AutomationStopped
            | Self::AutomationResumed
            | Self::DrillStarted
            | Self::DrillEnded
            | Self::DrillStagePassed
            | Self::ScheduleRefused
            | Self::OfflineReturned
            | Self::OfflineExpired
            | Self::StepIntended
            | Self::EvidenceEarned
            | Self::IncidentOpened
            | Self::ActionRefused
            | Self::ForkSeen
            | Self::RunWished
            | Self::RequestWithheld
            | Self::PersonRevoked
            | Self::BreakGlassAsked
            | Self::BreakGlassOpened
            | Self::BreakGlassClosed
            | Self::RoleRevoked
            | Self::PersonKeySet
            | Self::IdentityRegistered
            | Self::PersonLoggedIn
            | Self::ProposalMade
            | Self::ApprovalGiven
            | Self::ProposalEnded
            | Self::RolloutAdvanced
            | Self::RolloutHalted
            | Self::ConfigurationRejected
            | Self::RolloutOrdered
            | Self::PromotionProposed => RetentionClass::Regulated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_number_and_one_name_in_both_forms() {
        let mut codes: Vec<u8> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::from_code(kind.code()), Some(*kind));
            let json = serde_json::to_value(kind).expect("a kind is JSON");
            assert_eq!(json, kind.as_str());
        }
    }
}
