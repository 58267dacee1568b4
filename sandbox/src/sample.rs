//! What the tests of this crate run on: one playbook's manifest, its permit, and calls under it.

use crate::call::{Call, FlagCall, HealthCall, LogCall, ReleaseCall, Revision, ServiceCall};
use crate::machine::{Charter, Now};
use fettle_model::check::CheckRef;
use fettle_model::counter::{ConfigurationGeneration, Fence, StopEpoch, TransitionEpoch};
use fettle_model::digest::PlaybookDigest;
use fettle_model::escalation::Rung;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::id::{BootId, DrillId, HostId, PermitId, RequestId, RunId};
use fettle_model::name::Label;
use fettle_model::permit::{KillPoint, Permit, PermittedTarget, Purpose, Target};
use fettle_model::playbook::{Action, GrantKind, Manifest, UndoPolicy};
use fettle_model::remediation::{Parameters, PlaybookVersion};
use fettle_model::time::{BootInstant, UnixMillis};
use std::time::Duration;
use uuid::Uuid;

/// A grant of each kind that changes something; three changing calls in a minute; undone on failure.
pub(crate) const MANIFEST: &str = r#"
manifest = 1
[playbook]
name = "sample"
version = "1.0.0"
summary = "For the tests of this crate."
owners = ["tests"]
host = "fettle:host@0.1.0"
[[grant]]
label = "web"
kind = "service"
actions = ["start", "stop", "restart"]
why = "test"
[[grant]]
label = "app"
kind = "release"
actions = ["activate"]
why = "test"
[[grant]]
label = "flag"
kind = "flag"
actions = ["set"]
why = "test"
[[grant]]
label = "health"
kind = "health"
why = "test"
[limits]
actions = 3
duration = "1m"
[confirm]
health = "health"
stable = "2s"
within = "10s"
[on-failure]
undo = "automatic"
"#;

/// When its runs begin, on the boot clock and on the wall clock.
pub(crate) const BEGUN: (u64, u64) = (1_000, 1_767_225_600_000);

pub(crate) fn manifest(undo: UndoPolicy) -> Manifest {
    let mut manifest = Manifest::from_toml(MANIFEST).expect("the sample is sound");
    manifest.on_failure.undo = undo;
    manifest
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

fn check() -> CheckRef {
    CheckRef { service: "web".parse().expect("a name"), check: "http".parse().expect("a name") }
}

pub(crate) fn boot(number: u128) -> BootId {
    BootId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn run_id() -> RunId {
    RunId::from_uuid(Uuid::from_u128(7))
}

/// A permit for everything that the manifest asks for.
pub(crate) fn permit(manifest: &Manifest) -> Permit {
    let target = |kind, label: &Label| match kind {
        GrantKind::Service => Target::SystemdUnit { unit: format!("{label}.service") },
        GrantKind::Release => Target::ReleaseRoot { root: "/srv/app".to_owned() },
        GrantKind::Flag => Target::Flag { file: "/etc/flags.json".to_owned(), key: "new".to_owned() },
        GrantKind::Health => Target::Health { check: check() },
        GrantKind::Facts => Target::Facts,
    };
    let targets = manifest.grants.iter().map(|grant| PermittedTarget {
        label: grant.label.clone(),
        target: target(grant.kind, &grant.label),
        actions: grant.actions.clone(),
    });
    Permit {
        permit: PermitId::from_uuid(Uuid::from_u128(1)),
        request: RequestId::from_uuid(Uuid::from_u128(2)),
        run: run_id(),
        host: HostId::from_uuid(Uuid::from_u128(3)),
        boot: boot(1),
        sent_at: BootInstant(0),
        lease: Duration::from_secs(30),
        run_within: Duration::from_mins(1),
        effect_within: Duration::from_secs(20),
        fence: Fence(1),
        stop_epoch: StopEpoch(0),
        configuration: ConfigurationGeneration(1),
        purpose: Purpose::Remediate {
            check: check(),
            epoch: TransitionEpoch(7),
            remediation: "heal-web".parse().expect("a name"),
            rung: Rung::FIRST,
        },
        playbook: Some(PlaybookVersion { name: manifest.playbook.name.clone(), digest: PlaybookDigest::of(b"sample") }),
        parameters: Parameters::default(),
        targets: targets.collect(),
        actions: 3,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill: None,
        kill: None,
        approved: None,
        policies: fettle_model::digest::DocumentDigest::of(b"policies"),
        grounds: Vec::new(),
    }
}

pub(crate) fn charter(undo: UndoPolicy) -> Charter {
    let manifest = manifest(undo);
    Charter::new(permit(&manifest), Some(&manifest)).expect("they fit")
}

/// A drill's second run, which has to change nothing.
pub(crate) fn repetition() -> Charter {
    let manifest = manifest(UndoPolicy::Automatic);
    let drill = DrillId::from_uuid(Uuid::from_u128(9));
    let purpose = Purpose::Repeat { drill, check: check(), remediation: "heal-web".parse().expect("a name") };
    let permit = Permit { purpose, ..permit(&manifest) };
    Charter::new(permit, Some(&manifest)).expect("they fit")
}

/// A drill's run that is killed in the middle.
pub(crate) fn killed(undo: UndoPolicy) -> Charter {
    let manifest = manifest(undo);
    let drill = Some(DrillId::from_uuid(Uuid::from_u128(9)));
    let permit = Permit { kill: Some(KillPoint::FirstDeed), drill, ..permit(&manifest) };
    Charter::new(permit, Some(&manifest)).expect("they fit")
}

/// A drill's run, which stops the service.
pub(crate) fn drill() -> Charter {
    let fault = Fault { kind: FaultKind::StopService, on: label("web") };
    let purpose = Purpose::InjectFault { drill: DrillId::from_uuid(Uuid::from_u128(9)), fault };
    let permit = Permit { purpose, playbook: None, ..permit(&manifest(UndoPolicy::Leave)) };
    Charter::new(permit, None).expect("a drill needs no manifest")
}

/// So many milliseconds after the run began, in the boot in which it did.
pub(crate) fn after(ms: u64) -> Now {
    let (on_boot, wall) = BEGUN;
    Now { boot: boot(1), on_boot: BootInstant(on_boot + ms), wall: UnixMillis(wall + ms) }
}

pub(crate) fn status() -> Call {
    Call::Service { label: label("web"), op: ServiceCall::Status }
}

pub(crate) fn change(action: Action, expect: &str) -> Call {
    Call::Service { label: label("web"), op: ServiceCall::Change { action, expect: Revision(expect.to_owned()) } }
}

pub(crate) fn activate(release: &str, expect: &str) -> Call {
    let (release, expect) = (release.to_owned(), Revision(expect.to_owned()));
    Call::Release { label: label("app"), op: ReleaseCall::Activate { release, expect } }
}

pub(crate) fn set(value: &str, expect: &str, hold_ms: u32) -> Call {
    let (value, expect) = (value.to_owned(), Revision(expect.to_owned()));
    Call::Flag { label: label("flag"), op: FlagCall::Set { value, expect, hold_ms } }
}

pub(crate) fn probe() -> Call {
    Call::Health { label: label("health"), op: HealthCall::Probe }
}

pub(crate) fn phase(name: &str) -> Call {
    Call::Log(LogCall::Phase { name: name.to_owned() })
}
