//! Mode `approve`: what is proposed, who may say yes to it, and what takes a yes away again.

use crate::world::{World, name, version, web};
use fettle_controlplane::core::{Authorisation, Involvement, Outcome, PersonRefusal, PersonRequest, ProposalState};
use fettle_model::check::Status;
use fettle_model::counter::TransitionEpoch;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{HostId, ProposalId, RequestId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::permit::{Permit, PermitRequest, Purpose, Target};
use fettle_model::playbook::Action;
use fettle_model::proposal::{Approval, EndedBecause, PROPOSAL_VALID_FOR, Proposal, Verdict};
use fettle_model::record::{Author, Body, Kind, Record};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::{Mode, PlaybookVersion};
use fettle_model::run::{Certainty, Claim, Ending, Plan, PlannedStep};
use std::time::Duration;

fn approver(world: &mut World, person: &str) {
    let held = HeldRole { role: Role::Approver, team: Some("team-web".parse().expect("a name")) };
    person_with(world, person, held, person);
}

fn person_with(world: &mut World, person: &str, role: HeldRole, key: &str) {
    let addition = world.addition(person, role, key);
    world.done(addition);
}

/// Production in mode approve with a critical host, and three approvers.
pub(crate) fn world() -> (World, HostId) {
    let (mut world, hosts) = World::broken(4);
    world.modes.insert("production", Mode::Approve);
    assert_eq!(world.configure(), Outcome::Done);
    for person in ["ann", "ben", "cid"] {
        approver(&mut world, person);
    }
    (world, hosts[0])
}

/// The host asks, is refused for its mode, and plans.
fn propose(world: &mut World, host: HostId) -> ProposalId {
    let request = world.request(host);
    let plan = plan(&request);
    let refusal = asked(world, host, request).expect_err("people have to say yes");
    assert_eq!(refusal.reasons, [Reason::Mode { mode: Mode::Approve, proposal: None }]);
    assert_eq!(world.say(host, Body::PlanMade(Box::new(plan))), Outcome::Done);
    made(world).proposal
}

pub(crate) fn asked(world: &mut World, host: HostId, request: PermitRequest) -> Result<Permit, Box<Refusal>> {
    let outcome = world.say(host, Body::PermitRequested(Box::new(request)));
    let Outcome::Answered { answer } = outcome else { unreachable!("not answered: {outcome:?}") };
    world.answer(answer)
}

fn made(world: &World) -> Proposal {
    let Body::ProposalMade(proposal) = world.last() else { unreachable!("{:?}", world.last()) };
    (**proposal).clone()
}

pub(crate) fn plan(request: &PermitRequest) -> Plan {
    plan_of(request, version("restart-service", "1.0.0"), Action::Restart)
}

/// What a playbook that does one thing would do.
pub(crate) fn plan_of(request: &PermitRequest, playbook: PlaybookVersion, action: Action) -> Plan {
    let step = PlannedStep {
        action,
        label: "worker".parse().expect("a label"),
        arguments: String::new(),
        certainty: Certainty::Observed,
    };
    Plan {
        request: request.request,
        run: request.run,
        host: request.host,
        purpose: request.purpose.clone(),
        playbook,
        made_at: fettle_model::time::UnixMillis(1),
        steps: vec![step],
        claim: Claim::Resolved { summary: "restarted".to_owned() },
    }
}

fn hash(world: &World, proposal: ProposalId) -> DocumentDigest {
    world.core.state().proposal(proposal).expect("it is known").request
}

fn says(world: &mut World, person: &str, approval: Approval) -> Outcome {
    world.approves(person, approval, Authorisation::Allowed)
}

fn approve(world: &mut World, person: &str, proposal: ProposalId) -> Outcome {
    let request = hash(world, proposal);
    says(world, person, Approval { proposal, request, verdict: Verdict::Approve })
}

pub(crate) fn approved(world: &mut World, host: HostId) -> ProposalId {
    let proposal = propose(world, host);
    for person in ["ann", "ben"] {
        assert_eq!(approve(world, person, proposal), Outcome::Done);
    }
    proposal
}

#[track_caller]
fn ended(world: &World, proposal: ProposalId, because: EndedBecause) {
    let state = &world.core.state().proposal(proposal).expect("it is known").state;
    assert_eq!(state, &ProposalState::Ended { because });
}

#[track_caller]
fn waits(world: &mut World, host: HostId) {
    let refusal = world.ask(host).expect_err("nobody said yes to this");
    assert_eq!(refusal.reasons, [Reason::Mode { mode: Mode::Approve, proposal: None }]);
}

fn refused(refusal: PersonRefusal) -> Outcome {
    Outcome::PersonRefused(refusal)
}

#[test]
fn a_plan_waits_for_enough_people_and_then_its_permit_carries_it() {
    let (mut world, host) = world();
    let id = propose(&mut world, host);
    let proposal = made(&world);
    assert_eq!((proposal.host, &proposal.check, proposal.required), (host, &web(), 2), "a restart cannot be undone");
    assert_eq!(proposal.expires_at, world.now.wall.plus(PROPOSAL_VALID_FOR));
    assert!(proposal.wished_by.is_empty() && proposal.policies == world.policies);
    assert_eq!(approve(&mut world, "ann", id), Outcome::Done);
    let refusal = world.ask(host).expect_err("one of two");
    assert_eq!(refusal.reasons, [Reason::Mode { mode: Mode::Approve, proposal: Some(id) }]);
    assert_eq!(approve(&mut world, "ann", id), refused(PersonRefusal::ApprovedAlready { by: name("ann") }));
    assert_eq!(approve(&mut world, "ben", id), Outcome::Done);
    let permit = world.ask(host).expect("two of two");
    let plan = permit.approved.clone().expect("the plan");
    assert_eq!((plan.proposal, plan.steps), (id, proposal.steps));
    let granted = ProposalState::Granted { run: permit.run };
    assert_eq!(world.core.state().proposal(id).expect("it is known").state, granted);
    let again = approve(&mut world, "cid", id);
    assert_eq!(again, refused(PersonRefusal::ProposalGranted { proposal: id, run: permit.run }));
}

#[test]
fn what_was_approved_is_permitted_once() {
    let (mut world, host) = world();
    approved(&mut world, host);
    let permit = world.ask(host).expect("approved");
    world.end(&permit, Ending::Failed);
    world.advance(world.guard.cooldown);
    waits(&mut world, host);
    assert_eq!(world.count(|body| matches!(body, Body::PermitGranted(permit) if permit.approved.is_some())), 1);
}

#[test]
fn only_what_people_alone_hold_back_is_proposed_and_once() {
    let (mut world, host) = world();
    let request = world.request(host);
    let plan = self::plan(&request);
    // Stopped as well: nothing to say yes to.
    let stop = fettle_model::breaker::Scope::Global;
    world.done(PersonRequest::Stop { scope: stop.clone(), why: "a test".to_owned() });
    asked(&mut world, host, request).expect_err("stopped");
    assert_eq!(world.say(host, Body::PlanMade(Box::new(plan))), Outcome::Done);
    assert_eq!(world.last().kind(), Kind::PlanMade);
    world.done(PersonRequest::Resume { scope: stop, why: "a test".to_owned() });
    propose(&mut world, host);
    let other = world.request(host);
    let again = self::plan(&other);
    asked(&mut world, host, other).expect_err("it waits");
    assert_eq!(world.say(host, Body::PlanMade(Box::new(again))), Outcome::Done);
    assert_eq!(world.last().kind(), Kind::PlanMade, "one proposal is open");
    // A plan that answers an older request, or does nothing, is none that people decide.
    let (mut world, host) = self::world();
    let request = world.request(host);
    let empty = Plan { steps: Vec::new(), ..self::plan(&request) };
    let older = Plan { request: RequestId::from_uuid(uuid::Uuid::nil()), ..self::plan(&request) };
    asked(&mut world, host, request).expect_err("people have to say yes");
    for plan in [older, empty] {
        assert_eq!(world.say(host, Body::PlanMade(Box::new(plan))), Outcome::Done);
        assert_eq!(world.last().kind(), Kind::PlanMade);
    }
}

#[test]
fn nobody_approves_what_they_wished_for_admitted_or_configured() {
    let (mut world, host) = world();
    // Alice admitted the playbook; olga writes the configuration; ann wishes for the run.
    let replaces = world.core.state().configuration().generation();
    let mut declared = world.core.state().configuration().declared();
    declared.remediations[0].guard.approvals = 2;
    let declared = Box::new(declared);
    let set = PersonRequest::SetConfiguration { declared, replaces };
    assert_eq!(world.person_by("olga", set), Outcome::Done);
    let wish = PersonRequest::WishRun { host, check: web() };
    assert_eq!(world.person_by("ann", wish), Outcome::Done);
    let proposal = propose(&mut world, host);
    assert_eq!(made(&world).wished_by.into_iter().collect::<Vec<_>>(), [name("ann")]);
    let whole = HeldRole::from(Role::Approver);
    for (person, because) in
        [("ann", Involvement::Wished), ("alice", Involvement::Admitted), ("olga", Involvement::Configured)]
    {
        if person != "ann" {
            person_with(&mut world, person, whole.clone(), person);
        }
        let outcome = approve(&mut world, person, proposal);
        assert_eq!(outcome, refused(PersonRefusal::NotIndependent { by: name(person), because }), "{person}");
        let Body::ActionRefused(record) = world.last() else { unreachable!("{:?}", world.last()) };
        assert_eq!((&record.by, record.action.as_str()), (&name(person), "proposal.approve"));
        assert_eq!(record.policies, [because.rule()]);
    }
    for person in ["ben", "cid"] {
        assert_eq!(approve(&mut world, person, proposal), Outcome::Done);
    }
    world.ask(host).expect("two who had nothing to do with it");
}

#[test]
fn a_yes_is_to_exactly_one_request() {
    let (mut world, host) = world();
    let first = propose(&mut world, host);
    let stale = hash(&world, first);
    world.becomes(host, Status::Passing);
    world.tick();
    ended(&world, first, EndedBecause::TransitionChanged);
    world.becomes(host, Status::Critical);
    let second = propose(&mut world, host);
    let replayed = Approval { proposal: second, request: stale, verdict: Verdict::Approve };
    assert_eq!(says(&mut world, "ann", replayed), refused(PersonRefusal::OtherRequest { proposal: second }));
    let late = Approval { proposal: first, request: stale, verdict: Verdict::Approve };
    let over = PersonRefusal::ProposalOver { proposal: first, because: EndedBecause::TransitionChanged };
    assert_eq!(says(&mut world, "ann", late), refused(over));
    let unknown = ProposalId::from_uuid(world.mint());
    let nowhere = Approval { proposal: unknown, request: stale, verdict: Verdict::Approve };
    assert_eq!(says(&mut world, "ann", nowhere), refused(PersonRefusal::UnknownProposal(unknown)));
}

#[test]
fn targets_that_changed_after_the_yes_end_it() {
    let (mut world, host) = world();
    let proposal = approved(&mut world, host);
    let refusal = world.ask_with(host, |request| {
        request.targets[0].target = Target::SystemdUnit { unit: "database.service".to_owned() };
    });
    let reasons = refusal.expect_err("another unit").reasons;
    assert!(reasons.contains(&Reason::Mode { mode: Mode::Approve, proposal: None }), "{reasons:?}");
    ended(&world, proposal, EndedBecause::TargetsChanged);
    waits(&mut world, host);
}

#[test]
fn an_approver_who_lost_the_role_or_the_key_before_use_does_not_count() {
    let (mut world, host) = world();
    let proposal = approved(&mut world, host);
    world.done(PersonRequest::RevokePerson { person: name("ben"), why: "left".to_owned() });
    waits(&mut world, host);
    world.tick();
    ended(&world, proposal, EndedBecause::ApproverLost { person: name("ben") });

    let (mut world, host) = self::world();
    let proposal = approved(&mut world, host);
    let held = world.core.state().roles(&name("ben"));
    let role = held.into_iter().find(|held| held.role == Role::Approver).expect("an approver");
    world.done(PersonRequest::RevokeRole { person: name("ben"), role, why: "another team".to_owned() });
    waits(&mut world, host);
    world.tick();
    ended(&world, proposal, EndedBecause::ApproverLost { person: name("ben") });

    let (mut world, host) = self::world();
    let proposal = approved(&mut world, host);
    person_with(&mut world, "ann", Role::Viewer.into(), "ann's new key");
    waits(&mut world, host);
    world.tick();
    ended(&world, proposal, EndedBecause::ApproverLost { person: name("ann") });
}

#[test]
fn an_approver_who_became_its_author_does_not_count_even_when_it_is_as_it_was() {
    let (mut world, host) = world();
    let proposal = approved(&mut world, host);
    let before = world.guard.max_attempts;
    for attempts in [before + 1, before] {
        world.guard.max_attempts = attempts;
        assert_eq!(world.apply_by("ben"), Outcome::Done);
    }
    waits(&mut world, host);
    world.tick();
    ended(&world, proposal, EndedBecause::ApproverLost { person: name("ben") });
}

#[test]
fn an_approver_by_broken_glass_counts_for_half_an_hour_and_not_for_what_they_wished() {
    let (mut world, host) = world();
    person_with(&mut world, "dan", Role::Viewer.into(), "dan");
    let proposal = propose(&mut world, host);
    crate::break_glass::opened(&mut world, "dan", Role::Approver.into(), "ann");
    for person in ["dan", "ben"] {
        assert_eq!(approve(&mut world, person, proposal), Outcome::Done);
    }
    assert!(world.core.state().proposal(proposal).expect("known").has_enough());
    world.advance(fettle_model::break_glass::BREAK_GLASS_LASTS);
    waits(&mut world, host);
    world.tick();
    ended(&world, proposal, EndedBecause::ApproverLost { person: name("dan") });

    let (mut world, host) = self::world();
    person_with(&mut world, "dan", Role::Operator.into(), "dan");
    let wish = PersonRequest::WishRun { host, check: web() };
    assert_eq!(world.person_by("dan", wish), Outcome::Done);
    let proposal = propose(&mut world, host);
    crate::break_glass::opened(&mut world, "dan", Role::Approver.into(), "ann");
    let refusal = PersonRefusal::NotIndependent { by: name("dan"), because: Involvement::Wished };
    assert_eq!(approve(&mut world, "dan", proposal), refused(refusal));
}

#[test]
fn other_policies_end_it() {
    let (mut world, host) = world();
    let proposal = approved(&mut world, host);
    world.policies = DocumentDigest::of(b"other policies");
    waits(&mut world, host);
    let over = PersonRefusal::ProposalOver { proposal, because: EndedBecause::PoliciesChanged };
    assert_eq!(approve(&mut world, "cid", proposal), refused(over));
    world.tick();
    ended(&world, proposal, EndedBecause::PoliciesChanged);
}

#[test]
fn it_expires() {
    let (mut world, host) = world();
    let proposal = propose(&mut world, host);
    assert_eq!(approve(&mut world, "ann", proposal), Outcome::Done);
    world.advance(PROPOSAL_VALID_FOR);
    let over = PersonRefusal::ProposalOver { proposal, because: EndedBecause::Expired };
    assert_eq!(approve(&mut world, "ben", proposal), refused(over));
    waits(&mut world, host);
    world.tick();
    ended(&world, proposal, EndedBecause::Expired);
}

#[test]
fn a_remediation_that_changed_ends_it_and_another_generation_alone_does_not() {
    let (mut world, host) = world();
    let proposal = approved(&mut world, host);
    let mut declared = world.core.state().configuration().declared();
    declared.services[0].checks[0].interval = Duration::from_secs(2);
    let replaces = world.core.state().configuration().generation();
    world.done(PersonRequest::SetConfiguration { declared: Box::new(declared), replaces });
    world.roll_out();
    world.tick();
    world.ask(host).expect("its remediation is the same");

    let (mut other, host) = self::world();
    let changed = approved(&mut other, host);
    other.guarded(|guard| guard.max_attempts += 1);
    waits(&mut other, host);
    other.tick();
    ended(&other, changed, EndedBecause::ConfigurationChanged);
    assert!(matches!(world.core.state().proposal(proposal).expect("it is known").state, ProposalState::Granted { .. }));
}

#[test]
fn one_no_ends_it() {
    let (mut world, host) = world();
    let proposal = approved(&mut world, host);
    let reject = |world: &World, why: &str| Approval {
        proposal,
        request: hash(world, proposal),
        verdict: Verdict::Reject { why: why.to_owned() },
    };
    let silent = reject(&world, " ");
    assert_eq!(says(&mut world, "cid", silent), refused(PersonRefusal::Why));
    let no = reject(&world, "the database is moved tonight");
    assert_eq!(says(&mut world, "cid", no), Outcome::Done);
    ended(&world, proposal, EndedBecause::Rejected { by: name("cid") });
    waits(&mut world, host);
}

#[test]
fn what_is_no_approval_of_whoever_brings_it_is_not_taken() {
    let (mut world, host) = world();
    let proposal = propose(&mut world, host);
    let length = world.log.len();
    let approval = Approval { proposal, request: hash(&world, proposal), verdict: Verdict::Approve };
    let body = || Body::ApprovalGiven(Box::new(approval.clone()));
    let at = world.now.wall;
    let wish = fettle_model::record::RunWished { host, check: web(), by: name("ann") };
    for record in [
        Record { author: Author::Person { person: name("ben") }, at, body: body() },
        Record { author: Author::ControlPlane, at, body: body() },
        Record { author: Author::Person { person: name("ann") }, at, body: Body::RunWished(Box::new(wish)) },
    ] {
        let outcome = world.brings("ann", record, Authorisation::Allowed);
        assert_eq!(outcome, refused(PersonRefusal::NoApproval(name("ann"))));
    }
    assert_eq!(world.log.len(), length);
    let policies = vec!["floor".to_owned()];
    let record = Record { author: Author::Person { person: name("ann") }, at, body: body() };
    world.brings("ann", record, Authorisation::Denied { policies });
    assert_eq!(world.last().kind(), Kind::ActionRefused);
    assert_eq!(world.core.state().proposal(proposal).expect("it is known").count(), 0);
}

#[test]
fn an_epoch_that_nobody_planned_for_has_no_permit() {
    let (mut world, host) = world();
    approved(&mut world, host);
    let refusal = world.ask_with(host, |request| {
        if let Purpose::Remediate { epoch, .. } = &mut request.purpose {
            *epoch = TransitionEpoch(epoch.0 + 1);
        }
    });
    assert!(refusal.is_err());
}
