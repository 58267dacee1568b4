//! Permits in mode `approve`: enough independent people signed exactly what was permitted.

use crate::check::*;
use crate::log::{Log, host};
use crate::story::{
    At, Edit, PRODUCTION, check_ref, configuration, edited, ended_run, parsed, permit_for, remediate, request, told,
    transition, version,
};
use fettle_audit::key::SigningKey;
use fettle_audit::person_key;
use fettle_audit::verify::Rule;
use fettle_model::check::Status;
use fettle_model::configuration::Configuration;
use fettle_model::counter::{ConfigurationGeneration, Fence, LogPosition, TransitionEpoch};
use fettle_model::digest::{DocumentDigest, EnvelopeDigest};
use fettle_model::escalation::Rung;
use fettle_model::id::ProposalId;
use fettle_model::identity::Role;
use fettle_model::name::{PersonName, TeamName};
use fettle_model::permit::{ApprovedPlan, Permit};
use fettle_model::person_key::PersonKeySet;
use fettle_model::playbook::Action;
use fettle_model::promotion::{EarnedWith, PromotionLimits, PromotionOf, PromotionProposed};
use fettle_model::proposal::{Approval, EndedBecause, PROPOSAL_VALID_FOR, Proposal, ProposalEnding, Verdict};
use fettle_model::record::{Author, Body, ConfigurationSet, PersonRevoked, RoleGranted, RoleRevoked, RunWished};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Mode;
use fettle_model::rollout::Reach;
use fettle_model::run::{Certainty, Claim, Plan, PlannedStep};
use std::collections::BTreeSet;

/// One person's answer.
#[derive(Clone)]
struct Answer {
    person: &'static str,
    key: u8,
    approval: Approval,
}

/// What a log of an approved run is made of, each part to be bent before it is signed.
struct Case {
    /// Before the plan.
    before: Vec<Body>,
    proposal: Proposal,
    answers: Vec<Answer>,
    /// Between the approvals and the request that is granted.
    between: Vec<Body>,
    permit: Permit,
}

/// Production decides by people.
fn approving(generation: u64) -> Configuration {
    let mut declared = configuration(generation, 1).declared();
    declared.remediations[0].modes.insert(parsed("production"), Mode::Approve);
    declared.promotion = PromotionLimits { after: 1 };
    Configuration::new(ConfigurationGeneration(generation), declared).expect("consistent")
}

fn answer(person: &'static str, key: u8, proposal: &Proposal) -> Answer {
    let approval = Approval { proposal: proposal.proposal, request: proposal.request(), verdict: Verdict::Approve };
    Answer { person, key, approval }
}

fn steps() -> Vec<PlannedStep> {
    vec![PlannedStep {
        action: Action::Restart,
        label: parsed("service"),
        arguments: String::new(),
        certainty: Certainty::Observed,
    }]
}

fn person(name: &str, key: u8) -> [Body; 2] {
    let team = Some(parsed("shop"));
    [granted(name, Role::Approver, team, "alice"), key_of(name, key)]
}

fn granted(name: &str, role: Role, team: Option<TeamName>, by: &str) -> Body {
    Body::RoleGranted(Box::new(RoleGranted { person: parsed(name), role, team, by: Some(parsed(by)) }))
}

fn key_of(name: &str, key: u8) -> Body {
    let signing_key = person_key::prove(&SigningKey::from_seed(&[key; 32]), &parsed("fettle.example"), &parsed(name));
    Body::PersonKeySet(Box::new(PersonKeySet { person: parsed(name), signing_key, by: parsed("alice") }))
}

/// The log, with what `bend` makes of it. The proposal's plan, and the answers, are made after that.
fn log(bend: impl FnOnce(&mut Case)) -> Log {
    log_with(bend, |_| {})
}

/// The same, with the answers bent after they named what was proposed.
fn log_with(bend: impl FnOnce(&mut Case), late: impl FnOnce(&mut Case)) -> Log {
    let at = host(PRODUCTION);
    let mut log = edited(|step, body| {
        if step == At::Configured {
            of!(body, ConfigurationSet).configuration = approving(1);
        }
        if (step as usize) < At::Requested as usize { Edit::Keep } else { Edit::Drop }
    });
    let first = request(3, at, remediate(1));
    let second = request(4, at, remediate(1));
    let permit = permit_for(&second, Fence(1));
    let remediation = approving(1).remediations()[0].clone();
    let proposal = Proposal {
        proposal: ProposalId::from_uuid(uuid(77)),
        remediation: remediation.name.clone(),
        rung: Rung::FIRST,
        configured: Proposal::digest_of(&remediation),
        configuration: ConfigurationGeneration(1),
        host: at,
        check: check_ref(),
        epoch: TransitionEpoch(1),
        playbook: version(),
        parameters: remediation.parameters.digest(),
        targets: permit.targets.clone(),
        plan: EnvelopeDigest::of(b"made below"),
        steps: steps(),
        guard: remediation.guard,
        policies: DocumentDigest::of(b"policies"),
        required: 2,
        wished_by: BTreeSet::new(),
        expires_at: log.now().plus(PROPOSAL_VALID_FOR),
    };
    let mut case = Case { before: Vec::new(), proposal, answers: Vec::new(), between: Vec::new(), permit };
    for (name, key) in [("ann", 51), ("ben", 52), ("cid", 53)] {
        case.before.extend(person(name, key));
    }
    bend(&mut case);
    for body in std::mem::take(&mut case.before) {
        log.control_plane(body);
    }
    let refusal = Refusal {
        request: first.request,
        run: first.run,
        host: at,
        check: Some(check_ref()),
        epoch: Some(TransitionEpoch(1)),
        reasons: vec![Reason::Mode { mode: Mode::Approve, proposal: None }],
        budget: None,
        retry_at: None,
    };
    let plan = Plan {
        request: first.request,
        run: first.run,
        host: at,
        purpose: first.purpose.clone(),
        playbook: version(),
        made_at: log.now(),
        steps: steps(),
        claim: Claim::Resolved { summary: "restarted".to_owned() },
    };
    log.agent(at, Body::PermitRequested(Box::new(first)));
    log.control_plane(Body::PermitRefused(Box::new(refusal)));
    log.agent(at, Body::PlanMade(Box::new(plan)));
    let planned = log.records.last().expect("the plan").1.envelope().digest();
    case.proposal.plan = planned;
    if case.permit.approved.is_none() {
        case.permit.approved = Some(ApprovedPlan { proposal: case.proposal.proposal, steps: steps() });
    }
    case.answers = vec![answer("ann", 51, &case.proposal), answer("ben", 52, &case.proposal)];
    late(&mut case);
    log.control_plane(Body::ProposalMade(Box::new(case.proposal)));
    for Answer { person, key, approval } in case.answers {
        let author = Author::Person { person: parsed::<PersonName>(person) };
        log.sealed(author, Body::ApprovalGiven(Box::new(approval)), &SigningKey::from_seed(&[key; 32]));
    }
    for body in case.between {
        match body {
            body @ Body::TransitionSeen(_) => log.agent(at, body),
            body => log.control_plane(body),
        }
    }
    let ended = ended_run(&case.permit);
    log.agent(at, Body::PermitRequested(Box::new(second)));
    log.control_plane(Body::PermitGranted(Box::new(case.permit)));
    told(&mut log, ended);
    log
}

#[test]
fn a_run_that_two_independent_people_signed_is_valid() {
    check_valid(&log(|_| {}));
    check(&log_with(|_| {}, |case| drop(case.answers.pop())), Rule::Approval);
    check(&log_with(|_| {}, |case| case.permit.approved = None), Rule::Mode);
    let proposal = |change: fn(&mut Proposal)| log(|case| change(&mut case.proposal));
    // A restart cannot be undone.
    check(&proposal(|proposal| proposal.required = 1), Rule::Proposal);
}

#[test]
fn each_yes_is_by_its_author_who_is_an_approver_and_counts_once() {
    check(&log_with(|_| {}, |case| case.answers[1].key = 51), Rule::Signature);
    check(&log_with(|_| {}, |case| case.answers[1].person = "nobody"), Rule::Author);
    let twice = |case: &mut Case| {
        let again = case.answers[0].clone();
        case.answers[1] = again;
    };
    check(&log_with(|_| {}, twice), Rule::Approval);
    let stranger = |case: &mut Case| {
        case.before.push(key_of("stranger", 54));
    };
    check(&log_with(stranger, |case| case.answers[1] = answer("stranger", 54, &case.proposal)), Rule::Approval);
    // The second account of one person has no key that the first has.
    let shared = |case: &mut Case| case.before.extend(person("anns-second-account", 51));
    check(&log(shared), Rule::PersonKey);
}

#[test]
fn nobody_approves_what_they_wished_for_admitted_or_configured() {
    let alice = |case: &mut Case| {
        case.before.push(granted("dora", Role::Administrator, None, "alice"));
        case.before.push(granted("alice", Role::Approver, None, "dora"));
        case.before.push(key_of("alice", 55));
    };
    check(&log_with(alice, |case| case.answers[1] = answer("alice", 55, &case.proposal)), Rule::Approval);
    let wish =
        |by: &str| Body::RunWished(Box::new(RunWished { host: host(PRODUCTION), check: check_ref(), by: parsed(by) }));
    let wished = |case: &mut Case| {
        case.before.push(wish("cid"));
        case.proposal.wished_by = [parsed("cid")].into();
    };
    check_valid(&log(wished));
    check(&log_with(wished, |case| case.answers[1] = answer("cid", 53, &case.proposal)), Rule::Approval);
    check(&log(|case| case.before.push(wish("cid"))), Rule::Proposal);
}

#[test]
fn a_yes_is_to_exactly_what_is_permitted() {
    let other = |case: &mut Case| case.answers[1].approval.request = DocumentDigest::of(b"another request");
    check(&log_with(|_| {}, other), Rule::Approval);
    let unknown = |case: &mut Case| case.answers[1].approval.proposal = ProposalId::from_uuid(uuid(78));
    check(&log_with(|_| {}, unknown), Rule::Approval);
    check(&log_with(|_| {}, |case| drop(case.proposal.targets.pop())), Rule::Approval);
    check(&log(|case| case.permit.policies = DocumentDigest::of(b"others")), Rule::Approval);
    let longer = |case: &mut Case| {
        let approved = case.permit.approved.as_mut().expect("approved");
        approved.steps.extend(steps());
    };
    check(&log_with(|_| {}, longer), Rule::Approval);
}

#[test]
fn a_proposal_is_what_the_agent_planned_under_what_is_configured() {
    let proposal = |change: fn(&mut Proposal)| log_with(|_| {}, |case| change(&mut case.proposal));
    check(&proposal(|proposal| proposal.steps.clear()), Rule::Proposal);
    check(&proposal(|proposal| proposal.plan = EnvelopeDigest::of(b"another plan")), Rule::Proposal);
    check(&proposal(|proposal| proposal.configured = DocumentDigest::of(b"another")), Rule::Proposal);
    check(&proposal(|proposal| proposal.guard.max_attempts = 99), Rule::Proposal);
    check(&proposal(|proposal| proposal.epoch = TransitionEpoch(9)), Rule::Proposal);
    check(&proposal(|proposal| proposal.expires_at.0 += 3_600_000), Rule::Proposal);
}

#[test]
fn what_changed_between_the_yes_and_the_permit_takes_the_yes_away() {
    let revoked = |case: &mut Case| {
        let revoked = PersonRevoked { person: parsed("ben"), by: parsed("alice"), why: "left".to_owned() };
        case.between.push(Body::PersonRevoked(Box::new(revoked)));
    };
    check(&log(revoked), Rule::Approval);
    let lost_the_role = |case: &mut Case| {
        let (person, by, why) = (parsed("ben"), parsed("alice"), "another team".to_owned());
        let revoked = RoleRevoked { person, role: Role::Approver, team: Some(parsed("shop")), by, why };
        case.between.push(Body::RoleRevoked(Box::new(revoked)));
    };
    check(&log(lost_the_role), Rule::Approval);
    check(&log(|case| case.between.push(key_of("ann", 56))), Rule::Approval);
    let reconfigured = |case: &mut Case| {
        let mut declared = approving(2).declared();
        declared.remediations[0].guard.max_attempts = 99;
        let configuration = Configuration::new(ConfigurationGeneration(2), declared).expect("consistent");
        case.between.push(Body::ConfigurationSet(Box::new(ConfigurationSet {
            configuration,
            by: parsed("alice"),
            reach: Reach::Everywhere,
        })));
        case.permit.configuration = ConfigurationGeneration(2);
    };
    check(&log(reconfigured), Rule::Approval);
    let ended = |case: &mut Case| {
        let because = EndedBecause::Rejected { by: parsed("cid") };
        let ending = ProposalEnding { proposal: case.proposal.proposal, because };
        case.between.push(Body::ProposalEnded(Box::new(ending)));
    };
    check(&log(ended), Rule::Approval);
    let healthy = |case: &mut Case| case.between.push(transition(2, Status::Passing));
    check(&log(healthy), Rule::Transition);
    let expired = |case: &mut Case| case.proposal.expires_at = fettle_model::time::UnixMillis(1);
    check(&log_with(|_| {}, expired), Rule::Approval);
}

#[test]
fn an_approval_is_used_once() {
    let mut log = log(|_| {});
    let at = host(PRODUCTION);
    let again = request(5, at, remediate(1));
    let mut permit = permit_for(&again, Fence(2));
    permit.approved = Some(ApprovedPlan { proposal: ProposalId::from_uuid(uuid(77)), steps: steps() });
    log.agent(at, Body::PermitRequested(Box::new(again)));
    log.control_plane(Body::PermitGranted(Box::new(permit)));
    check(&log, Rule::Approval);
}

#[test]
fn a_promotion_names_the_records_that_earned_it() {
    let proposed = |change: fn(&mut PromotionProposed)| {
        let mut log = log(|_| {});
        let end = LogPosition(u64::try_from(log.records.len()).expect("a small log") - 1);
        let remediation = approving(1).remediations()[0].clone();
        let (environment, parameters) = (parsed("production"), remediation.parameters.digest());
        let mut promotion = PromotionProposed {
            of: PromotionOf { remediation: remediation.name, rung: Rung::FIRST, environment },
            with: EarnedWith { mode: Mode::Approve, playbook: version(), parameters },
            to: Mode::Auto,
            after: 1,
            earned_by: vec![end],
        };
        change(&mut promotion);
        log.control_plane(Body::PromotionProposed(Box::new(promotion)));
        log
    };
    check_valid(&proposed(|_| {}));
    let wrong: [fn(&mut PromotionProposed); 6] = [
        |it| it.earned_by = vec![LogPosition(1)],
        |it| it.earned_by.clear(),
        |it| it.after = 2,
        |it| it.to = Mode::Approve,
        |it| it.with.mode = Mode::Observe,
        |it| it.with.parameters = DocumentDigest::of(b"others"),
    ];
    for change in wrong {
        check(&proposed(change), Rule::Promotion);
    }
}
