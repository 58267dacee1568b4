//! The worker: one process, one job, then it dies.
//!
//! Started by the effector with its end of a socket pair as standard input. It locks itself in
//! ([`lock`]), says that it is ready, and compiles one package or loads and runs one component. It has no
//! configuration, opens no file and no connection, and knows the host only through [`crate::ipc::worker`].

pub mod lock;

use crate::ipc::frame::{
    FrameError, MAX_ARTIFACT_BYTES, MAX_WORKER_FRAME, receive_blocking, receive_bytes_blocking, send_blocking,
    send_bytes_blocking,
};
use crate::ipc::worker::{FromWorker, RunJob, SealKey, ToWorker};
use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::MAX_PACKAGE_BYTES;
use fettle_sandbox::call::{Call, Reply};
use fettle_sandbox::engine::{
    ArtifactKey, CompileError, Engine, EngineUnavailable, LoadError, Playbook, SealedArtifact, UntrustedArtifact,
};
use fettle_sandbox::execution::Gone;
use fettle_sandbox::package::{InvalidPackage, Package};
use lock::LockError;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

/// Why a worker could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The effector went away, or spoke nonsense.
    #[error("the effector cannot be understood")]
    Pipe(#[source] FrameError),
    /// Standard input is no pipe to an effector.
    #[error("standard input is no pipe to an effector: workers are started by `fettle-agent run`")]
    NoPipe(#[source] std::io::Error),
    /// It could not lock itself in.
    #[error("the worker could not be locked in")]
    Lock(#[source] LockError),
    /// The engine does not run here.
    #[error("the engine does not run")]
    Engine(#[source] EngineUnavailable),
    /// A reply came where a job was due, or the other way round.
    #[error("a message came out of turn")]
    OutOfTurn,
}

/// Why a job was not done; told to the effector.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error("the package is refused: {0}")]
    Package(InvalidPackage),
    #[error("{0}")]
    Compile(CompileError),
    #[error("{0}")]
    Untrusted(UntrustedArtifact),
    #[error("{0}")]
    Load(LoadError),
}

/// Serves one job on standard input, then returns.
///
/// # Errors
/// When the job could not be begun, or the effector went away.
pub fn serve() -> Result<(), WorkerError> {
    // Only the name in lists of processes: the program was started through a link.
    rustix::thread::set_name(c"fettle-worker").ok();
    let pipe = std::io::stdin().as_fd().try_clone_to_owned().map_err(WorkerError::NoPipe)?;
    let mut pipe = UnixStream::from(pipe);
    // The engine is set up before the lock: it asks the system what processor this is.
    let engine = Engine::new().map_err(WorkerError::Engine)?;
    let missing = lock::lock_in().map_err(WorkerError::Lock)?;
    let ready = FromWorker::Ready { engine: engine.fingerprint().to_string(), missing };
    send_blocking(&mut pipe, &ready, MAX_WORKER_FRAME).map_err(WorkerError::Pipe)?;
    let mut loaded: Option<Playbook> = None;
    loop {
        match receive_blocking(&mut pipe, MAX_WORKER_FRAME) {
            Ok(ToWorker::Compile { key }) => {
                let package = receive_bytes_blocking(&mut pipe, MAX_PACKAGE_BYTES).map_err(WorkerError::Pipe)?;
                return compile(&engine, package, key, &mut pipe);
            }
            Ok(ToWorker::Load { package, key }) => {
                let artifact = receive_bytes_blocking(&mut pipe, MAX_ARTIFACT_BYTES).map_err(WorkerError::Pipe)?;
                match load(&engine, package, key, artifact) {
                    Ok(playbook) => loaded = Some(playbook),
                    Err(error) => return fail(&error, &mut pipe),
                }
            }
            Ok(ToWorker::Run(job)) => {
                let playbook = loaded.filter(|playbook| playbook.package() == job.package);
                return run(&engine, &playbook.ok_or(WorkerError::OutOfTurn)?, &job, &mut pipe);
            }
            Ok(ToWorker::Reply { .. }) => return Err(WorkerError::OutOfTurn),
            // The effector has no job for it and ends.
            Err(FrameError::Closed) => return Ok(()),
            Err(error) => return Err(WorkerError::Pipe(error)),
        }
    }
}

fn compile(engine: &Engine, package: Vec<u8>, key: SealKey, pipe: &mut UnixStream) -> Result<(), WorkerError> {
    let sealed = Package::read(package)
        .map_err(JobError::Package)
        .and_then(|package| engine.compile(&package).map_err(JobError::Compile))
        .map(|artifact| artifact.seal(&ArtifactKey::new(key.0)));
    match sealed {
        Ok(sealed) => {
            send_blocking(pipe, &FromWorker::Compiled, MAX_WORKER_FRAME).map_err(WorkerError::Pipe)?;
            send_bytes_blocking(pipe, sealed.as_bytes(), MAX_ARTIFACT_BYTES).map_err(WorkerError::Pipe)
        }
        Err(error) => fail(&error, pipe),
    }
}

fn load(engine: &Engine, package: PlaybookDigest, key: SealKey, artifact: Vec<u8>) -> Result<Playbook, JobError> {
    let artifact = SealedArtifact::new(artifact)
        .open(&ArtifactKey::new(key.0), package, engine.fingerprint())
        .map_err(JobError::Untrusted)?;
    engine.load(&artifact).map_err(JobError::Load)
}

fn run(engine: &Engine, playbook: &Playbook, job: &RunJob, pipe: &mut UnixStream) -> Result<(), WorkerError> {
    let execution =
        engine.execute(playbook, &job.grants, &job.trigger, job.limits, &mut |call| ask(pipe, call).map_err(|_| Gone));
    send_blocking(pipe, &FromWorker::Returned { execution }, MAX_WORKER_FRAME).map_err(WorkerError::Pipe)
}

fn ask(pipe: &mut UnixStream, call: Call) -> Result<Reply, WorkerError> {
    send_blocking(pipe, &FromWorker::Call { call }, MAX_WORKER_FRAME).map_err(WorkerError::Pipe)?;
    match receive_blocking(pipe, MAX_WORKER_FRAME).map_err(WorkerError::Pipe)? {
        ToWorker::Reply { reply } => Ok(reply),
        ToWorker::Compile { .. } | ToWorker::Load { .. } | ToWorker::Run(_) => Err(WorkerError::OutOfTurn),
    }
}

fn fail(error: &JobError, pipe: &mut UnixStream) -> Result<(), WorkerError> {
    let failed = FromWorker::Failed { detail: error.to_string() };
    send_blocking(pipe, &failed, MAX_WORKER_FRAME).map_err(WorkerError::Pipe)
}
