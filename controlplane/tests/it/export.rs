//! The exported log, verified as an auditor does it.

use crate::agent::{Agent, description};
use crate::site::Site;
use fettle_audit::policy::Policy;
use fettle_audit::published::Published;
use fettle_audit::verify::{Verdict, verify_bundle};
use fettle_model::breaker::Scope;
use fettle_model::counter::LogPosition;
use fettle_proto::operator::{Command, ProblemCode, Query, QueryReply};

#[tokio::test]
async fn an_export_verifies_with_the_keys_that_init_printed_and_with_no_others() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(1).await;
    let bundle = alice.export().await.expect("a bundle");
    let text = alice.policy().await;
    assert!(text.contains(&site.made.log_key) && text.contains(&site.made.permit_key), "{text}");
    let policy: Policy = text.parse().expect("a policy");
    let report = verify_bundle(&bundle, &policy);
    assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
    let mut cut = bundle.clone();
    cut.truncate(bundle.len() - 1);
    assert_eq!(verify_bundle(&cut, &policy).verdict(), Verdict::Invalid);
    let other = Site::new().await;
    let foreign: Policy = other.alice().await.policy().await.parse().expect("a policy");
    assert_eq!(verify_bundle(&bundle, &foreign).verdict(), Verdict::Invalid);
}

#[tokio::test]
async fn one_record_comes_with_the_proof_that_it_is_in_the_log() {
    let site = Site::new().await;
    let alice = site.alice().await;
    alice.done(Command::Stop { scope: Scope::Global, why: "a test".to_owned() }).await;
    let policy: Policy = alice.policy().await.parse().expect("a policy");
    let log = policy.logs().first().expect("the log");
    for (at, listed) in alice.log().await.into_iter().enumerate() {
        let position = LogPosition(at as u64);
        let answer = alice.query(Query::Record { position }).await.expect("a record");
        let QueryReply::Record { row, published } = answer else { unreachable!("another answer") };
        assert_eq!(row, listed);
        let published = Published::parse(published.as_bytes()).expect("published");
        assert_eq!(published.position, position);
        let (record, _) = published.verify(log, policy.permit_key()).expect("proven");
        assert_eq!(record.envelope().digest(), row.digest);
    }
    let problem = alice.query(Query::Record { position: LogPosition(4) }).await.expect_err("the log has four");
    assert_eq!(problem.code, ProblemCode::NotFound);
    assert_eq!(problem.message, "there is no record at position 4: the log has 4 records");
}

#[tokio::test]
async fn a_record_is_read_by_whoever_may_read_the_log() {
    let site = Site::new().await;
    let mallory = site.stranger("mallory").await;
    let problem = mallory.query(Query::Record { position: LogPosition(0) }).await.expect_err("denied");
    assert_eq!(problem.code, ProblemCode::Denied);
    assert!(problem.message.contains("log.read"), "{problem:?}");
}
