//! The standard playbooks as they are built, against a host in a few lines.

use crate::built::package;
use fettle_model::id::RunId;
use fettle_model::playbook::{Action, GrantKind};
use fettle_model::remediation::Parameters;
use fettle_model::run::{Change, Claim, UndoClass};
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::{
    ActError, Activity, Call, ClockCall, FlagCall, FlagSetting, Goodness, HealthCall, HealthReport, LogCall, ReadError,
    Receipt, ReleaseCall, ReleaseInfo, Reply, Revision, ServiceCall, ServiceStatus, Verdict,
};
use fettle_sandbox::engine::{Engine, HostKey, InvalidParameters, Playbook};
use fettle_sandbox::execution::{Execution, Gone, Limits, Trigger};
use fettle_sandbox::package::{Import, Package};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A standard playbook that can be executed.
struct Ready {
    engine: Engine,
    package: Package,
    playbook: Playbook,
}

impl Ready {
    fn new(name: &str) -> Self {
        let (engine, package) = (Engine::new().expect("an engine"), package(name));
        let playbook = engine.load(&engine.compile(&package).expect("it compiles")).expect("it loads");
        Self { engine, package, playbook }
    }
}

fn parameters(package: &Package, given: &Value) -> Parameters {
    let given: BTreeMap<String, Value> = serde_json::from_value(given.clone()).expect("an object");
    package.manifest().complete(&given).expect("the manifest allows them")
}

fn kinds(package: &Package) -> BTreeSet<GrantKind> {
    package.manifest().grants.iter().map(|grant| grant.kind).collect()
}

/// A service with two releases and a flag, sick until the right thing is done.
struct World {
    cured_by: Action,
    healthy: bool,
    restarts: u32,
    flag: &'static str,
    current: &'static str,
    releases: Vec<ReleaseInfo>,
    refuse: Option<ActError>,
    trace: Vec<String>,
}

impl World {
    fn sick(cured_by: Action) -> Self {
        let release = |id: &str, known_good| ReleaseInfo {
            id: id.to_owned(),
            version: id.to_owned(),
            activated: None,
            known_good,
        };
        Self {
            cured_by,
            healthy: false,
            restarts: 0,
            flag: "on",
            current: "r3",
            releases: vec![
                release("r4", Goodness::KnownGood),
                release("r3", Goodness::Unproven),
                release("r2", Goodness::Unproven),
                release("r1", Goodness::KnownGood),
            ],
            refuse: None,
            trace: Vec::new(),
        }
    }

    fn change(&mut self, action: Action, what: String) -> Reply {
        self.trace.push(what);
        if let Some(error) = &self.refuse {
            return Reply::Acted(Err(error.clone()));
        }
        self.healthy = self.healthy || action == self.cured_by;
        Reply::Acted(Ok(Receipt { action_id: "a".to_owned(), undo: UndoClass::None, change: Change::Made }))
    }

    fn status(&self) -> Reply {
        Reply::Service(Ok(ServiceStatus {
            activity: Activity::Active,
            since: UnixMillis(1),
            restarts_last_hour: self.restarts,
            main_pid: Some(7),
            revision: Revision("s1".to_owned()),
        }))
    }

    fn health(&self) -> Reply {
        let verdict = if self.healthy { Verdict::Healthy } else { Verdict::Unhealthy };
        Reply::Health(Ok(HealthReport { verdict, reasons: Vec::new() }))
    }

    fn release(&self, id: &str) -> Result<ReleaseInfo, ReadError> {
        self.releases.iter().find(|release| release.id == id).cloned().ok_or(ReadError::NotFound)
    }

    fn reply(&mut self, call: Call) -> Reply {
        match call {
            Call::Clock(ClockCall::Now) => Reply::Time(UnixMillis(1_000)),
            Call::Clock(ClockCall::Remaining) => Reply::Millis(1_000),
            Call::Clock(ClockCall::Sleep { .. }) => Reply::Unit,
            Call::Log(LogCall::Event { .. } | LogCall::Phase { .. }) => Reply::Unit,
            Call::Facts(_) => Reply::Fact(Err(ReadError::NotFound)),
            Call::Service { op, .. } => match op {
                ServiceCall::Open => Reply::Opened(Ok(())),
                ServiceCall::Status | ServiceCall::WaitFor { .. } => self.status(),
                ServiceCall::Tail { .. } => Reply::Lines(Ok(Vec::new())),
                ServiceCall::Change { action, expect } => {
                    self.change(action, format!("{} expect {}", action.as_str(), expect.0))
                }
            },
            Call::Release { op, .. } => match op {
                ReleaseCall::Open => Reply::Opened(Ok(())),
                ReleaseCall::Current => {
                    Reply::CurrentRelease(self.release(self.current).map(|now| (now, Revision("c1".to_owned()))))
                }
                ReleaseCall::History => Reply::Releases(Ok(self.releases.clone())),
                ReleaseCall::Activate { release, expect } => {
                    self.change(Action::Activate, format!("activate {release} expect {}", expect.0))
                }
                ReleaseCall::WaitSettled { .. } => Reply::Settled(self.release(self.current)),
            },
            Call::Flag { op, .. } => match op {
                FlagCall::Open => Reply::Opened(Ok(())),
                FlagCall::Read => {
                    Reply::Flag(Ok(FlagSetting { value: self.flag.to_owned(), revision: Revision("f1".to_owned()) }))
                }
                FlagCall::Set { value, expect, hold_ms } => {
                    self.change(Action::Set, format!("set {value} for {hold_ms} expect {}", expect.0))
                }
            },
            Call::Health { op, .. } => match op {
                HealthCall::Open => Reply::Opened(Ok(())),
                HealthCall::Probe => self.health(),
                HealthCall::WaitHealthy { .. } if self.healthy => self.health(),
                HealthCall::WaitHealthy { .. } => Reply::Health(Err(ReadError::Timeout)),
            },
        }
    }
}

fn execute(ready: &Ready, given: &Value, host: &mut dyn FnMut(Call) -> Result<Reply, Gone>) -> Execution {
    let Ready { engine, package, playbook } = ready;
    let trigger = Trigger {
        run: "01890a5d-ac96-774b-bcce-b302099a8057".parse::<RunId>().expect("a UUID"),
        incident: None,
        alert: "web/http".to_owned(),
        fired: UnixMillis(1),
        labels: BTreeMap::from([("host".to_owned(), "web-1".to_owned())]),
        parameters: parameters(package, given),
    };
    engine.execute(playbook, &kinds(package), &trigger, Limits::for_duration(Duration::from_secs(60)), host)
}

/// Runs a standard playbook in the world and compares its changes and its claim, `kind: summary`.
#[track_caller]
fn check(ready: &Ready, given: &Value, mut world: World, changes: &[&str], expected: &str) {
    let execution = execute(ready, given, &mut |call| Ok(world.reply(call)));
    let claim = match execution.claim {
        Ok(Claim::Resolved { summary }) => format!("resolved: {summary}"),
        Ok(Claim::Mitigated { summary, until }) => format!("mitigated until {}: {summary}", until.0),
        Ok(Claim::NoAction { summary }) => format!("no-action: {summary}"),
        Ok(Claim::Escalate { summary }) => format!("escalate: {summary}"),
        Ok(Claim::Failed { summary, .. }) => format!("failed: {summary}"),
        Err(stop) => format!("stopped: {stop}"),
    };
    let changed: Vec<&str> = world.trace.iter().map(String::as_str).collect();
    assert_eq!((changed.as_slice(), claim.as_str()), (changes, expected));
}

#[test]
fn restart_service_restarts_once_what_is_sick_and_nothing_else() {
    let ready = Ready::new("restart-service");
    let none = json!({});
    check(&ready, &none, World::sick(Action::Restart), &["restart expect s1"], "resolved: restarted the service");
    let healthy = World { healthy: true, ..World::sick(Action::Restart) };
    check(&ready, &none, healthy, &[], "no-action: the check passes already");
    let tired = World { restarts: 2, ..World::sick(Action::Restart) };
    let escalated = "escalate: 2 restarts in the last hour have not helped";
    check(&ready, &json!({"max-restarts": 2}), tired, &[], escalated);
    let incurable = World::sick(Action::Stop);
    check(&ready, &none, incurable, &["restart expect s1"], "failed: health.wait-healthy: it took too long");
    let stale = World { refuse: Some(ActError::Stale(Revision("s2".to_owned()))), ..World::sick(Action::Restart) };
    let failed = "failed: service.restart: it changed since it was looked at, nothing was done (it is at s2)";
    check(&ready, &none, stale, &["restart expect s1"], failed);
}

#[test]
fn rollback_release_activates_the_newest_older_known_good_one_or_else_another() {
    let ready = Ready::new("rollback-release");
    let done = "resolved: rolled back from r3 to r1";
    check(&ready, &json!({}), World::sick(Action::Activate), &["activate r1 expect c1"], done);
    let both = ["activate r1 expect c1", "restart expect s1"];
    check(&ready, &json!({"then": "restart"}), World::sick(Action::Restart), &both, done);
    let both = ["activate r1 expect c1", "reload expect s1"];
    check(&ready, &json!({"then": "reload"}), World::sick(Action::Reload), &both, done);
    let only_newer = World { current: "r1", ..World::sick(Action::Activate) };
    check(&ready, &json!({}), only_newer, &["activate r4 expect c1"], "resolved: rolled back from r1 to r4");
    let mut none = World { current: "r1", ..World::sick(Action::Activate) };
    none.releases.retain(|release| release.id != "r4");
    check(&ready, &json!({}), none, &[], "escalate: no release but r1 is known to be good");
}

#[test]
fn disable_flag_turns_off_what_is_on_until_the_holds_end() {
    let ready = Ready::new("disable-flag");
    let set = ["set off for 3600000 expect f1"];
    check(&ready, &json!({}), World::sick(Action::Set), &set, "mitigated until 3601000: the flag is off for 1h");
    let off = World { flag: "off", ..World::sick(Action::Set) };
    check(&ready, &json!({}), off, &[], "escalate: the flag is off already and the check fails still");
    let set = ["set dark for 60000 expect f1"];
    let given = json!({"off": "dark", "hold": "1m"});
    check(&ready, &given, World::sick(Action::Set), &set, "mitigated until 61000: the flag is dark for 1m");
}

#[test]
fn restart_service_is_written_in_under_thirty_lines() {
    let source =
        std::fs::read_to_string(crate::built::folder("restart-service").join("src/lib.rs")).expect("it is there");
    assert!(source.lines().count() < 30, "{} lines", source.lines().count());
}

#[test]
fn a_standard_playbook_imports_only_what_it_uses() {
    let fettle = |name: &str| -> Vec<Import> {
        let package = package(name);
        package.imports().iter().copied().filter(|import| !matches!(import, Import::Wasi(_))).collect()
    };
    assert_eq!(fettle("restart-service"), [Import::Types, Import::Log, Import::Health, Import::Services]);
    assert_eq!(
        fettle("rollback-release"),
        [Import::Types, Import::Log, Import::Health, Import::Services, Import::Releases]
    );
    assert_eq!(
        fettle("disable-flag"),
        [Import::Types, Import::Clock, Import::Log, Import::Health, Import::FeatureFlags]
    );
}

#[test]
fn a_playbooks_own_check_complains_of_what_the_manifest_cannot_say() {
    let Ready { engine, package, playbook } = Ready::new("rollback-release");
    let limits = Limits::for_duration(Duration::from_secs(10));
    let check =
        |given: &Value| engine.check_parameters(&playbook, &kinds(&package), &parameters(&package, given), limits);
    assert_eq!(check(&json!({"then": "reload"})), Ok(()));
    let refused = check(&json!({"then": "reboot"})).expect_err("it is no choice");
    let InvalidParameters::Refused(complaints) = refused else { return assert_eq!(format!("{refused}"), "refused") };
    assert!(complaints[0].starts_with("unknown variant `reboot`, expected one of `nothing`"), "{complaints:?}");
}

#[test]
fn the_same_replies_give_the_same_calls_and_fuel() {
    let ready = Ready::new("restart-service");
    let once = || {
        let mut world = World::sick(Action::Restart);
        let mut calls = Vec::new();
        let execution = execute(&ready, &json!({}), &mut |call| {
            calls.push(call.clone());
            Ok(world.reply(call))
        });
        (execution, calls)
    };
    let first = once();
    assert_eq!(first, once());
    assert_eq!(first.1.len(), 9);
}

#[test]
fn building_a_package_twice_gives_the_same_artifact_code() {
    let engine = Engine::new().expect("an engine");
    let package = package("restart-service");
    let key = HostKey::new([1; 32]).derive(package.digest(), engine.fingerprint());
    let seal = || engine.compile(&package).expect("it compiles").seal(&key);
    assert_eq!(seal(), seal());
}
