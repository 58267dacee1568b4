//! Mutes: what they hold, what they never hold, and how long. That they change no decision is in
//! [`crate::invariants`].

use crate::world::World;
use fettle_controlplane::core::{Outcome, PersonRefusal, PersonRequest, views};
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::id::{BreakGlassId, HostId, IncidentId, MuteId, RunId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::mute::{MAX_MUTE, MAX_MUTES};
use fettle_model::record::Body;
use fettle_model::run::{Claim, Ending};
use fettle_model::time::UnixMillis;
use std::time::Duration;
use uuid::Uuid;

const HOUR: Duration = Duration::from_hours(1);

/// A host on which a playbook ran and asked for a person.
fn escalated() -> (World, HostId) {
    let (mut world, hosts) = World::broken(4);
    let host = hosts[0];
    let permit = world.ask(host).expect("a permit");
    let mut report = world.report(&permit, Ending::Ineffective);
    report.claim = Some(Claim::Escalate { summary: "the disk is gone".to_owned() });
    assert_eq!(world.say(host, Body::RunEnded(Box::new(report))), Outcome::Done);
    (world, host)
}

fn mute(world: &mut World, scope: &str, lasts: Duration) -> MuteId {
    let mute = MuteId::from_uuid(world.mint());
    let scope = scope.parse().expect("a scope");
    world.done(PersonRequest::Mute { mute, scope, lasts, why: "new disks".to_owned() });
    mute
}

fn lift(mute: MuteId, scope: &str) -> PersonRequest {
    PersonRequest::LiftMute { mute, scope: scope.parse().expect("a scope"), why: "done".to_owned() }
}

/// What holds the newest incident.
fn held(world: &World) -> Option<(MuteId, UnixMillis)> {
    let state = world.core.state();
    let newest = views::incidents(state, 1).into_iter().next().expect("an incident");
    views::held_by(state, &newest.incident, world.now.wall).map(|mute| (mute.mute, mute.until))
}

#[test]
fn a_routine_incident_is_held_while_a_mute_of_its_scope_is_in_force_and_calls_people_afterwards() {
    for scope in ["global", "environment:production", "service:web", "playbook:restart-service"] {
        let (mut world, _) = escalated();
        assert_eq!(held(&world), None);
        let first = mute(&mut world, scope, HOUR);
        assert_eq!(held(&world), Some((first, world.now.wall.plus(HOUR))), "{scope}");
        world.advance(HOUR);
        assert_eq!(held(&world), None, "{scope}: it is over");
        let second = mute(&mut world, scope, HOUR);
        assert!(held(&world).is_some(), "{scope}");
        world.done(lift(second, scope));
        assert_eq!(held(&world), None, "{scope}: it is lifted");
    }
}

#[test]
fn a_mute_of_another_scope_holds_nothing() {
    let (mut world, _) = escalated();
    for scope in ["environment:staging", "service:db", "playbook:other"] {
        mute(&mut world, scope, HOUR);
    }
    assert_eq!(held(&world), None);
}

#[test]
fn of_several_mutes_the_one_that_ends_last_is_told() {
    let (mut world, _) = escalated();
    mute(&mut world, "global", HOUR);
    let longest = mute(&mut world, "service:web", 3 * HOUR);
    mute(&mut world, "environment:production", 2 * HOUR);
    assert_eq!(held(&world).map(|(mute, _)| mute), Some(longest));
}

#[test]
fn an_urgent_incident_is_never_held() {
    let (mut world, host) = escalated();
    mute(&mut world, "global", HOUR);
    let (run, id) = (RunId::from_uuid(Uuid::from_u128(1)), Uuid::from_u128(2));
    let generation = ConfigurationGeneration(1);
    let person = || "ann".parse().expect("a name");
    let (ask, role) = (BreakGlassId::from_uuid(id), HeldRole::from(Role::Operator));
    let until = world.now.wall;
    for (cause, waits) in [
        (IncidentCause::AttemptsExhausted { attempts: 3, tried: Vec::new() }, false),
        (IncidentCause::InDoubt { run }, false),
        (IncidentCause::BrokenGlass { ask, person: person(), role, confirmed_by: person(), until }, false),
        (IncidentCause::Escalated { run, summary: "look".to_owned() }, true),
        (IncidentCause::RolloutHalted { generation }, true),
        (IncidentCause::ConfigurationRejected { generation }, true),
    ] {
        let incident = IncidentOpened { incident: IncidentId::from_uuid(id), host: Some(host), check: None, cause };
        let held = views::held_by(world.core.state(), &incident, world.now.wall);
        assert_eq!(held.is_some(), waits, "{incident:?}");
    }
}

#[test]
fn lengths_and_numbers_of_mutes_are_bounded() {
    let (mut world, _) = escalated();
    let ask = |world: &mut World, lasts| {
        let mute = MuteId::from_uuid(world.mint());
        let scope = "global".parse().expect("a scope");
        world.person(PersonRequest::Mute { mute, scope, lasts, why: "new disks".to_owned() })
    };
    for asked in [Duration::ZERO, MAX_MUTE + Duration::from_millis(1)] {
        assert_eq!(ask(&mut world, asked), Outcome::PersonRefused(PersonRefusal::MuteLength { asked }));
    }
    for _ in 0..MAX_MUTES {
        assert_eq!(ask(&mut world, HOUR), Outcome::Done);
    }
    assert_eq!(ask(&mut world, HOUR), Outcome::PersonRefused(PersonRefusal::TooManyMutes));
    world.advance(HOUR);
    assert_eq!(ask(&mut world, MAX_MUTE), Outcome::Done, "those that are over do not count");
    assert_eq!(views::mutes(world.core.state(), world.now.wall).len(), 1);
}

#[test]
fn a_mute_is_lifted_once_while_it_is_in_force_and_only_in_the_scope_that_policies_were_asked_about() {
    let (mut world, _) = escalated();
    let not_muted = |mute| Outcome::PersonRefused(PersonRefusal::NotMuted(mute));
    let first = mute(&mut world, "global", HOUR);
    assert_eq!(world.person(lift(first, "service:web")), not_muted(first));
    world.done(lift(first, "global"));
    assert_eq!(world.person(lift(first, "global")), not_muted(first));
    let second = mute(&mut world, "global", HOUR);
    world.advance(HOUR);
    assert_eq!(world.person(lift(second, "global")), not_muted(second));
}
