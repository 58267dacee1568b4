//! Checks of a log's verdict, and logs with one thing changed.

use crate::log::{Log, host, policy};
use crate::story::{
    At, Edit, PRODUCTION, changed, described, edited, ended_run, enrolled, permit_for, remediate, request, token, told,
    transition,
};
use fettle_audit::verify::{Report, Rule, Verdict, verify_bundle};
use fettle_model::check::Status;
use fettle_model::configuration::Configuration;
use fettle_model::counter::{Fence, StopEpoch};
use fettle_model::guard::Guard;
use fettle_model::host::DrillConsent;
use fettle_model::permit::{Permit, PermitRequest};
use fettle_model::record::Body;
use fettle_model::run::RunRecord;
use uuid::Uuid;

#[track_caller]
pub(crate) fn verify(log: &Log) -> Report {
    verify_bundle(&log.bundle(), &policy())
}

/// The log breaks this rule first.
#[track_caller]
pub(crate) fn check(log: &Log, rule: Rule) -> Report {
    let report = verify(log);
    assert_eq!(report.findings.first().map(|finding| finding.rule), Some(rule), "{:?}", report.findings);
    assert_eq!(report.verdict(), Verdict::Invalid, "{:?}", report.findings);
    report
}

#[track_caller]
pub(crate) fn check_valid(log: &Log) {
    let report = verify(log);
    assert_eq!(report.findings, []);
    assert_eq!(report.verdict(), Verdict::Valid);
}

#[track_caller]
pub(crate) fn check_gap(log: &Log, rule: Rule) {
    let report = verify(log);
    assert_eq!(report.findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [rule]);
    assert_eq!(report.verdict(), Verdict::ValidWithGaps);
    assert_eq!(report.verdict().exit_code(), 2);
}

/// Gives a body's content for a change; the story's steps have fixed kinds.
macro_rules! of {
    ($body:expr, $kind:ident) => {
        match $body {
            Body::$kind(content) => content.as_mut(),
            _ => unreachable!("the step is of another kind"),
        }
    };
}

pub(crate) fn permit(step: At, change: impl FnOnce(&mut Permit)) -> Log {
    changed(step, |body| change(of!(body, PermitGranted)))
}

pub(crate) fn run(step: At, change: impl FnOnce(&mut RunRecord)) -> Log {
    changed(step, |body| change(of!(body, RunEnded)))
}

pub(crate) fn asked(step: At, change: impl FnOnce(&mut PermitRequest)) -> Log {
    changed(step, |body| change(of!(body, PermitRequested)))
}

pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// The story with its second fault remediated: the request stands, automation goes on, and `between`
/// may add what it likes before the grant.
pub(crate) fn granted_again(between: impl FnOnce(&mut Log), change: impl FnOnce(&mut Permit)) -> Log {
    granted_under(|_| {}, between, change)
}

/// The same under another guard.
pub(crate) fn granted_under(
    guard: impl Fn(&mut Guard),
    between: impl FnOnce(&mut Log),
    change: impl FnOnce(&mut Permit),
) -> Log {
    let mut log = edited(|at, body| match at {
        At::RequestedAgain | At::Refused => Edit::Drop,
        At::Configured => {
            let set = of!(body, ConfigurationSet);
            let mut declared = set.configuration.declared();
            declared.remediations.iter_mut().for_each(|remediation| guard(&mut remediation.guard));
            set.configuration = Configuration::new(set.configuration.generation(), declared).expect("consistent");
            Edit::Keep
        }
        _ => Edit::Keep,
    });
    let request = request(4, host(PRODUCTION), remediate(3));
    let mut permit = permit_for(&request, Fence(2));
    permit.stop_epoch = StopEpoch(1);
    change(&mut permit);
    log.agent(host(PRODUCTION), Body::PermitRequested(Box::new(request)));
    between(&mut log);
    let ended = ended_run(&permit);
    log.control_plane(Body::PermitGranted(Box::new(permit)));
    told(&mut log, ended);
    log
}

/// Another production host is enrolled, breaks and gets a permit.
pub(crate) fn other_host_granted(log: &mut Log, stop_epoch: StopEpoch) {
    let other = host(3);
    log.control_plane(token(3, "production"));
    log.control_plane(enrolled(3, "production"));
    log.agent(other, described("production", DrillConsent::Refused));
    log.agent(other, transition(1, Status::Critical));
    let request = request(8, other, remediate(1));
    let mut permit = permit_for(&request, Fence(1));
    permit.stop_epoch = stop_epoch;
    log.agent(other, Body::PermitRequested(Box::new(request)));
    log.control_plane(Body::PermitGranted(Box::new(permit.clone())));
    told(log, ended_run(&permit));
}
pub(crate) use of;
