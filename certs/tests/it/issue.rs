//! Certificate requests and what the authority makes of them.

use crate::fixture::{DAY, FOUNDED, NOW, TRUST_DOMAIN, agent, authority, control_plane, key_and_proof, person};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_certs::authority::{Authority, AuthorityProblem, BACKDATE, IssueProblem, Life, MAX_SERVER_NAMES, ROOT_LIFE};
use fettle_certs::authority::{Subject, Template};
use fettle_certs::csr::{CsrRefused, MAX_CSR_BYTES, ProvenKey};
use fettle_certs::peer::OutsideValidity;
use fettle_certs::root::{InvalidRoot, Root};
use fettle_certs::serial::Serial;
use fettle_model::digest::CaPin;
use fettle_model::time::UnixMillis;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::{CertificateDer, ServerName};
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

fn template(subject: Subject) -> Template {
    Template { subject, life: Life::DAY }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    X509Certificate::from_der(der).expect("it parses").1
}

/// Everything that a certificate says and that matters, as text.
fn describe(certificate: &X509Certificate<'_>) -> String {
    let names = certificate.subject_alternative_name().expect("extensions").expect("names");
    let names: Vec<String> = names.value.general_names.iter().map(ToString::to_string).collect();
    let usage = certificate.key_usage().expect("extensions").expect("key usage");
    let extended = certificate.extended_key_usage().expect("extensions").expect("extended key usage");
    let basic = certificate.basic_constraints().expect("extensions").expect("basic constraints");
    let extended = extended.value;
    assert!(!extended.any && !extended.code_signing && extended.other.is_empty());
    let validity = certificate.validity();
    format!(
        "{names:?} ca={} usage={:#x}{} client={} server={} from={} to={} subject={:?} extensions={}",
        basic.value.ca,
        usage.value.flags,
        if usage.critical { "!" } else { "" },
        extended.client_auth,
        extended.server_auth,
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
        certificate.subject().to_string(),
        certificate.extensions().len(),
    )
}

#[test]
fn a_request_that_asks_for_an_authority_gets_the_certificate_that_the_server_chose() {
    let key = KeyPair::generate().expect("a key");
    let mut wish = CertificateParams::new(vec!["controlplane.example".to_owned()]).expect("a name");
    wish.distinguished_name.push(rcgen::DnType::CommonName, "root of everything");
    wish.subject_alt_names.push(SanType::URI("spiffe://other.test/controlplane/cp-1".try_into().expect("ASCII")));
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let unknown = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    wish.custom_extensions.push(unknown);
    let csr = wish.serialize_request(&key).expect("a request");
    let proof = ProvenKey::from_csr(csr.der()).expect("the proof of possession holds");

    let authority = authority();
    let issued = authority.issue(&proof, &template(agent()), NOW, Serial::from_random([0xff; 16])).expect("issued");
    let from = NOW.0 / 1_000 - 300;
    let to = NOW.0 / 1_000 + 86_400;
    assert_eq!(
        describe(&parse(&issued.der)),
        format!(
            "[\"URI(spiffe://{TRUST_DOMAIN}/agent/7f8d4f0a-9f3e-4b7c-8a51-2a6d1c0b9e11)\"] ca=false usage=0x1! \
             client=true server=false from={from} to={to} subject=\"\" extensions=6"
        )
    );
    assert_eq!(parse(&issued.der).raw_serial(), Serial::from_random([0xff; 16]).as_bytes());
    assert_eq!(issued.holder.serial, Serial::from_random([0xff; 16]));
}

#[test]
fn each_kind_of_subject_gets_its_own_usage_and_names() {
    let authority = authority();
    let describe = |subject| {
        let (_, proof) = key_and_proof();
        let issued = authority.issue(&proof, &template(subject), NOW, Serial::from_random([1; 16]));
        describe(&parse(&issued.expect("issued").der))
    };
    let alice = describe(person());
    assert!(alice.starts_with(&format!("[\"URI(spiffe://{TRUST_DOMAIN}/person/alice)\"] ca=false")), "{alice}");
    assert!(alice.contains("client=true server=false"), "{alice}");
    let server_names =
        ["cp.example", "192.0.2.7", "2001:db8::7"].map(|name| ServerName::try_from(name).expect("a name"));
    let server =
        describe(Subject::ControlPlane { name: "cp-1".parse().expect("a name"), server_names: server_names.into() });
    assert!(server.contains("client=false server=true"), "{server}");
    assert!(server.contains(&format!("URI(spiffe://{TRUST_DOMAIN}/controlplane/cp-1)")), "{server}");
    assert!(server.contains("DNSName(cp.example)"), "{server}");
    let addresses = server.matches("IPAddress").count();
    assert_eq!(addresses, 2, "{server}");
}

#[test]
fn a_certificate_ends_with_its_life_or_with_the_root_and_starts_before_its_issue() {
    let authority = authority();
    let (_, proof) = key_and_proof();
    let issue = |life, now| {
        let template = Template { subject: agent(), life };
        authority.issue(&proof, &template, now, Serial::from_random([1; 16])).map(|issued| issued.holder.validity)
    };
    let hour = Life::new(Duration::from_secs(3_600)).expect("an hour");
    let validity = issue(hour, NOW).expect("issued");
    assert_eq!(validity.not_before.plus(BACKDATE), NOW);
    assert_eq!(validity.not_after, NOW.plus(Duration::from_secs(3_600)));

    let root_end = FOUNDED.plus(ROOT_LIFE);
    let late = UnixMillis(root_end.0 - 3_600_000);
    assert_eq!(issue(Life::DAY, late).expect("issued").not_after, root_end);
    let after = root_end.plus(Duration::from_secs(1));
    let since = Duration::from_secs(1);
    assert!(
        matches!(issue(Life::DAY, after), Err(IssueProblem::Root(OutsideValidity::Late { since: s })) if s == since)
    );

    assert!(Life::new(DAY + Duration::from_millis(1)).is_err());
    assert!(Life::new(Duration::ZERO).is_err());
}

#[test]
fn a_server_gets_sixteen_names_and_no_more() {
    let authority = authority();
    let (_, proof) = key_and_proof();
    let issue = |count: usize| {
        let long = format!("{}.example", "a".repeat(63));
        let server_names = vec![ServerName::try_from(long).expect("a name"); count];
        let subject = Subject::ControlPlane { name: "cp-1".parse().expect("a name"), server_names };
        authority.issue(&proof, &template(subject), NOW, Serial::from_random([1; 16]))
    };
    issue(MAX_SERVER_NAMES).expect("issued and read back");
    assert!(matches!(issue(MAX_SERVER_NAMES + 1), Err(IssueProblem::ServerNames { found: 17 })));
}

#[track_caller]
fn refused(csr: &[u8], expected: &CsrRefused) {
    assert_eq!(ProvenKey::from_csr(csr).as_ref().err(), Some(expected));
}

fn request_with(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec()
}

#[test]
fn only_short_sound_requests_of_p256_and_ed25519_keys_pass() {
    let good = request_with(&rcgen::PKCS_ECDSA_P256_SHA256);
    ProvenKey::from_csr(&good).expect("P-256");
    ProvenKey::from_csr(&request_with(&rcgen::PKCS_ED25519)).expect("Ed25519");

    let with_tail = [&good[..], &[0]].concat();
    refused(&with_tail, &CsrRefused::Trailing { bytes: 1 });
    refused(&[&good[..], &good[..]].concat(), &CsrRefused::Trailing { bytes: good.len() });
    let mut unsigned = good.clone();
    *unsigned.last_mut().expect("bytes") ^= 1;
    refused(&unsigned, &CsrRefused::Signature);
    refused(&vec![0x30; 1 << 20], &CsrRefused::TooLong { bytes: 1 << 20 });
    refused(&vec![0x30; MAX_CSR_BYTES], &CsrRefused::Malformed);
    refused(&[], &CsrRefused::Malformed);
    refused(&good[..good.len() - 1], &CsrRefused::Malformed);

    refused(&request_with(&rcgen::PKCS_ECDSA_P384_SHA384), &CsrRefused::KeyKind);
    refused(&request_with(&rcgen::PKCS_RSA_SHA256), &CsrRefused::KeyKind);
    // Made with openssl: RSA of 512 bits, and P-256 with its point compressed. Both are signed well.
    let rsa_512 = "MIHFMHECAQAwDDEKMAgGA1UEAwwBeDBcMA0GCSqGSIb3DQEBAQUAA0sAMEgCQQDiOycZaygKYKYuNLIIi3fVGGHvBg1fAZ5dMJvYfeVmDsS8K0MmvYeP0KiVGQRSlmlcgRvqRrH4PEM5TN3qeFylAgMBAAGgADANBgkqhkiG9w0BAQsFAANBABqKDD8gUqPYNnX92Ej51EC3IqupmTJ5V8Q7WMR+33WphVw1QADcmU5lh8S9z6WxEu8t5nu2P02Jogpgpy3GdSc=";
    refused(&STANDARD.decode(rsa_512).expect("base64"), &CsrRefused::KeyKind);
    let compressed = "MIGnME4CAQAwDDEKMAgGA1UEAwwBeDA5MBMGByqGSM49AgEGCCqGSM49AwEHAyIAA1/ApGfv+bM2Yb1dvW42Ap4zdhMM1I2WSKBqeZjbZYLQoAAwCgYIKoZIzj0EAwIDSQAwRgIhAJ03yvc0XXmWf2wKg/40diN/FR0/8v2G+cNYN5Oywm7uAiEA/pdk1kFCZ+Cs7ITGv+MfW/1JwYNpmrcEARGiCT1bWJ4=";
    refused(&STANDARD.decode(compressed).expect("base64"), &CsrRefused::KeyKind);
}

#[test]
fn no_flipped_bit_of_a_request_passes() {
    let good = request_with(&rcgen::PKCS_ECDSA_P256_SHA256);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(ProvenKey::from_csr(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn a_key_is_not_proven_by_the_request_of_another() {
    // Attacker's request with the victim's public key put in: same length, same place.
    let [attacker, victim] = [(), ()].map(|()| KeyPair::generate().expect("a key"));
    let csr = CertificateParams::default().serialize_request(&attacker).expect("a request").der().to_vec();
    let at = csr.windows(65).position(|window| window == attacker.public_key_raw()).expect("the key is in it");
    let mut stolen = csr;
    stolen[at..at + 65].copy_from_slice(victim.public_key_raw());
    refused(&stolen, &CsrRefused::Signature);
}

#[test]
fn an_authority_survives_its_text_and_its_pin_names_its_key() {
    let authority = authority();
    let again = Authority::from_pem(authority.to_pem().as_bytes()).expect("its own text");
    assert_eq!(again.root(), authority.root());
    let root = parse(authority.root().der());
    assert_eq!(authority.ca_pin(), CaPin::of(root.public_key().raw));
    assert!(authority.ca_pin().to_string().starts_with("sha256:"));
    assert_eq!(format!("{authority:?}").matches("PRIVATE").count(), 0);
    let names = root.subject_alternative_name().expect("extensions").expect("names");
    assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://fettle.test")]);
    assert_eq!(authority.root().validity().not_after, FOUNDED.plus(ROOT_LIFE));

    let other = crate::fixture::authority();
    let split = |text: &str| text.split_once("-----BEGIN PRIVATE").map(|(root, _)| root.len()).expect("a key");
    let [mine, theirs] = [authority.to_pem(), other.to_pem()];
    let mixed = format!("{}{}", &mine[..split(&mine)], &theirs[split(&theirs)..]);
    assert!(matches!(Authority::from_pem(mixed.as_bytes()), Err(AuthorityProblem::KeyMismatch)));
}

#[test]
fn only_a_self_signed_authority_of_one_trust_domain_is_a_root() {
    let authority = authority();
    let wanted = crate::fixture::authority().ca_pin();
    let found = authority.ca_pin();
    let pem = authority.root().to_pem();
    assert_eq!(Root::pinned_from_pem(pem.as_bytes(), found).as_ref(), Ok(authority.root()));
    assert_eq!(Root::pinned_from_pem(pem.as_bytes(), wanted), Err(InvalidRoot::Pin { wanted, found }));

    let (_, proof) = key_and_proof();
    let leaf = authority.issue(&proof, &template(control_plane()), NOW, Serial::from_random([1; 16])).expect("issued");
    assert_eq!(Root::from_der(leaf.der), Err(InvalidRoot::NotAuthority));

    let mut changed = authority.root().der().to_vec();
    *changed.last_mut().expect("bytes") ^= 1;
    assert_eq!(Root::from_der(changed.into()), Err(InvalidRoot::Signature));

    let self_signed = |names: &[&str], is_ca, usage| {
        let mut params = CertificateParams::default();
        params.is_ca = is_ca;
        params.key_usages = vec![usage];
        let names = names.iter().map(|name| SanType::URI((*name).try_into().expect("ASCII")));
        params.subject_alt_names = names.collect();
        let key = KeyPair::generate().expect("a key");
        Root::from_der(params.self_signed(&key).expect("a certificate").into())
    };
    let named =
        |names: &[&str]| self_signed(names, IsCa::Ca(BasicConstraints::Unconstrained), KeyUsagePurpose::KeyCertSign);
    assert_eq!(named(&[]), Err(InvalidRoot::NoTrustDomain));
    assert_eq!(named(&["spiffe://a.test", "spiffe://b.test"]), Err(InvalidRoot::NoTrustDomain));
    assert_eq!(named(&["https://a.test"]), Err(InvalidRoot::NoTrustDomain));
    assert!(matches!(named(&["spiffe://a.test/person/alice"]), Err(InvalidRoot::TrustDomain(_))));
    assert!(named(&["spiffe://a.test"]).is_ok());

    let name = &["spiffe://a.test"];
    let authority = IsCa::Ca(BasicConstraints::Unconstrained);
    let not_for_signing = self_signed(name, authority, KeyUsagePurpose::DigitalSignature);
    assert_eq!(not_for_signing, Err(InvalidRoot::NotAuthority));
    let no_authority = self_signed(name, IsCa::ExplicitNoCa, KeyUsagePurpose::KeyCertSign);
    assert_eq!(no_authority, Err(InvalidRoot::NotAuthority));
}
