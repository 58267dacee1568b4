//! The workers: one that waits, one that compiles, one that runs; what they get and what they say.

use super::run::{FromNumbered, Worker, WorkerNumber, WorkerSaid};
use super::serve::{Effector, EffectorError};
use crate::ipc::worker::{RunJob, SealKey};
use fettle_model::digest::PlaybookDigest;
use fettle_model::host::Isolation;
use fettle_model::id::RunId;
use fettle_model::permit::{Permit, Purpose};
use fettle_model::playbook::GrantKind;
use fettle_model::remediation::Parameters;
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::Reply;
use fettle_sandbox::execution::{Limits, Trigger};
use fettle_sandbox::machine::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl Effector {
    /// The worker that waits, or a new one.
    pub(super) fn take_worker(&mut self) -> Result<Worker, EffectorError> {
        match self.spare.take() {
            Some(worker) => Ok(worker),
            None => self.start_worker(),
        }
    }

    /// Has the worker that waits load the playbook that a permit was asked for: loading then takes place while
    /// the control plane decides. What is loaded in vain is replaced or dies with its worker.
    pub(super) async fn load_ahead(&mut self, playbook: PlaybookDigest) {
        if let Some(spare) = self.spare.as_mut().filter(|spare| spare.engine.is_some())
            && let Err(detail) = load(&self.library, &self.keys, spare, playbook).await
        {
            tracing::debug!(detail, "a playbook could not be loaded ahead");
        }
    }

    pub(super) async fn give_job(&mut self) -> Result<(), EffectorError> {
        let worker = self.take_worker()?;
        let ready = worker.engine.is_some();
        if let Some(active) = &mut self.active {
            active.worker = Some(worker);
            active.wants_worker = true;
        }
        if ready { self.send_job().await } else { Ok(()) }
    }

    async fn send_job(&mut self) -> Result<(), EffectorError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let (Some(worker), Some(version), true) = (&mut active.worker, &active.permit.playbook, active.wants_worker)
        else {
            return Ok(());
        };
        active.wants_worker = false;
        let trigger = trigger_of(&active.permit, active.fired, self.capabilities.config());
        let job = Job { playbook: version.digest, trigger, within: active.permit.run_within };
        let failed = hand_over(&self.library, &self.keys, worker, job).await.err();
        match failed {
            None => Ok(()),
            Some(detail) => Box::pin(self.drive(Event::WorkerDied { detail })).await,
        }
    }

    pub(super) async fn reply(&mut self, reply: Reply) {
        if let Some(worker) = self.active.as_mut().and_then(|active| active.worker.as_mut())
            && let Err(error) = worker.reply(reply).await
        {
            // Its reader tells that it is gone.
            tracing::debug!(%error, "a worker could not be answered");
        }
    }

    pub(super) async fn worker_said(&mut self, message: FromNumbered) -> Result<(), EffectorError> {
        match &message.said {
            // Every worker is this same program, and so has the same engine.
            WorkerSaid::Ready { engine, .. } => {
                self.library.runs_on(*engine);
                self.engine_by = None;
            }
            WorkerSaid::Gone(_) | WorkerSaid::Failed(_) => self.engine_by = None,
            WorkerSaid::Call(_) | WorkerSaid::Returned(_) | WorkerSaid::Compiled(_) => {}
        }
        let FromNumbered { worker, said } = message;
        let is = |other: Option<&Worker>| other.is_some_and(|other| other.number == worker);
        if is(self.active.as_ref().and_then(|active| active.worker.as_ref())) {
            return self.run_worker_said(said).await;
        }
        if is(self.planning.as_ref().map(|planning| &planning.worker)) {
            return self.planner_said(said).await;
        }
        if is(self.compiling.as_ref().map(|compiling| &compiling.worker)) {
            return self.compiler_said(said).await;
        }
        if is(self.spare.as_ref()) {
            self.spare_said(worker, said);
            // The engine is known now: what was compiled for another one is compiled again.
            return self.supply().await;
        }
        Ok(())
    }

    fn spare_said(&mut self, number: WorkerNumber, said: WorkerSaid) {
        match said {
            WorkerSaid::Ready { engine, missing } => {
                self.weakened(missing);
                if let Some(spare) = self.spare.as_mut().filter(|spare| spare.number == number) {
                    spare.engine = Some(engine);
                }
            }
            WorkerSaid::Gone(detail) | WorkerSaid::Failed(detail) => {
                tracing::warn!(detail, "a waiting worker ended");
                self.spare = None;
            }
            WorkerSaid::Call(_) | WorkerSaid::Returned(_) | WorkerSaid::Compiled(_) => self.spare = None,
        }
    }

    /// What a worker's lock lacks on this host goes into the host's description.
    fn weakened(&mut self, lacking: Vec<String>) {
        if lacking.is_empty() {
            return;
        }
        let mut missing = match &self.isolation {
            Isolation::Full => Vec::new(),
            Isolation::Weaker { missing } => missing.clone(),
        };
        for lacking in lacking.into_iter().filter(|lacking| !missing.contains(lacking)).collect::<Vec<_>>() {
            tracing::warn!(lacking, "workers are less locked in than they could be");
            missing.push(lacking);
        }
        self.isolation = Isolation::Weaker { missing };
    }

    async fn run_worker_said(&mut self, said: WorkerSaid) -> Result<(), EffectorError> {
        match said {
            WorkerSaid::Ready { engine, .. } => {
                if let Some(worker) = self.active.as_mut().and_then(|active| active.worker.as_mut()) {
                    worker.engine = Some(engine);
                }
                self.send_job().await
            }
            WorkerSaid::Call(call) => {
                let Some(written) = self.active.as_ref().map(|active| active.written) else { return Ok(()) };
                self.drive(written.event_of(call)).await
            }
            WorkerSaid::Returned(execution) => self.drive(Event::WorkerReturned(execution)).await,
            WorkerSaid::Failed(detail) | WorkerSaid::Gone(detail) => self.drive(Event::WorkerDied { detail }).await,
            WorkerSaid::Compiled(_) => {
                let detail = "it compiled when it was to run".to_owned();
                self.drive(Event::WorkerDied { detail }).await
            }
        }
    }

    async fn compiler_said(&mut self, said: WorkerSaid) -> Result<(), EffectorError> {
        let Some(compiling) = &mut self.compiling else { return Ok(()) };
        let digest = compiling.digest;
        match said {
            WorkerSaid::Ready { engine, .. } => {
                let key = SealKey(*self.keys.derive(digest, engine).expose());
                compiling.worker.engine = Some(engine);
                let package = self.library.package(digest).unwrap_or_default();
                // When it is gone its reader says so.
                drop(compiling.worker.compile(key, package).await);
                return Ok(());
            }
            WorkerSaid::Compiled(artifact) => match compiling.worker.engine {
                Some(engine) => {
                    self.library.compiled(digest, engine, artifact, &self.store)?;
                    tracing::info!(playbook = %digest.short(), "a playbook is compiled");
                }
                None => self.library.refused(digest, "the compiler misbehaved"),
            },
            WorkerSaid::Failed(detail) => self.library.refused(digest, &detail),
            WorkerSaid::Gone(detail) => self.library.lost(digest, &detail),
            WorkerSaid::Call(_) | WorkerSaid::Returned(_) => self.library.refused(digest, "the compiler misbehaved"),
        }
        self.compiling = None;
        self.supply().await?;
        self.take_up().await
    }
}

/// What a worker is given to run.
pub(super) struct Job {
    pub(super) playbook: PlaybookDigest,
    pub(super) trigger: Trigger,
    pub(super) within: Duration,
}

/// Gives a worker that is ready its job.
///
/// # Errors
/// In words for people, when the playbook cannot run or the worker is gone.
pub(super) async fn hand_over(
    library: &super::library::Library,
    keys: &fettle_sandbox::engine::HostKey,
    worker: &mut Worker,
    job: Job,
) -> Result<(), String> {
    let grants = load(library, keys, worker, job.playbook).await?;
    let limits = Limits::for_duration(job.within);
    let run = RunJob { package: job.playbook, grants, trigger: job.trigger, limits };
    worker.run(run).await.map_err(|error| error.to_string())
}

/// Has a worker that is ready load a playbook; gives what the playbook is granted.
async fn load(
    library: &super::library::Library,
    keys: &fettle_sandbox::engine::HostKey,
    worker: &mut Worker,
    playbook: PlaybookDigest,
) -> Result<BTreeSet<GrantKind>, String> {
    let ready = library.ready(playbook).ok_or("the playbook is not ready any more")?;
    if worker.engine != Some(ready.engine) {
        return Err("the playbook was compiled for another engine".to_owned());
    }
    let key = SealKey(*keys.derive(playbook, ready.engine).expose());
    worker.load(playbook, key, ready.artifact).await.map_err(|error| error.to_string())?;
    Ok(ready.grants.clone())
}

fn trigger_of(permit: &Permit, fired: UnixMillis, config: &crate::config::AgentConfig) -> Trigger {
    trigger(permit.run, &permit.purpose, &permit.parameters, fired, config)
}

/// What a playbook is told of the fault.
pub(super) fn trigger(
    run: RunId,
    purpose: &Purpose,
    parameters: &Parameters,
    fired: UnixMillis,
    config: &crate::config::AgentConfig,
) -> Trigger {
    let (alert, service) = match purpose {
        // Whether it is a drill is nothing that a playbook can find out.
        Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } | Purpose::Offline { check, .. } => {
            (check.to_string(), check.service.to_string())
        }
        Purpose::InjectFault { drill, .. } => (format!("drill {drill}"), String::new()),
    };
    Trigger {
        run,
        incident: None,
        alert,
        fired,
        labels: BTreeMap::from([
            ("service".to_owned(), service),
            ("host".to_owned(), config.host.name.to_string()),
            ("environment".to_owned(), config.host.environment.to_string()),
        ]),
        parameters: parameters.clone(),
    }
}
