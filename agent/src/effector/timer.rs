//! What comes due by itself: the daemon's restart, the machine's deadline, the next question about a
//! check, the end of a hold or of an injection, and the next request.

use super::run::Watching;
use super::serve::{Effector, EffectorError};
use super::store::Value;
use crate::capability::{PutBack, put_back};
use fettle_sandbox::machine::Event;
use std::time::Duration;

/// A flag that could not be put back is tried again after so long.
const PUT_BACK_AGAIN: Duration = Duration::from_secs(1);

impl Effector {
    /// A time has come.
    pub(super) async fn timer(&mut self) -> Result<(), EffectorError> {
        let now = self.clocks.now();
        if self.restart_daemon_at.is_some_and(|at| at <= now.on_boot) {
            self.start_daemon().await?;
            if self.active.as_ref().is_some_and(|active| active.watching != Watching::Nothing) {
                self.ask_daemon().await;
            }
        }
        if self.active.as_ref().and_then(|active| active.machine.wakes_at()).is_some_and(|at| at <= now.on_boot) {
            self.drive(Event::Tick).await?;
        }
        if self.active.as_ref().and_then(|active| active.ask_at).is_some_and(|at| at <= now.on_boot) {
            self.ask_daemon().await;
        }
        // A drill's fault before the flags: what a playbook turned off because of the fault is not on again during it, unless
        // the fault cannot be taken back just then.
        self.take_back_due().await?;
        self.put_back_due()?;
        if self.planning.as_ref().is_some_and(|planning| planning.until <= now.on_boot) {
            self.give_up_plan("it took longer than it may");
        }
        if self.engine_by.is_some_and(|at| at <= now.on_boot) {
            tracing::warn!("no worker has named its engine");
            self.engine_by = None;
        }
        if self.supply_at.is_some_and(|at| at <= now.on_boot) {
            self.supply_at = None;
            self.fetching.clear();
            self.supply().await?;
        }
        self.retry_due().await
    }

    /// Ends holds whose time has come. Needs no permit: it is the end of an effect that had one.
    fn put_back_due(&mut self) -> Result<(), EffectorError> {
        let now = self.clocks.now().wall;
        let due = self.holds.due(now);
        if due.is_empty() {
            return Ok(());
        }
        for hold in due {
            let config = self.capabilities.config();
            let put = match config.flag(&hold.file, &hold.key) {
                Some(settings) => put_back(settings, &hold),
                None => PutBack::Moved,
            };
            match put {
                PutBack::Restored | PutBack::Moved => {
                    tracing::info!(file = hold.file, key = hold.key, "a flag's hold has ended");
                    self.holds.settled(&hold);
                }
                PutBack::NotNow(why) | PutBack::InDoubt(why) => {
                    tracing::warn!(why, "a flag could not be put back and is tried again");
                    self.holds.postpone(&hold, now.plus(PUT_BACK_AGAIN));
                }
            }
        }
        self.keep(Value::Holds, &self.holds)
    }
}
