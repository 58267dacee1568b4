//! Namespaces that end with the test: what a host's disk and network, and a network's bridge, live in.
//!
//! A chassis is a process in a mount, network and process-id namespace of its own that reads a pipe
//! until it closes. It is the first process of its process-id namespace: when it ends, the kernel
//! kills whatever else runs there, the mounts go, and so do the interfaces. The test holds the other
//! end of the pipe, so this happens even when the test is killed with SIGKILL.

use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;
use xtask::process::{self, Child};

/// How long namespaces and a few mounts may take: some 20 ms, on a busy machine some hundred times that.
const PATIENCE: Duration = Duration::from_secs(20);

/// A set of namespaces.
#[derive(Debug)]
pub struct Chassis {
    // Dropped before `unshare`: closing it ends the namespaces.
    input: Option<ChildStdin>,
    unshare: Child,
    /// Its first process, as this process sees it.
    init: u32,
}

impl Chassis {
    /// Makes the namespaces and runs a script in them, with a private `/run`.
    pub fn start(name: &str, script: &str, logs: &Path) -> anyhow::Result<Self> {
        const READY: &str = "chassis ready";
        let script = format!(
            "set -eu\nmount --make-rprivate /\nmount -t tmpfs -o mode=755 fettle-run /run\n{script}\necho '{READY}'\nexec cat"
        );
        let mut command = clean("unshare");
        command
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script])
            .stdin(Stdio::piped());
        let mut unshare = Child::spawn_with_input(&format!("{name}-chassis"), &mut command, logs)?;
        let input = unshare.take_input();
        let (log, parent) = (unshare.log().to_owned(), unshare.id());
        let init = unshare.wait_until("the namespaces are ready", PATIENCE, || {
            let ready = process::tail(&log)?.contains(READY);
            Ok(if ready { first_process_below(parent)? } else { None })
        })?;
        Ok(Self { input, unshare, init })
    }

    /// Its first process, by the id under which this process sees it.
    #[must_use]
    pub fn init(&self) -> u32 {
        self.init
    }

    /// A command that runs inside of its network and mounts.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = clean("nsenter");
        command.arg(format!("--target={}", self.init)).args(["--mount", "--net", "--", program]);
        command
    }

    /// A path inside of it, as this process sees it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init)).join(inside.trim_start_matches('/'))
    }

    /// Ends everything that lives in it, and waits for that.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.input = None;
        self.unshare.wait(PATIENCE).context("wait for the namespaces' end")?;
        Ok(())
    }
}

impl Drop for Chassis {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("{error:#}");
        }
    }
}

/// A command with a small environment of its own: what the developer has set stays outside.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// The child of a process that is the first one of a process-id namespace below this process's.
pub(crate) fn first_process_below(parent: u32) -> anyhow::Result<Option<u32>> {
    let is_first = |pid: &u32| {
        let ids = field(*pid, "NSpid:").unwrap_or_default();
        ids.split_whitespace().skip(1).last() == Some("1")
    };
    Ok(children(parent)?.into_iter().find(is_first))
}

/// The children of a process.
pub(crate) fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("list the processes")? {
        let name = entry.context("list the processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if field(pid, "PPid:").is_some_and(|id| id.parse() == Ok(parent)) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// A field of a process's status; `None` when it has ended meanwhile.
fn field(pid: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}
