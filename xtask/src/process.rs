//! Supervision of child processes for the developer's commands and the end-to-end tests.
//!
//! A [`Child`] has a name and a log file, ends when its value is dropped, and when something that
//! depends on it fails the error carries the last lines of its log. [`wait_until`] is the one way to
//! wait: for a condition, with a deadline. Children are ended by the id of the process that was
//! started here, never by name.

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a condition is looked at: a hundredth of what a person notices, and at most 200 looks a second.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How much of a log stands in a failure: about sixty lines.
pub const TAIL_BYTES: u64 = 6 * 1024;
/// How long a dropped child may take after SIGTERM before it is killed.
const DROP_PATIENCE: Duration = Duration::from_secs(2);

/// Waits until `look` returns `Some`, or fails when `patience` is over or `look` fails. It looks at
/// least once, and once more after the deadline, so a slow machine is not taken for a failure. Ends
/// early when somebody asked this program to stop (see [`crate::interrupt`]).
pub fn wait_until<T>(
    what: &str,
    patience: Duration,
    look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    wait_until_every(LOOK_INTERVAL, what, patience, look)
}

/// [`wait_until`] with another time between two looks, for looks that cost something.
pub fn wait_until_every<T>(
    interval: Duration,
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    looking(interval, what, patience, || {
        crate::interrupt::check()?;
        look()
    })
}

/// The wait itself, which no interrupt ends: what was started must be ended even then.
fn looking<T>(
    interval: Duration,
    what: &str,
    patience: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        let late = began.elapsed() >= patience;
        if let Some(found) = look().with_context(|| format!("wait until {what}"))? {
            return Ok(found);
        }
        if late {
            bail!("waited {} until {what}, in vain", crate::steps::seconds(began.elapsed()));
        }
        pause(interval);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where a bounded wait for a condition sleeps between two looks"
)]
fn pause(interval: Duration) {
    std::thread::sleep(interval);
}

/// Runs a command to its end with this process's output; any other end than success is an error.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("start {}", show(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", show(command));
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed; its errors are in the failure.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("start {}", show(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", show(command), output.status, said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", show(command)))
}

/// A command for people: program and arguments, without the environment.
fn show(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// A supervised child process.
#[derive(Debug)]
pub struct Child {
    name: String,
    log: PathBuf,
    process: std::process::Child,
    at_end: AtEnd,
}

/// What happens to a child whose value is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    Stop,
    Leave,
}

impl Child {
    /// Starts it; both its outputs are appended to `<name>.log` in `logs`. Standard input is empty
    /// unless the command says otherwise before.
    pub fn spawn(name: &str, command: &mut Command, logs: &Path) -> anyhow::Result<Self> {
        command.stdin(Stdio::null());
        Self::spawn_with_input(name, command, logs)
    }

    /// Starts it with the standard input that the command has.
    pub fn spawn_with_input(name: &str, command: &mut Command, logs: &Path) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        command.stdout(file.try_clone().context("share the log")?).stderr(file);
        let process = command.spawn().with_context(|| format!("start {name}: {}", show(command)))?;
        Ok(Self { name: name.to_owned(), log, process, at_end: AtEnd::Stop })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The write end of its standard input, once, when the command asked for a pipe.
    pub fn take_input(&mut self) -> Option<std::process::ChildStdin> {
        self.process.stdin.take()
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        self.process.try_wait().with_context(|| format!("look at {}", self.name))
    }

    /// Waits for a condition that this child brings about: fails at once when the child ends, and
    /// every failure carries the tail of its log.
    pub fn wait_until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let waited = wait_until(what, patience, || {
            if let Some(status) = self.process.try_wait().context("look at the process")? {
                // It may have done its work and ended in between.
                return match look()? {
                    Some(found) => Ok(Some(found)),
                    None => bail!("{} ended with {status}", self.name),
                };
            }
            look()
        });
        waited.with_context(|| self.report())
    }

    /// Sends a signal. That it has ended already is no error.
    pub fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        // Reaped here first: the id of a process that was waited for may be somebody else's.
        if self.ended()?.is_none() {
            kill_process(Pid::from_child(&self.process), signal)
                .with_context(|| format!("signal {} (process {})", self.name, self.id()))?;
        }
        Ok(())
    }

    /// Lets it run on after this program's end. Whoever calls this sees to its end in another way.
    pub fn leave(mut self) {
        self.at_end = AtEnd::Leave;
    }

    /// Waits for its end.
    pub fn wait(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let process = &mut self.process;
        let waited = wait_until("it ends", patience, || Ok(process.try_wait()?));
        waited.with_context(|| self.report())
    }

    /// Ends it: SIGTERM, and SIGKILL when it is still there after `patience`.
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let process = &mut self.process;
        if let Ok(status) = looking(LOOK_INTERVAL, "it ends after SIGTERM", patience, || Ok(process.try_wait()?)) {
            return Ok(status);
        }
        self.kill()
    }

    /// Ends it with SIGKILL and waits for its end.
    pub fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.process.wait().with_context(|| format!("wait for {}", self.name))
    }

    /// Its name and the last lines of its log, for a failure.
    #[must_use]
    pub fn report(&self) -> String {
        match tail(&self.log) {
            Ok(text) if text.is_empty() => format!("{} (its log {} is empty)", self.name, self.log.display()),
            Ok(text) => format!("{}, whose log {} ends with:\n{text}", self.name, self.log.display()),
            Err(error) => format!("{} (no log: {error:#})", self.name),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.at_end == AtEnd::Leave {
            return;
        }
        if let Err(error) = self.stop(DROP_PATIENCE) {
            eprintln!("{} was not ended: {error:#}", self.name);
        }
    }
}

/// The last [`TAIL_BYTES`] of a file, from the beginning of a line.
pub fn tail(path: &Path) -> anyhow::Result<String> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let length = file.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let whole_lines = if from == 0 { text.as_str() } else { text.split_once('\n').map_or("", |(_, rest)| rest) };
    Ok(whole_lines.trim_end().to_owned())
}

/// Several children that belong together. They end in the reverse order of their start.
#[derive(Debug)]
pub struct Group {
    logs: PathBuf,
    children: Vec<Child>,
}

impl Group {
    /// An empty group whose logs go to a folder, which is made.
    pub fn new(logs: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(logs).with_context(|| format!("make {}", logs.display()))?;
        Ok(Self { logs: logs.to_owned(), children: Vec::new() })
    }

    /// Starts a child in it.
    pub fn spawn(&mut self, name: &str, command: &mut Command) -> anyhow::Result<&mut Child> {
        let child = Child::spawn(name, command, &self.logs)?;
        Ok(self.children.push_mut(child))
    }

    /// The child of that name, if it was started and not taken.
    pub fn get(&mut self, name: &str) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.name == name)
    }

    /// Takes a child out of the group: whoever takes it ends it.
    pub fn take(&mut self, name: &str) -> Option<Child> {
        let at = self.children.iter().position(|child| child.name == name)?;
        Some(self.children.remove(at))
    }

    /// Ends all, the last started first, each with `patience`. Goes on after a failure and returns the first one.
    pub fn stop(&mut self, patience: Duration) -> anyhow::Result<()> {
        let mut first = Ok(());
        while let Some(mut child) = self.children.pop() {
            let stopped = child.stop(patience).map(drop).with_context(|| format!("stop {}", child.name));
            first = first.and(stopped);
        }
        first
    }

    /// Lets all run on after this program's end.
    pub fn leave(mut self) {
        self.children.drain(..).for_each(Child::leave);
    }

    /// The reports of all children that have ended, for a failure: usually the one to blame.
    pub fn report(&mut self) -> String {
        let ended = self.children.iter_mut().filter_map(|child| match child.ended() {
            Ok(Some(status)) => Some(format!("ended with {status}: {}", child.report())),
            Ok(None) => None,
            Err(error) => Some(format!("{error:#}")),
        });
        ended.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = self.stop(DROP_PATIENCE) {
            eprintln!("not everything was ended: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn exists(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_dropped_child_is_gone_even_when_it_ignores_sigterm() {
        let logs = tempfile::tempdir().expect("a folder");
        let mut child =
            Child::spawn("deaf", &mut shell("trap '' TERM; echo ready; while :; do sleep 0.1; done"), logs.path())
                .expect("it starts");
        let log = child.log().to_owned();
        child
            .wait_until("it is ready", PATIENCE, || Ok(tail(&log)?.contains("ready").then_some(())))
            .expect("it gets ready");
        let pid = child.id();
        drop(child);
        assert!(!exists(pid));
    }

    #[test]
    fn waiting_for_a_child_that_ends_fails_at_once_with_its_last_words() {
        let logs = tempfile::tempdir().expect("a folder");
        let mut child =
            Child::spawn("brief", &mut shell("echo no such thing >&2; exit 7"), logs.path()).expect("starts");
        let error = child.wait_until("never", PATIENCE * 100, || Ok(None::<()>)).expect_err("it ended");
        let text = format!("{error:#}");
        assert!(text.contains("no such thing") && text.contains("exit status: 7") && text.contains("never"), "{text}");
    }

    #[test]
    fn a_condition_that_never_holds_fails_at_its_deadline_and_says_which() {
        let error = wait_until("pigs fly", Duration::from_millis(20), || Ok(None::<()>)).expect_err("they do not");
        assert!(error.to_string().contains("pigs fly"), "{error}");
    }

    #[test]
    fn a_group_ends_its_children_in_reverse_order() {
        let logs = tempfile::tempdir().expect("a folder");
        let order = logs.path().join("order");
        let mut group = Group::new(logs.path()).expect("a group");
        for name in ["first", "second"] {
            let script = format!(
                "trap 'echo {name} >> {}; exit' TERM; echo ready; while :; do sleep 0.01; done",
                order.display()
            );
            let child = group.spawn(name, &mut shell(&script)).expect("it starts");
            let log = child.log().to_owned();
            child.wait_until("ready", PATIENCE, || Ok(tail(&log)?.contains("ready").then_some(()))).expect("ready");
        }
        group.stop(PATIENCE).expect("they stop");
        assert_eq!(std::fs::read_to_string(order).expect("they ran"), "second\nfirst\n");
    }

    #[test]
    fn a_child_that_is_left_runs_on() {
        let logs = tempfile::tempdir().expect("a folder");
        let child = Child::spawn("left", &mut shell("exec sleep 60"), logs.path()).expect("it starts");
        let process = Pid::from_child(&child.process);
        child.leave();
        kill_process(process, Signal::KILL).expect("it is still there, and ended here");
    }

    #[test]
    fn a_tail_begins_with_a_whole_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let lines: String = (0..2000).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&path, lines).expect("a log");
        let text = tail(&path).expect("it is read");
        assert!(text.starts_with("line ") && text.ends_with("line 1999"), "{text}");
        assert!(text.len() as u64 <= TAIL_BYTES);
    }
}
