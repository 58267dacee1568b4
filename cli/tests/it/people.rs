//! Secrets: join tokens and people's keys are made, kept in files of mode 0600, and never printed.

use crate::stand_in::{Asked, Said, StandIn, alice, authority, problem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_audit::key::SigningKey;
use fettle_audit::person_key;
use fettle_certs::authority::{Life, Subject, Template};
use fettle_certs::csr::ProvenKey;
use fettle_certs::serial::Serial;
use fettle_certs::store::IdentityStore;
use fettle_cli::context::wall_clock;
use fettle_model::counter::LogPosition;
use fettle_model::id::TokenId;
use fettle_model::identity::Role;
use fettle_model::person_key::SigningKeyProof;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{Command, CommandReply, ProblemCode};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use uuid::Uuid;

const SECRET: &str = "fettle-join-secret";

fn token(_: &Asked) -> Said {
    Said::Reply(CommandReply::Token {
        token: TokenId::from_uuid(Uuid::from_u128(7)),
        secret: SECRET.to_owned(),
        ca_pin: "sha256:ab".to_owned(),
        enrol_address: "cp:7444".to_owned(),
        agents_address: "cp:7443".to_owned(),
        expires_at: UnixMillis(wall_clock().0 + 3_600_000),
    })
}

#[test]
fn a_join_tokens_secret_is_in_its_file_and_nowhere_else() {
    let stand_in = StandIn::start(token);
    let arguments = ["token", "create", "--environment", "staging", "--host", "web-1", "--ttl", "30m"];
    let ended = stand_in.fettle(&arguments).expect(0);
    assert!(!ended.out.contains(SECRET) && !ended.err.contains(SECRET), "{ended:?}");
    assert!(ended.out.contains("enrol-address = \"cp:7444\"") && ended.out.contains("ca-pin = \"sha256:ab\""));
    assert!(ended.out.contains("trust-domain = \"fettle.test\""), "{}", ended.out);
    assert_eq!(fs::read_to_string(stand_in.path("join-token")).expect("there"), SECRET);
    let mode = fs::metadata(stand_in.path("join-token")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let host = Some("web-1".parse().expect("a name"));
    let environment = "staging".parse().expect("a name");
    assert_eq!(stand_in.asked(), [Asked::Command(Command::CreateToken { environment, host, ttl_ms: 1_800_000 })]);

    let ended = stand_in.fettle(&[&arguments[..], &["--out", "other", "--json"]].concat()).expect(0);
    assert!(!ended.out.contains(SECRET), "{}", ended.out);
    assert_eq!(ended.json::<serde_json::Value>()["secret_file"], "other");
}

#[test]
fn no_token_is_asked_for_when_its_secret_could_not_be_kept() {
    let stand_in = StandIn::start(token);
    stand_in.write("join-token", "an older one");
    stand_in.fettle(&["token", "create", "--environment", "staging"]).expect(6);
    assert_eq!(stand_in.asked(), []);
    assert_eq!(fs::read_to_string(stand_in.path("join-token")).expect("there"), "an older one");
}

/// A stand-in that certifies whomever it is told to, and who asks.
fn issuing() -> StandIn {
    let authority = authority();
    let root = authority.root().to_pem();
    let issuer = crate::stand_in::authority_from(&authority);
    StandIn::start_under(&authority, move |asked| {
        let (subject, csr) = match asked {
            Asked::Command(Command::AddPerson { person, csr, .. }) => (Subject::Person(person.clone()), csr),
            Asked::Command(Command::RenewCertificate { csr }) => (alice(), csr),
            Asked::Command(Command::SetSigningKey { .. }) => {
                return Said::Reply(CommandReply::Done { position: LogPosition(7) });
            }
            _ => return Said::Problem(problem(ProblemCode::Internal)),
        };
        let proof = ProvenKey::from_csr(&STANDARD.decode(csr).expect("base64")).expect("a request");
        let template = Template { subject, life: Life::DAY };
        let issued = issuer.issue(&proof, &template, wall_clock(), Serial::from_random([5; 16]));
        let chain = issued.expect("a certificate").chain_pem();
        Said::Reply(CommandReply::Person { chain, root: root.clone() })
    })
}

#[test]
fn a_renewed_certificate_is_of_a_new_key_and_stands_in_the_same_profile() {
    let stand_in = issuing();
    let store = IdentityStore::at(stand_in.path("profile"));
    let load = || store.load().expect("loaded").expect("an identity");
    let before = load();
    let ended = stand_in.fettle(&["person", "renew"]).expect(0);
    assert!(ended.out.starts_with("the certificate of alice in profile is good until "), "{}", ended.out);
    let after = load();
    assert_eq!(after.holder().id, before.holder().id);
    assert_ne!(after.holder().serial, before.holder().serial);
    assert_ne!(*after.key().to_pem(), *before.key().to_pem());
    assert!(store.load_previous().expect("read").is_none(), "the old key is gone");
    let ended = stand_in.fettle(&["person", "renew", "--json"]).expect(0);
    assert_eq!(ended.json::<serde_json::Value>()["person"], "alice");
    assert!(stand_in.asked().iter().all(|asked| matches!(asked, Asked::Command(Command::RenewCertificate { .. }))));
}

/// The secret in a profile's file is of the key that was registered, for its owner's eyes only, and did not travel.
#[track_caller]
fn checked(stand_in: &StandIn, folder: &str, person: &str, given: &SigningKeyProof) {
    let path = stand_in.path(folder).join("signing.key");
    let secret = fs::read_to_string(&path).expect("there");
    let seed = STANDARD.decode(secret.trim()).expect("base64").try_into().expect("32 bytes");
    let (trust_domain, person) = ("fettle.test".parse().expect("a name"), person.parse().expect("a name"));
    let public = person_key::check(given, &trust_domain, &person).expect("proven");
    assert_eq!(public, SigningKey::from_seed(&seed).public());
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert!(!given.key.contains(secret.trim()) && !given.proof.contains(secret.trim()));
}

#[test]
fn a_profile_without_a_signing_key_gets_one_and_keeps_it() {
    let stand_in = issuing();
    let ended = stand_in.fettle(&["person", "key"]).expect(0);
    assert_eq!(ended.out, "alice signs with the key in profile/signing.key from now on; log position 7\n");
    stand_in.fettle(&["person", "key"]).expect(0);
    stand_in.fettle(&["person", "renew"]).expect(0);
    let asked = stand_in.asked();
    let [Asked::Command(Command::SetSigningKey { signing_key }), Asked::Command(again), _] = &asked[..] else {
        panic!("{asked:?}");
    };
    checked(&stand_in, "profile", "alice", signing_key);
    assert_eq!(again, &Command::SetSigningKey { signing_key: signing_key.clone() });
}

#[test]
fn a_signing_key_that_is_refused_is_not_kept_and_one_that_may_be_registered_is() {
    for (code, exit, kept) in
        [(ProblemCode::Refused, 8, false), (ProblemCode::Denied, 7, false), (ProblemCode::Unavailable, 9, true)]
    {
        let stand_in = StandIn::start(move |_| Said::Problem(problem(code)));
        stand_in.fettle(&["person", "key"]).expect(exit);
        assert_eq!(stand_in.path("profile/signing.key").exists(), kept, "{code:?}");
    }
}

#[test]
fn a_person_gets_a_profile_whose_key_never_left() {
    let stand_in = issuing();
    let ended = stand_in.fettle(&["person", "add", "bob", "--role", "auditor", "--out", "bob"]).expect(0);
    assert!(ended.out.starts_with("bob is auditor; the profile in bob holds the keys"), "{}", ended.out);
    let identity = IdentityStore::at(stand_in.path("bob")).load().expect("loaded").expect("an identity");
    assert_eq!(identity.holder().id.to_string(), "spiffe://fettle.test/person/bob");
    let profile = fs::read_to_string(stand_in.path("bob/profile.toml")).expect("there");
    assert_eq!(profile, format!("address = \"{}\"\n", stand_in.address));
    let asked = stand_in.asked();
    let [Asked::Command(Command::AddPerson { role: Role::Auditor, team: None, csr, signing_key, .. })] = &asked[..]
    else {
        panic!("{asked:?}");
    };
    checked(&stand_in, "bob", "bob", signing_key);
    let csr = STANDARD.decode(csr).expect("base64");
    let key = identity.key().to_pem();
    let secret: Vec<u8> =
        STANDARD.decode(key.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("base64");
    // The 32 secret bytes of a P-256 key in PKCS#8 stand at 36.
    assert!(!csr.windows(32).any(|window| window == &secret[36..68]), "the key is in the request");

    stand_in.fettle(&["person", "add", "bob", "--role", "auditor", "--out", "bob"]).expect(6);
    assert_eq!(stand_in.asked().len(), 1);
}

#[test]
fn a_certificate_for_somebody_else_or_under_another_root_is_not_taken() {
    let strange = authority();
    let root = strange.root().to_pem();
    let stand_in = StandIn::start(move |asked| match asked {
        Asked::Command(Command::AddPerson { person, csr, .. }) => {
            let proof = ProvenKey::from_csr(&STANDARD.decode(csr).expect("base64")).expect("a request");
            let template = Template { subject: Subject::Person(person.clone()), life: Life::DAY };
            let issued = strange.issue(&proof, &template, wall_clock(), Serial::from_random([5; 16]));
            let chain = issued.expect("a certificate").chain_pem();
            Said::Reply(CommandReply::Person { chain, root: root.clone() })
        }
        _ => Said::Problem(problem(ProblemCode::Internal)),
    });
    let ended = stand_in.fettle(&["person", "add", "bob", "--role", "operator", "--out", "bob"]).expect(10);
    assert!(ended.err.contains("the root certificate has the pin"), "{}", ended.err);
    assert!(!stand_in.path("bob").exists());
}
