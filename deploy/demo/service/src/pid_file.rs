//! The pid file, and what it says about a process that may be gone.
//!
//! Two lines: the process id, and the time when that process started in clock ticks after boot, so
//! that a process id that was given to somebody else is not taken for ours. Signals go through a
//! pidfd that was opened *before* the start time was compared: between the two the id cannot change hands.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

/// Why a pid file or the process in it could not be dealt with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PidFileError {
    /// It cannot be read or written.
    #[error("access {}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It does not hold a process id and a start time.
    #[error("{} holds no process id and start time", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The system refused to tell about the process or to signal it.
    #[error("look at process {pid}")]
    Process {
        /// The process.
        pid: i32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A process, told apart from another that gets the same id later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) pid: Pid,
    /// When it started, in clock ticks after boot.
    started: u64,
}

impl Identity {
    /// This process.
    pub(crate) fn own() -> Result<Self, PidFileError> {
        let pid = rustix::process::getpid();
        let started = start_time(pid)?.ok_or_else(|| failed(pid, Errno::SRCH))?;
        Ok(Self { pid, started })
    }

    /// Opens it, if it still runs.
    pub(crate) fn open(self) -> Result<Option<Running>, PidFileError> {
        let fd = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH) => return Ok(None),
            Err(errno) => return Err(failed(self.pid, errno)),
        };
        Ok((start_time(self.pid)? == Some(self.started)).then_some(Running { pid: self.pid, fd }))
    }
}

fn failed(pid: Pid, errno: Errno) -> PidFileError {
    PidFileError::Process { pid: pid.as_raw_nonzero().get(), source: errno.into() }
}

/// How waiting for a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It is gone.
    Gone,
    /// It is still there.
    StillThere,
}

/// A process that ran when it was opened.
pub(crate) struct Running {
    /// Its id.
    pub(crate) pid: Pid,
    fd: OwnedFd,
}

impl Running {
    /// A child of this process. Nobody else gets its id before it is waited for.
    pub(crate) fn child(child: &Child) -> Result<Self, PidFileError> {
        let pid = Pid::from_child(child);
        let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(pid, errno))?;
        Ok(Self { pid, fd })
    }

    /// Sends a signal; that it is gone already is no error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), PidFileError> {
        match pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(failed(self.pid, errno)),
        }
    }

    /// Waits until it ends.
    pub(crate) fn wait(&self, patience: Duration) -> Result<Waited, PidFileError> {
        let patience = Timespec::try_from(patience).map_err(|_| failed(self.pid, Errno::INVAL))?;
        loop {
            let mut watched = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut watched, Some(&patience)) {
                Ok(0) => return Ok(Waited::StillThere),
                Ok(_) => return Ok(Waited::Gone),
                // Starts the patience again: only a signal to the waiting command itself comes here.
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(self.pid, errno)),
            }
        }
    }
}

/// Writes it so that a reader sees all of it or none.
pub(crate) fn write(path: &Path, identity: Identity) -> Result<(), PidFileError> {
    let failed = |source| PidFileError::Access { path: path.to_owned(), source };
    let temporary = path.with_extension(format!("new-{}", identity.pid.as_raw_nonzero()));
    let mut file = File::create(&temporary).map_err(failed)?;
    writeln!(file, "{}\n{}", identity.pid.as_raw_nonzero(), identity.started).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

/// Reads it; `None` when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Identity>, PidFileError> {
    let bytes = match crate::file::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(PidFileError::Access { path: path.to_owned(), source }),
    };
    parse(&bytes).map(Some).ok_or_else(|| PidFileError::Malformed { path: path.to_owned() })
}

fn parse(bytes: &[u8]) -> Option<Identity> {
    let mut lines = std::str::from_utf8(bytes).ok()?.lines();
    let pid = Pid::from_raw(lines.next()?.parse().ok().filter(|pid| *pid > 0)?)?;
    let started = lines.next()?.parse().ok()?;
    lines.next().is_none().then_some(Identity { pid, started })
}

/// Removes it.
pub(crate) fn remove(path: &Path) -> Result<(), PidFileError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(PidFileError::Access { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// When a process started; `None` when it is gone or a zombie.
fn start_time(pid: Pid) -> Result<Option<u64>, PidFileError> {
    let raw = pid.as_raw_nonzero();
    match crate::file::read(Path::new(&format!("/proc/{raw}/stat"))) {
        Ok(bytes) => Ok(parse_start_time(&bytes)),
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(source) => Err(PidFileError::Process { pid: raw.get(), source }),
    }
}

/// Field 22 of `/proc/<pid>/stat` (proc(5)). The command in field 2 may hold blanks and
/// parentheses; the fields after it begin behind the last `)`.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    const STATE: usize = 3;
    const START_TIME: usize = 22;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(START_TIME - STATE - 1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_command_name() {
        let rest = "S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 10";
        assert_eq!(parse_start_time(format!("7 (a) b (c)) {rest}").as_bytes()), Some(98765));
        assert_eq!(parse_start_time(format!("7 (x) {}", rest.replacen('S', "Z", 1)).as_bytes()), None);
        assert_eq!(parse_start_time(b"7 (x) S 1"), None);
    }

    #[test]
    fn a_pid_file_is_a_process_id_and_a_start_time_and_nothing_else() {
        let identity = parse(b"42\n98765\n").expect("it is well formed");
        assert_eq!((identity.pid.as_raw_nonzero().get(), identity.started), (42, 98765));
        for malformed in ["", "42", "42\n", "0\n1\n", "-1\n1\n", "42\nx\n", "42\n1\n2\n"] {
            assert_eq!(parse(malformed.as_bytes()), None, "{malformed:?}");
        }
    }

    #[test]
    fn a_process_with_the_same_id_and_another_start_time_is_not_the_one_in_the_file() {
        let own = Identity::own().expect("this process runs");
        assert!(own.open().expect("it can be looked at").is_some());
        let other = Identity { started: own.started + 1, ..own };
        assert!(other.open().expect("it can be looked at").is_none());
    }
}
