//! Whose signing key stands, and who may replace it. Proofs are the rim's to check.

use crate::world::{World, name};
use fettle_controlplane::core::{Outcome, PersonRefusal, PersonRequest};
use fettle_model::identity::Role;
use fettle_model::person_key::SigningKeyProof;
use fettle_model::record::{Body, Kind};

/// A key, by a text of its own.
pub(crate) fn signing_key(text: &str) -> SigningKeyProof {
    SigningKeyProof { key: format!("key {text}"), proof: format!("proof {text}") }
}

fn add(world: &mut World, person: &str, key: &str) -> Outcome {
    let addition = world.addition(person, Role::Viewer.into(), key);
    world.person(addition)
}

fn set_own(world: &mut World, person: &str, key: &str, shown: &str) -> Outcome {
    let request = PersonRequest::SetSigningKey { shown: shown.to_owned(), signing_key: signing_key(key) };
    world.person_by(person, request)
}

#[track_caller]
fn stands(world: &World, person: &str, key: Option<&str>) {
    let expected = key.map(|key| signing_key(key).key);
    assert_eq!(world.core.state().signing_key(&name(person)), expected.as_deref());
}

fn refused(refusal: PersonRefusal) -> Outcome {
    Outcome::PersonRefused(refusal)
}

#[test]
fn who_is_added_has_the_key_that_came_with_it_and_who_is_added_anew_the_new_one() {
    let mut world = World::new();
    assert_eq!(add(&mut world, "bob", "a"), Outcome::Done);
    stands(&world, "bob", Some("a"));
    assert_eq!(add(&mut world, "bob", "b"), Outcome::Done);
    stands(&world, "bob", Some("b"));
    let by = |body: &Body| matches!(body, Body::PersonKeySet(set) if set.by == name("alice"));
    assert_eq!(world.count(by), 2);
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn nobody_replaces_their_own_key() {
    let mut world = World::new();
    assert_eq!(set_own(&mut world, "alice", "a", "00"), Outcome::Done);
    let Body::PersonKeySet(set) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!((&set.person, &set.by), (&name("alice"), &name("alice")));
    assert_eq!(set_own(&mut world, "alice", "a", "00"), Outcome::Unchanged);
    assert_eq!(set_own(&mut world, "alice", "b", "00"), refused(PersonRefusal::SigningKeyStands(name("alice"))));
    stands(&world, "alice", Some("a"));
}

#[test]
fn a_key_belongs_to_one_person_for_ever() {
    let mut world = World::new();
    assert_eq!(add(&mut world, "bob", "a"), Outcome::Done);
    let length = world.log.len();
    assert_eq!(add(&mut world, "bobs-second-account", "a"), refused(PersonRefusal::SigningKeyKnown));
    assert_eq!(set_own(&mut world, "alice", "a", "00"), refused(PersonRefusal::SigningKeyKnown));
    assert_eq!(add(&mut world, "bob", "a"), refused(PersonRefusal::SigningKeyKnown), "a lost key stays lost");
    assert_eq!(world.log.len(), length, "nobody got a role or a certificate with it");
}

#[test]
fn a_revocation_ends_the_key() {
    let mut world = World::new();
    assert_eq!(add(&mut world, "bob", "a"), Outcome::Done);
    world.done(PersonRequest::RevokePerson { person: name("bob"), why: "a test".to_owned() });
    stands(&world, "bob", None);
    let withdrawn = PersonRefusal::CertificateWithdrawn(name("bob"));
    assert_eq!(set_own(&mut world, "bob", "b", "of a"), refused(withdrawn));
    assert_eq!(add(&mut world, "bob", "a"), refused(PersonRefusal::SigningKeyKnown));
    assert_eq!(add(&mut world, "bob", "c"), Outcome::Done);
    stands(&world, "bob", Some("c"));
    assert_eq!(world.count(|body| body.kind() == Kind::PersonKeySet), 2);
}
