//! The agent's own configuration: what the host's owner wrote into `agent.toml`.
//!
//! The owner has the last word here: which services there are and what manages them, what a
//! playbook's labels are bound to, what is allowed at most (the ceiling), whose playbooks are
//! trusted. The effector and the daemon read the same file at their start; nothing that the control
//! plane sends changes it. An unknown key, and a key that would have no effect, is an error.
//!
//! [`AgentConfig::parse`] is pure; [`load`] reads the file and refuses one that others may write.

mod document;
mod faults;
mod mistake;
mod resolve;
mod scalar;
mod settings;
mod source;

pub use faults::{FaultSettings, FillDiskSettings, RefusePortSettings, SlowResponsesSettings};
pub use mistake::{ConfigError, Mistake};
pub use scalar::{AbsolutePath, Argv, Endpoint, LogKeyPin, PublicKey, UnitName, WrongScalar};
pub use settings::{
    AgentConfig, CommandSettings, ControlPlaneSettings, FlagSettings, HostSettings, Manager, ReleaseSettings,
    ServiceSettings, TrustedPublisher, Unbound,
};
pub use source::{SecretText, load, read_secret};

#[cfg(test)]
mod tests;
