//! Permits that inject a drill's fault: on the host of a running drill in staging, once for each of its rounds, where its owner
//! allows drills, on the very thing that the owner bound. No playbook runs.

use super::switches::{Probing, switches};
use super::{Case, EFFECT_WITHIN, INJECTION_WITHIN, LEASE, checks, targets};
use crate::core::drills::{NextRun, RunningDrill};
use fettle_model::evidence::Fault;
use fettle_model::host::DrillConsent;
use fettle_model::id::DrillId;
use fettle_model::name::Label;
use fettle_model::permit::{BoundTarget, Permit, PermittedTarget};
use fettle_model::playbook::Reversibility;
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Parameters, Remediation};
use std::collections::BTreeSet;

/// Asks every rule.
pub(super) fn judge(case: &Case<'_>, drill: DrillId, fault: &Fault) -> Result<Permit, Vec<Reason>> {
    let mut reasons = Vec::new();
    checks::host(case, &mut reasons);
    let running = case.state.drills.get(drill).filter(|running| may_inject(case, running, fault));
    let remediation = running.and_then(|running| proved_by(case, running));
    let target = match running {
        None => {
            reasons.push(Reason::NoSuchDrill);
            if case.request.targets.is_empty() {
                reasons.push(Reason::Unbound { label: None });
            }
            None
        }
        Some(running) => match bound_thing(case, running) {
            Ok(target) => Some(target),
            Err(Unbound(label)) => {
                reasons.push(Reason::Unbound { label });
                None
            }
        },
    };
    if let Some(running) = running {
        match remediation {
            Some(remediation) => {
                let guard = &remediation.guard;
                checks::group(case, &running.check(), guard, checks::MinimumOf::Others, &mut reasons);
                checks::budget(case, &running.drill.service, guard, Reversibility::Reversible, &mut reasons);
            }
            None => reasons.push(Reason::NoRemediation),
        }
        let playbook = Some(&running.drill.playbook.name);
        switches(case, &running.drill.service, playbook, Probing::Refused, &mut reasons);
    }
    checks::authorised(case, &mut reasons);
    match (running, target) {
        (Some(running), Some(target)) if reasons.is_empty() => Ok(permit(case, running, target)),
        // Each of the two is missing only together with its reason, pushed above.
        (Some(_) | None, Some(_) | None) => Err(reasons),
    }
}

fn may_inject(case: &Case<'_>, running: &RunningDrill, fault: &Fault) -> bool {
    let consents = case.host.description.as_ref().is_some_and(|description| {
        match description.consents_to(fault.kind, &running.drill.service) {
            DrillConsent::Allowed => true,
            DrillConsent::Refused => false,
        }
    });
    running.drill.host == case.host.id
        && &running.drill.fault == fault
        && running.waits_for() == Some(NextRun::Injection)
        && running.drill.deadline > case.now.wall
        && case.host.environment.is_staging()
        && consents
}

/// The remediation that will heal it, as long as it still uses the version that the drill is to prove.
fn proved_by<'a>(case: &Case<'a>, running: &RunningDrill) -> Option<&'a Remediation> {
    case.configuration()
        .answer_to(&running.check())
        .filter(|remediation| remediation.rung_of(&running.drill.playbook).is_some())
}

/// The request has no target, or not the thing that is bound to this label.
struct Unbound(Option<Label>);

/// The one target: what the owner bound to the fault's label, of the fault's kind.
fn bound_thing<'a>(case: &Case<'a>, running: &RunningDrill) -> Result<&'a BoundTarget, Unbound> {
    let fault = &running.drill.fault;
    let [target] = case.request.targets.as_slice() else {
        let label = (!case.request.targets.is_empty()).then(|| fault.on.clone());
        return Err(Unbound(label));
    };
    let bound = case.host.description.as_ref().and_then(|description| {
        description
            .bindings
            .iter()
            .find(|binding| binding.playbook == running.drill.playbook.name && binding.service == running.drill.service)
            .and_then(|binding| binding.target(&fault.on))
    });
    if bound == Some(target) && targets::kind(&target.target) == fault.kind.kind() {
        Ok(target)
    } else {
        Err(Unbound(Some(fault.on.clone())))
    }
}

fn permit(case: &Case<'_>, running: &RunningDrill, target: &BoundTarget) -> Permit {
    let (request, state) = (case.request, case.state);
    let mut grounds = vec![running.started.position];
    grounds.extend(state.configured_for(case.host).map(|stamp| stamp.position));
    grounds.sort_unstable();
    Permit {
        permit: case.permit,
        request: request.request,
        run: request.run,
        host: case.host.id,
        boot: request.boot,
        sent_at: request.sent_at,
        lease: LEASE,
        run_within: INJECTION_WITHIN,
        effect_within: EFFECT_WITHIN,
        fence: case.host.fence.next(),
        stop_epoch: state.stops.epoch,
        configuration: case.configuration().generation(),
        purpose: request.purpose.clone(),
        playbook: None,
        parameters: Parameters::default(),
        // The fault is in the purpose; no action of a playbook is allowed.
        targets: vec![PermittedTarget {
            label: target.label.clone(),
            target: target.target.clone(),
            actions: BTreeSet::new(),
        }],
        actions: 1,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill: Some(running.drill.drill),
        kill: None,
        approved: None,
        policies: *case.policies,
        grounds,
    }
}
