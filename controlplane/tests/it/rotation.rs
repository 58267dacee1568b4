//! Rotation of certificates, and what a copied disk leads to.

use crate::agent::{Agent, Session};
use crate::site::Site;
use fettle_model::host::HostState;
use fettle_proto::operator::{Query, QueryReply};
use tonic::Code;

async fn state(site: &Site) -> HostState {
    match site.alice().await.query(Query::Hosts).await.expect("hosts") {
        QueryReply::Hosts { hosts } => hosts[0].state,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_is_rotated_by_its_holder_however_often_the_answer_is_lost() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    for _ in 0..3 {
        let (_lost, generation) = agent.rotate(&site, 1).await.expect("rotated");
        assert_eq!(generation, 2);
    }
    let (next, _) = agent.rotate(&site, 0).await.expect("an agent that keeps no count");
    agent.identity = next;
    let _session = agent.session(&site).await;
    let (_, generation) = agent.rotate(&site, 2).await.expect("rotated");
    assert_eq!(generation, 3);
    assert_eq!(state(&site).await, HostState::Active);
}

#[tokio::test]
async fn a_wrong_generation_does_not_rotate() {
    let site = Site::new().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let refused = agent.rotate(&site, 2).await.expect_err("it shows the first");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert_eq!(state(&site).await, HostState::Active);
}

#[tokio::test]
async fn whoever_shows_a_replaced_certificate_quarantines_the_host() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (next, _) = agent.rotate(&site, 1).await.expect("rotated");
    let old = std::mem::replace(&mut agent.identity, next.clone());
    let _session = agent.session(&site).await;
    agent.identity = old;
    let refused = agent.fetch(&site, format!("sha256:{}", "0".repeat(64))).await.expect_err("replaced");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert_eq!(state(&site).await, HostState::Active, "a fetch of the last session may be late");
    let refused = Session::open(agent.client(&site).await).await.err().expect("no session");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert_eq!(state(&site).await, HostState::Quarantined);
    // What was seen is kept over a restart.
    let site = site.down().await.up().await;
    let refused = agent.rotate(&site, 1).await.expect_err("replaced");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    agent.identity = next;
    let _session = agent.session(&site).await;
}
