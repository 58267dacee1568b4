//! Drives a whole run of a scenario: the machine, a simulated world, an executor, and crashes.

use super::format::Scenario;
use super::trace::trace;
use crate::call::{Call, Reply};
use crate::execution::{Execution, Gone, Trigger};
use crate::journal::Entry;
use crate::machine::{Action, Broken, Charter, Event, InvalidCharter, Machine, Now};
use crate::simulate::{Injection, Sight, SimDeed, World};
use fettle_model::check::CheckRef;
use fettle_model::counter::{ConfigurationGeneration, Fence, StopEpoch, TransitionEpoch};
use fettle_model::digest::PlaybookDigest;
use fettle_model::escalation::Rung;
use fettle_model::id::{BootId, HostId, PermitId, RequestId, RunId};
use fettle_model::name::{InvalidName, Label};
use fettle_model::permit::{Permit, PermittedTarget, Purpose, Target};
use fettle_model::playbook::{GrantKind, Manifest};
use fettle_model::remediation::PlaybookVersion;
use fettle_model::run::{Ending, RunRecord};
use fettle_model::time::{BootInstant, UnixMillis};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// Virtual time between two probes of the check that confirms.
const PROBE_EVERY_MS: u64 = 1_000;
/// 2026-01-01T00:00:00Z: the wall clock at a scenario's beginning.
const EPOCH: UnixMillis = UnixMillis(1_767_225_600_000);
/// Name of what a scenario does not name.
const SIMULATED: &str = "simulated";
/// Most events of one run: the calls that a run may make, and 30 minutes of probes, twice.
const MAX_TURNS: u32 = 40_000;

/// Runs a playbook: calls the host, returns how it ended. Called again, from the beginning, after
/// each crash. When the host is gone it returns at once; what it returns then is not looked at.
pub type Executor<'a> = dyn FnMut(&Trigger, &mut dyn FnMut(Call) -> Result<Reply, Gone>) -> Execution + 'a;

/// When the host crashes, counted in entries of the journal that are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashAt {
    /// Before what follows the entry is begun.
    Before,
    /// When what follows it is done, and nobody has been told.
    After,
}

/// What came of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How the run ended.
    pub outcome: Ending,
    /// What was changed, in order: `service.restart`.
    pub changed: Vec<String>,
    /// The trace.
    pub trace: String,
    /// The record that an agent would sign.
    pub record: RunRecord,
    /// The whole journal.
    pub entries: Vec<Entry<SimDeed>>,
    /// The changeable things in the end.
    pub state: BTreeMap<String, String>,
    /// How often a deed was performed.
    pub performed: usize,
    /// How many records there were: one.
    pub records: usize,
}

impl Report {
    /// What differs from what the scenario expects, one line each. `golden` is the text of the file
    /// that `expect.trace` names.
    #[must_use]
    pub fn differences(&self, scenario: &Scenario, golden: Option<&str>) -> Vec<String> {
        let mut differences = Vec::new();
        let expect = &scenario.expect;
        if self.outcome != expect.outcome {
            let (got, wanted) = (self.outcome.as_str(), expect.outcome.as_str());
            differences.push(format!("the run ended {got} ({}), not {wanted}", self.record.summary));
        }
        if self.changed != expect.changed {
            differences.push(format!("it changed {:?}, not {:?}", self.changed, expect.changed));
        }
        if let Some(golden) = golden
            && golden != self.trace
        {
            let at = self.trace.lines().zip(golden.lines()).take_while(|(got, wanted)| got == wanted).count();
            let (got, wanted) = (self.trace.lines().nth(at), golden.lines().nth(at));
            let (got, wanted) = (got.unwrap_or("(the end)"), wanted.unwrap_or("(the end)"));
            differences.push(format!("line {} of the trace is\n  {got}\nand not\n  {wanted}", at + 1));
        }
        differences
    }
}

/// A scenario could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The manifest and the scenario make no run.
    #[error("no run can be made of the scenario")]
    Charter(#[source] InvalidCharter),
    /// A name of the simulation is none.
    #[error("no run can be made of the scenario")]
    Name(#[source] InvalidName),
    /// The machine refused an event, or did not take its own journal back: a bug.
    #[error("the machine broke")]
    Broken(#[source] Broken),
    /// The run did not end.
    #[error("the run does not end")]
    Endless,
}

/// Runs a scenario.
///
/// # Errors
/// When it does not come to an end: a bug of the machine or of the simulation.
pub fn run(scenario: &Scenario, manifest: &Manifest, executor: &mut Executor<'_>) -> Result<Report, RunError> {
    run_with_crashes(scenario, manifest, &[], Sight::Clear, &BTreeMap::new(), executor)
}

/// Runs a scenario with further injected errors and with crashes: each key of `crashes` counts the
/// entries that were made durable, from 1, over the whole run.
///
/// # Errors
/// As [`run`].
pub fn run_with_crashes(
    scenario: &Scenario,
    manifest: &Manifest,
    injections: &[Injection],
    sight: Sight,
    crashes: &BTreeMap<usize, CrashAt>,
    executor: &mut Executor<'_>,
) -> Result<Report, RunError> {
    let permit = permit(scenario, manifest).map_err(RunError::Name)?;
    let trigger = trigger(scenario, &permit);
    let charter = Charter::new(permit, Some(manifest)).map_err(RunError::Charter)?;
    let injections = scenario.faults.iter().chain(injections).cloned().collect();
    let mut world = World::new(&scenario.world, injections, EPOCH);
    world.set_sight(sight);
    let mut rig = Rig {
        confirming: manifest.confirm.health.clone(),
        boot: charter.permit().boot,
        world,
        durable: Vec::new(),
        written: 0,
        crashes: crashes.clone(),
        performed: 0,
        records: Vec::new(),
        turns: 0,
    };
    let (machine, actions) = Machine::open(charter.clone(), rig.now()).map_err(RunError::Broken)?;
    let mut next = (machine, actions);
    while let Fin::Crashed = Life::new(&mut rig, next.0, next.1).live(&trigger, executor)? {
        next = Machine::resume(charter.clone(), rig.durable.clone(), rig.now()).map_err(RunError::Broken)?;
    }
    let record = rig.records.first().cloned().ok_or(RunError::Endless)?;
    Ok(Report {
        outcome: record.ending,
        changed: rig.world.changed().to_vec(),
        trace: trace(&rig.durable),
        record,
        state: rig.world.state(),
        entries: rig.durable,
        performed: rig.performed,
        records: rig.records.len(),
    })
}

/// What outlives a crash: the world, the durable journal, the signed record.
struct Rig {
    confirming: Label,
    boot: BootId,
    world: World,
    durable: Vec<Entry<SimDeed>>,
    written: usize,
    crashes: BTreeMap<usize, CrashAt>,
    performed: usize,
    records: Vec<RunRecord>,
    turns: u32,
}

impl Rig {
    const fn now(&self) -> Now {
        Now { boot: self.boot, on_boot: BootInstant(self.world.now()), wall: self.world.wall() }
    }
}

/// One life of the effector, from its start to its crash or the run's end.
struct Life<'r> {
    rig: &'r mut Rig,
    machine: Machine<SimDeed>,
    queue: VecDeque<Action<SimDeed>>,
    worker: Worker,
    reply: Option<Reply>,
    watching: Watching,
    next: Armed,
    error: Option<RunError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Worker {
    None,
    Wanted,
    Runs,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Watching {
    Nothing,
    Check,
}

/// Whether the next action is the last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    No,
    AfterNext,
    Crashed,
}

enum Fin {
    Ended,
    Crashed,
}

impl<'r> Life<'r> {
    fn new(rig: &'r mut Rig, machine: Machine<SimDeed>, actions: Vec<Action<SimDeed>>) -> Self {
        let (worker, watching, next) = (Worker::None, Watching::Nothing, Armed::No);
        Self { rig, machine, queue: actions.into(), worker, reply: None, watching, next, error: None }
    }

    fn live(&mut self, trigger: &Trigger, executor: &mut Executor<'_>) -> Result<Fin, RunError> {
        loop {
            self.settle()?;
            if self.next == Armed::Crashed {
                return Ok(Fin::Crashed);
            }
            if self.worker == Worker::Wanted {
                self.worker = Worker::Runs;
                let execution = executor(trigger, &mut |call| self.call(call));
                if let Some(error) = self.error.take() {
                    return Err(error);
                }
                if self.worker == Worker::Runs && self.next != Armed::Crashed {
                    self.feed(Event::WorkerReturned(execution))?;
                }
            } else if self.machine.has_ended() {
                return Ok(Fin::Ended);
            } else {
                self.pass_time()?;
            }
        }
    }

    /// A host call of the executor.
    fn call(&mut self, call: Call) -> Result<Reply, Gone> {
        match self.try_call(call) {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Err(Gone),
            Err(error) => {
                self.error = Some(error);
                Err(Gone)
            }
        }
    }

    fn try_call(&mut self, call: Call) -> Result<Option<Reply>, RunError> {
        if self.worker != Worker::Runs || self.next == Armed::Crashed || self.error.is_some() {
            return Ok(None);
        }
        self.feed(Event::WorkerCalled(call))?;
        loop {
            self.settle()?;
            if self.next == Armed::Crashed {
                return Ok(None);
            }
            match self.reply.take() {
                Some(reply) => return Ok(Some(reply)),
                None if self.worker == Worker::Runs => self.pass_time()?,
                None => return Ok(None),
            }
        }
    }

    /// Nothing is left to do at this instant: time goes by.
    fn pass_time(&mut self) -> Result<(), RunError> {
        let wakes_at = self.machine.wakes_at().ok_or(RunError::Endless)?;
        match self.watching {
            Watching::Check => {
                let status = self.rig.world.status(&self.rig.confirming);
                self.feed(Event::ConfirmSaw(status))?;
                self.rig.world.advance_to(wakes_at.0.min(self.rig.world.now() + PROBE_EVERY_MS));
            }
            Watching::Nothing => {
                self.rig.world.advance_to(wakes_at.0);
                self.feed(Event::Tick)?;
            }
        }
        Ok(())
    }

    fn feed(&mut self, event: Event<SimDeed>) -> Result<(), RunError> {
        self.rig.turns += 1;
        if self.rig.turns > MAX_TURNS {
            return Err(RunError::Endless);
        }
        self.queue.extend(self.machine.handle(self.rig.now(), event).map_err(RunError::Broken)?);
        Ok(())
    }

    /// Carries out what is to be done, until nothing is, or until the crash.
    fn settle(&mut self) -> Result<(), RunError> {
        while self.next != Armed::Crashed {
            let Some(action) = self.queue.pop_front() else { break };
            let crash_after = self.next == Armed::AfterNext;
            let ends = matches!(action, Action::End(_));
            let event = self.carry_out(action);
            if crash_after && !ends {
                self.next = Armed::Crashed;
            } else if let Some(event) = event {
                self.feed(event)?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, action: Action<SimDeed>) -> Option<Event<SimDeed>> {
        let world = &mut self.rig.world;
        match action {
            Action::Journal(entry) => {
                self.rig.durable.push(entry);
                self.rig.written += 1;
                self.next = match self.rig.crashes.get(&self.rig.written) {
                    Some(CrashAt::Before) => Armed::Crashed,
                    Some(CrashAt::After) => Armed::AfterNext,
                    None => self.next,
                };
                None
            }
            Action::RerunCheck(_) => Some(Event::CheckRerun(world.status(&self.rig.confirming))),
            Action::PlanFault(fault) => Some(Event::FaultPlanned(Err(format!("no fault {} here", fault.on)))),
            Action::StartWorker => {
                self.worker = Worker::Wanted;
                None
            }
            Action::Reply(reply) => {
                self.reply = Some(reply);
                None
            }
            Action::Look(call) => Some(Event::Looked(world.answer(&call))),
            Action::Before(deed) => Some(Event::Prepared(world.before(&deed))),
            // A scenario's log is there at once.
            Action::Publish(intent) => Some(Event::Published { number: intent.number }),
            Action::Perform { deed, before } => {
                self.rig.performed += 1;
                Some(Event::Acted(world.perform(&deed, &before)))
            }
            Action::LookAfterCrash { deed, before } => {
                Some(Event::LookedAfterCrash(world.look_after_crash(&deed, &before)))
            }
            Action::WatchCheck(_) => {
                self.watching = Watching::Check;
                None
            }
            Action::StopWatching => {
                self.watching = Watching::Nothing;
                None
            }
            // No scenario's permit names a kill point: the crashes of `--crash` are at every record.
            Action::EndProcess => {
                self.next = Armed::Crashed;
                None
            }
            Action::KillWorker => {
                self.worker = Worker::Gone;
                None
            }
            Action::End(record) => {
                self.rig.records.push(*record);
                None
            }
        }
    }
}

/// The permit under which a scenario runs: every grant is bound where the world has the thing.
fn permit(scenario: &Scenario, manifest: &Manifest) -> Result<Permit, InvalidName> {
    let id = Uuid::nil();
    let check = CheckRef { service: SIMULATED.parse()?, check: SIMULATED.parse()? };
    let targets = manifest.grants.iter().filter(|grant| match grant.kind {
        GrantKind::Service => scenario.world.service.contains_key(&grant.label),
        GrantKind::Release => scenario.world.release.contains_key(&grant.label),
        GrantKind::Flag => scenario.world.flag.contains_key(&grant.label),
        GrantKind::Health => scenario.world.health.contains_key(&grant.label),
        GrantKind::Facts => true,
    });
    let targets = targets.map(|grant| PermittedTarget {
        label: grant.label.clone(),
        target: match grant.kind {
            GrantKind::Service => Target::CommandService { name: grant.label.to_string() },
            GrantKind::Release => Target::ReleaseRoot { root: "/simulated".to_owned() },
            GrantKind::Flag => Target::Flag { file: "/simulated".to_owned(), key: grant.label.to_string() },
            GrantKind::Health => Target::Health { check: check.clone() },
            GrantKind::Facts => Target::Facts,
        },
        actions: grant.actions.clone(),
    });
    let targets = targets.collect();
    Ok(Permit {
        permit: PermitId::from_uuid(id),
        request: RequestId::from_uuid(id),
        run: RunId::from_uuid(id),
        host: HostId::from_uuid(id),
        boot: BootId::from_uuid(id),
        sent_at: BootInstant(0),
        lease: Duration::from_mins(1),
        run_within: manifest.limits.duration.0,
        effect_within: manifest.limits.duration.0,
        fence: Fence(1),
        stop_epoch: StopEpoch(0),
        configuration: ConfigurationGeneration(1),
        purpose: Purpose::Remediate {
            check,
            epoch: TransitionEpoch(1),
            remediation: SIMULATED.parse()?,
            rung: Rung::FIRST,
        },
        playbook: Some(PlaybookVersion {
            name: manifest.playbook.name.clone(),
            digest: PlaybookDigest::of(manifest.playbook.version.as_bytes()),
        }),
        parameters: scenario.parameters.clone(),
        targets,
        actions: manifest.limits.actions,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill: None,
        kill: None,
        approved: None,
        policies: fettle_model::digest::DocumentDigest::of(b"simulated"),
        grounds: Vec::new(),
    })
}

fn trigger(scenario: &Scenario, permit: &Permit) -> Trigger {
    Trigger {
        run: permit.run,
        incident: None,
        alert: scenario.alert.clone(),
        fired: EPOCH,
        labels: scenario.labels.clone(),
        parameters: scenario.parameters.clone(),
    }
}
