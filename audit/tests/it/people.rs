//! People's signing keys: which of them stands at which place of the log.

use crate::check::{check, check_valid, verify};
use crate::log::Log;
use crate::story::{At, parsed, story};
use fettle_audit::key::SigningKey;
use fettle_audit::person_key;
use fettle_audit::verify::Rule;
use fettle_model::identity::Role;
use fettle_model::login::{IdentityRegistered, OidcIdentity};
use fettle_model::person_key::{PersonKeySet, SigningKeyProof};
use fettle_model::record::{Author, Body, PersonRevoked, PublisherTrusted, RoleGranted, RoleRevoked};

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn proven(number: u8, person: &str) -> SigningKeyProof {
    person_key::prove(&key(number), &parsed("fettle.example"), &parsed(person))
}

fn set(log: &mut Log, person: &str, signing_key: SigningKeyProof, by: &str) {
    let set = PersonKeySet { person: parsed(person), signing_key, by: parsed(by) };
    log.control_plane(Body::PersonKeySet(Box::new(set)));
}

fn revoke(log: &mut Log, person: &str) {
    let revoked = PersonRevoked { person: parsed(person), by: parsed("alice"), why: "a test".to_owned() };
    log.control_plane(Body::PersonRevoked(Box::new(revoked)));
}

/// A log in which bob's key stands.
fn registered() -> Log {
    let mut log = story();
    set(&mut log, "bob", proven(41, "bob"), "alice");
    log
}

#[test]
fn a_key_is_proven_for_its_person() {
    check_valid(&registered());
    for signing_key in [
        proven(42, "mallory"),
        SigningKeyProof { key: key(43).public().to_string(), ..proven(42, "bob") },
        SigningKeyProof { key: "x".to_owned(), ..proven(42, "bob") },
    ] {
        let mut log = story();
        set(&mut log, "bob", signing_key, "alice");
        check(&log, Rule::PersonKey);
    }
}

#[test]
fn a_key_belongs_to_one_person_for_ever() {
    let mut shared = registered();
    set(&mut shared, "bobs-second-account", proven(41, "bobs-second-account"), "alice");
    check(&shared, Rule::PersonKey);
    let mut back = registered();
    revoke(&mut back, "bob");
    set(&mut back, "bob", proven(41, "bob"), "alice");
    check(&back, Rule::PersonKey);
}

#[test]
fn a_key_that_stands_is_replaced_by_somebody_else_only() {
    let mut own = registered();
    set(&mut own, "bob", proven(42, "bob"), "bob");
    check(&own, Rule::PersonKey);
    let mut anew = registered();
    set(&mut anew, "bob", proven(42, "bob"), "alice");
    check_valid(&anew);
    let mut after = registered();
    revoke(&mut after, "bob");
    set(&mut after, "bob", proven(42, "bob"), "bob");
    check_valid(&after);
}

#[test]
fn only_administrators_administer_and_nobody_gives_themselves_a_role() {
    let granted = |person: &str, by: Option<&str>| {
        let (person, by) = (parsed(person), by.map(parsed));
        Body::RoleGranted(Box::new(RoleGranted { person, role: Role::Auditor, team: None, by }))
    };
    let by_bob = |body: fn() -> Body, bob: Role| {
        let mut log = story();
        log.control_plane(role("bob", bob));
        log.control_plane(role("cid", Role::Viewer));
        log.control_plane(body());
        log
    };
    let deeds: [fn() -> Body; 5] = [
        || {
            Body::RoleGranted(Box::new(RoleGranted {
                person: parsed("cid"),
                role: Role::Auditor,
                team: None,
                by: Some(parsed("bob")),
            }))
        },
        || {
            Body::RoleRevoked(Box::new(RoleRevoked {
                person: parsed("cid"),
                role: Role::Viewer,
                team: None,
                by: parsed("bob"),
                why: String::new(),
            }))
        },
        || {
            Body::PersonRevoked(Box::new(PersonRevoked {
                person: parsed("cid"),
                by: parsed("bob"),
                why: String::new(),
            }))
        },
        || {
            let identity = OidcIdentity { issuer: parsed("https://id.example"), subject: parsed("cid-1") };
            Body::IdentityRegistered(Box::new(IdentityRegistered {
                person: parsed("cid"),
                identity,
                by: parsed("bob"),
            }))
        },
        || {
            Body::PublisherTrusted(Box::new(PublisherTrusted {
                publisher: parsed("other"),
                key: key(60).public().to_string(),
                by: parsed("bob"),
            }))
        },
    ];
    for deed in deeds {
        check_valid(&by_bob(deed, Role::Administrator));
        check(&by_bob(deed, Role::Operator), Rule::Role);
    }
    let mut own = story();
    own.control_plane(granted("alice", Some("alice")));
    check(&own, Rule::Role);
    let mut nobodys = story();
    nobodys.control_plane(granted("mallory", None));
    check(&nobodys, Rule::Role);
}

fn role(person: &str, role: Role) -> Body {
    let (person, by) = (parsed(person), Some(parsed("alice")));
    Body::RoleGranted(Box::new(RoleGranted { person, role, team: None, by }))
}

fn end_role(log: &mut Log, person: &str, role: Role) {
    let (person, by, why) = (parsed(person), parsed("alice"), "a test".to_owned());
    log.control_plane(Body::RoleRevoked(Box::new(RoleRevoked { person, role, team: None, by, why })));
}

#[test]
fn a_role_ends_once_and_the_last_administrator_keeps_it() {
    let with_roles = || {
        let mut log = story();
        for (person, held) in [("olga", Role::Administrator), ("oscar", Role::Administrator), ("olga", Role::Viewer)] {
            log.control_plane(role(person, held));
        }
        log
    };
    let mut sound = with_roles();
    for (person, held) in [("olga", Role::Viewer), ("olga", Role::Administrator)] {
        end_role(&mut sound, person, held);
    }
    check_valid(&sound);
    end_role(&mut sound, "olga", Role::Viewer);
    check(&sound, Rule::Role);
    let mut elsewhere = with_roles();
    let (person, by, why) = (parsed("olga"), parsed("alice"), "a test".to_owned());
    let of_team = RoleRevoked { person, role: Role::Viewer, team: Some(parsed("web")), by, why };
    elsewhere.control_plane(Body::RoleRevoked(Box::new(of_team)));
    check(&elsewhere, Rule::Role);
    let mut nobody = with_roles();
    let holders = nobody.records.iter().filter_map(|(_, signed)| match &signed.record().body {
        Body::RoleGranted(granted) if granted.role == Role::Administrator => Some(granted.person.to_string()),
        _ => None,
    });
    for person in holders.collect::<std::collections::BTreeSet<_>>() {
        end_role(&mut nobody, &person, Role::Administrator);
    }
    check(&nobody, Rule::Role);
}

/// What the verifier first says of a record that a person signs.
fn said(log: &mut Log, person: &str, with: u8) -> (Rule, String) {
    let body = log.records[At::Stopped as usize].1.record().body.clone();
    log.sealed(Author::Person { person: parsed(person) }, body, &key(with));
    let finding = verify(log).findings.first().cloned().expect("a finding");
    (finding.rule, finding.words)
}

#[test]
fn a_persons_signature_counts_with_the_key_that_stands_and_for_what_people_write() {
    let no_key = |person: &str| (Rule::Author, format!("no key stands here for the person {person}"));
    assert_eq!(said(&mut story(), "bob", 41), no_key("bob"));
    assert_eq!(said(&mut registered(), "bob", 42).0, Rule::Signature);
    assert_eq!(said(&mut registered(), "mallory", 41), no_key("mallory"));
    let mut replaced = registered();
    set(&mut replaced, "bob", proven(42, "bob"), "alice");
    assert_eq!(said(&mut replaced, "bob", 41).0, Rule::Signature);
    let mut revoked = registered();
    revoke(&mut revoked, "bob");
    assert_eq!(said(&mut revoked, "bob", 41), no_key("bob"));
    // Sound, and yet a stop order is the control plane's to write.
    let (rule, words) = said(&mut registered(), "bob", 41);
    assert_eq!((rule, words.as_str()), (Rule::Author, "the person bob may not write automation-stopped"));
}
