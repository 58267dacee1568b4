//! Enrolment over real TLS.

use crate::agent::{Agent, Applicant, description, send, token};
use crate::site::{Site, fresh};
use crate::wire;
use fettle_audit::policy::Policy;
use fettle_audit::verify::{Verdict, verify_bundle};
use fettle_certs::token::JoinToken;
use fettle_model::id::TokenId;
use fettle_model::identity::Principal;
use fettle_model::record::Kind;
use fettle_proto::v1::EnrolRequest as EnrolMessage;
use fettle_proto::v1::enrolment_client::EnrolmentClient;
use std::time::Duration;
use tonic::Code;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_host_with_a_token_gets_an_identity_and_the_keys_to_pin() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let applicant = Applicant::new(token(&alice, "staging", Some("s1"), MINUTE).await, "s1", "staging");
    let document = applicant.enrol(&site).await.expect("it is enrolled");
    assert_eq!(
        (document.log_key.as_str(), document.permit_key.as_str()),
        (&*site.made.log_key, &*site.made.permit_key)
    );
    assert_eq!(document.generation.0, 1);
    let agent = applicant.agent(&site, &document);
    assert_eq!(agent.identity.holder().id.principal, Principal::Agent(document.host));
    let life = agent.identity.holder().validity.not_after.since(crate::site::now());
    assert!(life <= 24 * 60 * MINUTE && life > 23 * 60 * MINUTE, "a day, from the server's template: {life:?}");
    let opened = [Kind::LogOpened, Kind::RoleGranted, Kind::RoleGranted];
    let expected = [&opened[..], &[Kind::TokenCreated, Kind::HostEnrolled, Kind::CertificateIssued]].concat();
    assert_eq!(alice.kinds().await, expected);
}

#[tokio::test]
async fn the_same_request_gets_the_same_certificate_for_five_minutes_and_another_one_never() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let token = token(&alice, "staging", None, MINUTE).await;
    let applicant = Applicant::new(token.clone(), "s1", "staging");
    let first = applicant.enrol(&site).await.expect("it is enrolled");
    site.ahead.set(5 * MINUTE - Duration::from_secs(10));
    assert_eq!(applicant.enrol(&site).await.expect("its answer was lost"), first);
    let thief = Applicant::new(token, "s1", "staging");
    let refused = thief.enrol(&site).await.expect_err("another key");
    assert!(refused.code() == Code::Unauthenticated && refused.message().contains("another host"), "{refused:?}");
    site.ahead.set(5 * MINUTE + Duration::from_secs(10));
    let refused = applicant.enrol(&site).await.expect_err("too late");
    assert!(refused.code() == Code::Unauthenticated && refused.message().contains("used up"), "{refused:?}");
    let enrolled = alice.kinds().await.into_iter().filter(|kind| *kind == Kind::HostEnrolled).count();
    assert_eq!(enrolled, 1, "a token enrols one host");
}

#[tokio::test]
async fn a_host_whose_certificate_is_gone_comes_back_with_a_new_token_as_the_same_host() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let applicant = Applicant::new(token(&alice, "staging", Some("s1"), MINUTE).await, "s1", "staging");
    let back = applicant.again(token(&alice, "staging", Some("s1"), MINUTE).await);
    let stranger = Applicant::new(token(&alice, "staging", Some("s1"), MINUTE).await, "s1", "staging");
    let first = applicant.enrol(&site).await.expect("it is enrolled");
    let mut agent = applicant.agent(&site, &first);
    let (mut session, _) = agent.session(&site).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(1).await;

    let second = back.enrol(&site).await.expect("it is known by its record key");
    assert_eq!((second.host, second.generation.0), (first.host, 2));
    assert_eq!(back.enrol(&site).await.expect("its answer was lost"), second);
    let refused = stranger.enrol(&site).await.expect_err("another record key under the name");
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    agent.identity = back.agent(&site, &second).identity;
    let (_session, welcome) = agent.session(&site).await;
    assert_eq!(welcome.sequence, 1, "its chain goes on");
    let (_, generation) = agent.rotate(&site, 2).await.expect("it rotates as ever");
    assert_eq!(generation, 3);
    let kinds = alice.kinds().await;
    let issued = [Kind::HostEnrolled, Kind::CertificateIssued, Kind::HostDescribed, Kind::CertificateIssued];
    assert_eq!(kinds[6..], [&issued[..], &[Kind::CertificateIssued]].concat());

    // An auditor accepts the log of all this, and the control plane reads it again.
    let site = site.down().await.up().await;
    let alice = site.alice().await;
    let policy: Policy = alice.policy().await.parse().expect("a policy");
    let report = verify_bundle(&alice.export().await.expect("a bundle"), &policy);
    assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
    let (_session, _) = agent.session(&site).await;
}

#[tokio::test]
async fn of_many_hosts_that_race_for_one_token_one_is_enrolled() {
    let site = Site::new().await;
    let token = token(&site.alice().await, "staging", None, MINUTE).await;
    let applicants: Vec<Applicant> =
        ["s1", "s2", "s3", "s4", "s5", "s6"].map(|host| Applicant::new(token.clone(), host, "staging")).into();
    let mut enrolled = 0;
    let racing = applicants.iter().map(|applicant| applicant.enrol(&site));
    for outcome in futures(racing).await {
        match outcome {
            Ok(_) => enrolled += 1,
            Err(refused) => assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}"),
        }
    }
    assert_eq!(enrolled, 1);
}

/// Drives all at once.
async fn futures<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = all.map(Box::pin).collect();
    let mut outputs = Vec::new();
    while !pinned.is_empty() {
        let (output, index) = std::future::poll_fn(|cx| {
            for (index, future) in pinned.iter_mut().enumerate() {
                if let std::task::Poll::Ready(output) = future.as_mut().poll(cx) {
                    return std::task::Poll::Ready((output, index));
                }
            }
            std::task::Poll::Pending
        })
        .await;
        drop(pinned.swap_remove(index));
        outputs.push(output);
    }
    outputs
}

#[tokio::test]
async fn who_does_not_have_the_token_is_refused_and_the_token_stays_good() {
    let site = Site::new().await;
    let real = token(&site.alice().await, "staging", None, MINUTE).await;
    let guessed = JoinToken::from_random(real.id(), [1; 32]);
    let refused = Applicant::new(guessed, "s1", "staging").enrol(&site).await.expect_err("a guess");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let unknown = JoinToken::from_random(TokenId::from_uuid(fresh()), [1; 32]);
    let refused = Applicant::new(unknown, "s1", "staging").enrol(&site).await.expect_err("unknown");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    Applicant::new(real, "s1", "staging").enrol(&site).await.expect("the real one");
}

#[tokio::test]
async fn an_address_from_which_many_attempts_failed_has_to_wait() {
    let site = Site::new().await;
    let real = token(&site.alice().await, "staging", None, MINUTE).await;
    let guess = Applicant::new(JoinToken::from_random(real.id(), [1; 32]), "s1", "staging");
    let mut refused = guess.enrol(&site).await.expect_err("a guess");
    for _ in 0..200 {
        if refused.code() == Code::ResourceExhausted {
            break;
        }
        refused = guess.enrol(&site).await.expect_err("a guess");
    }
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
}

#[tokio::test]
async fn an_expired_token_enrols_nobody() {
    let site = Site::new().await;
    let applicant = Applicant::new(token(&site.alice().await, "staging", None, MINUTE).await, "s1", "staging");
    site.ahead.set(MINUTE + Duration::from_secs(1));
    let refused = applicant.enrol(&site).await.expect_err("expired");
    assert!(refused.code() == Code::Unauthenticated && refused.message().contains("expired"), "{refused:?}");
}

#[tokio::test]
async fn a_token_for_another_host_or_environment_refuses_and_stays_good() {
    let site = Site::new().await;
    let token = token(&site.alice().await, "staging", Some("s1"), MINUTE).await;
    for (host, environment, why) in [("s2", "staging", "only the host s1"), ("s1", "production", "environment staging")]
    {
        let refused = Applicant::new(token.clone(), host, environment).enrol(&site).await.expect_err("not for this");
        assert!(refused.code() == Code::FailedPrecondition && refused.message().contains(why), "{refused:?}");
    }
    Applicant::new(token, "s1", "staging").enrol(&site).await.expect("the right one");
}

#[tokio::test]
async fn a_name_that_is_taken_refuses_and_the_token_stays_good() {
    let site = Site::new().await;
    let _first = Agent::enrolled(&site, "s1", "staging").await;
    let token = token(&site.alice().await, "staging", None, MINUTE).await;
    let refused = Applicant::new(token.clone(), "s1", "staging").enrol(&site).await.expect_err("taken");
    assert_eq!(refused.code(), Code::AlreadyExists, "{refused:?}");
    Applicant::new(token, "s2", "staging").enrol(&site).await.expect("another name");
}

#[tokio::test]
async fn a_request_from_another_tls_session_proves_nothing() {
    let site = Site::new().await;
    let applicant = Applicant::new(token(&site.alice().await, "staging", None, MINUTE).await, "s1", "staging");
    let (first, binding) = wire::pinned(site.listening.enrol, site.made.ca_pin).await.expect("a connection");
    let request = applicant.request(&binding);
    let (second, _) = wire::pinned(site.listening.enrol, site.made.ca_pin).await.expect("a connection");
    let refused = send(second, &request).await.expect_err("copied");
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    send(first, &request).await.expect("in its own session");
}

#[tokio::test]
async fn a_document_that_is_malformed_or_too_long_is_refused() {
    let site = Site::new().await;
    for document in [b"{}".to_vec(), vec![b' '; 64 * 1024]] {
        let (channel, _) = wire::pinned(site.listening.enrol, site.made.ca_pin).await.expect("a connection");
        let refused = EnrolmentClient::new(channel).enrol(EnrolMessage { document }).await.expect_err("malformed");
        assert!(matches!(refused.code(), Code::InvalidArgument | Code::OutOfRange), "{refused:?}");
    }
}

#[tokio::test]
async fn the_secret_is_neither_in_the_log_nor_in_a_file_that_others_can_read() {
    use std::os::unix::fs::MetadataExt as _;
    let site = Site::new().await;
    let alice = site.alice().await;
    let token = token(&alice, "staging", None, MINUTE).await;
    let bundle = String::from_utf8(alice.export().await.expect("a bundle")).expect("text");
    // The secret is base64url, which may have a '-' of its own: it is all that follows the id.
    let text = token.expose();
    let secret = text.strip_prefix(&format!("fettle-join-{}-", token.id())).expect("a secret");
    assert!(!bundle.contains(secret));
    let root = site.state.root();
    for file in ["vault.db", "ca.pem", "log.key", "permit.key", "log/journal.db", "log/checkpoint.db"] {
        let mode = std::fs::metadata(root.join(file)).expect("it is there").mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    assert_eq!(std::fs::metadata(root).expect("it is there").mode() & 0o777, 0o700);
}
