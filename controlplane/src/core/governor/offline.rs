//! Budgets given in advance: what a host may do while it cannot ask (design, section 6). Called by [`super::judge`].
//!
//! Every rule of a permit is asked as it stands at the grant, with three that no other permit has: nothing that cannot be
//! undone, a slot is left for hosts that are connected, and one more host may fail and be healed. What changes while the
//! budget lasts does not reach a host without a connection; on one that has one a stop order, a freeze, a breaker that
//! opens, a configuration, the loss of its standing or any other request ends it.

use super::remediate::{self, Warrant};
use super::switches::{Probing, switches};
use super::{Case, checks, targets};
use crate::core::breakers::scopes;
use crate::core::groups::Group;
use crate::core::runs::Run;
use fettle_model::check::CheckRef;
use fettle_model::guard::Guard;
use fettle_model::name::{PlaybookName, RemediationName};
use fettle_model::offline::{Offline, Units};
use fettle_model::permit::Permit;
use fettle_model::playbook::Reversibility;
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Mode, Remediation};
use std::time::Duration;

/// Asks every rule.
pub(super) fn judge(case: &Case<'_>, check: &CheckRef, name: &RemediationName) -> Result<Permit, Vec<Reason>> {
    let mut reasons = Vec::new();
    checks::host(case, &mut reasons);
    let remediation = remediate::answering(case, check, name);
    if remediation.is_none() {
        reasons.push(Reason::NoRemediation);
    }
    let offline = remediation.and_then(|remediation| remediation.offline.as_ref());
    if remediation.is_some() && offline.is_none() {
        reasons.push(Reason::NoOffline);
    }
    let playbook = remediation.and_then(|remediation| remediate::held_playbook(case, remediation));
    let bound = targets::bound_to(playbook, &case.request.targets, &mut reasons);
    let warrant = match (remediation, playbook) {
        (Some(remediation), Some(playbook)) => {
            match playbook.admission.manifest.reversibility() {
                Reversibility::Reversible => {}
                Reversibility::Irreversible => reasons.push(Reason::OfflineIrreversible),
            }
            remediate::warrant(case, remediation, playbook, None, bound.as_deref(), &mut reasons)
        }
        (Some(_) | None, Some(_) | None) => None,
    };
    let mut units = Units::ONE;
    if let Some((remediation, offline)) = remediation.zip(offline) {
        match remediation.mode_in(&case.host.environment) {
            Mode::Auto => {}
            mode @ (Mode::Observe | Mode::Approve) => reasons.push(Reason::Mode { mode, proposal: None }),
        }
        let guard = &remediation.guard;
        checks::attempts(case, check, guard, &mut reasons);
        checks::group(case, check, guard, checks::MinimumOf::Group, &mut reasons);
        units = affordable(case, check, remediation, offline);
        checks::budget(case, &check.service, guard, Reversibility::Reversible, &mut reasons);
        room(case, check, remediation, offline, &mut reasons);
        one_more_may_fail(case, check, guard, &mut reasons);
    }
    let playbook_name = remediation.map(|remediation| &remediation.playbook.name);
    switches(case, &check.service, playbook_name, Probing::Refused, &mut reasons);
    checks::authorised(case, &mut reasons);
    match (remediation, offline, playbook, warrant, bound) {
        (Some(remediation), Some(offline), Some(playbook), Some(warrant @ Warrant::Evidence(_)), Some(bound))
            if reasons.is_empty() =>
        {
            let lease = offline.lasts.min(until_frozen(case, check, &playbook.version().name));
            let permit = remediate::permit(case, check, remediation, playbook, &warrant, bound);
            Ok(Permit { units, lease, ..permit })
        }
        // Each of the five is missing only together with its reason, pushed above; a drill is none that warrants it.
        (Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None, Some(_) | None) => Err(reasons),
    }
}

/// Units that the attempts and the window leave, up to what is configured; one where they leave none, which has its
/// own reason then.
fn affordable(case: &Case<'_>, check: &CheckRef, remediation: &Remediation, offline: &Offline) -> Units {
    let guard = &remediation.guard;
    let attempts = guard.max_attempts.saturating_sub(case.state.attempts(case.host.id, check).count);
    let (environment, wall) = (&case.host.environment, case.now.wall);
    let reversible = Reversibility::Reversible;
    let spent = case.state.budgets.within(&check.service, environment, guard.window, reversible, wall).count;
    let left = guard.max_per_window.saturating_sub(spent);
    Units::new(offline.units.get().min(attempts).min(left)).unwrap_or(Units::ONE)
}

/// Until a calendar freezes anything that concerns the run: a host that is offline then is not told.
fn until_frozen(case: &Case<'_>, check: &CheckRef, playbook: &PlaybookName) -> Duration {
    let wall = case.now.wall;
    let scopes = scopes(&case.host.environment, &check.service, Some(playbook));
    let concerned = case.configuration().freezes().iter().filter(|freeze| scopes.contains(&freeze.scope));
    let begins = concerned.filter_map(|freeze| freeze.frozen_after(wall));
    begins.min().map_or(Duration::MAX, |begins| begins.since(wall))
}

/// Fewer hosts of the group hold a budget than may.
fn room(case: &Case<'_>, check: &CheckRef, remediation: &Remediation, offline: &Offline, reasons: &mut Vec<Reason>) {
    let environment = &case.host.environment;
    let size = case.state.tallies.of(&check.service, environment).size;
    let of_service = case.configuration().remediations().iter().filter(|other| other.service == remediation.service);
    let limit = offline.most_hosts(of_service.map(|other| &other.guard), size);
    let held = case.state.runs.budgets_held();
    let held: Vec<&Run> = held.filter(|run| run.service == check.service && &run.environment == environment).collect();
    let value = u32::try_from(held.len()).unwrap_or(u32::MAX);
    if value >= limit {
        // Its agent asks for a fresh one then.
        let half = |run: &&Run| run.granted.at.plus(run.permit.lease / 2);
        let clears_at = held.iter().map(half).min().filter(|_| limit > 0);
        reasons.push(Reason::OfflineHosts { limit, value, clears_at });
    }
}

/// While it is held one more host of the group may fail and still be healed.
fn one_more_may_fail(case: &Case<'_>, check: &CheckRef, guard: &Guard, reasons: &mut Vec<Reason>) {
    let Some(service) = case.configuration().service(&check.service) else { return };
    let group = Group::of(case.state, service, &case.host.environment);
    let limit = guard.min_healthy.as_minimum(group.size());
    let value = group.healthy_besides(case.host.id).saturating_sub(1);
    let told = reasons.iter().any(|reason| matches!(reason, Reason::MinHealthy { .. }));
    if value < limit && !told {
        reasons.push(Reason::MinHealthy { limit, value });
    }
}
