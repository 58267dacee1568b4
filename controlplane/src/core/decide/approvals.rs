//! A person's yes or no. Its signature was verified with the key that stands for them.
//!
//! Policies say who is an approver; here it is decided whether this person is independent of what they approve,
//! and whether it is still what they were shown.

use super::people::{MAX_WHY_BYTES, PersonRefusal};
use super::{Append, Decision, Outcome, proposals};
use crate::core::authorisation::{Authorisation, PersonAction};
use crate::core::now::Now;
use crate::core::proposals::ProposalState;
use crate::core::state::State;
use fettle_model::digest::DocumentDigest;
use fettle_model::name::PersonName;
use fettle_model::proposal::{Approval, EndedBecause, Verdict};
use fettle_model::record::{ActionRefused, Author, Body, Record};

/// A person's record, signed by the key that stands for them.
#[derive(Debug, Clone)]
pub struct GiveApproval {
    /// Who brings it.
    pub by: PersonName,
    /// What Cedar says of [`PersonAction::Approve`] by this person.
    pub authorised: Authorisation,
    /// The record.
    pub record: Record,
    /// SHA-256 over the policies by which is decided.
    pub policies: DocumentDigest,
}

pub(super) fn decide(state: &State, now: Now, given: &GiveApproval) -> Decision {
    let refused = |refusal| Decision::nothing(Outcome::PersonRefused(refusal));
    let (by, action) = (&given.by, PersonAction::Approve);
    let approval = match (&given.record.author, &given.record.body) {
        (Author::Person { person }, Body::ApprovalGiven(approval)) if person == by => approval,
        (Author::Person { .. } | Author::ControlPlane | Author::Agent { .. }, _) => {
            return refused(PersonRefusal::NoApproval(by.clone()));
        }
    };
    if let Authorisation::Denied { policies } = &given.authorised {
        let refusal = PersonRefusal::NotAuthorised { by: by.clone(), action, policies: policies.clone() };
        return on_record(by, approval, policies.clone(), refusal);
    }
    match accept(state, now, by, approval, &given.policies) {
        Ok(None) => Decision { append: vec![Append::PersonEnvelope], outcome: Outcome::Done },
        Ok(Some(ended)) => {
            Decision { append: vec![Append::PersonEnvelope, Append::Own(ended)], outcome: Outcome::Done }
        }
        Err(PersonRefusal::NotIndependent { by, because }) => {
            let rule = because.rule().to_owned();
            on_record(&by, approval, vec![rule], PersonRefusal::NotIndependent { by: by.clone(), because })
        }
        Err(refusal) => refused(refusal),
    }
}

/// A refusal that an auditor will look for.
fn on_record(by: &PersonName, approval: &Approval, policies: Vec<String>, refusal: PersonRefusal) -> Decision {
    let record = ActionRefused {
        by: by.clone(),
        action: PersonAction::Approve.as_str().to_owned(),
        resource: format!("proposal:{}", approval.proposal),
        policies,
    };
    let append = Decision::own(vec![Body::ActionRefused(Box::new(record))]).append;
    Decision { append, outcome: Outcome::PersonRefused(refusal) }
}

/// The end that a no is; `None` for a yes.
fn accept(
    state: &State,
    now: Now,
    by: &PersonName,
    approval: &Approval,
    policies: &DocumentDigest,
) -> Result<Option<Body>, PersonRefusal> {
    let known = state.proposal(approval.proposal).ok_or(PersonRefusal::UnknownProposal(approval.proposal))?;
    let over = |because| PersonRefusal::ProposalOver { proposal: approval.proposal, because };
    match &known.state {
        ProposalState::Open => {}
        ProposalState::Granted { run } => {
            return Err(PersonRefusal::ProposalGranted { proposal: approval.proposal, run: *run });
        }
        ProposalState::Ended { because } => return Err(over(because.clone())),
    }
    state.stands(known, policies, now.wall).map_err(over)?;
    if approval.request != known.request {
        return Err(PersonRefusal::OtherRequest { proposal: approval.proposal });
    }
    match &approval.verdict {
        Verdict::Approve => {
            if let Some(because) = state.involvement(known, by) {
                return Err(PersonRefusal::NotIndependent { by: by.clone(), because });
            }
            if known.approvals.contains_key(by) {
                return Err(PersonRefusal::ApprovedAlready { by: by.clone() });
            }
            Ok(None)
        }
        Verdict::Reject { why } => {
            if why.trim().is_empty() || why.len() > MAX_WHY_BYTES || why.chars().any(char::is_control) {
                return Err(PersonRefusal::Why);
            }
            Ok(Some(proposals::ended(known, EndedBecause::Rejected { by: by.clone() })))
        }
    }
}
