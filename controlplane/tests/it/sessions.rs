//! Agents' sessions over real TLS.

use crate::agent::{Agent, Session, description};
use crate::site::{Site, name};
use fettle_audit::checkpoint::Checkpoint;
use fettle_audit::published::Published;
use fettle_audit::tree::{Hash, verify_consistency};
use fettle_certs::authority::Subject;
use fettle_model::breaker::Scope;
use fettle_model::host::HostState;
use fettle_model::record::{Body, Kind};
use fettle_proto::operator::{Command, Connection, Query, QueryReply};
use fettle_proto::v1::{from_agent, to_agent};
use tonic::Code;

#[tokio::test]
async fn records_are_acknowledged_with_proof_and_a_new_session_goes_on_after_them() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, welcome) = agent.session(&site).await;
    assert_eq!((welcome.sequence, welcome.host), (0, agent.host.to_string()));
    session.send(agent.record(description("s1", "staging"))).await;
    session.send(agent.record(description("s1", "staging"))).await;
    let record = agent.own(&session.acknowledged(2).await);
    assert_eq!(record.body, description("s1", "staging"));
    drop(session);
    let (mut again, welcome) = agent.session(&site).await;
    assert_eq!(welcome.sequence, 2);
    assert_eq!(agent.own(&again.acknowledged(2).await), record, "an acknowledgement that was lost comes again");
}

#[tokio::test]
async fn a_record_that_is_sent_again_is_in_the_log_once() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    let record = agent.record(description("s1", "staging"));
    session.send(record.clone()).await;
    session.acknowledged(1).await;
    session.send(record).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(2).await;
    let described = site.alice().await.kinds().await.into_iter().filter(|kind| *kind == Kind::HostDescribed);
    assert_eq!(described.count(), 2);
}

#[tokio::test]
async fn a_record_whose_acknowledgement_was_lost_is_acknowledged_again_at_the_same_position() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    let lost = agent.record(description("s1", "staging"));
    session.send(lost.clone()).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(2).await;
    // The connection breaks, and the agent never heard of the first by itself.
    drop(session);
    let (mut session, welcome) = agent.session(&site).await;
    assert_eq!(welcome.sequence, 2);
    session.send(lost.clone()).await;
    let again = Published::parse(&session.acknowledged(1).await).expect("a published record");
    assert_eq!(again.envelope, lost.envelope);
    let kinds = alice.kinds().await;
    let first = kinds.iter().position(|kind| *kind == Kind::HostDescribed).expect("it is in the log");
    assert_eq!(again.position.0, u64::try_from(first).expect("a position"));
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::HostDescribed).count(), 2, "and it is there once");
}

/// A description whose envelope has about so many bytes.
fn large(envelope_bytes: usize) -> Body {
    let mut body = description("s1", "staging");
    if let Body::HostDescribed(host) = &mut body {
        // Four characters of the envelope for three of the record.
        host.agent_version = "x".repeat(envelope_bytes / 4 * 3);
    }
    body
}

#[tokio::test]
async fn a_host_that_fills_the_log_is_slowed_across_sessions_keeps_its_session_and_loses_nothing() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    // 16 MiB are its to add at once. These are 96 KiB more, which take six seconds to be forgiven.
    let mut left: usize = 16 * 1024 * 1024 + 96 * 1024;
    for parts in [3, 2, 1] {
        let record = agent.record(large(left / parts));
        left = left.saturating_sub(record.envelope.len());
        session.send(record).await;
    }
    session.acknowledged(3).await;
    drop(session);
    let (mut session, _) = agent.session(&site).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.beat(0).await;
    let first = session.until(|message| match message {
        to_agent::Message::Acknowledged(acknowledged) if acknowledged.sequence == 4 => Some("the record"),
        to_agent::Message::Head(_) => Some("the heartbeat"),
        _ => None,
    });
    assert_eq!(first.await, "the heartbeat", "which does not wait behind the record");
    session.acknowledged(4).await;
}

#[tokio::test]
async fn a_second_session_replaces_the_first() {
    let site = Site::new().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut first, _) = agent.session(&site).await;
    let (mut second, _) = agent.session(&site).await;
    assert_eq!(first.rejected().await, (0, "replaced".to_owned()));
    second.beat(0).await;
    second.until(|message| matches!(message, to_agent::Message::Head(_)).then_some(())).await;
}

/// The head that answers a heartbeat, and its proof.
async fn head(agent: &Agent, session: &mut Session, held: u64) -> (Checkpoint, Vec<Vec<u8>>) {
    session.beat(held).await;
    let head = session.until(|message| match message {
        to_agent::Message::Head(head) => Some(head),
        _ => None,
    });
    let head = head.await;
    let note = String::from_utf8(head.checkpoint).expect("text");
    (Checkpoint::open(&note, &agent.log).expect("the log's"), head.consistency)
}

#[tokio::test]
async fn a_heartbeat_is_answered_with_the_head_and_the_proof_that_it_continues_the_last() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    let (first, proof) = head(&agent, &mut session, 0).await;
    assert!(proof.is_empty());
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(1).await;
    let (second, proof) = head(&agent, &mut session, first.size.0).await;
    assert!(second.size > first.size);
    let proof: Vec<Hash> = proof.into_iter().map(|hash| Hash::from_bytes(hash.try_into().expect("32 bytes"))).collect();
    verify_consistency(first.size, &first.root, second.size, &second.root, &proof).expect("it continues");
}

#[tokio::test]
async fn a_revoked_host_is_cut_off_and_stays_out() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    let why = "stolen".to_owned();
    alice.done(Command::SetHostState { host: name("s1"), state: HostState::Revoked, why }).await;
    assert_eq!(session.rejected().await, (0, "revoked".to_owned()));
    let refused = Session::open(agent.client(&site).await).await.err().expect("no session");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    let refused = agent.rotate(&site, 1).await.expect_err("no certificate");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
}

#[track_caller]
fn ended(reason: &(u64, String), expected: (u64, &str)) {
    assert_eq!((reason.0, reason.1.as_str()), expected);
}

#[tokio::test]
async fn a_record_that_is_not_what_it_says_ends_the_session() {
    let site = Site::new().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let mut other = Agent::enrolled(&site, "s2", "staging").await;

    let mut flipped = agent.record(description("s1", "staging"));
    let middle = flipped.envelope.len() / 3;
    flipped.envelope[middle] ^= 1;
    let (mut session, _) = agent.session(&site).await;
    session.send(flipped).await;
    ended(&session.rejected().await, (1, "bad-record"));

    let (mut session, _) = agent.session(&site).await;
    session.send(other.record(description("s2", "staging"))).await;
    ended(&session.rejected().await, (1, "bad-record"));

    // The first was never accepted, so the second does not follow.
    let (mut session, _) = agent.session(&site).await;
    session.send(agent.record(description("s1", "staging"))).await;
    ended(&session.rejected().await, (2, "broken-chain"));

    let mut fresh = Agent::enrolled(&site, "s3", "staging").await;
    let (mut session, _) = fresh.session(&site).await;
    session.send(fresh.record(Body::AutomationStopped(Box::new(stop())))).await;
    ended(&session.rejected().await, (1, "bad-record"));
    assert!(!site.alice().await.kinds().await.contains(&Kind::AutomationStopped));
}

fn stop() -> fettle_model::breaker::StopOrder {
    fettle_model::breaker::StopOrder {
        scope: Scope::Global,
        epoch: fettle_model::counter::StopEpoch(9),
        by: name("mallory"),
        why: "not mine to order".to_owned(),
    }
}

#[tokio::test]
async fn a_session_begins_with_one_hello() {
    let site = Site::new().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let mut session = Session::open(agent.client(&site).await).await.expect("a session");
    session.beat(0).await;
    assert_eq!(session.next().await.expect_err("ended").code(), Code::FailedPrecondition);

    let (mut session, _) = agent.session(&site).await;
    session.say(from_agent::Message::Hello(Agent::hello())).await;
    assert_eq!(session.next().await.expect_err("ended").code(), Code::FailedPrecondition);

    let mut session = Session::open(agent.client(&site).await).await.expect("a session");
    let unanswered = vec!["00000000-0000-4000-8000-000000000001".to_owned(); 65];
    let greedy = fettle_proto::v1::Hello { unanswered, ..Agent::hello() };
    session.say(from_agent::Message::Hello(greedy)).await;
    assert_eq!(session.next().await.expect_err("ended").code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_cut_off() {
    let site = Site::new().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    assert!(matches!(session.next().await, Ok(None)), "the silence limit ends it");
    let QueryReply::Hosts { hosts } = site.alice().await.query(Query::Hosts).await.expect("hosts") else {
        unreachable!("another answer");
    };
    assert!(matches!(hosts[0].connection, Connection::LastHeard { .. }), "{:?}", hosts[0].connection);
}

#[tokio::test]
async fn each_port_is_for_its_own() {
    let site = Site::new().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let person = site.certify(Subject::Person(name("alice")));
    let client = crate::wire::channel(site.listening.agents, &person).await.expect("a connection");
    let refused = Session::open(fettle_proto::v1::agents_client::AgentsClient::new(client)).await.err();
    assert_eq!(refused.expect("no session").code(), Code::PermissionDenied);
    let channel = crate::wire::channel(site.listening.operators, &agent.identity).await.expect("a connection");
    let mut client = fettle_proto::v1::operators_client::OperatorsClient::new(channel);
    let query = fettle_proto::v1::Document { json: br#"{"query":"hosts"}"#.to_vec() };
    assert_eq!(client.query(query).await.expect_err("refused").code(), Code::PermissionDenied);
    let stranger = site.certify(Subject::Agent(name("00000000-0000-4000-8000-000000000001")));
    let client = crate::wire::channel(site.listening.agents, &stranger).await.expect("a connection");
    let refused = Session::open(fettle_proto::v1::agents_client::AgentsClient::new(client)).await.err();
    assert_eq!(refused.expect("no session").code(), Code::PermissionDenied, "a host that was never enrolled");
}
