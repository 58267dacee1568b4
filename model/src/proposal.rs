//! Proposals and approvals: what a person is asked to say yes or no to, and what they said.
//!
//! The control plane proposes what an agent planned where the remediation's mode is `approve`; a person approves
//! or rejects exactly that, signed by their own key over [`Proposal::request`]. Decides nothing.

use crate::check::CheckRef;
use crate::counter::{ConfigurationGeneration, TransitionEpoch};
use crate::digest::{DocumentDigest, EnvelopeDigest};
use crate::escalation::Rung;
use crate::guard::Guard;
use crate::id::{HostId, ProposalId};
use crate::name::{PersonName, RemediationName};
use crate::permit::PermittedTarget;
use crate::playbook::{Manifest, Reversibility};
use crate::remediation::{PlaybookVersion, Remediation};
use crate::run::PlannedStep;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a proposal waits: whoever is on call has seen it by then, and what was planned is not older.
pub const PROPOSAL_VALID_FOR: Duration = Duration::from_hours(1);

/// Approvals that a run needs where its playbook may do something that no inverse undoes.
pub const IRREVERSIBLE_APPROVALS: u32 = 2;

/// Begins what a request's hash is taken of, so that it is the hash of nothing else.
const REQUEST_PREFIX: &[u8] = b"fettle proposal v1\n";

/// What would be done, where, under what: everything that a person says yes or no to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Its id.
    pub proposal: ProposalId,
    /// The remediation that would answer.
    pub remediation: RemediationName,
    /// The rung of its list.
    #[serde(default, skip_serializing_if = "Rung::is_first")]
    pub rung: Rung,
    /// SHA-256 over the remediation as it was configured: [`Proposal::digest_of`].
    pub configured: DocumentDigest,
    /// The configuration under which it was planned.
    pub configuration: ConfigurationGeneration,
    /// The host.
    pub host: HostId,
    /// The check that is critical.
    pub check: CheckRef,
    /// The transition that it answers.
    pub epoch: TransitionEpoch,
    /// The playbook.
    pub playbook: PlaybookVersion,
    /// SHA-256 over its parameters.
    pub parameters: DocumentDigest,
    /// What it may touch and do. Never empty.
    pub targets: Vec<PermittedTarget>,
    /// The agent's record of the plan.
    pub plan: EnvelopeDigest,
    /// The plan's changing calls: nothing else may be done.
    pub steps: Vec<PlannedStep>,
    /// The remediation's limits.
    pub guard: Guard,
    /// SHA-256 over the policies that authorise it.
    pub policies: DocumentDigest,
    /// How many people must approve.
    pub required: u32,
    /// Who wished for this run by hand; nobody: the control plane proposes it by itself.
    pub wished_by: BTreeSet<PersonName>,
    /// No approval is taken and none counts from then on.
    pub expires_at: UnixMillis,
}

impl Proposal {
    /// SHA-256 over all of it, which an approval names and its author signs. Its JSON has one spelling: the
    /// fields in the order of this type, sets sorted, no spaces.
    #[must_use]
    pub fn request(&self) -> DocumentDigest {
        let mut bytes = REQUEST_PREFIX.to_vec();
        bytes.extend(json(self));
        DocumentDigest::of(&bytes)
    }

    /// SHA-256 over a remediation, in the same spelling.
    #[must_use]
    pub fn digest_of(remediation: &Remediation) -> DocumentDigest {
        DocumentDigest::of(&json(remediation))
    }

    /// How many people must approve a run of this remediation.
    #[must_use]
    pub fn required(guard: &Guard, manifest: &Manifest) -> u32 {
        let least = match manifest.reversibility() {
            Reversibility::Reversible => 1,
            Reversibility::Irreversible => IRREVERSIBLE_APPROVALS,
        };
        guard.approvals.max(least)
    }
}

/// Cannot fail: these types have nothing but text for keys.
fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}

/// One person's yes or no to exactly one proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The proposal.
    pub proposal: ProposalId,
    /// [`Proposal::request`], as the person computed it.
    pub request: DocumentDigest,
    /// What they say.
    pub verdict: Verdict,
}

/// What a person says of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is", deny_unknown_fields)]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No: one such ends the proposal.
    Reject {
        /// Why; one line.
        why: String,
    },
}

/// A proposal ended without a permit. One that was granted has ended with its permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProposalEnding {
    /// The proposal.
    pub proposal: ProposalId,
    /// Why.
    pub because: EndedBecause,
}

/// Why a proposal ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule", deny_unknown_fields)]
pub enum EndedBecause {
    /// A person said no.
    Rejected {
        /// Who.
        by: PersonName,
    },
    /// Its time is over.
    Expired,
    /// The check has changed since.
    TransitionChanged,
    /// The remediation, its guard, its parameters, its playbook or its mode there is another one now.
    ConfigurationChanged,
    /// Another rung of the remediation's list is due now.
    RungChanged,
    /// The host binds other things to the playbook's labels now.
    TargetsChanged,
    /// The control plane decides by other policies now.
    PoliciesChanged,
    /// Somebody who approved may not approve any more, became its author, or signs with another key now.
    ApproverLost {
        /// Who.
        person: PersonName,
    },
}

impl EndedBecause {
    /// The rule's name in documents and tables.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::Expired => "expired",
            Self::TransitionChanged => "transition-changed",
            Self::ConfigurationChanged => "configuration-changed",
            Self::RungChanged => "rung-changed",
            Self::TargetsChanged => "targets-changed",
            Self::PoliciesChanged => "policies-changed",
            Self::ApproverLost { .. } => "approver-lost",
        }
    }
}
