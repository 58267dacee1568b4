//! Tests of the control plane's core through its public surface.
//!
//! Every test plays on a [`world::World`]: commands are decided, what they list is appended to an
//! in-memory log and applied, as the rim does. When a world is dropped its log is replayed, through the
//! JSON of its records, and must give the same state.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks one kind of record out of all and stops on others")]

mod announcements;
mod approvals;
mod attempts;
mod break_glass;
mod breakers;
mod chain;
mod conditions;
mod coverage;
mod drills;
mod escalation;
mod foresight;
mod freezes;
mod invariants;
mod logins;
mod loops;
mod lost_runs;
mod mutes;
mod offline;
mod oracle;
mod people;
mod promotions;
mod replays;
mod revocation;
mod rollout;
mod rules;
mod schedules;
mod signing_keys;
mod simulation;
mod stages;
mod views;
mod world;
