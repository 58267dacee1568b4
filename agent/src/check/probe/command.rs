//! A command that the host's owner registered, after the Nagios plugin protocol: exit 0 passing, 1 warning,
//! 2 critical, anything else unknown; the first line of standard output, up to `|`, is the reason.
//!
//! The control plane sends a name, never an argument. The command runs as the daemon's user with an environment
//! that has only PATH, in a process group that is killed whole when the command ends, times out or its
//! check goes away.

use super::ready::when_readable;
use crate::check::observation::Verdict;
use crate::check::reason::Reason;
use fettle_model::check::Status;
use fettle_model::name::CheckName;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, ChildStdout};

/// How much of the output is kept; the protocol promises no more (Nagios itself reads 8 KiB over all lines).
const MAX_OUTPUT_BYTES: usize = 4 * 1024;

/// For the rest of the output to arrive after every process of the group was killed. It is in the pipe
/// already; only a process that left the group can hold the pipe open for longer.
const DRAIN: Duration = Duration::from_millis(100);

/// Where a command and its children find programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(in crate::check) struct Command {
    program: String,
    arguments: Vec<String>,
}

impl Command {
    pub(super) fn prepare(name: &CheckName, commands: &BTreeMap<CheckName, Vec<String>>) -> Result<Self, Reason> {
        match commands.get(name).map(Vec::as_slice) {
            Some([program, arguments @ ..]) => Ok(Self { program: program.clone(), arguments: arguments.to_vec() }),
            Some([]) | None => Err(Reason::new(&format!(
                "this host has no command {name}: add [commands.{name}] with its argv to the agent's configuration"
            ))),
        }
    }

    pub(super) async fn probe(&self) -> Verdict {
        match self.run().await {
            Ok((status, output)) => judge(status, &output),
            Err(error) => Verdict::unknown(Reason::of_error(&self.program, &error).as_str()),
        }
    }

    async fn run(&self) -> io::Result<(ExitStatus, Vec<u8>)> {
        let mut child = tokio::process::Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        // Dropped before the child is reaped, on every way out.
        let (group, ended) = group_of(&child)?;
        let mut stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
        let mut output = Vec::new();
        tokio::select! {
            biased;
            ready = ended.readable() => drop(ready?),
            // It closed its output, or wrote all that will be read; its exit code is still to come.
            read = keep_first(&mut stdout, &mut output) => { read?; drop(ended.readable().await?); }
        }
        // The command is a zombie now: its number still names its group and nobody else's.
        drop(group);
        let status = child.wait().await?;
        // If it takes longer, what came so far is the output.
        if let Ok(read) = tokio::time::timeout(DRAIN, keep_first(&mut stdout, &mut output)).await {
            read?;
        }
        Ok((status, output))
    }
}

/// A process group that is killed when this is dropped. Its leader must not be reaped before.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // Fails only when no process of the group is left but the leader's zombie.
        kill_process_group(self.0, Signal::KILL).ok();
    }
}

/// The child's group, and what becomes readable when the child ends.
fn group_of(child: &Child) -> io::Result<(Group, AsyncFd<OwnedFd>)> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the command has no process id"))?;
    let group = Group(pid);
    let ended = when_readable(pidfd_open(pid, PidfdFlags::empty())?)?;
    Ok((group, ended))
}

/// Reads to the end, so that the command does not block on a full pipe, and keeps the beginning.
async fn keep_first(stdout: &mut ChildStdout, output: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 1_024];
    loop {
        let read = stdout.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        let room = MAX_OUTPUT_BYTES.saturating_sub(output.len()).min(read);
        output.extend_from_slice(piece.get(..room).unwrap_or_default());
    }
}

fn judge(exit: ExitStatus, output: &[u8]) -> Verdict {
    let status = match exit.code() {
        Some(0) => Status::Passing,
        Some(1) => Status::Warning,
        Some(2) => Status::Critical,
        Some(_) | None => Status::Unknown,
    };
    let said = first_line(output);
    let reason = match (exit.code(), exit.signal()) {
        (None, Some(signal)) => Reason::new(&format!("ended by signal {signal}: {said}")),
        (None, None) => Reason::new(&format!("ended without an exit code: {said}")),
        (Some(code), _) if said.as_str().is_empty() => Reason::new(&format!("exit code {code} and no output")),
        (Some(0..=2), _) => said,
        (Some(code), _) => Reason::new(&format!("exit code {code}: {said}")),
    };
    Verdict { status, reason }
}

/// Without performance data, which follows the first `|`.
fn first_line(output: &[u8]) -> Reason {
    let end = output.iter().position(|byte| matches!(byte, b'\n' | b'|')).unwrap_or(output.len());
    Reason::new(&String::from_utf8_lossy(output.get(..end).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wait_status: i32, output: &str, status: Status, reason: &str) {
        let verdict = judge(ExitStatus::from_raw(wait_status), output.as_bytes());
        assert_eq!((verdict.status, verdict.reason.as_str()), (status, reason));
    }

    #[test]
    fn exit_codes_and_the_first_line_follow_the_plugin_protocol() {
        let exit = |code: i32| code << 8;
        check(exit(0), "DISK OK - 3 GB free | /=2643MB;5948\nlong text", Status::Passing, "DISK OK - 3 GB free");
        check(exit(1), "LOAD WARNING\n", Status::Warning, "LOAD WARNING");
        check(exit(2), "DOWN", Status::Critical, "DOWN");
        check(exit(3), "usage", Status::Unknown, "exit code 3: usage");
        check(exit(127), "", Status::Unknown, "exit code 127 and no output");
        check(exit(2), "|perf=1", Status::Critical, "exit code 2 and no output");
        check(9, "half a", Status::Unknown, "ended by signal 9: half a");
    }

    #[test]
    fn a_name_without_a_command_is_refused_with_what_to_add() {
        let name: CheckName = "smart".parse().expect("a name");
        for commands in [BTreeMap::new(), BTreeMap::from([(name.clone(), Vec::new())])] {
            let refused = Command::prepare(&name, &commands).err().expect("there is no argv");
            assert!(refused.as_str().contains("add [commands.smart]"), "{refused}");
        }
    }
}
