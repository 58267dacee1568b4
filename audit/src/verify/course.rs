//! The course of problems and runs: whose turn it was, how often and how soon a problem was tried, how far a remediation had
//! come up its ramp, how much of its group's window was spent, and whether people were called at a problem's end. Sees each record in the order of the log, after what it changes stands, and counts as the control plane
//! counts: on the clock of the leaves.

use super::budgets::{Budgets, Units};
use super::calls::Calls;
use super::finding::{At, Findings, Rule};
use super::hosts::{Group, Host, Hosts};
use super::problems::{Called, Change, Fingerprint, Health, Ledger};
use super::ramps::{Ramps, Slope};
use super::runs::ends_permit;
use super::standing::Standing;
use super::turns::{Due, Turns};
use super::windows::{Spending, Windows};
use fettle_model::check::{CheckRef, Transition};
use fettle_model::escalation::{TurnAfter, turn_after, turn_after_rejection};
use fettle_model::id::{HostId, PermitId, RunId};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::permit::{Permit, Purpose};
use fettle_model::playbook::{Manifest, Reversibility};
use fettle_model::record::{Author, Body, PermitRejected, Record};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Remediation;
use fettle_model::run::{Ending, RunRecord};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::RequestWithheld;
use std::collections::BTreeMap;

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
    budgets: Budgets,
    windows: Windows,
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
    /// It answers a fault, under a unit of a budget given in advance.
    Unit,
}

#[derive(Debug, Clone)]
struct Live {
    run: RunId,
    of: Fingerprint,
    role: Role,
    /// What it earns something for: drills and units earn nothing.
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

    /// Whether there is nothing that people must be called to.
    const fn is_well(self) -> bool {
        match self {
            Self::Told(Ending::Succeeded | Ending::Superseded | Ending::Cancelled) => true,
            Self::Told(
                Ending::Ineffective | Ending::Failed | Ending::Reverted | Ending::Expired | Ending::InDoubt,
            )
            // Nothing was done, and the attempt is spent.
            | Self::Refused(_)
            | Self::Lost => false,
        }
    }
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
            let became = self.budgets.expire(expired.permit, expired.host);
            self.settle(expired.permit, became, scene.now);
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
            let became = self.budgets.give_back(returned.permit, host, returned.used);
            self.settle(returned.permit, became, scene.now);
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
            (Purpose::Offline { check, .. }, _) => (check.clone(), Role::Unit),
        };
        let of = Fingerprint { host: permit.host, check };
        let answers = match role {
            Role::Remediation | Role::Healing => permit.kill.is_none(),
            Role::Unit => true,
            Role::Rehearsal => false,
        };
        if answers {
            self.check_attempts(&of, scene, at);
        }
        self.check_turn(permit, &of, host, scene, at);
        let group = (of.check.service.clone(), host.environment.clone());
        self.spend(permit, &of, &group, scene, at);
        if role == Role::Unit {
            self.check_units(permit, &of, scene, at);
            return self.budgets.give(permit, of, group);
        }
        if answers {
            self.ledger.attempt(&of);
        }
        let mut slope = None;
        if let (Role::Remediation, Purpose::Remediate { remediation, .. }) = (role, &permit.purpose) {
            let earning = (remediation.clone(), host.environment.clone());
            self.check_ramp(&of, &earning, scene, at);
            self.begin(permit, &of, &earning, scene);
            slope = Some(earning);
        }
        self.live.insert(permit.permit, Live { run: permit.run, of, role, slope });
    }

    /// A run outside of drills begins.
    fn begin(&mut self, permit: &Permit, of: &Fingerprint, earning: &Slope, scene: Scene<'_>) {
        self.ledger.fixes(of, None);
        if let Some(answer) = scene.answer(of) {
            self.turns.granted(of, answer, permit.run, scene.now);
        }
        let newest = scene.standing.configuration().and_then(|newest| newest.remediation(&earning.0));
        let quiet = newest.map(|known| known.guard.healthy_for).unwrap_or_default();
        self.ramps.granted(earning, quiet, scene.now);
    }

    /// The window of the guard that stands for the host has room, and has less from here on.
    fn spend(&mut self, permit: &Permit, of: &Fingerprint, group: &Group, scene: Scene<'_>, at: &mut At<'_>) {
        let manifest = permit.playbook.as_ref().and_then(|playbook| scene.standing.manifest(&playbook.digest));
        let spending = Spending {
            group,
            permit: permit.permit,
            units: permit.units.get(),
            reversibility: manifest.map_or(Reversibility::Reversible, Manifest::reversibility),
            now: scene.now,
        };
        if let Some(answer) = scene.answer(of) {
            self.windows.check(&spending, &answer.guard, at);
        }
        if permit.is_offline() {
            self.windows.hold(&spending);
        } else {
            self.windows.spend(&spending);
        }
    }

    /// A budget has no more units than attempts are left.
    fn check_units(&self, permit: &Permit, of: &Fingerprint, scene: Scene<'_>, at: &mut At<'_>) {
        let Some(answer) = scene.answer(of) else { return };
        let left = answer.guard.max_attempts.saturating_sub(self.ledger.of(of).count);
        // Without any another rule has been flagged already.
        if permit.units.get() > left.max(1) {
            at.flag(Rule::Offline, format!("{} units, where {left} attempts are left", permit.units));
        }
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
        let end = End::Told(run.ending);
        if let Some(live) = self.live.get(&run.permit).filter(|live| live.of.host == host).cloned() {
            self.check_called(&live, end, scene, at);
            self.end(run.permit, host, end, scene.now);
        } else if let Some((id, of)) = self.budgets.unit(run.permit, host) {
            let unit = Live { run: id, of, role: Role::Unit, slope: None };
            self.check_called(&unit, end, scene, at);
            self.end_unit(run.permit, &unit, run.ending, scene);
        }
    }

    fn reject(&mut self, host: HostId, rejected: &PermitRejected, scene: Scene<'_>, at: &mut At<'_>) {
        let Some(permit) = rejected.permit.filter(|_| ends_permit(&rejected.because)) else { return };
        if let Some(live) = self.live.get(&permit).filter(|live| live.of.host == host).cloned() {
            let end = End::Refused(turn_after_rejection(&rejected.because));
            self.check_called(&live, end, scene, at);
            self.end(permit, host, end, scene.now);
        } else {
            let became = self.budgets.refuse(permit, host);
            self.settle(permit, became, scene.now);
        }
    }

    /// A run that used the last attempt, or whose end is that of the last turn, calls people.
    fn check_called(&mut self, run: &Live, end: End, scene: Scene<'_>, at: &mut At<'_>) {
        let Some(answer) = scene.answer(&run.of) else { return };
        let count = self.ledger.of(&run.of).count;
        let used_up = match run.role {
            Role::Remediation => count >= answer.guard.max_attempts,
            // Counted when it is told of.
            Role::Unit => count.saturating_add(1) >= answer.guard.max_attempts,
            Role::Healing | Role::Rehearsal => false,
        };
        let last_turn = end.turn() == TurnAfter::Over && self.turns.is_last(&run.of, answer, run.run);
        if (used_up && !end.is_well()) || last_turn {
            self.end_reached(run.of.clone(), at);
        }
    }

    /// A run is over, and its slot free.
    fn end(&mut self, permit: PermitId, host: HostId, end: End, now: UnixMillis) {
        if self.live.get(&permit).is_none_or(|live| live.of.host != host) {
            return;
        }
        let Some(Live { run, of, role, slope }) = self.live.remove(&permit) else { return };
        self.budgets.one_more_is_over();
        match role {
            Role::Remediation => {
                self.ledger.ended(&of, now);
                self.ledger.fixes(&of, Some(now));
            }
            Role::Healing => self.ledger.ended(&of, now),
            // A unit has no slot of its own.
            Role::Rehearsal | Role::Unit => {}
        }
        self.turns.ended(&of, run, end.turn());
        if let Some(slope) = slope {
            self.ramps.ended(&slope, end.came_to(), now);
        }
    }

    /// A run under a unit of a budget given in advance counts when it is told of.
    fn end_unit(&mut self, unit: PermitId, live: &Live, ending: Ending, scene: Scene<'_>) {
        self.budgets.tell(unit);
        self.ledger.attempt(&live.of);
        self.ledger.ended(&live.of, scene.now);
        self.ledger.fixes(&live.of, Some(scene.now));
        if let Some(answer) = scene.answer(&live.of) {
            self.turns.granted(&live.of, answer, live.run, scene.now);
        }
        self.turns.ended(&live.of, live.run, turn_after(ending));
    }

    /// A budget given in advance is over, or less of it was used than was known.
    fn settle(&mut self, permit: PermitId, became: Option<Units>, now: UnixMillis) {
        match became {
            Some(Units::Settled(group, used)) => self.windows.settle(&group, permit, used, now),
            Some(Units::Corrected(group, used)) => self.windows.correct(&group, permit, used),
            None => {}
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
