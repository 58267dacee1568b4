//! The effector: the only process on a host that changes anything.
//!
//! It owns the state file ([`store`]), the record key, and the journal of the run in progress; it
//! verifies every permit itself ([`admission`]). It opens no network connection and runs no WASM: the
//! daemon and the workers are its children, and it trusts neither.

pub mod admission;
pub mod store;
