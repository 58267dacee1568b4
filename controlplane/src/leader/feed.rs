//! Every durable batch, told to everybody who listens: the agents' sessions and the operators' views.

use super::Entry;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Batches that a slow listener may be behind before it is cut off and has to begin anew from the
/// journal: at one batch every 2 ms, which is as fast as two fsyncs go, this is two seconds.
pub const FEED_BATCHES: usize = 1_024;

/// What one commit appended.
#[derive(Debug)]
pub struct Batch {
    /// The records in order.
    pub entries: Vec<Arc<Entry>>,
}

/// The feed.
#[derive(Debug, Clone)]
pub struct Feed {
    sender: broadcast::Sender<Arc<Batch>>,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self { sender: broadcast::Sender::new(FEED_BATCHES) }
    }

    /// Listens from the next batch on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Batch>> {
        self.sender.subscribe()
    }

    pub(super) fn tell(&self, batch: Batch) {
        // Nobody may be listening; then there is nobody to miss it.
        drop(self.sender.send(Arc::new(batch)));
    }
}
