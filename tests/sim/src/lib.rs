//! Real agents and real control planes in one thread, under a scheduler that a seed decides.
//!
//! Real are: the core with its journal and its replay, two leaders under their epochs, permits as they are signed and
//! kept; the agent's state file, its chain of records, its admission, its stop orders, and the machine that runs a
//! playbook over its journal. Simulated are: time, both ends' clocks, the network, crashes, what a playbook calls, and
//! the thing on the host that it changes. Not in it: TLS, sessions, proofs of inclusion, workers and the effector's own
//! loop (ADR 0022).
//!
//! [`play`] plays one seed and holds what *really* happened, effect by effect, against the invariants of
//! `tests/model`. A [`Flaw`] breaks one rule on purpose, and must be found. Same seed, same history.

mod agent;
mod approvals;
mod budget;
mod control_plane;
mod fixture;
mod flaw;
mod host;
mod people;
mod plan;
mod run;
mod scene;
mod setting;
mod settled;
mod tally;
mod truth;
mod world;

pub use flaw::Flaw;
pub use truth::{Breach, Counts};
pub use world::play;
