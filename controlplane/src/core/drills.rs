//! Drills: a declared fault on a staging host that a playbook version must heal, and the evidence.

use super::entry::Stamp;
use super::runs::{Role, Run};
use super::state::State;
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::counter::{LogPosition, TransitionEpoch};
use fettle_model::digest::PlaybookDigest;
use fettle_model::evidence::{Drill, DrillEnding, DrillResult, Evidence, HostClass};
use fettle_model::id::{DrillId, HostId, PermitId, RunId};
use fettle_model::permit::Purpose;
use fettle_model::record::Body;
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, RequestWithheld};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long evidence counts.
pub const EVIDENCE_VALID_FOR: Duration = Duration::from_hours(30 * 24);

/// A drill is given up this long after the longest its playbook may run and be confirmed: ten minutes
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
    /// The newest passing transition after the critical one.
    pub passing: Option<LogPosition>,
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
        };
        self.running.insert(drill.drill, running);
    }

    pub(in crate::core) fn end(&mut self, ending: &DrillEnding, stamp: Stamp) {
        let Some(running) = self.running.remove(&ending.drill) else { return };
        self.ended.push_back(EndedDrill {
            drill: running.drill,
            started: running.started,
            ended: stamp,
            result: ending.result.clone(),
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
    ending: Ending,
    position: LogPosition,
    wall: UnixMillis,
) -> Vec<Body> {
    let Some(running) = drill_of(state, run) else { return Vec::new() };
    let what = match run.role() {
        Role::Injection => "injecting",
        Role::Healing => "healing",
        Role::Remediation => return Vec::new(),
    };
    if ending != Ending::Succeeded {
        return vec![not_proved(running.drill.drill, format!("the {what} run ended {}", ending.as_str()))];
    }
    match (run.role(), running.passing) {
        (Role::Healing, Some(passing)) => proved(state, running, position, passing, wall),
        // The passing transition is still on its way, or the fault has only just been injected.
        (Role::Healing | Role::Injection | Role::Remediation, _) => Vec::new(),
    }
}

/// What follows for a drill from a run that did not end in a record of its own.
pub(in crate::core) fn after_loss(state: &State, run: &Run, reason: &str) -> Vec<Body> {
    drill_of(state, run).map(|running| not_proved(running.drill.drill, reason)).into_iter().collect()
}

/// What follows for a drill from its host's word that it does not ask to inject the fault: the end of it, where
/// waiting does not help.
pub(in crate::core) fn after_withheld(state: &State, host: HostId, withheld: &RequestWithheld) -> Vec<Body> {
    let Purpose::InjectFault { drill, .. } = &withheld.purpose else { return Vec::new() };
    let lasting: Vec<&str> =
        withheld.because.iter().filter(|hindrance| !hindrance.passes()).map(Hindrance::rule).collect();
    let waiting = state.drills.on_host(host).filter(|running| running.drill.drill == *drill);
    match waiting.filter(|running| running.injection.is_none() && !lasting.is_empty()) {
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
        (Some(running), Status::Passing) if newer => {
            running.healed.map_or_else(Vec::new, |healed| proved(state, running, healed, position, wall))
        }
        (Some(_) | None, Status::Passing | Status::Warning | Status::Critical | Status::Unknown) => Vec::new(),
    }
}

/// Drills past their deadline.
pub(in crate::core) fn overdue(state: &State, wall: UnixMillis) -> Vec<Body> {
    let overdue = state.drills.running().filter(|running| running.drill.deadline <= wall);
    overdue.map(|running| not_proved(running.drill.drill, "the deadline passed")).collect()
}

fn proved(
    state: &State,
    running: &RunningDrill,
    healed: LogPosition,
    passing: LogPosition,
    wall: UnixMillis,
) -> Vec<Body> {
    let drill = &running.drill;
    let (Some((_, injection)), Some((critical, _)), Some((permit, healing))) =
        (running.injection, running.critical, running.healing)
    else {
        return vec![not_proved(drill.drill, "it was healed before all of it was seen")];
    };
    let description = state.host(drill.host).and_then(|host| host.description.as_ref());
    let class = description.and_then(|description| HostClass::of(description, &drill.service));
    let parameters = state.runs.permit(permit).map(|run| run.permit.parameters.digest());
    let (Some(class), Some(parameters)) = (class, parameters) else {
        return vec![not_proved(drill.drill, "the host no longer carries the service")];
    };
    let evidence = Evidence {
        drill: drill.drill,
        playbook: drill.playbook.clone(),
        parameters,
        class,
        fault: drill.fault.clone(),
        injection,
        healing,
        observed: vec![critical, healed, passing],
        expires_at: wall.plus(EVIDENCE_VALID_FOR),
    };
    let ending = DrillEnding { drill: drill.drill, result: DrillResult::Proved };
    vec![Body::EvidenceEarned(Box::new(evidence)), Body::DrillEnded(Box::new(ending))]
}
