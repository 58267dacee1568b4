//! What follows for a drill from what happens: stages, evidence, its end. Pure; called by the decisions on what
//! agents say and on time alone.

use super::{EVIDENCE_VALID_FOR, Healed, RunningDrill};
use crate::core::runs::{Role, Run};
use crate::core::state::State;
use fettle_model::check::{Status, Transition};
use fettle_model::counter::LogPosition;
use fettle_model::evidence::{
    DrillEnding, DrillResult, DrillStage, DrillStagePassed, Evidence, HostClass, KilledRun, ProvedGrant,
};
use fettle_model::id::{DrillId, HostId, PermitId, RunId};
use fettle_model::permit::{KillPoint, Purpose};
use fettle_model::record::Body;
use fettle_model::run::{Change, Ending, RunRecord, StepOutcome};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, RequestWithheld};

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
        (Role::Remediation | Role::Budget, _) | (Role::Injection, Ending::Succeeded) => Vec::new(),
        (Role::Healing, Ending::Succeeded) if run.permit.kill.is_some() && ended.resumed_at().is_none() => {
            let reason = "the run that was to be killed did nothing to the host, or was never resumed";
            vec![not_proved(running.drill.drill, reason)]
        }
        // The passing transition may still be on its way.
        (Role::Healing, Ending::Succeeded) => running.round().passing.map_or_else(Vec::new, |passing| {
            healed(state, running, Healed { at: position, resumed_at: ended.resumed_at() }, passing, wall)
        }),
        (Role::Repetition, Ending::Succeeded | Ending::Superseded) => match took_effect(ended) {
            None if running.first.passing.is_some() => vec![passed(running, DrillStage::Repeated, vec![position])],
            None => {
                vec![not_proved(running.drill.drill, "the check did not go on passing during the second run")]
            }
            Some(step) => vec![not_proved(running.drill.drill, format!("the second run changed something: {step}"))],
        },
        (Role::Injection, _) => failed("injecting"),
        (Role::Healing, _) if run.permit.kill.is_some() => failed("killed"),
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
        Purpose::Remediate { .. } | Purpose::Offline { .. } => return Vec::new(),
    };
    let lasting: Vec<&str> =
        withheld.because.iter().filter(|hindrance| !hindrance.passes()).map(Hindrance::rule).collect();
    let waiting = state.drills.on_host(host).filter(|running| running.drill.drill == *drill);
    match waiting.filter(|running| running.waits_for().is_some()).filter(|_| !lasting.is_empty()) {
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
    wall: UnixMillis,
) -> Vec<Body> {
    let newer = state.host(host).is_some_and(|host| transition.epoch > host.newest_epoch(&transition.of));
    let running = state.drills.on_host(host).filter(|running| running.check() == transition.of);
    match (running, transition.to) {
        (Some(running), Status::Passing) if newer && !running.has_passed(running.healing_stage()) => {
            running.round().healed.map_or_else(Vec::new, |by| healed(state, running, by, position, wall))
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

impl RunningDrill {
    /// The stage that it passes when its present fault is healed.
    fn healing_stage(&self) -> DrillStage {
        match self.kill_point() {
            None => DrillStage::Healed,
            Some(KillPoint::FirstDeed) => DrillStage::Killed,
        }
    }
}

/// The present fault was healed by this run; the passing transition stands at `passing`.
fn healed(state: &State, running: &RunningDrill, by: Healed, passing: LogPosition, wall: UnixMillis) -> Vec<Body> {
    let Some((critical, _)) = running.round().critical else {
        return vec![not_proved(running.drill.drill, "it was healed before all of it was seen")];
    };
    let stage = running.healing_stage();
    let observed = vec![critical, by.at, passing];
    match stage {
        DrillStage::Healed | DrillStage::Repeated => vec![passed(running, stage, observed)],
        DrillStage::Killed => proved(state, running, by, observed, wall),
    }
}

/// The killed run finished, which was the last stage.
fn proved(state: &State, running: &RunningDrill, by: Healed, last: Vec<LogPosition>, wall: UnixMillis) -> Vec<Body> {
    let drill = &running.drill;
    let Some(Runs { injection, healing: (permit, healing), repetition, killed, mut observed }) = runs(running, by)
    else {
        return vec![not_proved(drill.drill, "not all of its runs were seen")];
    };
    let description = state.host(drill.host).and_then(|host| host.description.as_ref());
    let class = description.and_then(|description| HostClass::of(description, &drill.service));
    let permit = state.runs.permit(permit).map(|run| &run.permit);
    let (Some(class), Some(permit)) = (class, permit) else {
        return vec![not_proved(drill.drill, "the host no longer carries the service")];
    };
    observed.extend(&last);
    let evidence = Evidence {
        drill: drill.drill,
        playbook: drill.playbook.clone(),
        parameters: permit.parameters.digest(),
        grants: ProvedGrant::of(&permit.targets),
        class,
        fault: drill.fault.clone(),
        injection,
        healing,
        repetition: Some(repetition),
        scenarios: running.scenarios,
        killed: Some(killed),
        observed,
        expires_at: wall.plus(EVIDENCE_VALID_FOR),
    };
    let ending = DrillEnding { drill: drill.drill, result: DrillResult::Proved };
    vec![
        passed(running, DrillStage::Killed, last),
        Body::EvidenceEarned(Box::new(evidence)),
        Body::DrillEnded(Box::new(ending)),
    ]
}

/// What a drill's evidence names of its runs.
struct Runs {
    injection: RunId,
    healing: (PermitId, RunId),
    repetition: RunId,
    killed: KilledRun,
    observed: Vec<LogPosition>,
}

/// All runs of a drill, whose last one is `by`; `None` where one is missing, or the last was not killed.
fn runs(running: &RunningDrill, by: Healed) -> Option<Runs> {
    let (first, second) = (&running.first, &running.second);
    let (_, repetition) = running.repetition?;
    let killed = KilledRun { injection: second.injection?.1, healing: second.healing?.1, step: by.resumed_at? };
    let observed = vec![first.critical?.0, first.healed?.at, first.passing?, running.repeated?];
    Some(Runs { injection: first.injection?.1, healing: first.healing?, repetition, killed, observed })
}
