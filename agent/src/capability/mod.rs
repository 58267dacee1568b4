//! The real capabilities: what the effector does to this host, and how it looks at it.
//!
//! Called by the effector only, which owns the journal, the permit and the ceiling; nothing here
//! decides whether something may be done. There is no network, no shell and no name from a
//! playbook: [`Capabilities::open`] turns the permit's bound targets into handles before the run,
//! and calls name a label. A change is done in three steps, so that a crash at any point can be
//! told afterwards:
//!
//! 1. [`OpenTargets::before`] looks, refuses a stale revision, and returns what the effector
//!    journals as part of the intent ([`Deed`] and [`Before`]).
//! 2. [`OpenTargets::perform`] looks once more, acts, and returns [`Done`].
//! 3. After a crash between the two, [`OpenTargets::look_after_crash`] says from the thing itself
//!    whether it happened. It never acts.
//!
//! The futures of step 2 must be driven to their end: dropping one in the middle leaves an effect
//! whose outcome nobody knows.

mod answer;
mod deed;
mod facts;
mod fault;
mod flag;
mod flag_file;
mod hold;
mod injection;
mod open;
mod perform;
mod process;
mod program;
mod release;
mod service;
mod swap;
mod text;

pub use deed::{Before, Deed, Done, FlagBefore, Look, ReleaseBefore, ServiceBefore};
pub use facts::{Facts, FactsError};
pub use flag::{PutBack, put_back};
pub use hold::{Hold, HoldChange, Holds, MAX_HOLDS, TooManyHolds};
pub use injection::{Injection, Injections, MAX_INJECTIONS, Pending, TakenBack, TooManyInjections};
pub use open::{Capabilities, NotOpened, OpenTargets};
pub use process::ProcessRef;

#[cfg(test)]
mod tests;
