//! Drills: a declared fault on a staging host that a playbook version must heal, and the evidence.
//!
//! Three stages. *Healed*: the fault was injected, the check went critical, the playbook ran, the check passes again.
//! *Repeated*: the playbook ran once more under a permit of its own, with the check passing, and changed nothing.
//! *Killed*: the fault was injected once more, the run that heals it was killed in the middle, it finished all the
//! same, and the check passes again. What follows from each event is in [`follows`].

mod follows;

pub(in crate::core) use follows::{after_loss, after_run, after_transition, after_withheld, overdue};

use super::entry::Stamp;
use super::runs::{Role, Run};
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::counter::{LogPosition, TransitionEpoch};
use fettle_model::digest::PlaybookDigest;
use fettle_model::evidence::{Drill, DrillEnding, DrillResult, DrillStage, DrillStagePassed};
use fettle_model::id::{DrillId, HostId, PermitId, RunId};
use fettle_model::permit::KillPoint;
use fettle_model::run::{Ending, RunRecord};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long evidence counts.
pub const EVIDENCE_VALID_FOR: Duration = Duration::from_hours(30 * 24);

/// A drill is given up this long after the longest its playbook may run and be confirmed, [`DRILL_RUNS`] times: for
/// each of its two faults ten minutes for the agent to ask and inject, and for a check of the slowest sensible pace
/// (a minute, three failures, three recoveries) to notice both ways.
pub const DRILL_ALLOWANCE: Duration = Duration::from_mins(20);

/// How often a drill's playbook runs: to heal, where nothing is wrong, and killed in the middle.
pub(in crate::core) const DRILL_RUNS: u32 = 3;

/// Ended drills kept for views; older ones are in the journal.
const MAX_ENDED: usize = 500;

/// A drill that runs, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningDrill {
    /// What was started.
    pub drill: Drill,
    /// Where.
    pub started: Stamp,
    /// Where the stage before it, the version's scenarios, stands.
    pub scenarios: Option<LogPosition>,
    /// The first fault, and what healed it.
    pub first: Round,
    /// The permit and run that must change nothing.
    pub repetition: Option<(PermitId, RunId)>,
    /// That run's record, once it did not.
    pub repeated: Option<LogPosition>,
    /// The second fault, and what heals it although it is killed.
    pub second: Round,
    /// The stages that it passed, and where.
    pub stages: Vec<(DrillStage, Stamp)>,
}

/// One fault of a drill, from its injection to a check that passes again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// The permit and run that inject the fault.
    pub injection: Option<(PermitId, RunId)>,
    /// The check's first critical transition after that.
    pub critical: Option<(LogPosition, TransitionEpoch)>,
    /// The permit and run that heal it.
    pub healing: Option<(PermitId, RunId)>,
    /// The record of the healing run's success.
    pub healed: Option<Healed>,
    /// The newest passing transition after the critical one, while no other came after it.
    pub passing: Option<LogPosition>,
}

/// A healing run that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healed {
    /// Its record.
    pub at: LogPosition,
    /// The step after which it was resumed, where it was killed.
    pub resumed_at: Option<u32>,
}

/// A run that a drill waits for, and that its host is to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum NextRun {
    /// One that injects the fault.
    Injection,
    /// The one that must change nothing.
    Repetition,
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

    /// The run that it waits for, while nobody has been permitted it. Between two runs the check has to pass.
    pub(in crate::core) fn waits_for(&self) -> Option<NextRun> {
        let passes = self.first.passing.is_some();
        if self.first.injection.is_none() {
            Some(NextRun::Injection)
        } else if self.has_passed(DrillStage::Healed) && self.repetition.is_none() {
            passes.then_some(NextRun::Repetition)
        } else if self.has_passed(DrillStage::Repeated) && self.second.injection.is_none() {
            passes.then_some(NextRun::Injection)
        } else {
            None
        }
    }

    /// Where the run that heals the present fault is to be killed.
    pub(in crate::core) fn kill_point(&self) -> Option<KillPoint> {
        self.second.injection.map(|_| KillPoint::FirstDeed)
    }

    /// The round of the fault that was injected last.
    #[must_use]
    pub fn round(&self) -> &Round {
        if self.second.injection.is_some() { &self.second } else { &self.first }
    }

    fn round_mut(&mut self) -> &mut Round {
        if self.second.injection.is_some() { &mut self.second } else { &mut self.first }
    }

    pub(in crate::core) fn has_passed(&self, stage: DrillStage) -> bool {
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
                && running.round().critical.is_some_and(|(_, critical)| critical == epoch)
                && running.round().healing.is_none()
        })
    }

    pub(in crate::core) fn start(&mut self, drill: &Drill, scenarios: Option<LogPosition>, stamp: Stamp) {
        let running = RunningDrill {
            drill: drill.clone(),
            started: stamp,
            scenarios,
            first: Round::default(),
            repetition: None,
            repeated: None,
            second: Round::default(),
            stages: Vec::new(),
        };
        self.running.insert(drill.drill, running);
    }

    pub(in crate::core) fn pass(&mut self, passed: &DrillStagePassed, stamp: Stamp) {
        if let Some(running) = self.running.get_mut(&passed.drill) {
            running.stages.push((passed.stage, stamp));
            match passed.stage {
                DrillStage::Repeated => running.repeated = passed.observed.first().copied(),
                DrillStage::Healed | DrillStage::Killed => {}
            }
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
            Role::Injection if running.first.injection.is_none() => running.first.injection = ids,
            Role::Injection => running.second.injection = ids,
            Role::Healing => running.round_mut().healing = ids,
            Role::Repetition => running.repetition = ids,
            Role::Remediation | Role::Budget => {}
        }
    }

    pub(in crate::core) fn on_run_ended(&mut self, ended: &RunRecord, stamp: Stamp) {
        let healing =
            |running: &&mut RunningDrill| running.round().healing.is_some_and(|(healing, _)| healing == ended.permit);
        if ended.ending == Ending::Succeeded
            && let Some(running) = self.running.values_mut().find(healing)
        {
            running.round_mut().healed = Some(Healed { at: stamp.position, resumed_at: ended.resumed_at() });
        }
    }

    pub(in crate::core) fn on_transition(&mut self, host: HostId, transition: &Transition, stamp: Stamp) {
        let concerned = |running: &&mut RunningDrill| {
            running.drill.host == host && running.check() == transition.of && running.first.injection.is_some()
        };
        let Some(running) = self.running.values_mut().find(concerned) else { return };
        let round = running.round_mut();
        match transition.to {
            Status::Critical => {
                round.critical = round.critical.or(Some((stamp.position, transition.epoch)));
                round.passing = None;
            }
            Status::Passing => round.passing = round.critical.map(|_| stamp.position),
            Status::Warning | Status::Unknown => round.passing = None,
        }
    }
}
