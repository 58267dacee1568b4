//! What can be seen of a process from outside: whether it is held, what its children are, what it may.
//! Called by the fixtures. Only processes that a test started itself are looked at.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

/// Whether a process is stopped, as a hold point stops it.
pub(crate) fn is_held(pid: u32) -> anyhow::Result<bool> {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return Ok(false) };
    let fields = stat.rsplit_once(')').context("a process's stat has a name in parentheses")?.1;
    Ok(fields.split_whitespace().next() == Some("T"))
}

/// Sends a signal to a process of the test's own. That it has ended already is no error.
pub(crate) fn signal(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process id")?;
    match kill_process(id, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("signal process {pid}")),
    }
}

/// The children of a process whose first argument is this one.
pub(crate) fn children_with(parent: u32, argument: &str) -> anyhow::Result<Vec<u32>> {
    let has_it = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(argument.as_bytes())
    };
    Ok(crate::chassis::children(parent)?.into_iter().filter(has_it).collect())
}
