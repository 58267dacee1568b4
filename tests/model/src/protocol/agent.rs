//! What an agent does, and what a crash does to it: asking, admission, the run with its journal, recovery.
//!
//! Mirrors `agent/src/effector/admission.rs` (whether a permit is accepted), `sandbox/src/machine.rs` (the order of
//! intent, effect and outcome) and `sandbox/src/journal` (what is left after a crash).

use super::flaw::Flaw;
use super::set::{HostNo, PermitNo};
use super::setup::{Class, Mode};
use super::state::{
    Breach, Content, Host, Journal, Kind, NOT_RECEIVED, Orphan, Permit, Person, Phase, Request, Run, State,
};
use super::{Protocol, Step};

/// One thing that an agent or its host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStep {
    /// Keeps and sends a request, in place of one that has lapsed.
    Asks(Kind),
    /// A permit arrives, where that makes a difference.
    Receives(PermitNo),
    /// Accepts a permit, marks it as used, and begins a run.
    Admits(PermitNo),
    /// Refuses a permit for good.
    Refuses(PermitNo),
    /// Journals the intent of an effect that waits for its publication.
    Declares,
    /// Journals the intent where that has not been done, and starts the effect.
    StartsEffect,
    /// The effect happens.
    EffectHappens,
    /// The effect is over; its outcome is journalled and the run ends.
    EndsEffect,
    /// Ends the run without an effect: the fault is gone, time is up, or it was stopped.
    GivesUp,
    /// The agent crashes and starts again. What is on disk stays; an effect goes on without it.
    Crashes,
    /// An effect without its agent happens.
    OrphanHappens,
    /// An effect without its agent is over.
    OrphanEnds,
    /// A run that had intended nothing goes on after a crash.
    Resumes,
    /// Looks at what came of an intent after a crash.
    Looks(PermitNo, Look),
    /// Repeats what it had intended after a crash. Only a flawed agent does.
    Repeats(PermitNo),
    /// Gives units in advance back.
    Returns(PermitNo),
    /// A stop order arrives, of this epoch.
    SeesStop(u8),
}

/// What looking finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Whether the effect happened.
    Told,
    /// It cannot be told.
    CannotTell,
}

/// Why an agent does not accept a permit; the model's share of `PermitRejection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It was used before, or all its units were.
    Replayed,
    /// The lease has run out.
    Expired,
    /// A higher fence was accepted.
    StaleFence,
    /// A newer stop order was seen.
    Stopped,
    /// It allows something else than what is bound on the host.
    TargetsDiffer,
    /// Units in advance are for reversible effects only.
    NotForEscrow,
    /// Another run is in progress, or waits to be looked at.
    Busy,
}

impl Protocol {
    pub(super) fn agent_steps(&self, state: &State, host: HostNo, steps: &mut Vec<Step>) {
        let here = state.host(host);
        let mut may = |step| steps.push(Step::Agent(host, step));
        if self.may_ask(state, here) {
            may(AgentStep::Asks(Kind::Single));
            if self.setup.escrow.is_some_and(|escrow| escrow.host == host) {
                may(AgentStep::Asks(Kind::Escrow));
            }
        }
        // An older one than was seen changes nothing.
        for epoch in here.stop_seen + 1..=state.stop {
            may(AgentStep::SeesStop(epoch));
        }
        for (number, permit) in state.permits().filter(|(_, permit)| permit.host == host) {
            self.permit_steps(state, number, permit, &mut may);
        }
        if let Some(orphan) = here.orphan {
            if orphan.phase == Phase::Acting {
                may(AgentStep::OrphanHappens);
            }
            may(AgentStep::OrphanEnds);
        }
        match here.run {
            Some(run) => self.run_steps(state, here, run, &mut may),
            // Without a run there is nothing to lose but what should have been on disk.
            None if state.left.crashes > 0 && self.has_weak_memory() => may(AgentStep::Crashes),
            None => {}
        }
    }

    /// Whether an effect of a run under this permit waits until its intent is in the log.
    fn waits_for_publication(&self, permit: &Permit) -> bool {
        let pays_in_advance = permit.kind == Kind::Escrow && self.has(Flaw::EscrowForAnyEffect);
        self.class(permit.host) == Class::Irreversible && !self.has(Flaw::IrreversibleUnpublished) && !pays_in_advance
    }

    const fn has_weak_memory(&self) -> bool {
        self.has(Flaw::VolatileJournal) || self.has(Flaw::StopForgotten)
    }

    /// A request that could not be answered any more is not sent: it would change nothing.
    fn may_ask(&self, state: &State, here: &Host) -> bool {
        let lapsed = |request: Request| request.lease_left == 0 || request.content != here.content;
        state.granted() < self.setup.permits && here.waiting.is_none_or(lapsed)
    }

    fn permit_steps(&self, state: &State, number: PermitNo, permit: &Permit, may: &mut impl FnMut(AgentStep)) {
        let here = state.host(permit.host);
        if permit.answered.may_arrive() {
            if permit.lease_left == NOT_RECEIVED {
                may(AgentStep::Receives(number));
            } else {
                match self.admit(state, permit) {
                    Ok(()) => may(AgentStep::Admits(number)),
                    Err(rejection) if ends_permit(rejection) && permit.journal == Journal::Nothing => {
                        may(AgentStep::Refuses(number));
                    }
                    Err(_) => {}
                }
            }
            let unused = matches!(permit.journal, Journal::Nothing | Journal::Idle);
            if permit.kind == Kind::Escrow && unused && here.run.is_none() {
                may(AgentStep::Returns(number));
            }
        }
        let is_over = here.orphan.is_none_or(|orphan| orphan.permit != number);
        if permit.journal == Journal::Intent && here.run.is_none() && (is_over || self.has(Flaw::LooksTooEarly)) {
            if self.has(Flaw::Repeats) {
                may(AgentStep::Repeats(number));
            } else {
                may(AgentStep::Looks(number, Look::Told));
                if permit.kind == Kind::Single {
                    may(AgentStep::Looks(number, Look::CannotTell));
                }
            }
        }
    }

    fn run_steps(&self, state: &State, here: &Host, run: Run, may: &mut impl FnMut(AgentStep)) {
        let permit = state.permit(run.permit);
        let waits = self.waits_for_publication(permit);
        // A second crash while an orphan is there would need two places for orphans; the protocol never has two.
        if state.left.crashes > 0 && here.orphan.is_none() && run.phase != Phase::Suspended {
            may(AgentStep::Crashes);
        }
        match run.phase {
            Phase::Opened => {
                if self.may_start_effect(here, permit, run) {
                    may(if waits { AgentStep::Declares } else { AgentStep::StartsEffect });
                }
                may(AgentStep::GivesUp);
            }
            Phase::Published => {
                if self.may_start_effect(here, permit, run) {
                    may(AgentStep::StartsEffect);
                }
                may(AgentStep::GivesUp);
            }
            Phase::Declared => may(AgentStep::GivesUp),
            Phase::Suspended => may(AgentStep::Resumes),
            Phase::Acting => {
                may(AgentStep::EffectHappens);
                may(AgentStep::EndsEffect);
            }
            Phase::Acted => may(AgentStep::EndsEffect),
        }
    }

    /// Whether a permit that has arrived is accepted. Mirrors `admission::admit`; the first rule that fails is
    /// the reason.
    ///
    /// # Errors
    /// The rule that refuses it.
    pub fn admit(&self, state: &State, permit: &Permit) -> Result<(), Rejection> {
        let here = state.host(permit.host);
        let again = match (permit.kind, permit.journal) {
            (_, Journal::Nothing) => false,
            (Kind::Escrow, Journal::Idle) if permit.uses < self.units(permit.kind) => true,
            (Kind::Escrow, Journal::Returned)
                if self.has(Flaw::EscrowUsedAfterReturn) && permit.uses < self.units(permit.kind) =>
            {
                true
            }
            (Kind::Single | Kind::Escrow, _) => return Err(Rejection::Replayed),
        };
        if permit.lease_left == 0 {
            return Err(Rejection::Expired);
        }
        let is_stale = if again { permit.fence < here.highest_fence } else { permit.fence <= here.highest_fence };
        if is_stale && !self.has(Flaw::FenceIgnored) {
            return Err(Rejection::StaleFence);
        }
        if permit.content != here.content && !self.has(Flaw::TargetsNotCompared) {
            return Err(Rejection::TargetsDiffer);
        }
        if permit.kind == Kind::Escrow
            && self.class(permit.host) == Class::Irreversible
            && !self.has(Flaw::EscrowForAnyEffect)
        {
            return Err(Rejection::NotForEscrow);
        }
        if self.is_stopped(here, permit) {
            return Err(Rejection::Stopped);
        }
        let is_open = |(_, other): (_, &Permit)| other.host == permit.host && other.journal.is_open();
        if here.run.is_some() || state.permits().any(is_open) { Err(Rejection::Busy) } else { Ok(()) }
    }

    /// Mirrors `admission::not_stopped`. Asked at admission and again before each effect.
    const fn is_stopped(&self, here: &Host, permit: &Permit) -> bool {
        permit.stop < here.stop_seen && !self.has(Flaw::StopIgnored)
    }

    const fn may_start_effect(&self, here: &Host, permit: &Permit, run: Run) -> bool {
        run.left > 0 && !self.is_stopped(here, permit)
    }

    pub(super) fn agent_step(&self, state: &mut State, host: HostNo, step: AgentStep) {
        match step {
            AgentStep::Asks(kind) => {
                let lease_left = self.lease(kind);
                let here = state.host_mut(host);
                here.waiting = Some(Request { kind, content: here.content, lease_left });
            }
            AgentStep::Receives(number) => {
                let lease_left = self.lease(state.permit(number).kind);
                state.permit_mut(number).lease_left = lease_left;
            }
            AgentStep::Admits(number) => self.begin_run(state, number),
            AgentStep::Refuses(number) => self.close(state.permit_mut(number), Journal::NotApplied),
            AgentStep::Declares => {
                if let Some(run) = &mut state.host_mut(host).run {
                    run.phase = Phase::Declared;
                    let number = run.permit;
                    state.permit_mut(number).journal = Journal::Intent;
                }
            }
            AgentStep::StartsEffect => self.start_effect(state, host),
            AgentStep::EffectHappens | AgentStep::OrphanHappens => happen(state, host, step),
            AgentStep::EndsEffect => {
                if let Some(run) = state.host_mut(host).run.take() {
                    let outcome = if run.phase == Phase::Acted { Journal::Done } else { Journal::NotApplied };
                    self.close(state.permit_mut(run.permit), outcome);
                }
            }
            AgentStep::GivesUp => {
                if let Some(run) = state.host_mut(host).run.take() {
                    self.close(state.permit_mut(run.permit), Journal::NotApplied);
                }
            }
            AgentStep::Crashes => self.crash(state, host),
            AgentStep::OrphanEnds => state.host_mut(host).orphan = None,
            AgentStep::Resumes => {
                if let Some(run) = &mut state.host_mut(host).run {
                    run.phase = Phase::Opened;
                }
            }
            AgentStep::Looks(number, look) => {
                let permit = state.permit_mut(number);
                let found = match look {
                    Look::CannotTell => Journal::InDoubt,
                    Look::Told if permit.effects > 0 => Journal::Done,
                    Look::Told => Journal::NotApplied,
                };
                self.close(permit, found);
            }
            AgentStep::Repeats(permit) => {
                let left = self.setup.timing.effect_within;
                state.host_mut(host).run = Some(Run { permit, phase: Phase::Acting, left });
            }
            AgentStep::Returns(number) => self.end(state.permit_mut(number), Journal::Returned),
            AgentStep::SeesStop(epoch) => {
                let here = state.host_mut(host);
                here.stop_seen = epoch;
                here.stop_arrived = here.stop_arrived.max(epoch);
            }
        }
    }

    fn begin_run(&self, state: &mut State, number: PermitNo) {
        let left = self.setup.timing.run_within + 1;
        let permit = state.permit_mut(number);
        permit.journal = Journal::Used;
        permit.uses += 1;
        let Permit { host, fence, stop, .. } = *permit;
        let here = state.host_mut(host);
        here.run = Some(Run { permit: number, phase: Phase::Opened, left });
        let is_stale = fence < here.fence_accepted;
        here.highest_fence = here.highest_fence.max(fence);
        here.fence_accepted = here.fence_accepted.max(fence);
        here.stop_seen = here.stop_seen.max(stop);
        here.stop_arrived = here.stop_arrived.max(stop);
        if is_stale {
            state.breaches.insert(Breach::StaleFence);
        }
    }

    fn start_effect(&self, state: &mut State, host: HostNo) {
        let Some(run) = state.host(host).run else { return };
        let permit = *state.permit(run.permit);
        if !self.has(Flaw::IntentAfterEffect) {
            state.permit_mut(run.permit).journal = Journal::Intent;
        }
        let here = state.host_mut(host);
        let is_late = here.stop_arrived > permit.stop;
        let executed = if self.has(Flaw::TargetsNotCompared) { here.content } else { permit.content };
        here.run = Some(Run { phase: Phase::Acting, left: self.setup.timing.effect_within, ..run });
        if is_late {
            state.breaches.insert(Breach::AfterStop);
        }
        if self.class(host) == Class::Irreversible && run.phase != Phase::Published {
            state.breaches.insert(Breach::Unpublished);
        }
        if self.mode(host) == Mode::Approve && !is_approved(&permit, executed) {
            state.breaches.insert(Breach::Unapproved);
        }
    }

    fn crash(&self, state: &mut State, host: HostNo) {
        state.left.crashes -= 1;
        let here = state.host_mut(host);
        if let Some(run) = here.run.take() {
            match run.phase {
                Phase::Opened | Phase::Suspended if self.has(Flaw::VolatileJournal) => {}
                Phase::Opened | Phase::Suspended => here.run = Some(Run { phase: Phase::Suspended, ..run }),
                Phase::Declared | Phase::Published => {}
                Phase::Acting | Phase::Acted => {
                    here.orphan = Some(Orphan { permit: run.permit, phase: run.phase, left: run.left });
                    // What it was about is not on disk: the run would begin again.
                    if self.has(Flaw::IntentAfterEffect) {
                        let left = self.setup.timing.run_within + 1;
                        here.run = Some(Run { phase: Phase::Suspended, left, ..run });
                    }
                }
            }
        }
        if self.has(Flaw::StopForgotten) {
            here.stop_seen = 0;
        }
        if self.has(Flaw::VolatileJournal) {
            here.highest_fence = 0;
            for permit in state.permits_mut().filter(|permit| permit.host == host) {
                permit.journal = Journal::Nothing;
                permit.uses = 0;
            }
        }
    }
}

impl Protocol {
    /// Journals an outcome. Units in advance stay good for what is left of them.
    fn close(&self, permit: &mut Permit, outcome: Journal) {
        match permit.kind {
            Kind::Escrow if permit.uses > 0 => permit.journal = Journal::Idle,
            Kind::Escrow => self.end(permit, Journal::Returned),
            Kind::Single => self.end(permit, outcome),
        }
    }

    /// Nothing happens under this permit any more. In the protocol as it is, its lease never matters again.
    fn end(&self, permit: &mut Permit, outcome: Journal) {
        permit.journal = outcome;
        if self.flaws.is_empty() {
            permit.lease_left = 0;
        }
    }
}

/// Whether a refusal is reported, and ends the permit. Mirrors `runs::ends_permit`.
const fn ends_permit(rejection: Rejection) -> bool {
    match rejection {
        Rejection::Replayed => false,
        Rejection::Expired
        | Rejection::StaleFence
        | Rejection::Stopped
        | Rejection::TargetsDiffer
        | Rejection::NotForEscrow
        | Rejection::Busy => true,
    }
}

fn is_approved(permit: &Permit, executed: Content) -> bool {
    permit.approval.is_some_and(|approval| approval.content == executed && approval.by == Person::Other)
}

fn happen(state: &mut State, host: HostNo, step: AgentStep) {
    let here = state.host_mut(host);
    let number = if step == AgentStep::OrphanHappens {
        here.orphan.as_mut().map(|orphan| {
            orphan.phase = Phase::Acted;
            orphan.permit
        })
    } else {
        here.run.as_mut().map(|run| {
            run.phase = Phase::Acted;
            run.permit
        })
    };
    let Some(number) = number else { return };
    let permit = state.permit_mut(number);
    permit.effects += 1;
    if matches!(permit.journal, Journal::Nothing | Journal::Used) {
        state.breaches.insert(Breach::WithoutIntent);
    }
}
