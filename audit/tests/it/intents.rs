//! An irreversible step stands in the log before its run's report.

use crate::check::{check, check_valid, of};
use crate::log::{Log, host};
use crate::story::{At, Edit, PRODUCTION, STAGING, changed, edited, story, without};
use fettle_audit::verify::Rule;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::permit::Purpose;
use fettle_model::record::Body;
use fettle_model::run::{StepIntended, StepOutcome};

fn announced(change: impl FnOnce(&mut StepIntended)) -> Log {
    changed(At::Intended, |body| change(of!(body, StepIntended)))
}

#[test]
fn an_irreversible_step_is_in_the_log_before_its_report() {
    check(&without(At::Intended), Rule::Intent);
    check(&without(At::KilledIntended), Rule::Intent);
    check(&announced(|intent| intent.number = 2), Rule::Intent);
    check(&announced(|intent| intent.run = crate::story::run_id(2)), Rule::Permit);
}

#[test]
fn what_never_reached_the_host_needs_no_announcement() {
    let refused = edited(|at, body| match at {
        At::Intended => Edit::Drop,
        At::Ended => {
            let (rule, detail) = ("denied".to_owned(), "its intent was not seen in the log".to_owned());
            of!(body, RunEnded).steps[0].outcome = StepOutcome::Refused { rule, detail };
            Edit::Keep
        }
        _ => Edit::Keep,
    });
    check_valid(&refused);
}

#[test]
fn a_step_is_announced_by_its_own_agent_and_before_its_run_has_ended() {
    let mut late = story();
    let mut intent = None;
    changed(At::Intended, |body| intent = Some(body.clone()));
    let intent = intent.expect("the story has it");
    late.agent(host(PRODUCTION), intent.clone());
    check(&late, Rule::Ending);
    let mut foreign = story();
    foreign.agent(host(STAGING), intent);
    check(&foreign, Rule::Permit);
}

#[test]
fn a_process_that_a_drill_kills_is_announced_too() {
    let kill = |fault: &mut Fault| fault.kind = FaultKind::KillProcess;
    let of_purpose = |purpose: &mut Purpose| {
        if let Purpose::InjectFault { fault, .. } = purpose {
            kill(fault);
        }
    };
    let killed = edited(|_, body| {
        match body {
            Body::DrillStarted(drill) => kill(&mut drill.fault),
            Body::EvidenceEarned(evidence) => kill(&mut evidence.fault),
            Body::PermitRequested(request) => of_purpose(&mut request.purpose),
            Body::PermitGranted(permit) => of_purpose(&mut permit.purpose),
            Body::RunEnded(run) => of_purpose(&mut run.purpose),
            _ => {}
        }
        Edit::Keep
    });
    check(&killed, Rule::Intent);
}
