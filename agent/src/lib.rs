//! The agent: one binary, three kinds of process.
//!
//! The *effector* owns the state and changes the host, the *daemon* has the network and the checks, a
//! *worker* runs one playbook and dies. See ARCHITECTURE.md for how they fit together.

pub mod capability;
pub mod check;
pub mod config;
pub mod daemon;
pub mod effector;
pub mod ipc;
pub mod separation;
pub mod worker;
