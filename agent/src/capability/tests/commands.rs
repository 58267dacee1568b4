//! Command services: a real daemon behind a real control script.

use super::*;
use fettle_model::playbook::Action;
use fettle_model::run::{Change, UndoClass};
use fettle_sandbox::call::{Activity, ReadError, ServiceCall, ServiceStatus};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// A daemon (`sleep`) with its control script in a folder of its own. Ended on drop.
pub(super) struct Daemon {
    dir: tempfile::TempDir,
    script: String,
}

/// Start, stop, status and reload as they should be; a test may replace a part.
const WELL: [(&str, &str); 4] = [
    ("start", "sleep 600 </dev/null >/dev/null 2>&1 & echo $! > \"$D/pid.new\"; mv \"$D/pid.new\" \"$D/pid\""),
    ("stop", "[ -f \"$D/pid\" ] && kill $(cat \"$D/pid\"); rm -f \"$D/pid\"; exit 0"),
    ("status", "[ -f \"$D/pid\" ] && kill -0 $(cat \"$D/pid\") && exit 0; exit 3"),
    ("reload", "echo reload >> \"$D/log\""),
];

impl Daemon {
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    fn with(parts: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let script = real(&dir).join("ctl");
        let daemon = Self { script: script.display().to_string(), dir };
        daemon.rewrite(parts);
        daemon
    }

    fn rewrite(&self, parts: &[(&str, &str)]) {
        let mut text = format!("#!/bin/sh\nD={}\necho \"$1\" >> \"$D/calls\"\ncase $1 in\n", real(&self.dir).display());
        for (word, body) in WELL {
            let body = parts.iter().find(|(part, _)| *part == word).map_or(body, |(_, body)| body);
            text.push_str(&format!("{word}) {body};;\n"));
        }
        text.push_str("esac\n");
        // Renamed into place: a script that is open for writing cannot be executed.
        let new = real(&self.dir).join("ctl.new");
        fs::write(&new, text).expect("a script");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::rename(&new, &self.script).expect("in place");
    }

    pub(super) fn table(&self) -> String {
        let (ctl, dir) = (&self.script, real(&self.dir));
        let dir = dir.display();
        format!(
            "manager = \"command\"\nstart = [\"{ctl}\", \"start\"]\nstop = [\"{ctl}\", \"stop\"]\n\
             reload = [\"{ctl}\", \"reload\"]\nstatus = [\"{ctl}\", \"status\"]\n\
             pid-file = \"{dir}/pid\"\nlog-file = \"{dir}/log\"\n"
        )
    }

    pub(super) async fn open(&self) -> OpenTargets {
        open(&capabilities(&self.table()), Target::CommandService { name: "app".to_owned() }).await
    }

    /// How often the script was called with this word.
    fn calls(&self, word: &str) -> usize {
        let calls = fs::read_to_string(real(&self.dir).join("calls")).unwrap_or_default();
        calls.lines().filter(|line| *line == word).count()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        fs::read_to_string(real(&self.dir).join("pid")).ok()?.trim().parse().ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let process = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = process.filter(|pid| pid.as_raw_nonzero().get() > 1) {
            // It may have ended already.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

pub(super) async fn status(open: &OpenTargets) -> ServiceStatus {
    let reply = answer(open, Call::Service { label: label("it"), op: ServiceCall::Status }).await;
    let Reply::Service(Ok(status)) = reply else { unreachable!("no status: {reply:?}") };
    status
}

async fn change(open: &OpenTargets, action: Action) -> Result<(Before, Done), ActError> {
    let expect = status(open).await.revision;
    carry_out(open, &Deed::Service { label: label("it"), action, expect }).await
}

#[tokio::test]
async fn a_service_is_started_restarted_and_stopped_and_each_is_seen() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    let stopped = status(&open).await;
    assert_eq!((stopped.activity, stopped.main_pid), (Activity::Inactive, None));

    let (_, done) = change(&open, Action::Start).await.expect("started");
    assert_eq!((done.change, done.undo), (Change::Made, UndoClass::Automatic));
    let first = status(&open).await;
    assert_eq!((first.activity, first.main_pid), (Activity::Active, daemon.pid()));
    assert_ne!(first.revision, stopped.revision);
    assert!(crate::daemon::wall_clock().0.abs_diff(first.since.0) < 60_000, "started now, not {:?}", first.since);

    let (_, done) = change(&open, Action::Restart).await.expect("restarted");
    assert_eq!((done.change, done.undo, &done.inverse), (Change::Made, UndoClass::None, &None));
    let second = status(&open).await;
    assert_ne!((second.main_pid, &second.revision), (first.main_pid, &first.revision));

    change(&open, Action::Stop).await.expect("stopped");
    let third = status(&open).await;
    assert_eq!((third.activity, third.main_pid), (Activity::Inactive, None));
}

#[tokio::test]
async fn what_is_so_already_calls_no_command() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    let (_, done) = change(&open, Action::Stop).await.expect("stopped");
    assert_eq!((done.change, daemon.calls("stop")), (Change::Unneeded, 0));
    change(&open, Action::Start).await.expect("started");
    let (_, done) = change(&open, Action::Start).await.expect("started");
    assert_eq!((done.change, daemon.calls("start")), (Change::Unneeded, 1));
}

#[tokio::test]
async fn a_service_that_moved_since_it_was_observed_is_not_touched() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    let (_, done) = change(&open, Action::Start).await.expect("started");
    let expect = status(&open).await.revision;
    let deed = Deed::Service { label: label("it"), action: Action::Restart, expect };
    let before = open.before(&deed, NOW).await.expect("before");
    change(&open, Action::Restart).await.expect("somebody else restarts it");
    let now = status(&open).await.revision;
    assert_eq!(open.perform(&deed, &before, SOON).await, Err(ActError::Stale(now.clone())));
    assert_eq!(open.before(&done.inverse.expect("a stop"), NOW).await, Err(ActError::Stale(now)));
    assert_eq!(daemon.calls("start"), 2);
}

#[tokio::test]
async fn a_command_that_does_not_do_it_is_a_failure_that_says_why() {
    for (parts, action, words) in
        [([("start", "exit 7")], Action::Start, "exit code 7"), ([("start", "exit 0")], Action::Start, "does not run")]
    {
        let daemon = Daemon::with(&parts);
        let open = daemon.open().await;
        let expect = status(&open).await.revision;
        let deed = Deed::Service { label: label("it"), action, expect };
        let before = open.before(&deed, NOW).await.expect("before");
        match open.perform(&deed, &before, Duration::from_millis(500)).await {
            Err(ActError::Failed(why)) => assert!(why.contains(words), "{why}"),
            other => unreachable!("not failed: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stop_that_leaves_the_process_is_a_failure_and_a_hanging_one_is_in_doubt() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    change(&open, Action::Start).await.expect("started");
    let expect = status(&open).await.revision;
    let deed = Deed::Service { label: label("it"), action: Action::Stop, expect };
    let before = open.before(&deed, NOW).await.expect("before");
    daemon.rewrite(&[("stop", "exit 0")]);
    let stopped = open.perform(&deed, &before, Duration::from_millis(500)).await;
    assert!(matches!(stopped, Err(ActError::Failed(_))), "{stopped:?}");
    daemon.rewrite(&[("stop", "sleep 600")]);
    let stopped = open.perform(&deed, &before, Duration::from_millis(500)).await;
    assert!(matches!(stopped, Err(ActError::Indeterminate(_))), "{stopped:?}");
}

#[tokio::test]
async fn after_a_crash_the_process_itself_tells() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    change(&open, Action::Start).await.expect("started");
    let expect = status(&open).await.revision;
    let deed = Deed::Service { label: label("it"), action: Action::Restart, expect };
    let before = open.before(&deed, NOW).await.expect("before");
    let look = || open.look_after_crash(&deed, &before, SOON);
    assert_eq!(look().await, Look::NotApplied);
    change(&open, Action::Stop).await.expect("half-way: stopped, not yet started");
    assert!(matches!(look().await, Look::CannotTell { .. }));
    change(&open, Action::Start).await.expect("started");
    assert!(matches!(look().await, Look::Applied(Done { change: Change::Made, .. })));
}

#[tokio::test]
async fn a_command_left_behind_by_a_crash_is_waited_for_and_not_taken_for_undone() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    change(&open, Action::Start).await.expect("started");
    let expect = status(&open).await.revision;
    let deed = Deed::Service { label: label("it"), action: Action::Stop, expect };
    let before = open.before(&deed, NOW).await.expect("before");
    // The stop command of the crashed effector: still at work.
    daemon.rewrite(&[("stop", "while [ ! -f \"$D/go\" ]; do sleep 0.02; done")]);
    let mut orphan = tokio::process::Command::new(&daemon.script).arg("stop").spawn().expect("an orphan");
    let reached = async {
        while daemon.calls("stop") == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, reached).await.expect("the orphan runs");
    let short = open.look_after_crash(&deed, &before, Duration::from_millis(100)).await;
    assert!(matches!(short, Look::CannotTell { .. }), "{short:?}");
    fs::write(real(&daemon.dir).join("go"), "").expect("go");
    let (looked, ended) = tokio::join!(open.look_after_crash(&deed, &before, SOON), orphan.wait());
    assert!(ended.expect("ended").success());
    assert_eq!(looked, Look::NotApplied);
}

#[tokio::test]
async fn a_pid_file_of_a_user_does_not_name_another_users_process() {
    if !rustix::process::geteuid().is_root() {
        // Only root can give the file away; elsewhere the rule has no case.
        return;
    }
    let daemon = Daemon::new();
    let pid_file = real(&daemon.dir).join("pid");
    fs::write(&pid_file, std::process::id().to_string()).expect("a pid file");
    let open = daemon.open().await;
    assert_eq!(status(&open).await.main_pid, Some(std::process::id()));
    std::os::unix::fs::chown(&pid_file, Some(65_534), None).expect("chown");
    let call = Call::Service { label: label("it"), op: ServiceCall::Status };
    let reply = answer(&open, call).await;
    fs::remove_file(&pid_file).expect("the test's own process is not to be ended with the daemon");
    assert!(matches!(reply, Reply::Service(Err(ReadError::Unavailable(_)))), "{reply:?}");
}

#[tokio::test]
async fn waiting_ends_when_the_process_does() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    change(&open, Action::Start).await.expect("started");
    let wait =
        |activity, timeout_ms| Call::Service { label: label("it"), op: ServiceCall::WaitFor { activity, timeout_ms } };
    assert_eq!(answer(&open, wait(Activity::Inactive, 50)).await, Reply::Service(Err(ReadError::Timeout)));
    let expect = status(&open).await.revision;
    let kill = Deed::Kill { label: label("it"), expect };
    let (waited, killed) = tokio::join!(answer(&open, wait(Activity::Inactive, 10_000)), carry_out(&open, &kill));
    killed.expect("killed");
    assert!(matches!(waited, Reply::Service(Ok(ServiceStatus { activity: Activity::Inactive, .. }))), "{waited:?}");
}

#[tokio::test]
async fn reload_and_tail_go_through_the_configured_command_and_file() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    change(&open, Action::Start).await.expect("started");
    let (before, _) = change(&open, Action::Reload).await.expect("reloaded");
    let tail = Call::Service { label: label("it"), op: ServiceCall::Tail { lines: 5 } };
    assert_eq!(answer(&open, tail).await, Reply::Lines(Ok(vec!["reload".to_owned()])));
    let expect = status(&open).await.revision;
    let deed = Deed::Service { label: label("it"), action: Action::Reload, expect };
    let look = open.look_after_crash(&deed, &before, SOON).await;
    assert!(matches!(look, Look::CannotTell { .. }), "a reload leaves no trace");
}

#[tokio::test]
async fn a_daemon_that_keeps_its_start_commands_words_is_not_a_command_left_behind() {
    let dir = tempfile::tempdir().expect("a folder");
    let pid_file = real(&dir).join("pid");
    let table = format!(
        "manager = \"command\"\nstart = [\"/bin/sleep\", \"598.25\"]\nstop = [\"/bin/true\"]\npid-file = \"{}\"",
        pid_file.display()
    );
    let mut itself = tokio::process::Command::new("/bin/sleep").arg("598.25").spawn().expect("a daemon");
    fs::write(&pid_file, itself.id().expect("a pid").to_string()).expect("a pid file");
    let open = open(&capabilities(&table), Target::CommandService { name: "app".to_owned() }).await;
    let expect = status(&open).await.revision;
    let deed = Deed::Service { label: label("it"), action: Action::Restart, expect };
    let before = open.before(&deed, NOW).await.expect("before");
    let look = open.look_after_crash(&deed, &before, Duration::from_millis(200)).await;
    itself.kill().await.expect("ended");
    assert_eq!(look, Look::NotApplied);
}
