//! Schedules of drills: due once whoever leads, under the same rules as a person's drill, each class in its turn.

use crate::world::{World, description};
use fettle_controlplane::core::{How, Outcome, views};
use fettle_model::host::DrillConsent;
use fettle_model::id::HostId;
use fettle_model::record::Body;
use fettle_model::remediation::Mode;
use fettle_model::schedule::Schedule;
use fettle_model::time::UnixMillis;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

fn at(hours: u64) -> UnixMillis {
    UnixMillis(1_700_006_400_000 + hours * 3_600_000)
}

fn nightly() -> Schedule {
    let days = r#"["mon","tue","wed","thu","fri","sat","sun"]"#;
    serde_json::from_str(&format!(
        r#"{{"name":"nightly","remediation":"restart-web","drill":1,"hosts":{{"environments":["staging"],"names":[]}},
            "at":{{"zone":"UTC","days":{days},"at":"03:00"}}}}"#
    ))
    .expect("a schedule")
}

/// Midnight of 2023-11-15 in UTC, with a schedule that is due three hours later.
fn world() -> (World, HostId) {
    let mut world = World::new();
    let host = world.host("s0", "staging");
    world.host("s1", "staging");
    world.advance(Duration::from_millis(at(0).0 - world.now.wall.0));
    world.schedules = vec![nightly()];
    assert_eq!(world.configure(), Outcome::Done);
    (world, host)
}

/// Due times that were handled, with the host that was drilled or why none was.
fn handled(world: &World) -> Vec<(UnixMillis, Result<HostId, String>)> {
    let told = world.log.iter().filter_map(|logged| match &logged.record.body {
        Body::DrillStarted(drill) => drill.scheduled.as_ref().map(|was| (was.due, Ok(drill.host))),
        Body::ScheduleRefused(refused) => Some((refused.was.due, Err(refused.reason.clone()))),
        _ => None,
    });
    told.collect()
}

/// The clock goes on and the leader looks.
fn until(world: &mut World, hours: u64) {
    world.advance(Duration::from_millis(at(hours).0 - world.now.wall.0));
    world.tick();
}

#[test]
fn a_schedule_begins_one_drill_at_each_due_time_also_across_leaders() {
    let (mut world, host) = world();
    until(&mut world, 2);
    assert_eq!(handled(&world), [], "what was due before it stood is not");
    until(&mut world, 3);
    world.restart();
    until(&mut world, 4);
    assert_eq!(handled(&world), [(at(3), Ok(host))]);
    let row = views::schedules(world.core.state(), world.now.wall).remove(0);
    assert_eq!(row.next, Some(at(27)));
    assert!(row.last.is_some_and(|last| last.due == at(3) && matches!(last.how, How::Started(_))));
    until(&mut world, 27);
    assert_eq!(handled(&world).len(), 2);
}

#[test]
fn due_times_that_passed_while_nobody_led_are_one_late_drill() {
    let (mut world, _) = world();
    until(&mut world, 3 + 3 * 24 + 5);
    assert_eq!(handled(&world).iter().map(|(due, _)| *due).collect::<Vec<_>>(), [at(3 + 3 * 24)]);
}

#[test]
fn a_schedule_that_changes_has_no_due_times_of_before_and_one_that_stays_keeps_its_own() {
    let (mut world, _) = world();
    until(&mut world, 2);
    assert_eq!(world.guarded(|guard| guard.max_per_window += 1), ());
    until(&mut world, 3);
    assert_eq!(handled(&world).len(), 1, "another change of the configuration loses no due time");
    world.schedules[0].drill = 0;
    world.schedules[0].at = serde_json::from_str(r#"{"zone":"UTC","days":["wed"],"at":"02:00"}"#).expect("moments");
    assert_eq!(world.configure(), Outcome::Done);
    until(&mut world, 20);
    assert_eq!(handled(&world).len(), 1);
}

#[test]
fn the_class_whose_evidence_runs_out_first_has_its_turn() {
    let (mut world, _) = world();
    let mut other = description("s2", "staging");
    other.os.version = "13".to_owned();
    let third = world.host("s2", "staging");
    world.say(third, Body::HostDescribed(Box::new(other)));
    let first = world.core.state().hosts().find(|host| host.name.as_str() == "s0").map(|host| host.id).expect("s0");
    world.drill_through(first);
    until(&mut world, 3);
    assert_eq!(handled(&world), [(at(3), Ok(third))], "its class has no evidence");
}

#[test]
fn what_a_person_would_be_refused_is_refused_as_a_record_and_due_again_the_next_time() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut World), reason: &str) {
        let (mut world, _) = world();
        change(&mut world);
        until(&mut world, 3);
        until(&mut world, 4);
        let told = handled(&world);
        let [(due, Err(why))] = told.as_slice() else { unreachable!("{told:?}") };
        assert_eq!(*due, at(3));
        assert!(why.contains(reason), "{why}");
        world.advance(DAY);
        world.tick();
        assert_eq!(handled(&world).len(), 2);
    }
    check(
        |world| {
            for name in ["s0", "s1"] {
                let host = world.core.state().hosts().find(|host| host.name.as_str() == name).expect("a host").id;
                let mut described = description(name, "staging");
                described.drills = DrillConsent::Refused;
                world.say(host, Body::HostDescribed(Box::new(described)));
            }
        },
        "allows drills",
    );
    check(
        |world| {
            world.modes.insert("staging", Mode::Observe);
            assert_eq!(world.configure(), Outcome::Done);
        },
        "observe",
    );
    check(
        |world| {
            world.schedules[0].drill = 9;
            assert_eq!(world.configure(), Outcome::Done);
        },
        "no such drill",
    );
}
