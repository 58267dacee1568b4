//! The WASM engine: compiles a package, keeps the result under a MAC, loads it, executes it.
//!
//! The agent's worker and the author's tools use it; the effector and the control plane do not. An
//! execution reaches the host through one callback that takes a [`crate::call::Call`] and gives a
//! [`crate::call::Reply`]; nothing else is linked: no clock, randomness, file, socket or environment.
//!
//! ```text
//! Package --compile--> Artifact --seal--> bytes on disk --open--> Artifact --load--> Playbook --execute--> Execution
//! ```
//!
//! The process is untouched by whatever the component does: each limit ends in a typed
//! [`crate::execution::Stop`]. Compiling itself has no limit but the package's size and number of
//! functions: the process that compiles runs under rlimits of its own.

mod artifact;
mod bindings;
mod configuration;
mod convert;
mod execute;
mod guest;
mod interfaces;
mod meter;
mod trusted;
mod virtual_wasi;

pub use artifact::{
    Artifact, ArtifactKey, Fingerprint, HostKey, InvalidFingerprint, SealedArtifact, UntrustedArtifact,
};
pub use configuration::{CompileError, Engine, EngineUnavailable, LoadError, Playbook};
pub use execute::InvalidParameters;
