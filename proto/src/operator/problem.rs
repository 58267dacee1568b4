//! Why a command or query was not carried out. The control plane writes it, `fettle` shows it and ends with its
//! exit code. Never holds what the caller may not see.

use serde::{Deserialize, Serialize};

/// Why a command or query was not carried out. Travels in the details of the gRPC status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct Problem {
    /// What kind of problem.
    pub code: ProblemCode,
    /// What is wrong, and where.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Kinds of problem; each has one exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemCode {
    /// The document does not parse or contradicts itself.
    Invalid,
    /// A thing that it names does not exist.
    NotFound,
    /// Somebody else changed it meanwhile.
    Conflict,
    /// Cedar says no.
    Denied,
    /// A rule of the governor says no.
    Refused,
    /// The control plane cannot do it now.
    Unavailable,
    /// A fault of ours.
    Internal,
}
