//! The offline verifier at its boundary: bundles in, reports out.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks one step of the story and keeps all others")]

mod approvals;
mod attempts;
mod break_glass;
mod check;
mod faults;
mod flips;
mod foundations;
mod framing;
mod grants;
mod intents;
mod log;
mod logins;
mod offline;
mod people;
mod promotions;
mod ramps;
mod runs;
mod scale;
mod story;
mod turns;
