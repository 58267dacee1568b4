//! Scenarios: a world, a trigger and what is expected, run through the same machine as on a host.
//!
//! The author's tools and the playbooks' own tests use it. Whoever runs a scenario hands over an
//! [`Executor`]: a closure that calls the host as a playbook does, or with the feature `engine` the
//! component itself ([`component`]). From one scenario come two kinds of generated tests: every error
//! at every call ([`faults`]) and a crash at every entry of the journal ([`crashes`]).

mod crash;
mod drive;
mod fault;
mod format;
mod trace;

#[cfg(feature = "engine")]
pub mod component;

pub use crash::crashes;
pub use drive::{CrashAt, Executor, Report, RunError, run, run_with_crashes};
pub use fault::faults;
pub use format::{Expectation, InvalidScenario, Scenario};
pub use trace::trace;

/// What generated tests found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// How often the scenario was run.
    pub runs: u32,
    /// What went wrong, one line each.
    pub violations: Vec<String>,
}

#[cfg(test)]
mod tests;
