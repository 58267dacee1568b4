//! What the agent takes from the control plane besides permits, and when it stops to believe it.

use crate::control_plane::{Acknowledgements, ControlPlane, Heard};
use crate::host::Host;
use crate::log::Log;
use crate::stand::{Stand, another_log, id, publisher};
use fettle_agent::effector::store::Store;
use fettle_model::permit::PermitRejection;
use fettle_model::record::Body;
use std::time::Duration;

#[tokio::test]
async fn a_package_with_other_bytes_is_never_run_and_is_fetched_again() {
    let mut stand = Stand::new().await;
    let (digest, sound) = (stand.package.digest(), stand.package.bytes().to_vec());
    let mut other = sound.clone();
    *other.last_mut().expect("it has bytes") ^= 1;
    stand.control_plane.shared().packages.insert(digest, other);
    stand.configure().await;
    stand.host.break_it();
    let fetched = |heard: &Heard| match heard {
        Heard::Fetched => Some(()),
        Heard::Recorded(record) => {
            if let Body::PermitRequested(request) = &record.body {
                unreachable!("a permit was asked for: {request:?}");
            }
            None
        }
        Heard::Connected { .. } | Heard::Rotated { .. } => None,
    };
    stand.heard(fetched).await;
    stand.control_plane.shared().packages.insert(digest, sound);
    // The control: with the right bytes it is compiled and asked for.
    assert_eq!(stand.request().await.playbook, Some(digest));
}

#[tokio::test]
async fn a_log_that_forks_ends_acting_and_is_recorded() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    let request = stand.request().await;
    let permit = stand.permit(&request);
    let granted = stand.control_plane.shared().log.say(Body::PermitGranted(Box::new(permit)));
    let given = stand.show_another_log();
    let seen = stand.recorded(|body| if let Body::ForkSeen(seen) = body { Some((**seen).clone()) } else { None }).await;
    assert_eq!(seen.given, given);
    assert!(!seen.held.is_empty(), "the head that it holds is the other half of the evidence");
    stand.control_plane.publish(&granted).await;
    let because = stand
        .recorded(|body| if let Body::PermitRejected(rejected) = body { Some(rejected.because.clone()) } else { None })
        .await;
    assert_eq!(because, PermitRejection::LogForked);
}

/// Waits until the agent says that the log forked; the head that it was shown. It must not act before.
async fn fork_seen(stand: &mut Stand) -> String {
    stand
        .recorded(|body| {
            assert!(!matches!(body, Body::RunEnded(_)), "it acted: {body:?}");
            if let Body::ForkSeen(seen) = body { Some(seen.given.clone()) } else { None }
        })
        .await
}

#[tokio::test]
async fn a_permit_from_a_log_that_contradicts_the_held_head_is_a_fork() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    let request = stand.request().await;
    let held = stand.head_held().await;
    let permit = stand.permit(&request);
    let granted = another_log(held.0 - 1).say(Body::PermitGranted(Box::new(permit)));
    stand.control_plane.publish(&granted).await;
    assert_eq!(fork_seen(&mut stand).await, granted.checkpoint);
}

#[tokio::test]
async fn an_acknowledgement_from_a_log_that_contradicts_the_held_head_is_a_fork() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    stand.request().await;
    let held = stand.head_held().await;
    let other = another_log(held.0 - 1);
    stand.control_plane.shared().acknowledgements = Acknowledgements::Forked(Box::new(other));
    // The agent answers it with a record, which is the last of the other log.
    stand.control_plane.publish_bytes(b"nonsense".to_vec()).await;
    let given = fork_seen(&mut stand).await;
    assert_eq!(given.lines().nth(1), Some(held.to_string().as_str()), "{given}");
}

#[tokio::test]
async fn a_session_that_ends_is_begun_again_with_what_the_agent_holds() {
    let mut stand = Stand::configured().await;
    stand.host.break_it();
    let request = stand.request().await;
    stand.control_plane.hang_up();
    let hello = stand
        .heard(|heard| match heard {
            Heard::Connected { hello, .. } => Some(hello.clone()),
            Heard::Recorded(_) | Heard::Fetched | Heard::Rotated { .. } => None,
        })
        .await;
    assert_eq!(hello.configuration, 1);
    assert_eq!(hello.unanswered, [request.request.to_string()]);
}

#[tokio::test]
async fn an_agent_whose_owner_pins_other_keys_than_enrolment_did_does_not_start() {
    let host = id(1);
    let day = Duration::from_secs(24 * 60 * 60);
    let control_plane = ControlPlane::start(host, day).await;
    let other = Log::new(50).permit_key();
    let publisher = publisher().public();
    let pin = |_: &mut Store, more: &mut String| more.push_str(&format!("permit-key = \"{other}\"\n"));
    let mut agent = Host::start_prepared(&control_plane, host, &publisher, day, pin);
    assert_eq!(agent.ended().await.code(), Some(1));
}
