//! What is proposed to people, and what ends a proposal. Called for an agent's plan and request, and by the tick.

use super::agent::AgentRecord;
use crate::core::governor::targets;
use crate::core::hosts::Host;
use crate::core::now::Now;
use crate::core::proposals::{KnownProposal, MAX_OPEN_PROPOSALS};
use crate::core::state::State;
use crate::core::turns::Due;
use fettle_model::check::Status;
use fettle_model::digest::DocumentDigest;
use fettle_model::permit::{PermitRequest, PermittedTarget, Purpose};
use fettle_model::proposal::{EndedBecause, PROPOSAL_VALID_FOR, Proposal, ProposalEnding};
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Mode;
use fettle_model::run::Plan;

/// What a plan is worth to people: a proposal, where nothing but their yes is missing.
pub(super) fn after_plan(state: &State, now: Now, host: &Host, plan: &Plan, given: &AgentRecord) -> Vec<Body> {
    let mut bodies = Vec::new();
    let Some(proposal) = proposed(state, now, host, plan, given) else { return bodies };
    if let Some(open) = state.proposals.open_at(host.id, &proposal.check) {
        match state.stands(open, &given.policies, now.wall) {
            Ok(()) => return bodies,
            Err(because) => bodies.push(ended(open, because)),
        }
    } else if state.proposals.open().len() >= MAX_OPEN_PROPOSALS {
        return bodies;
    }
    bodies.push(Body::ProposalMade(Box::new(proposal)));
    bodies
}

fn proposed(state: &State, now: Now, host: &Host, plan: &Plan, given: &AgentRecord) -> Option<Proposal> {
    let Purpose::Remediate { check, epoch, remediation: name, rung } = &plan.purpose else { return None };
    let refusal = &state.answers.refusals(host.id, Some(check)).next()?.refusal;
    let request = state.proposals.request(host.id, check)?;
    let answers = request.request == plan.request && refusal.request == plan.request;
    let newest = &host.checks.get(check)?.transition;
    let current = newest.epoch == *epoch && newest.to == Status::Critical;
    if !(answers && current && waits_for_people(refusal) && host.may_act()) {
        return None;
    }
    let configuration = state.configuration_of(host);
    let answer = configuration.answer_to(check).filter(|answer| &answer.name == name)?;
    // People are asked about what is changing only where the change has arrived: whose it is would not be clear.
    if state.configuration().remediation(name) != Some(answer) {
        return None;
    }
    let remediation = answer.at(*rung)?;
    if remediation.mode_in(&host.environment) != Mode::Approve || plan.playbook != remediation.playbook {
        return None;
    }
    let manifest = &state.playbooks.version(&remediation.playbook)?.admission.manifest;
    let targets = targets::bind(manifest, &request.targets).ok()?;
    // Nothing to approve, or more than a run may do.
    let most = usize::try_from(manifest.limits.actions).unwrap_or(usize::MAX);
    if plan.steps.is_empty() || plan.steps.len() > most {
        return None;
    }
    Some(Proposal {
        proposal: given.fresh.proposal,
        remediation: name.clone(),
        rung: *rung,
        configured: Proposal::digest_of(answer),
        configuration: configuration.generation(),
        host: host.id,
        check: check.clone(),
        epoch: *epoch,
        playbook: plan.playbook.clone(),
        parameters: remediation.parameters.digest(),
        targets,
        plan: given.envelope,
        steps: plan.steps.clone(),
        guard: remediation.guard.clone(),
        policies: given.policies,
        required: Proposal::required(&remediation.guard, manifest),
        wished_by: state.proposals.wished_by(host.id, check, *epoch),
        expires_at: now.wall.plus(PROPOSAL_VALID_FOR),
    })
}

/// Refused for nothing but that people have to say yes.
fn waits_for_people(refusal: &Refusal) -> bool {
    refusal.reasons.iter().all(|reason| matches!(reason, Reason::Mode { mode: Mode::Approve, .. }))
}

/// The end of a proposal whose host asks for another rung, whose turn it is, or with other targets than were frozen.
pub(super) fn after_request(state: &State, now: Now, request: &PermitRequest) -> Option<Body> {
    let Purpose::Remediate { check, rung, .. } = &request.purpose else { return None };
    let open = state.proposals.open_at(request.host, check)?;
    if open.proposal.rung != *rung {
        let due = state.answer_on(request.host, check).map(|answer| state.due(request.host, answer, now.wall));
        return (due != Some(Due::Rung(open.proposal.rung))).then(|| ended(open, EndedBecause::RungChanged));
    }
    let same = open.proposal.targets.len() == request.targets.len()
        && open.proposal.targets.iter().all(|PermittedTarget { label, target, .. }| {
            request.targets.iter().any(|bound| &bound.label == label && &bound.target == target)
        });
    (!same).then(|| ended(open, EndedBecause::TargetsChanged))
}

/// The proposals that do not stand any more.
pub(super) fn fallen(state: &State, now: Now, policies: &DocumentDigest) -> Vec<Body> {
    let open = state.proposals.open();
    open.filter_map(|known| state.stands(known, policies, now.wall).err().map(|because| ended(known, because)))
        .collect()
}

pub(super) fn ended(known: &KnownProposal, because: EndedBecause) -> Body {
    Body::ProposalEnded(Box::new(ProposalEnding { proposal: known.proposal.proposal, because }))
}
