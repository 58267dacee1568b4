//! What people do in a history: they say yes and no, change what they said yes to, and come and go.

use super::{Deeds, Play};
use crate::approvals::plan_of;
use crate::world::{World, admit, name, version, web};
use fettle_controlplane::core::{Authorisation, Outcome, PersonRequest, ProposalState};
use fettle_model::break_glass::{BreakGlassAsked, BreakGlassOpened, MAX_ASK_WAITS};
use fettle_model::check::Status;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{BreakGlassId, HostId, ProposalId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::permit::Target;
use fettle_model::playbook::Action;
use fettle_model::proposal::{Approval, Verdict};
use fettle_model::record::Body;
use fettle_model::remediation::Mode;
use fettle_model::run::Ending;
use proptest::prelude::*;
use proptest::sample::select;
use std::time::Duration;

/// Alice admitted the playbook and wrote the configuration, ann admitted its next version, olga may configure and
/// approve, and dan may do neither.
const PEOPLE: [&str; 6] = ["alice", "ann", "ben", "cid", "dan", "olga"];

/// When Cedar was asked about a yes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cedar {
    Today,
    /// Before whoever says yes lost the role.
    Earlier,
}

/// One thing that people, or an agent that waits for them, do.
#[derive(Debug, Clone, Copy)]
pub(super) enum PeopleStep {
    Propose(usize),
    Approve(usize, usize, Cedar),
    /// Ann, ben and cid do.
    ApproveAll(usize),
    /// A yes to another proposal, sent for this one.
    ApproveAnother(usize, usize),
    Reject(usize, usize),
    /// The host of a proposal asks anew, and is healed where it may.
    Return(usize),
    ReturnWithOtherTargets(usize),
    Move(Move),
}

/// What changes around a proposal.
#[derive(Debug, Clone, Copy)]
pub(super) enum Move {
    Wish(usize, usize),
    Configure(usize, u32),
    /// The other version of the playbook is configured.
    RollOut(usize, &'static str),
    Policies(&'static [u8]),
    RevokeRole(usize),
    Revoke(usize),
    /// Somebody is added, once more or anew: with another key.
    Add(usize),
    BreakGlass(usize, usize),
    Wait(Duration),
}

pub(super) fn people_steps() -> impl Strategy<Value = PeopleStep> {
    let person = || 0_usize..PEOPLE.len();
    let any = || 0_usize..7;
    let cedar = select(vec![Cedar::Today, Cedar::Today, Cedar::Earlier]);
    prop_oneof![
        10 => any().prop_map(PeopleStep::Propose),
        14 => (person(), any(), cedar).prop_map(|(person, which, cedar)| PeopleStep::Approve(person, which, cedar)),
        5 => any().prop_map(PeopleStep::ApproveAll),
        3 => (person(), any()).prop_map(|(person, which)| PeopleStep::ApproveAnother(person, which)),
        1 => (person(), any()).prop_map(|(person, which)| PeopleStep::Reject(person, which)),
        12 => any().prop_map(PeopleStep::Return),
        1 => any().prop_map(PeopleStep::ReturnWithOtherTargets),
        17 => moves().prop_map(PeopleStep::Move),
    ]
}

fn moves() -> impl Strategy<Value = Move> {
    let person = || 0_usize..PEOPLE.len();
    prop_oneof![
        3 => (person(), 0_usize..7).prop_map(|(person, host)| Move::Wish(person, host)),
        1 => (person(), 1_u32..4).prop_map(|(person, approvals)| Move::Configure(person, approvals)),
        1 => (person(), select(vec!["1.0.0", "1.0.1"])).prop_map(|(person, version)| Move::RollOut(person, version)),
        1 => select(vec![b"policies".as_slice(), b"others"]).prop_map(Move::Policies),
        2 => person().prop_map(Move::RevokeRole),
        1 => (1..PEOPLE.len()).prop_map(Move::Revoke),
        5 => person().prop_map(Move::Add),
        2 => (person(), person()).prop_map(|(person, by)| Move::BreakGlass(person, by)),
        1 => (20_u64..70).prop_map(|minutes| Move::Wait(Duration::from_mins(minutes))),
    ]
}

fn person(pick: usize) -> &'static str {
    PEOPLE.get(pick % PEOPLE.len()).expect("somebody")
}

/// What each is given.
fn role_of(person: &str) -> HeldRole {
    match person {
        "ann" | "ben" => HeldRole { role: Role::Approver, team: Some("team-web".parse().expect("a name")) },
        "dan" => Role::Viewer.into(),
        _ => Role::Approver.into(),
    }
}

/// Production in mode approve, with everybody, and two versions of the playbook that are proved.
pub(super) fn gather(world: &mut World) {
    world.modes.insert("production", Mode::Approve);
    assert_eq!(world.configure(), Outcome::Done);
    for person in PEOPLE {
        let addition = world.addition(person, role_of(person), person);
        world.done(addition);
    }
    let next = admit(world.answered_by, "1.0.1", "acme");
    assert_eq!(world.person_by("ann", next), Outcome::Done);
    let staging = "staging".parse().expect("a name");
    let target = world.core.state().hosts().find(|host| host.environment == staging).map(|host| host.id);
    world.playbook.0 = "1.0.1";
    assert_eq!(world.configure(), Outcome::Done);
    // The first version's drill has cooled down.
    world.advance(Duration::from_hours(1));
    world.drill_through(target.expect("a staging host"));
    world.playbook.0 = "1.0.0";
    assert_eq!(world.configure(), Outcome::Done);
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Open,
    Over,
}

impl Play {
    /// A proposal, with its host and what a yes to it has to name.
    fn proposal(&self, which: Which, pick: usize) -> Option<(ProposalId, HostId, DocumentDigest)> {
        let known = self.world.core.state().proposals();
        let wanted = known.iter().filter(|known| match which {
            Which::Open => known.state == ProposalState::Open,
            Which::Over => known.state != ProposalState::Open,
        });
        let found: Vec<_> = wanted.map(|known| (known.proposal.proposal, known.proposal.host, known.request)).collect();
        found.get(pick % found.len().max(1)).copied()
    }

    fn propose(&mut self, pick: usize) {
        let host = self.host(pick);
        if !self.speaks(host) {
            return;
        }
        self.world.becomes(host, Status::Critical);
        let request = self.world.request(host);
        let action = match self.deeds {
            Deeds::Restarts => Action::Restart,
            Deeds::Starts => Action::Start,
        };
        let plan = plan_of(&request, version(self.world.answered_by, self.world.playbook.0), action);
        if crate::approvals::asked(&mut self.world, host, request).is_err() {
            assert_eq!(self.world.say(host, Body::PlanMade(Box::new(plan))), Outcome::Done);
        }
    }

    fn approve(&mut self, by: &str, proposal: ProposalId, request: DocumentDigest, cedar: Cedar) {
        let allowed = match cedar {
            Cedar::Today => self.oracle.approvals.may(&name(by), self.world.now.wall),
            Cedar::Earlier => true,
        };
        let denied = || Authorisation::Denied { policies: Vec::new() };
        let authorised = if allowed { Authorisation::Allowed } else { denied() };
        let approval = Approval { proposal, request, verdict: Verdict::Approve };
        drop(self.world.approves(by, approval, authorised));
    }

    /// It reaches the agents as far as its rollout goes on.
    pub(super) fn configure(&mut self, by: &str) {
        drop(self.world.apply_by(by));
        self.world.roll_on();
    }

    fn break_glass(&mut self, by: &str, confirmed_by: &str) {
        let asked = BreakGlassAsked {
            ask: BreakGlassId::from_uuid(self.world.mint()),
            role: Role::Approver,
            team: None,
            why: "nobody answers".to_owned(),
            expires_at: self.world.now.wall.plus(MAX_ASK_WAITS),
        };
        drop(self.world.of_glass(by, Body::BreakGlassAsked(Box::new(asked.clone())), Authorisation::Allowed));
        if let Some(known) = self.world.core.state().glass(asked.ask) {
            let opened = BreakGlassOpened { ask: asked.ask, asked: known.envelope };
            drop(self.world.of_glass(confirmed_by, Body::BreakGlassOpened(Box::new(opened)), Authorisation::Allowed));
        }
    }

    pub(super) fn people(&mut self, step: PeopleStep) {
        let open = |play: &Self, pick| play.proposal(Which::Open, pick);
        match step {
            PeopleStep::Propose(pick) => self.propose(pick),
            PeopleStep::Approve(by, pick, cedar) => {
                if let Some((proposal, _, request)) = open(self, pick) {
                    self.approve(person(by), proposal, request, cedar);
                }
            }
            PeopleStep::ApproveAll(pick) => {
                if let Some((proposal, _, request)) = open(self, pick) {
                    for by in ["ann", "ben", "cid"] {
                        self.approve(by, proposal, request, Cedar::Today);
                    }
                }
            }
            PeopleStep::ApproveAnother(by, pick) => {
                if let (Some((proposal, _, _)), Some((_, _, request))) =
                    (open(self, pick), self.proposal(Which::Over, 0))
                {
                    self.approve(person(by), proposal, request, Cedar::Today);
                }
            }
            PeopleStep::Reject(by, pick) => {
                if let Some((proposal, _, request)) = open(self, pick) {
                    let no = Approval { proposal, request, verdict: Verdict::Reject { why: "not today".to_owned() } };
                    drop(self.world.approves(person(by), no, Authorisation::Allowed));
                }
            }
            PeopleStep::Return(pick) => {
                if let Some((_, host, _)) = open(self, pick).filter(|(_, host, _)| self.speaks(*host))
                    && let Ok(permit) = self.world.ask(host)
                {
                    self.world.end(&permit, Ending::Succeeded);
                    self.world.becomes(host, Status::Passing);
                }
            }
            PeopleStep::ReturnWithOtherTargets(pick) => {
                if let Some((_, host, _)) = open(self, pick).filter(|(_, host, _)| self.speaks(*host)) {
                    drop(self.world.ask_with(host, |request| {
                        let other = Target::SystemdUnit { unit: "database.service".to_owned() };
                        request.targets.first_mut().expect("a target").target = other;
                    }));
                }
            }
            PeopleStep::Move(step) => self.moves(step),
        }
    }

    fn moves(&mut self, step: Move) {
        let why = || "a move".to_owned();
        match step {
            Move::Wish(by, pick) => {
                let wish = PersonRequest::WishRun { host: self.host(pick), check: web() };
                drop(self.world.person_by(person(by), wish));
            }
            Move::Configure(by, approvals) => {
                self.world.guard.approvals = approvals;
                self.configure(person(by));
            }
            Move::RollOut(by, version) => {
                self.world.playbook.0 = version;
                self.configure(person(by));
            }
            Move::Policies(text) => self.world.policies = DocumentDigest::of(text),
            Move::RevokeRole(of) => {
                let revoked =
                    PersonRequest::RevokeRole { person: name(person(of)), role: role_of(person(of)), why: why() };
                drop(self.world.person(revoked));
            }
            Move::Revoke(of) => {
                drop(self.world.person(PersonRequest::RevokePerson { person: name(person(of)), why: why() }));
            }
            Move::Add(pick) => {
                let key = format!("{} of {}", self.world.mint(), person(pick));
                let addition = self.world.addition(person(pick), role_of(person(pick)), &key);
                drop(self.world.person(addition));
            }
            Move::BreakGlass(by, confirmed_by) => self.break_glass(person(by), person(confirmed_by)),
            Move::Wait(long) => self.world.advance(long),
        }
    }
}
