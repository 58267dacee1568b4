//! Permits that answer a fault, a drill's injected fault included.

use super::switches::{Probing, switches};
use super::{Case, EFFECT_WITHIN, LEASE, approvals, checks, targets};
use crate::core::drills::RunningDrill;
use crate::core::playbooks::{Admitted, Needed, Proof};
use fettle_model::check::CheckRef;
use fettle_model::counter::{LogPosition, TransitionEpoch};
use fettle_model::escalation::Rung;
use fettle_model::evidence::{HostClass, ProvedGrant};
use fettle_model::name::RemediationName;
use fettle_model::permit::{Permit, PermittedTarget, Purpose};
use fettle_model::playbook::Reversibility;
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Mode, Remediation};

/// What shows that the playbook may be trusted with this host.
pub(super) enum Warrant<'a> {
    /// Evidence from an earlier drill.
    Evidence(LogPosition),
    /// The drill that runs on this very host.
    Drill(&'a RunningDrill),
}

/// The fault that a permit is to answer, and by what.
#[derive(Clone, Copy)]
pub(super) struct Fault<'a> {
    pub(super) check: &'a CheckRef,
    pub(super) epoch: TransitionEpoch,
    pub(super) remediation: &'a RemediationName,
    pub(super) rung: Rung,
}

/// Asks every rule.
pub(super) fn judge(case: &Case<'_>, fault: &Fault<'_>) -> Result<Permit, Vec<Reason>> {
    let Fault { check, epoch, remediation: name, rung } = *fault;
    let mut reasons = Vec::new();
    checks::host(case, &mut reasons);
    checks::transition(case, check, epoch, &mut reasons);
    let answer = answering(case, check, name);
    let placed = answer.and_then(|answer| answer.at(rung));
    let remediation = placed.as_deref();
    if let Some(answer) = answer {
        checks::turn(case, answer, rung, &mut reasons);
    }
    let playbook = remediation.and_then(|remediation| held_playbook(case, remediation));
    let drill =
        playbook.and_then(|playbook| case.state.drills.to_heal(case.host.id, check, epoch, &playbook.admission.digest));
    let bound = match (remediation, playbook) {
        (None, _) => {
            // A rung beyond the list is not due.
            if answer.is_none() {
                reasons.push(Reason::NoRemediation);
            }
            None
        }
        (Some(_), None) => {
            reasons.push(Reason::PlaybookNotAdmitted);
            None
        }
        (Some(_), Some(playbook)) => match targets::bind(&playbook.admission.manifest, &case.request.targets) {
            Ok(bound) => Some(bound),
            Err(unbound) => {
                reasons.extend(unbound);
                None
            }
        },
    };
    let warrant = match (remediation, playbook) {
        (Some(remediation), Some(playbook)) => {
            warrant(case, remediation, playbook, drill, bound.as_deref(), &mut reasons)
        }
        (Some(_) | None, Some(_) | None) => None,
    };
    if playbook.is_none() && case.request.targets.is_empty() {
        reasons.push(Reason::Unbound { label: None });
    }
    let mut approved = None;
    if let Some(remediation) = remediation {
        match remediation.mode_in(&case.host.environment) {
            Mode::Auto => {}
            mode @ Mode::Observe => reasons.push(Reason::Mode { mode, proposal: None }),
            mode @ Mode::Approve => match approvals::approved(case, check, rung, bound.as_deref()) {
                Ok(plan) => approved = Some(plan),
                Err(proposal) => reasons.push(Reason::Mode { mode, proposal }),
            },
        }
        // A drill's second fault is no second failure: the drill injected it.
        if drill.and_then(RunningDrill::kill_point).is_none() {
            checks::attempts(case, check, &remediation.guard, &mut reasons);
        }
        let minimum_of = if drill.is_some() { checks::MinimumOf::Others } else { checks::MinimumOf::Group };
        checks::group(case, check, &remediation.guard, minimum_of, &mut reasons);
        // Where the playbook is not known there is a reason for that.
        let reversibility =
            playbook.map_or(Reversibility::Reversible, |known| known.admission.manifest.reversibility());
        checks::budget(case, &check.service, &remediation.guard, reversibility, &mut reasons);
        if drill.is_none() {
            checks::ramp(case, remediation, &mut reasons);
        }
    }
    let name = remediation.map(|remediation| &remediation.playbook.name);
    switches(case, &check.service, name, Probing::Allowed, &mut reasons);
    checks::authorised(case, &mut reasons);
    match (remediation, playbook, warrant, bound) {
        (Some(remediation), Some(playbook), Some(warrant), Some(bound)) if reasons.is_empty() => {
            Ok(Permit { approved, ..permit(case, check, remediation, playbook, &warrant, bound) })
        }
        // Each of the four is missing only together with its reason, pushed above.
        (Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None) => Err(reasons),
    }
}

/// The remediation that answers the check on this host: the one that the agent names, of a service
/// that selects the host and that the host carries.
pub(super) fn answering<'a>(case: &Case<'a>, check: &CheckRef, name: &RemediationName) -> Option<&'a Remediation> {
    let configuration = case.configuration();
    let remediation = configuration.answer_to(check).filter(|answer| &answer.name == name)?;
    let service = configuration.service(&check.service)?;
    let here = service.hosts.selects(&case.host.name, &case.host.environment) && case.host.carries(&service.name);
    here.then_some(remediation)
}

/// The remediation's playbook, when it is admitted and the very version that the agent holds ready.
pub(super) fn held_playbook<'a>(case: &Case<'a>, remediation: &Remediation) -> Option<&'a Admitted> {
    case.state
        .playbooks
        .version(&remediation.playbook)
        .filter(|admitted| case.request.playbook == Some(admitted.admission.digest))
}

pub(super) fn warrant<'a>(
    case: &Case<'a>,
    remediation: &Remediation,
    playbook: &Admitted,
    drill: Option<&'a RunningDrill>,
    bound: Option<&[PermittedTarget]>,
    reasons: &mut Vec<Reason>,
) -> Option<Warrant<'a>> {
    if let Some(drill) = drill {
        return Some(Warrant::Drill(drill));
    }
    let class =
        case.host.description.as_ref().and_then(|description| HostClass::of(description, &remediation.service))?;
    let grants = bound.map(ProvedGrant::of);
    let needed = Needed { parameters: remediation.parameters.digest(), class, grants };
    match playbook.proof(&needed, case.now.wall) {
        Proof::Covered(known) => Some(Warrant::Evidence(known.stamp.position)),
        proof @ (Proof::Expired { .. } | Proof::Differs { .. } | Proof::Missing { .. }) => {
            reasons.extend(proof.reason(&needed.class));
            None
        }
    }
}

pub(super) fn permit(
    case: &Case<'_>,
    check: &CheckRef,
    remediation: &Remediation,
    playbook: &Admitted,
    warrant: &Warrant<'_>,
    targets: Vec<PermittedTarget>,
) -> Permit {
    let (request, state) = (case.request, case.state);
    let limits = &playbook.admission.manifest.limits;
    let (proof, drill, kill) = match warrant {
        Warrant::Evidence(position) => (*position, None, None),
        Warrant::Drill(running) => {
            let kill = match &request.purpose {
                Purpose::Remediate { .. } => running.kill_point(),
                Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => None,
            };
            (running.started.position, Some(running.drill.drill), kill)
        }
    };
    let mut grounds: Vec<LogPosition> = [Some(proof), Some(playbook.stamp.position)]
        .into_iter()
        .chain([
            state.configured_for(case.host).map(|stamp| stamp.position),
            case.host.checks.get(check).map(|known| known.seen.position),
        ])
        .flatten()
        .collect();
    grounds.sort_unstable();
    Permit {
        permit: case.permit,
        request: request.request,
        run: request.run,
        host: case.host.id,
        boot: request.boot,
        sent_at: request.sent_at,
        lease: LEASE,
        run_within: limits.duration.0,
        effect_within: EFFECT_WITHIN,
        fence: case.host.fence.next(),
        stop_epoch: state.stops.epoch,
        configuration: case.configuration().generation(),
        purpose: request.purpose.clone(),
        playbook: Some(playbook.version()),
        parameters: remediation.parameters.clone(),
        targets,
        actions: limits.actions,
        policies: *case.policies,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill,
        kill,
        approved: None,
        grounds,
    }
}
