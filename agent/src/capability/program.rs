//! Runs the host owner's registered programs: own process group, empty environment but for PATH,
//! no standard input, a bound on time and output, no shell.
//!
//! Used by the command services and for `journalctl`. A program that takes too long is killed with
//! its group.

use crate::config::Argv;
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// The whole environment of a program.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ran {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It took too long and was killed with its group.
    TimedOut,
    /// It could not be started; nothing was done.
    NotStarted(String),
    /// It was started, and its end cannot be told.
    Lost(String),
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
            Self::TimedOut => f.write_str("took too long and was killed"),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::Lost(why) => write!(f, "was lost sight of: {why}"),
        }
    }
}

fn command(argv: &Argv) -> Command {
    let mut command = Command::new(argv.program());
    command
        .args(argv.arguments())
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
}

/// Runs a program to its end. Its output goes nowhere: a daemon that it leaves behind would inherit
/// a pipe of ours and die of it later.
pub(super) async fn run(argv: &Argv, within: Duration) -> Ran {
    match command(argv).spawn() {
        Ok(mut child) => wait(&mut child, within).await,
        Err(error) => Ran::NotStarted(error.to_string()),
    }
}

/// Runs a program to its end with a text of a few kibibytes on its standard input. Its output goes nowhere.
pub(super) async fn feed(argv: &Argv, input: &[u8], within: Duration) -> Ran {
    let mut child = match command(argv).stdin(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return Ran::NotStarted(error.to_string()),
    };
    if let Some(mut stdin) = child.stdin.take() {
        // What does not read its input says so by its end.
        let _written = tokio::time::timeout(within, stdin.write_all(input)).await;
    }
    wait(&mut child, within).await
}

/// Runs a program that only looks, and returns at most `limit` bytes of what it writes. When there
/// is more, it is ended there.
pub(super) async fn read_output(argv: &Argv, limit: u64, within: Duration) -> Result<Vec<u8>, Ran> {
    let mut child = command(argv).stdout(Stdio::piped()).spawn().map_err(|error| Ran::NotStarted(error.to_string()))?;
    let mut output = Vec::new();
    let Some(stdout) = child.stdout.take() else { return Err(Ran::Lost("no standard output".to_owned())) };
    let read = tokio::time::timeout(within, stdout.take(limit).read_to_end(&mut output)).await;
    let whole = u64::try_from(output.len()).is_ok_and(|length| length < limit);
    match read {
        Ok(Ok(_)) if whole => match wait(&mut child, within).await {
            Ran::Exited(0) => Ok(output),
            ended @ (Ran::Exited(_) | Ran::Signalled(_) | Ran::TimedOut | Ran::NotStarted(_) | Ran::Lost(_)) => {
                Err(ended)
            }
        },
        Ok(Ok(_)) => {
            end_group(&mut child).await;
            Ok(output)
        }
        Ok(Err(error)) => {
            end_group(&mut child).await;
            Err(Ran::Lost(error.to_string()))
        }
        Err(_elapsed) => {
            end_group(&mut child).await;
            Err(Ran::TimedOut)
        }
    }
}

async fn wait(child: &mut Child, within: Duration) -> Ran {
    match tokio::time::timeout(within, child.wait()).await {
        Ok(Ok(status)) => ended(status),
        Ok(Err(error)) => Ran::Lost(error.to_string()),
        Err(_elapsed) => {
            end_group(child).await;
            Ran::TimedOut
        }
    }
}

fn ended(status: ExitStatus) -> Ran {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ran::Exited(code),
        (None, Some(signal)) => Ran::Signalled(signal),
        (None, None) => Ran::Lost("neither exit code nor signal".to_owned()),
    }
}

async fn end_group(child: &mut Child) {
    // Unreaped, so the id still names this child's group and no other.
    if let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // ESRCH: the group ended by itself in between, which is what is wanted.
        let _ended = kill_process_group(group, Signal::KILL);
    }
    // Reaps it. It was killed, so this does not wait; an error leaves a zombie to the runtime's reaper.
    let _reaped = child.wait().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn sh(script: &str) -> Argv {
        Argv::new(["/bin/sh", "-c", script].map(str::to_owned).to_vec()).expect("an argv")
    }

    #[tokio::test]
    async fn the_end_of_a_program_is_told_as_it_was() {
        assert_eq!(run(&sh("exit 3"), SOON).await, Ran::Exited(3));
        assert_eq!(run(&sh("kill -TERM $$"), SOON).await, Ran::Signalled(15));
        let missing = Argv::new(vec!["/nonexistent/program".to_owned()]).expect("an argv");
        assert!(matches!(run(&missing, SOON).await, Ran::NotStarted(_)));
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_is_killed_with_its_children() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let ran = run(&sh(&script), Duration::from_secs(1)).await;
        assert_eq!(ran, Ran::TimedOut);
        let pid: u32 = std::fs::read_to_string(file).expect("a pid").trim().parse().expect("a number");
        let gone = async {
            while super::super::ProcessRef::of(pid).expect("proc").is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, gone).await.expect("the child outlived its group");
    }

    #[tokio::test]
    async fn a_program_sees_only_path_and_no_input() {
        let seen = read_output(&sh("/usr/bin/env; cat"), 4_096, SOON).await.expect("output");
        let mut names: Vec<&str> = std::str::from_utf8(&seen)
            .expect("text")
            .lines()
            .filter_map(|line| line.split_once('=').map(|(name, _)| name))
            .collect();
        // The shell itself adds these to an empty environment.
        names.retain(|name| !matches!(*name, "PWD" | "_" | "SHLVL" | "OLDPWD"));
        assert_eq!(names, ["PATH"]);
    }

    #[tokio::test]
    async fn endless_output_is_cut_and_its_program_ended() {
        let seen = read_output(&sh("while :; do echo x; done"), 1_000, SOON).await.expect("output");
        assert_eq!(seen.len(), 1_000);
    }
}
