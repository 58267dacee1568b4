//! The documents of the operator's API, carried as JSON.
//!
//! One closed enum of commands, one of queries; each variant says what it answers. The command line
//! and, later, the web speak exactly these.

mod break_glass;
mod drill;
mod freeze;
mod host;
mod log;
mod mute;
mod problem;
mod proposal;
mod rollout;
mod run;
mod schedule;
mod service;
mod standing;
mod why;

pub use break_glass::{BREAK_GLASS_HEADER, BreakGlassNotice, BreakGlassRow, BreakGlassStanding};
pub use drill::{DrillStageRow, DrillView};
pub use freeze::{FreezeRow, FreezeStanding};
pub use host::{Connection, HostRow};
pub use log::LogRow;
pub use mute::{HeldBy, MuteRow};
pub use problem::{Problem, ProblemCode};
pub use proposal::{ApprovalRow, ProposalState, ProposalView};
pub use rollout::{
    MAX_RING_HOSTS, RejectionRow, RingHost, RingRow, RingState, RolloutProgress, RolloutStanding, RolloutView,
    SetbackRow, WaitsFor,
};
pub use run::{RunDetail, RunRow, RunState};
pub use schedule::{DueEnd, LastDue, ScheduleRow};
pub use service::{CheckRow, ServiceRow};
pub use standing::{BreakerRow, IncidentRow};
pub use why::{BudgetRow, WhyCheck, WhyDecision};

use fettle_model::breaker::Scope;
use fettle_model::check::CheckRef;
use fettle_model::configuration::Declared;
use fettle_model::counter::{ConfigurationGeneration, LogPosition};
use fettle_model::coverage::Coverage;
use fettle_model::digest::PlaybookDigest;
use fettle_model::evidence::Evidence;
use fettle_model::host::HostState;
use fettle_model::id::{BreakGlassId, DrillId, FreezeId, MuteId, ProposalId, RunId, TokenId};
use fettle_model::identity::Role;
use fettle_model::login::OidcSubject;
use fettle_model::name::{
    EnvironmentName, HostName, PersonName, PlaybookName, PublisherName, RemediationName, ServiceName, TeamName,
};
use fettle_model::person_key::SigningKeyProof;
use fettle_model::playbook::Manifest;
use fettle_model::promotion::PromotionRow;
use fettle_model::rollout::RolloutOrder;
use fettle_model::scenarios::KnownScenarios;
use fettle_model::simulation::{Assume, Edit, Simulation};
use fettle_model::time::UnixMillis;
use fettle_model::why_not::WhyNot;
use serde::{Deserialize, Serialize};

/// Largest document on the operator's API.
pub const MAX_DOCUMENT_BYTES: usize = 12 * 1024 * 1024;

/// Most rows of one answer.
pub const MAX_ROWS: usize = 1_000;

/// Something that changes something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command", deny_unknown_fields)]
pub enum Command {
    /// Creates a join token. Answers [`CommandReply::Token`].
    CreateToken {
        /// The environment into which it enrols.
        environment: EnvironmentName,
        /// The only host that it enrols.
        host: Option<HostName>,
        /// How long it is good; at most 24 h.
        ttl_ms: u64,
    },
    /// Replaces the configuration; playbooks are already resolved to digests. Answers
    /// [`CommandReply::Done`].
    SetConfiguration {
        /// All of it.
        declared: Box<Declared>,
        /// The generation that the caller saw; another one meanwhile is a conflict.
        replaces: ConfigurationGeneration,
    },
    /// Lets a rollout go on, or takes it back. Answers [`CommandReply::Done`].
    OrderRollout {
        /// What.
        order: RolloutOrder,
        /// The generation that the caller saw being rolled out; another one meanwhile is a conflict.
        seen: ConfigurationGeneration,
        /// Why.
        why: String,
    },
    /// Trusts a publisher's key for admission. Answers [`CommandReply::Done`].
    TrustPublisher {
        /// The publisher.
        publisher: PublisherName,
        /// The 32 public bytes, base64.
        key: String,
    },
    /// Starts a drill. Answers [`CommandReply::Drill`].
    StartDrill {
        /// The playbook.
        playbook: PlaybookName,
        /// Where.
        host: HostName,
        /// Of which remediation.
        remediation: RemediationName,
        /// Which of the manifest's drills, by index.
        drill: u32,
    },
    /// Asks a host to ask for a run. Answers [`CommandReply::Done`].
    WishRun {
        /// Where.
        host: HostName,
        /// The check whose remediation is to run.
        check: CheckRef,
    },
    /// Stops automation in a scope. Answers [`CommandReply::Done`].
    Stop {
        /// Where.
        scope: Scope,
        /// Why.
        why: String,
    },
    /// Lets it go on. Answers [`CommandReply::Done`].
    Resume {
        /// Where.
        scope: Scope,
        /// Why.
        why: String,
    },
    /// Freezes a scope for a while. Answers [`CommandReply::Done`].
    Freeze {
        /// Where.
        scope: Scope,
        /// How long; at most [`fettle_model::freeze::MAX_FREEZE`].
        lasts_ms: u64,
        /// Why.
        why: String,
    },
    /// Ends a freeze before its time. Answers [`CommandReply::Done`].
    LiftFreeze {
        /// Which.
        freeze: FreezeId,
        /// Where it is in force: who may lift it depends on that.
        scope: Scope,
        /// Why.
        why: String,
    },
    /// Mutes a scope for a while. Answers [`CommandReply::Done`].
    Mute {
        /// Where.
        scope: Scope,
        /// How long; at most [`fettle_model::mute::MAX_MUTE`].
        lasts_ms: u64,
        /// Why.
        why: String,
    },
    /// Ends a mute before its time. Answers [`CommandReply::Done`].
    LiftMute {
        /// Which.
        mute: MuteId,
        /// Where it is in force: who may lift it depends on that.
        scope: Scope,
        /// Why.
        why: String,
    },
    /// Withdraws or gives back a host's identity. Answers [`CommandReply::Done`].
    SetHostState {
        /// Which host.
        host: HostName,
        /// Its state from now on.
        state: HostState,
        /// Why.
        why: String,
    },
    /// Gives a person a role, a certificate and a signing key. Answers [`CommandReply::Person`].
    AddPerson {
        /// Who.
        person: PersonName,
        /// Which role.
        role: Role,
        /// The team whose services it is about; `None`: the whole installation.
        #[serde(default)]
        team: Option<TeamName>,
        /// Their certificate request, DER, base64. Only its public key is taken.
        csr: String,
        /// Their signing key.
        signing_key: SigningKeyProof,
    },
    /// Registers a signing key for whoever asks and has none. Answers [`CommandReply::Done`].
    SetSigningKey {
        /// The key.
        signing_key: SigningKeyProof,
    },
    /// Gives a person a role, and lets in whom the control plane's OpenID provider knows by this subject as them.
    /// Answers [`CommandReply::Done`].
    RegisterPerson {
        /// Who.
        person: PersonName,
        /// Which role.
        role: Role,
        /// The team whose services it is about; `None`: the whole installation.
        #[serde(default)]
        team: Option<TeamName>,
        /// What the provider calls them (`sub`).
        subject: OidcSubject,
    },
    /// Says yes or no to a proposal. Answers [`CommandReply::Done`].
    GiveApproval {
        /// Which.
        proposal: ProposalId,
        /// The approval-given record, as its author signed it: an envelope.
        record: String,
    },
    /// Gives whoever asks their next certificate, as long as the one in use is good. Answers
    /// [`CommandReply::Person`].
    RenewCertificate {
        /// The certificate request, DER, base64. Only its public key is taken.
        csr: String,
    },
    /// Ends a person's roles, and every certificate that they were given. Answers [`CommandReply::Done`].
    RevokePerson {
        /// Who.
        person: PersonName,
        /// Why.
        why: String,
    },
    /// Ends one role of a person. Answers [`CommandReply::Done`].
    RevokeRole {
        /// Who.
        person: PersonName,
        /// Which role.
        role: Role,
        /// The team whose services it is about; `None`: the whole installation.
        #[serde(default)]
        team: Option<TeamName>,
        /// Why.
        why: String,
    },
    /// Asks for a role for a while. Answers [`CommandReply::Done`].
    AskBreakGlass {
        /// The break-glass-asked record, as its author signed it: an envelope.
        record: String,
    },
    /// Confirms such an ask of somebody else. Answers [`CommandReply::Done`].
    ConfirmBreakGlass {
        /// Which.
        ask: BreakGlassId,
        /// The break-glass-opened record, as its author signed it: an envelope.
        record: String,
    },
    /// Ends broken glass before its time, or withdraws an ask. Answers [`CommandReply::Done`].
    CloseBreakGlass {
        /// Which.
        ask: BreakGlassId,
        /// Why.
        why: String,
    },
    /// Gives a person one more role. Answers [`CommandReply::Done`].
    GrantRole {
        /// Who.
        person: PersonName,
        /// Which role.
        role: Role,
        /// The team whose services it is about; `None`: the whole installation.
        #[serde(default)]
        team: Option<TeamName>,
    },
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply", deny_unknown_fields)]
pub enum CommandReply {
    /// It is in the log here.
    Done {
        /// Position of its first record.
        position: LogPosition,
    },
    /// A join token, shown once.
    Token {
        /// Its public name.
        token: TokenId,
        /// The secret text for the agent's join file.
        secret: String,
        /// The pin of the control plane's root key.
        ca_pin: String,
        /// Where to enrol, `host:port`.
        enrol_address: String,
        /// Where the agent's sessions go after that, `host:port`.
        agents_address: String,
        /// When it expires.
        expires_at: UnixMillis,
    },
    /// A drill has begun.
    Drill {
        /// Its id.
        drill: DrillId,
    },
    /// A person's certificate.
    Person {
        /// Their certificate chain, PEM, leaf first.
        chain: String,
        /// The root certificate, PEM.
        root: String,
    },
    /// A playbook was admitted, or was already.
    Playbook {
        /// Its name.
        name: PlaybookName,
        /// Its digest.
        digest: PlaybookDigest,
    },
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "query", deny_unknown_fields)]
pub enum Query {
    /// All hosts. Answers [`QueryReply::Hosts`].
    Hosts,
    /// All services with their health. Answers [`QueryReply::Services`].
    Services,
    /// The configuration as it is. Answers [`QueryReply::Configuration`].
    Configuration,
    /// Admitted playbooks and their evidence. Answers [`QueryReply::Playbooks`].
    Playbooks,
    /// Runs, newest first. Answers [`QueryReply::Runs`].
    Runs {
        /// At most so many; never more than [`MAX_ROWS`].
        limit: u32,
    },
    /// One run. Answers [`QueryReply::Run`].
    Run {
        /// Which.
        run: RunId,
    },
    /// Why automation did or did not act on a check of a host. Answers [`QueryReply::Why`].
    WhyCheck {
        /// The check.
        check: CheckRef,
        /// The host.
        host: HostName,
    },
    /// How the newest configuration reaches the hosts. Answers [`QueryReply::Rollout`].
    Rollout,
    /// Freezes. Answers [`QueryReply::Freezes`].
    Freezes,
    /// Mutes. Answers [`QueryReply::Mutes`].
    Mutes,
    /// Schedules of drills. Answers [`QueryReply::Schedules`].
    Schedules,
    /// What earns its next mode. Answers [`QueryReply::Promotions`].
    Promotions,
    /// Breakers and stop orders. Answers [`QueryReply::Breakers`].
    Breakers,
    /// Records of the log. Answers [`QueryReply::Log`].
    Log {
        /// From this position; `None`: the newest `limit`.
        from: Option<LogPosition>,
        /// At most so many.
        limit: u32,
    },
    /// One record with the proof that it is in the log. Answers [`QueryReply::Record`].
    Record {
        /// Where it is.
        position: LogPosition,
    },
    /// The verification policy: keys that an auditor pins. Answers [`QueryReply::Policy`].
    Policy,
    /// A drill's progress. Answers [`QueryReply::Drill`].
    Drill {
        /// Which.
        drill: DrillId,
    },
    /// What hosts outside staging need to have proved, and what evidence says of it. Answers
    /// [`QueryReply::Coverage`].
    Coverage,
    /// Whether a playbook would act on a service now, for each host that carries it, and everything that speaks
    /// against it. Answers [`QueryReply::WhyNot`].
    WhyNot {
        /// The playbook.
        playbook: PlaybookName,
        /// The service.
        service: ServiceName,
        /// Hosts after this one, by name; `None`: from the first.
        #[serde(default)]
        after: Option<HostName>,
    },
    /// What edited rules would have done with the faults of the past. Answers [`QueryReply::Simulation`].
    Simulate {
        /// The edit; playbooks are already resolved to digests.
        edit: Box<Edit>,
        /// How long ago it begins to count.
        since_ms: u64,
        /// What becomes of a run of which the log has no like.
        assume: Assume,
    },
    /// Open incidents. Answers [`QueryReply::Incidents`].
    Incidents,
    /// Who asked to break the glass, and for whom it is broken. Answers [`QueryReply::BreakGlass`].
    BreakGlass,
    /// Proposals, newest first. Answers [`QueryReply::Proposals`].
    Proposals,
    /// One proposal. Answers [`QueryReply::Proposal`].
    Proposal {
        /// Which.
        proposal: ProposalId,
    },
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reply", deny_unknown_fields)]
pub enum QueryReply {
    /// Hosts by name.
    Hosts {
        /// One row a host.
        hosts: Vec<HostRow>,
    },
    /// Services by name.
    Services {
        /// One row a service.
        services: Vec<ServiceRow>,
    },
    /// The configuration.
    Configuration {
        /// Its generation.
        generation: ConfigurationGeneration,
        /// What it declares.
        declared: Box<Declared>,
    },
    /// Playbooks by name, the newest version of a name first: the one that the name stands for.
    Playbooks {
        /// One row a version.
        playbooks: Vec<PlaybookRow>,
    },
    /// Runs, newest first.
    Runs {
        /// One row a run.
        runs: Vec<RunRow>,
    },
    /// One run.
    Run {
        /// Everything known of it.
        run: Box<RunDetail>,
    },
    /// Why.
    Why {
        /// Everything known of the check on that host.
        why: Box<WhyCheck>,
    },
    /// Schedules of drills, as the configuration has them.
    Schedules {
        /// They.
        schedules: Vec<ScheduleRow>,
    },
    /// How the newest configuration reaches the hosts.
    Rollout {
        /// How.
        rollout: Box<RolloutView>,
    },
    /// Freezes by hand that are in force, and all by calendar.
    Freezes {
        /// The calendars' first.
        freezes: Vec<FreezeRow>,
    },
    /// Mutes that are in force.
    Mutes {
        /// At most [`fettle_model::mute::MAX_MUTES`].
        mutes: Vec<MuteRow>,
    },
    /// How far everything is that is being earned.
    Promotions {
        /// One row a rung and environment, at most [`MAX_ROWS`].
        promotions: Vec<PromotionRow>,
    },
    /// Breakers that are not closed.
    Breakers {
        /// One row a breaker.
        breakers: Vec<BreakerRow>,
    },
    /// Records.
    Log {
        /// Size of the log.
        size: u64,
        /// One row a record, oldest first.
        records: Vec<LogRow>,
    },
    /// A record.
    Record {
        /// Its row.
        row: LogRow,
        /// fettle-audit `Published`, JSON.
        published: String,
    },
    /// The verification policy as text.
    Policy {
        /// A policy file.
        policy: String,
    },
    /// A drill.
    Drill {
        /// How it stands.
        drill: Box<DrillView>,
    },
    /// What speaks against acting now.
    WhyNot {
        /// One row a host and remediation, by host.
        hosts: Vec<WhyNot>,
        /// Where to go on, when there are more hosts.
        more_after: Option<HostName>,
    },
    /// Needs and evidence, by remediation.
    Coverage {
        /// One row a remediation and class of host, at most [`MAX_ROWS`].
        coverage: Vec<Coverage>,
    },
    /// What edited rules would have done.
    Simulation {
        /// Beside what did happen.
        simulation: Box<Simulation>,
    },
    /// Open incidents.
    Incidents {
        /// One row an incident.
        incidents: Vec<IncidentRow>,
    },
    /// Asks, newest first.
    BreakGlass {
        /// At most 100.
        asks: Vec<BreakGlassRow>,
    },
    /// Proposals, newest first.
    Proposals {
        /// At most 100.
        proposals: Vec<ProposalView>,
    },
    /// A proposal.
    Proposal {
        /// How it stands.
        proposal: Box<ProposalView>,
    },
}

/// A playbook's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaybookRow {
    /// Its digest.
    pub digest: PlaybookDigest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Who signed it.
    pub publisher: PublisherName,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Where it was admitted: the first stage.
    pub admitted: LogPosition,
    /// What its publisher says of its scenarios, and where: the second stage. `None`: nothing.
    pub scenarios: Option<KnownScenarios>,
    /// What it proved: the third stage.
    pub evidence: Vec<Evidence>,
}
