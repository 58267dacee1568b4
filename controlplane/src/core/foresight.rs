//! What the governor would say now of a playbook on every host that carries a service. Called for a person's question.
//!
//! Puts the question that each host's agent would put, and has the governor judge it: no rule stands here a second
//! time. What an agent does not ask, because of its check or of its host, is told beside the governor's reasons.

use super::authorisation::{Authorisation, AuthorisationFacts, facts_for_authorisation};
use super::governor::{Case, Verdict, judge};
use super::hosts::Host;
use super::now::Now;
use super::reclaim::Reclaims;
use super::runs::Role;
use super::state::State;
use super::views;
use fettle_model::check::{CheckRef, Status};
use fettle_model::digest::DocumentDigest;
use fettle_model::escalation::Rung;
use fettle_model::host::HostState;
use fettle_model::id::{BootId, PermitId, RequestId, RunId};
use fettle_model::name::{HostName, PlaybookName, ServiceName};
use fettle_model::permit::{BoundTarget, PermitRequest, Purpose};
use fettle_model::refusal::Reason;
use fettle_model::remediation::Remediation;
use fettle_model::service::Service;
use fettle_model::time::BootInstant;
use fettle_model::why_not::{Before, WhyNot};
use std::borrow::Cow;
use uuid::Uuid;

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Wondering<'a> {
    /// The playbook.
    pub playbook: &'a PlaybookName,
    /// The service.
    pub service: &'a ServiceName,
    /// Hosts after this one, by name; `None`: from the first.
    pub after: Option<&'a HostName>,
    /// At most so many hosts.
    pub hosts: usize,
    /// SHA-256 over the policies by which is judged.
    pub policies: DocumentDigest,
}

/// What would be said of some hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// By host, then by remediation.
    pub rows: Vec<WhyNot>,
    /// The last host that was looked at, where there are more.
    pub more_after: Option<HostName>,
}

/// Everything that is judged with.
#[derive(Clone, Copy)]
struct Scene<'a> {
    state: &'a State,
    reclaims: &'a Reclaims,
    now: Now,
    authorise: &'a dyn Fn(&AuthorisationFacts) -> Authorisation,
    policies: &'a DocumentDigest,
}

/// Judges the playbook on each host that carries the service; `None` where the service is not configured.
/// `authorise` is Cedar.
pub(in crate::core) fn foresee(
    state: &State,
    reclaims: &Reclaims,
    now: Now,
    authorise: &dyn Fn(&AuthorisationFacts) -> Authorisation,
    wondering: &Wondering<'_>,
) -> Option<Foreseen> {
    let service = state.configuration().service(wondering.service)?;
    let mut hosts: Vec<&Host> = state.hosts().filter(|host| carries(host, service)).collect();
    hosts.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    let rest: Vec<&Host> =
        hosts.into_iter().filter(|host| wondering.after.is_none_or(|after| host.name > *after)).collect();
    let page = rest.get(..wondering.hosts).unwrap_or(&rest);
    let more = page.len() < rest.len();
    let scene = Scene { state, reclaims, now, authorise, policies: &wondering.policies };
    let rows = page.iter().flat_map(|host| of_host(scene, host, &answers(state, host, wondering))).collect();
    Some(Foreseen { rows, more_after: page.last().filter(|_| more).map(|host| host.name.clone()) })
}

/// A rung of a remediation, and the remediation as it is there.
type Placed<'a> = (Rung, Cow<'a, Remediation>);

/// The rungs that the host is judged by.
fn answers<'a>(state: &'a State, host: &Host, wondering: &Wondering<'_>) -> Vec<Placed<'a>> {
    let on_rungs = state.configuration_of(host).remediations().iter().flat_map(Remediation::rungs);
    on_rungs.filter(|(_, at)| at.service == *wondering.service && at.playbook.name == *wondering.playbook).collect()
}

fn carries(host: &Host, service: &Service) -> bool {
    host.state != HostState::Revoked
        && service.hosts.selects(&host.name, &host.environment)
        && host.carries(&service.name)
}

fn of_host(scene: Scene<'_>, host: &Host, answers: &[Placed<'_>]) -> Vec<WhyNot> {
    if answers.is_empty() {
        return vec![WhyNot { before: vec![Before::NoRemediation], ..blank(host) }];
    }
    answers.iter().map(|(rung, answer)| of_answer(scene, host, *rung, answer)).collect()
}

fn blank(host: &Host) -> WhyNot {
    WhyNot {
        host: host.name.clone(),
        environment: host.environment.clone(),
        answer: None,
        before: Vec::new(),
        reasons: Vec::new(),
        retry_at: None,
        refused: None,
    }
}

fn of_answer(scene: Scene<'_>, host: &Host, rung: Rung, answer: &Remediation) -> WhyNot {
    let check = CheckRef { service: answer.service.clone(), check: answer.check.clone() };
    let request = request(scene.state, host, rung, answer, &check);
    let authorised = (scene.authorise)(&facts_for_authorisation(scene.state, &request));
    let case = Case {
        state: scene.state,
        reclaims: scene.reclaims,
        now: scene.now,
        host,
        request: &request,
        authorised: &authorised,
        permit: PermitId::from_uuid(Uuid::nil()),
        policies: scene.policies,
    };
    let before = before(scene.state, host, answer, &check);
    let refused = scene.state.answers.refusals(host.id, Some(&check)).next().map(|known| known.stamp.position);
    let (mut reasons, retry_at) = match judge(&case) {
        Verdict::Granted(_) => (Vec::new(), None),
        Verdict::Refused(refusal) => (refusal.reasons, refusal.retry_at),
    };
    // The request names the newest transition, so this says only that it is not critical, which is said before.
    reasons.retain(|reason| !matches!(reason, Reason::TransitionStale { .. }));
    // A budget in advance is given back before the agent asks.
    let held = scene.state.runs.on_host(host.id).filter(|run| run.role() == Role::Budget).map(|run| run.permit.run);
    reasons.retain(|reason| !matches!(reason, Reason::HostBusy { run, .. } if Some(*run) == held));
    WhyNot { answer: Some((answer.name.clone(), check)), before, reasons, retry_at, refused, ..blank(host) }
}

/// What the agent would ask, with the configuration and the version that are current, and what the owner bound.
pub(in crate::core) fn request(
    state: &State,
    host: &Host,
    rung: Rung,
    answer: &Remediation,
    check: &CheckRef,
) -> PermitRequest {
    let epoch = host.newest_epoch(check);
    let admitted = state.playbooks.version(&answer.playbook);
    PermitRequest {
        request: RequestId::from_uuid(Uuid::nil()),
        run: RunId::from_uuid(Uuid::nil()),
        host: host.id,
        boot: BootId::from_uuid(Uuid::nil()),
        sent_at: BootInstant(0),
        purpose: Purpose::Remediate { check: check.clone(), epoch, remediation: answer.name.clone(), rung },
        playbook: admitted.map(|admitted| admitted.admission.digest),
        targets: bound(host, answer),
        configuration: state.configuration_of(host).generation(),
    }
}

/// What the owner bound for the playbook, as the host describes itself.
fn bound(host: &Host, answer: &Remediation) -> Vec<BoundTarget> {
    let mut bindings = host.description.iter().flat_map(|description| description.bindings.iter());
    let ours = bindings.find(|it| it.playbook == answer.playbook.name && it.service == answer.service);
    ours.map(|binding| binding.targets.clone()).unwrap_or_default()
}

/// What keeps the agent from asking.
fn before(state: &State, host: &Host, answer: &Remediation, check: &CheckRef) -> Vec<Before> {
    let Some(known) = host.checks.get(check) else { return vec![Before::NeverReported] };
    let (status, position) = (known.transition.to, known.seen.position);
    if status != Status::Critical {
        return vec![Before::NotCritical { status, position }];
    }
    let known = views::why(state, host.id, Some(check));
    let asked_since = known.refusals.first().map(|(stamp, _)| stamp.position);
    let withheld = known.withheld.filter(|(stamp, withheld)| {
        let still = matches!(&withheld.purpose, Purpose::Remediate { epoch, .. } if *epoch == host.newest_epoch(check));
        still && withheld.playbook == answer.playbook && asked_since.is_none_or(|asked| asked < stamp.position)
    });
    withheld
        .map(|(stamp, withheld)| Before::Withheld { because: withheld.because, position: stamp.position })
        .into_iter()
        .collect()
}
