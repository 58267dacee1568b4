//! People's signing keys over the wire: proofs are checked, and the log that results verifies.

use crate::people::{added_as, denied, request, signing_key};
use crate::site::{Person, Site, name};
use fettle_audit::verify::{Verdict, verify_bundle};
use fettle_certs::key::PrivateKey;
use fettle_model::identity::Role;
use fettle_model::record::Kind;
use fettle_proto::operator::{Command, ProblemCode};

fn set(person: &str) -> Command {
    Command::SetSigningKey { signing_key: signing_key(person) }
}

#[tokio::test]
async fn a_key_is_registered_by_whoever_proves_it_for_themselves() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let problem = alice.execute(set("bob")).await.expect_err("proven for bob");
    assert_eq!(problem.code, ProblemCode::Invalid, "{problem:?}");
    assert_eq!(problem.message, "the signing key's proof does not hold for this person and control plane");
    alice.done(set("alice")).await;
    let problem = alice.execute(set("alice")).await.expect_err("another one stands");
    assert_eq!(problem.code, ProblemCode::Refused, "{problem:?}");
    denied(site.stranger("mallory").await.execute(set("mallory")).await, "signing-key.set");

    let bob = Person::connect(site.listening.operators, &added_as(&site, "bob", Role::Viewer).await).await;
    let problem = bob.execute(set("bob")).await.expect_err("it came with the role");
    assert_eq!(problem.message, "bob has a signing key already");

    let log = alice.log().await;
    let told: Vec<&str> =
        log.iter().filter(|row| row.kind == Kind::PersonKeySet).map(|row| row.summary.as_str()).collect();
    assert_eq!(
        told,
        ["a signing key of alice was registered by alice", "a signing key of bob was registered by alice"]
    );
    let policy = alice.policy().await.parse().expect("a policy");
    let report = verify_bundle(&alice.export().await.expect("a bundle"), &policy);
    assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
}

#[tokio::test]
async fn nobody_is_added_with_a_key_that_they_do_not_prove() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let key = PrivateKey::generate().expect("a key");
    let (csr, signing_key) = (request(&key), signing_key("mallory"));
    let add = Command::AddPerson { person: name("bob"), role: Role::Viewer, team: None, csr, signing_key };
    let problem = alice.execute(add).await.expect_err("proven for mallory");
    assert_eq!(problem.code, ProblemCode::Invalid, "{problem:?}");
    assert!(alice.kinds().await.iter().all(|kind| *kind != Kind::PersonKeySet));
}
