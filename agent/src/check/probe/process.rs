//! A process must live. Its end wakes the probe at once through a pidfd.
//!
//! The pid file is read again by every probe. Between probes a pidfd holds the process itself, which
//! no reuse of its number can fool: while the file is the same file, an ended process stays ended. When a
//! process is met for the first time, its start time tells whether it can have written the file.

use super::look::{Looks, NoLook};
use super::ready::when_readable;
use crate::check::observation::Verdict;
use crate::check::reason::Reason;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// The first line holds the number; what follows in some services' files is not read.
const MAX_PID_FILE_BYTES: u64 = 64;

/// `/proc/PID/stat` is one line of 52 numbers and a name of at most 64 bytes.
const MAX_STAT_BYTES: u64 = 2_048;

/// Ticks of `/proc/PID/stat` in a second: fixed in the kernel's interface on x86-64 and AArch64.
const TICKS_PER_SECOND: u64 = 100;

/// How much later than its file a process may seem to start: one tick, the file system's clock, rounding.
const START_SLACK: Duration = Duration::from_secs(1);

pub(in crate::check) struct Process {
    pid_file: PathBuf,
    looks: Looks,
    held: Option<Held>,
}

/// The process that the pid file named last.
struct Held {
    file: Stamp,
    pid: Pid,
    /// `None` once it has ended.
    alive: Option<AsyncFd<OwnedFd>>,
}

/// Tells one writing of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

#[derive(Debug, thiserror::Error)]
enum NoPid {
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("does not begin with a process id")]
    NotANumber,
}

impl Process {
    pub(super) fn prepare(pid_file: &str, looks: Looks) -> Result<Self, Reason> {
        let pid_file = PathBuf::from(pid_file);
        if !pid_file.is_absolute() {
            return Err(Reason::new(&format!("the pid file {} is not an absolute path", pid_file.display())));
        }
        Ok(Self { pid_file, looks, held: None })
    }

    pub(super) async fn probe(&mut self) -> Verdict {
        let path = self.pid_file.clone();
        match self.looks.take(move || read_pid_file(&path)).await {
            Ok(Ok((pid, file))) => self.judge(pid, file),
            Ok(Err(error)) => self.without_pid(&error),
            Err(error) => self.could_not(&error),
        }
    }

    fn judge(&mut self, pid: Pid, file: Stamp) -> Verdict {
        if let Some(held) = self.held.as_mut().filter(|held| held.pid == pid && held.file == file) {
            held.alive.take_if(|fd| has_ended(fd.get_ref()));
            return if held.alive.is_some() { lives(pid) } else { ended(pid) };
        }
        match meet(pid, file) {
            Ok(Met::Lives(fd)) => {
                self.held = Some(Held { file, pid, alive: Some(fd) });
                lives(pid)
            }
            Ok(Met::Ended) => {
                self.held = Some(Held { file, pid, alive: None });
                ended(pid)
            }
            Ok(Met::Stranger) => {
                self.held = None;
                Verdict::unknown(&format!(
                    "{} names process {}, which began after the file was written: the number may be reused",
                    self.pid_file.display(),
                    pid.as_raw_nonzero()
                ))
            }
            Err(error) => {
                self.held = None;
                let tried = format!("process {}", pid.as_raw_nonzero());
                Verdict::unknown(Reason::of_error(&tried, &error).as_str())
            }
        }
    }

    fn without_pid(&mut self, error: &NoPid) -> Verdict {
        self.held = None;
        let path = self.pid_file.display();
        let absent = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        match error {
            NoPid::Unreadable(error) if absent(error) => Verdict::critical(&format!("{path} does not exist")),
            NoPid::Unreadable(_) => Verdict::unknown(Reason::of_error(&path.to_string(), error).as_str()),
            NoPid::NotAFile | NoPid::NotANumber => Verdict::critical(&format!("{path} {error}")),
        }
    }

    fn could_not(&self, error: &NoLook) -> Verdict {
        Verdict::unknown(Reason::of_error(&self.pid_file.display().to_string(), error).as_str())
    }

    // CANCEL: holds nothing between polls.
    pub(super) async fn event(&mut self) {
        let alive = self.held.as_ref().and_then(|held| held.alive.as_ref());
        let Some(fd) = alive else { return std::future::pending().await };
        loop {
            match fd.readable().await {
                Ok(mut ready) => {
                    if has_ended(fd.get_ref()) {
                        return;
                    }
                    ready.clear_ready();
                }
                // The runtime is shutting down; the interval, if there is one more, finds out.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

fn lives(pid: Pid) -> Verdict {
    Verdict::passing(&format!("process {} lives", pid.as_raw_nonzero()))
}

fn ended(pid: Pid) -> Verdict {
    Verdict::critical(&format!("process {} has ended", pid.as_raw_nonzero()))
}

enum Met {
    Lives(AsyncFd<OwnedFd>),
    Ended,
    Stranger,
}

/// Takes hold of the process that a pid file names.
fn meet(pid: Pid, file: Stamp) -> io::Result<Met> {
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        // EINVAL: the number of a thread, so of no process.
        Err(Errno::SRCH | Errno::INVAL) => return Ok(Met::Ended),
        Err(error) => return Err(error.into()),
    };
    let started = start_time(pid);
    // Read before this question: if the process lives now, the start time was its own.
    if has_ended(&fd) {
        return Ok(Met::Ended);
    }
    let now = Now {
        wall: since_epoch(clock_gettime(ClockId::Realtime)),
        boot: since_epoch(clock_gettime(ClockId::Boottime)),
    };
    match started {
        Some(started) if began_after(started, file, now) => Ok(Met::Stranger),
        // Hidden where /proc is mounted with hidepid; then the guard is the pidfd alone.
        Some(_) | None => when_readable(fd).map(Met::Lives),
    }
}

/// Both clocks at one instant.
#[derive(Clone, Copy)]
struct Now {
    wall: Duration,
    boot: Duration,
}

/// Whether a process that started so long after boot cannot have written the file. A wall clock that was
/// set forward after the writing makes it seem so, which is why nobody acts upon the answer.
fn began_after(started: Duration, file: Stamp, now: Now) -> bool {
    let written = u64::try_from(file.modified.0).map_or(Duration::ZERO, Duration::from_secs);
    let began = now.wall.saturating_sub(now.boot.saturating_sub(started));
    began > written.saturating_add(Duration::from_secs(1)).saturating_add(START_SLACK)
}

fn since_epoch(time: Timespec) -> Duration {
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A pidfd is readable exactly when the process has ended, reaped or not.
fn has_ended(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

fn read_pid_file(path: &Path) -> Result<(Pid, Stamp), NoPid> {
    // Without NONBLOCK a FIFO in the file's place would hold the look for ever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(NoPid::Unreadable)?;
    let metadata = file.metadata().map_err(NoPid::Unreadable)?;
    if !metadata.is_file() {
        return Err(NoPid::NotAFile);
    }
    let stamp =
        Stamp { device: metadata.dev(), inode: metadata.ino(), modified: (metadata.mtime(), metadata.mtime_nsec()) };
    let mut text = Vec::new();
    file.take(MAX_PID_FILE_BYTES).read_to_end(&mut text).map_err(NoPid::Unreadable)?;
    let pid = parse_pid(&text).ok_or(NoPid::NotANumber)?;
    Ok((pid, stamp))
}

fn parse_pid(text: &[u8]) -> Option<Pid> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    let number = std::str::from_utf8(line).ok()?.trim();
    number.parse().ok().filter(|number: &i32| *number > 0).and_then(Pid::from_raw)
}

/// When the process started, after boot.
fn start_time(pid: Pid) -> Option<Duration> {
    let file = std::fs::File::open(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let mut text = Vec::new();
    file.take(MAX_STAT_BYTES).read_to_end(&mut text).ok()?;
    parse_start_time(&text)
}

/// Field 22 (proc_pid_stat(5)). The name in field 2 may hold spaces and parentheses, so fields are counted
/// from the last parenthesis.
fn parse_start_time(stat: &[u8]) -> Option<Duration> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(after_name + 1..)?).ok()?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks.saturating_mul(1_000 / TICKS_PER_SECOND)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_pid(text: &str, expected: Option<i32>) {
        assert_eq!(parse_pid(text.as_bytes()).map(|pid| pid.as_raw_nonzero().get()), expected, "{text:?}");
    }

    #[test]
    fn a_pid_file_begins_with_a_positive_number() {
        check_pid("812\n", Some(812));
        check_pid("  812", Some(812));
        check_pid("812\n/var/lib/postgresql\n", Some(812));
        for wrong in ["", "\n812", "0", "-1", "812 813", "x", "99999999999"] {
            check_pid(wrong, None);
        }
    }

    #[test]
    fn a_start_time_is_read_behind_any_name() {
        let stat =
            |name: &str| format!("812 ({name}) S 1 812 812 0 -1 4194560 1 0 0 0 5 3 0 0 20 0 1 0 12345 1000 2 3");
        for name in ["web", "a b", "a) S (b"] {
            assert_eq!(parse_start_time(stat(name).as_bytes()), Some(Duration::from_millis(123_450)), "{name}");
        }
        assert_eq!(parse_start_time(b"812 (web) S 1"), None);
        assert_eq!(parse_start_time(b""), None);
    }

    #[test]
    fn a_process_that_began_after_its_file_was_written_is_a_stranger() {
        let now = Now { wall: Duration::from_secs(10_000), boot: Duration::from_secs(1_000) };
        let written = |seconds| Stamp { device: 1, inode: 1, modified: (seconds, 0) };
        // Started 500 s after boot, so at 9500 on the wall.
        let started = Duration::from_secs(500);
        assert!(!began_after(started, written(9_600), now));
        assert!(!began_after(started, written(9_500), now));
        assert!(!began_after(started, written(9_499), now));
        assert!(began_after(started, written(9_400), now));
    }

    #[test]
    fn this_very_process_started_in_the_past() {
        let started = start_time(rustix::process::getpid()).expect("/proc is mounted");
        assert!(started > Duration::ZERO && started <= since_epoch(clock_gettime(ClockId::Boottime)));
    }
}
