//! What the agents would ask in a replay, what the governor says to it, and what becomes of the runs.
//!
//! An agent asks when it asked then, or at once where it had no rule to ask by; again when a refusal says so, when what
//! stood in the way has changed, and when the run on its host has ended without help.

use super::past::{FaultKey, PastEnd};
use super::replay::{Due, Ends, MAX_DECISIONS, Open, Place, Replay, ReplayError, Waits};
use super::rows::RowId;
use crate::core::authorisation::facts_for_authorisation;
use crate::core::decide::endings::counted;
use crate::core::foresight;
use crate::core::governor::{Case, EFFECT_WITHIN, Verdict, judge};
use crate::core::turns;
use fettle_model::check::{Status, Transition};
use fettle_model::counter::TransitionEpoch;
use fettle_model::digest::{DocumentDigest, EnvelopeDigest};
use fettle_model::escalation::Rung;
use fettle_model::id::{HostId, PermitId, RequestId, RunId};
use fettle_model::name::PlaybookName;
use fettle_model::permit::{Permit, PermitRequest};
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Mode;
use fettle_model::run::{Ending, RunRecord};
use fettle_model::simulation::{Assume, EndedBy, Says, SimulatedDecision};
use fettle_model::time::UnixMillis;
use std::time::Duration;
use uuid::Uuid;

/// Begins every id that a replay mints, so that none is one of the log's: no version of a UUID has this form.
const MINTED: u128 = 0x51_u128 << 120;

/// The shortest time after which an agent asks again: so long the answer to its last request took.
const ASKS_AGAIN: Duration = Duration::from_millis(1);

/// How long an agent waits for a check to settle after a run has seen that the fault is gone: at an interval of ten seconds,
/// five of them.
const SETTLES: Duration = Duration::from_mins(1);

/// What an agent asks about a fault.
struct Question {
    row: RowId,
    key: FaultKey,
    rung: Rung,
    playbook: PlaybookName,
    request: PermitRequest,
}

impl Replay<'_> {
    fn mint(&mut self) -> Uuid {
        self.minted = self.minted.saturating_add(1);
        Uuid::from_u128(MINTED | u128::from(self.minted))
    }

    fn comes_due(&mut self, at: UnixMillis, due: Due) {
        self.minted = self.minted.saturating_add(1);
        self.agenda.insert((at, self.minted), due);
    }

    fn waits(&self, place: &Place) -> Option<Waits> {
        self.open.get(place).map(|open| open.waits)
    }

    fn wait(&mut self, place: &Place, waits: Waits) {
        if let Some(open) = self.open.get_mut(place) {
            open.waits = waits;
        }
    }

    /// The agent asked now, or said that it does not.
    pub(super) fn at_its_moment(&mut self, place: &Place) -> Result<(), ReplayError> {
        if self.waits(place) == Some(Waits::ItsMoment) { self.ask(place) } else { Ok(()) }
    }

    /// The time has come at which a refusal let the agent ask again.
    pub(super) fn ask_in_time(&mut self, place: &Place) -> Result<(), ReplayError> {
        match self.waits(place) {
            Some(Waits::Until(at)) if at <= self.now.wall => self.ask(place),
            Some(Waits::Until(_) | Waits::ItsMoment | Waits::Change) | None => Ok(()),
        }
    }

    /// What stood in the way may be gone.
    pub(super) fn ask_after_change(&mut self, place: &Place) -> Result<(), ReplayError> {
        if self.waits(place) == Some(Waits::Change) { self.ask(place) } else { Ok(()) }
    }

    /// The run on a host has ended: its agent asks about whatever is still critical.
    pub(super) fn ask_on(&mut self, host: HostId) -> Result<(), ReplayError> {
        let places: Vec<Place> = self.open.keys().filter(|(of, _)| *of == host).cloned().collect();
        places.iter().try_for_each(|place| self.ask_after_change(place))
    }

    pub(super) fn ask(&mut self, place: &Place) -> Result<(), ReplayError> {
        self.wait(place, Waits::Change);
        let (request, run) = (RequestId::from_uuid(self.mint()), RunId::from_uuid(self.mint()));
        let permit = PermitId::from_uuid(self.mint());
        let Some(question) = self.question(place) else { return Ok(()) };
        self.decisions = self.decisions.saturating_add(1);
        if self.decisions > MAX_DECISIONS {
            return Err(ReplayError::TooManyDecisions);
        }
        let said = self.past.withheld(&question.key).filter(|said| said.playbook.name == question.playbook);
        if let Some(because) = said.map(|said| said.because.clone()) {
            self.note(&question, Says::Withheld { because });
            return Ok(());
        }
        let question = Question { request: PermitRequest { request, run, ..question.request }, ..question };
        match self.judged(&question, permit) {
            None => Ok(()),
            Some(Verdict::Granted(permit)) => self.granted(place, &question, *permit),
            Some(Verdict::Refused(refusal)) => self.refused(place, &question, *refusal),
        }
    }

    /// What the agent asks: what it asked then, or else what it would ask, for the rung that is due under the edit.
    /// `None` where it asks nothing now.
    fn question(&self, place: &Place) -> Option<Question> {
        let (state, open): (_, &Open) = (self.core.state(), self.open.get(place)?);
        let (host, check) = (state.host(place.0)?, &place.1);
        let goes_on = |seen: &Transition| seen.to == Status::Critical && seen.epoch == open.epoch;
        // An agent asks for one run at a time; after that one it asks for this.
        if !goes_on(&host.checks.get(check)?.transition) || state.runs.on_host(host.id).is_some() {
            return None;
        }
        let answer = state.answer_on(host.id, check)?;
        let rung = match state.due(host.id, answer, self.now.wall) {
            turns::Due::Rung(rung) => rung,
            turns::Due::People => Rung::FIRST,
        };
        let placed = answer.at(rung)?;
        let mut request = foresight::request(state, host, rung, &placed, check);
        let of_this_playbook = |then: &&PermitRequest| {
            let known = then.playbook.and_then(|digest| state.playbook(&digest));
            known.is_some_and(|known| known.admission.manifest.playbook.name == placed.playbook.name)
        };
        if let Some(then) = self.past.request(&open.key).filter(of_this_playbook) {
            request.targets.clone_from(&then.targets);
            (request.boot, request.sent_at) = (then.boot, then.sent_at);
        }
        let playbook = placed.playbook.name.clone();
        Some(Question { row: open.row, key: open.key.clone(), rung, playbook, request })
    }

    fn judged(&self, question: &Question, permit: PermitId) -> Option<Verdict> {
        let (state, request) = (self.core.state(), &question.request);
        let authorised = (self.terms.authorise)(&facts_for_authorisation(state, request));
        Some(judge(&Case {
            state,
            reclaims: self.core.reclaims(),
            now: self.now,
            host: state.host(request.host)?,
            request,
            authorised: &authorised,
            permit,
            policies: &self.terms.policies,
        }))
    }

    fn note(&mut self, question: &Question, says: Says) {
        let (rung, playbook) = (question.rung, question.playbook.clone());
        self.rows.decided(question.row, SimulatedDecision { at: self.now.wall, rung, playbook, says });
    }

    fn refused(&mut self, place: &Place, question: &Question, refusal: Refusal) -> Result<(), ReplayError> {
        let retry_at = refusal.retry_at.map(|at| at.max(self.now.wall.plus(ASKS_AGAIN)));
        self.note(question, said_no(&refusal));
        self.own(Body::PermitRefused(Box::new(refusal)))?;
        if let Some(at) = retry_at {
            self.wait(place, Waits::Until(at));
            self.comes_due(at, Due::Ask(place.clone()));
        }
        Ok(())
    }

    fn granted(&mut self, place: &Place, question: &Question, permit: Permit) -> Result<(), ReplayError> {
        let epoch = self.open.get(place).map(|open| open.epoch);
        let id = permit.permit;
        let (ending, after, by) = match self.past.next_end(&question.key, &question.playbook) {
            Some(PastEnd { run, ending, took }) => (ending, took, EndedBy::Record { run }),
            None => (assumed(self.terms.assume), EFFECT_WITHIN, EndedBy::Assumption),
        };
        let ends = self.now.wall.plus(after);
        self.note(question, Says::Acts { ending, ends, by });
        self.own(Body::PermitGranted(Box::new(permit)))?;
        // A success was confirmed by the check itself; where the log has the recovery, it comes before the run's end.
        let helps = epoch.filter(|_| ending == Ending::Succeeded);
        self.comes_due(ends, Due::End(Ends { permit: id, place: place.clone(), ending, helps }));
        Ok(())
    }

    /// A simulated run ends.
    pub(super) fn end(&mut self, ends: &Ends) -> Result<(), ReplayError> {
        self.rows.ended();
        let state = self.core.state();
        let Some(run) = state.runs.in_flight_under(ends.permit) else { return Ok(()) };
        let host = run.permit.host;
        let (report, follows) = (report(&run.permit, ends, self.now.wall), counted(state, run, ends.ending, self.now));
        self.agent(host, Body::RunEnded(Box::new(report)), EnvelopeDigest::of(&[]))?;
        for body in follows {
            self.own(body)?;
        }
        if let Some(epoch) = ends.helps {
            self.recovers(&ends.place, epoch)?;
        } else if self.waits(&ends.place).is_some() && ends.ending == Ending::Superseded {
            // The log's own recovery comes a little later.
            let settled = self.now.wall.plus(SETTLES);
            self.wait(&ends.place, Waits::Until(settled));
            self.comes_due(settled, Due::Ask(ends.place.clone()));
        }
        self.ask_on(host)
    }

    /// The check passes where the log does not say so already: a run has helped.
    fn recovers(&mut self, place: &Place, epoch: TransitionEpoch) -> Result<(), ReplayError> {
        if self.open.get(place).is_none_or(|open| open.epoch != epoch) {
            return Ok(());
        }
        self.open.remove(place);
        let passes = Transition {
            of: place.1.clone(),
            epoch: epoch.next(),
            from: Status::Critical,
            to: Status::Passing,
            at: self.now.wall,
            reason: "a run has helped".to_owned(),
        };
        self.agent(place.0, Body::TransitionSeen(Box::new(passes)), EnvelopeDigest::of(&[]))
    }
}

const fn assumed(assume: Assume) -> Ending {
    match assume {
        Assume::Succeeded => Ending::Succeeded,
        Assume::Failed => Ending::Failed,
    }
}

/// What a refusal comes to: where only the mode speaks against it, people are asked or a plan is recorded.
fn said_no(refusal: &Refusal) -> Says {
    let mode = |reason: &Reason| if let Reason::Mode { mode, .. } = reason { Some(*mode) } else { None };
    let modes: Option<Vec<Mode>> = refusal.reasons.iter().map(mode).collect();
    match modes.as_deref() {
        Some([Mode::Approve]) => Says::Proposes,
        Some([Mode::Observe]) => Says::Plans,
        Some(_) | None => Says::Refuses { reasons: refusal.reasons.clone(), times: 1 },
    }
}

fn report(permit: &Permit, ends: &Ends, at: UnixMillis) -> RunRecord {
    RunRecord {
        run: permit.run,
        permit: permit.permit,
        request: permit.request,
        host: permit.host,
        purpose: permit.purpose.clone(),
        playbook: permit.playbook.clone(),
        started_at: at,
        ended_at: at,
        ending: ends.ending,
        summary: String::new(),
        claim: None,
        confirmed: None,
        steps: Vec::new(),
        undone: Vec::new(),
        said: Vec::new(),
        resumed: 0,
        fuel: 0,
        journal: DocumentDigest::of(&[]),
    }
}
