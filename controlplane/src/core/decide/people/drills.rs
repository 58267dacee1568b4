//! What people start by hand: drills, and runs that an agent is to ask for. Called for
//! [`super::PersonRequest::StartDrill`] and [`super::PersonRequest::WishRun`].

use super::PersonRefusal;
use crate::core::drills::{DRILL_ALLOWANCE, DRILL_RUNS};
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::check::CheckRef;
use fettle_model::escalation::Rung;
use fettle_model::evidence::{Drill, Fault};
use fettle_model::host::DrillConsent;
use fettle_model::id::{DrillId, HostId};
use fettle_model::name::PersonName;
use fettle_model::playbook::DrillDeclaration;
use fettle_model::record::{Body, RunWished};
use fettle_model::remediation::Mode;

pub(super) fn wish(state: &State, by: &PersonName, host: HostId, check: &CheckRef) -> Result<Vec<Body>, PersonRefusal> {
    let known = state.host(host).ok_or(PersonRefusal::UnknownHost(host))?;
    if !known.may_act() {
        return Err(PersonRefusal::HostNotActive(host));
    }
    state.configuration().answer_to(check).ok_or_else(|| PersonRefusal::NoRemediation(check.clone()))?;
    let wished = RunWished { host, check: check.clone(), by: by.clone() };
    Ok(vec![Body::RunWished(Box::new(wished))])
}

/// A drill that a person asks for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) drill: DrillId,
    pub(super) host: HostId,
    pub(super) check: &'a CheckRef,
    pub(super) fault: &'a Fault,
    pub(super) rung: Rung,
}

pub(super) fn start(state: &State, now: Now, by: &PersonName, wanted: Wanted<'_>) -> Result<Vec<Body>, PersonRefusal> {
    let Wanted { drill, host, check, fault, rung } = wanted;
    let known = state.host(host).ok_or(PersonRefusal::UnknownHost(host))?;
    if !known.may_act() {
        return Err(PersonRefusal::HostNotActive(host));
    }
    let configuration = state.configuration();
    let no_remediation = || PersonRefusal::NoRemediation(check.clone());
    let answer = configuration.answer_to(check).ok_or_else(no_remediation)?;
    let remediation = answer.at(rung).ok_or_else(no_remediation)?;
    let service = configuration.service(&check.service).ok_or_else(no_remediation)?;
    let playbook = state.playbooks.version(&remediation.playbook).ok_or_else(no_remediation)?;
    let consents = known.description.as_ref().is_some_and(|description| match description.drills {
        DrillConsent::Allowed => true,
        DrillConsent::Refused => false,
    });
    let carries = service.hosts.selects(&known.name, &known.environment) && known.carries(&check.service);
    if !(known.environment.is_staging() && consents && carries) {
        return Err(PersonRefusal::DrillsRefused(host));
    }
    match remediation.mode_in(&known.environment) {
        Mode::Auto => {}
        mode @ (Mode::Observe | Mode::Approve) => return Err(PersonRefusal::DrillMode(mode)),
    }
    let manifest = &playbook.admission.manifest;
    if !manifest.drills.contains(&DrillDeclaration { fault: fault.kind, on: fault.on.clone() }) {
        return Err(PersonRefusal::UndeclaredFault);
    }
    match known.description.as_ref().map(|description| description.consents_to(fault.kind, &check.service)) {
        Some(DrillConsent::Allowed) => {}
        Some(DrillConsent::Refused) | None => return Err(PersonRefusal::FaultRefused { host, fault: fault.kind }),
    }
    if let Some(running) = state.drills.on_host(host).or_else(|| state.drills.get(drill)) {
        return Err(PersonRefusal::DrillRuns(running.drill.drill));
    }
    let run = manifest.limits.duration.0.saturating_add(manifest.confirm.within.0);
    let longest = DRILL_ALLOWANCE.saturating_add(run.saturating_mul(DRILL_RUNS));
    let started = Drill {
        drill,
        playbook: remediation.playbook.clone(),
        host,
        service: check.service.clone(),
        check: check.check.clone(),
        fault: fault.clone(),
        by: by.clone(),
        deadline: now.wall.plus(longest),
    };
    Ok(vec![Body::DrillStarted(Box::new(started))])
}
