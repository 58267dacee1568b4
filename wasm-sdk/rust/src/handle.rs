//! Handles: what a run may look at and change, each opened by a label of the manifest.
//!
//! Every change takes what was observed before it; the host refuses it as stale when the thing
//! moved in between.

use crate::bindings::fettle::host::{facts, feature_flags, health, releases, services};
use crate::{
    ActError, Activity, CallError, Fact, Millis, OpenError, ReadError, Receipt, Release, Report, Setting, Status,
};

/// A service.
#[derive(Debug)]
pub struct Service {
    label: String,
    handle: services::Service,
}

impl Service {
    pub(crate) fn open(label: &str) -> Result<Self, CallError<OpenError>> {
        let handle = services::open(label).map_err(CallError::naming(label, "open"))?;
        Ok(Self { label: label.to_owned(), handle })
    }

    /// Looks at it.
    ///
    /// # Errors
    /// When it cannot be observed.
    pub fn status(&self) -> Result<Status, CallError<ReadError>> {
        self.handle.status().map_err(CallError::naming(&self.label, "status"))
    }

    /// The last lines of its log, oldest first; at most 500.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn tail(&self, lines: u16) -> Result<Vec<String>, CallError<ReadError>> {
        self.handle.tail(lines).map_err(CallError::naming(&self.label, "tail"))
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it was refused or did not provably happen.
    pub fn start(&self, seen: &Status) -> Result<Receipt, CallError<ActError>> {
        self.handle.start(&seen.revision).map_err(CallError::naming(&self.label, "start"))
    }

    /// Stops it.
    ///
    /// # Errors
    /// When it was refused or did not provably happen.
    pub fn stop(&self, seen: &Status) -> Result<Receipt, CallError<ActError>> {
        self.handle.stop(&seen.revision).map_err(CallError::naming(&self.label, "stop"))
    }

    /// Restarts it.
    ///
    /// # Errors
    /// When it was refused or did not provably happen.
    pub fn restart(&self, seen: &Status) -> Result<Receipt, CallError<ActError>> {
        self.handle.restart(&seen.revision).map_err(CallError::naming(&self.label, "restart"))
    }

    /// Makes it read its configuration again.
    ///
    /// # Errors
    /// When it was refused or did not provably happen.
    pub fn reload(&self, seen: &Status) -> Result<Receipt, CallError<ActError>> {
        self.handle.reload(&seen.revision).map_err(CallError::naming(&self.label, "reload"))
    }

    /// Waits until it is so.
    ///
    /// # Errors
    /// [`ReadError::Timeout`] when it was not so in time.
    pub fn wait_for(&self, activity: Activity, timeout: Millis) -> Result<Status, CallError<ReadError>> {
        self.handle.wait_for(activity, timeout.0).map_err(CallError::naming(&self.label, "wait-for"))
    }
}

/// The releases of one deployable.
#[derive(Debug)]
pub struct Releases {
    label: String,
    handle: releases::Target,
}

/// The current release as observed.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrentRelease {
    /// The release.
    pub release: Release,
    revision: String,
}

impl Releases {
    pub(crate) fn open(label: &str) -> Result<Self, CallError<OpenError>> {
        let handle = releases::open(label).map_err(CallError::naming(label, "open"))?;
        Ok(Self { label: label.to_owned(), handle })
    }

    /// The current release.
    ///
    /// # Errors
    /// When it cannot be observed.
    pub fn current(&self) -> Result<CurrentRelease, CallError<ReadError>> {
        let (release, revision) = self.handle.current().map_err(CallError::naming(&self.label, "current"))?;
        Ok(CurrentRelease { release, revision })
    }

    /// All releases, newest first; at most 20.
    ///
    /// # Errors
    /// When they cannot be observed.
    pub fn history(&self) -> Result<Vec<Release>, CallError<ReadError>> {
        self.handle.history().map_err(CallError::naming(&self.label, "history"))
    }

    /// Makes this release the current one in place of what was seen.
    ///
    /// # Errors
    /// When it was refused or did not provably happen.
    pub fn activate(&self, release: &Release, seen: &CurrentRelease) -> Result<Receipt, CallError<ActError>> {
        self.handle.activate(&release.id, &seen.revision).map_err(CallError::naming(&self.label, "activate"))
    }

    /// Waits until the current release serves.
    ///
    /// # Errors
    /// [`ReadError::Timeout`] when it did not in time.
    pub fn wait_settled(&self, timeout: Millis) -> Result<Release, CallError<ReadError>> {
        self.handle.wait_settled(timeout.0).map_err(CallError::naming(&self.label, "wait-settled"))
    }
}

/// A feature flag.
#[derive(Debug)]
pub struct Flag {
    label: String,
    handle: feature_flags::Flag,
}

impl Flag {
    pub(crate) fn open(label: &str) -> Result<Self, CallError<OpenError>> {
        let handle = feature_flags::open(label).map_err(CallError::naming(label, "open"))?;
        Ok(Self { label: label.to_owned(), handle })
    }

    /// Its value.
    ///
    /// # Errors
    /// When it cannot be observed.
    pub fn read(&self) -> Result<Setting, CallError<ReadError>> {
        self.handle.read().map_err(CallError::naming(&self.label, "read"))
    }

    /// Sets it to a variant for `hold`; the host puts the old one back afterwards.
    ///
    /// # Errors
    /// When it was refused or did not provably happen.
    pub fn set(&self, variant: &str, seen: &Setting, hold: Millis) -> Result<Receipt, CallError<ActError>> {
        self.handle.set(variant, &seen.revision, hold.0).map_err(CallError::naming(&self.label, "set"))
    }
}

/// A check's health.
#[derive(Debug)]
pub struct Health {
    label: String,
    handle: health::Check,
}

impl Health {
    pub(crate) fn open(label: &str) -> Result<Self, CallError<OpenError>> {
        let handle = health::open(label).map_err(CallError::naming(label, "open"))?;
        Ok(Self { label: label.to_owned(), handle })
    }

    /// Probes now.
    ///
    /// # Errors
    /// When the check cannot be run.
    pub fn probe(&self) -> Result<Report, CallError<ReadError>> {
        self.handle.probe().map_err(CallError::naming(&self.label, "probe"))
    }

    /// Waits until the check was healthy for `stable_for` without interruption.
    ///
    /// # Errors
    /// [`ReadError::Timeout`] when it was not within `timeout`.
    pub fn wait_healthy(&self, stable_for: Millis, timeout: Millis) -> Result<Report, CallError<ReadError>> {
        self.handle.wait_healthy(stable_for.0, timeout.0).map_err(CallError::naming(&self.label, "wait-healthy"))
    }
}

/// Facts about the host.
#[derive(Debug)]
pub struct Facts(());

impl Facts {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// One fact: `os.id`, `os.version`, `architecture`, `host.name`, `memory.total-bytes`, `cpus`.
    ///
    /// # Errors
    /// When there is none of this key.
    pub fn get(&self, key: &str) -> Result<Fact, CallError<ReadError>> {
        facts::get(key).map_err(CallError::naming("facts", key))
    }
}
