//! The journal of a run as data: what was asked, what was answered, what was done, and how it ended.
//!
//! The effector keeps the entries durable in order; [`crate::machine`] emits them, and after a crash
//! reads them back through [`Replay`], which is also what the machine itself works on while the run
//! goes on: there is no second code path for recovery. Nothing here does I/O or reads a clock.
//!
//! A journal is strict: entries that could not have been written in their order are an error, never
//! an empty or shorter journal.

mod account;
mod claim;
mod deed;
mod entry;
mod fate;
mod order;
mod replay;

pub use account::{Inverse, NOT_APPLIED, record, said, steps, summary_digest, undo_plan, undone};
pub use claim::{MAX_DETAIL_LINES, cleaned};
pub use deed::{Deed, Look};
pub use entry::{Asked, Durability, Entry, Halt, VERSION};
pub use fate::{Fate, Undoing};
pub use order::Malformed;
pub use replay::{Dangling, Next, Replay, action_id};

pub(crate) use account::{begun, must_be_looked_at, next_inverse};
pub(crate) use fate::refusal_in_words;

#[cfg(test)]
mod tests;
