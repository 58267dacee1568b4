//! Permits for a drill's second run: the playbook that has healed the fault runs once more where nothing is wrong,
//! and has to change nothing. It answers no problem, so it spends no attempt and waits for no cooldown.

use super::remediate::{self, Warrant};
use super::switches::{Probing, switches};
use super::{Case, checks, targets};
use crate::core::drills::{NextRun, RunningDrill};
use fettle_model::check::CheckRef;
use fettle_model::escalation::Rung;
use fettle_model::host::DrillConsent;
use fettle_model::id::DrillId;
use fettle_model::name::RemediationName;
use fettle_model::permit::Permit;
use fettle_model::playbook::Reversibility;
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;

/// Asks every rule.
pub(super) fn judge(
    case: &Case<'_>,
    drill: DrillId,
    check: &CheckRef,
    name: &RemediationName,
) -> Result<Permit, Vec<Reason>> {
    let mut reasons = Vec::new();
    checks::host(case, &mut reasons);
    let running = case.state.drills.get(drill).filter(|running| may_repeat(case, running, check));
    if running.is_none() {
        reasons.push(Reason::NoSuchDrill);
    }
    let answer = remediate::answering(case, check, name);
    let placed = answer.and_then(|answer| match running {
        Some(running) => answer.at(answer.rung_of(&running.drill.playbook)?),
        None => answer.at(Rung::FIRST),
    });
    let remediation = placed.as_deref();
    if remediation.is_none() {
        reasons.push(Reason::NoRemediation);
    }
    let playbook = remediation.and_then(|remediation| remediate::held_playbook(case, remediation));
    let bound = targets::bound_to(playbook, &case.request.targets, &mut reasons);
    if let Some(remediation) = remediation {
        match remediation.mode_in(&case.host.environment) {
            Mode::Auto => {}
            mode @ (Mode::Observe | Mode::Approve) => reasons.push(Reason::Mode { mode, proposal: None }),
        }
        checks::group(case, check, &remediation.guard, checks::MinimumOf::Others, &mut reasons);
        // Where the playbook is not known there is a reason for that.
        let reversibility =
            playbook.map_or(Reversibility::Reversible, |known| known.admission.manifest.reversibility());
        checks::budget(case, &check.service, &remediation.guard, reversibility, &mut reasons);
    }
    let playbook_name = remediation.map(|remediation| &remediation.playbook.name);
    switches(case, &check.service, playbook_name, Probing::Refused, &mut reasons);
    checks::authorised(case, &mut reasons);
    match (remediation, playbook, running, bound) {
        (Some(remediation), Some(playbook), Some(running), Some(bound)) if reasons.is_empty() => {
            Ok(remediate::permit(case, check, remediation, playbook, &Warrant::Drill(running), bound))
        }
        // Each of the four is missing only together with its reason, pushed above.
        (Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None) => Err(reasons),
    }
}

/// The owner may have changed their mind since the fault was injected.
fn may_repeat(case: &Case<'_>, running: &RunningDrill, check: &CheckRef) -> bool {
    let consents = case.host.description.as_ref().is_some_and(|description| match description.drills {
        DrillConsent::Allowed => true,
        DrillConsent::Refused => false,
    });
    running.drill.host == case.host.id
        && &running.check() == check
        && running.waits_for() == Some(NextRun::Repetition)
        && running.drill.deadline > case.now.wall
        && case.host.environment.is_staging()
        && consents
}
