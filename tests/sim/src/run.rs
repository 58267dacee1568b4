//! The run in progress on a host: the real machine over the real journal, with a simulated playbook, worker and hands.

use crate::agent::{Life, covers};
use crate::fixture;
use crate::flaw::Flaw;
use crate::host::{Due, Host, RunDue, done};
use crate::scene::Scene;
use crate::truth::{Effect, Halted, Intent, Progress};
use anyhow::Context as _;
use fettle_agent::effector::store::{Opening, Use};
use fettle_model::counter::AgentSequence;
use fettle_model::id::{PermitId, RunId};
use fettle_model::permit::Permit;
use fettle_model::playbook::{self, Reversibility};
use fettle_model::record::Body;
use fettle_model::run::{Claim, RunRecord, StepIntended};
use fettle_model::time::{BootInstant, UnixMillis};
use fettle_sandbox::call::{ActError, Activity, Call, Reply, Revision, ServiceCall, ServiceStatus};
use fettle_sandbox::execution::Execution;
use fettle_sandbox::journal::{Deed as _, Durability, Entry};
use fettle_sandbox::machine::{Action, Charter, Event, Machine};
use fettle_sandbox::simulate::SimDeed;
use std::time::Duration;

/// How long anything takes that only looks, in milliseconds.
const LOOKED: std::ops::Range<u64> = 5..300;
/// Between two probes of the check that confirms.
const WATCHED: Duration = Duration::from_millis(700);
/// Effects: most take seconds, some nearly as long as a permit allows, in milliseconds.
const SHORT: std::ops::Range<u64> = 100..4_000;
const LONG: std::ops::Range<u64> = 10_000..170_000;
/// How long looking waits for what is still at work.
const AT_WORK: Duration = Duration::from_secs(2);

/// A run.
pub(crate) struct Active {
    machine: Machine<SimDeed>,
    permit: Permit,
    entries: u32,
    /// The worker that runs the component; what an earlier one says is void.
    worker: u32,
    replies: Vec<Reply>,
    watching: Watching,
    /// The number of the newest intent.
    intent: u32,
    /// The record of the step that waits for the log, with the step's number.
    announced: Option<(AgentSequence, u32)>,
    wake: Option<BootInstant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watching {
    Nothing,
    Check,
}

impl Active {
    fn new(machine: Machine<SimDeed>, permit: Permit, entries: u32) -> Self {
        let watching = Watching::Nothing;
        let (worker, replies, announced) = (0, Vec::new(), None);
        Self { machine, permit, entries, worker, replies, watching, intent: 0, announced, wake: None }
    }

    pub(crate) const fn permit(&self) -> &Permit {
        &self.permit
    }
}

/// What the component does next: it looks, starts the service anew, and sometimes does so twice. It knows its replies
/// only.
pub(crate) fn next_step(
    action: playbook::Action,
    run: RunId,
    replies: &[Reply],
) -> anyhow::Result<Result<Call, Claim>> {
    let label = fixture::name("worker")?;
    let twice = run.as_uuid().as_u128().is_multiple_of(3);
    let resolved = Claim::Resolved { summary: "restarted".to_owned() };
    let failed = |why: &str| Claim::Failed { summary: why.to_owned(), detail: Vec::new() };
    Ok(match (replies.len(), replies.last()) {
        (0, _) => Ok(Call::Service { label, op: ServiceCall::Status }),
        (2, Some(Reply::Acted(Ok(_)))) if twice => Ok(Call::Service { label, op: ServiceCall::Status }),
        (1 | 3, Some(Reply::Service(Ok(status)))) => {
            let op = ServiceCall::Change { action, expect: status.revision.clone() };
            Ok(Call::Service { label, op })
        }
        (_, Some(Reply::Acted(Ok(_)))) => Err(resolved),
        (_, Some(_) | None) => Err(failed("it did not go as planned")),
    })
}

/// What a look at the service shows.
pub(crate) fn looked(since: UnixMillis, revision: Revision) -> Reply {
    let activity = Activity::Active;
    Reply::Service(Ok(ServiceStatus { activity, since, restarts_last_hour: 0, main_pid: None, revision }))
}

fn charter(scene: &Scene, permit: &Permit) -> anyhow::Result<Charter> {
    let manifest = fixture::manifest(scene.setting.way)?;
    let mut permit = permit.clone();
    if scene.has(Flaw::PlanNotHeld) {
        permit.approved = None;
    }
    Ok(Charter::new(permit, Some(&manifest))?)
}

/// The permit of a stored run, as the effector finds it.
fn permit_of(run: RunId, published: Permit) -> Option<Permit> {
    if published.is_offline() { published.all_units().find(|unit| unit.run == run) } else { Some(published) }
}

impl Host {
    fn active(&mut self) -> Option<&mut Active> {
        self.life.as_mut().and_then(|life| life.run.as_mut())
    }

    /// Opens a run under a permit that was admitted. From here on no crash makes the permit good again.
    pub(crate) fn open(&mut self, scene: &mut Scene, permit: &Permit) -> anyhow::Result<()> {
        let now = self.now(scene);
        let charter = charter(scene, permit)?;
        let (machine, actions) = Machine::open(charter, now)?;
        let Some(Action::Journal(first)) = actions.first() else { return Ok(()) };
        let entry = serde_json::to_string(first)?;
        let life = self.life.as_mut().context("a process that opens a run")?;
        // As it was published: a unit stands in no record.
        let published =
            serde_json::to_string(life.budget.as_ref().filter(|_| permit.unit.is_some()).unwrap_or(permit))?;
        let again = scene.has(Flaw::UnitUsedTwice) && life.store.is_used(permit.permit)? == Use::Before;
        life.store.open_run(&Opening {
            permit: if again { PermitId::from_uuid(scene.mint()) } else { permit.permit },
            request: permit.request,
            run: permit.run,
            fence: permit.fence,
            at: now.wall,
            published: &published,
            entry: &entry,
        })?;
        life.run = Some(Active::new(machine, permit.clone(), 1));
        scene.truth.opens(self.number, permit);
        self.carry_out(scene, actions.into_iter().skip(1).collect())
    }

    /// Takes up what a crash interrupted.
    pub(crate) fn resume(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        let now = self.now(scene);
        let Some(life) = &mut self.life else { return Ok(()) };
        // One at a time is opened.
        if let Some(stored) = life.store.open_runs()?.pop() {
            let published: Permit = serde_json::from_str(&stored.published)?;
            let permit = permit_of(stored.run, published).context("a run under a permit")?;
            let entries =
                stored.entries.iter().map(|entry| serde_json::from_str(entry)).collect::<Result<Vec<_>, _>>()?;
            let charter = charter(scene, &permit)?;
            let written = u32::try_from(entries.len())?;
            scene.truth.counts.resumed += 1;
            let resumed = Machine::resume(charter, entries, now);
            let (machine, actions) = match resumed {
                Ok(resumed) => resumed,
                Err(broken) => {
                    scene.truth.breaks("a run goes on from its journal", format!("run {}: {broken}", stored.run));
                    return Ok(());
                }
            };
            if let Some(life) = &mut self.life {
                life.run = Some(Active::new(machine, permit, written));
            }
            self.carry_out(scene, actions)?;
            return self.halt(scene);
        }
        Ok(())
    }

    /// Ends the run in progress where a stop order covers it.
    pub(crate) fn halt(&mut self, scene: &mut Scene) -> anyhow::Result<()> {
        if scene.has(Flaw::StopIgnored) || self.halted()? == Halted::No {
            return Ok(());
        }
        self.drive(scene, Event::StopOrdered { why: "a rehearsal".to_owned() })
    }

    fn halted(&self) -> anyhow::Result<Halted> {
        let Some(Life { stops, run: Some(active), .. }) = &self.life else { return Ok(Halted::No) };
        for order in stops.all() {
            if covers(order, &active.permit)? {
                return Ok(Halted::Yes);
            }
        }
        Ok(Halted::No)
    }

    fn drive(&mut self, scene: &mut Scene, event: Event<SimDeed>) -> anyhow::Result<()> {
        let now = self.now(scene);
        let Some(active) = self.active() else { return Ok(()) };
        let run = active.permit.run;
        match active.machine.handle(now, event) {
            Ok(actions) => self.carry_out(scene, actions),
            Err(broken) => {
                scene.truth.breaks("a run goes on from its journal", format!("run {run}: {broken}"));
                Ok(())
            }
        }
    }

    fn run_due(&mut self, scene: &mut Scene, delay: Duration, what: RunDue) {
        if let Some(run) = self.active().map(|active| active.permit.run) {
            self.later_in_life(scene, delay, Due::Of { run, what });
        }
    }

    fn carry_out(&mut self, scene: &mut Scene, actions: Vec<Action<SimDeed>>) -> anyhow::Result<()> {
        for action in actions {
            let soon = scene.within(LOOKED);
            match action {
                Action::Journal(entry) => self.write(scene, &entry)?,
                Action::RerunCheck(_) => self.run_due(scene, soon, RunDue::Check),
                Action::WatchCheck(_) => {
                    if let Some(active) = self.active() {
                        active.watching = Watching::Check;
                    }
                    self.run_due(scene, WATCHED, RunDue::Watch);
                }
                Action::StopWatching => {
                    if let Some(active) = self.active() {
                        active.watching = Watching::Nothing;
                    }
                }
                Action::StartWorker => self.worker(scene, None),
                Action::EndProcess => self.crash(scene),
                Action::KillWorker => {
                    if let Some(active) = self.active() {
                        active.worker += 1;
                    }
                }
                Action::Reply(reply) => self.worker(scene, Some(reply)),
                Action::Look(_) => self.run_due(scene, soon, RunDue::Look),
                Action::Before(deed) => self.run_due(scene, soon, RunDue::Before(deed)),
                Action::Publish(intent) => self.announce(scene, *intent)?,
                Action::Perform { deed, .. } => self.perform(scene, deed.reversibility())?,
                Action::LookAfterCrash { before, .. } => self.run_due(scene, soon, RunDue::LookAfterCrash(before)),
                Action::PlanFault(_) => anyhow::bail!("no drill is played here"),
                Action::End(record) => self.ended(scene, *record)?,
            }
            if self.life.is_none() {
                return Ok(());
            }
        }
        self.wake(scene);
        Ok(())
    }

    /// The component goes on: from its beginning, or with a reply.
    fn worker(&mut self, scene: &mut Scene, reply: Option<Reply>) {
        let soon = scene.within(LOOKED);
        let Some(active) = self.active() else { return };
        match reply {
            Some(reply) => active.replies.push(reply),
            None => (active.worker, active.replies) = (active.worker + 1, Vec::new()),
        }
        let worker = active.worker;
        self.run_due(scene, soon, RunDue::Worker(worker));
    }

    /// Makes an entry durable; the process may die right after.
    fn write(&mut self, scene: &mut Scene, entry: &Entry<SimDeed>) -> anyhow::Result<()> {
        let Some(Life { store, run: Some(active), .. }) = &mut self.life else { return Ok(()) };
        let (run, number, text) = (active.permit.run, active.entries, serde_json::to_string(entry)?);
        let mut lost = false;
        if let Entry::Intent { number, .. } = entry {
            active.intent = *number;
            lost = scene.has(Flaw::IntentNotJournalled);
        }
        if !lost {
            active.entries += 1;
            match entry.durability() {
                Durability::AtOnce => store.journal(run, number, &text)?,
                Durability::WithNext => store.ahead(|store| store.journal(run, number, &text))?,
            }
        }
        if scene.mishap(12) {
            self.crash(scene);
        }
        Ok(())
    }

    fn announce(&mut self, scene: &mut Scene, intent: StepIntended) -> anyhow::Result<()> {
        let (run, number) = (intent.run, intent.number);
        self.record(scene, Body::StepIntended(Box::new(intent)), |store, sealed| {
            store.append_until_proven(sealed.as_new())
        })?;
        if scene.has(Flaw::IrreversibleUnpublished) {
            self.run_due(scene, Duration::ZERO, RunDue::Published(number));
        }
        let sequence = self.life.as_ref().map(Life::sequence);
        if let Some(active) = self.active().filter(|active| active.permit.run == run) {
            active.announced = sequence.map(|sequence| (sequence, number));
        }
        Ok(())
    }

    /// The control plane has the records up to this one. In the product the record itself is proven.
    pub(crate) fn logged(&mut self, scene: &mut Scene, up_to: AgentSequence) -> anyhow::Result<()> {
        let Some(active) = self.active() else { return Ok(()) };
        match active.announced.take_if(|(sequence, _)| *sequence <= up_to) {
            Some((_, number)) => self.drive(scene, Event::Published { number }),
            None => Ok(()),
        }
    }

    fn perform(&mut self, scene: &mut Scene, reversibility: Reversibility) -> anyhow::Result<()> {
        let halted = self.halted()?;
        let (host, life_number) = (self.number, self.life_number());
        let Some(Life { store, run: Some(active), .. }) = &self.life else { return Ok(()) };
        let (run, number, permit) = (active.permit.run, active.intent, active.permit.permit);
        let planned = active.permit.approved.as_ref().map(|plan| plan.steps.len());
        let stored = store.open_runs()?.into_iter().find(|stored| stored.run == run);
        let last =
            stored.and_then(|stored| stored.entries.last().map(|entry| serde_json::from_str(entry))).transpose()?;
        let intent = match last {
            Some(Entry::<SimDeed>::Intent { number: known, .. }) if known == number => Intent::Durable,
            Some(_) | None => Intent::Missing,
        };
        let effect = Effect { host, permit, run, number, planned, reversibility, progress: Progress::Under };
        let effect = scene.truth.begins(effect, intent, halted);
        self.thing.effect = Some((effect, life_number, run));
        let long = scene.mishap(250);
        let takes = scene.within(if long { LONG } else { SHORT });
        self.later(scene, takes, crate::host::Timer::EffectEnds { effect });
        if scene.mishap(60) {
            let dies = scene.within(0..3_000);
            self.later(scene, dies, crate::host::Timer::Crash);
        }
        Ok(())
    }

    /// The effect that this life of the process began is over.
    pub(crate) fn acted(&mut self, scene: &mut Scene, run: RunId, progress: Progress) -> anyhow::Result<()> {
        if self.active().is_none_or(|active| active.permit.run != run) {
            return Ok(());
        }
        let result = match progress {
            Progress::Happened => Ok(done()),
            Progress::Failed | Progress::Under => Err(ActError::Failed("it did not start".to_owned())),
        };
        self.drive(scene, Event::Acted(result))
    }

    fn wake(&mut self, scene: &mut Scene) {
        let Some(active) = self.active() else { return };
        let at = active.machine.wakes_at();
        if at != active.wake {
            active.wake = at;
            if let Some(at) = at {
                let delay = self.until(scene, at);
                self.run_due(scene, delay, RunDue::Wake);
            }
        }
    }

    fn ended(&mut self, scene: &mut Scene, record: RunRecord) -> anyhow::Result<()> {
        let run = record.run;
        self.record(scene, Body::RunEnded(Box::new(record)), |store, sealed| {
            store.append_run_end(sealed.as_new(), run)
        })?;
        if let Some(life) = &mut self.life {
            life.run = None;
        }
        let settled = scene.within(1_000..3_000);
        self.later_in_life(scene, settled, Due::Ask);
        Ok(())
    }

    pub(crate) fn of_run(&mut self, scene: &mut Scene, run: RunId, what: RunDue) -> anyhow::Result<()> {
        let (status, revision, before) = (self.thing.status, self.thing.revision(), self.thing.before());
        let (wall, action) = (self.now(scene).wall, fixture::action(scene.setting.way));
        let Some(active) = self.active().filter(|active| active.permit.run == run) else { return Ok(()) };
        let event = match what {
            RunDue::Check => Event::CheckRerun(status),
            RunDue::Worker(worker) if worker == active.worker => match next_step(action, run, &active.replies)? {
                Ok(call) => Event::WorkerCalled(call),
                Err(claim) => Event::WorkerReturned(Execution { claim: Ok(claim), fuel_used: 1 }),
            },
            RunDue::Worker(_) => return Ok(()),
            RunDue::Look => Event::Looked(looked(wall, revision)),
            RunDue::Before(deed) => Event::Prepared(match expected(&deed) {
                Some(expected) if expected != &revision => Err(ActError::Stale(revision)),
                Some(_) | None => Ok(before),
            }),
            RunDue::Published(number) => Event::Published { number },
            RunDue::LookAfterCrash(before) => match self.look_after_crash(scene, &before) {
                Some(look) => Event::LookedAfterCrash(look),
                None => {
                    self.run_due(scene, AT_WORK, RunDue::LookAfterCrash(before));
                    return Ok(());
                }
            },
            RunDue::Watch if active.watching == Watching::Check => {
                self.run_due(scene, WATCHED, RunDue::Watch);
                Event::ConfirmSaw(status)
            }
            RunDue::Watch => return Ok(()),
            RunDue::Wake => {
                active.wake = None;
                Event::Tick
            }
        };
        self.drive(scene, event)
    }
}

/// The revision that a deed expects.
fn expected(deed: &SimDeed) -> Option<&Revision> {
    match deed.call() {
        Call::Service { op: ServiceCall::Change { expect, .. }, .. } => Some(expect),
        Call::Service { .. }
        | Call::Clock(_)
        | Call::Log(_)
        | Call::Facts(_)
        | Call::Release { .. }
        | Call::Flag { .. }
        | Call::Health { .. } => None,
    }
}
