//! The worker's process as the effector drives it: what is loaded is what runs, and nothing else.

use crate::stand::{MANIFEST, by_hand, id};
use fettle_agent::ipc::frame::{
    FrameError, MAX_ARTIFACT_BYTES, MAX_WORKER_FRAME, receive_blocking, receive_bytes_blocking, send_blocking,
    send_bytes_blocking,
};
use fettle_agent::ipc::worker::{FromWorker, RunJob, SealKey, ToWorker};
use fettle_model::remediation::Parameters;
use fettle_model::time::UnixMillis;
use fettle_sandbox::execution::{Limits, Trigger};
use fettle_sandbox::package::Package;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::time::Duration;

const KEY: SealKey = SealKey([7; 32]);
/// Longest wait for the worker's next word: it compiles in a tenth of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Worker {
    process: Child,
    pipe: UnixStream,
}

impl Worker {
    fn start() -> Self {
        let (pipe, theirs) = UnixStream::pair().expect("a pair of sockets");
        pipe.set_read_timeout(Some(PATIENCE)).expect("a bound");
        let process = Command::new(env!("CARGO_BIN_EXE_fettle-agent"))
            .arg("worker")
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .expect("a worker starts");
        let mut worker = Self { process, pipe };
        assert!(matches!(worker.says(), Ok(FromWorker::Ready { .. })));
        worker
    }

    fn says(&mut self) -> Result<FromWorker, FrameError> {
        receive_blocking(&mut self.pipe, MAX_WORKER_FRAME)
    }

    fn told(&mut self, message: &ToWorker) {
        send_blocking(&mut self.pipe, message, MAX_WORKER_FRAME).expect("it listens");
    }

    fn compile(mut self, package: &Package) -> Vec<u8> {
        self.told(&ToWorker::Compile { key: KEY });
        send_bytes_blocking(&mut self.pipe, package.bytes(), MAX_ARTIFACT_BYTES).expect("it listens");
        assert!(matches!(self.says(), Ok(FromWorker::Compiled)));
        receive_bytes_blocking(&mut self.pipe, MAX_ARTIFACT_BYTES).expect("the artifact")
    }

    fn load(&mut self, package: &Package, artifact: &[u8]) {
        self.told(&ToWorker::Load { package: package.digest(), key: KEY });
        send_bytes_blocking(&mut self.pipe, artifact, MAX_ARTIFACT_BYTES).expect("it listens");
    }

    fn run(&mut self, package: &Package) -> Result<FromWorker, FrameError> {
        let trigger = Trigger {
            run: id(1),
            incident: None,
            alert: "web/probe".to_owned(),
            fired: UnixMillis(1),
            labels: BTreeMap::new(),
            parameters: Parameters::default(),
        };
        let limits = Limits::for_duration(PATIENCE);
        self.told(&ToWorker::Run(Box::new(RunJob {
            package: package.digest(),
            grants: BTreeSet::new(),
            trigger,
            limits,
        })));
        self.says()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn package(said: &str) -> Package {
    let run = format!(";; {said}\n{}", by_hand::Parts::default().run);
    let manifest = MANIFEST.replace("Does nothing, and says so.", said);
    Package::build(&by_hand::component(by_hand::Parts { run: &run, ..by_hand::Parts::default() }), &manifest)
        .expect("a package")
}

#[test]
fn a_component_that_was_loaded_ahead_runs_when_its_job_comes() {
    let one = package("One.");
    let artifact = Worker::start().compile(&one);
    let mut worker = Worker::start();
    worker.load(&one, &artifact);
    assert!(matches!(worker.run(&one), Ok(FromWorker::Returned { .. })));
}

#[test]
fn the_last_component_that_was_loaded_is_the_one_that_runs() {
    let (one, other) = (package("One."), package("Other."));
    let (first, second) = (Worker::start().compile(&one), Worker::start().compile(&other));
    let mut worker = Worker::start();
    worker.load(&one, &first);
    worker.load(&other, &second);
    assert!(matches!(worker.run(&other), Ok(FromWorker::Returned { .. })));
    let mut worker = Worker::start();
    worker.load(&one, &first);
    worker.load(&other, &second);
    assert!(matches!(worker.run(&one), Err(FrameError::Closed)));
}

#[test]
fn nothing_runs_that_was_not_loaded() {
    assert!(matches!(Worker::start().run(&package("One.")), Err(FrameError::Closed)));
}

#[test]
fn an_artifact_with_a_changed_bit_is_not_loaded() {
    let one = package("One.");
    let mut artifact = Worker::start().compile(&one);
    if let Some(last) = artifact.last_mut() {
        *last ^= 1;
    }
    let mut worker = Worker::start();
    worker.load(&one, &artifact);
    assert!(matches!(worker.says(), Ok(FromWorker::Failed { .. })));
}
