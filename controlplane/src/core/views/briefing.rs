//! What an agent must be told when it connects, and whom to nudge when something changes.

use crate::core::answers::KnownRefusal;
use crate::core::drills::NextRun;
use crate::core::governor::waits_for_a_change;
use crate::core::state::State;
use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::{AgentSequence, LogPosition};
use fettle_model::id::{DrillId, HostId};
use fettle_model::record::Kind;
use fettle_model::remediation::Remediation;
use std::collections::BTreeSet;

/// Positions of the records that an agent must hold, each to be sent with its proof. Answers to its requests
/// are not among them: it says itself which it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Briefing {
    /// The last of its own records that is in the log.
    pub acknowledged: AgentSequence,
    /// The configuration.
    pub configuration: Option<LogPosition>,
    /// Every playbook version that the configuration uses.
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
        configuration: state.configured().map(|stamp| stamp.position),
        playbooks: playbooks_in_use(state),
        orders: orders.into_iter().collect(),
        drill: state.drills.on_host(host).map(|running| running.started.position),
        wanted: waiting_drill(state, host),
        last_record: known.last_record.map(|stamp| stamp.position),
    })
}

/// Positions of the admissions of every version that the configuration uses.
#[must_use]
pub fn playbooks_in_use(state: &State) -> Vec<LogPosition> {
    let positions: BTreeSet<LogPosition> = state
        .configuration()
        .remediations()
        .iter()
        .flat_map(Remediation::playbooks)
        .filter_map(|version| state.playbooks.version(version))
        .map(|admitted| admitted.stamp.position)
        .collect();
    positions.into_iter().collect()
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
        | Kind::TokenCreated
        | Kind::HostEnrolled
        | Kind::CertificateIssued
        | Kind::PublisherTrusted
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
        | Kind::AutomationStopped
        | Kind::DrillStarted
        | Kind::DrillStagePassed
        | Kind::ScheduleRefused
        | Kind::DrillEnded
        | Kind::IncidentOpened
        | Kind::ActionRefused
        | Kind::ForkSeen
        | Kind::RunWished
        | Kind::RequestWithheld => false,
    }
}
