//! Promotions: what each rung of a remediation has earned in each environment since its mode, playbook or parameters
//! changed, and what is proposed because of it.
//!
//! In mode `approve` a run that people approved counts when it succeeded and held: the check was healthy for the guard's
//! `healthy-for` afterwards, without another attempt. In mode `observe` a plan counts that nothing but the mode stood in the
//! way of, that would have changed something, and whose fault was real: the transition that it answers was still the
//! newest, and critical, when the plan came; once for each problem. What failed sets it back to nothing.

use super::attempts::Fingerprint;
use super::entry::Stamp;
use super::hosts::Host;
use super::runs::Run;
use super::state::State;
use super::turns;
use fettle_model::check::Status;
use fettle_model::configuration::Configuration;
use fettle_model::counter::LogPosition;
use fettle_model::permit::Purpose;
use fettle_model::promotion::{
    EarnedWith, MAX_AFTER, PromotionOf, PromotionProposed, PromotionRow, next_mode, trusted,
};
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Mode;
use fettle_model::run::{Claim, Ending, Plan};
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What one rung has earned in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Earning {
    with: EarnedWith,
    /// The newest, at most [`MAX_AFTER`].
    earned: Vec<LogPosition>,
    /// Successes that have not held for long enough yet. A host has few checks.
    proving: BTreeMap<Fingerprint, Stamp>,
    /// Problems whose plan counts already.
    planned: BTreeSet<Fingerprint>,
    set_back: Option<LogPosition>,
    proposed: Option<LogPosition>,
}

/// Everything that is being earned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Promotions(BTreeMap<PromotionOf, Earning>);

impl Earning {
    const fn new(with: EarnedWith) -> Self {
        Self {
            with,
            earned: Vec::new(),
            proving: BTreeMap::new(),
            planned: BTreeSet::new(),
            set_back: None,
            proposed: None,
        }
    }

    fn earn(&mut self, position: LogPosition) {
        self.earned.push(position);
        let most = usize::try_from(MAX_AFTER).unwrap_or(usize::MAX);
        if self.earned.len() > most {
            self.earned.remove(0);
        }
    }

    /// Begins anew, because of the record at this position.
    fn set_back(&mut self, position: LogPosition) {
        *self = Self { set_back: Some(position), ..Self::new(self.with.clone()) };
    }
}

impl Promotions {
    /// What changed its mode, its playbook or its parameters begins anew.
    pub(in crate::core) fn configure(&mut self, configuration: &Configuration) {
        self.0.retain(|of, earning| trusted(configuration, of).as_ref() == Some(&earning.with));
    }

    /// What is earned by a run that people approved.
    fn of_run(&mut self, run: &Run, configuration: &Configuration) -> Option<&mut Earning> {
        run.permit.approved.as_ref()?;
        let remediation = run.remediation()?.clone();
        let of = PromotionOf { remediation, rung: turns::rung(run), environment: run.environment.clone() };
        let with = trusted(configuration, &of)?;
        let same = with.mode == Mode::Approve
            && run.permit.playbook.as_ref() == Some(&with.playbook)
            && run.permit.parameters.digest() == with.parameters;
        same.then(|| self.0.entry(of).or_insert_with(|| Earning::new(with)))
    }

    /// Another run for a problem: what was tried before did not hold.
    pub(in crate::core) fn granted(&mut self, of: &Fingerprint, at: LogPosition) {
        for earning in self.0.values_mut().filter(|earning| earning.proving.contains_key(of)) {
            earning.set_back(at);
        }
    }

    pub(in crate::core) fn ended(&mut self, run: &Run, ending: Ending, stamp: Stamp, configuration: &Configuration) {
        let of = Fingerprint { host: run.permit.host, check: run.check.clone() };
        let Some(earning) = self.of_run(run, configuration) else { return };
        match ending {
            Ending::Succeeded => drop(earning.proving.insert(of, stamp)),
            Ending::Ineffective | Ending::Failed | Ending::Reverted | Ending::InDoubt => {
                earning.set_back(stamp.position);
            }
            Ending::Superseded | Ending::Cancelled | Ending::Expired => {}
        }
    }

    /// A check failed after having been healthy this long.
    pub(in crate::core) fn left_health(&mut self, of: &Fingerprint, healthy: Duration, enough: Duration, stamp: Stamp) {
        for earning in self.0.values_mut() {
            let Some(ended) = earning.proving.remove(of) else { continue };
            if healthy >= enough && stamp.at.since(ended.at) >= enough {
                earning.earn(ended.position);
            } else {
                earning.set_back(stamp.position);
            }
        }
    }

    pub(in crate::core) fn new_problem(&mut self, of: &Fingerprint) {
        for earning in self.0.values_mut() {
            earning.planned.remove(of);
        }
    }

    /// A plan came for a request that was refused so. The host is judged by one configuration; it earns for the newest.
    pub(in crate::core) fn planned(
        &mut self,
        host: &Host,
        plan: &Plan,
        refusal: &Refusal,
        [judged_by, newest]: [&Configuration; 2],
        position: LogPosition,
    ) {
        let Purpose::Remediate { check, epoch, remediation, rung } = &plan.purpose else { return };
        let of = PromotionOf { remediation: remediation.clone(), rung: *rung, environment: host.environment.clone() };
        let Some(with) = trusted(newest, &of) else { return };
        let same = plan.playbook == with.playbook && trusted(judged_by, &of).as_ref() == Some(&with);
        if with.mode != Mode::Observe || !same || !only_observed(plan, refusal) {
            return;
        }
        let newest = host.checks.get(check).map(|known| (known.transition.epoch, known.transition.to));
        if newest != Some((*epoch, Status::Critical)) {
            return;
        }
        let earning = self.0.entry(of).or_insert_with(|| Earning::new(with));
        match &plan.claim {
            Claim::Resolved { .. } | Claim::Mitigated { .. } if !plan.steps.is_empty() => {
                if earning.planned.insert(Fingerprint { host: host.id, check: check.clone() }) {
                    earning.earn(position);
                }
            }
            Claim::Resolved { .. } | Claim::Mitigated { .. } | Claim::NoAction { .. } => {}
            Claim::Escalate { .. } | Claim::Failed { .. } => earning.set_back(position),
        }
    }

    pub(in crate::core) fn propose(&mut self, proposed: &PromotionProposed, position: LogPosition) {
        if let Some(earning) = self.0.get_mut(&proposed.of) {
            earning.proposed = Some(position);
        }
    }
}

/// Whether the plan answers a request in whose way nothing stood but the mode.
fn only_observed(plan: &Plan, refusal: &Refusal) -> bool {
    let only = |reason: &Reason| matches!(reason, Reason::Mode { mode: Mode::Observe, .. });
    refusal.request == plan.request && refusal.reasons.iter().all(only)
}

/// Everything that was earned by this time, held successes included, in the order of the log.
fn earned(state: &State, of: &PromotionOf, earning: &Earning, wall: UnixMillis) -> Vec<LogPosition> {
    let enough = state.configuration().remediation(&of.remediation).map(|known| known.guard.healthy_for);
    let holds = |(of, ended): &(&Fingerprint, &Stamp)| {
        let known = state.host(of.host).and_then(|host| host.checks.get(&of.check));
        let healthy = known.and_then(|known| known.healthy_since).map(|since| since.received_at.max(ended.at));
        healthy.zip(enough).is_some_and(|(since, enough)| wall.since(since) >= enough)
    };
    let held = earning.proving.iter().filter(holds).map(|(_, ended)| ended.position);
    let mut all: Vec<LogPosition> = earning.earned.iter().copied().chain(held).collect();
    all.sort_unstable();
    all
}

/// A promotion that has been earned and is not proposed yet.
pub(in crate::core) fn due(state: &State, wall: UnixMillis) -> Option<Body> {
    let after = state.configuration().promotion().after;
    let wanted = usize::try_from(after).unwrap_or(usize::MAX);
    state.promotions.0.iter().filter(|(_, earning)| earning.proposed.is_none()).find_map(|(of, earning)| {
        let to = next_mode(earning.with.mode)?;
        let all = earned(state, of, earning, wall);
        let newest = all.get(all.len().checked_sub(wanted)?..)?;
        let (of, with, earned_by) = (of.clone(), earning.with.clone(), newest.to_vec());
        Some(Body::PromotionProposed(Box::new(PromotionProposed { of, with, to, after, earned_by })))
    })
}

/// How far everything is that is being earned.
#[must_use]
pub fn promotions(state: &State, wall: UnixMillis) -> Vec<PromotionRow> {
    let row = |(of, earning): (&PromotionOf, &Earning)| {
        let earned_by = earned(state, of, earning, wall);
        let held = earned_by.len().saturating_sub(earning.earned.len());
        Some(PromotionRow {
            of: of.clone(),
            with: earning.with.clone(),
            to: next_mode(earning.with.mode)?,
            after: state.configuration().promotion().after,
            proving: u32::try_from(earning.proving.len().saturating_sub(held)).unwrap_or(u32::MAX),
            earned_by,
            set_back: earning.set_back,
            proposed: earning.proposed,
        })
    };
    state.promotions.0.iter().filter_map(row).collect()
}
