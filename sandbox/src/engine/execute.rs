//! Executes a loaded playbook: the component on a thread of its own, its calls answered on the
//! caller's.
//!
//! Two threads, since the caller's answers may borrow what the engine's store cannot, and since the
//! caller is then free to be the watchdog: while the component computes, the caller waits for its
//! next call, and interrupts it when the time is over. A component that computes for ever cannot
//! keep that from happening.

use super::bindings::playbook::Remediator;
use super::bindings::playbook::exports::fettle::host::playbook as export;
use super::configuration::{Engine, Playbook};
use super::guest::{Guest, Halt, Pipe};
use super::{convert, interfaces};
use crate::call::{Call, Reply};
use crate::execution::{Execution, Gone, Limits, MAX_TRAP_BYTES, Stop, Trigger};
use crate::package::Import;
use crate::text::one_line;
use fettle_model::playbook::GrantKind;
use fettle_model::remediation::Parameters;
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use wasmtime::{Store, Trap, UpdateDeadline};

/// Stack of the component's thread: 512 KiB for its own frames, the rest for the host's.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// Bytes that a component may hand over in one host call, and in its result.
const CALL_BYTES: usize = 64 * 1024;
/// Handles that a component may hold at once; the standard playbooks hold three.
const MAX_HANDLES: usize = 256;
/// Time between two interruptions once the run's time is over: one is enough, unless it came
/// between the component's last look at the clock and its next call.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(10);
/// Longest execution, whatever the limits say: far beyond the 30 minutes of the longest manifest.
const MAX_WALL: Duration = Duration::from_hours(24);
/// Most complaints of a `check-parameters`, and the longest one.
const MAX_ISSUES: usize = 32;
const MAX_ISSUE_BYTES: usize = 1_024;

/// The playbook's own check found parameters wrong that the manifest allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParameters {
    /// What it complains of.
    #[error("the playbook refuses its parameters: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// It did not come to an answer.
    #[error("the playbook did not check its parameters")]
    Stopped(#[source] Stop),
}

impl Engine {
    /// Executes a playbook once, with the interfaces of these kinds of grant. `host` is called on
    /// this thread, once per host call, in order; it may block.
    ///
    /// Deterministic but for `limits.wall`: the same component, trigger and replies give the same
    /// calls, claim and fuel.
    pub fn execute(
        &self,
        playbook: &Playbook,
        granted: &BTreeSet<GrantKind>,
        trigger: &Trigger,
        limits: Limits,
        host: &mut dyn FnMut(Call) -> Result<Reply, Gone>,
    ) -> Execution {
        let trigger = export::Trigger::from(trigger);
        let (returned, fuel_used) = self.enter(playbook, granted, limits, host, move |component, store| {
            component.fettle_host_playbook().call_run(store, &trigger)
        });
        Execution { claim: returned.map(convert::claim), fuel_used }
    }

    /// Asks a playbook whether it takes these parameters. It gets no capability for that.
    ///
    /// # Errors
    /// With its complaints, or with why it came to no answer.
    pub fn check_parameters(
        &self,
        playbook: &Playbook,
        granted: &BTreeSet<GrantKind>,
        parameters: &Parameters,
        limits: Limits,
    ) -> Result<(), InvalidParameters> {
        let parameters = parameters.canonical_text();
        let (returned, _) = self.enter(playbook, granted, limits, &mut |_| Err(Gone), move |component, store| {
            component.fettle_host_playbook().call_check_parameters(store, &parameters)
        });
        match returned {
            Ok(Ok(())) => Ok(()),
            Ok(Err(issues)) => Err(InvalidParameters::Refused(
                issues.iter().take(MAX_ISSUES).map(|issue| complaint(&issue.pointer, &issue.message)).collect(),
            )),
            Err(stop) => Err(InvalidParameters::Stopped(stop)),
        }
    }

    fn enter<T: Send>(
        &self,
        playbook: &Playbook,
        granted: &BTreeSet<GrantKind>,
        limits: Limits,
        host: &mut dyn FnMut(Call) -> Result<Reply, Gone>,
        call: impl FnOnce(&Remediator, &mut Store<Guest>) -> wasmtime::Result<T> + Send,
    ) -> (Result<T, Stop>, u64) {
        if let Some(name) = forbidden(self, playbook, granted) {
            return (Err(Stop::ForbiddenImport { name }), 0);
        }
        let deadline = Instant::now() + limits.wall.min(MAX_WALL);
        let (calls, asked) = sync_channel(1);
        let (answers, replies) = sync_channel(1);
        let guest = Guest::new(&limits, deadline, Pipe { calls, replies });
        thread::scope(|scope| {
            let component = thread::Builder::new()
                .name("playbook".to_owned())
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, move || self.run_component(playbook, granted, limits, guest, call));
            let component = match component {
                Ok(component) => component,
                Err(error) => return (Err(Stop::NotStarted { message: error.to_string() }), 0),
            };
            self.answer(&asked, &answers, deadline, host);
            // The component's thread ends by itself: it has let go of its end of the pipe.
            component.join().unwrap_or_else(|_| (Err(Stop::Trap { message: "the engine panicked".to_owned() }), 0))
        })
    }

    /// Answers calls until the component's thread lets go of the pipe.
    fn answer(
        &self,
        asked: &Receiver<Call>,
        answers: &SyncSender<Result<Reply, Gone>>,
        deadline: Instant,
        host: &mut dyn FnMut(Call) -> Result<Reply, Gone>,
    ) {
        let mut wait = deadline.saturating_duration_since(Instant::now());
        loop {
            match asked.recv_timeout(wait) {
                Ok(call) => {
                    if answers.send(host(call)).is_err() {
                        return;
                    }
                    wait = deadline.saturating_duration_since(Instant::now());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.wasmtime.increment_epoch();
                    wait = INTERRUPT_AGAIN;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// On the component's thread: instantiates it, calls it, and says why it stopped.
    fn run_component<T>(
        &self,
        playbook: &Playbook,
        granted: &BTreeSet<GrantKind>,
        limits: Limits,
        guest: Guest,
        call: impl FnOnce(&Remediator, &mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> (Result<T, Stop>, u64) {
        let mut store = Store::new(&self.wasmtime, guest);
        store.limiter(|guest| &mut guest.meter);
        store.set_hostcall_fuel(CALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        // The epoch is the engine's, and another execution may have been what was interrupted.
        store.epoch_deadline_callback(|store| {
            if store.data().is_late() { Ok(UpdateDeadline::Interrupt) } else { Ok(UpdateDeadline::Continue(1)) }
        });
        store.set_epoch_deadline(1);
        if let Err(error) = store.set_fuel(limits.fuel) {
            return (Err(Stop::NotStarted { message: message(&error) }), 0);
        }
        let started = interfaces::linker(&self.wasmtime, granted)
            .and_then(|linker| Remediator::instantiate(&mut store, &playbook.component, &linker));
        let returned = match started {
            Ok(component) => call(&component, &mut store).map_err(|error| stop(&error)),
            Err(error) if stopped_its_code(&error) => Err(stop(&error)),
            Err(error) => Err(Stop::NotStarted { message: message(&error) }),
        };
        let returned = match (returned, store.data_mut().end_line()) {
            (Ok(value), Ok(())) => Ok(value),
            (Ok(_), Err(error)) => Err(stop(&error)),
            (Err(first), Ok(()) | Err(_)) => Err(first),
        };
        let fuel_used = limits.fuel - store.get_fuel().unwrap_or(0);
        (returned, fuel_used)
    }
}

/// The first import that is not for a playbook with these grants.
fn forbidden(engine: &Engine, playbook: &Playbook, granted: &BTreeSet<GrantKind>) -> Option<String> {
    let given = |name: &str| {
        Import::parse(name).is_some_and(|import| import.needs().is_none_or(|kind| granted.contains(&kind)))
    };
    let component = playbook.component.component_type();
    component.imports(&engine.wasmtime).map(|(name, _)| name).find(|name| !given(name)).map(|name| one_line(name, 200))
}

/// Whether the component's own code was stopped, in contrast to the engine refusing to start it.
fn stopped_its_code(error: &wasmtime::Error) -> bool {
    error.is::<Halt>() || error.is::<Trap>()
}

fn stop(error: &wasmtime::Error) -> Stop {
    if let Some(Halt(stop)) = error.downcast_ref::<Halt>() {
        return stop.clone();
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Stop::OutOfFuel,
        Some(Trap::Interrupt) => Stop::Deadline,
        Some(_) | None => Stop::Trap { message: message(error) },
    }
}

fn message(error: &wasmtime::Error) -> String {
    one_line(&format!("{error:#}"), MAX_TRAP_BYTES)
}

fn complaint(pointer: &str, message: &str) -> String {
    let text = if pointer.is_empty() { message.to_owned() } else { format!("{pointer}: {message}") };
    one_line(&text, MAX_ISSUE_BYTES)
}
