//! What an agent must be told when it connects, and whom to nudge when something changes.

use crate::core::answers::KnownRefusal;
use crate::core::drills::NextRun;
use crate::core::governor::waits_for_a_change;
use crate::core::state::State;
use fettle_model::check::{CheckRef, Status};
use fettle_model::configuration::Configuration;
use fettle_model::counter::{AgentSequence, ConfigurationGeneration, LogPosition};
use fettle_model::id::{DrillId, HostId};
use fettle_model::record::Kind;
use fettle_model::remediation::Remediation;
use fettle_model::rollout::{Ring, RolloutAdvanced};
use std::collections::BTreeSet;

/// Positions of the records that an agent must hold, each to be sent with its proof. Answers to its requests
/// are not among them: it says itself which it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Briefing {
    /// The last of its own records that is in the log.
    pub acknowledged: AgentSequence,
    /// The configuration that has reached the host.
    pub configuration: Option<LogPosition>,
    /// Every playbook version that this configuration uses.
    pub playbooks: Vec<LogPosition>,
    /// The newest stop or resume order of every scope, in the order of the log.
    pub orders: Vec<LogPosition>,
    /// The drill that runs there.
    pub drill: Option<LogPosition>,
    /// What that drill waits for.
    pub wanted: Option<DrillWish>,
    /// The last record of its chain.
    pub last_record: Option<LogPosition>,
}

/// What an agent must be told when it connects; `None` for an unknown host.
#[must_use]
pub fn briefing(state: &State, host: HostId) -> Option<Briefing> {
    let known = state.host(host)?;
    let orders: BTreeSet<LogPosition> = state.stops.orders.values().map(|order| order.stamp.position).collect();
    Some(Briefing {
        acknowledged: known.head.sequence,
        configuration: state.configured_for(known).map(|stamp| stamp.position),
        playbooks: playbooks_in_use(state, state.configuration_of(known)),
        orders: orders.into_iter().collect(),
        drill: state.drills.on_host(host).map(|running| running.started.position),
        wanted: waiting_drill(state, host),
        last_record: known.last_record.map(|stamp| stamp.position),
    })
}

/// Positions of the admissions of every version that a configuration uses.
#[must_use]
pub fn playbooks_in_use(state: &State, configuration: &Configuration) -> Vec<LogPosition> {
    let positions: BTreeSet<LogPosition> = configuration
        .remediations()
        .iter()
        .flat_map(Remediation::playbooks)
        .filter_map(|version| state.playbooks.version(version))
        .map(|admitted| admitted.stamp.position)
        .collect();
    positions.into_iter().collect()
}

/// What a record lets a configuration reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// The setting of this one.
    BySetting(ConfigurationGeneration),
    /// One more ring.
    ByRing(RolloutAdvanced),
}

/// A configuration on its way to hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub hosts: Vec<HostId>,
    /// The admissions of the playbooks that it uses.
    pub admissions: Vec<LogPosition>,
    /// Where it was set.
    pub configuration: LogPosition,
}

/// Whom of the connected hosts the newest configuration has just reached, and what they are sent; `None` where a newer one
/// was set since.
#[must_use]
pub fn delivery(state: &State, reached: &Reached, connected: &[HostId]) -> Option<Delivery> {
    let newest = state.configuration();
    let (generation, chosen) = match reached {
        Reached::BySetting(generation) => (*generation, None),
        Reached::ByRing(RolloutAdvanced { generation, ring: Ring::All, hosts: _ }) => (*generation, None),
        Reached::ByRing(advanced) => (advanced.generation, Some(&advanced.hosts)),
    };
    let configuration = state.configured().filter(|_| generation == newest.generation())?.position;
    let is_reached = |id: &HostId| {
        let holds_newest =
            state.host(*id).is_some_and(|host| state.configuration_of(host).generation() == newest.generation());
        holds_newest && chosen.is_none_or(|hosts| hosts.contains(id))
    };
    let hosts = connected.iter().copied().filter(is_reached).collect();
    Some(Delivery { hosts, admissions: playbooks_in_use(state, newest), configuration })
}

/// A run that a drill waits for: the host's agent should ask for its permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrillWish {
    /// The one that injects the fault.
    Inject(DrillId),
    /// The one that must change nothing.
    Repeat(DrillId),
}

/// The run that the drill on a host waits for, while nobody has been permitted it.
#[must_use]
pub fn waiting_drill(state: &State, host: HostId) -> Option<DrillWish> {
    let running = state.drills.on_host(host)?;
    let drill = running.drill.drill;
    running.waits_for().map(|next| match next {
        NextRun::Injection => DrillWish::Inject(drill),
        NextRun::Repetition => DrillWish::Repeat(drill),
    })
}

/// An agent that should ask again about a check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nudge {
    /// The host.
    pub host: HostId,
    /// The check.
    pub check: CheckRef,
}

/// Whom to nudge after a record of this kind was applied: hosts whose check is still critical, whose
/// newest answer about it was a refusal that names no time to ask again, and that hold no permit. Empty
/// for kinds that make nothing possible that was refused before.
#[must_use]
pub fn nudges(state: &State, applied: Kind) -> Vec<Nudge> {
    if !opens_a_way(applied) {
        return Vec::new();
    }
    state.answers.newest_refusals().filter_map(|known| waiting_for_a_nudge(state, known)).collect()
}

/// What a host that connects must be nudged about: what made an answer possible meanwhile went past it.
#[must_use]
pub fn nudges_on(state: &State, host: HostId) -> Vec<Nudge> {
    state.answers.newest_refusals_on(host).filter_map(|known| waiting_for_a_nudge(state, known)).collect()
}

fn waiting_for_a_nudge(state: &State, known: &KnownRefusal) -> Option<Nudge> {
    let refusal = &known.refusal;
    let check = refusal.check.clone()?;
    let newest = state.host(refusal.host)?.checks.get(&check)?;
    let waits = waits_for_a_change(&refusal.reasons)
        && newest.transition.to == Status::Critical
        && Some(newest.transition.epoch) == refusal.epoch
        && state.runs.on_host(refusal.host).is_none();
    waits.then_some(Nudge { host: refusal.host, check })
}

/// Whether a record of this kind can take away a reason that names no time.
#[must_use]
pub const fn opens_a_way(kind: Kind) -> bool {
    match kind {
        Kind::ConfigurationSet
        | Kind::RolloutAdvanced
        | Kind::EvidenceEarned
        | Kind::BreakerClosed
        | Kind::BreakerEased
        | Kind::FreezeLifted
        | Kind::AutomationResumed
        | Kind::HostStateSet
        | Kind::HostDescribed
        | Kind::PlaybookAdmitted => true,
        Kind::LogOpened
        | Kind::RoleGranted
        | Kind::PersonRevoked
        | Kind::BreakGlassAsked
        | Kind::BreakGlassOpened
        | Kind::BreakGlassClosed
        | Kind::RoleRevoked
        | Kind::PersonKeySet
        | Kind::IdentityRegistered
        | Kind::PersonLoggedIn
        | Kind::ProposalMade
        | Kind::ApprovalGiven
        | Kind::ProposalEnded
        | Kind::RolloutHalted
        | Kind::RolloutOrdered
        | Kind::ConfigurationRejected
        | Kind::TokenCreated
        | Kind::HostEnrolled
        | Kind::CertificateIssued
        | Kind::PublisherTrusted
        | Kind::ScenariosPassed
        | Kind::TransitionSeen
        | Kind::PermitRequested
        | Kind::PermitGranted
        | Kind::PermitRefused
        | Kind::PermitRejected
        | Kind::RunEnded
        | Kind::RunUnresolved
        | Kind::PlanMade
        | Kind::BreakerOpened
        | Kind::FreezeDeclared
        | Kind::MuteStarted
        | Kind::MuteLifted
        | Kind::AutomationStopped
        | Kind::DrillStarted
        | Kind::DrillStagePassed
        | Kind::ScheduleRefused
        | Kind::OfflineReturned
        | Kind::StepIntended
        | Kind::OfflineExpired
        | Kind::DrillEnded
        | Kind::PromotionProposed
        | Kind::IncidentOpened
        | Kind::ActionRefused
        | Kind::ForkSeen
        | Kind::RunWished
        | Kind::RequestWithheld => false,
    }
}
