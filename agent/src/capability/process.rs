//! Processes by id *and* start time, watched and signalled through a pidfd.
//!
//! A bare process id may name another process a moment later; nothing in the capabilities acts on
//! one. Used by the services and the drill faults.

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Field 22 of `/proc/PID/stat` counts in these, on every architecture that the agent is built for
/// (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// One process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessRef {
    /// Its id.
    pub pid: u32,
    /// When it was started, in hundredths of a second since the boot.
    pub start_ticks: u64,
}

impl ProcessRef {
    /// The process that has this id now; `None` when there is none, or it has ended and only waits
    /// to be reaped.
    ///
    /// # Errors
    /// When `/proc` cannot be read or understood.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // ESRCH: it ended between open and read.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => return Ok(None),
            Err(error) => return Err(error),
        };
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed /proc/PID/stat");
        // The second field is the name in parentheses and may hold anything, parentheses included.
        let (_, fields) = stat.rsplit_once(')').ok_or_else(malformed)?;
        let mut fields = fields.split_ascii_whitespace();
        if matches!(fields.next().ok_or_else(malformed)?, "Z" | "X") {
            return Ok(None);
        }
        let start_ticks = fields.nth(18).and_then(|field| field.parse().ok()).ok_or_else(malformed)?;
        Ok(Some(Self { pid, start_ticks }))
    }

    /// When it was started, in milliseconds since 1970.
    ///
    /// # Errors
    /// When `/proc/stat` cannot be read or understood.
    pub(super) fn started_at(self) -> io::Result<u64> {
        let stat = fs::read_to_string("/proc/stat")?;
        let boot: u64 = stat
            .lines()
            .find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no btime in /proc/stat"))?;
        Ok(boot * 1_000 + self.start_ticks * 1_000 / TICKS_PER_SECOND)
    }

    /// The user that it runs as; `None` when it has ended.
    pub(super) fn user(self) -> Option<u32> {
        fs::metadata(format!("/proc/{}", self.pid)).ok().map(|metadata| metadata.uid())
    }
}

/// The parent of a process; `None` when it has ended.
pub(super) fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a process ended in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It did.
    Ended,
    /// It still runs.
    StillRuns,
}

/// A process that cannot be confused with a later one of the same id.
#[derive(Debug)]
pub(super) struct LiveProcess {
    pidfd: AsyncFd<OwnedFd>,
}

impl LiveProcess {
    /// Takes hold of exactly this process; `None` when it has ended.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn open(process: ProcessRef) -> io::Result<Option<Self>> {
        let Some(pidfd) = hold(process)? else { return Ok(None) };
        Ok(Some(Self { pidfd: watched(pidfd)? }))
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// When the kernel refuses; then nothing was sent.
    pub(super) fn kill(&self) -> io::Result<()> {
        pidfd_send_signal(self.pidfd.get_ref(), Signal::KILL).map_err(Into::into)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(super) async fn wait_exit(&self, within: Duration) -> io::Result<Exit> {
        match tokio::time::timeout(within, self.pidfd.readable()).await {
            Ok(ready) => ready.map(|_| Exit::Ended),
            Err(_elapsed) => Ok(Exit::StillRuns),
        }
    }
}

/// A pidfd of exactly this process; `None` when it has ended.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn hold(process: ProcessRef) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The start time is compared after the pidfd is held: from here on the id cannot be reused unseen.
    Ok((ProcessRef::of(process.pid)? == Some(process)).then_some(pidfd))
}

#[expect(deprecated, reason = "unsound only for types whose descriptor changes; an OwnedFd's never does")]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sleeper() -> std::process::Child {
        Command::new("/bin/sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep")
    }

    #[tokio::test]
    async fn a_killed_process_is_noticed_and_its_id_names_nothing_afterwards() {
        let mut child = sleeper();
        let process = ProcessRef::of(child.id()).expect("proc").expect("alive");
        let live = LiveProcess::open(process).expect("pidfd").expect("alive");
        assert_eq!(live.wait_exit(Duration::from_millis(20)).await.expect("wait"), Exit::StillRuns);
        live.kill().expect("kill");
        assert_eq!(live.wait_exit(Duration::from_secs(10)).await.expect("wait"), Exit::Ended);
        // Not reaped yet: a zombie is no process.
        assert_eq!(ProcessRef::of(process.pid).expect("proc"), None);
        assert!(LiveProcess::open(process).expect("open").is_none());
        child.wait().expect("reaped");
        assert_eq!(ProcessRef::of(process.pid).expect("proc"), None);
    }

    #[tokio::test]
    async fn an_id_with_another_start_time_is_another_process() {
        let mut child = sleeper();
        let process = ProcessRef::of(child.id()).expect("proc").expect("alive");
        let other = ProcessRef { start_ticks: process.start_ticks + 1, ..process };
        assert!(LiveProcess::open(other).expect("open").is_none());
        child.kill().expect("kill");
        child.wait().expect("reaped");
    }
}
