//! Starting the daemon and the workers.
//!
//! Each child gets its end of a socket pair as standard input, an almost empty environment, and, where
//! the agent was started as root, a user of its own. A child that is dropped is killed. The program is
//! this very one, by `/proc/self/exe`: an upgrade on disk does not mix versions within one agent.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::process::Stdio;
use tokio::net::UnixStream;
use tokio::process::{Child as Process, Command};

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Network and checks.
    Daemon,
    /// One playbook.
    Worker,
}

impl Role {
    /// The hidden subcommand.
    #[must_use]
    pub const fn subcommand(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Worker => "worker",
        }
    }
}

/// A user and group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// How far the children are separated from the effector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separation {
    /// Users of their own.
    Users {
        /// The daemon's.
        daemon: Account,
        /// The workers'.
        worker: Account,
    },
    /// The effector's own user: it is not root, or its owner chose so.
    SameUser,
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    /// The effector's end.
    pub pipe: UnixStream,
    /// The process; killed when dropped.
    pub process: Process,
}

/// Starts a child. Needs a tokio runtime.
///
/// # Errors
/// When the kernel refuses a socket or a process.
pub fn start(role: Role, separation: Separation) -> std::io::Result<Child> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("fettle-agent")
        .arg(role.subcommand())
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .env_clear()
        // One heap instead of one for each thread that ever allocates: a child has one thread that does.
        .env("MALLOC_ARENA_MAX", "1")
        .current_dir("/")
        .kill_on_drop(true);
    // What a person set for logs and backtraces holds for the children as well; nothing else does.
    for name in ["FETTLE_LOG", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let account = match (separation, role) {
        (Separation::Users { daemon, .. }, Role::Daemon) => Some(daemon),
        (Separation::Users { worker, .. }, Role::Worker) => Some(worker),
        (Separation::SameUser, Role::Daemon | Role::Worker) => None,
    };
    if let Some(account) = account {
        // The standard library clears the supplementary groups when it changes the user as root.
        command.gid(account.gid).uid(account.uid);
    }
    let process = command.spawn()?;
    Ok(Child { pipe: nonblocking(ours)?, process })
}

fn nonblocking(end: OwnedFd) -> std::io::Result<UnixStream> {
    let end = StdUnixStream::from(end);
    end.set_nonblocking(true)?;
    UnixStream::from_std(end)
}
