//! The control plane: a deterministic state machine over one append-only log, and the rim around it.

pub mod core;
