//! What every history begins with: one service on three hosts, a playbook that is proved, and the keys.

use crate::people::{APPROVERS, person_key};
use crate::setting::{Setting, Way};
use anyhow::Context as _;
use fettle_audit::key::SigningKey;
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::check::{Check, CheckRef, HostValue, Probe};
use fettle_model::configuration::{Configuration, Declared};
use fettle_model::counter::{ConfigurationGeneration, LogPosition};
use fettle_model::digest::{DocumentDigest, KeyId, PlaybookDigest};
use fettle_model::escalation::Escalation;
use fettle_model::evidence::{Evidence, Fault, FaultKind, HostClass, KilledRun, ProvedGrant};
use fettle_model::guard::{Amount, Guard};
use fettle_model::host::{
    Binding, CarriedService, DrillConsent, HostDescription, Isolation, ManagerKind, OperatingSystem,
};
use fettle_model::id::{DrillId, HostId, RunId, TokenId};
use fettle_model::identity::Role;
use fettle_model::name::RemediationName;
use fettle_model::offline::{Offline, Units};
use fettle_model::permit::{BoundTarget, PermittedTarget, Target};
use fettle_model::person_key::{PersonKeySet, SigningKeyProof};
use fettle_model::playbook::{Action, Manifest};
use fettle_model::record::{
    Author, Body, ConfigurationSet, HostEnrolled, LogOpened, PlaybookAdmitted, Record, RoleGranted,
};
use fettle_model::remediation::{Mode, Parameters, PlaybookVersion, Remediation};
use fettle_model::rollout::Reach;
use fettle_model::service::{Selector, Service, Tier};
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// Hosts: enough for one to act, one to wait, and one to be gone.
pub(crate) const HOSTS: usize = 3;
/// Of the policies, which come with the program.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Edition {
    First,
    Second,
}

/// The wall clock at the beginning.
pub(crate) const BEGUN: UnixMillis = UnixMillis(1_700_000_000_000);
/// Permits of the service within [`WINDOW`].
pub(crate) const MAX_PER_WINDOW: u32 = 8;
/// The budget's window.
pub(crate) const WINDOW: Duration = Duration::from_mins(3);
/// People who have to say yes, where people have to.
pub(crate) const APPROVALS: u32 = 2;
/// Runs under one budget in advance.
const UNITS: u32 = 2;
/// How long one is good for: a partition is shorter or longer.
const LASTS: Duration = Duration::from_mins(2);
/// Who stops and resumes.
pub(crate) const PERSON: &str = "alice";

const ENVIRONMENT: &str = "production";
const PLAYBOOK: &str = "restart-service";

const MANIFEST: &str = r#"
manifest = 1
[playbook]
name = "restart-service"
version = "1.0.0"
summary = "Starts a service anew, sometimes twice."
owners = ["sre"]
host = "fettle:host@0.1.0"
[[grant]]
label = "worker"
kind = "service"
actions = ["{action}"]
why = "to have it run"
[[grant]]
label = "check"
kind = "health"
why = "to see whether it helped"
[limits]
actions = 3
duration = "20s"
[confirm]
health = "check"
stable = "1s"
within = "10s"
[on-failure]
undo = "leave"
why = "half of it is better than none"
"#;

pub(crate) fn name<T: FromStr>(text: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("{text:?} is no name"))
}

pub(crate) fn check() -> anyhow::Result<CheckRef> {
    Ok(CheckRef { service: name("web")?, check: name("http")? })
}

/// What the playbook does. A start can be undone, so that it may be given in advance.
pub(crate) const fn action(way: Way) -> Action {
    match way {
        Way::Auto | Way::Approve => Action::Restart,
        Way::Offline => Action::Start,
    }
}

fn manifest_text(way: Way) -> String {
    MANIFEST.replace("{action}", action(way).as_str())
}

pub(crate) fn manifest(way: Way) -> anyhow::Result<Manifest> {
    Manifest::from_toml(&manifest_text(way)).context("the simulation's manifest")
}

pub(crate) fn version(way: Way) -> anyhow::Result<PlaybookVersion> {
    Ok(PlaybookVersion { name: name(PLAYBOOK)?, digest: PlaybookDigest::of(manifest_text(way).as_bytes()) })
}

pub(crate) fn host_id(host: usize) -> HostId {
    HostId::from_uuid(Uuid::from_u128(0xA000 + u128::try_from(host).unwrap_or_default()))
}

pub(crate) fn remediation() -> anyhow::Result<RemediationName> {
    name("restart-web")
}

/// The key with which a host signs its records.
pub(crate) fn record_key(host: usize) -> SigningKey {
    let mut seed = [7; 32];
    seed[..16].copy_from_slice(host_id(host).as_uuid().as_bytes());
    SigningKey::from_seed(&seed)
}

/// What the policies of a control plane hash to.
pub(crate) fn policies(edition: Edition) -> DocumentDigest {
    DocumentDigest::of(match edition {
        Edition::First => b"policies",
        Edition::Second => b"policies, revised",
    })
}

/// The key with which the control plane signs its records.
pub(crate) fn permit_key() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

pub(crate) fn targets() -> anyhow::Result<Vec<BoundTarget>> {
    Ok(vec![
        BoundTarget { label: name("worker")?, target: Target::SystemdUnit { unit: "web.service".to_owned() } },
        BoundTarget { label: name("check")?, target: Target::Health { check: check()? } },
    ])
}

/// What each host's owner allows at most.
pub(crate) fn ceiling() -> anyhow::Result<BTreeMap<Target, BTreeSet<Action>>> {
    let actions = |target: &Target| match target {
        Target::SystemdUnit { .. } => BTreeSet::from([Action::Start, Action::Restart]),
        Target::CommandService { .. }
        | Target::ReleaseRoot { .. }
        | Target::Flag { .. }
        | Target::Health { .. }
        | Target::Facts => BTreeSet::new(),
    };
    Ok(targets()?.into_iter().map(|bound| (bound.target.clone(), actions(&bound.target))).collect())
}

pub(crate) fn description(host: usize) -> anyhow::Result<HostDescription> {
    Ok(HostDescription {
        name: name(&format!("p{host}"))?,
        environment: name(ENVIRONMENT)?,
        agent_version: "0.1.0".to_owned(),
        os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
        architecture: "x86_64".to_owned(),
        services: [CarriedService { name: check()?.service, manager: ManagerKind::Systemd, faults: BTreeSet::new() }]
            .into(),
        drills: DrillConsent::Refused,
        isolation: Isolation::Full,
        bindings: [Binding { playbook: name(PLAYBOOK)?, service: check()?.service, targets: targets()? }].into(),
    })
}

fn configuration(setting: Setting) -> anyhow::Result<Configuration> {
    let way = setting.way;
    let environments = BTreeSet::from([name(ENVIRONMENT)?]);
    let service = Service {
        name: check()?.service,
        owner: name("team-web")?,
        tier: Tier(1),
        hosts: Selector::new(environments, BTreeSet::new())?,
        checks: vec![Check {
            name: check()?.check,
            probe: Probe::Tcp { address: HostValue("{host.address}".to_owned()) },
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fail_after: 1,
            recover_after: 1,
        }],
    };
    // The limits that are asked about stand; the others are out of the way, so that much happens.
    let guard = Guard {
        max_in_flight: Amount::Count(setting.limit),
        min_healthy: Amount::Count(0),
        max_attempts: 1_000,
        cooldown: Duration::from_secs(2),
        healthy_for: Duration::from_secs(20),
        max_failures: 1_000,
        failure_window: Duration::from_mins(1),
        max_per_window: MAX_PER_WINDOW,
        max_irreversible: MAX_PER_WINDOW,
        window: WINDOW,
        approvals: APPROVALS,
    };
    let (mode, offline) = match way {
        Way::Auto => (Mode::Auto, None),
        Way::Approve => (Mode::Approve, None),
        Way::Offline => {
            (Mode::Auto, Some(Offline { hosts: Amount::Count(1), units: Units::new(UNITS)?, lasts: LASTS }))
        }
    };
    let remediation = Remediation {
        name: remediation()?,
        service: check()?.service,
        check: check()?.check,
        playbook: version(way)?,
        parameters: Parameters::default(),
        modes: BTreeMap::from([(name(ENVIRONMENT)?, mode)]),
        guard,
        escalation: Escalation::default(),
        offline,
    };
    let none = Amount::Percent(100);
    let breakers = BreakerLimits {
        environment_failures: 1_000_000,
        global_failures: 1_000_000,
        storm: none,
        blindness: none,
        ..BreakerLimits::default()
    };
    let declared =
        Declared { services: vec![service], remediations: vec![remediation], breakers, ..Declared::default() };
    Ok(Configuration::new(ConfigurationGeneration(1), declared)?)
}

/// The targets with what the playbook may do to them.
pub(crate) fn permitted(way: Way) -> anyhow::Result<Vec<PermittedTarget>> {
    let manifest = manifest(way)?;
    let with_actions = |bound: BoundTarget| PermittedTarget {
        actions: manifest.grant(&bound.label).map(|grant| grant.actions.clone()).unwrap_or_default(),
        label: bound.label,
        target: bound.target,
    };
    Ok(targets()?.into_iter().map(with_actions).collect())
}

fn evidence(way: Way) -> anyhow::Result<Evidence> {
    let run = RunId::from_uuid(Uuid::from_u128(0xB000));
    Ok(Evidence {
        drill: DrillId::from_uuid(Uuid::from_u128(0xB001)),
        playbook: version(way)?,
        parameters: Parameters::default().digest(),
        grants: ProvedGrant::of(&permitted(way)?),
        class: HostClass::of(&description(0)?, &check()?.service).context("it is carried")?,
        fault: Fault { kind: FaultKind::StopService, on: name("worker")? },
        injection: run,
        healing: run,
        repetition: Some(run),
        scenarios: Some(LogPosition(0)),
        killed: Some(KilledRun { injection: run, healing: run, step: 1 }),
        observed: Vec::new(),
        expires_at: BEGUN.plus(Duration::from_hours(24)),
    })
}

/// The first records of the log.
pub(crate) fn first_records(setting: Setting) -> anyhow::Result<Vec<Record>> {
    let way = setting.way;
    let by = || name(PERSON);
    let mut bodies = vec![
        Body::LogOpened(Box::new(LogOpened {
            origin: "fettle.example/log".to_owned(),
            trust_domain: "fettle.example".parse().context("a trust domain")?,
            permit_key: permit_key().public().to_string(),
            log_key: "none".to_owned(),
        })),
        Body::RoleGranted(Box::new(RoleGranted { person: by()?, role: Role::Operator, team: None, by: None })),
        Body::PlaybookAdmitted(Box::new(PlaybookAdmitted {
            digest: version(way)?.digest,
            manifest: manifest(way)?,
            publisher: name("acme")?,
            key: KeyId::of(b"publisher"),
            publication: "{}".to_owned(),
            imports: Vec::new(),
            size_bytes: 1,
            by: by()?,
        })),
        Body::ConfigurationSet(Box::new(ConfigurationSet {
            configuration: configuration(setting)?,
            by: by()?,
            reach: Reach::Everywhere,
        })),
        Body::EvidenceEarned(Box::new(evidence(way)?)),
    ];
    for (number, approver) in APPROVERS.into_iter().enumerate() {
        let person = name(approver)?;
        let signing_key =
            SigningKeyProof { key: person_key(number).public().to_string(), proof: "shown to the rim".to_owned() };
        bodies.push(Body::PersonKeySet(Box::new(PersonKeySet { person, signing_key, by: by()? })));
        let granted = RoleGranted { person: name(approver)?, role: Role::Approver, team: None, by: Some(by()?) };
        bodies.push(Body::RoleGranted(Box::new(granted)));
    }
    for host in 0..HOSTS {
        bodies.push(Body::HostEnrolled(Box::new(HostEnrolled {
            host: host_id(host),
            name: description(host)?.name,
            environment: name(ENVIRONMENT)?,
            record_key: record_key(host).public().to_string(),
            token: TokenId::from_uuid(*host_id(host).as_uuid()),
        })));
    }
    Ok(bodies.into_iter().map(|body| Record { author: Author::ControlPlane, at: BEGUN, body }).collect())
}
