//! The exported log, verified as an auditor does it.

use crate::agent::{Agent, description};
use crate::site::Site;
use fettle_audit::policy::Policy;
use fettle_audit::verify::{Verdict, verify_bundle};

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
