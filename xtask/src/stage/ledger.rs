//! What is running, in a file: process ids with their start times, and the commands that stop services.
//!
//! Written before anything can go wrong, so that a command which was killed, or told to leave its
//! processes, is cleaned up after by exactly these ids. A process that has the id of one of ours but
//! another start time is somebody else's and is left alone.

use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a process may take after SIGTERM before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    processes: Vec<Entry>,
    /// Argv of each service's own stop command.
    services: Vec<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    pid: u32,
    /// Clock ticks since the boot.
    started: u64,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    document: Document,
    at_end: AtEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Remove,
    Keep,
}

impl Ledger {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, document: Document::default(), at_end: AtEnd::Remove }
    }

    pub(super) fn note(&mut self, name: &str, pid: u32) -> anyhow::Result<()> {
        // One that ended already needs no entry.
        if let Some(started) = start_time(pid) {
            self.document.processes.push(Entry { name: name.to_owned(), pid, started });
        }
        self.write()
    }

    pub(super) fn note_service(&mut self, stop: Vec<String>) -> anyhow::Result<()> {
        self.document.services.push(stop);
        self.write()
    }

    fn write(&self) -> anyhow::Result<()> {
        let next = self.path.with_extension("next");
        std::fs::write(&next, serde_json::to_string_pretty(&self.document)?)?;
        std::fs::rename(next, &self.path).with_context(|| format!("write {}", self.path.display()))
    }

    /// Everything was ended.
    pub(super) fn forget(&self) {
        match self.at_end {
            AtEnd::Keep => {}
            // That there is none is what is wanted.
            AtEnd::Remove => drop(std::fs::remove_file(&self.path)),
        }
    }

    /// Everything is to run on.
    pub(super) fn keep(&mut self) {
        self.at_end = AtEnd::Keep;
    }
}

/// Ends what the file lists, the last started first, and then the services. Returns how many
/// processes there still were.
pub(super) fn end(path: &Path) -> anyhow::Result<usize> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
    };
    let document: Document = serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
    let mut ended = 0;
    for entry in document.processes.iter().rev() {
        ended += usize::from(end_one(entry).with_context(|| format!("end {}", entry.name))? == Found::Running);
    }
    for words in &document.services {
        let Some((program, arguments)) = words.split_first() else { continue };
        // The program may have been removed with the target folder; then nobody can run it either.
        if Path::new(program).is_file() {
            crate::process::output(Command::new(program).args(arguments))?;
        }
    }
    std::fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    Ok(ended)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Running,
    Gone,
}

fn end_one(entry: &Entry) -> anyhow::Result<Found> {
    let Some(pid) = i32::try_from(entry.pid).ok().and_then(Pid::from_raw) else { return Ok(Found::Gone) };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(Found::Gone),
        Err(error) => return Err(error).context("open the process"),
    };
    // Compared after the process was opened: from here on the id cannot change hands.
    if start_time(entry.pid) != Some(entry.started) {
        return Ok(Found::Gone);
    }
    for signal in [Signal::TERM, Signal::KILL] {
        match pidfd_send_signal(&process, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error).context("signal the process"),
        }
        let patience = Timespec::try_from(PATIENCE)?;
        if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience))? > 0 {
            break;
        }
    }
    Ok(Found::Running)
}

/// When a process started, in clock ticks since the boot: field 22 of `/proc/<pid>/stat`. `None`: it is gone.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    /// The fields behind the command's name begin with the third.
    const BEHIND_NAME: usize = 19;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(BEHIND_NAME)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> std::process::Child {
        Command::new("sleep").arg("60").spawn().expect("it starts")
    }

    #[test]
    fn what_is_listed_is_ended_and_the_list_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("running.json");
        let mut child = sleeper();
        let mut ledger = Ledger::new(path.clone());
        ledger.note("sleeper", child.id()).expect("it is noted");
        assert_eq!(end(&path).expect("it is ended"), 1);
        assert!(!child.wait().expect("it ended").success());
        assert!(!path.exists());
        assert_eq!(end(&path).expect("there is nothing"), 0);
    }

    #[test]
    fn a_process_that_only_has_the_same_id_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("running.json");
        let mut child = sleeper();
        let mut ledger = Ledger::new(path.clone());
        ledger.note("sleeper", child.id()).expect("it is noted");
        ledger.document.processes[0].started += 1;
        ledger.write().expect("it is written");
        assert_eq!(end(&path).expect("nothing to do"), 0);
        assert!(child.try_wait().expect("a look").is_none(), "it still runs");
        child.kill().expect("the test ends it");
        child.wait().expect("it ended");
    }
}
