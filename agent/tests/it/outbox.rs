//! Records whose acknowledgement does not arrive.

use crate::control_plane::{Acknowledgements, Heard};
use crate::stand::Stand;
use fettle_model::counter::AgentSequence;
use fettle_model::id::RunId;
use fettle_model::record::{Author, Body};

/// Where the end of this run stands in the agent's chain, when the agent sends it.
async fn end_of(stand: &mut Stand, run: RunId) -> AgentSequence {
    let sequence = stand.heard(|heard| match heard {
        Heard::Recorded(record) => match (&record.author, &record.body) {
            (Author::Agent { sequence, .. }, Body::RunEnded(ended)) if ended.run == run => Some(*sequence),
            _ => None,
        },
        Heard::Connected { .. } | Heard::Fetched | Heard::Rotated { .. } => None,
    });
    sequence.await
}

/// Something that the agent answers with a record.
async fn provoke(stand: &mut Stand) {
    stand.control_plane.publish_bytes(b"nonsense".to_vec()).await;
    stand.recorded(|body| matches!(body, Body::PermitRejected(_)).then_some(())).await;
}

#[tokio::test]
async fn the_end_of_a_run_whose_acknowledgement_was_lost_is_sent_again_and_dropped_when_it_is_proven() {
    let mut stand = Stand::configured().await;
    stand.start_drill().await;
    let request = stand.request().await;
    let permit = stand.permit(&request);
    // From here on the control plane appends, and the connection breaks before it can say so.
    stand.control_plane.shared().acknowledgements = Acknowledgements::Lost;
    stand.say(Body::PermitGranted(Box::new(permit))).await;
    let end = end_of(&mut stand, request.run).await;
    provoke(&mut stand).await;
    stand.control_plane.hang_up();
    stand.control_plane.shared().acknowledgements = Acknowledgements::Given;
    assert_eq!(end_of(&mut stand, request.run).await, end, "the very same record comes again");
    // What the agent signs after it has heard the acknowledgements.
    provoke(&mut stand).await;
    provoke(&mut stand).await;
    let store = stand.host.state_after_kill().await;
    let kept = store.outbox_after(AgentSequence(0), 1_000).expect("the outbox");
    let kept: Vec<AgentSequence> = kept.into_iter().map(|(sequence, _)| sequence).collect();
    assert!(!kept.contains(&end) && kept.iter().all(|sequence| *sequence > end), "{kept:?}");
}
