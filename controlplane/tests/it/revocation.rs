//! Revoked people: on connections that are open, with certificates that TLS still accepts.

use crate::people::{added_as, denied, identity, request, signing_key, stop};
use crate::site::{Answer, Person, Site, name};
use fettle_audit::verify::{Verdict, verify_bundle};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::store::IdentityStore;
use fettle_model::identity::Role;
use fettle_model::record::Kind;
use fettle_proto::operator::{Command, CommandReply, ProblemCode, Query};

fn revoke(person: &str) -> Command {
    Command::RevokePerson { person: name(person), why: "a stolen laptop".to_owned() }
}

async fn renewal(person: &Person) -> (PrivateKey, Answer<CommandReply>) {
    let key = PrivateKey::generate().expect("a key");
    let reply = person.execute(Command::RenewCertificate { csr: request(&key) }).await;
    (key, reply)
}

async fn connect(site: &Site, identity: &Identity) -> Person {
    Person::connect(site.listening.operators, identity).await
}

/// Nothing goes any more, and each refusal says that the certificate was withdrawn.
async fn may_do_nothing(person: &Person) {
    for (answer, action) in [
        (person.query(Query::Hosts).await.map(drop), "state.read"),
        (person.execute(stop()).await.map(drop), "automation.stop"),
        (person.export().await.map(drop), "log.export"),
        (person.publish(Vec::new(), b"").await.map(drop), "playbook.admit"),
        (renewal(person).await.1.map(drop), "certificate.renew"),
    ] {
        let problem = answer.clone().expect_err("withdrawn");
        assert!(problem.message.ends_with("their certificate was withdrawn"), "{problem:?}");
        denied(answer, action);
    }
}

#[tokio::test]
async fn who_is_revoked_may_do_nothing_any_more_on_a_connection_that_is_open() {
    let site = Site::new().await;
    let bob = added_as(&site, "bob", Role::Operator).await;
    let open = connect(&site, &bob).await;
    open.query(Query::Hosts).await.expect("an operator");
    let alice = site.alice().await;
    alice.done(revoke("bob")).await;
    may_do_nothing(&open).await;
    // TLS lets them in until the certificate ends; the log does not.
    may_do_nothing(&connect(&site, &bob).await).await;
    let log = alice.log().await;
    let revoked: Vec<&str> =
        log.iter().filter(|row| row.kind == Kind::PersonRevoked).map(|row| row.summary.as_str()).collect();
    assert_eq!(revoked, ["bob was revoked by alice: a stolen laptop"]);
    assert_eq!(log.iter().filter(|row| row.kind == Kind::ActionRefused).count(), 10, "every refusal is a record");
    let policy = alice.policy().await.parse().expect("a policy");
    let report = verify_bundle(&alice.export().await.expect("a bundle"), &policy);
    assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
}

#[tokio::test]
async fn who_is_added_anew_starts_with_a_new_certificate_and_the_old_one_stays_withdrawn() {
    let site = Site::new().await;
    let old = added_as(&site, "bob", Role::Operator).await;
    let open = connect(&site, &old).await;
    site.alice().await.done(revoke("bob")).await;
    let new = added_as(&site, "bob", Role::Operator).await;
    may_do_nothing(&open).await;
    let bob = connect(&site, &new).await;
    bob.query(Query::Hosts).await.expect("added anew");
    let (key, reply) = renewal(&bob).await;
    let renewed = identity(&site, key, reply.expect("renewed"));
    // What the log says holds for the next process as well.
    let site = site.down().await.up().await;
    for good in [&new, &renewed] {
        connect(&site, good).await.query(Query::Hosts).await.expect("good");
    }
    may_do_nothing(&connect(&site, &old).await).await;
}

#[tokio::test]
async fn the_first_operators_certificate_which_is_older_than_the_log_is_withdrawn_too() {
    let site = Site::new().await;
    let first = IdentityStore::at(site.state.operator()).load().expect("loaded").expect("an identity");
    let alice = connect(&site, &first).await;
    let olga = connect(&site, &added_as(&site, "olga", Role::Administrator).await).await;
    alice.done(revoke("alice")).await;
    let key = PrivateKey::generate().expect("a key");
    let (csr, signing_key) = (request(&key), signing_key("alice"));
    let add = Command::AddPerson { person: name("alice"), role: Role::Operator, team: None, csr, signing_key };
    let reply = olga.execute(add).await.expect("added anew");
    may_do_nothing(&alice).await;
    connect(&site, &identity(&site, key, reply)).await.query(Query::Hosts).await.expect("added anew");
}

#[tokio::test]
async fn a_role_that_ended_allows_nothing_at_the_next_call_and_the_others_go_on() {
    let site = Site::new().await;
    let bob = connect(&site, &added_as(&site, "bob", Role::Operator).await).await;
    let alice = site.alice().await;
    alice.done(Command::GrantRole { person: name("bob"), role: Role::Viewer, team: None }).await;
    bob.done(stop()).await;
    let ended = |person: &str, role| {
        let why = "another team".to_owned();
        Command::RevokeRole { person: name(person), role, team: None, why }
    };
    denied(bob.execute(ended("alice", Role::Operator)).await, "role.revoke");
    alice.done(ended("bob", Role::Operator)).await;
    denied(bob.execute(stop()).await, "automation.stop");
    bob.query(Query::Hosts).await.expect("still a viewer, with the same certificate");
    let problem = alice.execute(ended("alice", Role::Administrator)).await.expect_err("the last administrator");
    assert_eq!((problem.code, problem.message.as_str()), (ProblemCode::Refused, "alice is the last administrator"));
    let problem = alice.execute(ended("bob", Role::Operator)).await.expect_err("not held");
    assert_eq!((problem.code, problem.message.as_str()), (ProblemCode::NotFound, "bob is not operator"));
    let told: Vec<String> = alice.log().await.iter().map(|row| row.summary.clone()).collect();
    assert!(told.iter().any(|line| line == "bob is not operator any more, by alice: another team"), "{told:?}");
    let policy = alice.policy().await.parse().expect("a policy");
    assert_eq!(verify_bundle(&alice.export().await.expect("a bundle"), &policy).verdict(), Verdict::Valid);
}

#[tokio::test]
async fn only_administrators_revoke_and_the_last_of_them_stays() {
    let site = Site::new().await;
    for (who, role) in [("ann", Role::Author), ("audrey", Role::Auditor), ("olga", Role::Operator)] {
        let person = connect(&site, &added_as(&site, who, role).await).await;
        denied(person.execute(revoke("alice")).await, "person.revoke");
        denied(person.execute(revoke(who)).await, "person.revoke");
    }
    let alice = site.alice().await;
    let problem = alice.execute(revoke("alice")).await.expect_err("the last administrator");
    assert_eq!(problem.code, ProblemCode::Refused, "{problem:?}");
    assert_eq!(problem.message, "alice is the last administrator");
    for part in ["fettle person add", "fettle-controlplane operator"] {
        assert!(problem.remedy.contains(part), "{}", problem.remedy);
    }
    let problem = alice.execute(revoke("nobody")).await.expect_err("nobody");
    assert_eq!(problem.code, ProblemCode::NotFound, "{problem:?}");
    alice.done(revoke("ann")).await;
}
