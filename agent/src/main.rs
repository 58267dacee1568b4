//! `fettle-agent`: reads the command line and starts the process that was asked for.
//!
//! `run` is the effector, which starts this program again as `daemon` and as `worker`. Nothing is decided
//! here; what users, roles and signals mean is in the library.

mod command_line;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    abort_on_panic();
    command_line::Arguments::parse().perform()
}

/// A bug ends the whole process, after the usual report. In a task of its own it would end that task only,
/// and leave a loop to wait for its answer for ever; the state on disk is made for a process that is killed
/// at any instant, and the effector or the service manager starts this one again.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    /// SIGABRT.
    const ABORTED: i32 = 6;
    /// Set in the copy of this test that panics.
    const PANICS: &str = "FETTLE_TEST_PANICS";

    #[test]
    fn a_panic_in_a_task_that_nobody_watches_ends_the_process_with_its_report() {
        if std::env::var_os(PANICS).is_some() {
            super::abort_on_panic();
            let task = std::thread::spawn(|| panic!("nobody watches"));
            drop(task.join());
            return;
        }
        let own = std::env::current_exe().expect("this program");
        let name = "tests::a_panic_in_a_task_that_nobody_watches_ends_the_process_with_its_report";
        let copy = Command::new(own).args(["--exact", name, "--nocapture"]).env(PANICS, "1").output();
        let copy = copy.expect("it starts");
        assert_eq!(copy.status.signal(), Some(ABORTED), "{copy:?}");
        assert!(String::from_utf8_lossy(&copy.stderr).contains("nobody watches"), "{copy:?}");
    }
}
