//! Drills: a declared fault on a staging host that a playbook version must heal, and the evidence.
//!
//! Two stages. *Healed*: the fault was injected, the check went critical, the playbook ran, the check passes again.
//! *Repeated*: the playbook ran once more under a permit of its own, with the check passing, and changed nothing.

use super::entry::Stamp;
use super::runs::{Role, Run};
use super::state::State;
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::counter::{LogPosition, TransitionEpoch};
use fettle_model::digest::PlaybookDigest;
use fettle_model::evidence::{
    Drill, DrillEnding, DrillResult, DrillStage, DrillStagePassed, Evidence, HostClass, ProvedGrant,
};
use fettle_model::id::{DrillId, HostId, PermitId, RunId};
use fettle_model::permit::Purpose;
use fettle_model::record::Body;
use fettle_model::run::{Change, Ending, RunRecord, StepOutcome};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, RequestWithheld};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long evidence counts.
pub const EVIDENCE_VALID_FOR: Duration = Duration::from_hours(30 * 24);

/// A drill is given up this long after the longest its playbook may run and be confirmed, twice: ten minutes
/// for the agent to ask and inject, and for a check of the slowest sensible pace (a minute, three
/// failures, three recoveries) to notice both ways.
pub const DRILL_ALLOWANCE: Duration = Duration::from_mins(10);

/// Ended drills kept for views; older ones are in the journal.
const MAX_ENDED: usize = 500;

/// A drill that runs, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningDrill {
    /// What was started.
    pub drill: Drill,
    /// Where.
    pub started: Stamp,
    /// The permit and run that inject the fault.
    pub injection: Option<(PermitId, RunId)>,
    /// The check's first critical transition after that.
    pub critical: Option<(LogPosition, TransitionEpoch)>,
    /// The permit and run that heal it.
    pub healing: Option<(PermitId, RunId)>,
    /// The record of the healing run's success.
    pub healed: Option<LogPosition>,
    /// The newest passing transition after the critical one, while no other came after it.
    pub passing: Option<LogPosition>,
    /// The permit and run that must change nothing.
    pub repetition: Option<(PermitId, RunId)>,
    /// The stages that it passed, and where.
    pub stages: Vec<(DrillStage, Stamp)>,
}

/// A drill that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedDrill {
    /// What was started.
    pub drill: Drill,
    /// Where it started.
    pub started: Stamp,
    /// Where it ended.
    pub ended: Stamp,
    /// How.
    pub result: DrillResult,
    /// The stages that it passed, and where.
    pub stages: Vec<(DrillStage, Stamp)>,
}

/// All drills that are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Drills {
    running: BTreeMap<DrillId, RunningDrill>,
    ended: VecDeque<EndedDrill>,
}

impl RunningDrill {
    /// The check that it breaks.
    #[must_use]
    pub fn check(&self) -> CheckRef {
        CheckRef { service: self.drill.service.clone(), check: self.drill.check.clone() }
    }

    /// Whether the playbook is to run once more: it healed the fault, the check passes, and it did not yet.
    #[must_use]
    pub fn may_be_repeated(&self) -> bool {
        self.has_passed(DrillStage::Healed) && self.passing.is_some() && self.repetition.is_none()
    }

    fn has_passed(&self, stage: DrillStage) -> bool {
        self.stages.iter().any(|(passed, _)| *passed == stage)
    }
}

impl Drills {
    pub(in crate::core) fn get(&self, drill: DrillId) -> Option<&RunningDrill> {
        self.running.get(&drill)
    }

    pub(in crate::core) fn running(&self) -> impl Iterator<Item = &RunningDrill> {
        self.running.values()
    }

    pub(in crate::core) fn ended(&self) -> impl DoubleEndedIterator<Item = &EndedDrill> {
        self.ended.iter()
    }

    pub(in crate::core) fn on_host(&self, host: HostId) -> Option<&RunningDrill> {
        self.running.values().find(|running| running.drill.host == host)
    }

    /// The drill whose fault this transition of the check shows, and which this version is to heal.
    pub(in crate::core) fn to_heal(
        &self,
        host: HostId,
        check: &CheckRef,
        epoch: TransitionEpoch,
        playbook: &PlaybookDigest,
    ) -> Option<&RunningDrill> {
        self.on_host(host).filter(|running| {
            &running.check() == check
                && &running.drill.playbook.digest == playbook
                && running.critical.is_some_and(|(_, critical)| critical == epoch)
                && running.healing.is_none()
        })
    }

    pub(in crate::core) fn start(&mut self, drill: &Drill, stamp: Stamp) {
        let running = RunningDrill {
            drill: drill.clone(),
            started: stamp,
            injection: None,
            critical: None,
            healing: None,
            healed: None,
            passing: None,
            repetition: None,
            stages: Vec::new(),
        };
        self.running.insert(drill.drill, running);
    }

    pub(in crate::core) fn pass(&mut self, passed: &DrillStagePassed, stamp: Stamp) {
        if let Some(running) = self.running.get_mut(&passed.drill) {
            running.stages.push((passed.stage, stamp));
        }
    }

    pub(in crate::core) fn end(&mut self, ending: &DrillEnding, stamp: Stamp) {
        let Some(running) = self.running.remove(&ending.drill) else { return };
        self.ended.push_back(EndedDrill {
            drill: running.drill,
            started: running.started,
            ended: stamp,
            result: ending.result.clone(),
            stages: running.stages,
        });
        while self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }

    pub(in crate::core) fn on_granted(&mut self, run: &Run) {
        let Some(running) = run.permit.drill.and_then(|drill| self.running.get_mut(&drill)) else { return };
        let ids = Some((run.permit.permit, run.permit.run));
        match run.role() {
            Role::Injection => running.injection = ids,
            Role::Healing => running.healing = ids,
            Role::Repetition => running.repetition = ids,
            Role::Remediation => {}
        }
    }

    pub(in crate::core) fn on_run_ended(&mut self, permit: PermitId, ending: Ending, stamp: Stamp) {
        let healing = |running: &&mut RunningDrill| running.healing.is_some_and(|(healing, _)| healing == permit);
        if ending == Ending::Succeeded
            && let Some(running) = self.running.values_mut().find(healing)
        {
            running.healed = Some(stamp.position);
        }
    }

    pub(in crate::core) fn on_transition(&mut self, host: HostId, transition: &Transition, stamp: Stamp) {
        let concerned = |running: &&mut RunningDrill| {
            running.drill.host == host && running.check() == transition.of && running.injection.is_some()
        };
        let Some(running) = self.running.values_mut().find(concerned) else { return };
        match transition.to {
            Status::Critical => {
                running.critical = running.critical.or(Some((stamp.position, transition.epoch)));
                running.passing = None;
            }
            Status::Passing => running.passing = running.critical.map(|_| stamp.position),
            Status::Warning | Status::Unknown => running.passing = None,
        }
    }
}

fn not_proved(drill: DrillId, reason: impl Into<String>) -> Body {
    let result = DrillResult::NotProved { reason: reason.into() };
    Body::DrillEnded(Box::new(DrillEnding { drill, result }))
}

/// The drill that a run belongs to, while it runs.
fn drill_of<'a>(state: &'a State, run: &Run) -> Option<&'a RunningDrill> {
    run.permit.drill.and_then(|drill| state.drills.get(drill))
}

/// What follows for a drill from the end of one of its runs; the run's record will stand at `position`.
pub(in crate::core) fn after_run(
    state: &State,
    run: &Run,
    ended: &RunRecord,
    position: LogPosition,
    wall: UnixMillis,
) -> Vec<Body> {
    let Some(running) = drill_of(state, run) else { return Vec::new() };
    let failed =
        |what: &str| vec![not_proved(running.drill.drill, format!("the {what} run ended {}", ended.ending.as_str()))];
    match (run.role(), ended.ending) {
        (Role::Remediation, _) | (Role::Injection, Ending::Succeeded) => Vec::new(),
        // The passing transition may still be on its way.
        (Role::Healing, Ending::Succeeded) => {
            running.passing.map_or_else(Vec::new, |passing| healed(running, position, passing))
        }
        (Role::Repetition, Ending::Succeeded | Ending::Superseded) => match took_effect(ended) {
            None => proved(state, running, position, wall),
            Some(step) => vec![not_proved(running.drill.drill, format!("the second run changed something: {step}"))],
        },
        (Role::Injection, _) => failed("injecting"),
        (Role::Healing, _) => failed("healing"),
        (Role::Repetition, _) => failed("second"),
    }
}

/// The first step of a run that changed something, or may have.
fn took_effect(ended: &RunRecord) -> Option<String> {
    let took = ended.steps.iter().find(|step| match &step.outcome {
        StepOutcome::Done { change: Change::Made, .. } | StepOutcome::Indeterminate { .. } => true,
        StepOutcome::Done { change: Change::Unneeded, .. }
        | StepOutcome::Refused { .. }
        | StepOutcome::Failed { .. } => false,
    });
    took.map(|step| format!("step {}, {} on {}", step.number, step.action.as_str(), step.label))
}

/// What follows for a drill from a run that did not end in a record of its own.
pub(in crate::core) fn after_loss(state: &State, run: &Run, reason: &str) -> Vec<Body> {
    drill_of(state, run).map(|running| not_proved(running.drill.drill, reason)).into_iter().collect()
}

/// What follows for a drill from its host's word that it does not ask for its next run: the end of it, where
/// waiting does not help.
pub(in crate::core) fn after_withheld(state: &State, host: HostId, withheld: &RequestWithheld) -> Vec<Body> {
    let drill = match &withheld.purpose {
        Purpose::InjectFault { drill, .. } | Purpose::Repeat { drill, .. } => drill,
        Purpose::Remediate { .. } => return Vec::new(),
    };
    let lasting: Vec<&str> =
        withheld.because.iter().filter(|hindrance| !hindrance.passes()).map(Hindrance::rule).collect();
    let waiting = state.drills.on_host(host).filter(|running| running.drill.drill == *drill);
    let waits = |running: &&RunningDrill| running.injection.is_none() || running.may_be_repeated();
    match waiting.filter(waits).filter(|_| !lasting.is_empty()) {
        Some(_) => vec![not_proved(*drill, format!("the host cannot run the playbook: {}", lasting.join(", ")))],
        None => Vec::new(),
    }
}

/// What follows for a drill from a transition, which will stand at `position`.
pub(in crate::core) fn after_transition(
    state: &State,
    host: HostId,
    transition: &Transition,
    position: LogPosition,
) -> Vec<Body> {
    let newer = state.host(host).is_some_and(|host| transition.epoch > host.newest_epoch(&transition.of));
    let running = state.drills.on_host(host).filter(|running| running.check() == transition.of);
    match (running, transition.to) {
        (Some(running), Status::Passing) if newer && !running.has_passed(DrillStage::Healed) => {
            running.healed.map_or_else(Vec::new, |at| healed(running, at, position))
        }
        (Some(_) | None, Status::Passing | Status::Warning | Status::Critical | Status::Unknown) => Vec::new(),
    }
}

/// Drills past their deadline.
pub(in crate::core) fn overdue(state: &State, wall: UnixMillis) -> Vec<Body> {
    let overdue = state.drills.running().filter(|running| running.drill.deadline <= wall);
    overdue.map(|running| not_proved(running.drill.drill, "the deadline passed")).collect()
}

fn passed(running: &RunningDrill, stage: DrillStage, observed: Vec<LogPosition>) -> Body {
    let (drill, host) = (running.drill.drill, running.drill.host);
    Body::DrillStagePassed(Box::new(DrillStagePassed { drill, host, stage, observed }))
}

/// The fault was healed: the healing run's record stands at `healed`, the passing transition at `passing`.
fn healed(running: &RunningDrill, healed: LogPosition, passing: LogPosition) -> Vec<Body> {
    match (running.injection, running.critical) {
        (Some(_), Some((critical, _))) => vec![passed(running, DrillStage::Healed, vec![critical, healed, passing])],
        (Some(_) | None, Some(_) | None) => {
            vec![not_proved(running.drill.drill, "it was healed before all of it was seen")]
        }
    }
}

/// The second run changed nothing; its record will stand at `repeated`.
fn proved(state: &State, running: &RunningDrill, repeated: LogPosition, wall: UnixMillis) -> Vec<Body> {
    let drill = &running.drill;
    let (Some((_, injection)), Some((critical, _)), Some((permit, healing)), Some(healed), Some(passing)) =
        (running.injection, running.critical, running.healing, running.healed, running.passing)
    else {
        return vec![not_proved(drill.drill, "the check did not go on passing during the second run")];
    };
    let description = state.host(drill.host).and_then(|host| host.description.as_ref());
    let class = description.and_then(|description| HostClass::of(description, &drill.service));
    let permit = state.runs.permit(permit).map(|run| &run.permit);
    let (Some(class), Some(permit)) = (class, permit) else {
        return vec![not_proved(drill.drill, "the host no longer carries the service")];
    };
    let evidence = Evidence {
        drill: drill.drill,
        playbook: drill.playbook.clone(),
        parameters: permit.parameters.digest(),
        grants: ProvedGrant::of(&permit.targets),
        class,
        fault: drill.fault.clone(),
        injection,
        healing,
        repetition: running.repetition.map(|(_, run)| run),
        observed: vec![critical, healed, passing, repeated],
        expires_at: wall.plus(EVIDENCE_VALID_FOR),
    };
    let ending = DrillEnding { drill: drill.drill, result: DrillResult::Proved };
    vec![
        passed(running, DrillStage::Repeated, vec![repeated]),
        Body::EvidenceEarned(Box::new(evidence)),
        Body::DrillEnded(Box::new(ending)),
    ]
}
