//! Run, start, stop and status: the four commands of a service manager.
//!
//! `run` holds a lock beside the pid file for as long as it lives, so two never run on one pid
//! file. `start` waits until the process *it* started answers; an answer of somebody else's process
//! on the same port is not taken for it.

use crate::pid_file::{self, Identity, PidFileError, Running, Waited};
use crate::release::{self, ReleaseError};
use rustix::process::{Pid, Signal};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long `start` waits for an answer: a start takes about 10 ms, a busy machine some hundred times that.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks: a fifth of a usual start.
const START_INTERVAL: Duration = Duration::from_millis(2);
/// How long one attempt to get an answer may take.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);
/// How long `stop` waits after SIGTERM: the service drops its connections at once.
const TERM_PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits after SIGKILL: only a process in an uninterruptible sleep needs any time.
const KILL_PATIENCE: Duration = Duration::from_secs(3);

/// Where everything of one service is; all paths are absolute.
pub(crate) struct Settings {
    /// The folder that holds `releases/` and `current`.
    pub(crate) root: PathBuf,
    /// The address to listen on.
    pub(crate) listen: SocketAddr,
    /// The pid file.
    pub(crate) pid_file: PathBuf,
    /// Where a started service's output goes.
    pub(crate) log_file: PathBuf,
    /// The flag file.
    pub(crate) flags: PathBuf,
    /// The flag of the failing feature.
    pub(crate) flag_key: String,
    /// Whom that feature asks; without it, it always fails.
    pub(crate) feature_asks: Option<SocketAddr>,
}

/// Whether it runs.
pub(crate) enum Standing {
    /// It does, with this process id.
    Running(Pid),
    /// It does not.
    Stopped,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LifecycleError {
    /// Another process holds the lock.
    #[error("it runs already: {} is locked", lock.display())]
    AlreadyRuns {
        /// The lock.
        lock: PathBuf,
    },
    /// The address cannot be bound.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of ours cannot be opened.
    #[error("open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is nothing to serve.
    #[error("find the current release")]
    Release(#[source] ReleaseError),
    /// The pid file, or the process in it.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The runtime, a signal handler or a child process could not be set up.
    #[error("set up {what}")]
    SetUp {
        /// What.
        what: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The started process ended before it answered.
    #[error("it ended at once with {status}; its last line: {last_line}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last line of its log.
        last_line: String,
    },
    /// The started process does not answer. It was killed.
    #[error("it gave no answer on {address} within {START_PATIENCE:?} and was killed")]
    Silent {
        /// The address.
        address: SocketAddr,
    },
    /// It did not end, not even by SIGKILL.
    #[error("process {pid} is still there {KILL_PATIENCE:?} after SIGKILL")]
    Unkillable {
        /// The process.
        pid: i32,
    },
}

fn set_up(what: &'static str) -> impl FnOnce(io::Error) -> LifecycleError {
    move |source| LifecycleError::SetUp { what, source }
}

/// Serves in the foreground until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings) -> Result<(), LifecycleError> {
    let lock = lock(&settings)?;
    // Refuses to start without a release; one that goes bad later is reported by every page.
    release::current(&settings.root).map_err(LifecycleError::Release)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(set_up("the runtime"))?;
    let pid_file = settings.pid_file.clone();
    let ended = tokio::task::LocalSet::new().block_on(&runtime, serve_until_signal(Rc::new(settings)));
    // Only while the lock is held: afterwards the file may be another process's.
    pid_file::remove(&pid_file)?;
    drop(lock);
    ended
}

async fn serve_until_signal(settings: Rc<Settings>) -> Result<(), LifecycleError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(set_up("the SIGTERM handler"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(set_up("the SIGINT handler"))?;
    let address = settings.listen;
    let listener = TcpListener::bind(address).await.map_err(|source| LifecycleError::Listen { address, source })?;
    // After the bind: who sees this process in the pid file knows that the port is its.
    pid_file::write(&settings.pid_file, Identity::own()?)?;
    eprintln!("listening on {address}");
    tokio::select! {
        () = crate::server::serve(listener, settings) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn lock(settings: &Settings) -> Result<File, LifecycleError> {
    let path = settings.pid_file.with_extension("lock");
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(source) => return Err(LifecycleError::Open { path, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LifecycleError::AlreadyRuns { lock: path }),
        Err(TryLockError::Error(source)) => Err(LifecycleError::Open { path, source }),
    }
}

/// Leaves the session of whoever started this process, so that its end does not end the service.
/// Called by a process that `start` spawned, which leads no process group yet.
pub(crate) fn leave_session() -> Result<(), LifecycleError> {
    rustix::process::setsid().map(drop).map_err(|errno| set_up("a session")(errno.into()))
}

/// Starts it in a session of its own; returns its process id when it answers. One that runs already
/// is left as it is.
pub(crate) fn start(settings: &Settings) -> Result<Pid, LifecycleError> {
    if let Standing::Running(pid) = status(settings)? {
        return Ok(pid);
    }
    let opened = OpenOptions::new().create(true).append(true).mode(0o640).open(&settings.log_file);
    let log = opened.map_err(|source| LifecycleError::Open { path: settings.log_file.clone(), source })?;
    let asks = settings.feature_asks.map(|address| format!("--feature-asks={address}"));
    let mut child = Command::new(std::env::current_exe().map_err(set_up("the path of this program"))?)
        .args(["run", "--own-session"])
        .arg("--root")
        .arg(&settings.root)
        .arg("--listen")
        .arg(settings.listen.to_string())
        .arg("--pid-file")
        .arg(&settings.pid_file)
        .arg("--flags")
        .arg(&settings.flags)
        .arg("--flag-key")
        .arg(&settings.flag_key)
        .args(asks)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(set_up("the log"))?)
        .stderr(log)
        .spawn()
        .map_err(set_up("the service's process"))?;
    wait_for_answer(&mut child, settings)
}

fn wait_for_answer(child: &mut Child, settings: &Settings) -> Result<Pid, LifecycleError> {
    let deadline = Instant::now() + START_PATIENCE;
    let watched = Running::child(child)?;
    while Instant::now() < deadline {
        if watched.wait(START_INTERVAL)? == Waited::Gone {
            let status = child.wait().map_err(set_up("the wait for the service's process"))?;
            return Err(LifecycleError::Ended { status, last_line: last_line(&settings.log_file) });
        }
        let named = pid_file::read(&settings.pid_file)?.is_some_and(|identity| identity.pid == watched.pid);
        if named && answers(settings.listen) {
            return Ok(watched.pid);
        }
    }
    watched.signal(Signal::KILL)?;
    child.wait().map_err(set_up("the wait for the service's process"))?;
    Err(LifecycleError::Silent { address: settings.listen })
}

/// Whether something speaks HTTP there; which status it answers does not matter.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_PATIENCE)?;
        stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
        stream.write_all(b"HEAD /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(start == *b"HTTP/")
    };
    // Any failure means "not yet"; the deadline of the caller bounds it.
    ask().unwrap_or(false)
}

/// The last line of a log, for a message; it says so when there is none.
fn last_line(path: &Path) -> String {
    /// Far more than any line that this program writes.
    const TAIL_BYTES: u64 = 4096;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(tail)
    };
    match read() {
        Ok(tail) => String::from_utf8_lossy(&tail).lines().last().unwrap_or("(the log is empty)").to_owned(),
        Err(error) => format!("(its log cannot be read: {error})"),
    }
}

/// Stops it; that it does not run is no error. A stale pid file stays: only the process that holds
/// the lock removes it, and who reads it compares the start time.
pub(crate) fn stop(settings: &Settings) -> Result<(), LifecycleError> {
    let Some(running) = running(settings)? else { return Ok(()) };
    running.signal(Signal::TERM)?;
    if running.wait(TERM_PATIENCE)? == Waited::Gone {
        return Ok(());
    }
    running.signal(Signal::KILL)?;
    match running.wait(KILL_PATIENCE)? {
        Waited::Gone => Ok(()),
        Waited::StillThere => Err(LifecycleError::Unkillable { pid: running.pid.as_raw_nonzero().get() }),
    }
}

/// Whether it runs.
pub(crate) fn status(settings: &Settings) -> Result<Standing, LifecycleError> {
    Ok(running(settings)?.map_or(Standing::Stopped, |running| Standing::Running(running.pid)))
}

fn running(settings: &Settings) -> Result<Option<Running>, PidFileError> {
    match pid_file::read(&settings.pid_file)? {
        Some(identity) => identity.open(),
        None => Ok(None),
    }
}
