//! A service that answers slowly: its main process is stopped and let go on in turns.
//!
//! A thread of its own does that, so that it goes on letting go while the effector's loop waits for a disk. It ends by
//! itself after so many turns, and always by letting the process go on. It dies with the effector; what it may have
//! left stopped then is let go by the next one, from the ledger.

use super::{Look, TakenBack};
use crate::capability::Done;
use crate::capability::process::{ProcessRef, hold};
use crate::config::SlowResponsesSettings;
use fettle_sandbox::call::ActError;
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The processes that this effector slows down now.
#[derive(Debug, Default)]
pub(in crate::capability) struct Slowed(Mutex<Vec<Slow>>);

#[derive(Debug)]
struct Slow {
    process: ProcessRef,
    /// The thread ends when this is dropped.
    end: SyncSender<()>,
    thread: JoinHandle<()>,
}

/// Whether the turns go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turns {
    GoOn,
    Over,
}

impl Slowed {
    fn all(&self) -> MutexGuard<'_, Vec<Slow>> {
        // A list of handles is whole whatever happened to its last holder.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Slows a process down, for so long at most.
    pub(in crate::capability) fn begin(
        &self,
        process: ProcessRef,
        settings: &SlowResponsesSettings,
        lasts: Duration,
    ) -> Result<Done, ActError> {
        let failed = |what: &str, why: &dyn std::fmt::Display| ActError::Failed(format!("{what}: {why}"));
        let held = hold(process).map_err(|error| failed("the process cannot be held", &error))?;
        let held = held.ok_or_else(|| ActError::Failed("the main process ended by itself".to_owned()))?;
        let (stopped, running) = (settings.stopped, settings.running);
        let turns = lasts.as_millis() / (stopped + running).as_millis().max(1);
        let (end, ended) = sync_channel(0);
        let thread = std::thread::Builder::new()
            .name("slow".to_owned())
            .spawn(move || take_turns(&held, turns, stopped, running, &ended))
            .map_err(|error| failed("no thread can be started", &error))?;
        self.all().push(Slow { process, end, thread });
        Ok(Done::of_injection())
    }

    /// Lets a process go on for good, if it has not ended.
    pub(super) fn end(&self, process: ProcessRef) -> Result<TakenBack, String> {
        let found = {
            let mut all = self.all();
            all.iter().position(|slow| slow.process == process).map(|index| all.swap_remove(index))
        };
        if let Some(Slow { process: _, end, thread }) = found {
            drop(end);
            if thread.join().is_err() {
                tracing::error!(pid = process.pid, "the thread that slowed a process down ended badly");
            }
        }
        // The thread of an earlier effector may have left it stopped.
        let failed = |error: &dyn std::fmt::Display| format!("the process {} cannot be let go: {error}", process.pid);
        match hold(process).map_err(|error| failed(&error))? {
            None => Ok(TakenBack::GoneAlready),
            Some(held) => match pidfd_send_signal(&held, Signal::CONT) {
                Ok(()) => Ok(TakenBack::Now),
                Err(Errno::SRCH) => Ok(TakenBack::GoneAlready),
                Err(error) => Err(failed(&error)),
            },
        }
    }

    /// Whether this effector slows a process down. One that an earlier effector slowed was let go when this one began.
    pub(super) fn look(&self, process: ProcessRef) -> Look {
        if self.all().iter().any(|slow| slow.process == process) {
            Look::Applied(Done::of_injection())
        } else {
            Look::NotApplied
        }
    }
}

fn take_turns(held: &OwnedFd, turns: u128, stopped: Duration, running: Duration, end: &Receiver<()>) {
    let mut turn = 0;
    let mut on = Turns::GoOn;
    while on == Turns::GoOn && turn < turns {
        turn += 1;
        // An error means that it has ended: the next signal says so too.
        if pidfd_send_signal(held, Signal::STOP).is_err() {
            return;
        }
        on = wait(end, stopped);
        if pidfd_send_signal(held, Signal::CONT).is_err() {
            return;
        }
        if on == Turns::GoOn {
            on = wait(end, running);
        }
    }
}

fn wait(end: &Receiver<()>, time: Duration) -> Turns {
    match end.recv_timeout(time) {
        Err(RecvTimeoutError::Timeout) => Turns::GoOn,
        Ok(()) | Err(RecvTimeoutError::Disconnected) => Turns::Over,
    }
}
