//! Whether the log's permits are what people really said yes to.

use crate::fixture::{APPROVALS, name};
use crate::people::APPROVERS;
use crate::scene::Scene;
use crate::setting::Way;
use fettle_model::id::ProposalId;
use fettle_model::identity::Role;
use fettle_model::name::PersonName;
use fettle_model::permit::{Permit, Purpose};
use fettle_model::proposal::{Proposal, Verdict};
use fettle_model::record::{Author, Body, Record};
use fettle_permit_model::invariants::I10;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the log says until some record.
#[derive(Default)]
struct Said<'a> {
    approvers: BTreeSet<&'a PersonName>,
    /// Those that no permit has used up.
    proposals: BTreeMap<ProposalId, &'a Proposal>,
    yes: BTreeMap<ProposalId, BTreeSet<&'a PersonName>>,
}

/// Asks it of every permit.
pub(crate) fn check(scene: &mut Scene, log: &[Arc<Record>]) -> anyhow::Result<()> {
    if scene.setting.way != Way::Approve {
        return Ok(());
    }
    let people = APPROVERS.iter().map(|person| name(person)).collect::<anyhow::Result<Vec<PersonName>>>()?;
    let mut said = Said::default();
    for record in log {
        let body = &record.body;
        if let Body::RoleGranted(granted) = body
            && granted.role == Role::Approver
        {
            said.approvers.insert(&granted.person);
        } else if let Body::RoleRevoked(revoked) = body
            && revoked.role == Role::Approver
        {
            said.approvers.remove(&revoked.person);
        } else if let Body::ProposalMade(proposal) = body {
            said.proposals.insert(proposal.proposal, proposal);
        } else if let (Body::ApprovalGiven(approval), Author::Person { person }) = (body, &record.author)
            && let Some(meant) = said.proposals.get(&approval.proposal).map(|proposal| proposal.request())
        {
            let really =
                (0..).zip(&people).any(|(number, known)| known == person && scene.truth.said_yes(number, meant));
            if approval.verdict == Verdict::Approve && approval.request == meant && really {
                said.yes.entry(approval.proposal).or_default().insert(person);
            }
        } else if let Body::PermitGranted(permit) = body {
            let count = said.use_up(permit);
            scene.truth.counts.approved += 1;
            if u32::try_from(count)? < APPROVALS {
                scene.truth.breaks(I10, format!("{count} said yes to permit {}", permit.permit));
            }
        }
    }
    Ok(())
}

impl Said<'_> {
    /// How many of those who may said yes to this; none, where it is another run than was proposed.
    fn use_up(&mut self, permit: &Permit) -> usize {
        let Some(plan) = &permit.approved else { return 0 };
        let Some(proposal) = self.proposals.remove(&plan.proposal) else { return 0 };
        let meant = match &permit.purpose {
            Purpose::Remediate { check, epoch, .. } => check == &proposal.check && epoch == &proposal.epoch,
            Purpose::Offline { .. } | Purpose::InjectFault { .. } | Purpose::Repeat { .. } => false,
        };
        let same = meant
            && permit.host == proposal.host
            && permit.playbook.as_ref() == Some(&proposal.playbook)
            && permit.targets == proposal.targets
            && plan.steps == proposal.steps;
        let yes = self.yes.remove(&plan.proposal).unwrap_or_default();
        if same { yes.intersection(&self.approvers).count() } else { 0 }
    }
}
