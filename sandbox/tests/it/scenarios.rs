//! The standard playbooks' scenarios, as written and as generated from them: every error at every
//! call, a crash at every record; and hostile components through a whole run.

use crate::built::{STANDARD, folder, package};
use crate::support::{MANIFEST, Parts, component};
use fettle_model::check::CheckRef;
use fettle_model::permit::{PermittedTarget, Target};
use fettle_model::playbook::{GrantKind, Manifest};
use fettle_model::run::{Claim, Ending, PlannedStep};
use fettle_model::time::UnixMillis;
use fettle_sandbox::authority::Authority;
use fettle_sandbox::call::{Call, Effect, Reply};
use fettle_sandbox::execution::{Execution, Gone, Trigger};
use fettle_sandbox::package::Package;
use fettle_sandbox::predict::{Asked, Predictor};
use fettle_sandbox::scenario::component::Component;
use fettle_sandbox::scenario::{self, Report, Scenario};
use fettle_sandbox::simulate::World;
use std::fs;
use std::path::PathBuf;

type Host<'a> = &'a mut dyn FnMut(Call) -> Result<Reply, Gone>;

fn scenarios(name: &str, manifest: &Manifest) -> Vec<(PathBuf, Scenario)> {
    let entries = fs::read_dir(folder(name).join("scenarios")).expect("every playbook has scenarios");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("it can be read");
        let scenario = Scenario::from_toml(&text, manifest).map_err(|error| format!("{}: {error}", path.display()));
        (path, scenario.expect("it is sound"))
    };
    paths.into_iter().map(read).collect()
}

/// Everything that `fettle playbook test` says about a playbook, one line for each thing wrong.
fn wrong(name: &str) -> Vec<String> {
    let component = Component::new(&package(name)).expect("it compiles");
    let manifest = component.manifest();
    let mut wrong = Vec::new();
    for (path, scenario) in scenarios(name, manifest) {
        let mut executor = |trigger: &Trigger, host: Host<'_>| component.execute(trigger, host);
        let report = scenario::run(&scenario, manifest, &mut executor).expect("it ends");
        let golden = scenario.expect.trace.as_ref().map(|trace| {
            fs::read_to_string(path.with_file_name(trace)).expect("`fettle playbook test --accept` writes it")
        });
        let differences = report.differences(&scenario, golden.as_deref());
        let faults = scenario::faults(&scenario, manifest, &mut executor).expect("every run ends");
        let crashes = scenario::crashes(&scenario, manifest, &mut executor).expect("every run ends");
        let calls = report.outcome != Ending::Superseded;
        assert!(crashes.runs as usize > report.entries.len() && (faults.runs > 1) == calls, "nothing was generated");
        let all = differences.into_iter().chain(faults.violations).chain(crashes.violations);
        wrong.extend(all.map(|what| format!("{} ({}): {what}", scenario.title, path.display())));
    }
    wrong
}

#[test]
fn restart_service_does_what_its_scenarios_say_whatever_fails_and_wherever_it_crashes() {
    assert_eq!(wrong("restart-service"), [""; 0]);
}

#[test]
fn rollback_release_does_what_its_scenarios_say_whatever_fails_and_wherever_it_crashes() {
    assert_eq!(wrong("rollback-release"), [""; 0]);
}

#[test]
fn disable_flag_does_what_its_scenarios_say_whatever_fails_and_wherever_it_crashes() {
    assert_eq!(wrong("disable-flag"), [""; 0]);
}

#[test]
fn the_scenario_that_is_explained_to_authors_is_one() {
    let readme = fs::read_to_string(folder("README.md")).expect("it is there");
    let text = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("its example");
    let component = Component::new(&package("restart-service")).expect("it compiles");
    let scenario = Scenario::from_toml(text, component.manifest()).expect("it is sound");
    let mut executor = |trigger: &Trigger, host: Host<'_>| component.execute(trigger, host);
    let report = scenario::run(&scenario, component.manifest(), &mut executor).expect("it ends");
    assert_eq!(report.differences(&scenario, None), [""; 0]);
}

#[test]
fn every_action_that_a_standard_playbook_asks_for_is_exercised_by_a_scenario() {
    for name in STANDARD {
        let package = package(name);
        let scenarios = scenarios(name, package.manifest());
        for grant in &package.manifest().grants {
            for action in &grant.actions {
                let done = format!("{}.{}", grant.label, action.as_str());
                let exercised = scenarios.iter().any(|(_, scenario)| scenario.expect.changed.contains(&done));
                assert!(exercised, "no scenario of {name} changes {done}");
            }
        }
    }
}

/// What a plan of the component says on a host like the scenario's.
fn plan(component: &Component, scenario: &Scenario, report: &Report) -> (Vec<PlannedStep>, Claim) {
    let manifest = component.manifest();
    let begun = UnixMillis(report.record.started_at.0);
    let mut host = World::new(&scenario.world, scenario.faults.clone(), begun);
    let check = CheckRef { service: "web".parse().expect("a name"), check: "http".parse().expect("a name") };
    let target = |kind| match kind {
        GrantKind::Service => Target::CommandService { name: "web".to_owned() },
        GrantKind::Release => Target::ReleaseRoot { root: "/srv".to_owned() },
        GrantKind::Flag => Target::Flag { file: "/flags".to_owned(), key: "flag".to_owned() },
        GrantKind::Health => Target::Health { check: check.clone() },
        GrantKind::Facts => Target::Facts,
    };
    let targets: Vec<PermittedTarget> = manifest
        .grants
        .iter()
        .map(|grant| PermittedTarget {
            label: grant.label.clone(),
            target: target(grant.kind),
            actions: grant.actions.clone(),
        })
        .collect();
    let authority = Authority::new(manifest, &targets, manifest.limits.actions);
    let mut predictor = Predictor::new(authority, report.record.run, begun, manifest.limits.duration.0);
    let trigger = Trigger {
        run: report.record.run,
        incident: None,
        alert: scenario.alert.clone(),
        fired: begun,
        labels: scenario.labels.clone(),
        parameters: scenario.parameters.clone(),
    };
    let execution = component.execute(&trigger, &mut |call| {
        let mut asked = predictor.called(host.wall(), call);
        loop {
            match asked {
                Asked::Answer(reply) => return Ok(reply),
                Asked::Look(look) => {
                    assert_eq!(look.effect(), Effect::Observes);
                    asked = predictor.looked(host.wall(), host.answer(&look));
                }
                Asked::TooMany => return Err(Gone),
            }
        }
    });
    assert_eq!(host.changed(), [""; 0], "a plan changes nothing");
    let predicted = predictor.finish(execution.claim.expect("it returns"));
    (predicted.steps, predicted.claim)
}

#[test]
fn the_plan_of_a_run_that_succeeds_is_what_the_run_then_does() {
    let mut planned_steps = 0;
    for name in STANDARD {
        let component = Component::new(&package(name)).expect("it compiles");
        for (path, scenario) in scenarios(name, component.manifest()) {
            let mut executor = |trigger: &Trigger, host: Host<'_>| component.execute(trigger, host);
            let report = scenario::run(&scenario, component.manifest(), &mut executor).expect("it ends");
            if report.outcome != Ending::Succeeded {
                continue;
            }
            let (steps, claim) = plan(&component, &scenario, &report);
            let planned: Vec<_> = steps.iter().map(|step| (step.action, &step.label, &step.arguments)).collect();
            let done: Vec<_> =
                report.record.steps.iter().map(|step| (step.action, &step.label, &step.arguments)).collect();
            assert_eq!(planned, done, "{}", path.display());
            assert_eq!(Some(kind(&claim)), report.record.claim.as_ref().map(kind), "{}", path.display());
            planned_steps += planned.len();
        }
    }
    assert!(planned_steps > 5, "{planned_steps} steps in all");
}

fn kind(claim: &Claim) -> std::mem::Discriminant<Claim> {
    std::mem::discriminant(claim)
}

const SICK: &str = r#"
title = "sick, and stays so"
trigger = { alert = "web/http" }
[world.service.web]
activity = "active"
[world.health.health]
verdict = "unhealthy"
[expect]
outcome = "failed"
changed = []
"#;

/// Runs a hand-written component through a whole run on a host that stays sick.
fn whole_run(parts: Parts<'_>) -> Report {
    let package = Package::build(&component(parts), MANIFEST).expect("a valid package");
    let component = Component::new(&package).expect("it compiles");
    let scenario = Scenario::from_toml(SICK, component.manifest()).expect("it is sound");
    let mut executor = |trigger: &Trigger, host: Host<'_>| -> Execution { component.execute(trigger, host) };
    scenario::run(&scenario, component.manifest(), &mut executor).expect("every run ends")
}

#[test]
fn a_component_that_loops_traps_or_lies_ends_its_run_in_one_record() {
    let forever = whole_run(Parts { run: "(loop $again (br $again))", ..Parts::default() });
    assert_eq!((forever.outcome, forever.record.summary.as_str()), (Ending::Failed, "the playbook used up its fuel"));
    let traps = whole_run(Parts { run: "(unreachable)", ..Parts::default() });
    assert_eq!(traps.outcome, Ending::Failed);
    assert!(traps.record.summary.starts_with("the playbook trapped"), "{}", traps.record.summary);
    let hungry = whole_run(Parts { run: "(drop (memory.grow (i32.const 2000)))", ..Parts::default() });
    let summary = "the playbook asked for more memory than it may have";
    assert_eq!((hungry.outcome, hungry.record.summary.as_str()), (Ending::Failed, summary));
    // `resolved`, with an empty summary.
    let lies = whole_run(Parts { run: "(i32.store8 (i32.const 72) (i32.const 0))", ..Parts::default() });
    assert_eq!(lies.outcome, Ending::Ineffective);
    for report in [forever, traps, hungry, lies] {
        assert_eq!((report.records, report.performed), (1, 0));
    }
}
