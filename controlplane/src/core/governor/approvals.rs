//! The rule on people's yes, in mode `approve`.

use super::Case;
use fettle_model::check::CheckRef;
use fettle_model::escalation::Rung;
use fettle_model::id::ProposalId;
use fettle_model::permit::{ApprovedPlan, PermittedTarget};

/// What people approved for this check on this host: enough of them, for what would be permitted, and nothing that
/// it rests on has changed.
///
/// # Errors
/// With the proposal that waits; `None`: there is none that stands.
pub(super) fn approved(
    case: &Case<'_>,
    check: &CheckRef,
    rung: Rung,
    bound: Option<&[PermittedTarget]>,
) -> Result<ApprovedPlan, Option<ProposalId>> {
    let open = case.state.proposals.open_at(case.host.id, check).ok_or(None)?;
    let stands = case.state.stands(open, case.policies, case.now.wall).is_ok();
    if !stands || open.proposal.rung != rung || Some(open.proposal.targets.as_slice()) != bound {
        return Err(None);
    }
    let proposal = open.proposal.proposal;
    if open.has_enough() {
        Ok(ApprovedPlan { proposal, steps: open.proposal.steps.clone() })
    } else {
        Err(Some(proposal))
    }
}
