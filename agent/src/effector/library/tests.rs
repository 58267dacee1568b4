//! Whose playbooks are fetched and run here, and what a package must be.

use super::*;
use fettle_audit::key::SigningKey;
use fettle_model::playbook::Publication;
use std::collections::BTreeSet;

const MANIFEST: &str = r#"
manifest = 1
[playbook]
name = "mend"
version = "1.0.0"
summary = "For a test."
owners = ["tests"]
host = "fettle:host@0.1.0"
[[grant]]
label = "health"
kind = "health"
why = "test"
[limits]
actions = 1
duration = "10s"
[confirm]
health = "health"
stable = "1s"
within = "10s"
[on-failure]
undo = "automatic"
"#;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// The host's owner trusts key 1 of the publisher `tests`.
fn publishers() -> Vec<TrustedPublisher> {
    let key = key(1).public().to_string().parse().expect("a key");
    vec![TrustedPublisher { name: "tests".parse().expect("a name"), key }]
}

/// An admission as the control plane publishes it; `change` makes the publisher's statement say something else.
fn admitted(signer: &SigningKey, change: impl FnOnce(&mut Publication)) -> PlaybookAdmitted {
    let manifest = Manifest::from_toml(MANIFEST).expect("a manifest");
    let digest = PlaybookDigest::of(b"package");
    let mut publication = Publication {
        name: manifest.playbook.name.clone(),
        version: "1.0.0".to_owned(),
        digest,
        publisher: "tests".parse().expect("a name"),
        key: signer.public().key_id(),
    };
    change(&mut publication);
    let payload = serde_json::to_vec(&publication).expect("JSON");
    let envelope = Envelope::seal(PUBLICATION_PAYLOAD_TYPE, &payload, signer).expect("sealed");
    PlaybookAdmitted {
        digest,
        manifest,
        publisher: publication.publisher,
        key: signer.public().key_id(),
        publication: String::from_utf8(envelope.into_bytes()).expect("text"),
        imports: Vec::new(),
        size_bytes: 7,
        by: "alice".parse().expect("a name"),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("state.db")).expect("a state");
    (folder, store)
}

/// What is needed after the admission of an assigned playbook, and after a restart.
#[track_caller]
fn check(admitted: PlaybookAdmitted, expected: &[Need]) {
    let (_folder, store) = store();
    let assigned = BTreeSet::from([admitted.digest]);
    let mut library = Library::default();
    library.admit(admitted, &publishers(), &store).expect("kept");
    assert_eq!(library.needs(&assigned), expected);
    let again = Library::load(&store, &publishers()).expect("it is read again");
    assert_eq!(again.needs(&assigned), expected);
}

#[test]
fn only_what_a_publisher_of_the_owner_signed_is_fetched_whatever_the_control_plane_says() {
    let digest = PlaybookDigest::of(b"package");
    check(admitted(&key(1), |_| {}), &[Need::Fetch(digest)]);
    check(admitted(&key(2), |_| {}), &[]);
    check(admitted(&key(2), |publication| publication.key = key(1).public().key_id()), &[]);
    check(admitted(&key(1), |publication| publication.digest = PlaybookDigest::of(b"other")), &[]);
    check(admitted(&key(1), |publication| publication.name = "other".parse().expect("a name")), &[]);
    check(admitted(&key(1), |publication| publication.publisher = "others".parse().expect("a name")), &[]);
}

#[test]
fn a_playbook_is_ready_exactly_when_nothing_hinders_it() {
    let (_folder, store) = store();
    let lacks = |lacks| Some(Hindrance::PlaybookNotReady { lacks });
    let (digest, mut library) = (PlaybookDigest::of(b"package"), Library::default());
    let mut seen = Vec::new();
    let mut look = |library: &Library| {
        let hindrance = library.hindrance(digest);
        assert_eq!(library.ready(digest).is_some(), hindrance.is_none(), "{hindrance:?}");
        seen.push(hindrance);
    };
    look(&library);
    library.admit(admitted(&key(1), |_| {}), &publishers(), &store).expect("kept");
    look(&library);
    library.shelves.get_mut(&digest).expect("admitted").package = Some(b"package".to_vec());
    look(&library);
    library.compiled(digest, engine("ab"), vec![1], &store).expect("kept");
    library.runs_on(engine("ab"));
    look(&library);
    library.refused(digest, "no\u{1b}[31m component\n");
    look(&library);
    let unusable = Hindrance::PlaybookUnusable { why: "no[31m component".to_owned() };
    let expected = [lacks(Lack::Admission), lacks(Lack::Package), lacks(Lack::Compilation), None, Some(unusable)];
    assert_eq!(seen, expected);

    let mut strangers = Library::default();
    strangers.admit(admitted(&key(2), |_| {}), &publishers(), &store).expect("kept");
    let untrusted = Hindrance::PublisherUntrusted { publisher: "tests".parse().expect("a name") };
    assert_eq!((strangers.hindrance(digest), strangers.ready(digest).is_some()), (Some(untrusted), false));
}

fn engine(of: &str) -> Fingerprint {
    of.repeat(32).parse().expect("a fingerprint")
}

#[test]
fn a_playbook_that_was_compiled_for_another_engine_is_not_ready_until_it_is_compiled_again() {
    let (_folder, store) = store();
    let admitted = admitted(&key(1), |_| {});
    let (digest, assigned) = (admitted.digest, BTreeSet::from([admitted.digest]));
    let mut before = Library::default();
    before.admit(admitted, &publishers(), &store).expect("kept");
    store.keep_package(digest, b"package").expect("kept");
    before.compiled(digest, engine("ab"), vec![1], &store).expect("kept");

    let mut library = Library::load(&store, &publishers()).expect("it is read again");
    let uncompiled = Some(Hindrance::PlaybookNotReady { lacks: Lack::Compilation });
    assert_eq!((library.hindrance(digest), library.needs(&assigned)), (uncompiled.clone(), vec![]), "nobody knows");
    library.runs_on(engine("cd"));
    assert_eq!((library.hindrance(digest), library.needs(&assigned)), (uncompiled, vec![Need::Compile(digest)]));
    assert!(library.ready(digest).is_none());
    library.compiled(digest, engine("cd"), vec![2], &store).expect("kept");
    assert_eq!((library.hindrance(digest), library.needs(&assigned)), (None, vec![]));
    assert_eq!(library.ready(digest).map(|ready| ready.artifact.to_vec()), Some(vec![2]));
}

#[test]
fn a_compiler_that_is_merely_gone_is_tried_again_but_not_for_ever() {
    let (_folder, store) = store();
    let admitted = admitted(&key(1), |_| {});
    let (digest, assigned) = (admitted.digest, BTreeSet::from([admitted.digest]));
    let mut library = Library::default();
    library.admit(admitted, &publishers(), &store).expect("kept");
    for _ in 1..MAX_LOST {
        library.lost(digest, "killed");
        assert_eq!(library.needs(&assigned), [Need::Fetch(digest)], "it is still wanted");
    }
    library.lost(digest, "killed");
    assert_eq!(library.needs(&assigned), []);
}

#[test]
fn a_package_with_other_bytes_is_not_taken_and_one_that_is_no_playbook_is_given_up() {
    let (_folder, store) = store();
    let admitted = admitted(&key(1), |_| {});
    let (digest, assigned) = (admitted.digest, BTreeSet::from([admitted.digest]));
    let mut library = Library::default();
    library.admit(admitted, &publishers(), &store).expect("kept");
    assert_eq!(library.fetched(digest, b"packagf".to_vec(), &store).expect("looked at"), Taken::No);
    assert_eq!(library.needs(&assigned), [Need::Fetch(digest)]);
    assert_eq!(library.fetched(digest, b"package".to_vec(), &store).expect("looked at"), Taken::Yes);
    assert_eq!(library.needs(&assigned), []);
    assert!(library.ready(digest).is_none());
}
