//! Freezes: by calendar and by hand, several at once, and what passes through them.

use crate::world::World;
use fettle_controlplane::core::{Outcome, PersonRefusal, PersonRequest, views};
use fettle_model::check::Status;
use fettle_model::freeze::{Freeze, FrozenBy, MAX_FREEZE, MAX_FREEZES_BY_HAND, Meaning, Standing};
use fettle_model::id::{FreezeId, HostId};
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use std::time::Duration;
use uuid::Uuid;

const HOUR: Duration = Duration::from_hours(1);

/// The next full day of the world's clock, in UTC: freezes below are counted from it.
fn world() -> (World, Vec<HostId>) {
    let (mut world, hosts) = World::broken(5);
    // 2023-11-15, a Wednesday.
    world.advance(Duration::from_millis(1_700_006_400_000 - world.now.wall.0));
    (world, hosts)
}

fn at(hours: u64) -> UnixMillis {
    UnixMillis(1_700_006_400_000 + hours * 3_600_000)
}

/// A freeze whose only window is every day from `from` to `to`, in UTC.
fn daily(name: &str, scope: &str, windows: Meaning, from: &str, to: &str) -> Freeze {
    let days = r#"["mon","tue","wed","thu","fri","sat","sun"]"#;
    let window = format!(r#"{{"kind":"weekly","days":{days},"from":"{from}","to":"{to}"}}"#);
    Freeze {
        name: name.parse().expect("a name"),
        scope: scope.parse().expect("a scope"),
        windows,
        calendar: serde_json::from_str(&format!(r#"{{"zone":"UTC","windows":[{window}]}}"#)).expect("a calendar"),
        why: "the shop is full".to_owned(),
    }
}

fn configured(world: &mut World, freezes: Vec<Freeze>) {
    world.freezes = freezes;
    assert_eq!(world.configure(), Outcome::Done);
}

/// Freezes that refuse the first host's request, and until when.
fn frozen(world: &mut World, host: HostId) -> Vec<(String, Option<UnixMillis>)> {
    let Err(refusal) = world.ask(host) else { return Vec::new() };
    let frozen = refusal.reasons.iter().filter_map(|reason| match reason {
        Reason::Frozen { freeze: FrozenBy::Calendar { name }, clears_at, .. } => Some((name.to_string(), *clears_at)),
        Reason::Frozen { freeze: FrozenBy::Person { by, .. }, clears_at, .. } => Some((by.to_string(), *clears_at)),
        _ => None,
    });
    frozen.collect()
}

fn freeze(world: &mut World, scope: &str, lasts: Duration) -> FreezeId {
    let freeze = FreezeId::from_uuid(world.mint());
    let scope = scope.parse().expect("a scope");
    world.done(PersonRequest::Freeze { freeze, scope, lasts, why: "a move".to_owned() });
    freeze
}

#[test]
fn a_calendar_refuses_within_its_windows_until_the_end_of_the_last_that_holds() {
    let (mut world, hosts) = world();
    let office = daily("office", "environment:production", Meaning::Closed, "01:00", "05:00");
    let night = daily("night-only", "service:web", Meaning::Open, "03:00", "08:00");
    configured(&mut world, vec![office, night]);
    world.advance(HOUR);
    let both = [("office".to_owned(), Some(at(5))), ("night-only".to_owned(), Some(at(3)))];
    assert_eq!(frozen(&mut world, hosts[0]), both);
    let refusal = world.ask(hosts[0]).expect_err("frozen");
    assert_eq!(refusal.retry_at, Some(at(5)), "all must let it act");
    world.advance(3 * HOUR);
    assert_eq!(frozen(&mut world, hosts[0]), [("office".to_owned(), Some(at(5)))]);
    world.advance(HOUR);
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn a_freeze_of_another_scope_holds_nothing_back() {
    let (mut world, hosts) = world();
    let staging = daily("staging", "environment:staging", Meaning::Closed, "00:00", "24:00");
    configured(&mut world, vec![staging]);
    freeze(&mut world, "service:db", HOUR);
    freeze(&mut world, "playbook:other", HOUR);
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn a_freeze_by_hand_ends_by_itself_or_is_lifted_and_two_must_both_end() {
    let (mut world, hosts) = world();
    let first = freeze(&mut world, "global", HOUR);
    freeze(&mut world, "global", 2 * HOUR);
    let alice = |hours| ("alice".to_owned(), Some(at(hours)));
    assert_eq!(frozen(&mut world, hosts[0]), [alice(1), alice(2)]);
    let lift = |freeze| PersonRequest::LiftFreeze {
        freeze,
        scope: "global".parse().expect("a scope"),
        why: "done".to_owned(),
    };
    world.done(lift(first));
    assert_eq!(frozen(&mut world, hosts[0]), [alice(2)]);
    assert_eq!(world.person(lift(first)), Outcome::PersonRefused(PersonRefusal::NotFrozen(first)));
    world.advance(2 * HOUR);
    assert!(world.ask(hosts[0]).is_ok());
}

#[test]
fn a_freeze_is_lifted_only_in_the_scope_that_policies_were_asked_about() {
    let (mut world, _) = world();
    let everything = freeze(&mut world, "global", HOUR);
    let scope = "service:web".parse().expect("a scope");
    let lifted = world.person(PersonRequest::LiftFreeze { freeze: everything, scope, why: "mine".to_owned() });
    assert_eq!(lifted, Outcome::PersonRefused(PersonRefusal::NotFrozen(everything)));
}

#[test]
fn what_is_under_way_when_a_freeze_begins_goes_on_and_nothing_starts_until_it_ends() {
    let (mut world, hosts) = world();
    world.becomes(hosts[1], Status::Critical);
    let running = world.ask(hosts[0]).expect("a permit");
    freeze(&mut world, "environment:production", HOUR);
    world.tick();
    assert_eq!(world.core.state().in_flight().count(), 1, "its permit stands");
    world.end(&running, Ending::Succeeded);
    world.becomes(hosts[0], Status::Passing);
    let ended = world.count(|body| matches!(body, Body::RunEnded(ended) if ended.ending == Ending::Succeeded));
    assert!(ended > 0, "its report is taken");
    assert_eq!(frozen(&mut world, hosts[1]).len(), 1);
    world.advance(HOUR);
    assert!(world.ask(hosts[1]).is_ok());
}

#[test]
fn drills_and_runs_by_hand_are_frozen_like_everything_else() {
    let (mut world, _) = world();
    let staging = world.host("s9", "staging");
    let (drill, _) = world.start_drill(staging);
    freeze(&mut world, "environment:staging", HOUR);
    let refusal = world.ask_to_inject(staging, drill).expect_err("frozen");
    assert!(refusal.reasons.iter().any(|reason| reason.rule() == "frozen"), "{refusal:?}");
}

#[test]
fn lengths_and_numbers_of_freezes_by_hand_are_bounded() {
    let (mut world, _) = world();
    let ask = |world: &mut World, lasts| {
        let freeze = FreezeId::from_uuid(world.mint());
        world.person(PersonRequest::Freeze {
            freeze,
            scope: "global".parse().expect("a scope"),
            lasts,
            why: "a move".to_owned(),
        })
    };
    for asked in [Duration::ZERO, MAX_FREEZE + Duration::from_millis(1)] {
        assert_eq!(ask(&mut world, asked), Outcome::PersonRefused(PersonRefusal::FreezeLength { asked }));
    }
    for _ in 0..MAX_FREEZES_BY_HAND {
        assert_eq!(ask(&mut world, HOUR), Outcome::Done);
    }
    assert_eq!(ask(&mut world, HOUR), Outcome::PersonRefused(PersonRefusal::TooManyFreezes));
    world.advance(HOUR);
    assert_eq!(ask(&mut world, MAX_FREEZE), Outcome::Done, "those that are over do not count");
}

#[test]
fn the_view_shows_what_holds_and_every_calendar() {
    let (mut world, _) = world();
    let office = daily("office", "global", Meaning::Closed, "01:00", "05:00");
    configured(&mut world, vec![office]);
    freeze(&mut world, "service:web", HOUR);
    let shown = |world: &World| -> Vec<(String, Standing)> {
        let rows = views::freezes(world.core.state(), world.now.wall);
        rows.into_iter().map(|row| (row.scope.to_string(), row.standing)).collect()
    };
    let by_hand = ("service:web".to_owned(), Standing::Frozen { until: Some(at(1)) });
    assert_eq!(shown(&world), [by_hand, ("global".to_owned(), Standing::Open)]);
    world.advance(HOUR);
    assert_eq!(shown(&world), [("global".to_owned(), Standing::Frozen { until: Some(at(5)) })]);
}

#[test]
fn nobody_lifts_what_was_never_frozen() {
    let (mut world, _) = world();
    let freeze = FreezeId::from_uuid(Uuid::from_u128(9));
    let scope = "global".parse().expect("a scope");
    let lifted = world.person(PersonRequest::LiftFreeze { freeze, scope, why: "done".to_owned() });
    assert_eq!(lifted, Outcome::PersonRefused(PersonRefusal::NotFrozen(freeze)));
}
