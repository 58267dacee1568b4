//! Broken glass over the wire: who is let, what they are told with every answer, and what shows it.

use crate::people::{denied, identity, request, stop};
use crate::site::{Person, Site, TRUST_DOMAIN, name, now};
use fettle_audit::key::SigningKey;
use fettle_audit::person_key;
use fettle_audit::signed_record::SignedRecord;
use fettle_audit::verify::{Verdict, verify_bundle};
use fettle_certs::key::PrivateKey;
use fettle_model::break_glass::{ASK_WAITS, BreakGlassAsked, BreakGlassOpened};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::BreakGlassId;
use fettle_model::identity::Role;
use fettle_model::record::{Author, Body, Kind, Record};
use fettle_proto::operator::{BreakGlassRow, BreakGlassStanding, Command, ProblemCode, Query, QueryReply};

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// A person whose signing key the test holds.
async fn added(site: &Site, person: &str, role: Role, number: u8) -> Person {
    let tls = PrivateKey::generate().expect("a key");
    let signing_key = person_key::prove(&key(number), &name(TRUST_DOMAIN), &name(person));
    let command = Command::AddPerson { person: name(person), role, team: None, csr: request(&tls), signing_key };
    let reply = site.alice().await.execute(command).await.expect("added");
    Person::connect(site.listening.operators, &identity(site, tls, reply)).await
}

fn sealed(person: &str, number: u8, body: Body) -> String {
    let record = Record { author: Author::Person { person: name(person) }, at: now(), body };
    let envelope = SignedRecord::seal(record, &key(number)).expect("sealed").into_parts().1.into_bytes();
    String::from_utf8(envelope).expect("text")
}

fn ask(person: &str, number: u8, role: Role) -> (BreakGlassId, Command) {
    let ask = BreakGlassId::from_uuid(crate::site::fresh());
    let (why, expires_at) = ("nobody answers".to_owned(), now().plus(ASK_WAITS));
    let asked = BreakGlassAsked { ask, role, team: None, why, expires_at };
    let record = sealed(person, number, Body::BreakGlassAsked(Box::new(asked)));
    (ask, Command::AskBreakGlass { record })
}

async fn asks(person: &Person) -> Vec<BreakGlassRow> {
    match person.query(Query::BreakGlass).await.expect("read") {
        QueryReply::BreakGlass { asks } => asks,
        other => unreachable!("{other:?}"),
    }
}

fn confirmation(person: &str, number: u8, row: &BreakGlassRow) -> Command {
    let asked = EnvelopeDigest::of(row.record.as_ref().expect("it waits").as_bytes());
    let opened = BreakGlassOpened { ask: row.ask, asked };
    let record = sealed(person, number, Body::BreakGlassOpened(Box::new(opened)));
    Command::ConfirmBreakGlass { ask: row.ask, record }
}

#[tokio::test]
async fn two_people_break_the_glass_and_whoever_holds_the_role_is_told_with_every_answer() {
    let site = Site::new().await;
    let ann = added(&site, "ann", Role::Viewer, 1).await;
    let ben = added(&site, "ben", Role::Approver, 2).await;
    denied(ann.execute(stop()).await, "automation.stop");
    let (id, command) = ask("ann", 1, Role::Operator);
    ann.done(command).await;
    let waiting = asks(&ben).await.remove(0);
    assert!(matches!(waiting.standing, BreakGlassStanding::Waiting { .. }), "{waiting:?}");
    let own = ann.execute(confirmation("ann", 1, &waiting)).await;
    denied(own, "break-glass.confirm");
    denied(ben.execute(confirmation("ann", 1, &waiting)).await, "not signed by the key");
    assert_eq!(ann.notice(Query::Hosts).await, None);
    ben.done(confirmation("ben", 2, &waiting)).await;

    let open = asks(&ben).await.remove(0);
    assert!(matches!(open.standing, BreakGlassStanding::Open { .. }) && open.record.is_none(), "{open:?}");
    let told = ann.notice(Query::Hosts).await.expect("told");
    assert_eq!((told.ask, told.role, told.confirmed_by), (id, Role::Operator.into(), name("ben")));
    assert!(ann.notice(Query::Incidents).await.is_some() && ben.notice(Query::Hosts).await.is_none());
    ann.done(stop()).await;
    let lasting = Command::GrantRole { person: name("ann"), role: Role::Operator, team: None };
    for (command, action) in [
        (lasting, "role.grant"),
        (Command::Resume { scope: "global".parse().expect("a scope"), why: "a test".to_owned() }, "automation.resume"),
        (ask("ann", 1, Role::Administrator).1, "break-glass.ask"),
    ] {
        let (answer, told) = ann.execute_told(command).await;
        denied(answer, action);
        assert!(told.is_some(), "a refusal says so too: {action}");
    }

    let why = "done".to_owned();
    ann.done(Command::CloseBreakGlass { ask: id, why }).await;
    denied(ann.execute(stop()).await, "automation.stop");
    assert_eq!(ann.notice(Query::Hosts).await, None);
    let alice = site.alice().await;
    let rows = alice.log().await;
    let under: Vec<Kind> = rows.iter().filter(|row| row.broken_glass == Some(id)).map(|row| row.kind).collect();
    let refused = Kind::ActionRefused;
    assert_eq!(under, [Kind::AutomationStopped, refused, refused, refused, Kind::BreakGlassClosed]);
    let called = rows.iter().find(|row| row.kind == Kind::IncidentOpened).expect("people are called");
    assert!(called.summary.contains("ann is operator by broken glass until "), "{}", called.summary);
    let QueryReply::Incidents { incidents } = alice.query(Query::Incidents).await.expect("read") else {
        unreachable!("another answer")
    };
    assert_eq!(incidents.len(), 1, "an incident without a host is shown");
    let policy = alice.policy().await.parse().expect("a policy");
    let report = verify_bundle(&alice.export().await.expect("a bundle"), &policy);
    assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
    // What the log says holds for the next process as well.
    let site = site.down().await.up().await;
    assert_eq!(asks(&site.alice().await).await.remove(0).standing, BreakGlassStanding::Closed);
}

#[tokio::test]
async fn a_second_person_has_a_role_that_decides_and_was_not_registered_by_whoever_asks() {
    let site = Site::new().await;
    let ann = added(&site, "ann", Role::Viewer, 1).await;
    let oscar = added(&site, "oscar", Role::Operator, 2).await;
    ann.done(ask("ann", 1, Role::Operator).1).await;
    let waiting = asks(&ann).await.remove(0);
    denied(oscar.execute(confirmation("oscar", 2, &waiting)).await, "break-glass.confirm");
    // alice, an administrator, registered ann's key: she may be ann.
    let alice = site.alice().await;
    let signing_key = person_key::prove(&key(3), &name(TRUST_DOMAIN), &name("alice"));
    alice.done(Command::SetSigningKey { signing_key }).await;
    let problem = alice.execute(confirmation("alice", 3, &waiting)).await.expect_err("registered by her");
    assert_eq!(problem.code, ProblemCode::Denied, "{problem:?}");
    assert!(problem.message.contains("registered the other's key"), "{problem:?}");
    let last = alice.log().await.pop().expect("a record");
    assert_eq!(last.kind, Kind::ActionRefused, "and that is a record");
}
