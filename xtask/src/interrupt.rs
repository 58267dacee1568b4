//! Whether somebody asked this program to stop, by Ctrl-C or by a signal.
//!
//! A command that starts processes calls [`listen`] first; from then on a signal only sets a flag, the
//! next wait fails, and everything is ended on the way out as after any failure. Without [`listen`]
//! (in tests) signals do what they always do.

use anyhow::{Context as _, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Catches SIGINT, SIGTERM and SIGHUP from now on.
pub fn listen() -> anyhow::Result<()> {
    let flag = REQUESTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("catch signals")?;
    }
    Ok(())
}

/// Fails once somebody asked.
pub fn check() -> anyhow::Result<()> {
    if REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        bail!("interrupted");
    }
    Ok(())
}
