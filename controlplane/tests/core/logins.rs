//! Whose an OpenID identity is, which tokens let somebody in, and what that certificate is worth.

use crate::world::{World, name};
use fettle_controlplane::core::{KnownIdentity, NewCertificate, Outcome, PersonRefusal, PersonRequest, VerifiedLogin};
use fettle_model::digest::DocumentDigest;
use fettle_model::identity::Role;
use fettle_model::login::{MAX_CLOCK_LEAD, MAX_TOKEN_AGE, OidcIdentity};
use fettle_model::record::{Body, Kind};
use fettle_model::time::UnixMillis;
use std::time::Duration;

fn identity(subject: &str) -> OidcIdentity {
    OidcIdentity {
        issuer: "https://login.example.org".parse().expect("an issuer"),
        subject: subject.parse().expect("a subject"),
    }
}

fn register(world: &mut World, person: &str, subject: &str) -> Outcome {
    world.person(PersonRequest::RegisterPerson {
        person: name(person),
        role: Role::Operator.into(),
        identity: identity(subject),
    })
}

/// A token of this subject that the provider issued then.
fn login(subject: &str, token: &str, issued_at: UnixMillis) -> Box<VerifiedLogin> {
    Box::new(VerifiedLogin {
        identity: identity(subject),
        token: DocumentDigest::of(token.as_bytes()),
        issued_at,
        authenticated_at: Some(issued_at),
        context: Some("urn:mfa".to_owned()),
    })
}

fn log_in(world: &mut World, person: &str, serial: &str, login: Box<VerifiedLogin>) -> Outcome {
    let not_after = world.now.wall.plus(Duration::from_hours(8));
    let certificate = NewCertificate { serial: serial.to_owned(), not_after };
    world.person_by(person, PersonRequest::LogIn { login, certificate })
}

fn refused(refusal: PersonRefusal) -> Outcome {
    Outcome::PersonRefused(refusal)
}

fn good(world: &World, person: &str, serial: &str) -> bool {
    !world.core.state().is_withdrawn(&name(person), serial)
}

#[test]
fn who_is_registered_gets_a_certificate_and_the_log_says_how_they_were_identified() {
    let mut world = World::new();
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done);
    let now = world.now.wall;
    assert_eq!(log_in(&mut world, "bob", "aa", login("s-1", "t1", now)), Outcome::Done);
    let Body::CertificateIssued(issued) = world.last() else { unreachable!("{:?}", world.last()) };
    assert_eq!((issued.serial.as_str(), issued.subject.to_string().ends_with("/person/bob")), ("aa", true));
    assert_eq!(
        world.count(|body| matches!(body, Body::PersonLoggedIn(login) if login.person == name("bob")
        && login.identity == identity("s-1") && login.token == DocumentDigest::of(b"t1") && login.serial == "aa"
        && login.authenticated_at == Some(now) && login.context.as_deref() == Some("urn:mfa"))),
        1
    );
    assert!(good(&world, "bob", "aa"));
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn an_unknown_subject_and_somebody_elses_make_no_account() {
    let mut world = World::new();
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done);
    let now = world.now.wall;
    for (person, subject) in [("bob", "s-2"), ("alice", "s-1")] {
        let unknown = refused(PersonRefusal::IdentityUnknown(identity(subject)));
        assert_eq!(log_in(&mut world, person, "aa", login(subject, "t1", now)), unknown);
    }
    let other_issuer = Box::new(VerifiedLogin {
        identity: OidcIdentity { issuer: "https://login.example.net".parse().expect("an issuer"), ..identity("s-1") },
        ..*login("s-1", "t1", now)
    });
    let unknown = refused(PersonRefusal::IdentityUnknown(other_issuer.identity.clone()));
    assert_eq!(log_in(&mut world, "bob", "aa", other_issuer), unknown);
    assert_eq!(world.count(|body| body.kind() == Kind::PersonLoggedIn), 0);
}

#[test]
fn a_token_lets_in_once_also_after_a_restart_and_only_while_it_is_young() {
    let mut world = World::new();
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done);
    let issued = world.now.wall;
    assert_eq!(log_in(&mut world, "bob", "aa", login("s-1", "t1", issued)), Outcome::Done);
    assert_eq!(log_in(&mut world, "bob", "ab", login("s-1", "t1", issued)), refused(PersonRefusal::TokenUsed));
    assert!(world.replayed() == *world.core.state(), "what is used up is in the log");
    // Another login forgets the tokens that are too old, and none that is not.
    world.advance(MAX_TOKEN_AGE);
    let now = world.now.wall;
    assert_eq!(log_in(&mut world, "bob", "ac", login("s-1", "t2", now)), Outcome::Done);
    assert_eq!(log_in(&mut world, "bob", "ad", login("s-1", "t1", issued)), refused(PersonRefusal::TokenUsed));
    world.advance(Duration::from_millis(1));
    let old = refused(PersonRefusal::TokenAge { issued_at: issued });
    assert_eq!(log_in(&mut world, "bob", "ad", login("s-1", "t1", issued)), old);
    let ahead = world.now.wall.plus(MAX_CLOCK_LEAD);
    assert_eq!(log_in(&mut world, "bob", "ae", login("s-1", "t3", ahead)), Outcome::Done);
    let ahead = UnixMillis(ahead.0 + 1);
    let early = refused(PersonRefusal::TokenAge { issued_at: ahead });
    assert_eq!(log_in(&mut world, "bob", "af", login("s-1", "t4", ahead)), early);
}

#[test]
fn who_is_revoked_is_let_in_by_no_identity_until_it_is_registered_again() {
    let mut world = World::new();
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done);
    let now = world.now.wall;
    assert_eq!(log_in(&mut world, "bob", "aa", login("s-1", "t1", now)), Outcome::Done);
    world.done(PersonRequest::RevokePerson { person: name("bob"), why: "left".to_owned() });
    assert!(!good(&world, "bob", "aa"));
    let withdrawn = Some(KnownIdentity::Withdrawn(name("bob")));
    assert_eq!(world.core.state().identity(&identity("s-1")).cloned(), withdrawn);
    let unknown = refused(PersonRefusal::IdentityUnknown(identity("s-1")));
    assert_eq!(log_in(&mut world, "bob", "ab", login("s-1", "t2", now)), unknown);
    world.done(PersonRequest::GrantRole { person: name("bob"), role: Role::Viewer.into() });
    assert_eq!(log_in(&mut world, "bob", "ab", login("s-1", "t2", now)), unknown, "a role brings no identity back");
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done);
    assert_eq!(log_in(&mut world, "bob", "ab", login("s-1", "t2", now)), Outcome::Done);
    assert!(good(&world, "bob", "ab") && !good(&world, "bob", "aa"));
    assert!(world.replayed() == *world.core.state());
}

#[test]
fn an_identity_is_one_persons_and_a_person_has_one() {
    let mut world = World::new();
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done);
    let taken = refused(PersonRefusal::IdentityTaken { identity: identity("s-1"), person: name("bob") });
    assert_eq!(register(&mut world, "carol", "s-1"), taken);
    let has = refused(PersonRefusal::PersonHasIdentity { person: name("bob"), identity: identity("s-1") });
    assert_eq!(register(&mut world, "bob", "s-2"), has);
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done, "said again it gives the role");
    world.done(PersonRequest::RevokePerson { person: name("bob"), why: "another name".to_owned() });
    assert_eq!(register(&mut world, "robert", "s-1"), Outcome::Done);
    let now = world.now.wall;
    assert_eq!(log_in(&mut world, "robert", "aa", login("s-1", "t1", now)), Outcome::Done);
}

#[test]
fn a_certificate_from_a_login_is_not_renewed_and_others_are() {
    let mut world = World::new();
    assert_eq!(register(&mut world, "bob", "s-1"), Outcome::Done);
    let now = world.now.wall;
    assert_eq!(log_in(&mut world, "bob", "aa", login("s-1", "t1", now)), Outcome::Done);
    let renewal = |world: &World, shown: &str| PersonRequest::RenewCertificate {
        shown: shown.to_owned(),
        certificate: NewCertificate {
            serial: "ff".to_owned(),
            not_after: world.now.wall.plus(Duration::from_hours(24)),
        },
    };
    let request = renewal(&world, "aa");
    assert_eq!(world.person_by("bob", request), refused(PersonRefusal::LogInAgain(name("bob"))));
    let request = renewal(&world, "from the console");
    assert_eq!(world.person_by("bob", request), Outcome::Done);
}
