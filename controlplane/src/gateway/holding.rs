//! Holding: tells the leader while a configuration is rolled out which one every connected agent holds. The log does not
//! say, and a ring waits for it.

use super::Shared;
use crate::leader::Sensed;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often it is told: as often as the leader looks at what is due, four times a second, is more than a soak needs.
const TELL: Duration = Duration::from_millis(500);

/// Tells until the server stops.
pub(crate) async fn tell(shared: Shared) {
    let mut turns = tokio::time::interval(TELL);
    let mut told = false;
    loop {
        // Cancel safe: a token and an interval.
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = turns.tick() => {}
        }
        let Ok(rolls) = shared.leader.inspect(|view| view.core.state().rollout().is_some()).await else { return };
        if !rolls && !told {
            continue;
        }
        let held = if rolls { shared.switchboard.held() } else { BTreeMap::new() };
        told = rolls;
        if shared.leader.sense(Sensed::Held(Arc::new(held))).await.is_err() {
            return;
        }
    }
}
