//! The effector: the only process on a host that changes anything.
//!
//! It owns the state file ([`store`]), the record key, and the journal of the run in progress; it
//! verifies every permit itself ([`admission`]). It opens no network connection and runs no WASM: the
//! daemon and the workers are its children, and it trusts neither.

pub mod admission;
mod ask;
mod begin_anew;
pub mod children;
mod climb;
pub mod clock;
mod configured;
mod course;
mod deed;
mod enrolment;
mod folders;
mod hear;
#[cfg(feature = "hold-points")]
mod hold_point;
mod injections;
pub mod keys;
pub mod library;
mod offline;
mod outbox;
mod plan;
pub mod recorder;
pub mod run;
mod serve;
mod service_manager;
pub mod store;
mod timer;
pub mod trust;
mod watch;
mod withhold;
mod work;

pub use serve::{EffectorError, serve};
