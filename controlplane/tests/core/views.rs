//! The questions that the API asks.

use crate::world::{World, web};
use fettle_controlplane::core::{PersonRequest, views};
use fettle_model::breaker::Scope;
use fettle_model::check::Status;
use fettle_model::record::Kind;
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use fettle_model::withheld::{Hindrance, Lack};
use std::time::Duration;

#[test]
fn hosts_show_their_checks_runs_and_attempts() {
    let (mut world, hosts) = World::broken(3);
    let permit = world.ask(hosts[0]).expect("a permit");
    let rows = views::hosts(world.core.state());
    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["p0", "p1", "p2", "s0", "s1"]);
    let row = rows.first().expect("a row");
    assert_eq!(row.run, Some(permit.run));
    let shown: Vec<_> = row.checks.iter().map(|check| (check.status, check.epoch.0, check.attempts)).collect();
    assert_eq!(shown, [(Status::Critical, 2, 1)]);
    assert_eq!(row.records.0, 4, "described, passing, critical, asked");
}

#[test]
fn services_show_the_health_of_each_environment() {
    let (mut world, hosts) = World::broken(3);
    assert!(world.ask(hosts[0]).is_ok());
    let rows = views::services(world.core.state());
    let shown: Vec<_> = rows
        .iter()
        .map(|row| {
            let environment = row.environment.as_ref().map(|name| name.as_str().to_owned());
            (environment, row.hosts.len(), row.healthy, row.in_flight, row.checks.get(&Status::Critical).copied())
        })
        .collect();
    let expected = [(Some("production".to_owned()), 3, 2, 1, Some(1)), (Some("staging".to_owned()), 2, 2, 0, None)];
    assert_eq!(shown, expected);
}

#[test]
fn runs_come_newest_first_and_one_run_comes_with_its_permit() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    world.end(&permit, Ending::Ineffective);
    let rows = views::runs(world.core.state(), 2);
    assert_eq!(rows.len(), 2, "two of three");
    assert_eq!(rows[0].run, permit.run);
    assert!(matches!(rows[0].standing, views::RunStanding::Ended { ending: Ending::Ineffective, .. }));
    let (row, run) = views::run(world.core.state(), permit.run).expect("a known run");
    assert_eq!((&row, &run.permit), (&rows[0], &permit));
}

#[test]
fn why_shows_the_newest_refusals_with_every_reason() {
    let (mut world, hosts) = World::broken(5);
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "we look".to_owned() });
    for _ in 0..10 {
        assert!(world.ask(hosts[0]).is_err());
    }
    let why = views::why(world.core.state(), hosts[0], Some(&web()));
    assert_eq!(why.refusals.len(), 8);
    let (stamp, refusal) = why.refusals.first().expect("a refusal");
    assert_eq!(world.record(stamp.position).body.kind(), Kind::PermitRefused);
    assert_eq!(refusal.reasons.iter().map(Reason::rule).collect::<Vec<_>>(), ["stopped"]);
    assert!(why.refusals.is_sorted_by(|newer, older| newer.0.position > older.0.position));
}

#[test]
fn why_shows_what_an_agent_newest_said_that_it_does_not_ask_for_and_nothing_follows_from_it() {
    let (mut world, hosts) = World::broken(5);
    let purpose = world.request(hosts[0]).purpose;
    world.withhold(hosts[0], purpose.clone(), vec![Hindrance::PlaybookNotReady { lacks: Lack::Package }]);
    let untrusted = Hindrance::PublisherUntrusted { publisher: "acme".parse().expect("a name") };
    let newest = world.withhold(hosts[0], purpose, vec![untrusted]);
    let why = views::why(world.core.state(), hosts[0], Some(&web()));
    let (stamp, shown) = why.withheld.expect("it was said");
    assert_eq!((stamp.position.next(), shown), (world.core.state().next_position(), newest));
    assert_eq!(views::why(world.core.state(), hosts[1], Some(&web())).withheld, None, "another host");
    assert_eq!(world.last().kind(), Kind::RequestWithheld);
    assert!(world.ask(hosts[0]).is_ok(), "what passed is no obstacle");
}

#[test]
fn a_connecting_agent_is_told_everything_in_force_and_nothing_else() {
    let (mut world, hosts) = World::broken(5);
    world.ask(hosts[0]).expect("a permit");
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "we look".to_owned() });
    world.done(PersonRequest::Resume { scope: Scope::Global, why: "go on".to_owned() });
    let briefing = views::briefing(world.core.state(), hosts[0]).expect("a host");
    let kinds = |positions: &[fettle_model::counter::LogPosition]| -> Vec<&str> {
        positions.iter().map(|position| world.record(*position).body.kind().as_str()).collect()
    };
    assert_eq!(kinds(&briefing.playbooks), ["playbook-admitted"]);
    assert_eq!(kinds(&briefing.orders), ["automation-resumed"]);
    assert_eq!(kinds(briefing.configuration.as_slice()), ["configuration-set"]);
    let last = briefing.last_record.expect("its last record");
    assert_eq!(world.record(last).body.kind(), Kind::PermitRequested);
    assert_eq!(briefing.acknowledged.0, 4);
    assert_eq!(briefing.drill, None);
}

#[test]
fn hosts_that_wait_for_a_person_are_nudged_when_the_way_is_free() {
    let (mut world, hosts) = World::broken(5);
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "we look".to_owned() });
    assert!(world.ask(hosts[0]).is_err());
    let nudged = |world: &World, kind| {
        views::nudges(world.core.state(), kind).into_iter().map(|nudge| nudge.host).collect::<Vec<_>>()
    };
    assert_eq!(nudged(&world, Kind::AutomationResumed), [hosts[0]]);
    assert_eq!(nudged(&world, Kind::TransitionSeen), []);
    world.becomes(hosts[0], Status::Passing);
    assert_eq!(nudged(&world, Kind::AutomationResumed), [], "the fault is gone");
}

#[test]
fn incidents_and_drills_come_newest_first() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    world.end(&permit, Ending::InDoubt);
    let rows = views::incidents(world.core.state(), 10);
    assert_eq!(rows.iter().map(|row| row.incident.host).collect::<Vec<_>>(), [Some(hosts[0])]);
    let staging = world.core.state().hosts().find(|host| host.environment.is_staging()).expect("a host").id;
    world.advance(Duration::from_mins(1));
    let (drill, _) = world.start_drill(staging);
    let drills = views::drills(world.core.state(), 10);
    assert_eq!(drills.len(), 2);
    assert_eq!((drills[0].drill.drill, &drills[0].standing), (drill, &views::DrillStanding::Waiting));
}
