//! The vocabulary of Fettle and the documents that its parts sign.
//!
//! Pure types: no I/O, no clock, no randomness. Everything that crosses a trust boundary is one of
//! these types as JSON inside a DSSE envelope (the envelope itself is in `fettle-audit`). Types are
//! parsed at the edge and cannot hold a wrong value afterwards: names are checked, digests have the
//! right length, durations carry their unit.
//!
//! | module | holds |
//! |---|---|
//! | [`id`], [`name`], [`digest`], [`counter`], [`time`] | the scalars |
//! | [`identity`], [`person_key`] | trust domain, SPIFFE id, roles, people's signing keys |
//! | [`check`], [`service`], [`guard`], [`remediation`], [`escalation`], [`breaker_limits`], [`freeze`], [`schedule`], [`calendar`], [`configuration`] | what operators write |
//! | [`rollout`] | how a configuration reaches hosts |
//! | [`login`] | a person as an OpenID provider knows them |
//! | [`break_glass`], [`actor`] | a role for half an hour, opened by two people; whose deed a record is |
//! | [`config_file`] | the TOML form of the above, with line numbers in every complaint |
//! | [`playbook`], [`scenarios`] | the manifest; what a publisher says of a playbook's scenarios |
//! | [`host`] | what an agent says of its host |
//! | [`permit`], [`refusal`], [`withheld`], [`run`], [`proposal`], [`promotion`], [`evidence`], [`coverage`], [`breaker`], [`incident`], [`mute`] | what the governor and the agents decide and report |
//! | [`why_not`] | what would speak against a run now |
//! | [`simulation`] | what an edited rule would have done with the faults of the past |
//! | [`record`] | the log's entries |

pub mod actor;
pub mod break_glass;
pub mod breaker;
pub mod breaker_limits;
pub mod calendar;
pub mod check;
pub mod config_file;
pub mod configuration;
pub mod counter;
pub mod coverage;
pub mod digest;
pub mod escalation;
pub mod evidence;
pub mod freeze;
pub mod guard;
pub mod host;
pub mod id;
pub mod identity;
pub mod incident;
pub mod login;
pub mod mute;
pub mod name;
pub mod offline;
pub mod permit;
pub mod person_key;
pub mod playbook;
pub mod promotion;
pub mod proposal;
pub mod record;
pub mod refusal;
pub mod remediation;
pub mod rollout;
pub mod run;
pub mod scenarios;
pub mod schedule;
pub mod service;
pub mod simulation;
pub mod time;
pub mod why_not;
pub mod withheld;
