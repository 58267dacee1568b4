//! A record with its place in the log: what [`super::State::apply`] takes.

use fettle_model::counter::{AgentSequence, LogPosition};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::{DrillId, HostId};
use fettle_model::record::{Kind, Record};
use fettle_model::time::UnixMillis;
use serde::Serialize;

/// A record as it stands in the log. All of it can be read back from the journal and its leaves.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its position.
    pub position: LogPosition,
    /// SHA-256 of its envelope.
    pub envelope: EnvelopeDigest,
    /// The control plane's wall clock when it was sequenced, as the leaf says. The record's own `at`
    /// is its author's clock and decides nothing.
    pub received_at: UnixMillis,
    /// The record.
    pub record: &'a Record,
}

/// Where and when in the log something was said, on the control plane's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Stamp {
    /// The record's position.
    pub position: LogPosition,
    /// When it was sequenced.
    pub at: UnixMillis,
}

/// The log is not one that this state machine writes. A control plane that reads this from its own
/// journal must not serve: damaged safety state is never taken for an empty one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Records must come one after the other.
    #[error("the record at position {found} came where {expected} was due")]
    Position {
        /// The position that was due.
        expected: LogPosition,
        /// The one that came.
        found: LogPosition,
    },
    /// A record names a host that was never enrolled.
    #[error("the record names the host {host}, which was never enrolled")]
    UnknownHost {
        /// The host.
        host: HostId,
    },
    /// A record names a drill that does not run.
    #[error("the record names the drill {drill}, which does not run")]
    UnknownDrill {
        /// The drill.
        drill: DrillId,
    },
    /// An agent's records do not follow each other.
    #[error("record {found} of host {host} does not follow record {head}")]
    BrokenChain {
        /// The host.
        host: HostId,
        /// The last record of its chain.
        head: AgentSequence,
        /// The one that came.
        found: AgentSequence,
    },
    /// Records of this kind have another author.
    #[error("a {} record cannot have this author", kind.as_str())]
    WrongAuthor {
        /// The kind.
        kind: Kind,
    },
}
