//! Budgets given in advance: whether one had every reason, and that no more is run under it than it has units.

use super::finding::{At, Rule};
use super::grants::{AnswerOn, check_configured, check_evidence, check_playbook, not_killed};
use super::hosts::{Group, Host, Hosts};
use super::runs::{Runs, State, free};
use super::standing::Standing;
use fettle_model::check::CheckRef;
use fettle_model::escalation::Rung;
use fettle_model::id::{HostId, PermitId};
use fettle_model::name::RemediationName;
use fettle_model::offline::{OfflineExpired, OfflineReturned};
use fettle_model::permit::Permit;
use fettle_model::playbook::Reversibility;
use fettle_model::time::UnixMillis;

/// What a budget is for, with the host that gets it.
pub(super) struct Asked<'a> {
    pub(super) check: &'a CheckRef,
    pub(super) remediation: &'a RemediationName,
    pub(super) host: &'a Host,
}

/// What a budget needs besides what every permit needs.
pub(super) fn check(permit: &Permit, asked: &Asked<'_>, now: UnixMillis, standing: &Standing, at: &mut At<'_>) {
    not_killed(permit, at);
    if permit.drill.is_some() || permit.approved.is_some() {
        at.flag(Rule::Offline, "a budget in advance is for no drill and under no approval");
    }
    if !check_playbook(permit, standing, at) {
        return;
    }
    let manifest = permit.playbook.as_ref().and_then(|playbook| standing.manifest(&playbook.digest));
    match manifest.map(fettle_model::playbook::Manifest::reversibility) {
        Some(Reversibility::Irreversible) => {
            at.flag(Rule::Offline, "a budget in advance for what no inverse undoes");
        }
        Some(Reversibility::Reversible) | None => {}
    }
    let Asked { check, remediation, host } = asked;
    check_configured(permit, (check, remediation, AnswerOn::Rung(Rung::FIRST)), host, standing, at);
    check_evidence(permit, check, now, host, standing, at);
    let configured = standing.configuration_of(permit.host, host);
    let offline = configured.and_then(|configured| configured.remediation(remediation)?.offline.as_ref());
    match offline {
        None => at.flag(Rule::Offline, format!("{remediation} gives no budget in advance")),
        Some(offline) if permit.units > offline.units || permit.lease > offline.lasts => {
            let words = format!("{} units for {:?}, and {remediation} gives less", permit.units, permit.lease);
            at.flag(Rule::Offline, words);
        }
        Some(_) => {}
    }
}

/// The group has room for one more host with a budget, counted without this one.
pub(super) fn check_room(
    asked: &CheckRef,
    group: &Group,
    hosts: &mut Hosts,
    standing: &Standing,
    runs: &Runs,
    at: &mut At<'_>,
) {
    let Some(configuration) = standing.configuration() else { return };
    let Some(offline) = configuration.answer_to(asked).and_then(|answer| answer.offline.as_ref()) else { return };
    let guards = configuration.remediations().iter().filter(|other| other.service == asked.service);
    let guards = guards.map(|other| &other.guard);
    let size = hosts.group_size(&group.0, &group.1, standing);
    let (limit, value) = (offline.most_hosts(guards, size), runs.offline_in_flight(group));
    if value >= limit {
        let words = format!("{value} of {limit} hosts with {} in {} hold a budget in advance", group.0, group.1);
        at.flag(Rule::InFlight, words);
    }
}

impl Runs {
    /// An agent gives back what is left.
    pub(super) fn give_back(&mut self, author: HostId, returned: &OfflineReturned, hosts: &mut Hosts, at: &mut At<'_>) {
        let Some(granted) = self.permits.get_mut(&returned.permit).filter(|granted| granted.host == author) else {
            let words = format!("the agent of {author} gives {} back, which it does not hold", returned.permit);
            return at.flag(Rule::Permit, words);
        };
        match &granted.state {
            State::InFlight(permit) | State::Unresolved(permit) if permit.is_offline() => {
                let (permit, held) = (permit.clone(), matches!(granted.state, State::InFlight(_)));
                let units = permit.units.get();
                if held {
                    free(granted, &mut self.in_flight, hosts);
                    self.held.remove(&returned.permit);
                }
                granted.state = State::Returned(permit, returned.used);
                if returned.used > units {
                    let words = format!("{} runs under {}, which has {units} units", returned.used, returned.permit);
                    at.flag(Rule::Offline, words);
                }
                self.check_used(returned.permit, at);
            }
            State::InFlight(_)
            | State::Unresolved(_)
            | State::Rejected
            | State::Unit(_)
            | State::Returned(..)
            | State::Ended { .. } => {
                at.flag(Rule::Ending, format!("{} is given back, and is no budget that is held", returned.permit));
            }
        }
    }

    /// The control plane takes the slot back; the agent may still report.
    pub(super) fn expire(&mut self, expired: &OfflineExpired, hosts: &mut Hosts, at: &mut At<'_>) {
        let known = self.permits.get_mut(&expired.permit).filter(|granted| granted.host == expired.host);
        let Some(granted) = known else {
            return at.flag(Rule::Permit, format!("the permit {} was not granted to its host", expired.permit));
        };
        match &granted.state {
            State::InFlight(permit) if permit.is_offline() => {
                let permit = permit.clone();
                free(granted, &mut self.in_flight, hosts);
                self.held.remove(&expired.permit);
                granted.state = State::Unresolved(permit);
            }
            State::InFlight(_)
            | State::Unresolved(_)
            | State::Rejected
            | State::Unit(_)
            | State::Returned(..)
            | State::Ended { .. } => {
                at.flag(Rule::Ending, format!("{} expired, and is no budget that is held", expired.permit));
            }
        }
    }

    /// A run ended under this permit: where that is a unit, its budget was not given back with fewer.
    pub(super) fn check_units(&self, unit: PermitId, at: &mut At<'_>) {
        let of = self.offline.get(&unit).copied();
        if let Some(of) = of {
            self.check_used(of, at);
        }
    }

    fn check_used(&self, budget: PermitId, at: &mut At<'_>) {
        let state = self.permits.get(&budget).map(|granted| &granted.state);
        let (units, used): (Vec<PermitId>, u32) = match state {
            Some(State::Returned(permit, used)) => (permit.all_units().map(|unit| unit.permit).collect(), *used),
            Some(State::Rejected) => {
                let words = format!("a run ended under {budget}, which its agent refused");
                return at.flag(Rule::Offline, words);
            }
            Some(State::InFlight(_) | State::Unresolved(_) | State::Unit(_) | State::Ended { .. }) | None => return,
        };
        let ended = |unit: &&PermitId| {
            self.permits.get(*unit).is_some_and(|granted| matches!(granted.state, State::Ended { .. }))
        };
        let ended = units.iter().filter(ended).count();
        if ended > usize::try_from(used).unwrap_or(usize::MAX) {
            let words = format!("{ended} runs ended under {budget}, of which its agent says that {used} were begun");
            at.flag(Rule::Offline, words);
        }
    }
}
