//! Where a test stops the effector: after its n-th durable journal record of runs since it was started, or when it has
//! received a configuration and not kept it yet.
//!
//! Only with the feature `hold-points`, and only when `FETTLE_HOLD_AT` holds n, or `configuration:` and a generation. The process stops itself
//! (SIGSTOP) before it does anything else with the record; the test then kills what it wants to kill.

use fettle_model::counter::ConfigurationGeneration;
use rustix::process::{Signal, getpid, kill_process};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The record after which this process stops; `None`: after none.
fn wanted() -> Option<u32> {
    static WANTED: OnceLock<Option<u32>> = OnceLock::new();
    *WANTED.get_or_init(|| std::env::var("FETTLE_HOLD_AT").ok()?.parse().ok())
}

/// A journal record of a run is durable.
pub(super) fn reached() {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed) + 1;
    if wanted() == Some(number) {
        stop();
    }
}

/// A configuration was received, and is not kept yet.
pub(super) fn received(generation: ConfigurationGeneration) {
    let wanted = std::env::var("FETTLE_HOLD_AT");
    if wanted.is_ok_and(|wanted| wanted == format!("configuration:{generation}")) {
        stop();
    }
}

fn stop() {
    if let Err(error) = kill_process(getpid(), Signal::STOP) {
        tracing::error!(%error, "the effector could not stop itself for a test");
    }
}
