//! What a control plane does: granting, answering, taking reports, giving slots back, starting again, and taking over.
//!
//! Mirrors `controlplane/src/core/governor` (whether a permit is granted), `core/decide/agent.rs` (a request that was
//! answered is answered with the same permit), `core/reclaim.rs` (when a slot comes back) and `journal.rs` (an append under
//! an old epoch is refused). Everything that it decides upon follows from the log; an old leader's log has stopped.

use super::flaw::Flaw;
use super::set::{HostNo, PermitNo, PermitSet};
use super::setup::{Level, Mode, Scope};
use super::state::{
    Answered, Approval, Content, Journal, Kind, NOT_RECEIVED, Permit, Person, Phase, Request, Standing, State, Switch,
    View,
};
use super::{Protocol, Step};

/// Which of two control planes that believe that they lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leader {
    /// The one under whose epoch the log takes records.
    Current,
    /// The one before it, which has not noticed.
    Old,
}

/// A request that arrives, perhaps not for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The one for which this host waits.
    Waiting(HostNo),
    /// The one that this permit answers.
    Answered(PermitNo),
}

/// One thing that a control plane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderStep {
    /// Decides to grant, and appends.
    Grants(Asked, Leader),
    /// Sends a permit that is in the log, as an answer to its request.
    Answers(PermitNo),
    /// Appends what an agent reports at the end of a permit.
    TakesReport(PermitNo),
    /// Gives back the slot of a permit of which nothing was heard in time.
    Reclaims(PermitNo),
    /// Appends an agent's intent.
    PublishesIntent(HostNo),
    /// Crashes, and starts again from its log.
    StartsAgain,
    /// Another control plane takes over under the next epoch.
    IsTakenOver,
}

impl Protocol {
    pub(super) fn leader_steps(&self, state: &State, steps: &mut Vec<Step>) {
        let mut may = |step| steps.push(Step::Leader(step));
        for leader in [Some(Leader::Current), state.old.map(|_| Leader::Old)].into_iter().flatten() {
            self.grants(state, leader, &mut may);
        }
        for (number, permit) in state.permits() {
            if !permit.answered.may_arrive() {
                may(LeaderStep::Answers(number));
            }
            if permit.standing == Standing::InFlight {
                if permit.journal.report().is_some() {
                    may(LeaderStep::TakesReport(number));
                }
                if permit.hold_left == 0 {
                    may(LeaderStep::Reclaims(number));
                }
            }
        }
        for host in self.hosts() {
            if state.host(host).run.is_some_and(|run| run.phase == Phase::Declared) {
                may(LeaderStep::PublishesIntent(host));
            }
        }
        if state.left.restarts > 0 {
            may(LeaderStep::StartsAgain);
        }
        if state.left.takeovers > 0 {
            may(LeaderStep::IsTakenOver);
        }
    }

    fn grants(&self, state: &State, leader: Leader, may: &mut impl FnMut(LeaderStep)) {
        if state.granted() == self.setup.permits {
            return;
        }
        let waiting = self.hosts().map(Asked::Waiting);
        let answered = state.permits().map(|(number, _)| Asked::Answered(number));
        for asked in waiting.chain(answered) {
            if self.grants_to(state, leader, asked) {
                may(LeaderStep::Grants(asked, leader));
                // The log refuses it whatever it is.
                if self.is_refused(leader) {
                    return;
                }
            }
        }
    }

    /// Whether the log refuses what this leader appends. Mirrors `Journal::append`.
    fn is_refused(&self, leader: Leader) -> bool {
        leader == Leader::Old && !self.has(Flaw::OldLeaderNotFenced)
    }

    /// Whether this leader grants a permit to this request. Mirrors `governor::judge`.
    fn grants_to(&self, state: &State, leader: Leader, asked: Asked) -> bool {
        let Some((host, request)) = request(state, asked) else { return false };
        let view = self.view(state, leader);
        !is_answered_for(state, &view, asked)
            && view.switch == Switch::On
            && (!self.is_busy(state, &view, host) || self.has(Flaw::BusyHostGranted))
            && self.has_room(state, &view, host, request.kind)
            && self.is_approved(state, host, request.content)
    }

    /// The log as this leader has it. Mirrors `core::state::State`, a projection of the log.
    fn view(&self, state: &State, leader: Leader) -> View {
        match (leader, state.old) {
            (Leader::Old, Some(old)) => old,
            (Leader::Current | Leader::Old, _) => self.read_log(state),
        }
    }

    fn read_log(&self, state: &State) -> View {
        let mut view = View {
            known: PermitSet::default(),
            in_flight: PermitSet::default(),
            refunded: PermitSet::default(),
            stop: state.stop,
            switch: state.switch,
        };
        for (number, permit) in state.permits() {
            if !self.has(Flaw::AnswersForgotten) || state.remembered.contains(number) {
                view.known.insert(number);
            }
            if permit.standing == Standing::InFlight {
                view.in_flight.insert(number);
            }
            if self.is_refunded(permit) {
                view.refunded.insert(number);
            }
        }
        view
    }

    /// Whether a permit counts against no budget: its agent reported that nothing was done.
    fn is_refunded(&self, permit: &Permit) -> bool {
        match permit.standing {
            Standing::NotApplied => true,
            Standing::Unresolved => match permit.kind {
                Kind::Single => self.has(Flaw::RefundOnReclaim),
                Kind::Escrow => self.has(Flaw::EscrowRefundOnExpiry),
            },
            Standing::InFlight | Standing::Done | Standing::InDoubt | Standing::Returned => false,
        }
    }

    /// Whether the host holds a permit. Mirrors `governor::checks::host`.
    fn is_busy(&self, state: &State, view: &View, host: HostNo) -> bool {
        state.permits().any(|(number, permit)| permit.host == host && view.in_flight.contains(number))
    }

    /// Whether every scope of the host has a slot and the units. Mirrors `governor::checks::group`.
    fn has_room(&self, state: &State, view: &View, host: HostNo, kind: Kind) -> bool {
        let asked = |scope: &&Scope| {
            scope.hosts.contains(host) && (scope.level == Level::Service || !self.has(Flaw::OuterScopesIgnored))
        };
        self.setup.scopes.iter().filter(asked).all(|scope| {
            let slots: u8 = if self.takes_slot(kind) { 1 } else { 0 };
            let units = if self.is_debited(kind) { self.units(kind) } else { 0 };
            let (in_flight, debited) = self.spent(state, view, scope);
            in_flight + slots <= scope.in_flight && debited + units <= scope.budget
        })
    }

    /// What a scope has in flight and debited, as this view has it. Mirrors `groups::Group::in_flight`.
    fn spent(&self, state: &State, view: &View, scope: &Scope) -> (u8, u8) {
        let (mut in_flight, mut debited) = (0, 0);
        for (number, permit) in state.permits().filter(|(_, permit)| scope.hosts.contains(permit.host)) {
            if view.in_flight.contains(number) && self.takes_slot(permit.kind) {
                in_flight += 1;
            }
            let is_known = view.known.contains(number) || self.has(Flaw::AnswersForgotten);
            if is_known && !view.refunded.contains(number) && self.is_debited(permit.kind) {
                debited += self.debit(permit);
            }
        }
        (in_flight, debited)
    }

    /// Units that a permit has cost: those that were used, once its agent returned the rest.
    fn debit(&self, permit: &Permit) -> u8 {
        match permit.standing {
            Standing::Returned => permit.uses,
            Standing::InFlight | Standing::Done | Standing::NotApplied | Standing::InDoubt | Standing::Unresolved => {
                self.units(permit.kind)
            }
        }
    }

    fn takes_slot(&self, kind: Kind) -> bool {
        kind == Kind::Single || !self.has(Flaw::EscrowWithoutSlot)
    }

    fn is_debited(&self, kind: Kind) -> bool {
        kind == Kind::Single || !self.has(Flaw::EscrowWithoutDebit)
    }

    /// Whether somebody said yes to exactly this, where that is needed.
    fn is_approved(&self, state: &State, host: HostNo, content: Content) -> bool {
        match (self.mode(host), state.approval) {
            (Mode::Auto, _) => true,
            (Mode::Approve, None) => false,
            (Mode::Approve, Some(Approval { content: approved, by })) => {
                (approved == content || self.has(Flaw::ApprovalNotBound))
                    && (by == Person::Other || self.has(Flaw::ApprovesOwn))
            }
        }
    }

    /// Units that are debited in a scope, as the log has it.
    pub(crate) fn debited(&self, state: &State, scope: &Scope) -> u8 {
        self.spent(state, &self.read_log(state), scope).1
    }

    pub(super) fn leader_step(&self, state: &mut State, step: LeaderStep) {
        match step {
            LeaderStep::Grants(asked, leader) => self.grant(state, asked, leader),
            LeaderStep::Answers(number) => {
                let permit = state.permit_mut(number);
                permit.answered = match permit.answered {
                    Answered::NotYet | Answered::Sent => Answered::Sent,
                    Answered::CutOff | Answered::SentByAnother => Answered::SentByAnother,
                };
            }
            LeaderStep::TakesReport(number) => {
                let permit = state.permit_mut(number);
                if let Some(standing) = permit.journal.report() {
                    permit.standing = standing;
                    permit.hold_left = 0;
                }
            }
            LeaderStep::Reclaims(number) => state.permit_mut(number).standing = Standing::Unresolved,
            LeaderStep::PublishesIntent(host) => {
                if let Some(run) = &mut state.host_mut(host).run {
                    run.phase = Phase::Published;
                }
            }
            LeaderStep::StartsAgain => {
                state.left.restarts -= 1;
                state.remembered = PermitSet::default();
                self.start_from_log(state);
            }
            LeaderStep::IsTakenOver => {
                state.left.takeovers -= 1;
                state.old = Some(self.read_log(state));
                state.leader += 1;
                self.start_from_log(state);
            }
        }
    }

    /// Nobody knows how much time has passed, so every slot is held in full, and no answer is on its way. Mirrors `Reclaims::on_start`.
    fn start_from_log(&self, state: &mut State) {
        let forgotten = self.has(Flaw::HoldForgottenOnStart);
        for permit in state.permits_mut().filter(|permit| permit.standing == Standing::InFlight) {
            permit.hold_left = if forgotten { 0 } else { self.hold(permit.kind) };
            if permit.answered == Answered::NotYet {
                permit.answered = Answered::CutOff;
            }
        }
    }

    /// Appends a permit. A leader whom the log refuses ends (`leader::batch`).
    fn grant(&self, state: &mut State, asked: Asked, leader: Leader) {
        if self.is_refused(leader) {
            state.old = None;
            return;
        }
        let Some((host, request)) = request(state, asked) else { return };
        let view = self.view(state, leader);
        let number = state.next_permit();
        let known = |(number, permit): &(PermitNo, &Permit)| {
            permit.host == host && (leader == Leader::Current || view.known.contains(*number))
        };
        let fence = state.permits().filter(known).map(|(_, permit)| permit.fence).max().unwrap_or(0) + 1;
        state.append(Permit {
            host,
            request: match asked {
                Asked::Waiting(_) => number,
                Asked::Answered(first) => state.permit(first).request,
            },
            kind: request.kind,
            content: request.content,
            approval: self.approval_for(host, state.approval),
            fence,
            stop: view.stop,
            leader: match leader {
                Leader::Current => state.leader,
                Leader::Old => state.leader - 1,
            },
            standing: Standing::InFlight,
            answered: Answered::NotYet,
            hold_left: self.hold(request.kind),
            lease_left: self.lease_at_grant(host, request),
            journal: Journal::Nothing,
            uses: 0,
            effects: 0,
        });
        match asked {
            Asked::Waiting(host) => state.host_mut(host).waiting = None,
            Asked::Answered(_) => {}
        }
        match (leader, &mut state.old) {
            (Leader::Old, Some(old)) => {
                old.known.insert(number);
                old.in_flight.insert(number);
            }
            (Leader::Current | Leader::Old, _) => {}
        }
        if self.has(Flaw::AnswersForgotten) {
            state.remembered.insert(number);
        }
        if state.granted() == self.setup.permits {
            for host in self.hosts() {
                state.host_mut(host).waiting = None;
            }
        }
    }

    fn lease_at_grant(&self, host: HostNo, request: Request) -> u8 {
        if self.has(Flaw::LeaseFromReceipt) {
            NOT_RECEIVED
        } else if self.has(Flaw::LeaseByWallClock) {
            let behind = if host == HostNo(0) { self.setup.timing.wall_behind } else { 0 };
            self.lease(request.kind) + behind
        } else {
            request.lease_left
        }
    }
}

/// Whether this request has its permit. Mirrors `State::answer`.
fn is_answered_for(state: &State, view: &View, asked: Asked) -> bool {
    match asked {
        Asked::Waiting(_) => false,
        Asked::Answered(first) => {
            let request = state.permit(first).request;
            state.permits().any(|(number, permit)| permit.request == request && view.known.contains(number))
        }
    }
}

fn request(state: &State, asked: Asked) -> Option<(HostNo, Request)> {
    match asked {
        Asked::Waiting(host) => state.host(host).waiting.map(|request| (host, request)),
        Asked::Answered(number) => {
            let Permit { host, kind, content, lease_left, .. } = *state.permit(number);
            Some((host, Request { kind, content, lease_left }))
        }
    }
}
