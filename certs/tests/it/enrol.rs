//! Enrolment over real sessions: what a request proves, and where it proves nothing.

use crate::fixture::{NOW, Session, authority, clock, control_plane, handshake, identity};
use ed25519_dalek::{Signer as _, SigningKey};
use fettle_certs::authority::{Authority, Life, Subject, Template};
use fettle_certs::csr::{CsrRefused, MAX_CSR_BYTES, certificate_request};
use fettle_certs::enrol::{EnrolDraft, EnrolRefused, EnrolRequest, SessionBinding, is_record_key_statement};
use fettle_certs::identity::Identity;
use fettle_certs::key::PrivateKey;
use fettle_certs::serial::Serial;
use fettle_certs::tls::{enrolment_server_config, pinned_client_config};
use fettle_certs::token::{JoinToken, Redemption, TokenRefused, TokenUse, redeem};
use fettle_model::id::TokenId;
use fettle_model::time::UnixMillis;
use std::time::Duration;

fn record_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn token() -> JoinToken {
    JoinToken::from_random(token_id(), [5; 32])
}

fn token_id() -> TokenId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id")
}

fn session(authority: &Authority) -> Session {
    let server = enrolment_server_config(&identity(authority, control_plane()), clock(NOW)).expect("a configuration");
    let client = pinned_client_config(authority.ca_pin(), clock(NOW)).expect("a configuration");
    handshake(&client, &server).expect("a session")
}

fn client_end(session: &Session) -> SessionBinding {
    SessionBinding::of(&session.client).expect("a binding")
}

fn server_end(session: &Session) -> SessionBinding {
    SessionBinding::of(&session.server).expect("a binding")
}

fn draft(key: &PrivateKey) -> EnrolDraft {
    EnrolDraft {
        token: token_id(),
        host: "web-1".parse().expect("a name"),
        environment: "staging".parse().expect("a name"),
        csr: certificate_request(key).expect("a request"),
        record_key: record_key().verifying_key().to_bytes(),
        nonce: [1; 32],
    }
}

fn request_of(draft: EnrolDraft, token: &JoinToken, binding: &SessionBinding) -> EnrolRequest {
    let proof = record_key().sign(&draft.record_key_statement(binding)).to_bytes();
    draft.prove(proof, &token.verifier(), binding)
}

#[test]
fn the_statement_about_a_record_key_is_told_from_everything_else_that_is_signed() {
    let authority = authority();
    let draft = draft(&PrivateKey::generate().expect("a key"));
    assert!(is_record_key_statement(&draft.record_key_statement(&client_end(&session(&authority)))));
    for other in [&b""[..], b"DSSEv1 28 application/vnd.fettle.record", b"fettle-record-key-proof"] {
        assert!(!is_record_key_statement(other), "{other:?}");
    }
}

#[test]
fn a_host_with_a_token_enrols_and_gets_an_identity_that_it_can_use() {
    let authority = authority();
    let session = session(&authority);
    let key = PrivateKey::generate().expect("a key");
    let typed: JoinToken = token().expose().parse().expect("the token's text");
    let request = request_of(draft(&key), &typed, &client_end(&session));

    let wire = serde_json::to_vec(&request).expect("JSON");
    let received: EnrolRequest = serde_json::from_slice(&wire).expect("our own JSON");
    let proven = received.check(&token().verifier(), &server_end(&session)).expect("every proof holds");
    assert_eq!(proven.record_key, record_key().verifying_key());
    let subject = Subject::Agent(crate::fixture::host());
    let template = Template { subject, life: Life::DAY };
    let issued = authority.issue(&proven.tls_key, &template, NOW, Serial::from_random([4; 16])).expect("issued");
    Identity::from_pem(issued.chain_pem().as_bytes(), key, authority.root().clone()).expect("it is for the key");
}

#[test]
fn a_request_that_was_copied_into_another_session_proves_nothing() {
    let authority = authority();
    let [first, second] = [session(&authority), session(&authority)];
    assert_eq!(client_end(&first), server_end(&first));
    assert_ne!(server_end(&first), server_end(&second));
    let request = request_of(draft(&PrivateKey::generate().expect("a key")), &token(), &client_end(&first));
    request.check(&token().verifier(), &server_end(&first)).expect("every proof holds");
    assert_eq!(request.check(&token().verifier(), &server_end(&second)), Err(EnrolRefused::Mac));
}

#[test]
fn another_token_and_every_change_of_what_the_mac_covers_are_refused() {
    let authority = authority();
    let session = session(&authority);
    let binding = server_end(&session);
    let verifier = token().verifier();
    let good = request_of(draft(&PrivateKey::generate().expect("a key")), &token(), &binding);
    good.check(&verifier, &binding).expect("every proof holds");
    let other = JoinToken::from_random(token_id(), [6; 32]).verifier();
    assert_eq!(good.check(&other, &binding), Err(EnrolRefused::Mac));

    let refused = |what: &str, change: &dyn Fn(&mut EnrolRequest)| {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(bad.check(&verifier, &binding), Err(EnrolRefused::Mac), "{what}");
    };
    for bit in 0..256 {
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        refused("nonce", &|request| request.draft.nonce[byte] ^= mask);
        refused("record key", &|request| request.draft.record_key[byte] ^= mask);
        refused("mac", &|request| request.mac[byte] ^= mask);
    }
    for bit in 0..good.draft.csr.len() * 8 {
        refused("csr", &|request| request.draft.csr[bit / 8] ^= 1 << (bit % 8));
    }
    for bit in 0..128 {
        refused("token", &|request| {
            let id = request.draft.token.as_uuid().as_u128() ^ (1 << bit);
            request.draft.token = TokenId::from_uuid(uuid::Uuid::from_u128(id));
        });
    }
    refused("host", &|request| request.draft.host = "web-2".parse().expect("a name"));
    refused("environment", &|request| request.draft.environment = "production".parse().expect("a name"));
    // The same bytes, cut elsewhere.
    refused("boundary", &|request| {
        request.draft.host = "web-1s".parse().expect("a name");
        request.draft.environment = "taging".parse().expect("a name");
    });
}

#[test]
fn the_record_key_is_proven_for_this_request_and_is_a_sound_key() {
    let authority = authority();
    let session = session(&authority);
    let binding = server_end(&session);
    let verifier = token().verifier();
    let key = PrivateKey::generate().expect("a key");
    let check = |draft: EnrolDraft, proof: [u8; 64]| draft.prove(proof, &verifier, &binding).check(&verifier, &binding);

    let statement = draft(&key).record_key_statement(&binding);
    let stranger = SigningKey::from_bytes(&[8; 32]).sign(&statement).to_bytes();
    assert_eq!(check(draft(&key), stranger), Err(EnrolRefused::RecordKeyProof));
    let earlier = EnrolDraft { nonce: [2; 32], ..draft(&key) };
    let replayed = record_key().sign(&earlier.record_key_statement(&binding)).to_bytes();
    assert_eq!(check(draft(&key), replayed), Err(EnrolRefused::RecordKeyProof));
    // The neutral element of the curve "signs" everything.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    assert_eq!(check(EnrolDraft { record_key: neutral, ..draft(&key) }, [0; 64]), Err(EnrolRefused::RecordKey));
    // No point of the curve has this ordinate.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    assert_eq!(check(EnrolDraft { record_key: no_point, ..draft(&key) }, [0; 64]), Err(EnrolRefused::RecordKey));
}

#[test]
fn a_token_does_not_make_a_bad_certificate_request_good() {
    let authority = authority();
    let session = session(&authority);
    let binding = server_end(&session);
    let key = PrivateKey::generate().expect("a key");
    let check = |csr: Vec<u8>| {
        let request = request_of(EnrolDraft { csr, ..draft(&key) }, &token(), &binding);
        request.check(&token().verifier(), &binding).expect_err("the request is bad")
    };
    let mut csr = certificate_request(&key).expect("a request");
    csr.push(0);
    assert_eq!(check(csr), EnrolRefused::Csr(CsrRefused::Trailing { bytes: 1 }));
    let bytes = MAX_CSR_BYTES + 1;
    assert_eq!(check(vec![0; bytes]), EnrolRefused::Csr(CsrRefused::TooLong { bytes }));
}

#[test]
fn a_token_answers_the_same_request_again_and_no_other_host() {
    let authority = authority();
    let [first, second] = [session(&authority), session(&authority)];
    let key = PrivateKey::generate().expect("a key");
    let made = draft(&key);
    let request = request_of(made.clone(), &token(), &client_end(&first));
    // The answer was lost: a new session, a new nonce, the same keys.
    let again = request_of(EnrolDraft { nonce: [3; 32], ..made.clone() }, &token(), &client_end(&second));
    let expires = NOW.plus(Duration::from_secs(600));
    assert_eq!(redeem(expires, None, NOW, request.digest()), Ok(Redemption::First));
    let used = TokenUse { at: NOW, request: request.digest() };
    let minute_later = UnixMillis(NOW.0 + 60_000);
    assert_eq!(redeem(expires, Some(&used), minute_later, again.digest()), Ok(Redemption::Again));

    let thief = PrivateKey::generate().expect("a key");
    for other in [
        EnrolDraft { csr: certificate_request(&thief).expect("a request"), ..made.clone() },
        EnrolDraft { record_key: SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes(), ..made.clone() },
        EnrolDraft { host: "web-2".parse().expect("a name"), ..made.clone() },
        EnrolDraft { environment: "production".parse().expect("a name"), ..made },
    ] {
        let digest = request_of(other, &token(), &client_end(&second)).digest();
        let refused = redeem(expires, Some(&used), minute_later, digest);
        assert_eq!(refused, Err(TokenRefused::UsedByAnother { at: NOW }));
    }
}

#[test]
fn the_json_form_has_bounded_fields_and_no_unknown_ones() {
    let authority = authority();
    let binding = client_end(&session(&authority));
    let request = request_of(draft(&PrivateKey::generate().expect("a key")), &token(), &binding);
    let json = serde_json::to_value(&request).expect("JSON");
    assert_eq!(serde_json::from_value::<EnrolRequest>(json.clone()).ok(), Some(request));
    let refused = |field: &str, value: serde_json::Value| {
        let mut bad = json.clone();
        bad[field] = value;
        assert!(serde_json::from_value::<EnrolRequest>(bad).is_err(), "{field}");
    };
    for field in ["record_key", "record_key_proof", "nonce", "mac"] {
        refused(field, "AAAA".into());
        refused(field, "=".repeat(44).into());
        refused(field, "A".repeat(1_000).into());
    }
    refused("csr", "A".repeat(MAX_CSR_BYTES * 2).into());
    refused("csr", "not base64!".into());
    refused("host", "WEB".into());
    refused("unknown", 1.into());
}
