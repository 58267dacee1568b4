//! Runs a playbook component under limits, journalled, against a set of capabilities.
//!
//! The engine itself (wasmtime) is behind the feature `engine`; the rest is pure.

pub mod call;
#[cfg(feature = "engine")]
pub mod engine;
pub mod execution;
pub mod package;
pub mod text;
