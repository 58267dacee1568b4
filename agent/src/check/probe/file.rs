//! A file must exist and be fresh, or must be absent. Changes in its folder wake the probe at once (inotify).
//!
//! The watch is on the folder, since a file that is not there cannot be watched. Without a watch (the folder is
//! missing, the kernel's limit is reached) the interval alone finds out, and each probe tries again.

use super::look::Looks;
use super::ready::when_readable;
use crate::check::observation::Verdict;
use crate::check::reason::Reason;
use crate::check::schedule::Clock;
use fettle_model::check::Presence;
use fettle_model::time::{HumanDuration, UnixMillis};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::unix::AsyncFd;

/// Holds at least three events with the longest name (16 + 256 bytes), dozens of the usual.
const EVENTS_BYTES: usize = 1_024;

/// Pause after events that concern other files, so that a busy folder costs at most 100 wake-ups a second.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

pub(in crate::check) struct File {
    path: PathBuf,
    folder: PathBuf,
    name: OsString,
    must: Presence,
    max_age: Option<Duration>,
    clock: Clock,
    looks: Looks,
    watch: Option<AsyncFd<OwnedFd>>,
}

/// What a look finds in the file's place.
#[derive(Debug)]
enum Found {
    Nothing,
    Modified(UnixMillis),
    Untold(io::Error),
}

impl File {
    pub(super) fn prepare(
        path: &str,
        must: Presence,
        max_age: Option<Duration>,
        clock: Clock,
        looks: Looks,
    ) -> Result<Self, Reason> {
        let path = PathBuf::from(path);
        let senseless = || Reason::new(&format!("{} is not an absolute path of a file", path.display()));
        if !path.is_absolute() {
            return Err(senseless());
        }
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(senseless()) };
        let (folder, name) = (folder.to_owned(), name.to_owned());
        Ok(Self { path, folder, name, must, max_age, clock, looks, watch: None })
    }

    pub(super) async fn probe(&mut self) -> Verdict {
        let path = self.path.clone();
        let unwatched = self.watch.is_none().then(|| self.folder.clone());
        // The watch stands before the look: a change after the look is an event.
        let look = move || (unwatched.map(|folder| watch(&folder)), look(&path));
        let found = match self.looks.take(look).await {
            Ok((None, found)) => found,
            Ok((Some(watched), found)) => {
                self.watch = watched.and_then(when_readable).ok();
                found
            }
            Err(error) => return Verdict::unknown(Reason::of_error(&self.path.display().to_string(), &error).as_str()),
        };
        judge(&self.path, &found, self.must, self.max_age, (self.clock)())
    }

    // CANCEL: events are taken from the kernel and judged without an await between.
    pub(super) async fn event(&mut self) {
        let Some(watch) = &self.watch else { return std::future::pending().await };
        loop {
            let Ok(mut ready) = watch.readable().await else { return std::future::pending().await };
            let seen = read_events(watch.get_ref(), &self.name);
            ready.clear_ready();
            match seen {
                Seen::Others => tokio::time::sleep(BUSY_PAUSE).await,
                Seen::Ours => return,
                Seen::Unwatched => {
                    self.watch = None;
                    return;
                }
            }
        }
    }
}

/// What a batch of events was about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Others,
    Ours,
    /// The watch is gone, since the folder is.
    Unwatched,
}

/// Reads all events that wait.
fn read_events(fd: &OwnedFd, name: &OsStr) -> Seen {
    let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
    let mut events = inotify::Reader::new(fd, &mut buffer);
    let mut seen = Seen::Others;
    loop {
        match events.next() {
            Ok(event) if event.events().intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT | ReadFlags::MOVE_SELF) => {
                return Seen::Unwatched;
            }
            Ok(event) => {
                let ours = event.file_name().is_some_and(|seen| seen.to_bytes() == name.as_bytes());
                if ours || event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                    seen = Seen::Ours;
                }
            }
            Err(Errno::WOULDBLOCK) => return seen,
            Err(Errno::INTR) => {}
            Err(_) => return Seen::Unwatched,
        }
    }
}

fn watch(folder: &Path) -> io::Result<OwnedFd> {
    let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let changes = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::ATTRIB
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    inotify::add_watch(&fd, folder, changes)?;
    Ok(fd)
}

fn look(path: &Path) -> Found {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    match modified {
        // Before 1970 is as old as can be told.
        Ok(modified) => {
            Found::Modified(UnixMillis(modified.duration_since(UNIX_EPOCH).map_or(0, fettle_model::time::whole_millis)))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Found::Nothing,
        Err(error) => Found::Untold(error),
    }
}

fn judge(path: &Path, found: &Found, must: Presence, max_age: Option<Duration>, now: UnixMillis) -> Verdict {
    let path = path.display();
    match (found, must) {
        (Found::Untold(error), Presence::Exist | Presence::BeAbsent) => {
            Verdict::unknown(Reason::of_error(&path.to_string(), error).as_str())
        }
        (Found::Nothing, Presence::Exist) => Verdict::critical(&format!("{path} does not exist")),
        (Found::Nothing, Presence::BeAbsent) => Verdict::passing(&format!("{path} does not exist")),
        (Found::Modified(_), Presence::BeAbsent) => Verdict::critical(&format!("{path} exists")),
        (Found::Modified(modified), Presence::Exist) => {
            let age = now.since(*modified);
            match max_age {
                Some(max_age) if age > max_age => Verdict::critical(&format!(
                    "{path} is {} s old, more than {}",
                    age.as_secs(),
                    HumanDuration(max_age)
                )),
                Some(_) => Verdict::passing(&format!("{path} is {} s old", age.as_secs())),
                None => Verdict::passing(&format!("{path} exists")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::check::Status;

    #[track_caller]
    fn check(found: &Found, must: Presence, max_age_seconds: Option<u64>, expected: (Status, &str)) {
        let now = UnixMillis(1_000_000);
        let verdict = judge(Path::new("/f"), found, must, max_age_seconds.map(Duration::from_secs), now);
        assert_eq!((verdict.status, verdict.reason.as_str()), expected);
    }

    #[test]
    fn presence_and_age_decide() {
        let (exist, absent) = (Presence::Exist, Presence::BeAbsent);
        check(&Found::Nothing, exist, None, (Status::Critical, "/f does not exist"));
        check(&Found::Nothing, absent, None, (Status::Passing, "/f does not exist"));
        check(&Found::Modified(UnixMillis(0)), exist, None, (Status::Passing, "/f exists"));
        check(&Found::Modified(UnixMillis(0)), absent, None, (Status::Critical, "/f exists"));
        let minute_old = Found::Modified(UnixMillis(940_000));
        check(&minute_old, exist, Some(60), (Status::Passing, "/f is 60 s old"));
        check(&minute_old, exist, Some(59), (Status::Critical, "/f is 60 s old, more than 59s"));
        check(&Found::Modified(UnixMillis(2_000_000)), exist, Some(1), (Status::Passing, "/f is 0 s old"));
    }

    #[test]
    fn a_place_that_may_not_be_looked_at_is_neither_empty_nor_full() {
        let denied = || Found::Untold(io::Error::from(io::ErrorKind::PermissionDenied));
        check(&denied(), Presence::Exist, None, (Status::Unknown, "/f: permission denied"));
        check(&denied(), Presence::BeAbsent, None, (Status::Unknown, "/f: permission denied"));
    }
}
