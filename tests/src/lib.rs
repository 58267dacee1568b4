//! What the end-to-end tests run on: throw-away hosts with a real systemd, in networks of their own.
//!
//! Linux and root are needed. A test begins with [`on_hosts`]; without them it fails and says what
//! is missing, unless `FETTLE_SKIP_HOST_TESTS=1` says that somebody left these tests out knowingly.
//!
//! Nothing outlives the test, even when it is killed: everything of a host lives in namespaces whose
//! first process ends when the test's end of a pipe closes ([`chassis`]), and the kernel ends the
//! rest with it. Nothing of the outer machine is changed or reached, except that its files are visible
//! read-only in a host, below what the host writes.

pub mod chassis;
pub mod control_groups;
pub mod host;
pub mod network;
mod prerequisites;
mod seed;
pub mod unit;

pub use host::Host;
pub use network::Network;
pub use prerequisites::on_hosts;
