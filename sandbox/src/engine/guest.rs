//! The host's side of one execution: what the component's calls go through.
//!
//! It lives in the engine's store, on the thread that runs the component. Calls leave over a channel
//! to the thread that called [`super::Engine::execute`], which asks the host and sends the reply back.

use super::meter::Meter;
use crate::call::{Call, Effect, LogCall, LogLevel, Reply};
use crate::execution::{Gone, Limits, MAX_TRAP_BYTES, Stop};
use crate::text;
use fettle_model::name::Label;
use fettle_model::playbook::GrantKind;
use fettle_model::run::{MAX_SAID, MAX_SAID_BYTES};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

/// Ends the run: carried through the engine as an error and taken out again when the call returns.
#[derive(Debug, thiserror::Error)]
#[error("the run is stopped: {0}")]
pub(super) struct Halt(pub(super) Stop);

/// The error that ends the run so.
pub(super) fn halt(stop: Stop) -> wasmtime::Error {
    wasmtime::Error::new(Halt(stop))
}

/// Both ends of the channels to the asking thread, as the component's thread holds them. Each has
/// room for one: a component has one call in progress at most.
pub(super) struct Pipe {
    pub(super) calls: SyncSender<Call>,
    pub(super) replies: Receiver<Result<Reply, Gone>>,
}

/// The store's data.
pub(super) struct Guest {
    pub(super) meter: Meter,
    pipe: Pipe,
    deadline: Instant,
    calls_left: u32,
    changing_calls_left: u32,
    lines_left: usize,
    /// A handle's number is its index here. A label opens to one thing per run, so that opening it
    /// again gives the same number; there are never more entries than the manifest has grants.
    opened: Vec<(GrantKind, Label)>,
    /// Of the guest's standard output and error, since the last line's end.
    partial_line: Vec<u8>,
}

impl Guest {
    pub(super) const fn new(limits: &Limits, deadline: Instant, pipe: Pipe) -> Self {
        Self {
            meter: Meter::new(limits),
            pipe,
            deadline,
            calls_left: limits.host_calls,
            changing_calls_left: limits.changing_calls,
            lines_left: MAX_SAID,
            opened: Vec::new(),
            partial_line: Vec::new(),
        }
    }

    /// Whether the run's time is over.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Counts one host call, whether it reaches the host or not.
    pub(super) fn count(&mut self) -> wasmtime::Result<()> {
        if self.is_late() {
            return Err(halt(Stop::Deadline));
        }
        self.calls_left = self.calls_left.checked_sub(1).ok_or_else(|| halt(Stop::HostCallLimit))?;
        Ok(())
    }

    /// Asks the host.
    pub(super) fn ask(&mut self, call: Call) -> wasmtime::Result<Reply> {
        self.count()?;
        if !call.is_bounded() {
            let message = format!("a text in {call} is too long");
            return Err(halt(Stop::Trap { message: text::one_line(&message, MAX_TRAP_BYTES) }));
        }
        match call.effect() {
            Effect::Observes => {}
            Effect::Changes(_) => {
                self.changing_calls_left =
                    self.changing_calls_left.checked_sub(1).ok_or_else(|| halt(Stop::HostCallLimit))?;
            }
        }
        self.pipe.calls.send(call).map_err(|_| halt(Stop::HostGone))?;
        match self.pipe.replies.recv() {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Gone)) | Err(_) => Err(halt(Stop::HostGone)),
        }
    }

    /// The number of the handle to what this label opened.
    pub(super) fn handle(&mut self, kind: GrantKind, label: &Label) -> wasmtime::Result<u32> {
        let known = self.opened.iter().position(|(of, name)| *of == kind && name == label);
        let index = known.unwrap_or(self.opened.len());
        if known.is_none() {
            self.opened.push((kind, label.clone()));
        }
        Ok(u32::try_from(index)?)
    }

    /// What a handle was opened by. The engine has checked that the component holds the handle, and
    /// of which type it is.
    pub(super) fn label(&self, kind: GrantKind, handle: u32) -> wasmtime::Result<Label> {
        usize::try_from(handle)
            .ok()
            .and_then(|index| self.opened.get(index))
            .filter(|(of, _)| *of == kind)
            .map(|(_, label)| label.clone())
            .ok_or_else(|| wasmtime::Error::msg("a handle that was never given out"))
    }

    /// A line for people: cleaned, cut, and left out once there are [`MAX_SAID`].
    pub(super) fn say(
        &mut self,
        level: LogLevel,
        message: &str,
        fields: impl IntoIterator<Item = (String, String)>,
    ) -> wasmtime::Result<()> {
        let message = text::one_line(message, MAX_SAID_BYTES);
        let mut room = MAX_SAID_BYTES - message.len();
        let mut kept = Vec::new();
        for (key, value) in fields {
            let (key, value) = (text::one_line(&key, room), text::one_line(&value, room));
            match room.checked_sub(key.len() + value.len() + FIELD_PUNCTUATION) {
                Some(left) => room = left,
                None => break,
            }
            kept.push((key, value));
        }
        self.speak(LogCall::Event { level, message, fields: kept })
    }

    /// Asks the host to note what was said, while there is room for it.
    pub(super) fn speak(&mut self, said: LogCall) -> wasmtime::Result<()> {
        let Some(left) = self.lines_left.checked_sub(1) else {
            return self.count();
        };
        self.lines_left = left;
        let Reply::Unit = self.ask(Call::Log(said))? else {
            return Err(bad_reply("log"));
        };
        Ok(())
    }

    /// Takes what the guest wrote to its standard output or error; whole lines become debug lines.
    pub(super) fn write(&mut self, bytes: &[u8]) -> wasmtime::Result<()> {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line()?;
            } else if self.partial_line.len() < MAX_SAID_BYTES {
                self.partial_line.push(*byte);
            }
        }
        Ok(())
    }

    /// Ends the line that the guest has begun.
    pub(super) fn end_line(&mut self) -> wasmtime::Result<()> {
        let line = std::mem::take(&mut self.partial_line);
        if line.is_empty() {
            return Ok(());
        }
        self.say(LogLevel::Debug, &String::from_utf8_lossy(&line), None)
    }
}

/// ` key="value"`.
const FIELD_PUNCTUATION: usize = 4;

/// The host answered with another shape than the call has.
pub(super) fn bad_reply(call: &str) -> wasmtime::Error {
    halt(Stop::BadReply { call: call.to_owned() })
}
