//! Real processes, killed with SIGKILL.

use super::*;
use fettle_model::check::HostValue;
use std::path::PathBuf;
use std::process::{Child, Command};
use tempfile::TempDir;

/// Lives until it is killed; killed at the latest when the test ends.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().expect("sleep(1)"))
    }

    /// SIGKILL; the zombie stays.
    fn kill(&mut self) {
        self.0.kill().expect("it lives");
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it is ours");
    }
}

fn pid_file(content: &str) -> (TempDir, PathBuf, Prober) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.pid");
    std::fs::write(&path, content).expect("written");
    let prober = prober(Probe::Process { pid_file: HostValue(path.display().to_string()) });
    (folder, path, prober)
}

#[tokio::test]
async fn the_end_of_a_process_wakes_its_probe() {
    let mut sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    let (_folder, path, mut prober) = pid_file(&format!("{pid}\n"));
    expect(&prober.probe_within(LONG).await, Status::Passing, &format!("process {pid} lives"));
    expect(&prober.probe_within(LONG).await, Status::Passing, "lives");
    assert!(tokio::time::timeout(Duration::from_millis(20), prober.event()).await.is_err(), "nothing happened");

    sleeper.kill();
    within(prober.event()).await;
    // It is a zombie still: its parent has not waited for it.
    expect(&prober.probe_within(LONG).await, Status::Critical, &format!("process {pid} has ended"));
    assert!(tokio::time::timeout(Duration::from_millis(20), prober.event()).await.is_err(), "it ends once");

    let successor = Sleeper::start();
    std::fs::write(&path, successor.0.id().to_string()).expect("written");
    expect(&prober.probe_within(LONG).await, Status::Passing, &format!("process {} lives", successor.0.id()));
}

#[tokio::test]
async fn a_process_that_has_ended_is_not_brought_back_by_its_old_file() {
    let mut sleeper = Sleeper::start();
    let (_folder, path, mut prober) = pid_file(&sleeper.0.id().to_string());
    expect(&prober.probe_within(LONG).await, Status::Passing, "lives");
    let written = std::fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("a time");
    sleeper.kill();
    within(prober.event()).await;
    // Another process under the same number, as far as the file can tell: only the pidfd knows better.
    let file = std::fs::File::options().write(true).open(&path).expect("the file");
    file.set_modified(written).expect("set");
    expect(&prober.probe_within(LONG).await, Status::Critical, "has ended");
    expect(&prober.probe_within(LONG).await, Status::Critical, "has ended");
}

#[tokio::test]
async fn a_process_that_is_a_zombie_or_gone_when_it_is_met_has_ended() {
    let mut sleeper = Sleeper::start();
    let pid = sleeper.0.id();
    sleeper.kill();
    let status = format!("/proc/{pid}/stat");
    let is_zombie = || std::fs::read_to_string(&status).expect("not reaped").contains(") Z ");
    // A signal is delivered when the process next runs.
    let deadline = tokio::time::Instant::now() + LONG;
    while !is_zombie() {
        assert!(tokio::time::Instant::now() < deadline, "it ends in time");
        tokio::task::yield_now().await;
    }
    let (_folder, _path, mut zombie) = pid_file(&pid.to_string());
    expect(&zombie.probe_within(LONG).await, Status::Critical, "has ended");
    sleeper.0.wait().expect("ended");
    let (_folder, _path, mut gone) = pid_file(&pid.to_string());
    expect(&gone.probe_within(LONG).await, Status::Critical, "has ended");
}

#[tokio::test]
async fn a_process_younger_than_its_file_may_be_somebody_else() {
    let sleeper = Sleeper::start();
    let (_folder, path, mut prober) = pid_file(&sleeper.0.id().to_string());
    let file = std::fs::File::options().write(true).open(&path).expect("the file");
    let written = file.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    file.set_modified(written - Duration::from_secs(3_600)).expect("set");
    expect(&prober.probe_within(LONG).await, Status::Unknown, "the number may be reused");
}

#[tokio::test]
async fn a_pid_file_that_names_no_process_is_critical() {
    for content in ["", "no number", "0", "-1"] {
        let (_folder, _path, mut prober) = pid_file(content);
        expect(&prober.probe_within(LONG).await, Status::Critical, "does not begin with a process id");
    }
    let (_folder, path, mut prober) = pid_file("1");
    std::fs::remove_file(&path).expect("removed");
    expect(&prober.probe_within(LONG).await, Status::Critical, "web.pid does not exist");
    // A FIFO without a writer would hold a careless reader for ever.
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).expect("a FIFO");
    expect(&prober.probe_within(LONG).await, Status::Critical, "is not a regular file");
}
