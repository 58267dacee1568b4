//! Real commands, the ill-behaved ones included.

use super::*;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::path::Path;

fn shell(script: &str) -> Prober {
    let name: CheckName = "it".parse().expect("a name");
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let surroundings = Surroundings { commands: Arc::new(BTreeMap::from([(name.clone(), argv)])), ..surroundings() };
    prober_in(&surroundings, Probe::Command { command: name })
}

/// Waits until the process whose number stands in the file is gone.
async fn ended(pid_file: &Path) {
    let number = std::fs::read_to_string(pid_file).expect("the command wrote it").trim().parse().expect("a number");
    match pidfd_open(Pid::from_raw(number).expect("not 0"), PidfdFlags::empty()) {
        Ok(process) => {
            let process = ready::when_readable(process).expect("registered");
            drop(within(process.readable()).await.expect("readable"));
        }
        Err(error) => assert_eq!(error, rustix::io::Errno::SRCH),
    }
}

#[tokio::test]
async fn the_exit_code_is_the_status_and_the_first_line_the_reason() {
    for (script, status, reason) in [
        ("echo 'OK - fine | load=1'; echo more", Status::Passing, "OK - fine"),
        ("echo WARN; exit 1", Status::Warning, "WARN"),
        ("echo DOWN; exit 2", Status::Critical, "DOWN"),
        ("exit 3", Status::Unknown, "exit code 3"),
        ("kill -9 $$", Status::Unknown, "ended by signal 9"),
    ] {
        expect(&shell(script).probe_within(LONG).await, status, reason);
    }
}

#[tokio::test]
async fn a_command_sees_nothing_of_the_agent() {
    let told = shell("echo \"[$HOME$USER$CARGO_MANIFEST_DIR] $PATH $(pwd) $(cat | wc -c)\"").probe_within(LONG).await;
    expect(&told, Status::Passing, "[] /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin / 0");
}

#[tokio::test]
async fn a_command_that_hangs_is_critical_and_is_killed_with_its_children() {
    let folder = tempfile::tempdir().expect("a folder");
    let (leader, child) = (folder.path().join("leader"), folder.path().join("child"));
    let script = format!("echo $$ > {}; sleep 1000 & echo $! > {}; wait", leader.display(), child.display());
    let verdict = shell(&script).probe_within(Duration::from_secs(1)).await;
    expect(&verdict, Status::Critical, "timed out: no answer within 1s");
    ended(&child).await;
    ended(&leader).await;
}

#[tokio::test]
async fn a_child_left_behind_is_killed_and_does_not_hold_the_answer_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let child = folder.path().join("child");
    let verdict = shell(&format!("sleep 1000 & echo $! > {}; echo fine", child.display())).probe_within(LONG).await;
    expect(&verdict, Status::Passing, "fine");
    ended(&child).await;
}

#[tokio::test]
async fn a_child_that_left_the_group_does_not_hold_the_answer_up_either() {
    let verdict = shell("setsid sleep 3 & echo fine").probe_within(Duration::from_millis(2_500)).await;
    expect(&verdict, Status::Passing, "fine");
}

#[tokio::test]
async fn output_beyond_the_limit_is_read_and_dropped() {
    let verdict = shell("echo first; head -c 1000000 /dev/zero; exit 1").probe_within(LONG).await;
    expect(&verdict, Status::Warning, "first");
    let verdict = shell("head -c 1000000 /dev/zero | tr '\\0' x").probe_within(LONG).await;
    expect(&verdict, Status::Passing, &"x".repeat(fettle_model::check::MAX_REASON_BYTES));
}

#[tokio::test]
async fn a_command_may_close_its_output_before_it_ends() {
    let verdict = shell("echo early; exec >&-; exit 2").probe_within(LONG).await;
    expect(&verdict, Status::Critical, "early");
}

#[tokio::test]
async fn a_program_that_is_not_there_tells_nothing_of_the_service() {
    let name: CheckName = "it".parse().expect("a name");
    let commands = Arc::new(BTreeMap::from([(name.clone(), vec!["/nonexistent/plugin".to_owned()])]));
    let surroundings = Surroundings { commands, ..surroundings() };
    let mut prober = prober_in(&surroundings, Probe::Command { command: name });
    expect(&prober.probe_within(LONG).await, Status::Unknown, "/nonexistent/plugin: ");
}
