//! The run: what started it, time, and what the playbook says.

use crate::bindings::fettle::host::{clock, log};
use crate::handle::{Facts, Flag, Health, Releases, Service};
use crate::{CallError, Level, Millis, OpenError, Trigger};

/// One run of the playbook. Handles come from here, by the labels of the manifest.
#[derive(Debug)]
pub struct Run {
    trigger: Trigger,
}

impl Run {
    pub(crate) const fn new(trigger: Trigger) -> Self {
        Self { trigger }
    }

    /// What started it.
    #[must_use]
    pub const fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    /// The service that is bound to this label.
    ///
    /// # Errors
    /// When the label is not granted, bound or allowed.
    pub fn service(&self, label: &str) -> Result<Service, CallError<OpenError>> {
        Service::open(label)
    }

    /// The deployable whose releases are bound to this label.
    ///
    /// # Errors
    /// When the label is not granted, bound or allowed.
    pub fn releases(&self, label: &str) -> Result<Releases, CallError<OpenError>> {
        Releases::open(label)
    }

    /// The feature flag that is bound to this label.
    ///
    /// # Errors
    /// When the label is not granted, bound or allowed.
    pub fn flag(&self, label: &str) -> Result<Flag, CallError<OpenError>> {
        Flag::open(label)
    }

    /// The check that is bound to this label.
    ///
    /// # Errors
    /// When the label is not granted, bound or allowed.
    pub fn health(&self, label: &str) -> Result<Health, CallError<OpenError>> {
        Health::open(label)
    }

    /// Facts about the host; the manifest needs a grant of kind `facts`.
    #[must_use]
    pub const fn facts(&self) -> Facts {
        Facts::new()
    }

    /// Milliseconds since the Unix epoch, as the host journalled them.
    #[must_use]
    pub fn now_unix_ms(&self) -> u64 {
        clock::now()
    }

    /// Time left before the host ends the run.
    #[must_use]
    pub fn remaining(&self) -> Millis {
        Millis(clock::remaining())
    }

    /// Sleeps in the host. Waiting for a state (`wait_for`, `wait_healthy`) is nearly always better.
    pub fn sleep(&self, duration: Millis) {
        clock::sleep(duration.0);
    }

    /// Opens a phase, which closes when the next one opens or the run ends. Plans and traces group
    /// steps by phase.
    pub fn phase(&self, name: &str) {
        log::phase(name);
    }

    /// A line for the author.
    pub fn debug(&self, message: &str) {
        self.say(Level::Debug, message, &[]);
    }

    /// A line for the reader of the run.
    pub fn info(&self, message: &str) {
        self.say(Level::Info, message, &[]);
    }

    /// A line for the reader's attention.
    pub fn warn(&self, message: &str) {
        self.say(Level::Warn, message, &[]);
    }

    /// A line with named values.
    pub fn say(&self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields: Vec<log::Field> = fields
            .iter()
            .map(|(key, value)| log::Field { key: (*key).to_owned(), value: (*value).to_owned() })
            .collect();
        log::event(level, message, &fields);
    }
}
