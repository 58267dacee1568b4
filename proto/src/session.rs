//! Bounds and problems of the agent's session.

use std::time::Duration;

/// Largest gRPC message on the agent's session: one record of the largest kind (8 MiB, base64 in
/// its `Published` form grows by a third) with its proof.
pub const MAX_MESSAGE_BYTES: usize = 12 * 1024 * 1024;

/// Time between two heartbeats of an agent.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// After this long without a message the session is dead: three heartbeats.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(15);

/// Requests that a Hello may name as unanswered: an agent has one run at a time and one request per
/// failing check, and a configuration gives a host few dozens of checks.
pub const MAX_UNANSWERED: usize = 64;

/// Records that an agent has sent and that are not acknowledged: more than one run writes, and few enough that
/// the control plane remembers as many of every host. An agent whose acknowledgement was lost finds the record
/// among the last so many of its chain, however often its connection breaks.
pub const MAX_UNACKNOWLEDGED: usize = 64;

/// Bytes in one chunk of a stream: below HTTP/2's default window, large enough to be few.
pub const CHUNK_BYTES: usize = 48 * 1024;

/// Why a control plane ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionProblem {
    /// The record's signature, author or form is wrong.
    BadRecord,
    /// The sequence has a gap or does not follow the record before.
    BrokenChain,
    /// The host's identity is revoked.
    Revoked,
    /// A newer session of the same identity took over.
    Replaced,
    /// The control plane cannot write its log now; try again.
    Unavailable,
}

impl SessionProblem {
    /// All problems.
    pub const ALL: [Self; 5] = [Self::BadRecord, Self::BrokenChain, Self::Revoked, Self::Replaced, Self::Unavailable];

    /// Its name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRecord => "bad-record",
            Self::BrokenChain => "broken-chain",
            Self::Revoked => "revoked",
            Self::Replaced => "replaced",
            Self::Unavailable => "unavailable",
        }
    }

    /// The problem of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|problem| problem.as_str() == name)
    }
}
