//! The course of problems and runs: whose turn it was, how often and how soon a problem was tried, how far a remediation had
//! come up its ramp, and whether people were called at a problem's end. Sees each record in the order of the log, after what it changes stands, and counts as the control plane
//! counts: on the clock of the leaves.

use super::calls::Calls;
use super::finding::{At, Findings, Rule};
use super::hosts::{Host, Hosts};
use super::problems::{Called, Change, Fingerprint, Health, Ledger};
use super::ramps::{Ramps, Slope};
use super::runs::ends_permit;
use super::standing::Standing;
use super::turns::{Due, Turns};
use fettle_model::check::{CheckRef, Transition};
use fettle_model::escalation::{TurnAfter, turn_after, turn_after_rejection};
use fettle_model::id::{HostId, PermitId, RunId};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::offline::OfflineReturned;
use fettle_model::permit::{Permit, Purpose};
use fettle_model::record::{Author, Body, PermitRejected, Record};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Remediation;
use fettle_model::run::{Ending, RunRecord};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::RequestWithheld;
use std::collections::BTreeMap;

/// So many runs that ended later and the control plane has forgotten a budget given in advance: a run that is told of
/// under it counts no more.
const REMEMBERED: u64 = 10_000;

/// What is known of problems and of the runs that answer them.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    health: Health,
    ledger: Ledger,
    turns: Turns,
    ramps: Ramps,
    calls: Calls,
    /// The runs whose effects may be in progress, by their permits.
    live: BTreeMap<PermitId, Live>,
    /// The budgets given in advance.
    budgets: BTreeMap<PermitId, Budget>,
    /// The units of which nothing was told yet, and whose they are.
    units: BTreeMap<PermitId, (PermitId, RunId)>,
    /// Runs and budgets that are over.
    over: u64,
}

/// What a run is, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It answers a fault.
    Remediation,
    /// It heals a drill's fault.
    Healing,
    /// It injects one, or shows that nothing is changed where nothing is wrong.
    Rehearsal,
}

#[derive(Debug, Clone)]
struct Live {
    run: RunId,
    of: Fingerprint,
    role: Role,
    /// What it earns something for; drills and units of budgets earn nothing.
    slope: Option<Slope>,
}

/// How a run left its slot.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Its agent told of it.
    Told(Ending),
    /// Its agent refused the permit.
    Refused(TurnAfter),
    /// It was given up.
    Lost,
}

impl End {
    const fn turn(self) -> TurnAfter {
        match self {
            Self::Told(ending) => turn_after(ending),
            Self::Refused(turn) => turn,
            Self::Lost => TurnAfter::GoesOn,
        }
    }

    const fn came_to(self) -> Option<Ending> {
        match self {
            Self::Told(ending) => Some(ending),
            Self::Lost => Some(Ending::InDoubt),
            Self::Refused(_) => None,
        }
    }
}

#[derive(Debug, Clone)]
struct Budget {
    of: Fingerprint,
    units: u32,
    /// Runs under it that were told of.
    told: u32,
    state: Held,
}

/// Whether runs under a budget still count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Yes,
    /// Since so many runs were over.
    Expired(u64),
    /// Given back since so many runs were over, with so many begun.
    Returned(u64, u32),
    Refused,
}

/// What a record is judged by.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) standing: &'a Standing,
    pub(super) now: UnixMillis,
}

impl<'a> Scene<'a> {
    /// The remediation that answers a check on a host.
    fn answer(&self, of: &Fingerprint) -> Option<&'a Remediation> {
        let judged_by = self.hosts.get(of.host).and_then(|host| self.standing.configuration_of(of.host, host));
        judged_by.and_then(|configuration| configuration.answer_to(&of.check))
    }
}

impl Course {
    pub(super) fn see(&mut self, record: &Record, scene: Scene<'_>, at: &mut At<'_>) {
        self.calls.see(record, at);
        if let Author::Agent { host, .. } = &record.author {
            self.hear(*host, &record.body, scene, at);
        } else if let Body::PermitGranted(permit) = &record.body {
            self.grant(permit, scene, at);
        } else if let Body::PermitRefused(refusal) = &record.body {
            self.refuse(refusal, scene, at);
        } else if let Body::RunUnresolved(unresolved) = &record.body {
            self.end(unresolved.permit, unresolved.host, End::Lost, scene.now);
        } else if let Body::OfflineExpired(expired) = &record.body {
            self.expire(expired.permit);
        } else if let Body::IncidentOpened(incident) = &record.body {
            self.call(incident);
        } else if let Body::ConfigurationSet(set) = &record.body {
            self.ramps.keep(|name| set.configuration.remediation(name).is_some());
        }
    }

    fn hear(&mut self, host: HostId, body: &Body, scene: Scene<'_>, at: &mut At<'_>) {
        if let Body::TransitionSeen(transition) = body {
            self.changed(host, transition, scene);
        } else if let Body::RunEnded(run) = body {
            self.report(host, run, scene, at);
        } else if let Body::PermitRejected(rejected) = body {
            self.reject(host, rejected, scene, at);
        } else if let Body::OfflineReturned(returned) = body {
            self.give_back(returned);
        } else if let Body::RequestWithheld(withheld) = body {
            self.withhold(host, withheld, scene, at);
        }
    }

    /// What only the end of the log shows.
    pub(super) fn finish(&self, findings: &mut Findings) {
        self.calls.finish(findings);
    }

    fn changed(&mut self, host: HostId, transition: &Transition, scene: Scene<'_>) {
        let of = Fingerprint { host, check: transition.of.clone() };
        match self.health.see(host, transition, scene.now) {
            Change::Ignored => return,
            Change::Noted => {}
            Change::LeftHealth(healthy) => {
                if scene.answer(&of).is_some_and(|answer| healthy >= answer.guard.healthy_for) {
                    self.ledger.new_problem(&of);
                    self.turns.new_problem(&of);
                }
                if let Some(cause) = self.broken_by_a_fix(&of, scene) {
                    self.ledger.join(&of, &cause);
                }
            }
        }
        self.turns.seen(&of, transition.to);
    }

    /// The check whose fix was under way on the host, or had not yet lasted, when this one failed.
    fn broken_by_a_fix(&self, of: &Fingerprint, scene: Scene<'_>) -> Option<CheckRef> {
        let (check, ended) = self.ledger.fix_of_another(of)?;
        let fixed = Fingerprint { host: of.host, check: check.clone() };
        let lasts = scene.answer(&fixed)?.guard.healthy_for;
        ended.is_none_or(|ended| scene.now.since(ended) < lasts).then_some(fixed.check)
    }

    /// Whose turn it was on a host: of the rung that a drill there proves, or of the first whose turn is not over.
    fn due(&self, of: &Fingerprint, answer: &Remediation, scene: Scene<'_>) -> Due {
        let drilled = scene.standing.drill_on(of.host, &of.check);
        let proved = drilled.and_then(|drill| answer.rung_of(&drill.playbook));
        proved.map_or_else(|| self.turns.due(of, answer, scene.now), Due::Rung)
    }

    fn grant(&mut self, permit: &Permit, scene: Scene<'_>, at: &mut At<'_>) {
        let Some(host) = scene.hosts.get(permit.host) else { return };
        let (check, role) = match (&permit.purpose, permit.drill) {
            (Purpose::Remediate { check, .. }, None) => (check.clone(), Role::Remediation),
            (Purpose::Remediate { check, .. }, Some(_)) => (check.clone(), Role::Healing),
            (Purpose::Repeat { check, .. }, _) => (check.clone(), Role::Rehearsal),
            (Purpose::InjectFault { drill, .. }, _) => match scene.standing.drill(*drill) {
                Some(running) => (running.check(), Role::Rehearsal),
                None => return,
            },
            (Purpose::Offline { check, .. }, _) => return self.give(permit, check, scene, at),
        };
        let of = Fingerprint { host: permit.host, check };
        self.check_turn(permit, &of, host, scene, at);
        if role != Role::Rehearsal && permit.kill.is_none() {
            self.check_attempts(&of, scene, at);
        }
        if role != Role::Rehearsal && permit.kill.is_none() {
            self.ledger.attempt(&of);
        }
        let mut slope = None;
        if let (Role::Remediation, Purpose::Remediate { remediation, .. }) = (role, &permit.purpose) {
            self.ledger.fixes(&of, None);
            if let Some(answer) = scene.answer(&of) {
                self.turns.granted(&of, answer, permit.run, scene.now);
            }
            let of_remediation = (remediation.clone(), host.environment.clone());
            self.check_ramp(&of, &of_remediation, scene, at);
            let newest = scene.standing.configuration().and_then(|newest| newest.remediation(remediation));
            let quiet = newest.map(|known| known.guard.healthy_for).unwrap_or_default();
            self.ramps.granted(&of_remediation, quiet, scene.now);
            slope = Some(of_remediation);
        }
        self.live.insert(permit.permit, Live { run: permit.run, of, role, slope });
    }

    /// Attempts are left, and the last run is long enough ago.
    fn check_attempts(&self, of: &Fingerprint, scene: Scene<'_>, at: &mut At<'_>) {
        // Without an answer another rule has been flagged already.
        let Some(guard) = scene.answer(of).map(|answer| &answer.guard) else { return };
        let count = self.ledger.of(of).count;
        if count >= guard.max_attempts {
            let words = format!("{count} attempts at {} on {} were made before this one", of.check, of.host);
            at.flag(Rule::Attempts, format!("{words}, of {}", guard.max_attempts));
        }
        if let Some(ended) = self.ledger.last_end(of).filter(|ended| ended.plus(guard.cooldown) > scene.now) {
            let after = scene.now.since(ended);
            let words = format!("{after:?} after the last run for {} on {}", of.check, of.host);
            at.flag(Rule::Cooldown, format!("{words}, where {:?} must pass", guard.cooldown));
        }
    }

    /// The remediation acts on no more hosts at once than its runs have earned. A ramp as high as the guard's maximum says
    /// nothing that the maximum does not.
    fn check_ramp(&self, of: &Fingerprint, slope: &Slope, scene: Scene<'_>, at: &mut At<'_>) {
        let (name, environment) = slope;
        let Some(answer) = scene.answer(of).filter(|answer| &answer.name == name) else { return };
        let step = self.ramps.step(slope, answer.guard.healthy_for, scene.now);
        let most = answer.guard.max_in_flight;
        let most = most.as_maximum(scene.hosts.size_of(&answer.service, environment, scene.standing));
        if step.in_flight >= step.limit && step.limit < most {
            let words = format!("{} runs of {name} in {environment} were in flight", step.in_flight);
            at.flag(Rule::Ramp, format!("{words}, where its ramp allowed {}", step.limit));
        }
    }

    /// The permit is for the rung that is due. One for another remediation than that which answers is flagged as such.
    fn check_turn(&self, permit: &Permit, of: &Fingerprint, host: &Host, scene: Scene<'_>, at: &mut At<'_>) {
        let Purpose::Remediate { remediation, rung, .. } = &permit.purpose else { return };
        let Some(answer) = scene.answer(of).filter(|answer| &answer.name == remediation) else { return };
        let due = self.due(of, answer, scene);
        if due != Due::Rung(*rung) {
            let words = format!("the permit is for rung {rung} of {remediation} on {}", host.name());
            at.flag(Rule::Turn, format!("{words}, where {due} was due"));
        }
    }

    fn give(&mut self, permit: &Permit, check: &CheckRef, scene: Scene<'_>, at: &mut At<'_>) {
        let of = Fingerprint { host: permit.host, check: check.clone() };
        self.check_attempts(&of, scene, at);
        let left = scene.answer(&of).map(|answer| answer.guard.max_attempts.saturating_sub(self.ledger.of(&of).count));
        if left.is_some_and(|left| permit.units.get() > left.max(1)) {
            at.flag(Rule::Offline, format!("{} units, where fewer attempts are left", permit.units));
        }
        let budget = Budget { of, units: permit.units.get(), told: 0, state: Held::Yes };
        self.budgets.insert(permit.permit, budget);
        for unit in permit.all_units() {
            self.units.insert(unit.permit, (permit.permit, unit.run));
        }
    }

    fn refuse(&mut self, refusal: &Refusal, scene: Scene<'_>, at: &mut At<'_>) {
        let Some(check) = &refusal.check else { return };
        let of = Fingerprint { host: refusal.host, check: check.clone() };
        let says = |wanted: fn(&Reason) -> bool| refusal.reasons.iter().any(wanted);
        let exhausted = says(|reason| matches!(reason, Reason::RungsExhausted { .. }));
        if exhausted || says(|reason| matches!(reason, Reason::MaxAttempts { .. })) {
            self.end_reached(of, at);
        } else if !says(|reason| matches!(reason, Reason::NoRemediation))
            && let Some(answer) = scene.answer(&of)
            && self.due(&of, answer, scene) == Due::People
        {
            at.flag(Rule::Turn, format!("the refusal does not say that every turn of {} is over", answer.name));
        }
    }

    /// People must be called, unless they were.
    fn end_reached(&mut self, of: Fingerprint, at: &mut At<'_>) {
        match self.ledger.of(&of).called {
            Called::Yes => {}
            Called::NotYet => self.calls.must_follow(of, at),
        }
    }

    fn call(&mut self, incident: &IncidentOpened) {
        if let (IncidentCause::AttemptsExhausted { .. }, Some(host), Some(check)) =
            (&incident.cause, incident.host, &incident.check)
        {
            self.ledger.called(&Fingerprint { host, check: check.clone() });
        }
    }

    fn report(&mut self, host: HostId, run: &RunRecord, scene: Scene<'_>, at: &mut At<'_>) {
        if let Some(live) = self.live.get(&run.permit).filter(|live| live.of.host == host).cloned() {
            let how = turn_after(run.ending);
            self.check_called(&live, run.ending, how, scene, at);
            self.end(run.permit, host, End::Told(run.ending), scene.now);
        } else if let Some(unit) = self.unit(run.permit, host) {
            self.check_called(&unit, run.ending, turn_after(run.ending), scene, at);
            self.end_unit(run.permit, &unit, run.ending, scene);
        }
    }

    fn reject(&mut self, host: HostId, rejected: &PermitRejected, scene: Scene<'_>, at: &mut At<'_>) {
        let Some(permit) = rejected.permit.filter(|_| ends_permit(&rejected.because)) else { return };
        if let Some(live) = self.live.get(&permit).filter(|live| live.of.host == host).cloned() {
            let how = turn_after_rejection(&rejected.because);
            // Nothing was done, and the attempt is spent.
            self.check_called(&live, Ending::Expired, how, scene, at);
            self.end(permit, host, End::Refused(how), scene.now);
        } else if let Some(budget) = self.budgets.get_mut(&permit)
            && (budget.of.host, budget.state) == (host, Held::Yes)
        {
            budget.state = Held::Refused;
            self.over = self.over.saturating_add(1);
        }
    }

    /// A run that used the last attempt, or whose end is that of the last turn, calls people.
    fn check_called(&mut self, run: &Live, ending: Ending, how: TurnAfter, scene: Scene<'_>, at: &mut At<'_>) {
        let Some(answer) = scene.answer(&run.of) else { return };
        let helped = match ending {
            Ending::Succeeded | Ending::Superseded | Ending::Cancelled => true,
            Ending::Ineffective | Ending::Failed | Ending::Reverted | Ending::Expired | Ending::InDoubt => false,
        };
        let used_up = self.ledger.of(&run.of).count >= answer.guard.max_attempts;
        let last_attempt = run.role == Role::Remediation && used_up && !helped;
        let last_turn = how == TurnAfter::Over && self.turns.is_last(&run.of, answer, run.run);
        if last_attempt || last_turn {
            self.end_reached(run.of.clone(), at);
        }
    }

    /// A run is over, and its slot free.
    fn end(&mut self, permit: PermitId, host: HostId, end: End, now: UnixMillis) {
        if self.live.get(&permit).is_none_or(|live| live.of.host != host) {
            return;
        }
        let Some(Live { run, of, role, slope }) = self.live.remove(&permit) else { return };
        self.over = self.over.saturating_add(1);
        match role {
            Role::Remediation => {
                self.ledger.ended(&of, now);
                self.ledger.fixes(&of, Some(now));
            }
            Role::Healing => self.ledger.ended(&of, now),
            Role::Rehearsal => {}
        }
        self.turns.ended(&of, run, end.turn());
        if let Some(slope) = slope {
            self.ramps.ended(&slope, end.came_to(), now);
        }
    }

    /// The run under a unit of a budget given in advance, where it still counts.
    fn unit(&self, permit: PermitId, host: HostId) -> Option<Live> {
        let (budget, run) = self.units.get(&permit)?;
        let budget = self.budgets.get(budget).filter(|budget| budget.of.host == host)?;
        let remembered = |since: u64| self.over < since.saturating_add(REMEMBERED);
        let counts = match budget.state {
            Held::Yes => true,
            Held::Expired(since) => remembered(since),
            Held::Returned(since, used) => remembered(since) && budget.told < used,
            Held::Refused => false,
        };
        counts.then(|| Live { run: *run, of: budget.of.clone(), role: Role::Remediation, slope: None })
    }

    /// It counts when it is told of.
    fn end_unit(&mut self, permit: PermitId, unit: &Live, ending: Ending, scene: Scene<'_>) {
        if let Some(budget) = self.units.remove(&permit).and_then(|(budget, _)| self.budgets.get_mut(&budget)) {
            budget.told = budget.told.saturating_add(1);
        }
        self.ledger.attempt(&unit.of);
        self.ledger.ended(&unit.of, scene.now);
        self.ledger.fixes(&unit.of, Some(scene.now));
        if let Some(answer) = scene.answer(&unit.of) {
            self.turns.granted(&unit.of, answer, unit.run, scene.now);
        }
        self.turns.ended(&unit.of, unit.run, turn_after(ending));
        self.over = self.over.saturating_add(1);
    }

    fn expire(&mut self, permit: PermitId) {
        if let Some(budget) = self.budgets.get_mut(&permit).filter(|budget| budget.state == Held::Yes) {
            self.over = self.over.saturating_add(1);
            budget.state = Held::Expired(self.over);
        }
    }

    fn give_back(&mut self, returned: &OfflineReturned) {
        let Some(budget) = self.budgets.get_mut(&returned.permit) else { return };
        let used = returned.used.max(budget.told).min(budget.units);
        match budget.state {
            Held::Yes => {
                self.over = self.over.saturating_add(1);
                budget.state = Held::Returned(self.over, used);
            }
            Held::Expired(since) => budget.state = Held::Returned(since, used),
            Held::Returned(..) | Held::Refused => {}
        }
    }

    fn withhold(&mut self, host: HostId, withheld: &RequestWithheld, scene: Scene<'_>, at: &mut At<'_>) {
        let Purpose::Remediate { check, remediation, .. } = &withheld.purpose else { return };
        let of = Fingerprint { host, check: check.clone() };
        let is_named = |answer: &&Remediation| &answer.name == remediation;
        let answer = scene.answer(&of).filter(is_named);
        if answer.is_some_and(|answer| self.turns.withheld_last(&of, answer, withheld, scene.now)) {
            self.end_reached(of.clone(), at);
        }
        let newest = scene.standing.configuration().and_then(|newest| newest.answer_to(check)).filter(is_named);
        if let Some(answer) = newest {
            self.turns.withheld(&of, answer, withheld, scene.now);
        }
    }
}
