//! The run in progress: carries out what the machine says, in the order in which it says it.
//!
//! Owned by the effector's loop. What takes time (a look, a deed, a worker) happens in tasks that send
//! their result back as an [`Outcome`]; the loop gives it to the machine. Every decision is the machine's;
//! what is decided here is only how to do it.

use super::children::{self, Child, Role, Separation};
use crate::capability::{Before, Deed, Done, OpenTargets};
use crate::ipc::frame::{BYTES_TAKEN_WITHIN, FrameError, MAX_ARTIFACT_BYTES, MAX_WORKER_FRAME, TAKEN_WITHIN, in_time};
use crate::ipc::frame::{receive, receive_bytes, send, send_bytes};
use crate::ipc::worker::{FromWorker, RunJob, SealKey, ToWorker};
use fettle_model::check::CheckRef;
use fettle_model::digest::PlaybookDigest;
use fettle_model::id::RunId;
use fettle_sandbox::call::{ActError, Call, Reply};
use fettle_sandbox::engine::{Fingerprint, InvalidFingerprint};
use fettle_sandbox::execution::Execution;
use fettle_sandbox::journal::Look;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Longest time for an observing call, whatever the playbook asks for: the longest manifest.
pub const LOOK_WITHIN: Duration = Duration::from_mins(30);

/// What a task or a worker of a run has to say.
#[derive(Debug)]
pub enum Outcome {
    /// The answer to a look.
    Looked(Reply),
    /// What was there before a deed.
    Prepared(Result<Before, ActError>),
    /// What came of a deed.
    Acted(Result<Done, ActError>),
    /// What looking found after a crash.
    LookedAfterCrash(Look<Done>),
    /// The deed that injects a fault.
    FaultPlanned(Result<Deed, String>),
}

/// An outcome with the run whose it is: what an ended run still had on its way is void.
#[derive(Debug)]
pub struct FromHands {
    /// Whose.
    pub run: RunId,
    /// What.
    pub outcome: Outcome,
}

/// What a worker says.
#[derive(Debug)]
pub enum WorkerSaid {
    /// It is locked in and waits.
    Ready {
        /// Its engine.
        engine: Fingerprint,
        /// What its lock lacks here.
        missing: Vec<String>,
    },
    /// A host call.
    Call(Call),
    /// The component ended.
    Returned(Execution),
    /// A sealed artifact.
    Compiled(Vec<u8>),
    /// The job cannot be done.
    Failed(String),
    /// Its pipe is closed.
    Gone(String),
}

/// Names a worker in this process; a message of one that was replaced is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerNumber(pub u64);

/// A worker's message with its sender.
#[derive(Debug)]
pub struct FromNumbered {
    /// Who.
    pub worker: WorkerNumber,
    /// What.
    pub said: WorkerSaid,
}

/// A worker process with the task that reads what it says.
#[derive(Debug)]
pub struct Worker {
    /// Its number.
    pub number: WorkerNumber,
    pipe: OwnedWriteHalf,
    process: tokio::process::Child,
    reader: tokio::task::JoinHandle<()>,
    /// Its engine, once it is ready.
    pub engine: Option<Fingerprint>,
    /// The package that it was told to load last.
    pub loaded: Option<PlaybookDigest>,
}

impl Worker {
    /// Starts one. What it says goes to `to`.
    ///
    /// # Errors
    /// When the kernel refuses a process.
    pub fn start(
        number: WorkerNumber,
        separation: Separation,
        to: mpsc::Sender<FromNumbered>,
    ) -> std::io::Result<Self> {
        let Child { pipe, process } = children::start(Role::Worker, separation)?;
        let (read_half, pipe) = pipe.into_split();
        let reader = tokio::spawn(read(read_half, number, to));
        Ok(Self { number, pipe, process, reader, engine: None, loaded: None })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Gives it a package to compile.
    ///
    /// # Errors
    /// When it is gone or does not read; then it is ended.
    pub async fn compile(&mut self, key: SealKey, package: &[u8]) -> Result<(), FrameError> {
        let pipe = &mut self.pipe;
        let sending = async {
            send(pipe, &ToWorker::Compile { key }, MAX_WORKER_FRAME).await?;
            send_bytes(pipe, package, MAX_ARTIFACT_BYTES).await
        };
        let sent = in_time(BYTES_TAKEN_WITHIN, sending).await;
        self.end_if_stuck(sent)
    }

    /// Has it load a component, unless it did already.
    ///
    /// # Errors
    /// When it is gone or does not read; then it is ended.
    pub async fn load(&mut self, package: PlaybookDigest, key: SealKey, artifact: &[u8]) -> Result<(), FrameError> {
        if self.loaded == Some(package) {
            return Ok(());
        }
        let pipe = &mut self.pipe;
        let sending = async {
            send(pipe, &ToWorker::Load { package, key }, MAX_WORKER_FRAME).await?;
            send_bytes(pipe, artifact, MAX_ARTIFACT_BYTES).await
        };
        let sent = in_time(BYTES_TAKEN_WITHIN, sending).await;
        self.loaded = Some(package);
        self.end_if_stuck(sent)
    }

    /// Has it run the component that it loaded.
    ///
    /// # Errors
    /// When it is gone or does not read; then it is ended.
    pub async fn run(&mut self, job: RunJob) -> Result<(), FrameError> {
        let message = ToWorker::Run(Box::new(job));
        let sent = in_time(TAKEN_WITHIN, send(&mut self.pipe, &message, MAX_WORKER_FRAME)).await;
        self.end_if_stuck(sent)
    }

    /// Answers its call.
    ///
    /// # Errors
    /// When it is gone or does not read; then it is ended.
    pub async fn reply(&mut self, reply: Reply) -> Result<(), FrameError> {
        let message = ToWorker::Reply { reply };
        let sent = in_time(TAKEN_WITHIN, send(&mut self.pipe, &message, MAX_WORKER_FRAME)).await;
        self.end_if_stuck(sent)
    }

    /// Kills it, and waits for that.
    pub async fn kill(&mut self) {
        // What has ended by itself is what is wanted.
        drop(self.process.kill().await);
    }

    /// Its reader then says that it is gone.
    fn end_if_stuck(&mut self, sent: Result<(), FrameError>) -> Result<(), FrameError> {
        if let Err(FrameError::Stuck { within }) = &sent {
            tracing::error!(worker = self.number.0, ?within, "a worker does not read and is ended");
            if let Err(error) = self.process.start_kill() {
                tracing::error!(worker = self.number.0, %error, "a worker could not be ended");
            }
        }
        sent
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The process dies with its handle; the reader would only see the end of the pipe.
        self.reader.abort();
    }
}

async fn read(mut pipe: OwnedReadHalf, worker: WorkerNumber, to: mpsc::Sender<FromNumbered>) {
    loop {
        let said = match receive(&mut pipe, MAX_WORKER_FRAME).await {
            Ok(FromWorker::Ready { engine, missing }) => match engine.parse() {
                Ok(engine) => WorkerSaid::Ready { engine, missing },
                Err(InvalidFingerprint) => WorkerSaid::Gone("it did not name its engine".to_owned()),
            },
            Ok(FromWorker::Call { call }) => WorkerSaid::Call(call),
            Ok(FromWorker::Returned { execution }) => WorkerSaid::Returned(execution),
            Ok(FromWorker::Compiled) => match receive_bytes(&mut pipe, MAX_ARTIFACT_BYTES).await {
                Ok(artifact) => WorkerSaid::Compiled(artifact),
                Err(error) => WorkerSaid::Gone(error.to_string()),
            },
            Ok(FromWorker::Failed { detail }) => WorkerSaid::Failed(detail),
            Err(error) => WorkerSaid::Gone(error.to_string()),
        };
        let last = matches!(said, WorkerSaid::Gone(_));
        if to.send(FromNumbered { worker, said }).await.is_err() || last {
            return;
        }
    }
}

/// The tasks of one run that look at the host or change it.
#[derive(Debug, Clone)]
pub struct Hands {
    targets: Arc<OpenTargets>,
    run: RunId,
    effect_within: Duration,
    hold: Duration,
    to: mpsc::Sender<FromHands>,
}

impl Hands {
    /// Hands for the things that a permit opened. One effect takes at most `effect_within`; a drill's flag
    /// stays on for `hold` at most.
    #[must_use]
    pub fn new(
        targets: OpenTargets,
        run: RunId,
        effect_within: Duration,
        hold: Duration,
        to: mpsc::Sender<FromHands>,
    ) -> Self {
        Self { targets: Arc::new(targets), run, effect_within, hold, to }
    }

    fn task<F>(&self, work: impl FnOnce(Arc<OpenTargets>) -> F + Send + 'static)
    where
        F: Future<Output = Outcome> + Send + 'static,
    {
        let (targets, to, run) = (Arc::clone(&self.targets), self.to.clone(), self.run);
        // Driven to its end whatever becomes of the run: a dropped deed would be one whose outcome nobody
        // knows. The loop ends only with the process.
        drop(tokio::spawn(async move {
            let outcome = work(targets).await;
            drop(to.send(FromHands { run, outcome }).await);
        }));
    }

    /// Says something without looking.
    pub fn tell(&self, outcome: Outcome) {
        self.task(move |_| std::future::ready(outcome));
    }

    /// Answers an observing call.
    pub fn look(&self, call: Call) {
        self.task(move |targets| async move {
            let reply = targets.answer(&call, LOOK_WITHIN).await;
            // The loop answers those calls itself for which there is nothing to look at.
            Outcome::Looked(reply.unwrap_or(Reply::Unit))
        });
    }

    /// Looks before a deed.
    pub fn before(&self, deed: Deed, now: fettle_model::time::UnixMillis) {
        self.task(move |targets| async move { Outcome::Prepared(targets.before(&deed, now).await) });
    }

    /// Does it.
    pub fn perform(&self, deed: Deed, before: Before) {
        let within = self.effect_within;
        self.task(move |targets| async move { Outcome::Acted(targets.perform(&deed, &before, within).await) });
    }

    /// Looks after a crash.
    pub fn look_after_crash(&self, deed: Deed, before: Before) {
        let within = self.effect_within;
        self.task(move |targets| async move {
            Outcome::LookedAfterCrash(targets.look_after_crash(&deed, &before, within).await.into())
        });
    }

    /// Chooses the deed that injects a fault.
    pub fn plan_fault(&self, fault: fettle_model::evidence::Fault) {
        let hold = self.hold;
        self.task(move |targets| async move {
            let planned = targets.fault(&fault, hold).await;
            Outcome::FaultPlanned(planned.map_err(in_words))
        });
    }
}

/// Why there is nothing to inject, for people.
fn in_words(error: ActError) -> String {
    match error {
        ActError::Denied(why) | ActError::Exhausted(why) | ActError::Failed(why) | ActError::Indeterminate(why) => why,
        ActError::Stale(revision) => format!("it moved meanwhile, to {}", revision.0),
        ActError::OffPlan => "it is not in the plan".to_owned(),
    }
}

/// What the effector asked the daemon about a check, for the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watching {
    /// Nothing.
    Nothing,
    /// The check again, once.
    Once(CheckRef),
    /// The check that confirms, again and again.
    Confirmation(CheckRef),
    /// A playbook's `probe`.
    Probe(CheckRef),
    /// A playbook's `wait-healthy`.
    Wait {
        /// Which check.
        check: CheckRef,
        /// Healthy for so long.
        stable: Duration,
        /// At the latest then, on the boot clock.
        until: fettle_model::time::BootInstant,
        /// Healthy since, on the boot clock.
        since: Option<fettle_model::time::BootInstant>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_sandbox::call::{HealthReport, Verdict};
    use std::os::fd::OwnedFd;
    use std::process::Stdio;

    #[tokio::test]
    async fn a_worker_that_does_not_read_is_ended_and_its_end_is_noticed() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        ours.set_nonblocking(true).expect("it may");
        let process = tokio::process::Command::new("sleep")
            .arg("600")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let (read_half, pipe) = tokio::net::UnixStream::from_std(ours).expect("a stream").into_split();
        let (to, mut said) = mpsc::channel(1);
        let number = WorkerNumber(1);
        let mut worker = Worker {
            number,
            pipe,
            process,
            reader: tokio::spawn(read(read_half, number, to)),
            engine: None,
            loaded: None,
        };
        // More than the socket's buffer holds.
        let report = HealthReport { verdict: Verdict::Unknown, reasons: vec!["x".repeat(MAX_WORKER_FRAME - 1_024)] };
        let sent = worker.reply(Reply::Health(Ok(report))).await;
        assert!(matches!(sent, Err(FrameError::Stuck { .. })), "{sent:?}");
        let said = tokio::time::timeout(Duration::from_secs(30), said.recv()).await.expect("its reader says so");
        assert!(matches!(said, Some(FromNumbered { said: WorkerSaid::Gone(_), .. })), "{said:?}");
    }
}
