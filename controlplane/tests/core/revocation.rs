//! Who may be revoked, and which certificates are good after that.

use crate::signing_keys::signing_key;
use crate::world::{World, name};
use fettle_controlplane::core::{Command, NewCertificate, Outcome, PersonRefusal, PersonRequest};
use fettle_model::identity::{HeldRole, Role};
use fettle_model::record::{Body, Kind};
use std::time::Duration;

fn certificate(world: &World, serial: &str) -> NewCertificate {
    NewCertificate { serial: serial.to_owned(), not_after: world.now.wall.plus(Duration::from_hours(24)) }
}

fn add(world: &mut World, person: &str, role: Role, serial: &str) {
    let certificate = certificate(world, serial);
    let signing_key = signing_key(serial);
    world.done(PersonRequest::AddPerson { person: name(person), role: role.into(), certificate, signing_key });
}

fn revoke(world: &mut World, person: &str) -> Outcome {
    world.person(PersonRequest::RevokePerson { person: name(person), why: "a stolen laptop".to_owned() })
}

fn renew(world: &mut World, person: &str, shown: &str, serial: &str) -> Outcome {
    let request = PersonRequest::RenewCertificate { shown: shown.to_owned(), certificate: certificate(world, serial) };
    world.person_by(person, request)
}

fn good(world: &World, person: &str, serial: &str) -> bool {
    !world.core.state().is_withdrawn(&name(person), serial)
}

#[test]
fn who_is_revoked_has_no_role_and_no_certificate() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Author, "aa");
    add(&mut world, "bob", Role::Auditor, "ab");
    assert!(good(&world, "bob", "aa") && good(&world, "bob", "older than the log"));
    assert_eq!(revoke(&mut world, "bob"), Outcome::Done);
    let Body::PersonRevoked(revoked) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!((revoked.person.as_str(), revoked.by.as_str()), ("bob", "alice"));
    assert_eq!(revoked.why, "a stolen laptop");
    assert!(world.core.state().roles(&name("bob")).is_empty());
    assert!(world.core.state().people().all(|person| person.as_str() != "bob"));
    for serial in ["aa", "ab", "older than the log"] {
        assert!(!good(&world, "bob", serial), "{serial}");
    }
    assert!(good(&world, "alice", "aa"), "nobody else is touched");
    let withdrawn = Outcome::PersonRefused(PersonRefusal::CertificateWithdrawn(name("bob")));
    assert_eq!(renew(&mut world, "bob", "ab", "ac"), withdrawn);
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn who_is_added_anew_has_what_they_were_given_since_and_nothing_from_before() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Author, "aa");
    assert_eq!(revoke(&mut world, "bob"), Outcome::Done);
    world.done(PersonRequest::GrantRole { person: name("bob"), role: Role::Author.into() });
    assert!(!good(&world, "bob", "aa"), "a role brings no certificate back");
    add(&mut world, "bob", Role::Author, "bb");
    assert!(good(&world, "bob", "bb") && !good(&world, "bob", "aa"));
    let withdrawn = Outcome::PersonRefused(PersonRefusal::CertificateWithdrawn(name("bob")));
    assert_eq!(renew(&mut world, "bob", "aa", "ac"), withdrawn);
    assert_eq!(renew(&mut world, "bob", "bb", "bc"), Outcome::Done);
    assert!(good(&world, "bob", "bc") && good(&world, "bob", "bb"));
    assert_eq!(revoke(&mut world, "bob"), Outcome::Done);
    for serial in ["aa", "bb", "bc"] {
        assert!(!good(&world, "bob", serial), "{serial}");
    }
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn what_has_ended_is_forgotten_with_the_next_certificate() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Author, "aa");
    assert_eq!(revoke(&mut world, "bob"), Outcome::Done);
    add(&mut world, "bob", Role::Author, "bb");
    world.now.wall = world.now.wall.plus(Duration::from_hours(24));
    add(&mut world, "bob", Role::Author, "cc");
    assert!(good(&world, "bob", "cc") && !good(&world, "bob", "bb"));
}

#[test]
fn a_consoles_note_that_comes_late_makes_nothing_good() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Author, "aa");
    assert_eq!(revoke(&mut world, "bob"), Outcome::Done);
    let note = Command::CertifiedAtConsole { person: name("bob"), certificate: certificate(&world, "ab") };
    assert_eq!(world.run(&note), Outcome::Done);
    add(&mut world, "bob", Role::Author, "bb");
    assert!(!good(&world, "bob", "ab") && good(&world, "bob", "bb"));
    let note = Command::CertifiedAtConsole { person: name("bob"), certificate: certificate(&world, "bc") };
    assert_eq!(world.run(&note), Outcome::Done);
    assert!(good(&world, "bob", "bc"), "who has a role gets a fresh profile at the console");
}

#[test]
fn the_last_administrator_stays() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Operator, "aa");
    let last = |person| Outcome::PersonRefused(PersonRefusal::LastAdministrator(name(person)));
    assert_eq!(revoke(&mut world, "alice"), last("alice"), "an operator gives no roles");
    add(&mut world, "olga", Role::Administrator, "cc");
    assert_eq!(revoke(&mut world, "alice"), Outcome::Done);
    assert_eq!(revoke(&mut world, "olga"), last("olga"));
    let held = world.core.state().roles(&name("olga"));
    assert_eq!(held.into_iter().collect::<Vec<_>>(), [Role::Administrator.into()]);
}

fn end_role(world: &mut World, person: &str, role: HeldRole) -> Outcome {
    world.person(PersonRequest::RevokeRole { person: name(person), role, why: "another team".to_owned() })
}

fn of_team(role: Role, team: &str) -> HeldRole {
    HeldRole { role, team: Some(team.parse().expect("a name")) }
}

#[test]
fn one_role_in_one_scope_ends_and_everything_else_stays() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Operator, "aa");
    for role in [of_team(Role::Operator, "web"), of_team(Role::Operator, "db"), Role::Viewer.into()] {
        world.done(PersonRequest::GrantRole { person: name("bob"), role });
    }
    assert_eq!(end_role(&mut world, "bob", of_team(Role::Operator, "web")), Outcome::Done);
    let Body::RoleRevoked(revoked) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!((revoked.person.as_str(), revoked.by.as_str(), revoked.role), ("bob", "alice", Role::Operator));
    assert_eq!(revoked.why, "another team");
    let held = |world: &World| world.core.state().roles(&name("bob")).into_iter().collect::<Vec<_>>();
    assert_eq!(held(&world), [Role::Viewer.into(), Role::Operator.into(), of_team(Role::Operator, "db")]);
    assert_eq!(end_role(&mut world, "bob", Role::Operator.into()), Outcome::Done);
    assert_eq!(held(&world), [Role::Viewer.into(), of_team(Role::Operator, "db")]);
    assert!(good(&world, "bob", "aa") && world.core.state().signing_key(&name("bob")).is_some());
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn who_lost_the_last_role_is_in_no_list_and_can_still_be_revoked() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Operator, "aa");
    assert_eq!(end_role(&mut world, "bob", Role::Operator.into()), Outcome::Done);
    assert!(world.core.state().people().all(|person| person.as_str() != "bob"));
    assert!(good(&world, "bob", "aa"), "nothing but the role was taken");
    assert_eq!(revoke(&mut world, "bob"), Outcome::Done);
    assert!(!good(&world, "bob", "aa") && world.core.state().signing_key(&name("bob")).is_none());
    assert_eq!(revoke(&mut world, "bob"), Outcome::Unchanged);
}

#[test]
fn only_a_role_that_is_held_there_ends_and_not_the_last_administrators() {
    let mut world = World::new();
    add(&mut world, "bob", Role::Operator, "aa");
    for (person, role) in [("bob", of_team(Role::Operator, "web")), ("carol", Role::Viewer.into())] {
        let refusal = PersonRefusal::RoleNotHeld { person: name(person), role: role.clone() };
        assert_eq!(end_role(&mut world, person, role), Outcome::PersonRefused(refusal));
    }
    let silent = PersonRequest::RevokeRole { person: name("bob"), role: Role::Operator.into(), why: " ".to_owned() };
    assert_eq!(world.person(silent), Outcome::PersonRefused(PersonRefusal::Why));
    let last = |person| Outcome::PersonRefused(PersonRefusal::LastAdministrator(name(person)));
    assert_eq!(end_role(&mut world, "alice", Role::Administrator.into()), last("alice"));
    assert_eq!(end_role(&mut world, "alice", Role::Operator.into()), Outcome::Done, "another role of the last one");
    add(&mut world, "olga", Role::Administrator, "cc");
    assert_eq!(end_role(&mut world, "alice", Role::Administrator.into()), Outcome::Done);
    assert_eq!(end_role(&mut world, "olga", Role::Administrator.into()), last("olga"));
}

#[test]
fn only_somebody_who_is_known_is_revoked_once_and_with_a_reason() {
    let mut world = World::new();
    assert_eq!(revoke(&mut world, "bob"), Outcome::PersonRefused(PersonRefusal::UnknownPerson(name("bob"))));
    add(&mut world, "bob", Role::Author, "aa");
    let silent = PersonRequest::RevokePerson { person: name("bob"), why: String::new() };
    assert_eq!(world.person(silent), Outcome::PersonRefused(PersonRefusal::Why));
    assert_eq!(revoke(&mut world, "bob"), Outcome::Done);
    assert_eq!(revoke(&mut world, "bob"), Outcome::Unchanged);
    assert_eq!(world.count(|body| body.kind() == Kind::PersonRevoked), 1);
}
