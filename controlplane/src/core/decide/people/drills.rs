//! What people start by hand: drills, and runs that an agent is to ask for. Called for
//! [`super::PersonRequest::StartDrill`] and [`super::PersonRequest::WishRun`], and for drills by the schedules too.

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
use fettle_model::schedule::DueTime;

pub(super) fn wish(state: &State, by: &PersonName, host: HostId, check: &CheckRef) -> Result<Vec<Body>, PersonRefusal> {
    let known = state.host(host).ok_or(PersonRefusal::UnknownHost(host))?;
    if !known.may_act() {
        return Err(PersonRefusal::HostNotActive(host));
    }
    state.answer_on(host, check).ok_or_else(|| PersonRefusal::NoRemediation(check.clone()))?;
    let wished = RunWished { host, check: check.clone(), by: by.clone() };
    Ok(vec![Body::RunWished(Box::new(wished))])
}

/// A drill that is to begin.
pub(in crate::core) struct Wanted<'a> {
    /// Its id.
    pub(in crate::core) drill: DrillId,
    /// Where.
    pub(in crate::core) host: HostId,
    /// Which check it breaks.
    pub(in crate::core) check: &'a CheckRef,
    /// By what.
    pub(in crate::core) fault: &'a Fault,
    /// Which playbook of the remediation's list.
    pub(in crate::core) rung: Rung,
    /// Who asks for it.
    pub(in crate::core) by: &'a PersonName,
    /// What it was due for.
    pub(in crate::core) scheduled: Option<DueTime>,
}

/// Begins a drill, or says why not. A schedule's is under the same rules as a person's.
pub(in crate::core) fn start(state: &State, now: Now, wanted: Wanted<'_>) -> Result<Vec<Body>, PersonRefusal> {
    let Wanted { drill, host, check, fault, rung, by, scheduled } = wanted;
    let known = state.host(host).ok_or(PersonRefusal::UnknownHost(host))?;
    if !known.may_act() {
        return Err(PersonRefusal::HostNotActive(host));
    }
    let configuration = state.configuration_of(known);
    let no_remediation = || PersonRefusal::NoRemediation(check.clone());
    let answer = configuration.answer_to(check).ok_or_else(no_remediation)?;
    let remediation = answer.at(rung).ok_or_else(no_remediation)?;
    let service = configuration.service(&check.service).ok_or_else(no_remediation)?;
    let playbook = state.playbooks.version(&remediation.playbook).ok_or_else(no_remediation)?;
    if playbook.scenarios.is_none() {
        return Err(PersonRefusal::NoScenarios(remediation.playbook.clone()));
    }
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
        scheduled,
        deadline: now.wall.plus(longest),
    };
    Ok(vec![Body::DrillStarted(Box::new(started))])
}
