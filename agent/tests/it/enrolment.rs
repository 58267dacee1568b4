//! A host that was off for longer than its certificate lives comes back with a new join token.

use crate::control_plane::{ControlPlane, Heard};
use crate::host::Host;
use crate::stand::{PATIENCE, id, publisher};
use fettle_certs::serial::Serial;
use fettle_certs::store::write_private;
use fettle_certs::token::JoinToken;
use fettle_model::id::HostId;
use std::time::Duration;

#[tokio::test]
async fn a_host_whose_certificate_expired_enrols_again_and_goes_on() {
    let host = id::<HostId>(1);
    let mut control_plane = ControlPlane::start(host, Duration::from_hours(1)).await;
    let token = JoinToken::from_random(id(2), [9; 32]);
    control_plane.shared().token = Some(token.verifier());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    write_private(&file, token.expose().as_bytes()).expect("written");
    let with_token = |_: &mut _, more: &mut String| *more = format!("join-token-file = \"{}\"\n", file.display());
    let _host = Host::start_prepared(&control_plane, host, &publisher().public(), Duration::ZERO, with_token);
    assert_eq!(connected(&mut control_plane).await, Serial::from_random([11; 16]), "the one that enrolment gave");
}

/// Waits for a session; gives the serial number of its certificate.
async fn connected(control_plane: &mut ControlPlane) -> Serial {
    let connected = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Heard::Connected { serial, .. } = control_plane.heard.recv().await.expect("the service runs") {
                return serial;
            }
        }
    });
    connected.await.expect("it connects in time")
}

#[tokio::test]
async fn a_join_token_that_comes_or_is_replaced_while_the_agent_waits_is_taken_up() {
    let host = id::<HostId>(1);
    let mut control_plane = ControlPlane::start(host, Duration::from_hours(1)).await;
    let [stale, token] = [8, 9].map(|byte| JoinToken::from_random(id(byte), [byte; 32]));
    control_plane.shared().token = Some(token.verifier());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let with_token = |_: &mut _, more: &mut String| *more = format!("join-token-file = \"{}\"\n", file.display());
    // First there is none, then a wrong one, then the right one.
    let _host = Host::start_prepared(&control_plane, host, &publisher().public(), Duration::ZERO, with_token);
    write_private(&file, stale.expose().as_bytes()).expect("written");
    let mut attempts = control_plane.shared().refused.subscribe();
    let refused = tokio::time::timeout(PATIENCE, attempts.wait_for(|refused| *refused > 0));
    refused.await.expect("it is tried in time").expect("the service runs");
    write_private(&file, token.expose().as_bytes()).expect("written");
    assert_eq!(connected(&mut control_plane).await, Serial::from_random([11; 16]));
}
