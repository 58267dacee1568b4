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
    let connected = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Heard::Connected { serial, .. } = control_plane.heard.recv().await.expect("the service runs") {
                return serial;
            }
        }
    });
    let serial = connected.await.expect("it connects in time");
    assert_eq!(serial, Serial::from_random([11; 16]), "the certificate that enrolment gave");
}
