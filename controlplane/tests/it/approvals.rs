//! Approvals over the wire: whose signature counts.

use crate::people::{denied, request};
use crate::site::{Person, Site, TRUST_DOMAIN, name, now};
use fettle_audit::key::SigningKey;
use fettle_audit::person_key;
use fettle_audit::signed_record::SignedRecord;
use fettle_certs::key::PrivateKey;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::ProposalId;
use fettle_model::identity::Role;
use fettle_model::proposal::{Approval, Verdict};
use fettle_model::record::{Author, Body, Record};
use fettle_proto::operator::{Command, ProblemCode, Query, QueryReply};

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

/// A person whose signing key the test holds.
async fn added(site: &Site, person: &str, role: Role, number: u8) -> Person {
    let tls = PrivateKey::generate().expect("a key");
    let signing_key = person_key::prove(&key(number), &name(TRUST_DOMAIN), &name(person));
    let command = Command::AddPerson { person: name(person), role, team: None, csr: request(&tls), signing_key };
    let reply = site.alice().await.execute(command).await.expect("added");
    let identity = crate::people::identity(site, tls, reply);
    Person::connect(site.listening.operators, &identity).await
}

/// A yes by somebody to a proposal that nobody made, signed with this key.
fn approval(by: &str, number: u8) -> Command {
    let proposal = ProposalId::from_uuid(uuid::Uuid::from_u128(7));
    let given = Approval { proposal, request: DocumentDigest::of(b"request"), verdict: Verdict::Approve };
    let author = Author::Person { person: name(by) };
    let record = Record { author, at: now(), body: Body::ApprovalGiven(Box::new(given)) };
    let envelope = SignedRecord::seal(record, &key(number)).expect("sealed").into_parts().1.into_bytes();
    Command::GiveApproval { proposal, record: String::from_utf8(envelope).expect("text") }
}

#[tokio::test]
async fn an_approval_is_signed_by_its_author_with_the_key_that_stands_for_them() {
    let site = Site::new().await;
    let (ann, ben) = (added(&site, "ann", Role::Approver, 1).await, added(&site, "ben", Role::Approver, 2).await);
    let length = site.alice().await.log().await.len();
    for (person, command, code) in [
        (&ann, approval("ann", 1), ProblemCode::NotFound),
        (&ann, approval("ann", 2), ProblemCode::Denied),
        (&ben, approval("ann", 1), ProblemCode::Denied),
        (&ann, approval("ben", 1), ProblemCode::Invalid),
        (
            &ann,
            Command::GiveApproval { proposal: ProposalId::from_uuid(uuid::Uuid::nil()), record: "{}".to_owned() },
            ProblemCode::Invalid,
        ),
        (
            &ann,
            Command::GiveApproval { proposal: ProposalId::from_uuid(uuid::Uuid::nil()), record: "x".repeat(5_000) },
            ProblemCode::Invalid,
        ),
    ] {
        let problem = person.execute(command.clone()).await.expect_err("refused");
        assert_eq!(problem.code, code, "{command:?}: {problem:?}");
    }
    assert_eq!(site.alice().await.log().await.len(), length, "nothing of it is in the log");
    denied(site.alice().await.execute(approval("alice", 3)).await, "proposal.approve");
    site.alice().await.done(Command::RevokePerson { person: name("ben"), why: "left".to_owned() }).await;
    denied(ben.execute(approval("ben", 2)).await, "proposal.approve");
    let QueryReply::Proposals { proposals } = ann.query(Query::Proposals).await.expect("read") else {
        unreachable!("another answer");
    };
    assert_eq!(proposals, []);
    let problem =
        ann.query(Query::Proposal { proposal: ProposalId::from_uuid(uuid::Uuid::nil()) }).await.expect_err("none");
    assert_eq!(problem.code, ProblemCode::NotFound, "{problem:?}");
}
