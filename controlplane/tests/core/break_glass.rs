//! Broken glass: who opens it for whom, for how long, and what it does not outlive.

use crate::signing_keys::signing_key;
use crate::world::{World, name};
use fettle_controlplane::core::{
    AskEnd, Authorisation, Command, Glass, GlassStanding, NewCertificate, Outcome, PersonAction, PersonRefusal,
    PersonRequest, SayBreakGlass, Tie,
};
use fettle_model::break_glass::{
    BREAK_GLASS_LASTS, BreakGlassAsked, BreakGlassClosed, BreakGlassOpened, MAX_ASK_WAITS,
};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::{BreakGlassId, IncidentId};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::incident::IncidentCause;
use fettle_model::record::{Author, Body, Kind, Record};
use fettle_model::time::UnixMillis;
use std::time::Duration;

fn operator() -> HeldRole {
    Role::Operator.into()
}

fn add(world: &mut World, person: &str, role: Role, key: &str, by: &str) {
    let addition = world.addition(person, role.into(), key);
    world.person_by(by, addition);
}

/// A viewer who will ask, and two who may confirm; alice, an administrator, added all of them.
fn world() -> World {
    let mut world = World::new();
    add(&mut world, "ann", Role::Viewer, "ann", "alice");
    add(&mut world, "ben", Role::Approver, "ben", "alice");
    add(&mut world, "cid", Role::IncidentCommander, "cid", "alice");
    world
}

fn asked(world: &mut World, held: HeldRole) -> BreakGlassAsked {
    let HeldRole { role, team } = held;
    BreakGlassAsked {
        ask: BreakGlassId::from_uuid(world.mint()),
        role,
        team,
        why: "nobody answers".to_owned(),
        expires_at: world.now.wall.plus(MAX_ASK_WAITS),
    }
}

fn ask_with(world: &mut World, person: &str, asked: &BreakGlassAsked) -> Outcome {
    world.of_glass(person, Body::BreakGlassAsked(Box::new(asked.clone())), Authorisation::Allowed)
}

fn ask(world: &mut World, person: &str, held: HeldRole) -> BreakGlassId {
    let asked = asked(world, held);
    assert_eq!(ask_with(world, person, &asked), Outcome::Done);
    asked.ask
}

fn confirmation(world: &World, ask: BreakGlassId) -> BreakGlassOpened {
    BreakGlassOpened { ask, asked: world.core.state().glass(ask).expect("it is known").envelope }
}

fn confirm(world: &mut World, person: &str, ask: BreakGlassId) -> Outcome {
    let opened = confirmation(world, ask);
    world.of_glass(person, Body::BreakGlassOpened(Box::new(opened)), Authorisation::Allowed)
}

fn holds(world: &World, person: &str, held: &HeldRole) -> bool {
    world.core.state().holding(&name(person), world.now.wall).roles.contains(held)
}

fn broken(world: &mut World) -> BreakGlassId {
    let ask = ask(world, "ann", operator());
    assert_eq!(confirm(world, "ben", ask), Outcome::Done);
    ask
}

fn refused(refusal: PersonRefusal) -> Outcome {
    Outcome::PersonRefused(refusal)
}

#[test]
fn two_people_open_a_role_for_half_an_hour_and_people_are_called() {
    let mut world = world();
    let ask = ask(&mut world, "ann", operator());
    assert!(!holds(&world, "ann", &operator()), "one person alone opens nothing");
    assert_eq!(confirm(&mut world, "ben", ask), Outcome::Done);
    let until = world.now.wall.plus(BREAK_GLASS_LASTS);
    let Body::IncidentOpened(incident) = world.last() else { unreachable!("{:?}", world.last()) };
    let cause =
        IncidentCause::BrokenGlass { ask, person: name("ann"), role: operator(), confirmed_by: name("ben"), until };
    assert_eq!((&incident.cause, incident.host), (&cause, None));
    assert!(holds(&world, "ann", &operator()) && holds(&world, "ann", &Role::Viewer.into()));
    let state = world.core.state();
    assert_eq!(state.holding(&name("ann"), world.now.wall).glass, Glass::Broken);
    assert_eq!(state.holding(&name("ben"), world.now.wall).glass, Glass::Whole);
    assert_eq!(state.roles(&name("ann")).len(), 1, "nothing lasting was given");
    world.advance(BREAK_GLASS_LASTS - Duration::from_millis(1));
    assert!(holds(&world, "ann", &operator()));
    world.advance(Duration::from_millis(1));
    assert!(!holds(&world, "ann", &operator()), "its end by time is no record");
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn nobody_confirms_for_themselves_nor_with_an_account_that_they_made() {
    let mut world = world();
    add(&mut world, "olga", Role::Administrator, "olga", "alice");
    let own = ask(&mut world, "ann", operator());
    let tie = |person, because| refused(PersonRefusal::NoSecondPerson { by: name(person), because });
    assert_eq!(confirm(&mut world, "ann", own), tie("ann", Tie::Same));
    let Body::ActionRefused(record) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!(
        (record.action.as_str(), record.policies.as_slice()),
        ("break-glass.confirm", [Tie::Same.rule().to_owned()].as_slice())
    );
    // An administrator's second account, with another key, and the administrator for it.
    add(&mut world, "olgas-second", Role::Approver, "olgas-second", "olga");
    let hers = ask(&mut world, "olga", operator());
    assert_eq!(confirm(&mut world, "olgas-second", hers), tie("olgas-second", Tie::Registered));
    assert_eq!(confirm(&mut world, "ben", hers), Outcome::Done);
    let seconds = ask(&mut world, "olgas-second", operator());
    assert_eq!(confirm(&mut world, "olga", seconds), tie("olga", Tie::Registered));
    assert!(!holds(&world, "olgas-second", &operator()));
    // One provider's subject, one key: neither can be two people in the first place.
    let again = PersonRequest::AddPerson {
        person: name("ann-again"),
        role: Role::Approver.into(),
        certificate: NewCertificate { serial: "again".to_owned(), not_after: world.now.wall },
        signing_key: signing_key("ann"),
    };
    assert_eq!(world.person(again), refused(PersonRefusal::SigningKeyKnown));
}

#[test]
fn a_confirmation_is_good_for_exactly_one_ask_and_once() {
    let mut world = world();
    let first = ask(&mut world, "ann", operator());
    let signed = confirmation(&world, first);
    let close = |ask| PersonRequest::CloseBreakGlass { ask, why: "a mistake".to_owned() };
    assert_eq!(world.person_by("ann", close(first)), Outcome::Done);
    let late = world.of_glass("ben", Body::BreakGlassOpened(Box::new(signed.clone())), Authorisation::Allowed);
    assert_eq!(late, refused(PersonRefusal::AskOver { ask: first, because: AskEnd::Closed }));
    let second = ask(&mut world, "ann", Role::Administrator.into());
    let replayed = BreakGlassOpened { ask: second, asked: signed.asked };
    let replayed = world.of_glass("ben", Body::BreakGlassOpened(Box::new(replayed)), Authorisation::Allowed);
    assert_eq!(replayed, refused(PersonRefusal::OtherAsk(second)));
    assert_eq!(confirm(&mut world, "ben", second), Outcome::Done);
    let over = refused(PersonRefusal::AskOver { ask: second, because: AskEnd::Confirmed });
    assert_eq!(confirm(&mut world, "ben", second), over);
    assert_eq!(confirm(&mut world, "cid", second), over, "a second confirmation begins no second half hour");
    world.advance(BREAK_GLASS_LASTS);
    assert_eq!(confirm(&mut world, "cid", second), over);
    let nowhere = BreakGlassId::from_uuid(world.mint());
    let unknown = BreakGlassOpened { ask: nowhere, asked: EnvelopeDigest::of(b"x") };
    let outcome = world.of_glass("ben", Body::BreakGlassOpened(Box::new(unknown)), Authorisation::Allowed);
    assert_eq!(outcome, refused(PersonRefusal::UnknownAsk(nowhere)));
}

#[test]
fn an_ask_waits_for_a_bounded_time_and_is_not_confirmed_after_it() {
    let mut world = world();
    let ask = ask(&mut world, "ann", operator());
    world.advance(MAX_ASK_WAITS);
    let over = PersonRefusal::AskOver { ask, because: AskEnd::Expired };
    assert_eq!(confirm(&mut world, "ben", ask), refused(over));
    for expires_at in [world.now.wall, world.now.wall.plus(MAX_ASK_WAITS + Duration::from_millis(1))] {
        let asked = BreakGlassAsked { expires_at, ..asked(&mut world, operator()) };
        assert_eq!(ask_with(&mut world, "ann", &asked), refused(PersonRefusal::AskWaits));
    }
}

#[test]
fn whoever_lost_their_roles_or_key_meanwhile_gets_nothing() {
    let revoke = |person| PersonRequest::RevokePerson { person: name(person), why: "left".to_owned() };
    let mut gone = world();
    let ask_of = ask(&mut gone, "ann", operator());
    gone.done(revoke("ann"));
    let closed = refused(PersonRefusal::AskOver { ask: ask_of, because: AskEnd::Closed });
    assert_eq!(confirm(&mut gone, "ben", ask_of), closed);

    let mut roleless = world();
    let ask_of = ask(&mut roleless, "ann", operator());
    let role = Role::Viewer.into();
    roleless.done(PersonRequest::RevokeRole { person: name("ann"), role, why: "left".to_owned() });
    assert_eq!(confirm(&mut roleless, "ben", ask_of), refused(PersonRefusal::AskerLost(name("ann"))));

    let mut rekeyed = world();
    let ask_of = ask(&mut rekeyed, "ann", operator());
    add(&mut rekeyed, "ann", Role::Viewer, "ann's new key", "alice");
    assert_eq!(confirm(&mut rekeyed, "ben", ask_of), refused(PersonRefusal::AskerLost(name("ann"))));
}

#[test]
fn it_ends_with_the_last_role_of_ones_own_and_with_the_revocation_of_either() {
    let mut world = world();
    broken(&mut world);
    let role = Role::Viewer.into();
    world.done(PersonRequest::RevokeRole { person: name("ann"), role, why: "left".to_owned() });
    assert_eq!(world.core.state().holding(&name("ann"), world.now.wall).roles.len(), 0);
    for revoked in ["ann", "ben"] {
        let mut world = self::world();
        let ask = broken(&mut world);
        world.done(PersonRequest::RevokePerson { person: name(revoked), why: "stolen".to_owned() });
        add(&mut world, revoked, Role::Viewer, "a new key", "alice");
        assert!(!holds(&world, "ann", &operator()), "{revoked}");
        let known = world.core.state().glass(ask).expect("known");
        assert_eq!(world.core.state().glass_standing(known, world.now.wall), GlassStanding::Closed);
        assert!(world.replayed() == *world.core.state());
    }
}

#[test]
fn there_is_no_extension_and_a_new_half_hour_needs_two_people_again() {
    let mut world = world();
    let first = broken(&mut world);
    let more = asked(&mut world, Role::Approver.into());
    assert_eq!(ask_with(&mut world, "ann", &more), refused(PersonRefusal::AskStands(first)));
    world.advance(BREAK_GLASS_LASTS);
    let next = ask(&mut world, "ann", operator());
    assert!(!holds(&world, "ann", &operator()));
    let again = BreakGlassAsked { ask: next, ..asked(&mut world, operator()) };
    assert_eq!(ask_with(&mut world, "cid", &again), refused(PersonRefusal::AskKnown(next)));
    assert_eq!(confirm(&mut world, "cid", next), Outcome::Done);
    assert!(holds(&world, "ann", &operator()));
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_last_longer_than_the_log_saw() {
    let mut world = world();
    let ask = broken(&mut world);
    let start = world.now.wall;
    world.advance(BREAK_GLASS_LASTS);
    world.done(PersonRequest::GrantRole { person: name("cid"), role: Role::Viewer.into() });
    world.now.wall = start;
    assert!(!holds(&world, "ann", &operator()));
    let over = refused(PersonRefusal::AskOver { ask, because: AskEnd::Confirmed });
    assert_eq!(confirm(&mut world, "cid", ask), over);
    let stale = asked(&mut world, operator());
    assert_eq!(ask_with(&mut world, "ann", &stale), refused(PersonRefusal::AskWaits), "it would have expired long ago");
}

#[test]
fn it_is_closed_by_hand_once_and_what_was_done_under_it_is_told_apart() {
    let mut world = world();
    let ask = broken(&mut world);
    let stop = PersonRequest::Stop { scope: "global".parse().expect("a scope"), why: "an emergency".to_owned() };
    assert_eq!(world.person_by("ann", stop.clone()), Outcome::Done);
    let during = world.log.len() - 1;
    let close = |why: &str| PersonRequest::CloseBreakGlass { ask, why: why.to_owned() };
    assert_eq!(world.person_by("ann", close("")), refused(PersonRefusal::Why));
    assert_eq!(world.person_by("ann", close("done")), Outcome::Done);
    let closed = BreakGlassClosed { ask, by: name("ann"), why: "done".to_owned() };
    assert_eq!(world.last(), &Body::BreakGlassClosed(Box::new(closed)));
    assert_eq!(world.person_by("ben", close("again")), Outcome::Unchanged);
    assert!(!holds(&world, "ann", &operator()));
    assert_eq!(world.person_by("ann", stop), Outcome::Done);
    let at = |world: &World, position: usize| {
        let position_ = fettle_model::counter::LogPosition(position as u64);
        let stamp = fettle_controlplane::core::Stamp { position: position_, at: world.log[position].received_at };
        world.core.state().glass_at(&name("ann"), stamp)
    };
    assert_eq!(at(&world, during), Some(ask));
    assert_eq!(at(&world, during + 1), Some(ask), "its end too");
    assert_eq!(at(&world, during + 2), None);
    assert_eq!(at(&world, 0), None);
}

#[test]
fn what_is_asked_is_one_role_that_is_not_held_in_a_scope_that_it_has_and_with_a_reason() {
    let mut world = world();
    let held = BreakGlassAsked { role: Role::Viewer, ..asked(&mut world, operator()) };
    let refusal = PersonRefusal::RoleHeld { person: name("ann"), role: Role::Viewer.into() };
    assert_eq!(ask_with(&mut world, "ann", &held), refused(refusal));
    let team = HeldRole { role: Role::Auditor, team: Some("web".parse().expect("a name")) };
    let nowhere = asked(&mut world, team);
    assert_eq!(ask_with(&mut world, "ann", &nowhere), refused(PersonRefusal::RoleHasNoTeam(Role::Auditor)));
    let silent = BreakGlassAsked { why: " ".to_owned(), ..asked(&mut world, operator()) };
    assert_eq!(ask_with(&mut world, "ann", &silent), refused(PersonRefusal::Why));
    let foreign = Body::BreakGlassAsked(Box::new(asked(&mut world, operator())));
    let record = Record { author: Author::Person { person: name("ben") }, at: UnixMillis(0), body: foreign };
    let (authorised, incident) = (Authorisation::Allowed, IncidentId::from_uuid(world.mint()));
    let said = SayBreakGlass { by: name("ann"), authorised, record, incident };
    let outcome = world.run(&Command::BreakGlass(Box::new(said)));
    assert_eq!(outcome, refused(PersonRefusal::NoBreakGlass(name("ann"))));
    assert_eq!(world.count(|body| body.kind() == Kind::BreakGlassAsked), 0);
}

#[test]
fn what_cedar_denies_is_a_record_and_opens_nothing() {
    let mut world = world();
    let ask = ask(&mut world, "ann", operator());
    let opened = Body::BreakGlassOpened(Box::new(confirmation(&world, ask)));
    let policies = vec!["floor".to_owned()];
    let denied = Authorisation::Denied { policies: policies.clone() };
    let outcome = world.of_glass("cid", opened, denied);
    let action = PersonAction::ConfirmBreakGlass;
    assert_eq!(outcome, refused(PersonRefusal::NotAuthorised { by: name("cid"), action, policies }));
    assert_eq!(world.last().kind(), Kind::ActionRefused);
    assert!(!holds(&world, "ann", &operator()));
}

/// Opens a role for somebody, by somebody's confirmation.
pub(crate) fn opened(world: &mut World, person: &str, held: HeldRole, by: &str) {
    let ask = ask(world, person, held);
    assert_eq!(confirm(world, by, ask), Outcome::Done);
}
