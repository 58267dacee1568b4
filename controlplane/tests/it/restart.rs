//! What survives a restart, and what must not be taken for an empty log.

use crate::agent::{Agent, description};
use crate::site::Site;
use fettle_controlplane::leader::StartError;
use fettle_controlplane::log::LogError;
use fettle_controlplane::server::ServeError;
use fettle_controlplane::state_dir::StateError;
use fettle_model::breaker::Scope;
use fettle_proto::operator::{Command, Query};
use std::time::Duration;

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(1).await;
    let alice = site.alice().await;
    alice.done(Command::Stop { scope: Scope::Global, why: "before".to_owned() }).await;
    let before = (alice.log().await, alice.query(Query::Breakers).await);
    let bundle = alice.export().await.expect("a bundle");
    let down = site.down().await;
    assert!(!down.state.listening().exists(), "nothing listens");
    let site = down.up().await;
    let alice = site.alice().await;
    assert_eq!((alice.log().await, alice.query(Query::Breakers).await), before);
    assert_eq!(alice.export().await.expect("a bundle"), bundle);
    let (mut session, welcome) = agent.session(&site).await;
    assert_eq!(welcome.sequence, 1);
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(2).await;
}

#[tokio::test]
async fn a_session_that_stands_is_ended_in_order() {
    let site = Site::new().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    let _down = site.down().await;
    assert_eq!(session.rejected().await, (0, "unavailable".to_owned()));
}

#[tokio::test]
async fn a_journal_that_is_older_than_its_checkpoint_does_not_start() {
    let down = Site::new().await.down().await;
    let journal = down.state.log().join("journal.db");
    let backup = std::fs::read(&journal).expect("read");
    let site = down.up().await;
    site.alice().await.done(Command::Stop { scope: Scope::Global, why: "later".to_owned() }).await;
    let down = site.down().await;
    for side in ["journal.db-wal", "journal.db-shm"] {
        // They are there only after a crash.
        std::fs::remove_file(down.state.log().join(side)).ok();
    }
    std::fs::write(&journal, backup).expect("restored");
    let refused = down.refuses().await;
    assert!(matches!(refused, ServeError::Log(StartError::Log(LogError::Behind { .. }))), "{refused:?}");
}

#[tokio::test]
async fn two_processes_do_not_work_in_one_directory() {
    let site = Site::new().await;
    let second = fettle_controlplane::server::start(
        site.state.clone(),
        fettle_controlplane::leader::Clocks::start(),
        tokio_util::sync::CancellationToken::new(),
    );
    let refused = second.await.expect_err("it is locked");
    assert!(matches!(refused, ServeError::State(StateError::Locked { .. })), "{refused:?}");
    site.alice().await.log().await;
}

#[tokio::test]
async fn the_own_certificate_is_renewed_when_half_of_its_life_is_over() {
    let down = Site::new().await.down().await;
    let serial = |state: &fettle_controlplane::state_dir::StateDir| {
        state.identity().load().expect("loaded").expect("an identity").holder().serial
    };
    let first = serial(&down.state);
    let down = down.up_ahead(Duration::from_secs(10 * 60 * 60)).await.down().await;
    assert_eq!(serial(&down.state), first, "it is good for a while");
    let down = down.up_ahead(Duration::from_secs(14 * 60 * 60)).await.down().await;
    assert_ne!(serial(&down.state), first);
}
