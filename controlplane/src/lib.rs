//! The control plane: a deterministic state machine over one append-only log, and the rim around it.
//!
//! | module | holds |
//! |---|---|
//! | [`core`] | the state machine: pure decisions, pure projections |
//! | [`authority`] | Cedar |
//! | [`journal`], [`log`], [`leader`] | records, their tree, and the one thread that decides and appends |
//! | [`config`], [`state_dir`], [`init`] | files, and how they come to be |
//! | [`console`] | certificates issued at the console, on their way into the log |
//! | [`vault`] | what is secret or passing and so not in the log: token verifiers, answers to enrolments |
//! | [`packages`] | playbooks' bytes by digest |
//! | [`gateway`] | agents: enrolment, sessions, packages, rotation |
//! | [`operators`] | people: commands, questions, publishing, exports |
//! | [`server`] | listeners, TLS, lifecycle |
//! | [`time_text`] | instants for people |

pub mod authority;
pub mod config;
pub mod console;
pub mod core;
pub mod gateway;
pub mod init;
pub mod journal;
pub mod leader;
pub mod log;
mod mint;
pub mod operators;
pub mod packages;
pub mod server;
pub mod state_dir;
pub mod time_text;
pub mod vault;
