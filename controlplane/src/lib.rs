//! The control plane: a deterministic state machine over one append-only log, and the rim around it.

pub mod authority;
pub mod core;
pub mod journal;
pub mod leader;
pub mod log;
