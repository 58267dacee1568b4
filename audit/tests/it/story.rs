//! One log that holds every rule: a host is enrolled in staging, a playbook earns evidence
//! in a drill, heals a fault in production, is stopped and let go on, and a second request is refused.

use crate::log::{Log, START, host, log_signer, permit_key, publisher_key, record_key};
use fettle_audit::note::SignatureKind;
use fettle_model::breaker::{ResumeOrder, Scope, StopOrder};
use fettle_model::check::{Check, CheckRef, HostValue, Probe, Status, Transition};
use fettle_model::configuration::{Configuration, Declared};
use fettle_model::counter::{
    CertificateGeneration, ConfigurationGeneration, Fence, LogPosition, StopEpoch, TransitionEpoch,
};
use fettle_model::digest::{DocumentDigest, PlaybookDigest};
use fettle_model::escalation::{Escalation, Rung};
use fettle_model::evidence::{
    Drill, DrillEnding, DrillResult, DrillStage, DrillStagePassed, Evidence, Fault, FaultKind, HostClass, KilledRun,
    ProvedGrant,
};
use fettle_model::guard::{Amount, Guard};
use fettle_model::host::{
    Binding, CarriedService, DrillConsent, HostDescription, Isolation, ManagerKind, OperatingSystem,
};
use fettle_model::id::{BootId, DrillId, HostId, PermitId, RequestId, RunId, TokenId};
use fettle_model::identity::{Principal, Role, SpiffeId};
use fettle_model::permit::{BoundTarget, KillPoint, Permit, PermitRequest, PermittedTarget, Purpose, Target};
use fettle_model::playbook::{Action, Manifest};
use fettle_model::record::{
    Body, CertificateIssued, ConfigurationSet, HostEnrolled, LogOpened, PublisherTrusted, RoleGranted, TokenCreated,
};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::{Mode, Parameters, PlaybookVersion, Remediation};
use fettle_model::rollout::Reach;
use fettle_model::run::{Change, Ending, RunRecord, Step, StepIntended, StepOutcome, UndoClass};
use fettle_model::service::{Selector, Service, Tier};
use fettle_model::time::BootInstant;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

#[path = "story/published.rs"]
mod published;

pub(crate) use published::{report, scenarios_passed};

pub(crate) const STAGING: u128 = 1;
pub(crate) const PRODUCTION: u128 = 2;

/// The steps of the story, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    Opened,
    Operator,
    StagingToken,
    StagingEnrolled,
    Certificate,
    StagingDescribed,
    Trusted,
    Admitted,
    ScenariosPassed,
    Configured,
    DrillStarted,
    InjectionRequested,
    InjectionGranted,
    InjectionEnded,
    StagingCritical,
    HealingRequested,
    HealingGranted,
    HealingIntended,
    HealingEnded,
    StagingPassing,
    StageHealed,
    RepetitionRequested,
    RepetitionGranted,
    RepetitionEnded,
    StageRepeated,
    SecondInjectionRequested,
    SecondInjectionGranted,
    SecondInjectionEnded,
    StagingCriticalAgain,
    KilledRequested,
    KilledGranted,
    KilledIntended,
    KilledEnded,
    StagingPassingAgain,
    StageKilled,
    Earned,
    DrillEnded,
    Token,
    Enrolled,
    Described,
    Critical,
    Requested,
    Granted,
    Intended,
    Ended,
    Passing,
    Stopped,
    CriticalAgain,
    RequestedAgain,
    Refused,
    Resumed,
}

/// What a test makes of a step.
pub(crate) enum Edit {
    Keep,
    Drop,
    /// An agent says something after it.
    Then(HostId, Body),
}

/// The story as it is.
pub(crate) fn story() -> Log {
    edited(|_, _| Edit::Keep)
}

/// The story with one step's body changed before it is signed.
pub(crate) fn changed(step: At, change: impl FnOnce(&mut Body)) -> Log {
    let mut change = Some(change);
    edited(|at, body| {
        if at == step {
            change.take().expect("each step is taken once")(body);
        }
        Edit::Keep
    })
}

/// The story without a step, all that follows signed as if it had never been.
pub(crate) fn without(step: At) -> Log {
    edited(|at, _| if at == step { Edit::Drop } else { Edit::Keep })
}

/// The story, each body handed to `edit` before it is signed.
pub(crate) fn edited(mut edit: impl FnMut(At, &mut Body) -> Edit) -> Log {
    let mut log = Log::default();
    let mut steps = Vec::new();
    for part in [foundations, drill, healing, stopping] {
        part(&mut steps);
    }
    for (at, author, mut body) in steps {
        let edit = edit(at, &mut body);
        if !matches!(edit, Edit::Drop) {
            match author {
                None => log.control_plane(body),
                Some(host) => log.agent(host, body),
            }
        }
        if let Edit::Then(host, body) = edit {
            log.agent(host, body);
        }
    }
    log
}

type Steps = Vec<(At, Option<HostId>, Body)>;

fn foundations(steps: &mut Steps) {
    let opened = LogOpened {
        origin: crate::log::ORIGIN.to_owned(),
        trust_domain: parsed("fettle.example"),
        permit_key: permit_key().public().to_string(),
        log_key: log_signer().verifier(SignatureKind::Ed25519).to_string(),
    };
    steps.push((At::Opened, None, Body::LogOpened(Box::new(opened))));
    let granted = RoleGranted { person: parsed("alice"), role: Role::Administrator, team: None, by: None };
    steps.push((At::Operator, None, Body::RoleGranted(Box::new(granted))));
    steps.push((At::StagingToken, None, token(STAGING, "staging")));
    steps.push((At::StagingEnrolled, None, enrolled(STAGING, "staging")));
    let issued = CertificateIssued {
        subject: SpiffeId { trust_domain: parsed("fettle.example"), principal: Principal::Agent(host(STAGING)) },
        serial: "1f".to_owned(),
        generation: CertificateGeneration(1),
        not_after: START.plus(Duration::from_hours(24)),
        token: None,
    };
    steps.push((At::Certificate, None, Body::CertificateIssued(Box::new(issued))));
    steps.push((At::StagingDescribed, Some(host(STAGING)), described("staging", DrillConsent::Allowed)));
    let publisher = publisher_key().public();
    let trusted = PublisherTrusted { publisher: parsed("acme"), key: publisher.to_string(), by: parsed("alice") };
    steps.push((At::Trusted, None, Body::PublisherTrusted(Box::new(trusted))));
    steps.push((At::Admitted, None, Body::PlaybookAdmitted(Box::new(published::admitted()))));
    steps.push((At::ScenariosPassed, None, Body::ScenariosPassed(Box::new(scenarios_passed(report())))));
    let set = ConfigurationSet { configuration: configuration(1, 1), by: parsed("alice"), reach: Reach::Everywhere };
    steps.push((At::Configured, None, Body::ConfigurationSet(Box::new(set))));
}

fn drill(steps: &mut Steps) {
    let at = host(STAGING);
    let drill = Drill {
        drill: drill_id(),
        playbook: version(),
        host: at,
        service: parsed("web"),
        check: parsed("http"),
        fault: fault(),
        by: parsed("alice"),
        scheduled: None,
        deadline: START.plus(Duration::from_hours(1)),
    };
    steps.push((At::DrillStarted, None, Body::DrillStarted(Box::new(drill))));
    let (request, permit, ended) = injection(1, Fence(1));
    steps.push((At::InjectionRequested, Some(at), request));
    steps.push((At::InjectionGranted, None, permit));
    steps.push((At::InjectionEnded, Some(at), ended));
    steps.push((At::StagingCritical, Some(at), transition(1, Status::Critical)));
    let request = self::request(2, at, remediate(1));
    let mut permit = permit_for(&request, Fence(2));
    permit.drill = Some(drill_id());
    let ended = ended_run(&permit);
    steps.push((At::HealingRequested, Some(at), Body::PermitRequested(Box::new(request))));
    steps.push((At::HealingGranted, None, Body::PermitGranted(Box::new(permit))));
    steps.push((At::HealingIntended, Some(at), intended(&ended)));
    steps.push((At::HealingEnded, Some(at), Body::RunEnded(Box::new(ended))));
    steps.push((At::StagingPassing, Some(at), transition(2, Status::Passing)));
    let stage = |stage, observed: &[u64]| {
        let observed = observed.iter().copied().map(LogPosition).collect();
        Body::DrillStagePassed(Box::new(DrillStagePassed { drill: drill_id(), host: at, stage, observed }))
    };
    steps.push((At::StageHealed, None, stage(DrillStage::Healed, &[14, 18, 19])));
    let again = Purpose::Repeat { drill: drill_id(), check: check_ref(), remediation: parsed("restart-web") };
    let request = self::request(20, at, again);
    let mut permit = permit_for(&request, Fence(3));
    permit.drill = Some(drill_id());
    let grants = ProvedGrant::of(&permit.targets);
    let mut ended = ended_run(&permit);
    ended.steps.clear();
    steps.push((At::RepetitionRequested, Some(at), Body::PermitRequested(Box::new(request))));
    steps.push((At::RepetitionGranted, None, Body::PermitGranted(Box::new(permit))));
    steps.push((At::RepetitionEnded, Some(at), Body::RunEnded(Box::new(ended))));
    steps.push((At::StageRepeated, None, stage(DrillStage::Repeated, &[23])));
    let (request, permit, ended) = injection(21, Fence(4));
    steps.push((At::SecondInjectionRequested, Some(at), request));
    steps.push((At::SecondInjectionGranted, None, permit));
    steps.push((At::SecondInjectionEnded, Some(at), ended));
    steps.push((At::StagingCriticalAgain, Some(at), transition(3, Status::Critical)));
    let request = self::request(22, at, remediate(3));
    let mut permit = permit_for(&request, Fence(5));
    (permit.drill, permit.kill) = (Some(drill_id()), Some(KillPoint::FirstDeed));
    let mut ended = ended_run(&permit);
    ended.resumed = 1;
    steps.push((At::KilledRequested, Some(at), Body::PermitRequested(Box::new(request))));
    steps.push((At::KilledGranted, None, Body::PermitGranted(Box::new(permit))));
    steps.push((At::KilledIntended, Some(at), intended(&ended)));
    steps.push((At::KilledEnded, Some(at), Body::RunEnded(Box::new(ended))));
    steps.push((At::StagingPassingAgain, Some(at), transition(4, Status::Passing)));
    steps.push((At::StageKilled, None, stage(DrillStage::Killed, &[28, 32, 33])));
    let evidence = Evidence {
        drill: drill_id(),
        playbook: version(),
        parameters: parameters().digest(),
        grants,
        class: class(),
        fault: fault(),
        injection: run_id(1),
        healing: run_id(2),
        repetition: Some(run_id(20)),
        scenarios: Some(LogPosition(8)),
        killed: Some(KilledRun { injection: run_id(21), healing: run_id(22), step: 1 }),
        observed: [14, 18, 19, 23, 28, 32, 33].map(LogPosition).to_vec(),
        expires_at: START.plus(Duration::from_hours(720)),
    };
    steps.push((At::Earned, None, Body::EvidenceEarned(Box::new(evidence))));
    let ending = DrillEnding { drill: drill_id(), result: DrillResult::Proved };
    steps.push((At::DrillEnded, None, Body::DrillEnded(Box::new(ending))));
}

/// The request, the permit and the record of a run that injects the drill's fault.
fn injection(number: u128, fence: Fence) -> (Body, Body, Body) {
    let inject = Purpose::InjectFault { drill: drill_id(), fault: fault() };
    let mut request = request(number, host(STAGING), inject);
    request.playbook = None;
    request.targets.truncate(1);
    let mut permit = permit_for(&request, fence);
    permit.playbook = None;
    permit.parameters = Parameters::default();
    permit.targets[0].actions = BTreeSet::new();
    permit.drill = Some(drill_id());
    let mut ended = ended_run(&permit);
    ended.steps[0].action = Action::Stop;
    (Body::PermitRequested(Box::new(request)), Body::PermitGranted(Box::new(permit)), Body::RunEnded(Box::new(ended)))
}

fn healing(steps: &mut Steps) {
    let at = host(PRODUCTION);
    steps.push((At::Token, None, token(PRODUCTION, "production")));
    steps.push((At::Enrolled, None, enrolled(PRODUCTION, "production")));
    steps.push((At::Described, Some(at), described("production", DrillConsent::Refused)));
    steps.push((At::Critical, Some(at), transition(1, Status::Critical)));
    let request = request(3, at, remediate(1));
    let mut permit = permit_for(&request, Fence(1));
    permit.grounds = vec![LogPosition(9), LogPosition(35)];
    let ended = ended_run(&permit);
    steps.push((At::Requested, Some(at), Body::PermitRequested(Box::new(request))));
    steps.push((At::Granted, None, Body::PermitGranted(Box::new(permit))));
    steps.push((At::Intended, Some(at), intended(&ended)));
    steps.push((At::Ended, Some(at), Body::RunEnded(Box::new(ended))));
    steps.push((At::Passing, Some(at), transition(2, Status::Passing)));
}

fn stopping(steps: &mut Steps) {
    let at = host(PRODUCTION);
    let scope = Scope::Service(parsed("web"));
    let order = StopOrder { scope: scope.clone(), epoch: StopEpoch(1), by: parsed("alice"), why: "quiet".to_owned() };
    steps.push((At::Stopped, None, Body::AutomationStopped(Box::new(order))));
    steps.push((At::CriticalAgain, Some(at), transition(3, Status::Critical)));
    let request = request(4, at, remediate(3));
    let refusal = Refusal {
        request: request.request,
        run: request.run,
        host: at,
        check: Some(check_ref()),
        epoch: Some(TransitionEpoch(3)),
        reasons: vec![Reason::Stopped { scope: scope.clone(), epoch: StopEpoch(1) }],
        budget: None,
        retry_at: None,
    };
    steps.push((At::RequestedAgain, Some(at), Body::PermitRequested(Box::new(request))));
    steps.push((At::Refused, None, Body::PermitRefused(Box::new(refusal))));
    let order = ResumeOrder { scope, by: parsed("alice"), why: "over".to_owned() };
    steps.push((At::Resumed, None, Body::AutomationResumed(Box::new(order))));
}

pub(crate) fn parsed<T: FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("sound text")
}

fn uuid(kind: u128, number: u128) -> Uuid {
    Uuid::from_u128(kind << 64 | number)
}

pub(crate) fn run_id(number: u128) -> RunId {
    RunId::from_uuid(uuid(1, number))
}

pub(crate) fn drill_id() -> DrillId {
    DrillId::from_uuid(uuid(5, 1))
}

pub(crate) fn token(number: u128, environment: &str) -> Body {
    Body::TokenCreated(Box::new(TokenCreated {
        token: TokenId::from_uuid(uuid(4, number)),
        environment: parsed(environment),
        host: None,
        expires_at: START.plus(Duration::from_hours(1)),
        by: parsed("alice"),
    }))
}

pub(crate) fn enrolled(number: u128, environment: &str) -> Body {
    Body::HostEnrolled(Box::new(HostEnrolled {
        host: host(number),
        name: parsed(&format!("host-{number}")),
        environment: parsed(environment),
        record_key: record_key(host(number)).public().to_string(),
        token: TokenId::from_uuid(uuid(4, number)),
    }))
}

pub(crate) fn described(environment: &str, drills: DrillConsent) -> Body {
    Body::HostDescribed(Box::new(HostDescription {
        name: parsed("host"),
        environment: parsed(environment),
        agent_version: "0.1.0".to_owned(),
        os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
        architecture: "x86_64".to_owned(),
        services: [CarriedService {
            name: parsed("web"),
            manager: ManagerKind::Systemd,
            faults: std::collections::BTreeSet::new(),
        }]
        .into(),
        drills,
        isolation: Isolation::Full,
        bindings: [Binding { playbook: parsed("restart-service"), service: parsed("web"), targets: bound() }].into(),
    }))
}

pub(crate) fn class() -> HostClass {
    HostClass {
        service: parsed("web"),
        manager: ManagerKind::Systemd,
        os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
        architecture: "x86_64".to_owned(),
    }
}

fn bound() -> Vec<BoundTarget> {
    vec![
        BoundTarget { label: parsed("service"), target: Target::SystemdUnit { unit: "web.service".to_owned() } },
        BoundTarget { label: parsed("health"), target: Target::Health { check: check_ref() } },
    ]
}

pub(crate) fn check_ref() -> CheckRef {
    CheckRef { service: parsed("web"), check: parsed("http") }
}

pub(crate) fn fault() -> Fault {
    Fault { kind: FaultKind::StopService, on: parsed("service") }
}

pub(crate) fn version() -> PlaybookVersion {
    PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"component") }
}

pub(crate) fn parameters() -> Parameters {
    Parameters(BTreeMap::from([("max-restarts".to_owned(), 3.into())]))
}

fn manifest() -> Manifest {
    Manifest::from_toml(
        r#"
        manifest = 1
        playbook = { name = "restart-service", version = "1.0.0", summary = "Restarts.", owners = ["acme"], host = "fettle:host@0.1.0" }
        limits = { actions = 2, duration = "5m" }
        confirm = { health = "health", stable = "2s", within = "1m" }
        on-failure = { undo = "leave", why = "A restart cannot be undone." }
        grant = [
          { label = "service", kind = "service", actions = ["restart"], why = "To restart it." },
          { label = "health", kind = "health", why = "To see it." },
        ]
        drill = [{ fault = "stop-service", on = "service" }]
        [parameters.max-restarts]
        kind = "integer"
        default = 3
        minimum = 1
        maximum = 9
        summary = "Restarts at most."
        "#,
    )
    .expect("a manifest")
}

/// One service, one remediation; `in_flight` permits at most.
pub(crate) fn configuration(generation: u64, in_flight: u32) -> Configuration {
    let environments: BTreeSet<_> = [parsed("staging"), parsed("production")].into();
    let check = Check {
        name: parsed("http"),
        probe: Probe::Tcp { address: HostValue("{host.address}".to_owned()) },
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        fail_after: 1,
        recover_after: 1,
    };
    let service = Service {
        name: parsed("web"),
        owner: parsed("shop"),
        tier: Tier(1),
        hosts: Selector::new(environments, BTreeSet::new()).expect("not empty"),
        checks: vec![check],
    };
    let remediation = Remediation {
        name: parsed("restart-web"),
        service: parsed("web"),
        check: parsed("http"),
        playbook: version(),
        parameters: parameters(),
        modes: BTreeMap::from([(parsed("staging"), Mode::Auto), (parsed("production"), Mode::Auto)]),
        guard: Guard { max_in_flight: Amount::Count(in_flight), cooldown: Duration::ZERO, ..Guard::default() },
        escalation: Escalation::default(),
        offline: None,
    };
    let declared = Declared { services: vec![service], remediations: vec![remediation], ..Declared::default() };
    Configuration::new(ConfigurationGeneration(generation), declared).expect("consistent")
}

pub(crate) fn remediate(epoch: u64) -> Purpose {
    Purpose::Remediate {
        check: check_ref(),
        epoch: TransitionEpoch(epoch),
        remediation: parsed("restart-web"),
        rung: Rung::FIRST,
    }
}

pub(crate) fn transition(epoch: u64, to: Status) -> Body {
    let from = if to == Status::Critical { Status::Passing } else { Status::Critical };
    let reason = "connection refused".to_owned();
    Body::TransitionSeen(Box::new(Transition {
        of: check_ref(),
        epoch: TransitionEpoch(epoch),
        from,
        to,
        at: START,
        reason,
    }))
}

pub(crate) fn request(number: u128, host: HostId, purpose: Purpose) -> PermitRequest {
    PermitRequest {
        request: RequestId::from_uuid(uuid(3, number)),
        run: run_id(number),
        host,
        boot: BootId::from_uuid(uuid(6, 1)),
        sent_at: BootInstant(5_000),
        purpose,
        playbook: Some(version().digest),
        targets: bound(),
        configuration: ConfigurationGeneration(1),
    }
}

/// The permit that grants a request in full.
pub(crate) fn permit_for(request: &PermitRequest, fence: Fence) -> Permit {
    let actions = |target: &Target| match target {
        Target::SystemdUnit { .. } => BTreeSet::from([Action::Restart]),
        _ => BTreeSet::new(),
    };
    let targets = request.targets.iter().map(|bound| PermittedTarget {
        label: bound.label.clone(),
        target: bound.target.clone(),
        actions: actions(&bound.target),
    });
    Permit {
        permit: PermitId::from_uuid(Uuid::from_u128(request.run.as_uuid().as_u128() ^ 3 << 64)),
        request: request.request,
        run: request.run,
        host: request.host,
        boot: request.boot,
        sent_at: request.sent_at,
        lease: Duration::from_secs(30),
        run_within: Duration::from_mins(5),
        effect_within: Duration::from_mins(3),
        fence,
        stop_epoch: StopEpoch(0),
        configuration: request.configuration,
        purpose: request.purpose.clone(),
        playbook: Some(version()),
        parameters: parameters(),
        targets: targets.collect(),
        actions: 2,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill: None,
        kill: None,
        approved: None,
        policies: fettle_model::digest::DocumentDigest::of(b"policies"),
        grounds: vec![LogPosition(9)],
    }
}

/// What its agent said before the first step of a run.
pub(crate) fn intended(run: &RunRecord) -> Body {
    let step = run.steps.first().expect("a step");
    Body::StepIntended(Box::new(StepIntended {
        run: run.run,
        permit: run.permit,
        number: step.number,
        action: Some(step.action),
        label: step.label.clone(),
        arguments: step.arguments.clone(),
        intended_at: step.intended_at,
    }))
}

/// A run that restarts, as its agent tells of it.
pub(crate) fn told(log: &mut Log, run: RunRecord) {
    let at = run.host;
    if run.irreversible_steps().next().is_some() {
        log.agent(at, intended(&run));
    }
    log.agent(at, Body::RunEnded(Box::new(run)));
}

/// The account of a run that took one step and succeeded.
pub(crate) fn ended_run(permit: &Permit) -> RunRecord {
    RunRecord {
        run: permit.run,
        permit: permit.permit,
        request: permit.request,
        host: permit.host,
        purpose: permit.purpose.clone(),
        playbook: permit.playbook.clone(),
        started_at: START,
        ended_at: START,
        ending: Ending::Succeeded,
        summary: "restarted".to_owned(),
        claim: None,
        confirmed: Some(Status::Passing),
        steps: vec![Step {
            number: 1,
            action: Action::Restart,
            label: parsed("service"),
            arguments: String::new(),
            intended_at: START,
            outcome: StepOutcome::Done { change: Change::Made, undo: UndoClass::None },
        }],
        undone: Vec::new(),
        said: Vec::new(),
        resumed: 0,
        fuel: 1_000,
        journal: DocumentDigest::of(b"journal"),
    }
}
