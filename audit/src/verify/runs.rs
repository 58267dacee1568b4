//! Permits in flight and the runs under them: each stays within its permit and ends once.

use super::finding::{At, Findings, Rule};
use super::hosts::{Group, Hosts};
use super::intents::Intents;
use fettle_model::counter::LogPosition;
use fettle_model::digest::DocumentDigest;
use fettle_model::evidence::ProvedGrant;
use fettle_model::id::{DrillId, HostId, PermitId, RunId};
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::record::{PermitRejected, RunUnresolved};
use fettle_model::run::{Change, Ending, RunRecord, Step, StepOutcome};
use std::collections::{BTreeMap, BTreeSet};

/// All permits that were granted.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs {
    pub(super) permits: BTreeMap<PermitId, Granted>,
    by_run: BTreeMap<RunId, PermitId>,
    pub(super) in_flight: BTreeMap<Group, u32>,
    /// Of which budget given in advance a permit is a unit.
    pub(super) offline: BTreeMap<PermitId, PermitId>,
    /// The budgets given in advance that hold their slots: one for each host at most.
    pub(super) held: BTreeSet<PermitId>,
    pub(super) intents: Intents,
    ended: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Granted {
    position: LogPosition,
    pub(super) host: HostId,
    pub(super) run: RunId,
    drill: Option<DrillId>,
    parameters: DocumentDigest,
    /// What a drill's permit was for; empty for every other.
    grants: Vec<ProvedGrant>,
    group: Option<Group>,
    pub(super) state: State,
}

#[derive(Debug, Clone)]
pub(super) enum State {
    /// Effects may be in progress. The permit is kept for comparison.
    InFlight(Box<Permit>),
    /// Given up by the control plane; the agent may still report.
    Unresolved(Box<Permit>),
    /// The agent refused it.
    Rejected,
    /// One run of a budget given in advance, which has not been reported.
    Unit(Box<Permit>),
    /// A budget given in advance that its agent gave back; so many runs were begun under it.
    Returned(Box<Permit>, u32),
    Ended {
        ending: Ending,
        /// Steps that changed something, or may have.
        changes: u32,
        /// The step after which it was resumed.
        resumed_at: Option<u32>,
    },
}

/// A run that ended.
pub(super) struct EndedRun {
    pub(super) ending: Ending,
    pub(super) permit: PermitId,
    pub(super) drill: Option<DrillId>,
    pub(super) parameters: DocumentDigest,
    pub(super) grants: Vec<ProvedGrant>,
    pub(super) changes: u32,
    pub(super) resumed_at: Option<u32>,
}

impl Runs {
    pub(super) fn granted(&self) -> u64 {
        u64::try_from(self.permits.len()).unwrap_or(u64::MAX)
    }

    pub(super) const fn ended(&self) -> u64 {
        self.ended
    }

    /// Permits of a group whose effects may be in progress.
    pub(super) fn in_flight(&self, group: &Group) -> u32 {
        self.in_flight.get(group).copied().unwrap_or(0)
    }

    pub(super) fn is_in_flight(&self, permit: PermitId) -> bool {
        self.permits.get(&permit).is_some_and(|granted| matches!(granted.state, State::InFlight(_)))
    }

    pub(super) fn ending_of(&self, run: RunId) -> Option<EndedRun> {
        let permit = *self.by_run.get(&run)?;
        let Granted { state, drill, parameters, grants, .. } = self.permits.get(&permit)?;
        match state {
            State::Ended { ending, changes, resumed_at } => Some(EndedRun {
                ending: *ending,
                permit,
                drill: *drill,
                parameters: *parameters,
                grants: grants.clone(),
                changes: *changes,
                resumed_at: *resumed_at,
            }),
            State::InFlight(_) | State::Unresolved(_) | State::Rejected | State::Unit(_) | State::Returned(..) => None,
        }
    }

    /// Permits of a group given in advance whose runs may be in progress.
    pub(super) fn offline_in_flight(&self, group: &Group) -> u32 {
        let held = self.held.iter().filter_map(|budget| self.permits.get(budget));
        let held = held.filter(|granted| granted.group.as_ref() == Some(group));
        u32::try_from(held.count()).unwrap_or(u32::MAX)
    }

    pub(super) fn start(
        &mut self,
        permit: &Permit,
        drill: Option<DrillId>,
        group: Option<Group>,
        hosts: &mut Hosts,
        at: &mut At<'_>,
    ) {
        if self.permits.contains_key(&permit.permit) {
            // The first grant stands: a second one under its id must not hide how it ends.
            return at.flag(Rule::Identifier, format!("the permit {} was granted before", permit.permit));
        }
        if self.by_run.insert(permit.run, permit.permit).is_some() {
            at.flag(Rule::Identifier, format!("the run {} had a permit before", permit.run));
        }
        if let Some(host) = hosts.get_mut(permit.host) {
            if host.in_flight > 0 {
                at.flag(Rule::InFlight, format!("{} has a permit in flight already", permit.host));
            }
            host.in_flight += 1;
        }
        if let Some(group) = &group {
            *self.in_flight.entry(group.clone()).or_default() += 1;
        }
        let state = State::InFlight(Box::new(permit.clone()));
        let granted = Granted {
            position: at.position,
            host: permit.host,
            run: permit.run,
            drill,
            parameters: permit.parameters.digest(),
            grants: drill.map(|_| ProvedGrant::of(&permit.targets)).unwrap_or_default(),
            group,
            state,
        };
        if permit.is_offline() {
            self.held.insert(permit.permit);
        }
        for unit in permit.all_units() {
            if self.by_run.insert(unit.run, unit.permit).is_some() {
                at.flag(Rule::Identifier, format!("the run {} had a permit before", unit.run));
            }
            self.offline.insert(unit.permit, permit.permit);
            let (id, run) = (unit.permit, unit.run);
            // Its budget holds the slot.
            let unit = Granted { run, group: None, state: State::Unit(Box::new(unit)), ..granted.clone() };
            self.permits.insert(id, unit);
        }
        self.permits.insert(permit.permit, granted);
    }

    pub(super) fn reject(&mut self, author: HostId, rejected: &PermitRejected, hosts: &mut Hosts, at: &mut At<'_>) {
        if !ends_permit(&rejected.because) {
            return;
        }
        // A permit that is not in the log, or is another host's, was rightly refused and is not this one's end.
        let Some(granted) = rejected.permit.and_then(|permit| self.permits.get_mut(&permit)) else { return };
        if granted.host != author {
            return;
        }
        match granted.state {
            State::InFlight(_) => {
                free(granted, &mut self.in_flight, hosts);
                granted.state = State::Rejected;
                if let Some(permit) = rejected.permit {
                    self.held.remove(&permit);
                }
            }
            State::Unresolved(_) => granted.state = State::Rejected,
            State::Rejected => {}
            // One run of a budget that its host would not begin.
            State::Unit(_) => granted.state = State::Rejected,
            State::Ended { .. } | State::Returned(..) => {
                at.flag(Rule::Ending, format!("the run {} ended before its permit was refused", granted.run));
            }
        }
    }

    pub(super) fn give_up(&mut self, unresolved: &RunUnresolved, hosts: &mut Hosts, at: &mut At<'_>) {
        let Some(granted) = self.permits.get_mut(&unresolved.permit) else {
            return at.flag(Rule::Permit, format!("the permit {} was not granted before", unresolved.permit));
        };
        if granted.host != unresolved.host || granted.run != unresolved.run {
            at.flag(Rule::Permit, format!("the permit {} is of another host or run", unresolved.permit));
        }
        match &granted.state {
            State::InFlight(permit) => {
                let permit = permit.clone();
                free(granted, &mut self.in_flight, hosts);
                granted.state = State::Unresolved(permit);
            }
            State::Unresolved(_) => at.flag(Rule::Ending, format!("the run {} was given up before", unresolved.run)),
            State::Rejected | State::Ended { .. } | State::Unit(_) | State::Returned(..) => {
                at.flag(Rule::Ending, format!("the run {} had ended when it was given up", unresolved.run));
            }
        }
    }

    pub(super) fn end(&mut self, author: HostId, run: &RunRecord, hosts: &mut Hosts, at: &mut At<'_>) {
        self.ended += 1;
        if run.host != author {
            at.flag(Rule::Permit, format!("the agent of {author} ends a run of {}", run.host));
        }
        let Some(granted) = self.permits.get_mut(&run.permit) else {
            return at.flag(Rule::Permit, format!("the run {} had no permit", run.run));
        };
        let permit = match &granted.state {
            State::InFlight(permit) | State::Unresolved(permit) if permit.is_offline() => {
                return at.flag(Rule::Permit, format!("the run {} names a budget, not one of its units", run.run));
            }
            State::InFlight(permit) => {
                let permit = permit.clone();
                free(granted, &mut self.in_flight, hosts);
                permit
            }
            State::Unresolved(permit) | State::Unit(permit) => permit.clone(),
            State::Returned(..) => {
                return at.flag(Rule::Permit, format!("the run {} names a budget, not one of its units", run.run));
            }
            State::Rejected => {
                return at.flag(Rule::Ending, format!("the run {} ended under a permit that was refused", run.run));
            }
            State::Ended { .. } => return at.flag(Rule::Ending, format!("the run {} ended twice", run.run)),
        };
        let changes = run.steps.iter().filter(|step| took_effect(step)).count();
        let changes = u32::try_from(changes).unwrap_or(u32::MAX);
        granted.state = State::Ended { ending: run.ending, changes, resumed_at: run.resumed_at() };
        check_run(run, &permit, at);
        self.intents.check(run, at);
        self.check_units(run.permit, at);
    }

    /// Runs that the end of the log cuts off.
    pub(super) fn finish(&self, findings: &mut Findings) {
        let mut open: Vec<&Granted> =
            self.permits.values().filter(|granted| matches!(granted.state, State::InFlight(_))).collect();
        open.sort_by_key(|granted| granted.position);
        for granted in open {
            let words = format!("the run {} on {} has not ended", granted.run, granted.host);
            findings.add(Some(granted.position), Rule::OpenRun, words);
        }
    }
}

/// Whether an agent's refusal ends a permit. A second delivery of a used one says nothing about the
/// run under it; after a bad or foreign signature or a missing proof the same permit may arrive once more, sound.
pub(super) const fn ends_permit(because: &PermitRejection) -> bool {
    match because {
        PermitRejection::BadSignature
        | PermitRejection::ForeignKey { .. }
        | PermitRejection::NotInLog
        | PermitRejection::OtherHost
        | PermitRejection::Replayed => false,
        PermitRejection::OtherRequest
        | PermitRejection::Expired { .. }
        | PermitRejection::StaleFence { .. }
        | PermitRejection::Stopped { .. }
        | PermitRejection::PlaybookUntrusted
        | PermitRejection::TargetsDiffer { .. }
        | PermitRejection::AboveCeiling { .. }
        | PermitRejection::DrillsRefused
        | PermitRejection::Busy
        | PermitRejection::LogForked
        | PermitRejection::NotForOffline => true,
    }
}

/// Gives back the slot of a permit in flight.
pub(super) fn free(granted: &Granted, in_flight: &mut BTreeMap<Group, u32>, hosts: &mut Hosts) {
    if let Some(count) = granted.group.as_ref().and_then(|group| in_flight.get_mut(group)) {
        *count = count.saturating_sub(1);
    }
    if let Some(host) = hosts.get_mut(granted.host) {
        host.in_flight = host.in_flight.saturating_sub(1);
    }
}

fn check_run(run: &RunRecord, permit: &Permit, at: &mut At<'_>) {
    let same = run.run == permit.run
        && run.host == permit.host
        && run.request == permit.request
        && run.purpose == permit.purpose
        && run.playbook == permit.playbook;
    if !same {
        at.flag(
            Rule::Permit,
            format!("the run {} names another run, host, request, purpose or playbook than its permit", run.run),
        );
    }
    let mut taken = 0_u32;
    for step in &run.steps {
        if step.reached_the_host() {
            taken = taken.saturating_add(1);
            check_step(run, step, permit, at);
        }
    }
    if taken > permit.actions {
        at.flag(Rule::Step, format!("the run {} took {taken} steps, {} were permitted", run.run, permit.actions));
    }
    let in_order = run.steps.iter().map(|step| step.number).is_sorted_by(|a, b| a < b);
    if !in_order {
        at.flag(Rule::Step, format!("the steps of the run {} do not count up", run.run));
    }
    for step in &run.undone {
        if permit.targets.iter().all(|target| target.label != step.label) {
            at.flag(Rule::Step, format!("the run {} undid something on {}, which is no target", run.run, step.label));
        }
    }
    if taken > 0 && matches!(run.ending, Ending::Superseded | Ending::Expired) {
        at.flag(Rule::Step, format!("the run {} took steps and ended {}", run.run, run.ending.as_str()));
    }
}

fn check_step(run: &RunRecord, step: &Step, permit: &Permit, at: &mut At<'_>) {
    let target = permit.targets.iter().find(|target| target.label == step.label);
    let permitted = match &permit.purpose {
        Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
            target.is_some_and(|target| target.actions.contains(&step.action))
        }
        // Injecting a fault is the permitted act itself; its target is what counts.
        Purpose::InjectFault { .. } => target.is_some(),
    };
    if !permitted {
        let words = format!("step {} of the run {}: {} on {}", step.number, run.run, step.action.as_str(), step.label);
        at.flag(Rule::Step, format!("{words} was not permitted"));
    }
}

/// Whether a step changed something, or may have.
const fn took_effect(step: &Step) -> bool {
    match step.outcome {
        StepOutcome::Done { change: Change::Made, .. } | StepOutcome::Indeterminate { .. } => true,
        StepOutcome::Done { change: Change::Unneeded, .. }
        | StepOutcome::Failed { .. }
        | StepOutcome::Refused { .. } => false,
    }
}
