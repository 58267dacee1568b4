//! Tests of the store, at the level of its plans: they can be stopped after any operation.

use super::*;
use crate::authority::{Life, Subject, Template};
use crate::csr::{ProvenKey, certificate_request};
use crate::serial::Serial;
use fettle_model::id::HostId;
use fettle_model::time::UnixMillis;
use std::os::unix::fs::PermissionsExt as _;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn authority() -> Authority {
    let trust_domain = "fettle.test".parse().expect("a trust domain");
    Authority::create(&trust_domain, NOW, Serial::from_random([9; 16])).expect("an authority")
}

fn identity(authority: &Authority, number: u8) -> Identity {
    let key = PrivateKey::generate().expect("a key");
    let proven = ProvenKey::from_csr(&certificate_request(&key).expect("a request")).expect("our own request");
    let subject = Subject::Agent(HostId::from_uuid(uuid::Uuid::from_u128(1)));
    let template = Template { subject, life: Life::DAY };
    let issued = authority.issue(&proven, &template, NOW, Serial::from_random([number; 16])).expect("a certificate");
    Identity::new(vec![issued.der], key, authority.root().clone()).expect("an identity")
}

fn serial(found: Option<Identity>) -> Option<Serial> {
    found.map(|identity| identity.holder().serial)
}

fn plan(store: &IdentityStore, identity: &Identity) -> Vec<Operation> {
    let current = store.target(CURRENT).expect("readable");
    plan_install(&store.directory, identity, current.as_deref(), &store.generations().expect("readable"))
}

/// What the interrupted operation has done when the machine stops.
#[derive(Clone, Copy, Debug)]
enum Last {
    /// Nothing.
    Untouched,
    /// If it is a write: half of the file.
    Torn,
}

fn stop_after(plan: &[Operation], done: usize, last: Last) {
    operation::perform_all(&plan[..done]).expect("the disk works");
    if let (Some(Operation::Write { path, bytes }), Last::Torn) = (plan.get(done), last) {
        fs::write(path, &bytes[..bytes.len() / 2]).expect("the disk works");
    }
}

#[test]
fn an_install_that_stops_anywhere_leaves_the_old_or_the_new_identity_and_can_be_done_again() {
    let authority = authority();
    let [old, new] = [1, 2].map(|number| identity(&authority, number));
    let steps = {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = IdentityStore::at(scratch.path().join("id"));
        store.install(&old).expect("installs");
        plan(&store, &new).len()
    };
    for done in 0..=steps {
        for last in [Last::Untouched, Last::Torn] {
            let scratch = tempfile::tempdir().expect("a directory");
            let store = IdentityStore::at(scratch.path().join("id"));
            store.install(&old).expect("installs");
            stop_after(&plan(&store, &new), done, last);

            // The last but one operation is the switch.
            let expected = if done + 1 >= steps { &new } else { &old };
            assert_eq!(serial(store.load().expect("loads")), Some(expected.holder().serial), "{done} {last:?}");
            store.load_previous().expect("what is there loads");

            store.install(&new).expect("installs again");
            assert_eq!(serial(store.load().expect("loads")), Some(new.holder().serial), "{done} {last:?}");
        }
    }
}

#[test]
fn a_first_install_that_stops_anywhere_leaves_no_identity_or_the_new_one() {
    let new = identity(&authority(), 1);
    let steps = plan(&IdentityStore::at("/nonexistent/fettle"), &new).len();
    for done in 0..=steps {
        let scratch = tempfile::tempdir().expect("a directory");
        let store = IdentityStore::at(scratch.path().join("id"));
        stop_after(&plan(&store, &new), done, Last::Torn);
        let expected = (done + 1 >= steps).then_some(new.holder().serial);
        assert_eq!(serial(store.load().expect("loads")), expected, "{done}");
        store.install(&new).expect("installs again");
        assert_eq!(serial(store.load().expect("loads")), Some(new.holder().serial), "{done}");
    }
}

#[test]
fn everything_is_synced_before_the_link_switches_and_the_switch_after() {
    let store = IdentityStore::at("/nonexistent/fettle");
    let plan = plan(&store, &identity(&authority(), 1));
    let current = store.directory.join(CURRENT);
    let switch = plan.iter().position(|step| matches!(step, Operation::Link { path, .. } if *path == current));
    let (before, after) = plan.split_at(switch.expect("a switch"));
    let last_write = before.iter().rposition(|step| matches!(step, Operation::Write { .. })).expect("writes");
    let synced = |steps: &[Operation], directory: &Path| {
        steps.iter().any(|step| matches!(step, Operation::SyncDirectory { path } if path == directory))
    };
    let Operation::Write { path: file, .. } = &before[last_write] else { unreachable!("a write was looked for") };
    assert!(synced(&before[last_write..], file.parent().expect("a directory")));
    assert!(synced(&before[last_write..], &store.directory));
    assert!(synced(after, &store.directory));
}

#[test]
fn the_identity_before_is_kept_until_it_is_retired_and_older_ones_are_not() {
    let authority = authority();
    let identities = [1, 2, 3].map(|number| identity(&authority, number));
    let scratch = tempfile::tempdir().expect("a directory");
    let store = IdentityStore::at(scratch.path());
    assert_eq!(serial(store.load().expect("loads")), None);
    for identity in &identities {
        store.install(identity).expect("installs");
    }
    assert_eq!(serial(store.load_previous().expect("loads")), Some(identities[1].holder().serial));
    assert_eq!(store.generations().expect("readable").len(), 2);
    store.retire_previous().expect("retires");
    store.retire_previous().expect("retires again");
    assert_eq!(serial(store.load_previous().expect("loads")), None);
    assert_eq!(store.generations().expect("readable").len(), 1);
    store.install(&identities[2]).expect("the one in use is there already");
    assert_eq!(serial(store.load().expect("loads")), Some(identities[2].holder().serial));
}

#[test]
fn files_are_for_the_owner_only_and_an_exposed_key_is_refused_with_the_remedy() {
    let scratch = tempfile::tempdir().expect("a directory");
    let store = IdentityStore::at(scratch.path().join("id"));
    store.install(&identity(&authority(), 1)).expect("installs");
    let directory = scratch.path().join("id").join(store.target(CURRENT).expect("readable").expect("a link"));
    let mode = |path: &Path| fs::metadata(path).expect("readable").permissions().mode() & 0o7777;
    assert_eq!(mode(&directory), 0o700);
    for file in [ROOT_FILE, CHAIN_FILE, KEY_FILE] {
        assert_eq!(mode(&directory.join(file)), 0o600);
    }
    let key = directory.join(KEY_FILE);
    for exposed in [0o640, 0o604, 0o620, 0o602] {
        fs::set_permissions(&key, fs::Permissions::from_mode(exposed)).expect("owned");
        let problem = store.load().expect_err("it is exposed");
        assert!(matches!(&problem, StoreProblem::Exposed { mode, .. } if *mode == exposed), "{problem}");
        assert!(problem.to_string().ends_with(&format!("run: chmod 600 {}", key.display())), "{problem}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("owned");
    assert!(store.load().expect("it is not exposed").is_some());
}

#[test]
fn a_key_of_another_certificate_and_a_foreign_root_make_no_identity() {
    let authority = authority();
    let scratch = tempfile::tempdir().expect("a directory");
    let store = IdentityStore::at(scratch.path());
    store.install(&identity(&authority, 1)).expect("installs");
    let directory = scratch.path().join(store.target(CURRENT).expect("readable").expect("a link"));
    let replace = |file: &str, text: &[u8]| fs::write(directory.join(file), text).expect("owned");

    let root = fs::read(directory.join(ROOT_FILE)).expect("readable");
    let foreign = Authority::create(authority.root().trust_domain(), NOW, Serial::from_random([8; 16]));
    replace(ROOT_FILE, foreign.expect("an authority").root().to_pem().as_bytes());
    let problem = store.load().expect_err("the root is foreign");
    assert!(matches!(&problem, StoreProblem::Identity { source: InvalidIdentity::NotIssuedByRoot, .. }), "{problem:?}");
    replace(ROOT_FILE, &root);
    replace(KEY_FILE, PrivateKey::generate().expect("a key").to_pem().as_bytes());
    let problem = store.load().expect_err("the key is another's");
    assert!(matches!(&problem, StoreProblem::Identity { source: InvalidIdentity::KeyMismatch, .. }), "{problem:?}");
    replace(KEY_FILE, &vec![b' '; MAX_PEM_BYTES + 1]);
    assert!(matches!(store.load(), Err(StoreProblem::TooLong { .. })));
}

#[test]
fn an_authority_is_read_back_and_never_overwritten() {
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("state").join("authority.pem");
    let [first, second] = [authority(), authority()];
    save_authority(&path, &first).expect("saves");
    assert!(matches!(save_authority(&path, &second), Err(StoreProblem::Exists { .. })));
    assert_eq!(load_authority(&path).expect("loads").ca_pin(), first.ca_pin());
    // It must still be able to issue.
    identity(&load_authority(&path).expect("loads"), 5);
}

#[test]
fn a_private_file_is_replaced_whole_wherever_the_write_stops() {
    let steps = plan_file(Path::new("x"), Zeroizing::new(Vec::new())).len();
    for done in 0..=steps {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("record.key");
        write_private(&path, b"the old one").expect("writes");
        stop_after(&plan_file(&path, Zeroizing::new(b"the new one".to_vec())), done, Last::Torn);
        let found = read_private(&path, 64).expect("reads");
        assert_eq!(found.as_slice(), if done + 1 >= steps { &b"the new one"[..] } else { b"the old one" });
        write_private(&path, b"the third").expect("writes again");
        assert_eq!(read_private(&path, 64).expect("reads").as_slice(), b"the third");
        assert!(matches!(read_private(&path, 8), Err(StoreProblem::TooLong { .. })));
    }
}
