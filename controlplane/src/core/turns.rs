//! Turns: which rung of a remediation's list is due for a check on a host.
//!
//! A turn begins with the first run on its rung and is over when that run did not help, when its success does not last,
//! when its timeout passes with the check still critical, or at once where the host cannot run the playbook. It never
//! goes back within one problem. A run whose effects may be in progress is never overtaken.

use super::attempts::Fingerprint;
use super::runs::{Run, RunState};
use super::state::State;
use fettle_model::check::{CheckRef, Status};
use fettle_model::escalation::{
    Escalation, MAX_TRIED, Rung, Tried, TriedHow, TurnAfter, turn_after, turn_after_rejection,
};
use fettle_model::id::{HostId, RunId};
use fettle_model::name::{PlaybookName, RemediationName};
use fettle_model::permit::Purpose;
use fettle_model::remediation::Remediation;
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, RequestWithheld};
use std::collections::{BTreeMap, VecDeque};

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The playbook's on this rung.
    Rung(Rung),
    /// People's: every rung's turn is over.
    People,
}

/// What the rung whose turn it is waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// For a permit.
    Free,
    /// For the end of this run.
    Running(RunId),
    /// Its run succeeded: for the check to stay healthy, or to fail again.
    Helped,
}

/// How far one problem has come up its list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    remediation: RemediationName,
    /// How many rungs' turns are over.
    over: u32,
    /// Since when the present turn's timeout counts: its first permit, or the agent's word that it waits for the
    /// playbook. The check was not healthy since.
    since: Option<UnixMillis>,
    hold: Hold,
    tried: VecDeque<Tried>,
}

/// The turns of all problems whose remediation has a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Turns(BTreeMap<Fingerprint, Turn>);

impl Turn {
    fn new(remediation: &RemediationName) -> Self {
        Self { remediation: remediation.clone(), over: 0, since: None, hold: Hold::Free, tried: VecDeque::new() }
    }

    fn pass(&mut self) {
        self.over = self.over.saturating_add(1);
        self.since = None;
        self.hold = Hold::Free;
    }

    fn note(&mut self, rung: Rung, playbook: &PlaybookName, how: TriedHow) {
        self.tried.push_back(Tried { rung, playbook: playbook.clone(), how });
        while self.tried.len() > MAX_TRIED {
            self.tried.pop_front();
        }
    }

    /// When the present turn is over by its timeout, unless something happens before.
    fn over_at(&self, list: &Escalation) -> Option<UnixMillis> {
        match (self.hold, rung_after(self.over, list)) {
            (Hold::Free | Hold::Helped, Due::Rung(rung)) => {
                self.since.zip(list.timeout(rung)).map(|(at, wait)| at.plus(wait))
            }
            (Hold::Running(_), _) | (_, Due::People) => None,
        }
    }

    /// How many turns are over at this time.
    fn over(&self, list: &Escalation, wall: UnixMillis) -> u32 {
        self.over.saturating_add(u32::from(self.over_at(list).is_some_and(|at| at <= wall)))
    }

    /// Takes note of turns that ended by their timeout.
    fn catch_up(&mut self, list: &Escalation, wall: UnixMillis) {
        if self.over(list, wall) > self.over {
            self.pass();
        }
    }
}

fn rung_after(over: u32, list: &Escalation) -> Due {
    let rung = over.checked_add(1).and_then(|number| Rung::try_from(number).ok());
    rung.filter(|rung| list.timeout(*rung).is_some()).map_or(Due::People, Due::Rung)
}

impl Turns {
    fn get(&self, of: &Fingerprint, remediation: &Remediation) -> Option<&Turn> {
        self.0.get(of).filter(|turn| turn.remediation == remediation.name)
    }

    /// The turn of a problem; another remediation's list begins at its first rung.
    fn entry(&mut self, of: &Fingerprint, remediation: &Remediation) -> &mut Turn {
        let turn = self.0.entry(of.clone()).or_insert_with(|| Turn::new(&remediation.name));
        if turn.remediation != remediation.name {
            *turn = Turn::new(&remediation.name);
        }
        turn
    }

    pub(in crate::core) fn due(&self, of: &Fingerprint, remediation: &Remediation, wall: UnixMillis) -> Due {
        let list = &remediation.escalation;
        if list.is_none() {
            return Due::Rung(Rung::FIRST);
        }
        rung_after(self.get(of, remediation).map_or(0, |turn| turn.over(list, wall)), list)
    }

    /// When the turn of the rung that is due is over by its timeout.
    pub(in crate::core) fn over_at(
        &self,
        of: &Fingerprint,
        remediation: &Remediation,
        wall: UnixMillis,
    ) -> Option<UnixMillis> {
        let list = Some(&remediation.escalation).filter(|list| !list.is_none())?;
        self.get(of, remediation)?.over_at(list).filter(|at| *at > wall)
    }

    pub(in crate::core) fn tried(&self, of: &Fingerprint, remediation: &Remediation) -> Vec<Tried> {
        let turn = self.get(of, remediation).filter(|_| !remediation.escalation.is_none());
        turn.map(|turn| turn.tried.iter().cloned().collect()).unwrap_or_default()
    }

    pub(in crate::core) fn granted(&mut self, of: &Fingerprint, remediation: &Remediation, run: RunId, at: UnixMillis) {
        if remediation.escalation.is_none() {
            self.0.remove(of);
        } else {
            let turn = self.entry(of, remediation);
            turn.catch_up(&remediation.escalation, at);
            turn.since.get_or_insert(at);
            turn.hold = Hold::Running(run);
        }
    }

    pub(in crate::core) fn ended(&mut self, run: &Run, end: &RunState) {
        let Some((how, after)) = outcome(run, end) else { return };
        let of = Fingerprint { host: run.permit.host, check: run.check.clone() };
        let waits = |turn: &&mut Turn| turn.hold == Hold::Running(run.permit.run);
        let Some(turn) = self.0.get_mut(&of).filter(waits) else { return };
        turn.note(rung(run), &run.playbook, how);
        match after {
            TurnAfter::Over => turn.pass(),
            TurnAfter::OverIfItFailsAgain => turn.hold = Hold::Helped,
            TurnAfter::GoesOn => turn.hold = Hold::Free,
        }
    }

    /// The check changed its status within its problem.
    pub(in crate::core) fn seen(&mut self, of: &Fingerprint, to: Status) {
        let Some(turn) = self.0.get_mut(of) else { return };
        match (to, turn.hold) {
            (Status::Critical, Hold::Helped) => turn.pass(),
            (Status::Passing | Status::Warning, _) => turn.since = None,
            (Status::Critical | Status::Unknown, _) => {}
        }
    }

    /// An agent said that it does not ask for a rung's run.
    pub(in crate::core) fn withheld(
        &mut self,
        of: &Fingerprint,
        remediation: &Remediation,
        said: &RequestWithheld,
        at: UnixMillis,
    ) {
        let Some(rung) = withheld_rung(said).filter(|rung| self.due(of, remediation, at) == Due::Rung(*rung)) else {
            return;
        };
        // Kept without a list too: an agent says it once, and a list may come.
        let turn = self.entry(of, remediation);
        turn.catch_up(&remediation.escalation, at);
        if rung_after(turn.over, &remediation.escalation) != Due::Rung(rung) {
            return;
        }
        if for_good(said) {
            turn.note(rung, &said.playbook.name, TriedHow::PassedOver);
            turn.pass();
        } else {
            turn.since.get_or_insert(at);
        }
    }

    pub(in crate::core) fn new_problem(&mut self, of: &Fingerprint) {
        self.0.remove(of);
    }
}

/// What came of a run, and what that says about its rung's turn.
fn outcome(run: &Run, end: &RunState) -> Option<(TriedHow, TurnAfter)> {
    let id = run.permit.run;
    match end {
        // A budget given in advance has no turn; the runs under it have.
        RunState::InFlight | RunState::Returned { .. } | RunState::Expired { .. } => None,
        RunState::Ended { ending, .. } => Some((TriedHow::Ended { run: id, ending: *ending }, turn_after(*ending))),
        RunState::Rejected { because, .. } => Some((TriedHow::Rejected { run: id }, turn_after_rejection(because))),
        RunState::Unresolved { .. } => Some((TriedHow::Unresolved { run: id }, TurnAfter::GoesOn)),
    }
}

/// The rung that a run is of.
pub(in crate::core) fn rung(run: &Run) -> Rung {
    match &run.permit.purpose {
        Purpose::Remediate { rung, .. } => *rung,
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => Rung::FIRST,
    }
}

fn withheld_rung(said: &RequestWithheld) -> Option<Rung> {
    match &said.purpose {
        Purpose::Remediate { rung, .. } => Some(*rung),
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => None,
    }
}

/// Whether waiting does not help.
fn for_good(said: &RequestWithheld) -> bool {
    !said.because.iter().all(Hindrance::passes)
}

impl State {
    /// Whose turn it is at a check's present problem on a host: of the rung that a drill there is to prove, or of the
    /// first whose turn is not over.
    #[must_use]
    pub fn due(&self, host: HostId, remediation: &Remediation, wall: UnixMillis) -> Due {
        let of = fingerprint(host, remediation);
        let drill = self.drills.on_host(host).filter(|running| running.check() == of.check);
        let proved = drill.and_then(|running| remediation.rung_of(&running.drill.playbook));
        proved.map_or_else(|| self.turns.due(&of, remediation, wall), Due::Rung)
    }

    /// When the turn of the rung that is due is over by its timeout, where that counts.
    #[must_use]
    pub fn turn_over_at(&self, host: HostId, remediation: &Remediation, wall: UnixMillis) -> Option<UnixMillis> {
        self.turns.over_at(&fingerprint(host, remediation), remediation, wall)
    }

    /// What was tried at a check's present problem on a host, in order; empty without a list.
    #[must_use]
    pub fn tried(&self, host: HostId, remediation: &Remediation) -> Vec<Tried> {
        self.turns.tried(&fingerprint(host, remediation), remediation)
    }

    /// What will have been tried once a run has ended so; empty without a list.
    pub(in crate::core) fn tried_with(&self, run: &Run, remediation: &Remediation, how: TriedHow) -> Vec<Tried> {
        let mut tried = self.tried(run.permit.host, remediation);
        if !remediation.escalation.is_none() {
            tried.push(Tried { rung: rung(run), playbook: run.playbook.clone(), how });
        }
        tried
    }

    /// The same, where that ends the last rung's turn.
    pub(in crate::core) fn last_turn_over(&self, run: &Run, how: TriedHow, after: TurnAfter) -> Option<Vec<Tried>> {
        let remediation = self.answer_on(run.permit.host, &run.check)?;
        let of = fingerprint(run.permit.host, remediation);
        let turn = self.turns.get(&of, remediation)?;
        let last = turn.hold == Hold::Running(run.permit.run)
            && rung_after(turn.over.saturating_add(1), &remediation.escalation) == Due::People;
        match after {
            TurnAfter::Over if last => Some(self.tried_with(run, remediation, how)),
            TurnAfter::Over | TurnAfter::OverIfItFailsAgain | TurnAfter::GoesOn => None,
        }
    }

    /// What will have been tried once an agent's word is taken that it does not ask for a run, where that ends the last
    /// rung's turn.
    pub(in crate::core) fn passed_over(
        &self,
        host: HostId,
        said: &RequestWithheld,
        wall: UnixMillis,
    ) -> Option<(CheckRef, Vec<Tried>)> {
        let Purpose::Remediate { check, remediation: name, .. } = &said.purpose else { return None };
        let remediation = self.answer_on(host, check).filter(|answer| &answer.name == name)?;
        let of = fingerprint(host, remediation);
        let mut after = Turns(self.turns.0.get(&of).map(|turn| (of.clone(), turn.clone())).into_iter().collect());
        after.withheld(&of, remediation, said, wall);
        let over = after.get(&of, remediation).is_some() && after.due(&of, remediation, wall) == Due::People;
        over.then(|| (check.clone(), after.tried(&of, remediation)))
    }
}

fn fingerprint(host: HostId, remediation: &Remediation) -> Fingerprint {
    let check = CheckRef { service: remediation.service.clone(), check: remediation.check.clone() };
    Fingerprint { host, check }
}
