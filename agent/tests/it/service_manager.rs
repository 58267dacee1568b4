//! What a service manager hears, on a socket that the test owns.

use crate::control_plane::ControlPlane;
use crate::host::Host;
use crate::log::Log;
use crate::stand::{PATIENCE, id, publisher};
use fettle_agent::effector::store::Store;
use std::time::Duration;
use tokio::net::UnixDatagram;

/// What is said next; `None`: nothing within this time.
async fn said(socket: &UnixDatagram, within: Duration) -> Option<String> {
    let mut message = [0; 256];
    let length = tokio::time::timeout(within, socket.recv(&mut message)).await.ok()?.expect("it can be heard");
    Some(String::from_utf8_lossy(&message[..length]).trim_end().to_owned())
}

#[tokio::test]
async fn the_manager_hears_that_the_agent_serves_and_then_that_its_loop_turns_until_it_is_stuck() {
    let control_plane = ControlPlane::start(id(1), Duration::from_hours(1)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let patience = Duration::from_millis(600);
    let host =
        Host::start_watched(&control_plane, id(1), &publisher().public(), &path, patience, |_: &mut Store, _| ());
    assert_eq!(said(&socket, PATIENCE).await.as_deref(), Some("READY=1"));
    for _ in 0..5 {
        assert_eq!(said(&socket, PATIENCE).await.as_deref(), Some("WATCHDOG=1"));
    }
    host.stop();
    // One may have been on its way.
    let mut last = said(&socket, patience).await;
    if last.is_some() {
        last = said(&socket, patience).await;
    }
    assert_eq!(last, None);
}

#[tokio::test]
async fn an_agent_that_cannot_serve_does_not_say_that_it_does() {
    let control_plane = ControlPlane::start(id(1), Duration::from_hours(1)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let other = Log::new(50).permit_key();
    let pin = |_: &mut Store, more: &mut String| more.push_str(&format!("permit-key = \"{other}\"\n"));
    let within = Duration::from_secs(60);
    let mut host = Host::start_watched(&control_plane, id(1), &publisher().public(), &path, within, pin);
    assert_eq!(host.ended().await.code(), Some(1));
    assert_eq!(said(&socket, Duration::ZERO).await, None);
}
