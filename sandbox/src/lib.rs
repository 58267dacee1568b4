//! Runs a playbook component under limits, journalled, against a set of capabilities.
//!
//! The engine itself (wasmtime) is behind the feature `engine`; the rest is pure.

pub mod authority;
pub mod call;
#[cfg(feature = "engine")]
pub mod engine;
pub mod execution;
pub mod journal;
pub mod machine;
pub mod package;
pub mod predict;
#[cfg(test)]
mod sample;
pub mod scenario;
pub mod simulate;
pub mod text;
pub mod words;
