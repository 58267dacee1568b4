//! What production still has to have proved: covered, expired, drifted, and what would earn it.

use crate::world::{World, admit, description, fault, version};
use fettle_controlplane::core::{EVIDENCE_VALID_FOR, PersonRequest, coverage};
use fettle_model::check::Status;
use fettle_model::coverage::{Coverage, Difference, Earning, Finding, Obstacle};
use fettle_model::evidence::FaultKind;
use fettle_model::host::{DrillConsent, HostDescription, HostState};
use fettle_model::id::HostId;
use fettle_model::permit::Target;
use fettle_model::record::{Body, Kind};
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use std::collections::BTreeSet;
use std::sync::Arc;

fn shown(world: &World) -> Vec<Coverage> {
    coverage(world.core.state(), world.now.wall)
}

#[track_caller]
fn only(world: &World) -> Coverage {
    let mut rows = shown(world);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn named(world: &World, name: &str) -> HostId {
    world.core.state().hosts().find(|host| host.name.as_str() == name).expect("a host").id
}

fn described(world: &mut World, name: &str, environment: &str, change: impl FnOnce(&mut HostDescription)) {
    let mut said = description(name, environment);
    change(&mut said);
    world.say(named(world, name), Body::HostDescribed(Box::new(said)));
}

/// The unit that the playbook's label stands for on this host.
fn unit(said: &mut HostDescription, unit: &str) {
    for target in Arc::make_mut(&mut said.bindings).iter_mut().flat_map(|binding| &mut binding.targets) {
        if target.label == fault().on {
            target.target = Target::SystemdUnit { unit: unit.to_owned() };
        }
    }
}

#[track_caller]
fn differs(world: &World) -> Vec<Difference> {
    match only(world).finding {
        Finding::Differs { differences, .. } => differences,
        other => unreachable!("{other:?}"),
    }
}

/// What a host that becomes critical is refused for.
fn refused(world: &mut World, name: &str) -> Vec<&'static str> {
    let host = named(world, name);
    world.becomes(host, Status::Passing);
    world.becomes(host, Status::Critical);
    let refusal = world.ask(host).expect_err("a refusal");
    refusal.reasons.iter().map(Reason::rule).collect()
}

#[test]
fn evidence_covers_by_its_drill_until_it_expires() {
    let (mut world, _) = World::proved(2);
    let row = only(&world);
    assert_eq!((row.hosts, row.named.len()), (2, 2), "staging needs nothing");
    let Finding::Covered { by } = row.finding else { panic!("{row:?}") };
    assert_eq!(world.record(by.position).body.kind(), Kind::EvidenceEarned);
    assert_eq!(by.until, world.now.wall.plus(EVIDENCE_VALID_FOR));
    world.advance(EVIDENCE_VALID_FOR);
    assert_eq!(only(&world).finding, Finding::Expired { by });
    assert_eq!(refused(&mut world, "p0"), ["evidence-expired"]);
}

#[test]
fn a_class_that_drifts_is_not_covered_and_the_difference_is_named() {
    let (mut world, _) = World::proved(2);
    described(&mut world, "p1", "production", |said| said.os.version = "13".to_owned());
    let rows = shown(&world);
    let findings: Vec<_> = rows.iter().map(|row| (row.class.os.version.as_str(), row.hosts, &row.finding)).collect();
    assert!(matches!(findings[0], ("12", 1, Finding::Covered { .. })), "{findings:?}");
    let ("13", 1, Finding::Differs { differences, .. }) = findings[1] else { panic!("{findings:?}") };
    let [Difference::OperatingSystem { proved, needed }] = differences.as_slice() else { panic!("{differences:?}") };
    assert_eq!((proved.version.as_str(), needed.version.as_str()), ("12", "13"));
    assert_eq!(rows[1].earning, Earning::NoHost, "staging has no such host");
    assert_eq!(refused(&mut world, "p1"), ["no-evidence"]);
}

#[test]
fn a_label_that_stands_for_another_unit_is_not_covered() {
    let (mut world, _) = World::proved(2);
    for host in ["p0", "p1"] {
        described(&mut world, host, "production", |said| unit(said, "web2.service"));
    }
    let [Difference::Grant { label, proved: Some(proved), needed: Some(needed) }] = &differs(&world)[..] else {
        panic!("{:?}", differs(&world))
    };
    assert_eq!(label, &fault().on);
    assert_eq!((proved.called.as_deref(), needed.called.as_deref()), (Some("web.service"), Some("web2.service")));
    let host = named(&world, "p0");
    world.becomes(host, Status::Critical);
    let asked = world.ask_with(host, |request| {
        for target in request.targets.iter_mut().filter(|target| target.label == fault().on) {
            target.target = Target::SystemdUnit { unit: "web2.service".to_owned() };
        }
    });
    assert_eq!(asked.expect_err("not proved").reasons, [Reason::EvidenceDiffers { labels: vec![fault().on] }]);
}

#[test]
fn a_version_or_parameters_that_were_not_drilled_are_named_as_the_difference() {
    let (mut world, _) = World::proved(1);
    let old = version("restart-service", "1.0.0").digest;
    world.done(admit("restart-service", "1.1.0", "acme"));
    let mut declared = world.core.state().configuration().declared();
    let new = version("restart-service", "1.1.0");
    declared.remediations.iter_mut().for_each(|remediation| remediation.playbook = new.clone());
    let replaces = world.core.state().configuration().generation();
    world.done(PersonRequest::SetConfiguration { declared: Box::new(declared), replaces });
    world.roll_out();
    assert_eq!(differs(&world), [Difference::Version { proved: old, needed: new.digest }]);
}

#[test]
fn what_would_earn_evidence_is_a_drill_or_what_is_in_its_way() {
    let mut world = World::new();
    world.host("p0", "production");
    assert_eq!((only(&world).finding, only(&world).earning), (Finding::Nothing, Earning::NoHost));
    let staging = world.host("s0", "staging");
    assert_eq!(only(&world).earning, Earning::Drill { host: "s0".parse().expect("a name"), drill: 1 });
    let blocked = |by| Earning::Blocked { hosts: vec!["s0".parse().expect("a name")], by };
    described(&mut world, "s0", "staging", |said| {
        Arc::make_mut(&mut said.services)
            .iter_mut()
            .for_each(|carried| carried.faults = BTreeSet::from([FaultKind::FillDisk]));
    });
    let named = Earning::Drill { host: "s0".parse().expect("a name"), drill: 0 };
    assert_eq!(only(&world).earning, named, "the first of the manifest's drills that the owner allows");
    world.modes.insert("staging", Mode::Observe);
    world.configure();
    assert_eq!(only(&world).earning, blocked(Obstacle::Mode { mode: Mode::Observe }));
    described(&mut world, "s0", "staging", |said| said.drills = DrillConsent::Refused);
    assert_eq!(only(&world).earning, blocked(Obstacle::Consent));
    let why = || "a test".to_owned();
    world.done(PersonRequest::SetHostState { host: staging, state: HostState::Quarantined, why: why() });
    assert_eq!(only(&world).earning, blocked(Obstacle::NotActive));
    world.host("s1", "staging");
    world.modes.insert("staging", Mode::Auto);
    world.configure();
    assert_eq!(only(&world).earning, Earning::Drill { host: "s1".parse().expect("a name"), drill: 1 });
    described(&mut world, "s1", "staging", |said| unit(said, "other.service"));
    assert_eq!(only(&world).earning, blocked(Obstacle::NotActive), "a host that binds something else earns nothing");
}

#[test]
fn a_host_that_does_not_bind_the_labels_is_said_to_be_unbound() {
    let (mut world, _) = World::proved(1);
    described(&mut world, "p0", "production", |said| said.bindings = [].into());
    assert_eq!(only(&world).finding, Finding::Unbound);
}
