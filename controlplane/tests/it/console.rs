//! The commands at the control plane's own console.

use crate::site::{Person, Site, name, plan};
use fettle_audit::bundle::Line;
use fettle_audit::envelope::Envelope;
use fettle_certs::store::IdentityStore;
use fettle_controlplane::init::{InitError, fresh_profile, init};
use fettle_controlplane::leader::Clocks;
use fettle_controlplane::state_dir::StateDir;
use fettle_model::record::{Body, Record};
use fettle_proto::operator::Query;
use std::time::Duration;

#[tokio::test]
async fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = StateDir::at(folder.path().join("state"));
    init(&plan(state.clone()), &Clocks::start()).await.expect("made");
    let authority = std::fs::read(state.authority()).expect("read");
    let refused = init(&plan(state.clone()), &Clocks::start()).await.expect_err("it exists");
    assert!(matches!(refused, InitError::Exists { .. }), "{refused:?}");
    assert_eq!(std::fs::read(state.authority()).expect("read"), authority);
}

#[tokio::test]
async fn a_person_with_a_role_gets_a_fresh_profile_beside_a_control_plane_that_runs() {
    let site = Site::new().await;
    let out = tempfile::tempdir().expect("a folder");
    let out = out.path().join("profile");
    fresh_profile(&site.state, &name("alice"), &out, &Clocks::start()).expect("a profile");
    let profile = std::fs::read_to_string(out.join("profile.toml")).expect("read");
    assert!(profile.contains(&format!("address = \"{}\"", site.listening.operators)), "{profile}");
    let identity = IdentityStore::at(&out).load().expect("loaded").expect("an identity");
    let alice = Person::connect(site.listening.operators, &identity).await;
    alice.query(Query::Hosts).await.expect("she is let in");
    // The next look brings it into the log; a restart looks at once.
    let site = site.down().await.up().await;
    let serial = identity.holder().serial.to_string();
    let alice = Person::connect(site.listening.operators, &identity).await;
    let certified = async || {
        let bundle = alice.export().await.expect("a bundle");
        records(&bundle).into_iter().any(|body| match body {
            Body::CertificateIssued(issued) => issued.serial == serial,
            _ => false,
        })
    };
    let soon = tokio::time::timeout(Duration::from_secs(20), async {
        while !certified().await {
            tokio::task::yield_now().await;
        }
    });
    soon.await.expect("the log says that she was let in");
    let refused = fresh_profile(&site.state, &name("bob"), &out, &Clocks::start()).expect_err("no role");
    assert!(matches!(&refused, InitError::NoRole { known, .. } if known == "alice"), "{refused:?}");
}

#[tokio::test]
async fn the_first_profile_names_the_port_that_the_system_chose() {
    let site = Site::new().await;
    let profile = std::fs::read_to_string(site.state.operator().join("profile.toml")).expect("read");
    assert!(profile.contains(&site.listening.operators.to_string()), "{profile}");
    let text = std::fs::read(site.state.listening()).expect("read");
    let told: fettle_controlplane::server::Listening = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(told, site.listening);
}

/// What the records of a bundle say.
fn records(bundle: &[u8]) -> Vec<Body> {
    let lines = bundle.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| match Line::parse(line).expect("a line") {
            Line::Record { envelope, .. } => {
                let envelope = Envelope::parse(envelope.to_vec()).expect("an envelope");
                let record: Record = serde_json::from_slice(envelope.unverified_payload()).expect("a record");
                Some(record.body)
            }
            Line::Header { .. } | Line::Checkpoint { .. } => None,
        })
        .collect()
}
