//! When each start and stop command began, one line each in `commands.log` beside the pid file:
//! nanoseconds since the boot, a space, the command. So the demo and the bench can tell when a repair
//! reached the service.

use anyhow::Context as _;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// An instant on the boot clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Began(Timespec);

/// Now; taken as the first thing that a command does.
pub(crate) fn now() -> Began {
    Began(clock_gettime(ClockId::Boottime))
}

/// Adds a line.
pub(crate) fn note(pid_file: &Path, Began(at): Began, command: &str) -> anyhow::Result<()> {
    let path = pid_file.with_file_name("commands.log");
    let opened = OpenOptions::new().create(true).append(true).mode(0o640).open(&path);
    let mut file = opened.with_context(|| format!("open {}", path.display()))?;
    // One write: commands that run at once do not mix their lines.
    let line = format!("{}{:09} {command}\n", at.tv_sec, at.tv_nsec);
    file.write_all(line.as_bytes()).with_context(|| format!("write {}", path.display()))
}
