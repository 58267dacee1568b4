//! What the end-to-end tests run on.
//!
//! **Throw-away hosts** with a real systemd, in networks of their own ([`host`], [`network`]): Linux
//! and root are needed. A test begins with [`on_hosts`]; without them it fails and says what is
//! missing, unless `FETTLE_SKIP_HOST_TESTS=1` says that somebody left these tests out knowingly.
//! Nothing outlives the test, even when it is killed: everything of a host lives in namespaces whose
//! first process ends when the test's end of a pipe closes ([`chassis`]), and the kernel ends the
//! rest with it. Nothing of the outer machine is changed or reached, except that its files are visible
//! read-only in a host, below what the host writes.
//!
//! **A site** on loopback ([`site`]): a control plane, agents and demo services as processes of this
//! machine, which anybody may run. Both are driven by the real command line ([`operator`]).

pub mod agent;
pub mod chassis;
pub mod control_groups;
pub mod control_plane;
pub mod host;
pub mod installed;
pub mod log;
pub mod network;
pub mod operator;
mod prerequisites;
pub mod programs;
pub mod provider;
pub mod remedy;
mod seed;
pub mod shop;
mod signs;
pub mod site;
pub mod two_faced;
pub mod unit;
mod witness;

pub use host::Host;
pub use network::Network;
pub use prerequisites::on_hosts;
