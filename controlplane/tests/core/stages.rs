//! The stages of validation before a drill: admission, and the publisher's word on the scenarios.

use crate::world::{World, admit, admit_with, report, version};
use fettle_controlplane::core::{Outcome, PersonRefusal, PersonRequest, coverage};
use fettle_model::check::Status;
use fettle_model::counter::LogPosition;
use fettle_model::coverage::Earning;
use fettle_model::digest::PlaybookDigest;
use fettle_model::record::{Body, Kind};
use fettle_model::run::Ending;
use fettle_model::scenarios::{KnownScenarios, ReportFlaw, ScenarioResult, ScenarioTally};

const NAME: &str = "restart-service";

/// A world whose configuration uses a version on whose scenarios nobody has said anything.
fn unsaid() -> World {
    let mut world = World::new();
    world.done(admit_with(NAME, "2.0.0", "acme", None));
    let mut declared = world.core.state().configuration().declared();
    declared.remediations.iter_mut().for_each(|remediation| remediation.playbook = version(NAME, "2.0.0"));
    let replaces = world.core.state().configuration().generation();
    world.done(PersonRequest::SetConfiguration { declared: Box::new(declared), replaces });
    world.roll_out();
    world
}

fn stages(world: &World) -> Vec<Kind> {
    let kinds = world.log.iter().map(|logged| logged.record.body.kind());
    kinds.filter(|kind| matches!(kind, Kind::PlaybookAdmitted | Kind::ScenariosPassed)).collect()
}

fn newest_report(world: &World) -> LogPosition {
    let last = world.log.iter().rposition(|logged| logged.record.body.kind() == Kind::ScenariosPassed);
    LogPosition(u64::try_from(last.expect("a report")).expect("a short log"))
}

#[test]
fn a_drill_begins_only_after_the_publisher_said_that_the_scenarios_passed() {
    let mut world = unsaid();
    let host = world.host("s0", "staging");
    world.host("s1", "staging");
    let (_, outcome) = world.start_drill(host);
    assert_eq!(outcome, Outcome::PersonRefused(PersonRefusal::NoScenarios(version(NAME, "2.0.0"))));
    world.done(admit(NAME, "2.0.0", "acme"));
    let (admitted, passed) = (Kind::PlaybookAdmitted, Kind::ScenariosPassed);
    assert_eq!(stages(&world), [admitted, passed, admitted, passed], "it is not admitted twice");
    assert_eq!(world.start_drill(host).1, Outcome::Done);
}

#[test]
fn a_report_that_says_something_else_admits_nothing() {
    let mut world = World::new();
    let wanted = version(NAME, "2.0.0");
    let flawed = |change: fn(&mut fettle_model::scenarios::ScenarioReport)| {
        let mut said = report(&wanted);
        change(&mut said.report);
        admit_with(NAME, "2.0.0", "acme", Some(said))
    };
    let before = stages(&world);
    let (reported, package) = (PlaybookDigest::of(b"another"), wanted.digest);
    for (request, flaw) in [
        (
            flawed(|report| report.digest = PlaybookDigest::of(b"another")),
            ReportFlaw::OtherPackage { reported, package },
        ),
        (flawed(|report| report.scenarios.clear()), ReportFlaw::NoScenario),
        (
            flawed(|report| report.scenarios[0].result = ScenarioResult::Failed),
            ReportFlaw::Failed { title: "hangs".to_owned() },
        ),
    ] {
        assert_eq!(world.person(request), Outcome::PersonRefused(PersonRefusal::ScenarioReport(flaw)));
    }
    assert_eq!(stages(&world), before);
}

#[test]
fn the_same_word_again_is_no_record_and_a_drill_goes_by_the_one_before_it() {
    let mut world = World::new();
    assert_eq!(world.person(admit(NAME, "1.0.0", "acme")), Outcome::Unchanged);
    let host = world.host("s0", "staging");
    world.host("s1", "staging");
    let before = newest_report(&world);
    let killed = world.drill_to_killing(host);
    let mut more = report(&version(NAME, "1.0.0"));
    more.report.scenarios.push(more.report.scenarios[0].clone());
    "of two".clone_into(&mut more.signed);
    world.done(admit_with(NAME, "1.0.0", "acme", Some(more)));
    assert!(newest_report(&world) > before);
    world.becomes(host, Status::Passing);
    let ended = world.resumed(&killed, Ending::Succeeded);
    world.say(host, Body::RunEnded(Box::new(ended)));
    let evidence = world.log.iter().find_map(|logged| match &logged.record.body {
        Body::EvidenceEarned(evidence) => Some(evidence.clone()),
        _ => None,
    });
    assert_eq!(evidence.expect("evidence").scenarios, Some(before));
}

#[test]
fn coverage_shows_where_the_stages_stand_and_what_a_missing_one_is_in_the_way_of() {
    let shown = |world: &World| coverage(world.core.state(), world.now.wall).remove(0);
    let (world, _) = World::proved(1);
    let row = shown(&world);
    let tally = ScenarioTally { scenarios: 1, errors: 20, crashes: 12 };
    assert_eq!(row.scenarios, Some(KnownScenarios { position: newest_report(&world), tally }));
    assert_eq!(row.admitted.0 + 1, newest_report(&world).0);
    let mut world = unsaid();
    world.host("s0", "staging");
    world.host("p0", "production");
    let row = shown(&world);
    assert_eq!((row.scenarios, row.earning), (None, Earning::NoScenarios));
}
