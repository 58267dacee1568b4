//! Who gets a TLS session with whom.

use crate::fixture::{
    DAY, Failed, Forged, NOW, Session, agent, authority, authority_of, clock, control_plane, foreign_client,
    foreign_server, forge, handshake, host, identity, identity_at, person,
};
use fettle_certs::authority::Authority;
use fettle_certs::peer::{OutsideValidity, PeerRefused, peer_identity};
use fettle_certs::tls::{
    HandshakeProblem, TlsSetupProblem, client_config, enrolment_server_config, handshake_problem, pinned_client_config,
    server_config,
};
use fettle_model::digest::CaPin;
use fettle_model::identity::Principal;
use fettle_model::time::UnixMillis;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, ServerConfig};
use rustls_pki_types::CertificateDer;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

fn server(authority: &Authority) -> Arc<ServerConfig> {
    server_config(&identity(authority, control_plane()), clock(NOW)).expect("a configuration")
}

fn enrolment_server(authority: &Authority) -> Arc<ServerConfig> {
    enrolment_server_config(&identity(authority, control_plane()), clock(NOW)).expect("a configuration")
}

fn client(authority: &Authority) -> Arc<ClientConfig> {
    client_config(&identity(authority, agent()), clock(NOW)).expect("a configuration")
}

fn pinned(pin: CaPin) -> Arc<ClientConfig> {
    pinned_client_config(pin, clock(NOW)).expect("a configuration")
}

fn failure(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Failed {
    *handshake(client, server).expect_err("the handshake must fail")
}

/// Why the server refused a client.
fn server_refuses(authority: &Authority, shown: Forged) -> Option<HandshakeProblem> {
    let client = foreign_client(Some(shown), &[&TLS13], &[b"h2"]);
    handshake_problem(&failure(&client, &server(authority)).server.expect("the server refuses"))
}

/// Why the client refused a server.
fn client_refuses(client: &Arc<ClientConfig>, shown: Forged) -> Option<HandshakeProblem> {
    handshake_problem(&failure(client, &foreign_server(shown)).client.expect("the client refuses"))
}

#[test]
fn both_ends_know_each_other_over_tls_1_3_and_http_2() {
    let authority = authority();
    for (subject, principal) in
        [(agent(), Principal::Agent(host())), (person(), Principal::Person("alice".parse().expect("a name")))]
    {
        let client = client_config(&identity(&authority, subject), clock(NOW)).expect("a configuration");
        let Session { client, server } = handshake(&client, &server(&authority)).expect("a session");
        assert_eq!(server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!((client.alpn_protocol(), server.alpn_protocol()), (Some(&b"h2"[..]), Some(&b"h2"[..])));
        let peer = peer_identity(server.peer_certificates().expect("a chain")).expect("a peer");
        assert_eq!(peer.id.principal, principal);
        let peer = peer_identity(client.peer_certificates().expect("a chain")).expect("a peer");
        assert_eq!(peer.id.to_string(), "spiffe://fettle.test/controlplane/cp-1");
    }
}

#[test]
fn a_peer_that_expires_during_a_session_is_refused_at_the_next_call() {
    let authority = authority();
    let session = handshake(&client(&authority), &server(&authority)).expect("a session");
    let peer = peer_identity(session.server.peer_certificates().expect("a chain")).expect("a peer");
    assert_eq!(peer.validity.check(NOW.plus(DAY)), Ok(()));
    let second = Duration::from_secs(1);
    assert_eq!(peer.validity.check(NOW.plus(DAY + second)), Err(OutsideValidity::Late { since: second }));
}

#[test]
fn no_session_is_ever_resumed_and_no_early_data_is_taken() {
    let authority = authority();
    let server = server(&authority);
    let shown = || Forged::copy_of(&identity(&authority, agent()));
    for client in [client(&authority), foreign_client(Some(shown()), &[&TLS13], &[b"h2"])] {
        for _ in 0..3 {
            let mut session = handshake(&client, &server).expect("a session");
            assert!(matches!(session.server.handshake_kind(), Some(HandshakeKind::Full)));
            assert_eq!(session.client.tls13_tickets_received(), 0);
            assert!(session.client.early_data().is_none());
            session.server.writer().write_all(b"x").expect("memory");
        }
    }
}

#[test]
fn a_server_keeps_no_session_and_sends_no_ticket_and_a_client_takes_none() {
    let authority = authority();
    for server in [server(&authority), enrolment_server(&authority)] {
        assert!(!server.session_storage.can_cache());
        assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
    }
    // A server that sends tickets and would resume.
    let shown = || Forged::copy_of(&identity(&authority, control_plane()));
    let willing = foreign_server(shown());
    let client = client(&authority);
    let greedy = foreign_client(None, &[&TLS13], &[b"h2"]);
    for attempt in 0..2 {
        let session = handshake(&client, &willing).expect("a session");
        assert!(matches!(session.server.handshake_kind(), Some(HandshakeKind::Full)));
        let session = handshake(&greedy, &willing).expect("a session");
        assert_eq!(matches!(session.server.handshake_kind(), Some(HandshakeKind::Resumed)), attempt == 1);
    }
}

#[test]
fn a_client_of_tls_1_2_gets_no_session() {
    let authority = authority();
    let shown = Forged::copy_of(&identity(&authority, agent()));
    for server in [server(&authority), enrolment_server(&authority)] {
        let client = foreign_client(None, &[&TLS12], &[b"h2"]);
        assert!(matches!(failure(&client, &server).server, Some(rustls::Error::PeerIncompatible(_))));
    }
    // And our clients offer nothing older to a server that would take it.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let old = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS12]).expect("versions");
    let old = old.with_no_client_auth().with_single_cert(shown.chain, shown.key).expect("a chain");
    assert!(matches!(failure(&client(&authority), &Arc::new(old)).server, Some(rustls::Error::PeerIncompatible(_))));
}

#[test]
fn a_client_that_does_not_offer_http_2_gets_no_session() {
    let authority = authority();
    let http1: &[u8] = b"http/1.1";
    for alpn in [&[http1][..], &[]] {
        for server in [server(&authority), enrolment_server(&authority)] {
            let shown = Forged::copy_of(&identity(&authority, agent()));
            assert!(failure(&foreign_client(Some(shown), &[&TLS13], alpn), &server).server.is_some(), "{alpn:?}");
        }
    }
}

#[test]
fn a_client_without_a_certificate_gets_a_session_on_the_enrolment_port_only() {
    let authority = authority();
    let anonymous = foreign_client(None, &[&TLS13], &[b"h2"]);
    let refused = failure(&anonymous, &server(&authority));
    assert!(matches!(refused.server, Some(rustls::Error::NoCertificatesPresented)), "{refused:?}");
    assert_eq!(handshake_problem(&refused.client.expect("an alert")), Some(HandshakeProblem::OwnRefused));
    handshake(&anonymous, &enrolment_server(&authority)).expect("a session");
}

#[test]
fn peers_under_another_authority_of_the_same_name_are_refused_on_both_sides() {
    let [ours, theirs] = [authority(), authority()];
    let refused = failure(&client(&theirs), &server(&ours));
    assert_eq!(
        handshake_problem(&refused.client.expect("the client refuses")),
        Some(HandshakeProblem::PeerUnknownAuthority)
    );
    let agent = Forged::copy_of(&identity(&theirs, agent()));
    assert_eq!(server_refuses(&ours, agent), Some(HandshakeProblem::PeerUnknownAuthority));
    let mut with_root = Forged::copy_of(&identity(&theirs, crate::fixture::agent()));
    with_root.chain.push(ours.root().der().clone());
    assert_eq!(server_refuses(&ours, with_root), Some(HandshakeProblem::PeerUnknownAuthority));
}

#[test]
fn peers_of_another_trust_domain_are_refused_on_both_sides() {
    let authority = authority();
    let uri = |params: &mut CertificateParams, usage, uri: &str| {
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        params.extended_key_usages = vec![usage];
    };
    let agent = format!("spiffe://other.test/agent/{}", host());
    let shown = forge(&authority, |params| uri(params, ExtendedKeyUsagePurpose::ClientAuth, &agent));
    assert!(matches!(
        server_refuses(&authority, shown),
        Some(HandshakeProblem::PeerRefused(PeerRefused::TrustDomain { .. }))
    ));
    let shown = || {
        let id = "spiffe://other.test/controlplane/cp-1";
        forge(&authority, |params| uri(params, ExtendedKeyUsagePurpose::ServerAuth, id))
    };
    assert!(matches!(
        client_refuses(&client(&authority), shown()),
        Some(HandshakeProblem::PeerRefused(PeerRefused::TrustDomain { .. }))
    ));
    let mut with_root = shown();
    with_root.chain.push(authority.root().der().clone());
    assert!(matches!(
        client_refuses(&pinned(authority.ca_pin()), with_root),
        Some(HandshakeProblem::PeerRefused(PeerRefused::TrustDomain { .. }))
    ));
}

#[track_caller]
fn names_refused(names: &[SanType], expected: &PeerRefused) {
    let authority = authority();
    let shown = |usage| {
        forge(&authority, |params| {
            params.subject_alt_names = names.to_vec();
            params.extended_key_usages = vec![usage];
        })
    };
    let expected = Some(HandshakeProblem::PeerRefused(expected.clone()));
    assert_eq!(server_refuses(&authority, shown(ExtendedKeyUsagePurpose::ClientAuth)), expected);
    assert_eq!(client_refuses(&client(&authority), shown(ExtendedKeyUsagePurpose::ServerAuth)), expected);
}

#[test]
fn a_certificate_needs_exactly_one_uri_and_it_is_an_identity_of_ours() {
    let uri = |uri: &str| SanType::URI(uri.try_into().expect("ASCII"));
    let dns = || SanType::DnsName("host.example".try_into().expect("ASCII"));
    let agent = format!("spiffe://fettle.test/agent/{}", host());
    names_refused(&[], &PeerRefused::UriNames { found: 0 });
    names_refused(&[dns()], &PeerRefused::UriNames { found: 0 });
    names_refused(&[uri(&agent), uri("spiffe://fettle.test/person/alice")], &PeerRefused::UriNames { found: 2 });
    names_refused(&[uri(&agent), uri("https://host.example")], &PeerRefused::UriNames { found: 2 });
    let wrong = "spiffe://fettle.test/admin/alice";
    let problem = wrong.parse::<fettle_model::identity::SpiffeId>().expect_err("no such kind");
    names_refused(&[dns(), uri(wrong)], &PeerRefused::Id(problem));
}

#[test]
fn a_certificate_with_a_serial_number_that_is_not_ours_is_refused() {
    let authority = authority();
    let shown = forge(&authority, |params| {
        let agent = format!("spiffe://fettle.test/agent/{}", host());
        params.subject_alt_names = vec![SanType::URI(agent.try_into().expect("ASCII"))];
        params.serial_number = Some(vec![1].into());
    });
    assert_eq!(server_refuses(&authority, shown), Some(HandshakeProblem::PeerRefused(PeerRefused::Serial)));
}

#[test]
fn an_agent_is_no_server_and_a_control_plane_no_client() {
    let authority = authority();
    let as_server = Forged::copy_of(&identity(&authority, agent()));
    // Refused for its usage already, before its kind is looked at.
    assert_eq!(client_refuses(&client(&authority), as_server), None);
    let as_client = Forged::copy_of(&identity(&authority, control_plane()));
    assert_eq!(server_refuses(&authority, as_client), None);

    // And for its kind, whatever the usage says.
    let shown = |id: &str| {
        forge(&authority, |params| {
            params.subject_alt_names = vec![SanType::URI(id.try_into().expect("ASCII"))];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        })
    };
    let kind = |problem| matches!(problem, Some(HandshakeProblem::PeerRefused(PeerRefused::Kind { .. })));
    assert!(kind(client_refuses(&client(&authority), shown("spiffe://fettle.test/person/alice"))));
    assert!(kind(client_refuses(&client(&authority), shown(&format!("spiffe://fettle.test/agent/{}", host())))));
    assert!(kind(server_refuses(&authority, shown("spiffe://fettle.test/controlplane/cp-1"))));

    let problem = |result: Result<(), TlsSetupProblem>| matches!(result, Err(TlsSetupProblem::Kind { .. }));
    assert!(problem(server_config(&identity(&authority, agent()), clock(NOW)).map(drop)));
    assert!(problem(enrolment_server_config(&identity(&authority, person()), clock(NOW)).map(drop)));
    assert!(problem(client_config(&identity(&authority, control_plane()), clock(NOW)).map(drop)));
}

#[test]
fn a_leaf_does_not_issue_leaves() {
    let authority = authority();
    let issuer = identity(&authority, control_plane());
    let key = rcgen::KeyPair::from_pem(&issuer.key().to_pem()).expect("a key");
    let rogue = rcgen::Issuer::from_ca_cert_der(&issuer.chain()[0], key).expect("an issuer");
    let mut params = CertificateParams::default();
    params.serial_number = Some(vec![0x41; 16].into());
    let agent = format!("spiffe://fettle.test/agent/{}", host());
    params.subject_alt_names = vec![SanType::URI(agent.try_into().expect("ASCII"))];
    let key = rcgen::KeyPair::generate().expect("a key");
    // The leaf's subject is empty, which rcgen signs with all the same.
    let leaf = CertificateDer::from(params.signed_by(&key, &rogue).expect("a certificate"));
    let key = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let shown = Forged { chain: vec![leaf, issuer.chain()[0].clone()], key: key.into() };
    let client = foreign_client(Some(shown), &[&TLS13], &[b"h2"]);
    assert!(failure(&client, &server(&authority)).server.is_some());
}

/// Skews the client's clock and checks how it judges the server, which was issued at [`NOW`].
#[track_caller]
fn client_clock(at: UnixMillis, expected: Option<&HandshakeProblem>) {
    let authority = authority();
    let client = client_config(&identity_at(&authority, agent(), NOW), clock(at)).expect("a configuration");
    match (handshake(&client, &server(&authority)), expected) {
        (Ok(_), None) => {}
        (Ok(_), Some(expected)) => unreachable!("a session instead of {expected:?}"),
        (Err(failed), expected) => {
            let problem = handshake_problem(&failed.client.expect("the client refuses"));
            assert_eq!(problem.as_ref(), expected);
        }
    }
}

#[test]
fn a_skewed_clock_is_told_from_an_untrusted_peer_and_five_minutes_do_not_matter() {
    let minute = 60_000;
    let year = 365 * 24 * 60 * minute;
    client_clock(UnixMillis(NOW.0 - 4 * minute), None);
    client_clock(UnixMillis(NOW.0 + 10 * minute), None);
    let not_before = UnixMillis(NOW.0 - 5 * minute);
    let early = |ms| HandshakeProblem::PeerNotYetValid { not_before, early: Duration::from_millis(ms) };
    client_clock(UnixMillis(NOW.0 - 10 * minute), Some(&early(5 * minute)));
    client_clock(UnixMillis(NOW.0 - 2 * year), Some(&early(2 * year - 5 * minute)));
    let not_after = NOW.plus(DAY);
    let late = |ms| HandshakeProblem::PeerExpired { not_after, late: Duration::from_millis(ms) };
    client_clock(UnixMillis(not_after.0 + 10 * minute), Some(&late(10 * minute)));
    client_clock(UnixMillis(NOW.0 + 2 * year), Some(&late(2 * year - 24 * 60 * minute)));
}

#[test]
fn an_expired_client_is_refused_and_told_so() {
    let authority = authority();
    let yesterday = UnixMillis(NOW.0 - 25 * 3_600_000);
    let expired = identity_at(&authority, agent(), yesterday);
    let client = client_config(&expired, clock(NOW)).expect("a configuration");
    let refused = failure(&client, &server(&authority));
    let late = Duration::from_secs(3_600);
    let not_after = yesterday.plus(DAY);
    assert_eq!(
        handshake_problem(&refused.server.expect("the server refuses")),
        Some(HandshakeProblem::PeerExpired { not_after, late })
    );
    assert_eq!(handshake_problem(&refused.client.expect("an alert")), Some(HandshakeProblem::OwnExpired));

    let future = identity_at(&authority, agent(), NOW.plus(DAY));
    let refused = failure(&client_config(&future, clock(NOW)).expect("a configuration"), &server(&authority));
    assert!(matches!(
        handshake_problem(&refused.server.expect("the server refuses")),
        Some(HandshakeProblem::PeerNotYetValid { .. })
    ));
}

#[test]
fn a_problem_is_found_inside_the_errors_that_wrap_it() {
    let tls = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateExpired);
    let inner = std::io::Error::new(std::io::ErrorKind::InvalidData, tls);
    let outer = std::io::Error::other(inner);
    assert_eq!(handshake_problem(&outer), Some(HandshakeProblem::OwnExpired));
    assert_eq!(handshake_problem(&std::io::Error::other("no TLS")), None);
}

#[test]
fn a_pinned_client_accepts_the_root_with_the_pinned_key_and_no_other() {
    let [ours, theirs] = [authority(), authority_of("other.test")];
    handshake(&pinned(ours.ca_pin()), &enrolment_server(&ours)).expect("a session");
    let pin = Some(HandshakeProblem::PeerRefused(PeerRefused::Pin));
    let refused = failure(&pinned(theirs.ca_pin()), &enrolment_server(&ours));
    assert_eq!(handshake_problem(&refused.client.expect("the client refuses")), pin);

    let impostor = || Forged::copy_of(&identity(&theirs, control_plane()));
    let with_root = |authority: &Authority| {
        let mut shown = impostor();
        shown.chain.push(authority.root().der().clone());
        shown
    };
    let client = pinned(ours.ca_pin());
    assert_eq!(client_refuses(&client, impostor()), pin);
    assert_eq!(client_refuses(&client, with_root(&theirs)), pin);
    // Our root is public: showing it proves nothing.
    assert_eq!(client_refuses(&client, with_root(&ours)), Some(HandshakeProblem::PeerUnknownAuthority));
    let mut agent = Forged::copy_of(&identity(&ours, agent()));
    agent.chain.push(ours.root().der().clone());
    assert_eq!(client_refuses(&client, agent), None);
}

#[test]
fn a_root_with_the_pinned_key_and_a_changed_certificate_is_not_the_pinned_root() {
    // The public key of our root under another name, signed by a key of the attacker's.
    let ours = authority();
    let attacker = rcgen::KeyPair::generate().expect("a key");
    let spki = x509_public_key(ours.root().der());
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params.subject_alt_names = vec![SanType::URI("spiffe://other.test".try_into().expect("ASCII"))];
    let issuer = rcgen::Issuer::from_params(&params, &attacker);
    let fake = CertificateDer::from(params.signed_by(&spki, &issuer).expect("a certificate"));
    let mut shown = Forged::copy_of(&identity(&authority_of("other.test"), control_plane()));
    shown.chain.push(fake);
    let pin = HandshakeProblem::PeerRefused(PeerRefused::Pin);
    assert_eq!(client_refuses(&pinned(ours.ca_pin()), shown), Some(pin));
}

fn x509_public_key(der: &CertificateDer<'_>) -> rcgen::SubjectPublicKeyInfo {
    use x509_parser::prelude::FromDer as _;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(der).expect("it parses");
    rcgen::SubjectPublicKeyInfo::from_der(certificate.public_key().raw).expect("a key")
}
