//! Tests of scenarios: the format, the driver's report, and that the generated tests find what is wrong.
//!
//! The playbooks here are closures; components are run by the crate's tests at its boundary.

use super::*;
use crate::call::{ActError, Call, Reply};
use crate::execution::{Execution, Gone, Stop, Trigger};
use crate::sample::{MANIFEST, activate, change, phase, probe, set, status};
use crate::simulate::{Injection, Sight};
use fettle_model::playbook::{Action, Manifest};
use fettle_model::run::{Claim, Ending};
use std::collections::BTreeMap;

const HANGS: &str = r#"
title = "a service that hangs is restarted"
[trigger]
alert = "web/http"
[world.service.web]
activity = "active"
[world.release.app]
current = "r2"
history = [{ id = "r2", version = "2" }, { id = "r1", version = "1" }]
[world.flag.flag]
value = "on"
variants = ["on", "off"]
[world.health.health]
verdict = "unhealthy"
reasons = ["503"]
becomes = [{ verdict = "healthy", after = "1s", following = "web.restart" }]
[expect]
outcome = "succeeded"
changed = ["web.restart"]
"#;

fn manifest() -> Manifest {
    Manifest::from_toml(MANIFEST).expect("the sample is sound")
}

fn scenario(text: &str) -> Scenario {
    Scenario::from_toml(text, &manifest()).expect("the scenario is sound")
}

type Host<'a> = &'a mut dyn FnMut(Call) -> Result<Reply, Gone>;

/// Makes the calls in order; the first error ends it with a failure, as `?` does in a playbook.
fn straight(calls: Vec<Call>) -> impl FnMut(&Trigger, Host<'_>) -> Execution {
    move |_, host| {
        for call in &calls {
            match host(call.clone()) {
                Err(Gone) => return stopped(Stop::HostGone),
                Ok(reply) if is_error(&reply) => return failed(&format!("{call}: {reply}")),
                Ok(_) => {}
            }
        }
        claim(Claim::Resolved { summary: "did it".to_owned() })
    }
}

fn claim(claim: Claim) -> Execution {
    Execution { claim: Ok(claim), fuel_used: 1 }
}

fn failed(summary: &str) -> Execution {
    claim(Claim::Failed { summary: summary.to_owned(), detail: Vec::new() })
}

fn stopped(stop: Stop) -> Execution {
    Execution { claim: Err(stop), fuel_used: 1 }
}

fn is_error(reply: &Reply) -> bool {
    matches!(
        reply,
        Reply::Opened(Err(_))
            | Reply::Service(Err(_))
            | Reply::CurrentRelease(Err(_))
            | Reply::Flag(Err(_))
            | Reply::Health(Err(_))
            | Reply::Acted(Err(_))
    )
}

fn restarts() -> Vec<Call> {
    vec![phase("restart"), probe(), status(), change(Action::Restart, "rev1"), status()]
}

#[test]
fn a_scenario_runs_through_the_machine_and_is_reported_line_by_line() {
    let scenario = scenario(HANGS);
    let report = run(&scenario, &manifest(), &mut straight(restarts())).expect("it ends");
    assert_eq!(
        (report.outcome, report.changed.as_slice(), report.records),
        (Ending::Succeeded, &["web.restart".to_owned()][..], 1)
    );
    insta::assert_snapshot!(report.trace, @r#"
    phase restart
      health.probe                               unhealthy "503"
      web.status                                 active rev1 restarts 0
    ! web.restart expect rev1                    done undo none
      web.status                                 active rev2 restarts 1
    claim resolved "did it"
    confirm passing
    ended succeeded
    "#);
    assert_eq!(report.differences(&scenario, Some(&report.trace)), [""; 0]);
    assert_eq!(report.record.summary, "did it");
    assert_eq!(report.state.get("web").map(String::as_str), Some("active rev2"));
}

#[test]
fn what_differs_from_the_expectation_is_told() {
    let scenario = scenario(HANGS);
    let report = run(&scenario, &manifest(), &mut straight(vec![phase("look")])).expect("it ends");
    let told = report.differences(&scenario, Some("phase look\nclaim resolved \"restarted\"\n"));
    insta::assert_snapshot!(told.join("\n"), @r#"
    the run ended ineffective (the check is critical still; the playbook says: did it), not succeeded
    it changed [], not ["web.restart"]
    line 2 of the trace is
      claim resolved "did it"
    and not
      claim resolved "restarted"
    "#);
}

#[test]
fn what_a_failed_run_can_undo_is_undone() {
    let scenario = scenario(HANGS);
    let calls = vec![set("off", "rev1", 60_000), activate("r1", "rev1"), status(), change(Action::Stop, "rev7")];
    let report = run(&scenario, &manifest(), &mut straight(calls)).expect("it ends");
    assert_eq!(report.outcome, Ending::Reverted);
    assert_eq!(report.changed, ["flag.set", "app.activate", "app.activate", "flag.set"]);
    insta::assert_snapshot!(report.trace, @r#"
    ! flag.set off for 1m expect rev1            done undo expires
    ! app.activate r1 expect rev1                done undo automatic
      web.status                                 active rev1 restarts 0
    ! web.stop expect rev7                       stale rev1
    claim failed "web.stop expect rev7: stale rev1"
    undo done
    undo done
    ended reverted
    "#);
}

#[test]
fn every_error_is_injected_once_at_every_call_that_can_fail() {
    let findings = faults(&scenario(HANGS), &manifest(), &mut straight(restarts())).expect("every run ends");
    // The run as it is, three looks with 5 errors each, and an action with 6, of which one in two ways.
    assert_eq!(findings, Findings { runs: 1 + 3 * 5 + 7, violations: Vec::new() });
}

#[test]
fn a_playbook_that_goes_on_after_it_was_refused_is_found() {
    let deaf = |_: &Trigger, host: Host<'_>| {
        for call in [status(), change(Action::Restart, "rev1"), activate("r1", "rev1")] {
            if host(call).is_err() {
                return stopped(Stop::HostGone);
            }
        }
        claim(Claim::Resolved { summary: "did it".to_owned() })
    };
    let findings = faults(&scenario(HANGS), &manifest(), &mut { deaf }).expect("every run ends");
    let found = |violation: &str| findings.violations.iter().any(|found| found.contains(violation));
    assert!(found("app.activate r1 expect rev1 after it had been refused"), "{findings:?}");
    assert!(!found("web.restart expect rev1 after it had been refused"), "{findings:?}");
}

#[test]
fn a_playbook_that_acts_again_without_looking_or_traps_is_found() {
    let twice = |_: &Trigger, host: Host<'_>| {
        for expect in ["rev1", "rev1"] {
            match host(change(Action::Restart, expect)) {
                Ok(Reply::Acted(Err(ActError::Indeterminate(_)))) => {}
                Ok(Reply::Acted(Err(ActError::Failed(_)))) => {
                    return stopped(Stop::Trap { message: "unreachable".to_owned() });
                }
                Ok(Reply::Acted(Ok(_))) => return claim(Claim::Resolved { summary: "did it".to_owned() }),
                Ok(_) => return failed("refused"),
                Err(Gone) => return stopped(Stop::HostGone),
            }
        }
        failed("twice")
    };
    let findings = faults(&scenario(HANGS), &manifest(), &mut { twice }).expect("every run ends");
    let found = |violation: &str| findings.violations.iter().any(|found| found.contains(violation));
    assert!(found("web.restart expect rev1 before a look at what it cannot tell"), "{findings:?}");
    assert!(found("the playbook trapped: unreachable"), "{findings:?}");
}

#[test]
fn a_crash_at_any_entry_changes_nothing_of_a_run() {
    let text =
        HANGS.replace("after = \"1s\", following = \"web.restart\"", "after = \"1s\", following = \"app.activate\"");
    for calls in
        [restarts(), vec![status(), change(Action::Stop, "rev1"), activate("r1", "rev1"), change(Action::Stop, "rev9")]]
    {
        let scenario = scenario(&text);
        let whole = run(&scenario, &manifest(), &mut straight(calls.clone())).expect("it ends");
        let findings = crashes(&scenario, &manifest(), &mut straight(calls)).expect("every run ends");
        let runs = u32::try_from(1 + 2 * whole.entries.len()).expect("some tens");
        assert_eq!(findings, Findings { runs, violations: Vec::new() });
    }
}

#[test]
fn a_playbook_that_does_not_do_the_same_again_is_found_by_a_crash() {
    let mut times = 0;
    let mut fickle = |trigger: &Trigger, host: Host<'_>| {
        times += 1;
        let name = format!("life {times}");
        straight([vec![phase(&name)], restarts()].concat())(trigger, host)
    };
    let findings = crashes(&scenario(HANGS), &manifest(), &mut fickle).expect("every run ends");
    assert!(findings.violations.iter().any(|found| found.contains("it ended in-doubt")), "{findings:?}");
}

#[test]
fn a_crash_in_the_midst_of_an_effect_that_cannot_be_seen_ends_in_doubt() {
    let scenario = scenario(HANGS);
    let whole = run(&scenario, &manifest(), &mut straight(restarts())).expect("it ends");
    let intended = |entry| matches!(entry, &crate::journal::Entry::Intent { .. });
    let intent = 1 + whole.entries.iter().position(intended).expect("it restarts");
    for (when, happened) in [(CrashAt::Before, 0), (CrashAt::After, 1)] {
        let at = BTreeMap::from([(intent, when)]);
        let mut executor = straight(restarts());
        let report = run_with_crashes(&scenario, &manifest(), &[], Sight::Blind, &at, &mut executor).expect("it ends");
        assert_eq!((report.outcome, report.changed.len(), report.performed), (Ending::InDoubt, happened, happened));
    }
}

#[test]
fn a_second_crash_is_survived_like_the_first() {
    let scenario = scenario(HANGS);
    let whole = run(&scenario, &manifest(), &mut straight(restarts())).expect("it ends");
    for first in 1..whole.entries.len() {
        let at = BTreeMap::from([(first, CrashAt::After), (first + 2, CrashAt::After), (first + 3, CrashAt::Before)]);
        let mut executor = straight(restarts());
        let report = run_with_crashes(&scenario, &manifest(), &[], Sight::Clear, &at, &mut executor).expect("it ends");
        assert_eq!((report.records, report.performed <= 1), (1, true), "crashes at {at:?}");
        assert_eq!(
            (report.outcome, report.changed.len()),
            (Ending::Succeeded, 1),
            "crashes at {at:?}: {}",
            report.trace
        );
    }
}

#[test]
fn a_fault_of_the_scenario_happens_at_its_call() {
    let text = format!("{HANGS}\n[[fault]]\ncall = \"web.status\"\nnth = 2\nreturns = {{ unavailable = \"no bus\" }}");
    let scenario = scenario(&text);
    assert_eq!(scenario.faults.len(), 1);
    let report = run(&scenario, &manifest(), &mut straight(restarts())).expect("it ends");
    assert_eq!((report.outcome, report.changed.len()), (Ending::Failed, 1));
    assert!(report.trace.contains("claim failed \"web.status: unavailable 'no bus'\""), "{}", report.trace);
}

#[test]
fn a_check_that_is_healthy_by_itself_supersedes_the_run() {
    let text = HANGS.replace("verdict = \"unhealthy\"", "verdict = \"degraded\"");
    let report = run(&scenario(&text), &manifest(), &mut straight(restarts())).expect("it ends");
    assert_eq!((report.outcome, report.performed), (Ending::Superseded, 0));
    assert_eq!(report.trace, "check warning\nended superseded\n");
}

#[test]
fn a_sleep_takes_no_time_but_the_worlds() {
    let hours = || Call::Clock(crate::call::ClockCall::Sleep { duration_ms: 50_000 });
    let calls = vec![hours(), status()];
    let report = run(&scenario(HANGS), &manifest(), &mut straight(calls)).expect("it ends");
    let took = report.record.ended_at.since(report.record.started_at).as_secs();
    assert!((60..63).contains(&took), "50 seconds of sleep and 10 of waiting for health: {took}");
}

#[track_caller]
fn invalid(from: &str, to: &str, line: usize, message: &str) {
    assert!(HANGS.contains(from), "{from}");
    let error = Scenario::from_toml(&HANGS.replacen(from, to, 1), &manifest()).expect_err("it is wrong");
    assert_eq!((error.line, error.message.lines().next().unwrap_or_default()), (line, message));
}

#[test]
fn a_scenario_that_is_wrong_is_refused_with_its_line() {
    invalid(
        "title =",
        "titel =",
        2,
        "unknown field `titel`, expected one of `title`, `trigger`, `world`, `fault`, `expect`",
    );
    invalid(
        "activity = \"active\"",
        "activity = \"busy\"",
        6,
        "unknown variant `busy`, expected one of `active`, `inactive`, `activating`, `deactivating`, `failed`",
    );
    invalid("[world.service.web]", "[world.service.db]", 5, "the manifest has no grant db of this kind");
    invalid("[world.service.web]", "[world.service.app]", 5, "the manifest has no grant app of this kind");
    invalid("[world.health.health]", "[world.fact.health]", 5, "world.health.health is missing: it confirms the run");
    invalid("current = \"r2\"", "current = \"r3\"", 8, "world.release.app.current is not in its history");
    invalid("value = \"on\"", "value = \"dark\"", 11, "world.flag.flag.value is not one of its variants");
    invalid(
        "changed = [\"web.restart\"]",
        "changed = [\"web.reload\"]",
        19,
        "the manifest grants no action web.reload",
    );
    invalid(
        "following = \"web.restart\"",
        "following = \"web.reload\"",
        16,
        "the manifest grants no action web.reload",
    );
    invalid(
        "alert = \"web/http\"",
        "alert = \"web/http\"\nparameters = { speed = 9 }",
        5,
        "the parameter speed must be absent: this playbook has no parameters",
    );
    invalid(
        "outcome = \"succeeded\"",
        "outcome = \"fine\"",
        18,
        "unknown variant `fine`, expected one of `succeeded`, `ineffective`, `failed`, `reverted`, `superseded`, `cancelled`, `expired`, `in-doubt`",
    );
    let fault = |call: &str, nth: u32, returns: &str| {
        format!("[[fault]]\ncall = \"{call}\"\nnth = {nth}\nreturns = {returns}\n[expect]")
    };
    invalid("[expect]", &fault("db.status", 1, "\"timeout\""), 18, "the manifest has no grant for db.status");
    invalid("[expect]", &fault("web.status", 0, "\"timeout\""), 18, "nth counts from 1");
    invalid("[expect]", &fault("web.status", 1, "\"off-plan\""), 18, "web.status cannot return this error");
    let long = format!("{HANGS}#{}", "x".repeat(64 * 1024));
    assert_eq!(Scenario::from_toml(&long, &manifest()).map_err(|error| error.line), Err(1));
}

#[test]
fn an_injection_reads_as_it_is_meant() {
    #[derive(serde::Deserialize)]
    struct File {
        fault: Vec<Injection>,
    }
    let text =
        "[[fault]]\ncall = \"web.restart\"\nnth = 1\nreturns = { indeterminate = \"fog\" }\neffect = \"happens\"";
    let file: File = toml::from_str(text).expect("it is sound");
    let calls = vec![status(), change(Action::Restart, "rev1")];
    let report = run_with_crashes(
        &scenario(HANGS),
        &manifest(),
        &file.fault,
        Sight::Clear,
        &BTreeMap::new(),
        &mut straight(calls),
    )
    .expect("it ends");
    assert_eq!((report.outcome, report.changed.len()), (Ending::InDoubt, 1));
}
