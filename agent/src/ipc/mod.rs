//! What the agent's three kinds of process say to each other.
//!
//! The effector is the parent; daemon and worker find their end of a socket pair on standard input.
//! Frames are JSON with a length before them ([`frame`]). The effector trusts neither side: lengths
//! are checked before allocation, unknown messages end the child.

pub mod daemon;
pub mod frame;
pub mod worker;
