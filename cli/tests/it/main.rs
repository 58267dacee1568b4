//! The binary `fettle` at its boundary: arguments in; exit code, standard output, files and calls out.
//!
//! The real control plane is tested with it in `tests/`; here a stand-in of a few lines answers what a
//! test scripts, over the real TLS and gRPC.

#![expect(clippy::wildcard_enum_match_arm, reason = "a stand-in answers what a test is about, and the rest alike")]

mod apply;
mod calls;
#[path = "../../../sandbox/tests/it/support.rs"]
mod component;
mod damage;
mod fettle;
#[path = "../../../audit/tests/it/log.rs"]
mod log;
mod offline;
mod people;
mod playbooks;
mod records;
mod stand_in;
#[path = "../../../audit/tests/it/story.rs"]
#[expect(dead_code, reason = "only the story is needed of what the auditor's tests build")]
mod story;
