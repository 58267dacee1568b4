//! A fleet as records and requests: services, remediations, hosts, and what their agents say. Pure.
//!
//! Every host is in production and carries every service; each service has one check, which one remediation
//! answers by restarting a unit.

use anyhow::Context as _;
use fettle_model::check::{Check, CheckRef, HostValue, Probe, Status, Transition};
use fettle_model::configuration::Declared;
use fettle_model::counter::{ConfigurationGeneration, TransitionEpoch};
use fettle_model::digest::{DocumentDigest, KeyId, PlaybookDigest};
use fettle_model::escalation::{Escalation, Rung};
use fettle_model::guard::{Amount, Guard, MAX_PER_WINDOW};
use fettle_model::host::{
    Binding, CarriedService, DrillConsent, HostDescription, Isolation, ManagerKind, OperatingSystem,
};
use fettle_model::id::{BootId, HostId, RequestId, RunId};
use fettle_model::permit::{BoundTarget, Permit, PermitRequest, Purpose, Target};
use fettle_model::playbook::Manifest;
use fettle_model::record::PlaybookAdmitted;
use fettle_model::remediation::{Mode, Parameters, PlaybookVersion, Remediation};
use fettle_model::run::{Claim, Ending, RunRecord};
use fettle_model::service::{Selector, Service, Tier};
use fettle_model::time::{BootInstant, UnixMillis};
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;

/// Where all hosts are.
pub(crate) const ENVIRONMENT: &str = "production";

/// The key of the publisher, base64; nothing is verified with it here.
pub(crate) const PUBLISHER_KEY: &str = "cHVibGlzaGVyIGtleSBvZiB0aGUgYmVuY2gsIDMyIGI=";

const MANIFEST: &str = r#"
manifest = 1

[playbook]
name = "restart-service"
version = "1.0.0"
summary = "Restarts a service"
owners = ["sre"]
host = "fettle:host@0.1.0"

[[grant]]
label = "worker"
kind = "service"
actions = ["restart"]
why = "to restart it"

[[grant]]
label = "check"
kind = "health"
why = "to see whether it helped"

[limits]
actions = 3
duration = "2m"

[confirm]
health = "check"
stable = "10s"
within = "1m"

[on-failure]
undo = "leave"
why = "a restart cannot be undone"
"#;

/// A name of any kind.
pub(crate) fn name<T: FromStr>(text: &str) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("{text:?} is no name"))
}

/// The check of a service.
pub(crate) fn check(service: u32) -> anyhow::Result<CheckRef> {
    Ok(CheckRef { service: name(&format!("service-{service:02}"))?, check: name("http")? })
}

pub(crate) fn host_name(host: u32) -> String {
    format!("host-{host:05}")
}

pub(crate) fn version() -> anyhow::Result<PlaybookVersion> {
    Ok(PlaybookVersion { name: name("restart-service")?, digest: PlaybookDigest::of(MANIFEST.as_bytes()) })
}

/// The admission of the playbook.
pub(crate) fn admission() -> anyhow::Result<PlaybookAdmitted> {
    Ok(PlaybookAdmitted {
        digest: version()?.digest,
        manifest: Manifest::from_toml(MANIFEST).context("the bench's manifest")?,
        publisher: name("bench")?,
        key: KeyId::of(b"publisher"),
        publication: "{}".to_owned(),
        imports: Vec::new(),
        size_bytes: 1,
        by: name("somebody")?,
    })
}

/// Services and their remediations. Four runs at once in each, so that grants and refusals mix; no other limit is near.
pub(crate) fn declared(services: u32) -> anyhow::Result<Declared> {
    let environments: BTreeSet<_> = [name(ENVIRONMENT)?].into();
    let guard = Guard {
        max_in_flight: Amount::Count(4),
        max_per_window: MAX_PER_WINDOW,
        max_irreversible: MAX_PER_WINDOW,
        ..Guard::default()
    };
    let mut declared = Declared::default();
    for number in 0..services {
        let CheckRef { service, check } = check(number)?;
        declared.services.push(Service {
            name: service.clone(),
            owner: name("bench")?,
            tier: Tier(2),
            hosts: Selector::new(environments.clone(), BTreeSet::new())?,
            checks: vec![Check {
                name: check.clone(),
                probe: Probe::Tcp { address: HostValue("{host.address}".to_owned()) },
                interval: Duration::from_secs(1),
                timeout: Duration::from_secs(1),
                fail_after: 3,
                recover_after: 3,
            }],
        });
        declared.remediations.push(Remediation {
            name: name(&format!("restart-{service}"))?,
            service,
            check,
            playbook: version()?,
            parameters: Parameters::default(),
            modes: BTreeMap::from([(name(ENVIRONMENT)?, Mode::Auto)]),
            guard: guard.clone(),
            escalation: Escalation::default(),
            offline: None,
        });
    }
    Ok(declared)
}

/// What the host's owner bound to the labels for a service.
pub(crate) fn targets(service: u32) -> anyhow::Result<Vec<BoundTarget>> {
    let of = check(service)?;
    let unit = format!("{}.service", of.service);
    Ok(vec![
        BoundTarget { label: name("worker")?, target: Target::SystemdUnit { unit } },
        BoundTarget { label: name("check")?, target: Target::Health { check: of } },
    ])
}

/// What an agent says of its host.
pub(crate) fn description(host: u32, services: u32) -> anyhow::Result<HostDescription> {
    let mut carried = Vec::new();
    let mut bindings = Vec::new();
    for number in 0..services {
        let service = check(number)?.service;
        carried.push(CarriedService {
            name: service.clone(),
            manager: ManagerKind::Systemd,
            faults: std::collections::BTreeSet::new(),
        });
        bindings.push(Binding { playbook: version()?.name, service, targets: targets(number)? });
    }
    Ok(HostDescription {
        name: name(&host_name(host))?,
        environment: name(ENVIRONMENT)?,
        agent_version: "0.1.0".to_owned(),
        os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
        architecture: "x86_64".to_owned(),
        services: carried.into(),
        drills: DrillConsent::Refused,
        isolation: Isolation::Full,
        bindings: bindings.into(),
    })
}

pub(crate) fn transition(service: u32, epoch: u64, to: Status, at: UnixMillis) -> anyhow::Result<Transition> {
    let from = match to {
        Status::Passing => Status::Unknown,
        Status::Warning | Status::Critical | Status::Unknown => Status::Passing,
    };
    let reason = "GET http://127.0.0.1:8080/health: connection refused".to_owned();
    Ok(Transition { of: check(service)?, epoch: TransitionEpoch(epoch), from, to, at, reason })
}

/// A request for a permit about the newest transition of a service's check; `number` makes its ids.
pub(crate) fn request(host: HostId, service: u32, epoch: u64, number: u128) -> anyhow::Result<PermitRequest> {
    let check = check(service)?;
    let remediation = name(&format!("restart-{}", check.service))?;
    Ok(PermitRequest {
        request: RequestId::from_uuid(Uuid::from_u128(number)),
        run: RunId::from_uuid(Uuid::from_u128(number)),
        host,
        boot: BootId::from_uuid(Uuid::from_u128(7)),
        sent_at: BootInstant(1_000),
        purpose: Purpose::Remediate { check, epoch: TransitionEpoch(epoch), remediation, rung: Rung::FIRST },
        playbook: Some(version()?.digest),
        targets: targets(service)?,
        configuration: ConfigurationGeneration(1),
    })
}

/// What an agent reports of a run that went well.
pub(crate) fn succeeded(permit: &Permit, at: UnixMillis) -> RunRecord {
    RunRecord {
        run: permit.run,
        permit: permit.permit,
        request: permit.request,
        host: permit.host,
        purpose: permit.purpose.clone(),
        playbook: permit.playbook.clone(),
        started_at: at,
        ended_at: at,
        ending: Ending::Succeeded,
        summary: "restarted".to_owned(),
        claim: Some(Claim::Resolved { summary: "restarted".to_owned() }),
        confirmed: None,
        steps: Vec::new(),
        undone: Vec::new(),
        said: Vec::new(),
        resumed: 0,
        fuel: 1,
        journal: DocumentDigest::of(b"journal"),
    }
}
