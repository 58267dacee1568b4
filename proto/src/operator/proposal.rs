//! Proposals, as people are shown them. Made by the control plane; the command line hashes what it shows.

use fettle_model::counter::LogPosition;
use fettle_model::id::RunId;
use fettle_model::name::{HostName, PersonName};
use fettle_model::proposal::{EndedBecause, Proposal};
use fettle_model::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// A proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalView {
    /// All that is approved.
    pub proposal: Proposal,
    /// The host's name.
    pub host: HostName,
    /// Its record.
    pub position: LogPosition,
    /// When it was made.
    pub made_at: UnixMillis,
    /// Who approved.
    pub approvals: Vec<ApprovalRow>,
    /// How it stands.
    pub state: ProposalState,
}

/// One approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRow {
    /// Who.
    pub person: PersonName,
    /// Its record.
    pub position: LogPosition,
    /// When.
    pub at: UnixMillis,
}

/// How a proposal stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum ProposalState {
    /// It waits for people.
    Waiting,
    /// Enough people approved; its agent is to ask again.
    Approved,
    /// A permit used it up.
    Granted {
        /// The permit's run.
        run: RunId,
    },
    /// It ended without a permit.
    Ended {
        /// Why.
        because: EndedBecause,
    },
}
