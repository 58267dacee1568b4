//! How a run's life changes the state: withheld, planned, granted, ended, given up, rejected. Called by [`State`]'s folds alone.

use super::State;
use crate::core::attempts::Fingerprint;
use crate::core::entry::Stamp;
use crate::core::reclaim;
use crate::core::runs::{Role, Run, RunState, Runs, ends_permit};
use fettle_model::id::{HostId, PermitId};
use fettle_model::offline::OfflineReturned;
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::playbook::{Manifest, Reversibility};
use fettle_model::run::{Ending, Plan, RunRecord};
use fettle_model::withheld::RequestWithheld;
use std::borrow::Cow;

impl State {
    pub(super) fn plan(&mut self, host: HostId, plan: &Plan, stamp: Stamp) {
        if let Purpose::Remediate { check, .. } = &plan.purpose
            && plan.host == host
        {
            let refused = self.answers.refusals(host, Some(check)).next().map(|known| &known.refusal);
            if let Some((known, refusal)) = self.hosts.get(&host).zip(refused) {
                let newest = &self.configuration;
                let configurations = [self.rollouts.configuration_of(known, newest), newest];
                self.promotions.planned(known, plan, refusal, configurations, stamp.position);
            }
            self.answers.planned(plan, check, stamp);
        }
    }

    pub(super) fn grant(&mut self, permit: &Permit, stamp: Stamp) {
        let Some(host) = self.hosts.get_mut(&permit.host) else { return };
        host.fence = host.fence.max(permit.fence);
        let environment = host.environment.clone();
        let (check, version) = match &permit.purpose {
            Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } | Purpose::Offline { check, .. } => {
                (check.clone(), permit.playbook.clone())
            }
            Purpose::InjectFault { drill, .. } => match self.drills.get(*drill) {
                Some(running) => (running.check(), Some(running.drill.playbook.clone())),
                None => return,
            },
        };
        let Some(version) = version else { return };
        let manifest = permit
            .playbook
            .as_ref()
            .and_then(|version| self.playbooks.get(&version.digest))
            .map(|admitted| &admitted.admission.manifest);
        let reversibility = manifest.map_or(Reversibility::Reversible, Manifest::reversibility);
        let run = Run {
            granted: stamp,
            environment,
            service: check.service.clone(),
            playbook: version.name,
            hold: reclaim::hold(permit, manifest),
            state: RunState::InFlight,
            permit: permit.clone(),
            check,
        };
        self.answers.granted(permit, stamp);
        self.drills.on_granted(&run);
        self.breakers.on_granted(&run);
        if let Purpose::Remediate { check, .. } = &permit.purpose {
            self.proposals.grant(permit, check);
            let of = Fingerprint { host: permit.host, check: check.clone() };
            // A drill's second fault is no second failure: the drill injected it.
            if permit.kill.is_none() {
                self.attempts.reserve(&of);
            }
            if permit.drill.is_none() {
                self.attempts.fixes(&of, None);
                self.promotions.granted(&of, stamp.position);
                self.take_turn(&of, permit, stamp);
            }
        }
        if run.role() == Role::Budget {
            self.budgets.hold(&run);
        } else {
            self.budgets.spend(&run, reversibility, stamp);
        }
        if let Some(remediation) = run.remediation() {
            // One that was taken out of the configuration since is not granted.
            let quiet = self.configuration.remediation(remediation).map(|known| known.guard.healthy_for);
            self.ramps.granted(remediation, &run.environment, quiet.unwrap_or_default(), stamp.at);
        }
        self.tallies.granted(&run);
        self.change_hands(permit.host, |runs| runs.grant(run));
    }

    fn take_turn(&mut self, of: &Fingerprint, permit: &Permit, stamp: Stamp) {
        let known = self.hosts.get(&permit.host);
        let newest = &self.configuration;
        let judged_by = known.map_or(newest, |host| self.rollouts.configuration_of(host, newest));
        if let Some(answer) = judged_by.answer_to(&of.check) {
            self.turns.granted(of, answer, permit.run, stamp.at);
        }
    }

    /// Changes which permits are in flight on a host, and what its groups add up to with it.
    fn change_hands(&mut self, host: HostId, change: impl FnOnce(&mut Runs)) {
        let before = self.hands(host);
        change(&mut self.runs);
        let after = self.hands(host);
        if let Some(known) = self.hosts.get(&host) {
            let configuration = self.rollouts.configuration_of(known, &self.configuration);
            self.tallies.leave(known, before, configuration);
            self.tallies.join(known, after, configuration);
        }
    }

    /// Ends the permit's slot, whatever the end: frees a probe and starts the cooldown.
    fn finish(&mut self, permit: PermitId, end: RunState, stamp: Stamp) {
        let Some(run) = self.runs.permit(permit) else { return };
        if let Purpose::Remediate { check, .. } = &run.permit.purpose {
            let of = Fingerprint { host: run.permit.host, check: check.clone() };
            self.attempts.ended(&of, stamp.at);
            if run.permit.drill.is_none() {
                self.attempts.fixes(&of, Some(stamp.at));
            }
        }
        self.turns.ended(run, &end);
        let came_to = match &end {
            RunState::Ended { ending, .. } => Some(*ending),
            RunState::Unresolved { .. } => Some(Ending::InDoubt),
            RunState::Rejected { .. } | RunState::InFlight | RunState::Returned { .. } | RunState::Expired { .. } => {
                None
            }
        };
        if let Some(ending) = came_to {
            self.promotions.ended(run, ending, stamp, &self.configuration);
        }
        self.breakers.on_finished(permit);
        if let Some(remediation) = run.remediation() {
            self.ramps.ended(remediation, &run.environment, came_to, stamp.at);
        }
        let host = run.permit.host;
        self.tallies.finished(run);
        self.change_hands(host, |runs| runs.finish(permit, end));
    }

    pub(super) fn end_run(&mut self, host: HostId, ended: &RunRecord, stamp: Stamp) {
        let Some(run) = self.runs.reported(ended.permit).filter(|run| run.permit.host == host) else { return };
        let end = RunState::Ended {
            stamp,
            ending: ended.ending,
            summary: ended.summary.clone(),
            steps: u32::try_from(ended.steps.len()).unwrap_or(u32::MAX),
            started_at: ended.started_at,
            ended_at: ended.ended_at,
        };
        if let (Cow::Owned(run), Some(_)) = (&run, run.permit.unit) {
            let run = Run { state: end, ..run.clone() };
            return self.end_unit(run, ended.ending, stamp);
        }
        match run.state {
            RunState::InFlight => {
                if ended.ending.counts_as_failure() {
                    self.breakers.on_failure(&run, stamp);
                }
                self.rollouts.ended(&run, ended.ending, self.configuration.generation());
                self.drills.on_run_ended(ended, stamp);
                self.finish(ended.permit, end, stamp);
            }
            // Late, after it was given up: the failure has been counted and the slot is free.
            RunState::Unresolved { .. } => self.runs.finish(ended.permit, end),
            RunState::Ended { .. }
            | RunState::Rejected { .. }
            | RunState::Returned { .. }
            | RunState::Expired { .. } => {}
        }
    }

    /// A run under a unit of a budget given in advance is over: it counts as every other, but for what the budget holds,
    /// its slot and its units.
    fn end_unit(&mut self, run: Run, ending: Ending, stamp: Stamp) {
        if ending.counts_as_failure() {
            self.breakers.on_failure(&run, stamp);
        }
        self.rollouts.ended(&run, ending, self.configuration.generation());
        let of = Fingerprint { host: run.permit.host, check: run.check.clone() };
        self.attempts.reserve(&of);
        self.attempts.ended(&of, stamp.at);
        self.attempts.fixes(&of, Some(stamp.at));
        self.take_turn(&of, &run.permit, stamp);
        self.turns.ended(&run, &run.state);
        self.runs.end_unit(run);
    }

    /// What is left of a budget given in advance is the group's again.
    pub(super) fn give_back(&mut self, host: HostId, returned: &OfflineReturned, stamp: Stamp) {
        let known = self.runs.permit(returned.permit);
        let Some(run) = known.filter(|run| run.permit.host == host && run.role() == Role::Budget).cloned() else {
            return;
        };
        // Its word counts no lower than what it has told before, and no higher than what there was.
        let units = run.permit.units.get();
        let used = returned.used.max(self.runs.ended_under(&run.permit)).min(units);
        let end = RunState::Returned { stamp, used };
        match run.state {
            RunState::InFlight => {
                self.budgets.settle(&run, Some(used), stamp.at);
                self.finish(returned.permit, end, stamp);
            }
            RunState::Expired { .. } => {
                self.budgets.correct(&run, used);
                self.runs.finish(returned.permit, end);
            }
            RunState::Ended { .. }
            | RunState::Rejected { .. }
            | RunState::Unresolved { .. }
            | RunState::Returned { .. } => {}
        }
    }

    /// A budget given in advance is over, and nobody knows what became of its units.
    pub(super) fn expire_budget(&mut self, permit: PermitId, host: HostId, stamp: Stamp) {
        let Some(run) = self.runs.open(permit, host).filter(|run| run.role() == Role::Budget).cloned() else { return };
        self.budgets.settle(&run, None, stamp.at);
        self.finish(permit, RunState::Expired { stamp }, stamp);
    }

    pub(super) fn give_up(&mut self, permit: PermitId, host: HostId, stamp: Stamp) {
        let Some(run) = self.runs.open(permit, host) else { return };
        self.breakers.on_failure(run, stamp);
        self.rollouts.ended(run, Ending::InDoubt, self.configuration.generation());
        self.finish(permit, RunState::Unresolved { stamp }, stamp);
    }

    pub(super) fn reject(&mut self, permit: PermitId, host: HostId, because: &PermitRejection, stamp: Stamp) {
        let Some(run) = self.runs.open(permit, host).filter(|_| ends_permit(because)) else { return };
        if run.role() == Role::Budget {
            // Refused, so none of it was or will be used.
            let run = run.clone();
            self.budgets.settle(&run, Some(0), stamp.at);
        }
        self.finish(permit, RunState::Rejected { stamp, because: because.clone() }, stamp);
    }

    pub(super) fn withhold(&mut self, host: HostId, withheld: &RequestWithheld, stamp: Stamp) {
        self.answers.withheld(host, withheld, stamp);
        let Purpose::Remediate { check, remediation, .. } = &withheld.purpose else { return };
        if let Some(answer) = self.configuration.answer_to(check).filter(|answer| &answer.name == remediation) {
            self.turns.withheld(&Fingerprint { host, check: check.clone() }, answer, withheld, stamp.at);
        }
    }
}
