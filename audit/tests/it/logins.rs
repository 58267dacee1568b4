//! Logins that the records do not bear out: the verifier finds them.

use crate::check::{check, check_valid};
use crate::log::Log;
use crate::story::{parsed, story};
use fettle_audit::verify::Rule;
use fettle_model::counter::CertificateGeneration;
use fettle_model::digest::DocumentDigest;
use fettle_model::identity::{Principal, SpiffeId};
use fettle_model::login::{IdentityRegistered, OidcIdentity, PersonLoggedIn};
use fettle_model::record::{Body, CertificateIssued, PersonRevoked};
use fettle_model::time::UnixMillis;
use std::time::Duration;

fn identity(subject: &str) -> OidcIdentity {
    OidcIdentity { issuer: parsed("https://login.example.org"), subject: parsed(subject) }
}

fn register(log: &mut Log, person: &str, subject: &str) {
    let registered = IdentityRegistered { person: parsed(person), identity: identity(subject), by: parsed("alice") };
    log.control_plane(Body::IdentityRegistered(Box::new(registered)));
}

fn login(log: &Log, number: u8) -> PersonLoggedIn {
    PersonLoggedIn {
        person: parsed("bob"),
        identity: identity("bob-1"),
        token: DocumentDigest::of(&[number]),
        issued_at: log.now(),
        authenticated_at: None,
        context: None,
        serial: format!("0{number}"),
        not_after: log.now().plus(Duration::from_hours(8)),
    }
}

fn certificate(login: &PersonLoggedIn) -> CertificateIssued {
    let principal = Principal::Person(login.person.clone());
    CertificateIssued {
        subject: SpiffeId { trust_domain: parsed("fettle.example"), principal },
        serial: login.serial.clone(),
        generation: CertificateGeneration(1),
        not_after: login.not_after,
        token: None,
    }
}

/// Bob, registered, logs in, with one thing changed in the login and one in the certificate.
fn logged_in(change: impl FnOnce(&mut PersonLoggedIn), certified: impl FnOnce(&mut CertificateIssued)) -> Log {
    let mut log = story();
    register(&mut log, "bob", "bob-1");
    let mut given = login(&log, 1);
    change(&mut given);
    log_in(&mut log, &given, certified);
    log
}

fn log_in(log: &mut Log, given: &PersonLoggedIn, certified: impl FnOnce(&mut CertificateIssued)) {
    let mut issued = certificate(given);
    certified(&mut issued);
    log.control_plane(Body::PersonLoggedIn(Box::new(given.clone())));
    log.control_plane(Body::CertificateIssued(Box::new(issued)));
}

#[test]
fn whoever_logs_in_is_the_person_whose_identity_it_is_there() {
    check_valid(&logged_in(|_| {}, |_| {}));
    check(&logged_in(|login| login.identity = identity("mallory-1"), |_| {}), Rule::Login);
    check(&logged_in(|login| login.person = parsed("carol"), |_| {}), Rule::Login);
    let revoked = |again: bool| {
        let mut log = logged_in(|_| {}, |_| {});
        let revoked = PersonRevoked { person: parsed("bob"), by: parsed("alice"), why: "a test".to_owned() };
        log.control_plane(Body::PersonRevoked(Box::new(revoked)));
        if again {
            register(&mut log, "bob", "bob-1");
        }
        let second = login(&log, 2);
        log_in(&mut log, &second, |_| {});
        log
    };
    check(&revoked(false), Rule::Login);
    check_valid(&revoked(true));
}

#[test]
fn one_identity_is_one_person_and_one_person_has_one() {
    for (person, subject) in [("carol", "bob-1"), ("bob", "bob-2")] {
        let mut log = story();
        register(&mut log, "bob", "bob-1");
        register(&mut log, person, subject);
        check(&log, Rule::Login);
    }
    let mut again = story();
    register(&mut again, "bob", "bob-1");
    register(&mut again, "bob", "bob-1");
    check_valid(&again);
}

#[test]
fn a_token_is_young_and_logs_in_once() {
    let issued =
        |change: fn(UnixMillis) -> UnixMillis| logged_in(|login| login.issued_at = change(login.issued_at), |_| {});
    check_valid(&issued(|at| UnixMillis(at.0 - 299_000)));
    check(&issued(|at| UnixMillis(at.0 - 301_000)), Rule::Login);
    check_valid(&issued(|at| at.plus(Duration::from_mins(1))));
    check(&issued(|at| at.plus(Duration::from_secs(61))), Rule::Login);
    let again = |number| {
        let mut log = logged_in(|_| {}, |_| {});
        let second = login(&log, number);
        log_in(&mut log, &second, |_| {});
        log
    };
    check_valid(&again(2));
    check(&again(1), Rule::Login);
}

#[test]
fn a_login_gives_the_certificate_that_it_names() {
    check(&logged_in(|login| login.not_after = UnixMillis(1), |_| {}), Rule::Login);
    check(&logged_in(|_| {}, |issued| issued.serial = "99".to_owned()), Rule::Login);
    check(&logged_in(|_| {}, |issued| issued.not_after = UnixMillis(issued.not_after.0 + 1)), Rule::Login);
    let another = |issued: &mut CertificateIssued| issued.subject.principal = Principal::Person(parsed("mallory"));
    check(&logged_in(|_| {}, another), Rule::Login);
    let mut none = story();
    register(&mut none, "bob", "bob-1");
    let given = login(&none, 1);
    none.control_plane(Body::PersonLoggedIn(Box::new(given)));
    register(&mut none, "bob", "bob-1");
    check(&none, Rule::Login);
}
