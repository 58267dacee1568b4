//! Health checks: probing services and telling when their status changes.
//!
//! The daemon owns one [`Schedule`] and drains it; the effector uses [`resolve_check`] to fill the
//! host's own values into what the control plane sent. Nothing here acts on the host, except that a
//! `command` check runs what the host's owner registered. The damping and the resolution are pure.

pub mod damping;
pub mod follow;
pub mod observation;
pub mod probe;
pub mod reason;
pub mod resolve;
pub mod schedule;

pub use damping::{Damping, Shift};
pub use follow::{Results, Sequel, Stay};
pub use observation::{Change, Noticed, Observation, Verdict};
pub use probe::bus::BusAddress;
pub use reason::Reason;
pub use resolve::{Unresolved, resolve_check, resolve_value};
pub use schedule::{Clock, Schedule};
