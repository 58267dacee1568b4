//! A record in a list. Answers [`Query::Log`](super::Query::Log) and [`Query::Record`](super::Query::Record).

use fettle_model::counter::LogPosition;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::BreakGlassId;
use fettle_model::record::Kind;
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A record in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRow {
    /// Where.
    pub position: LogPosition,
    /// Its kind.
    pub kind: Kind,
    /// When its author wrote it.
    pub at: UnixMillis,
    /// Who, for people: `control plane` or a host's name.
    pub author: String,
    /// What, in one line.
    pub summary: String,
    /// SHA-256 of its envelope.
    pub digest: EnvelopeDigest,
    /// The ask under which a person did it, where glass was broken for them.
    #[serde(default)]
    pub broken_glass: Option<BreakGlassId>,
}
