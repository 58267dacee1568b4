//! Services that the host owner's own commands start and stop, known by a pid file.
//!
//! The commands are registered in `agent.toml`; a playbook chooses none of their words. A command's
//! exit code is a claim: whether the service runs is seen from its process. A pid file that does
//! not belong to root counts only for a process of its own user, so that a service cannot have
//! somebody else's process stopped by writing its id; nor by a link to somebody else's pid file, see [`pid_file`].

use super::{LOOK_WITHIN, Observed, activity_text, pid_file, tail};
use crate::capability::process::{self, Exit, LiveProcess, ProcessRef};
use crate::capability::program::{Ran, run};
use crate::config::{Argv, CommandSettings};
use fettle_model::id::BootId;
use fettle_model::playbook::Action;
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::{ActError, Activity, ReadError, Revision, ServiceStatus};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;
use tokio::time::Instant;

/// Time between two looks where nothing tells of a change: a pid file that is still to be written.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Longest content of a pid file: ten digits, white space.
const MAX_PID_FILE_BYTES: u64 = 64;

/// A command service resolved for a run.
#[derive(Debug)]
pub(in crate::capability) struct CommandHandle {
    settings: CommandSettings,
    boot: BootId,
}

/// What the pid file says.
struct PidFile {
    main: Option<ProcessRef>,
    /// Device, inode and modification time, so that two stopped states can be told apart.
    mark: String,
}

impl CommandHandle {
    pub(in crate::capability) const fn new(settings: CommandSettings, boot: BootId) -> Self {
        Self { settings, boot }
    }

    fn pid_file(&self) -> Result<PidFile, ReadError> {
        let unavailable = |error: io::Error| ReadError::Unavailable(format!("the pid file: {error}"));
        let file = match pid_file::open(&self.settings.pid_file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(PidFile { main: None, mark: "none".to_owned() });
            }
            Err(error) => return Err(unavailable(error)),
        };
        let metadata = file.metadata().map_err(unavailable)?;
        if !metadata.is_file() {
            return Err(ReadError::Malformed("the pid file is no regular file".to_owned()));
        }
        let mark = format!("{}.{}.{}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
        let mut text = String::new();
        file.take(MAX_PID_FILE_BYTES).read_to_string(&mut text).map_err(unavailable)?;
        // As in the check of a process: what some services write after the first line is not read.
        let Ok(pid) = text.lines().next().unwrap_or_default().trim().parse::<u32>() else {
            // Empty for a moment while it is written.
            return Ok(PidFile { main: None, mark });
        };
        let main = ProcessRef::of(pid).map_err(unavailable)?;
        if let Some(process) = main
            && metadata.uid() != 0
            && process.user() != Some(metadata.uid())
        {
            return Err(ReadError::Unavailable("the pid file names a process of another user than its own".to_owned()));
        }
        Ok(PidFile { main, mark })
    }

    async fn activity(&self, main: Option<ProcessRef>) -> Result<Activity, ReadError> {
        let alive = if main.is_some() { Activity::Active } else { Activity::Inactive };
        let Some(status) = &self.settings.status else { return Ok(alive) };
        // Exit codes of LSB 3.1, section 20.2.
        match (run(status, LOOK_WITHIN).await, alive) {
            (Ran::Exited(0), Activity::Active) => Ok(Activity::Active),
            (Ran::Exited(3), Activity::Inactive) => Ok(Activity::Inactive),
            (Ran::Exited(1 | 2), _) => Ok(Activity::Failed),
            (Ran::Exited(code @ (0 | 3)), alive) => Err(ReadError::Unavailable(format!(
                "the status command says {code}, but by its pid file the service is {}",
                activity_text(alive)
            ))),
            (Ran::TimedOut, _) => Err(ReadError::Timeout),
            (other, _) => Err(ReadError::Unavailable(format!("the status command {other}"))),
        }
    }

    pub(super) async fn observe(&self) -> Result<Observed, ReadError> {
        let PidFile { main, mark } = self.pid_file()?;
        let activity = self.activity(main).await?;
        let since = match main {
            Some(main) => main.started_at().map_err(|error| ReadError::Unavailable(error.to_string()))?,
            // Nothing keeps the time of the last stop.
            None => 0,
        };
        let revision = match main {
            Some(ProcessRef { pid, start_ticks }) => format!("cmd:{}:{pid}:{start_ticks}", self.boot),
            None => format!("cmd:{}:{}:{mark}", self.boot, activity_text(activity)),
        };
        let status = ServiceStatus {
            activity,
            since: UnixMillis(since),
            // Commands keep no count.
            restarts_last_hour: 0,
            main_pid: main.map(|main| main.pid),
            revision: Revision(revision),
        };
        Ok(Observed { status, changed_at: None, main })
    }

    pub(super) fn tail(&self, lines: u16) -> Result<Vec<String>, ReadError> {
        match &self.settings.log_file {
            Some(log) => tail::of_file(log, lines),
            None => Err(ReadError::Unavailable("no log-file is configured".to_owned())),
        }
    }

    pub(super) async fn wait_for(&self, activity: Activity, within: Duration) -> Result<ServiceStatus, ReadError> {
        let deadline = Instant::now() + within;
        loop {
            let seen = self.observe().await;
            if let Ok(now) = &seen
                && now.status.activity == activity
            {
                return Ok(now.status.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // An answer that contradicts itself is normal while it starts, not at the end.
                return seen.and(Err(ReadError::Timeout));
            }
            match seen.ok().and_then(|now| now.main) {
                // A process's end is told; its beginning is not.
                Some(main) if activity != Activity::Active => {
                    let gone = LiveProcess::open(main).map_err(|error| ReadError::Unavailable(error.to_string()))?;
                    if let Some(process) = gone {
                        let waited = process.wait_exit(left).await;
                        waited.map_err(|error| ReadError::Unavailable(error.to_string()))?;
                    }
                }
                _ => tokio::time::sleep(LOOK_AGAIN_AFTER.min(left)).await,
            }
        }
    }

    pub(super) async fn act(&self, action: Action, within: Duration) -> Result<(), ActError> {
        let deadline = Instant::now() + within;
        match action {
            Action::Start => self.start(deadline).await,
            Action::Stop => self.stop(deadline).await,
            Action::Restart => {
                self.stop(deadline).await?;
                let now = self.observe().await.map_err(super::not_seen)?;
                match now.main {
                    None => self.start(deadline).await,
                    // A supervisor was faster than we; what was wanted has happened.
                    Some(_) => Ok(()),
                }
            }
            Action::Reload => match &self.settings.reload {
                Some(reload) => match run(reload, until(deadline)).await {
                    Ran::Exited(0) => Ok(()),
                    ran @ (Ran::Exited(_) | Ran::NotStarted(_)) => Err(failed("reload", &ran)),
                    ran @ (Ran::Signalled(_) | Ran::TimedOut | Ran::Lost(_)) => Err(unclear("reload", &ran)),
                },
                None => Err(ActError::Denied("no reload command is configured".to_owned())),
            },
            Action::Activate | Action::Set => {
                Err(ActError::Denied(format!("{} is no action of a service", action.as_str())))
            }
        }
    }

    async fn start(&self, deadline: Instant) -> Result<(), ActError> {
        match run(&self.settings.start, until(deadline)).await {
            Ran::Exited(0) => match self.wait_for(Activity::Active, until(deadline)).await {
                Ok(_) => Ok(()),
                Err(error) => Err(ActError::Failed(format!(
                    "the start command ended well, but the service does not run: {}",
                    super::in_words(&error)
                ))),
            },
            ran @ Ran::NotStarted(_) => Err(failed("start", &ran)),
            ran @ (Ran::Exited(_) | Ran::Signalled(_)) => match self.pid_file() {
                Ok(PidFile { main: None, .. }) => Err(failed("start", &ran)),
                Ok(PidFile { main: Some(_), .. }) | Err(_) => Err(unclear("start", &ran)),
            },
            ran @ (Ran::TimedOut | Ran::Lost(_)) => Err(unclear("start", &ran)),
        }
    }

    async fn stop(&self, deadline: Instant) -> Result<(), ActError> {
        let not_watched = |error: io::Error| ActError::Failed(format!("the process cannot be watched: {error}"));
        let main = self.pid_file().map_err(super::not_seen)?.main;
        let process = match main {
            Some(main) => LiveProcess::open(main).map_err(not_watched)?,
            None => None,
        };
        let ran = run(&self.settings.stop, until(deadline)).await;
        if let ran @ Ran::NotStarted(_) = &ran {
            return Err(failed("stop", ran));
        }
        let Some(process) = process else {
            return match ran {
                Ran::Exited(_) => Ok(()),
                ran @ (Ran::Signalled(_) | Ran::TimedOut | Ran::NotStarted(_) | Ran::Lost(_)) => {
                    Err(unclear("stop", &ran))
                }
            };
        };
        // Whatever the command says, the end of the process decides.
        match (process.wait_exit(until(deadline)).await, ran) {
            (Ok(Exit::Ended), _) => Ok(()),
            (Ok(Exit::StillRuns), ran @ Ran::Exited(_)) => {
                Err(ActError::Failed(format!("the service still runs; the stop command {ran}")))
            }
            (Ok(Exit::StillRuns), ran) => Err(unclear("stop", &ran)),
            (Err(error), _) => Err(ActError::Indeterminate(format!("the process cannot be watched: {error}"))),
        }
    }

    /// After a crash of the effector a command that it started may live on and still act.
    pub(super) async fn settle(&self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let CommandSettings { start, stop, reload, .. } = &self.settings;
        let commands: Vec<&Argv> = [Some(start), Some(stop), reload.as_ref()].into_iter().flatten().collect();
        while any_runs(&commands, self.pid_file().ok().and_then(|file| file.main))
            .map_err(|error| format!("the processes cannot be listed: {error}"))?
        {
            if until(deadline).is_zero() {
                return Err("a command for the service is still at work".to_owned());
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        Ok(())
    }
}

fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn failed(what: &str, ran: &Ran) -> ActError {
    ActError::Failed(format!("the {what} command {ran}"))
}

fn unclear(what: &str, ran: &Ran) -> ActError {
    ActError::Indeterminate(format!("the {what} command {ran}"))
}

/// Whether a live process has one of these command lines, directly or behind its interpreter. The
/// service itself does not count: a start command that turns into the daemon keeps its words.
fn any_runs(commands: &[&Argv], main: Option<ProcessRef>) -> io::Result<bool> {
    let wanted: Vec<Vec<u8>> = commands
        .iter()
        .map(|argv| argv.as_slice().iter().flat_map(|argument| [argument.as_bytes(), &[0]].concat()).collect())
        .collect();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that ends while we look is no longer at work.
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        if main.is_some_and(|main| main.pid == pid || process::parent_of(pid) == Some(main.pid)) {
            continue;
        }
        if wanted.iter().any(|wanted| line.ends_with(wanted)) && ProcessRef::of(pid)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
