//! Promotions that were not earned by the records that they name. Permits here are under approvals that nobody gave, which
//! is another rule's to find.

use crate::check::verify;
use crate::faults::{Course, patient};
use crate::log::host;
use crate::story::{PRODUCTION, STAGING, check_ref, parameters, parsed, version};
use fettle_audit::verify::Rule;
use fettle_model::check::Status;
use fettle_model::configuration::Declared;
use fettle_model::counter::LogPosition;
use fettle_model::digest::PlaybookDigest;
use fettle_model::id::{HostId, ProposalId, RequestId};
use fettle_model::permit::{ApprovedPlan, Permit};
use fettle_model::playbook::Action;
use fettle_model::promotion::{EarnedWith, PromotionLimits, PromotionOf, PromotionProposed};
use fettle_model::record::Body;
use fettle_model::remediation::Mode;
use fettle_model::run::{Certainty, Claim, Ending, Plan, PlannedStep};

/// Production and staging in this mode, and so many runs asked for.
fn in_mode(mode: Mode, after: u32) -> impl Fn(&mut Declared) {
    move |declared| {
        patient(&mut declared.remediations[0].guard);
        for environment in ["production", "staging"] {
            declared.remediations[0].modes.insert(parsed(environment), mode);
        }
        declared.promotion = PromotionLimits { after };
    }
}

fn broken(mode: Mode, after: u32) -> Course {
    let mut course = Course::new(in_mode(mode, after));
    course.becomes(Status::Critical);
    course
}

fn last(course: &Course) -> LogPosition {
    LogPosition(u64::try_from(course.log.records.len()).expect("a small log") - 1)
}

/// Whether it is found that this promotion in production was not earned.
fn flagged(course: &mut Course, mode: Mode, after: u32, earned_by: Vec<LogPosition>) -> bool {
    let remediation = parsed("restart-web");
    let environment = parsed("production");
    let rung = crate::faults::rung(1);
    course.log.control_plane(Body::PromotionProposed(Box::new(PromotionProposed {
        of: PromotionOf { remediation, rung, environment },
        with: EarnedWith { mode, playbook: version(), parameters: parameters().digest() },
        to: if mode == Mode::Observe { Mode::Approve } else { Mode::Auto },
        after,
        earned_by,
    })));
    verify(&course.log).findings.iter().any(|finding| finding.rule == Rule::Promotion)
}

fn planned(course: &mut Course, by: HostId, change: impl FnOnce(&mut Plan)) -> LogPosition {
    let step = PlannedStep {
        action: Action::Restart,
        label: parsed("service"),
        arguments: String::new(),
        certainty: Certainty::Observed,
    };
    let mut plan = Plan {
        request: RequestId::from_uuid(crate::check::uuid(1)),
        run: crate::story::run_id(70),
        host: by,
        purpose: course.purpose(by, &check_ref(), 1),
        playbook: version(),
        made_at: course.log.now(),
        steps: vec![step],
        claim: Claim::Resolved { summary: "restarted".to_owned() },
    };
    change(&mut plan);
    course.log.agent(by, Body::PlanMade(Box::new(plan)));
    last(course)
}

#[test]
fn plans_that_would_have_helped_earn_approve() {
    let earned = |change: fn(&mut Plan)| {
        let mut course = broken(Mode::Observe, 1);
        let plan = planned(&mut course, host(PRODUCTION), change);
        !flagged(&mut course, Mode::Observe, 1, vec![plan])
    };
    assert!(earned(|_| {}));
    assert!(!earned(|plan| plan.claim = Claim::NoAction { summary: String::new() }));
    assert!(!earned(|plan| plan.claim = Claim::Escalate { summary: String::new() }));
    assert!(!earned(|plan| plan.steps.clear()));
    assert!(!earned(|plan| plan.playbook.digest = PlaybookDigest::of(b"another")));
}

#[test]
fn each_of_so_many_records_counts_once_and_in_its_own_environment() {
    let mut twice = broken(Mode::Observe, 2);
    let plan = planned(&mut twice, host(PRODUCTION), |_| {});
    assert!(flagged(&mut twice, Mode::Observe, 2, vec![plan, plan]));
    let mut each = broken(Mode::Observe, 2);
    let plans = [(); 2].map(|()| planned(&mut each, host(PRODUCTION), |_| {}));
    assert!(!flagged(&mut each, Mode::Observe, 2, plans.to_vec()));
    let mut elsewhere = broken(Mode::Observe, 1);
    let plan = planned(&mut elsewhere, host(STAGING), |_| {});
    assert!(flagged(&mut elsewhere, Mode::Observe, 1, vec![plan]));
}

/// Other parameters are configured.
fn others(declared: &mut Declared) {
    declared.remediations[0].parameters.0.insert("max-restarts".to_owned(), 4.into());
}

#[test]
fn what_was_earned_before_a_change_does_not_count_after_it() {
    let changed = |meanwhile: fn(&mut Declared)| {
        let mut course = broken(Mode::Observe, 1);
        let plan = planned(&mut course, host(PRODUCTION), |_| {});
        for (generation, change) in [(2, meanwhile), (3, (|_| {}) as fn(&mut Declared))] {
            course.configures(generation, |declared| {
                in_mode(Mode::Observe, 1)(declared);
                change(declared);
            });
        }
        flagged(&mut course, Mode::Observe, 1, vec![plan])
    };
    assert!(!changed(|_| {}));
    assert!(changed(others));
}

#[test]
fn a_plan_under_what_is_not_the_newest_configuration_earns_nothing() {
    let mut course = broken(Mode::Observe, 1);
    course.begins(2, |declared| {
        in_mode(Mode::Observe, 1)(declared);
        others(declared);
    });
    // The host is not reached, and plans with what it holds.
    let plan = planned(&mut course, host(PRODUCTION), |_| {});
    course.configures(3, in_mode(Mode::Observe, 1));
    assert!(flagged(&mut course, Mode::Observe, 1, vec![plan]));
}

fn approved(course: &mut Course) -> Permit {
    let purpose = course.purpose(host(PRODUCTION), &check_ref(), 1);
    let request = course.asks(host(PRODUCTION), purpose);
    course.grants(&request, |permit| {
        let proposal = ProposalId::from_uuid(crate::check::uuid(77));
        permit.approved = Some(ApprovedPlan { proposal, steps: Vec::new() });
    })
}

#[test]
fn approved_runs_that_succeeded_earn_auto() {
    for ending in [
        Ending::Succeeded,
        Ending::Ineffective,
        Ending::Failed,
        Ending::Reverted,
        Ending::Superseded,
        Ending::Cancelled,
        Ending::Expired,
        Ending::InDoubt,
    ] {
        let mut course = broken(Mode::Approve, 1);
        let permit = approved(&mut course);
        course.ended(&permit, ending);
        let end = last(&course);
        let earned = !flagged(&mut course, Mode::Approve, 1, vec![end]);
        assert_eq!(earned, ending == Ending::Succeeded, "{ending:?}");
    }
    let mut by_itself = broken(Mode::Approve, 1);
    by_itself.tried(1, Ending::Succeeded);
    let end = last(&by_itself);
    assert!(flagged(&mut by_itself, Mode::Approve, 1, vec![end]), "nobody approved it");
}

#[test]
fn a_run_that_did_not_end_well_sets_what_was_earned_before_back() {
    let after = |then: &dyn Fn(&mut Course, &Permit)| {
        let mut course = broken(Mode::Approve, 1);
        let permit = approved(&mut course);
        course.ended(&permit, Ending::Succeeded);
        let earned = last(&course);
        let permit = approved(&mut course);
        then(&mut course, &permit);
        flagged(&mut course, Mode::Approve, 1, vec![earned])
    };
    for ending in [Ending::Ineffective, Ending::Failed, Ending::Reverted, Ending::InDoubt] {
        assert!(after(&|course, permit| course.ended(permit, ending)), "{ending:?}");
    }
    for ending in [Ending::Succeeded, Ending::Superseded, Ending::Cancelled, Ending::Expired] {
        assert!(!after(&|course, permit| course.ended(permit, ending)), "{ending:?}");
    }
    assert!(after(&|course, permit| course.lost(permit)));
    let and_succeeds = |course: &mut Course, permit: &Permit| {
        course.ended(permit, Ending::Failed);
        let permit = approved(course);
        course.ended(&permit, Ending::Succeeded);
    };
    assert!(after(&and_succeeds), "what succeeds later does not bring it back");
}

#[test]
fn a_run_that_ends_under_another_configuration_earns_nothing() {
    let mut course = broken(Mode::Approve, 1);
    let permit = approved(&mut course);
    course.configures(2, |declared| {
        in_mode(Mode::Approve, 1)(declared);
        others(declared);
    });
    course.ended(&permit, Ending::Succeeded);
    let end = last(&course);
    course.configures(3, in_mode(Mode::Approve, 1));
    assert!(flagged(&mut course, Mode::Approve, 1, vec![end]));
}
