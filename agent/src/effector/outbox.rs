//! Records on their way: signed, kept, then sent in order, a window at a time, until the control plane has
//! proven that they are in the log.

use super::recorder::Sealed;
use super::serve::{Effector, EffectorError, LinkState};
use super::store::{Store, StoreError};
use crate::ipc::daemon::ToDaemon;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_model::counter::AgentSequence;
use fettle_model::record::Body;

/// Records that are sent and not acknowledged: less than the daemon's queues hold, so that neither process
/// waits for the other, and more than one run writes.
const WINDOW: u64 = 64;

impl Effector {
    /// Signs a record, keeps it by `keep`, and sends it when there is somebody to send it to.
    pub(super) async fn record(
        &mut self,
        body: Body,
        keep: impl FnOnce(&mut Store, &Sealed) -> Result<(), StoreError>,
    ) -> Result<(), EffectorError> {
        let at = self.clocks.now().wall;
        let store = &mut self.store;
        let sealed = self.recorder.append(at, body, |sealed| keep(store, sealed)).map_err(EffectorError::Record)?;
        if self.link == LinkState::Up && self.room() > 0 && self.sent.next() == sealed.sequence {
            self.send(sealed.sequence, sealed.signed.envelope().as_bytes()).await;
        }
        Ok(())
    }

    /// A session stands: sends on after what the control plane has.
    pub(super) async fn send_from(&mut self, durable: AgentSequence) -> Result<(), EffectorError> {
        let first = self.store.outbox_after(durable, 1)?.first().map(|(sequence, _)| *sequence);
        if first.is_some_and(|first| first != durable.next()) {
            tracing::error!(
                wanted = durable.next().0,
                "the control plane lost records that it had acknowledged: was it restored from an old copy?"
            );
        }
        self.sent = durable;
        self.acknowledged = durable;
        self.send_more().await
    }

    /// A record was acknowledged: sends what fits into the window now.
    pub(super) async fn send_on(&mut self, acknowledged: AgentSequence) -> Result<(), EffectorError> {
        self.acknowledged = self.acknowledged.max(acknowledged).min(self.sent);
        self.send_more().await
    }

    async fn send_more(&mut self) -> Result<(), EffectorError> {
        let room = u32::try_from(self.room()).unwrap_or(0);
        if self.link == LinkState::Down || room == 0 || self.sent >= self.recorder.sequence() {
            return Ok(());
        }
        for (sequence, envelope) in self.store.outbox_after(self.sent, room)? {
            self.send(sequence, &envelope).await;
        }
        Ok(())
    }

    const fn room(&self) -> u64 {
        WINDOW.saturating_sub(self.sent.0.saturating_sub(self.acknowledged.0))
    }

    async fn send(&mut self, sequence: AgentSequence, envelope: &[u8]) {
        self.sent = sequence;
        self.tell_daemon(&ToDaemon::Send { sequence, envelope: STANDARD.encode(envelope) }).await;
    }
}
