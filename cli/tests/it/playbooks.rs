//! Playbooks: keys, packages, publications, drills, scenarios.

use crate::component::{MANIFEST, Parts, component};
use crate::fettle::fettle;
use crate::stand_in::{Asked, Said, StandIn};
use fettle_audit::envelope::Envelope;
use fettle_audit::key::PublicKey;
use fettle_model::counter::LogPosition;
use fettle_model::digest::{DocumentDigest, PlaybookDigest};
use fettle_model::evidence::{DrillResult, Fault, FaultKind};
use fettle_model::id::DrillId;
use fettle_model::playbook::{PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::scenarios::{SCENARIOS_PAYLOAD_TYPE, ScenarioReport};
use fettle_proto::operator::{Command, CommandReply, DrillView, Query, QueryReply};
use fettle_sandbox::package::Package;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use uuid::Uuid;

fn write_parts(folder: &Path) {
    fs::write(folder.join("x.wasm"), component(Parts::default())).expect("written");
    fs::write(folder.join("playbook.toml"), MANIFEST).expect("written");
}

#[track_caller]
fn pack(folder: &Path) -> Package {
    write_parts(folder);
    let arguments = ["playbook", "pack", "--component", "x.wasm", "--manifest", "playbook.toml", "--out", "x.package"];
    fettle(folder, &arguments).expect(0);
    Package::read(fs::read(folder.join("x.package")).expect("there")).expect("a package")
}

#[test]
fn a_package_is_checked_when_it_is_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(pack(folder.path()).manifest().playbook.name.as_str(), "by-hand");
    fs::write(folder.path().join("playbook.toml"), MANIFEST.replace("actions = 3", "action = 3")).expect("written");
    let arguments = ["playbook", "pack", "--component", "x.wasm", "--manifest", "playbook.toml", "--out", "y"];
    let ended = fettle(folder.path(), &arguments).expect(4);
    assert!(ended.err.starts_with("error: playbook.toml: the manifest is not sound: line "), "{}", ended.err);
    assert!(ended.err.contains("remedy: correct the manifest"), "{}", ended.err);
    fs::write(folder.path().join("x.wasm"), b"#!/bin/sh\n").expect("written");
    let ended = fettle(folder.path(), &arguments).expect(4);
    assert!(ended.err.starts_with("error: x.wasm: the package is not WebAssembly"), "{}", ended.err);
    assert!(!folder.path().join("y").exists());
}

#[test]
fn a_publication_is_signed_by_the_publishers_key_over_exactly_the_package_that_travels() {
    let stand_in = StandIn::start(|asked| match asked {
        Asked::Publish { package, .. } => {
            let package = Package::read(package.clone()).expect("a package");
            Said::Reply(CommandReply::Playbook {
                name: package.manifest().playbook.name.clone(),
                digest: package.digest(),
            })
        }
        _ => Said::Reply(CommandReply::Done { position: LogPosition(1) }),
    });
    let folder = stand_in.folder.path();
    let package = pack(folder);
    let made = fettle(folder, &["--json", "playbook", "keygen", "--out", "key"]).expect(0);
    let public = made.json::<serde_json::Value>()["public_key"].as_str().expect("a key").to_owned();
    stand_in.fettle(&["publisher", "trust", "acme", &public]).expect(0);
    write_scenario(folder, "ineffective");
    stand_in.fettle(&PUBLISH).expect(0);

    let asked = stand_in.asked();
    assert!(matches!(&asked[0], Asked::Command(Command::TrustPublisher { key, .. }) if *key == public), "{asked:?}");
    let Asked::Publish { publication, scenarios, package: sent } = &asked[1] else { panic!("{asked:?}") };
    assert_eq!(sent, package.bytes());
    let envelope = Envelope::parse(publication.clone()).expect("an envelope");
    let key: PublicKey = public.parse().expect("a key");
    let payload = envelope.verify(&key, PUBLICATION_PAYLOAD_TYPE).expect("signed by the key that was made");
    let publication: Publication = serde_json::from_slice(payload).expect("a publication");
    assert_eq!((publication.digest, publication.publisher.as_str()), (package.digest(), "acme"));
    assert_eq!(publication.key, key.key_id());

    let envelope = Envelope::parse(scenarios.clone()).expect("an envelope");
    let payload = envelope.verify(&key, SCENARIOS_PAYLOAD_TYPE).expect("signed by the same key");
    let report: ScenarioReport = serde_json::from_slice(payload).expect("a report");
    assert_eq!(report.check(&package.digest()), Ok(()), "publishing ran the scenarios");
    assert_eq!((report.scenarios.len(), report.scenarios[0].title.as_str()), (1, "nothing is done"));
    let written = fs::read(folder.join("scenarios/nothing.toml")).expect("there");
    assert_eq!(report.scenarios[0].file, DocumentDigest::of(&written));
}

#[test]
fn nothing_is_published_before_its_scenarios_passed() {
    let stand_in = StandIn::start(|_| Said::Reply(CommandReply::Done { position: LogPosition(1) }));
    let folder = stand_in.folder.path();
    pack(folder);
    fettle(folder, &["playbook", "keygen", "--out", "key"]).expect(0);
    let ended = stand_in.fettle(&PUBLISH).expect(5);
    assert!(ended.err.contains("x.package has no scenarios") && ended.err.contains("--scenarios"), "{}", ended.err);

    write_scenario(folder, "succeeded");
    let ended = stand_in.fettle(&PUBLISH).expect(1);
    assert!(ended.err.contains("the run ended ineffective") && ended.err.contains("remedy: mend"), "{}", ended.err);
    let test = ["playbook", "test", "x.package", "--report", "report.json"];
    fettle(folder, &test).expect(1);
    let reported = [&PUBLISH[..], &["--report", "report.json"]].concat();
    let ended = stand_in.fettle(&reported).expect(4);
    assert!(ended.err.contains("the scenario \"nothing is done\" failed"), "{}", ended.err);

    write_scenario(folder, "ineffective");
    fettle(folder, &test).expect(0);
    let text = fs::read_to_string(folder.join("report.json")).expect("a report");
    let mut report: ScenarioReport = serde_json::from_str(&text).expect("a report");
    report.digest = PlaybookDigest::of(b"another");
    fs::write(folder.join("other.json"), serde_json::to_vec(&report).expect("JSON")).expect("written");
    let ended = stand_in.fettle(&[&PUBLISH[..], &["--report", "other.json"]].concat()).expect(4);
    assert!(ended.err.contains("the scenario report is about"), "{}", ended.err);
    assert_eq!(stand_in.asked(), [], "none of it was brought");
    stand_in.fettle(&reported).expect(10);
    assert_eq!(stand_in.asked().len(), 1, "a report on this package is taken as it is");
}

fn drilling(result: DrillResult) -> StandIn {
    let looks = AtomicU32::new(0);
    let drill = DrillId::from_uuid(Uuid::from_u128(5));
    StandIn::start(move |asked| match asked {
        Asked::Query(Query::Drill { .. }) => Said::Answer(QueryReply::Drill {
            drill: Box::new(DrillView {
                drill,
                playbook: "by-hand".parse().expect("a name"),
                host: "staging-1".parse().expect("a name"),
                fault: Fault { kind: FaultKind::KillProcess, on: "web".parse().expect("a label") },
                by: "alice".parse().expect("a name"),
                stages: Vec::new(),
                result: (looks.fetch_add(1, Ordering::SeqCst) > 1).then(|| result.clone()),
            }),
        }),
        _ => Said::Reply(CommandReply::Drill { drill }),
    })
}

#[test]
fn a_drill_that_is_awaited_ends_with_its_result() {
    let arguments = ["playbook", "drill", "by-hand", "--host", "staging-1", "--remediation", "r", "--wait"];
    let stand_in = drilling(DrillResult::Proved);
    let ended = stand_in.fettle(&arguments).expect(0);
    assert!(ended.out.starts_with("proved: by-hand on staging-1"), "{}", ended.out);
    assert_eq!(stand_in.asked().len(), 4, "one command, and looks until there is a result");
    let stand_in = drilling(DrillResult::NotProved { reason: "the check never failed".to_owned() });
    let ended = stand_in.fettle(&arguments).expect(1);
    assert!(ended.out.contains("the check never failed"), "{}", ended.out);
}

#[test]
fn a_wait_outlives_a_restart_of_the_control_plane() {
    let looks = AtomicU32::new(0);
    let proved = drilling(DrillResult::Proved);
    let view =
        proved.fettle(&["playbook", "drill", "by-hand", "--host", "h", "--remediation", "r", "--wait", "--json"]);
    let view: QueryReply = view.expect(0).json();
    let stand_in = StandIn::start(move |asked| match asked {
        Asked::Query(Query::Drill { .. }) if looks.fetch_add(1, Ordering::SeqCst) < 3 => Said::Gone,
        Asked::Query(Query::Drill { .. }) => Said::Answer(view.clone()),
        _ => Said::Reply(CommandReply::Drill { drill: DrillId::from_uuid(Uuid::from_u128(5)) }),
    });
    stand_in.fettle(&["playbook", "drill", "by-hand", "--host", "h", "--remediation", "r", "--wait"]).expect(0);
    assert_eq!(stand_in.asked().len(), 5);
}

const PUBLISH: [&str; 8] = ["playbook", "publish", "--package", "x.package", "--key", "key", "--publisher", "acme"];

/// A scenario that expects this outcome, beside the package.
fn write_scenario(folder: &Path, outcome: &str) {
    fs::create_dir_all(folder.join("scenarios")).expect("made");
    let text = SCENARIO.replace("OUTCOME", outcome).replace("trace = \"nothing.trace\"\n", "");
    fs::write(folder.join("scenarios/nothing.toml"), text).expect("written");
}

/// The component does nothing and says so, so the check stays critical.
const SCENARIO: &str = r#"
title = "nothing is done"
[trigger]
alert = "web is down"
[world.health.health]
verdict = "unhealthy"
[expect]
outcome = "OUTCOME"
changed = []
trace = "nothing.trace"
"#;

#[test]
fn scenarios_are_run_with_every_error_and_every_crash_and_a_wrong_expectation_exits_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let test = |more: &[&str]| fettle(folder.path(), &[&["playbook", "test", "."], more].concat());
    write_parts(folder.path());
    let with_component = ["--component", "x.wasm"];
    test(&with_component).expect(5);
    fs::create_dir(folder.path().join("scenarios")).expect("made");
    let ended = test(&with_component).expect(4);
    assert!(ended.err.contains("nothing tested is no success"), "{}", ended.err);

    let scenario = |outcome: &str| {
        let text = SCENARIO.replace("OUTCOME", outcome);
        fs::write(folder.path().join("scenarios/nothing.toml"), text).expect("written");
    };
    scenario("ineffective");
    let ended = test(&["--component", "x.wasm", "--accept"]).expect(0);
    assert!(ended.out.contains("passed  nothing is done  ineffective"), "{}", ended.out);
    let ended = test(&["--component", "x.wasm", "--json"]).expect(0);
    let document: serde_json::Value = ended.json();
    assert_eq!(document["outcome"], "passed");
    assert!(document["scenarios"][0]["crashes"].as_u64() > Some(1), "{document}");

    scenario("succeeded");
    let ended = test(&with_component).expect(1);
    assert!(ended.out.contains("FAILED") && ended.out.contains("the run ended ineffective"), "{}", ended.out);

    scenario("ineffective");
    fs::write(folder.path().join("scenarios/nothing.trace"), "another\n").expect("written");
    let ended = test(&with_component).expect(1);
    assert!(ended.out.contains("line 1 of the trace is"), "{}", ended.out);

    fs::write(folder.path().join("scenarios/nothing.toml"), "title = 1\n").expect("written");
    let ended = test(&with_component).expect(4);
    assert!(ended.err.starts_with("error: ./scenarios/nothing.toml:1: "), "{}", ended.err);
}
