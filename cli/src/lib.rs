//! `fettle`: the command line of operators, authors and auditors.
//!
//! Called by `main` and by tests. Each noun is a module: what it asks for, and beside it (`show`) how
//! the answer looks, pure and tested without a connection. What a command answers is an
//! [`answer::Answer`] or a [`failure::Failure`]; only [`terminal`] prints. The rim is [`connection`],
//! [`file`], [`profile`] and [`context`]. Decides nothing that the control plane decides.

pub mod answer;
mod apply;
mod break_glass;
pub mod cli;
mod completions;
pub mod connection;
pub mod context;
mod evidence;
pub mod exit;
pub mod failure;
pub mod file;
mod freeze;
mod host;
pub mod log;
mod login;
mod mute;
mod person;
mod plain;
mod playbook;
pub mod profile;
mod promotion;
mod proposal;
mod prose;
mod publisher;
mod rollout;
mod run;
mod schedule;
mod seed_file;
mod service;
mod signed;
mod simulate;
mod switch;
mod table;
pub mod terminal;
mod token;
mod when;
mod why;
