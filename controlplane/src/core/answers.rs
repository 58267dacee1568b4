//! Answers to permit requests, so that the same request gets the same answer, and "why not?" has one.

use super::entry::Stamp;
use super::hosts::MAX_CHECKS_PER_HOST;
use fettle_model::check::CheckRef;
use fettle_model::id::{HostId, PermitId, RequestId};
use fettle_model::permit::{Permit, Purpose};
use fettle_model::refusal::Refusal;
use fettle_model::run::Plan;
use fettle_model::withheld::RequestWithheld;
use std::collections::{BTreeMap, VecDeque};

/// Answers kept per host; the oldest goes first. An agent asks anew only for requests that it still
/// holds open, one per check that is critical: more than 64 critical checks on one host would have to
/// ask at once before an answer is forgotten, and then the request is decided afresh, by every rule.
pub const MAX_ANSWERS_PER_HOST: usize = 64;

/// Refusals kept per check and host: the newest shows why nothing happens, the others what changed.
pub const MAX_REFUSALS_PER_CHECK: usize = 8;

/// What a request was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The permit-granted or permit-refused record.
    pub stamp: Stamp,
    /// Which of the two.
    pub given: Given,
}

/// What an answer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// A permit.
    Permit(PermitId),
    /// A refusal.
    Refusal,
}

/// A refusal with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRefusal {
    /// The refusal.
    pub refusal: Refusal,
    /// Its place in the log.
    pub stamp: Stamp,
}

/// Where the newest plan for a check on a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct KnownPlan {
    pub(in crate::core) stamp: Stamp,
    pub(in crate::core) request: RequestId,
}

/// What an agent did not ask for, with the place of its word in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct KnownWithheld {
    pub(in crate::core) withheld: RequestWithheld,
    pub(in crate::core) stamp: Stamp,
}

/// What is kept for one host. The checks are the agent's to name, so each map is bounded by
/// [`MAX_CHECKS_PER_HOST`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct HostAnswers {
    answers: VecDeque<(RequestId, Answer)>,
    /// By check; a drill's injection has none.
    refusals: BTreeMap<Option<CheckRef>, VecDeque<KnownRefusal>>,
    plans: BTreeMap<CheckRef, KnownPlan>,
    withheld: BTreeMap<CheckRef, KnownWithheld>,
}

/// All answers that are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Answers(BTreeMap<HostId, HostAnswers>);

impl Answers {
    pub(in crate::core) fn to(&self, host: HostId, request: RequestId) -> Option<Answer> {
        self.0.get(&host)?.answers.iter().rev().find(|(known, _)| *known == request).map(|(_, answer)| *answer)
    }

    pub(in crate::core) fn granted(&mut self, permit: &Permit, stamp: Stamp) {
        let answer = Answer { stamp, given: Given::Permit(permit.permit) };
        self.0.entry(permit.host).or_default().keep(permit.request, answer);
    }

    pub(in crate::core) fn refused(&mut self, refusal: &Refusal, stamp: Stamp) {
        let host = self.0.entry(refusal.host).or_default();
        host.keep(refusal.request, Answer { stamp, given: Given::Refusal });
        // Nobody waits for a budget: what is kept is why faults and drills are not acted upon.
        if refusal.budget.is_some() {
            return;
        }
        if host.refusals.len() >= MAX_CHECKS_PER_HOST && !host.refusals.contains_key(&refusal.check) {
            return;
        }
        let refusals = host.refusals.entry(refusal.check.clone()).or_default();
        refusals.push_back(KnownRefusal { refusal: refusal.clone(), stamp });
        while refusals.len() > MAX_REFUSALS_PER_CHECK {
            refusals.pop_front();
        }
    }

    pub(in crate::core) fn planned(&mut self, plan: &Plan, check: &CheckRef, stamp: Stamp) {
        let host = self.0.entry(plan.host).or_default();
        if host.plans.len() < MAX_CHECKS_PER_HOST || host.plans.contains_key(check) {
            host.plans.insert(check.clone(), KnownPlan { stamp, request: plan.request });
        }
    }

    /// Keeps the newest for each check. A drill has its own end to tell.
    pub(in crate::core) fn withheld(&mut self, host: HostId, withheld: &RequestWithheld, stamp: Stamp) {
        let Purpose::Remediate { check, .. } = &withheld.purpose else { return };
        let host = self.0.entry(host).or_default();
        if host.withheld.len() < MAX_CHECKS_PER_HOST || host.withheld.contains_key(check) {
            host.withheld.insert(check.clone(), KnownWithheld { withheld: withheld.clone(), stamp });
        }
    }

    /// What the agent of a host newest said that it does not ask about a check.
    pub(in crate::core) fn newest_withheld(&self, host: HostId, check: &CheckRef) -> Option<&KnownWithheld> {
        self.0.get(&host)?.withheld.get(check)
    }

    pub(in crate::core) fn plan(&self, host: HostId, check: &CheckRef) -> Option<KnownPlan> {
        self.0.get(&host)?.plans.get(check).copied()
    }

    /// Refusals about a check on a host (or, with `None`, about drills there), newest first.
    pub(in crate::core) fn refusals(
        &self,
        host: HostId,
        check: Option<&CheckRef>,
    ) -> impl Iterator<Item = &KnownRefusal> {
        let refusals = self.0.get(&host).and_then(|host| host.refusals.get(&check.cloned()));
        refusals.into_iter().flat_map(|refusals| refusals.iter().rev())
    }

    /// The newest refusal about every check on one host.
    pub(in crate::core) fn newest_refusals_on(&self, host: HostId) -> impl Iterator<Item = &KnownRefusal> {
        self.0.get(&host).into_iter().flat_map(|host| host.refusals.values().filter_map(VecDeque::back))
    }

    /// The newest refusal about every check on every host.
    pub(in crate::core) fn newest_refusals(&self) -> impl Iterator<Item = &KnownRefusal> {
        self.0.values().flat_map(|host| host.refusals.values().filter_map(VecDeque::back))
    }
}

impl HostAnswers {
    fn keep(&mut self, request: RequestId, answer: Answer) {
        self.answers.push_back((request, answer));
        while self.answers.len() > MAX_ANSWERS_PER_HOST {
            self.answers.pop_front();
        }
    }
}
