//! The end of this process in the middle of a drill's run, and its next life in the same place.
//!
//! Called by the loop when the machine says that the process is to end. Everything that it remembered is gone with
//! it, as after kill -9: nothing is told, written or closed in order. The program is replaced in place rather than
//! left to a supervisor, so that it works without one, and costs neither a restart that people are alerted to nor the
//! commands that this process started.

use super::serve::{Effector, EffectorError};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

/// How long the children have to die of SIGKILL: milliseconds, and seconds where one waits for a slow disk. One that
/// takes longer dies of its closed pipe.
const DEAD_WITHIN: Duration = Duration::from_secs(5);

impl Effector {
    /// Does not return, unless the kernel refuses.
    pub(super) async fn begin_anew(mut self) -> EffectorError {
        tracing::warn!("a drill ends this process in the middle of a run; it begins anew");
        // The next life would not know them as its children, nor wait for them.
        if tokio::time::timeout(DEAD_WITHIN, self.kill_children()).await.is_err() {
            tracing::warn!("a child of this process does not die");
        }
        // By this path, as for the children: an upgrade on disk does not mix versions within one agent.
        let mut program = Command::new("/proc/self/exe");
        let mut given = std::env::args_os();
        if let Some(name) = given.next() {
            program.arg0(name);
        }
        EffectorError::NotBegunAnew(program.args(given).exec())
    }

    async fn kill_children(&mut self) {
        let running = self.active.as_mut().and_then(|active| active.worker.as_mut());
        let planning = self.planning.as_mut().map(|planning| &mut planning.worker);
        let compiling = self.compiling.as_mut().map(|compiling| &mut compiling.worker);
        let workers = [self.spare.as_mut(), running, planning, compiling];
        for worker in workers.into_iter().flatten() {
            worker.kill().await;
        }
        if let Some((_, daemon)) = &mut self.daemon {
            drop(daemon.kill().await);
        }
    }
}
