//! Records on their way: signed, kept, then sent in order, a window at a time, until the control plane has
//! proven that they are in the log.

use super::admission::LogView;
use super::course::hold_point;
use super::recorder::Sealed;
use super::serve::{Effector, EffectorError, LinkState};
use super::store::{Store, StoreError};
use crate::ipc::daemon::ToDaemon;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_model::counter::AgentSequence;
use fettle_model::record::Body;
use fettle_model::run::StepIntended;
use fettle_proto::session::MAX_UNACKNOWLEDGED;
use fettle_sandbox::machine::Event;
use std::collections::BTreeSet;

/// Records that are sent and not acknowledged: as many as the control plane can acknowledge again. It is less
/// than the daemon's queues hold, so that neither process waits for the other, and more than one run writes.
const WINDOW: u64 = MAX_UNACKNOWLEDGED as u64;

/// How far the sending of one session is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// What the control plane had when the session began.
    durable: AgentSequence,
    sent: AgentSequence,
    acknowledged: AgentSequence,
    /// Ends of runs and announced steps that the control plane has and this agent has no proof of: their acknowledgements were lost.
    /// The window begins at the oldest of them. Otherwise it could be lost again and again until the control
    /// plane has forgotten where the record is.
    again: BTreeSet<AgentSequence>,
}

impl Window {
    /// A session begins: the control plane has everything up to `durable`.
    pub(super) fn begin(&mut self, durable: AgentSequence, again: BTreeSet<AgentSequence>) {
        *self = Self { durable, sent: durable, acknowledged: durable, again };
    }

    /// The next record that may be sent; `None` while the window is full.
    pub(super) fn next(&self) -> Option<AgentSequence> {
        (self.room() > 0).then(|| self.sent.next())
    }

    const fn sent(&mut self, sequence: AgentSequence) {
        self.sent = sequence;
    }

    /// Acknowledgements come in the order of sending, so what is older than one that was sent later gets none.
    fn acknowledged(&mut self, sequence: AgentSequence) {
        self.acknowledged = self.acknowledged.max(sequence).min(self.sent);
        if sequence > self.durable {
            self.again.clear();
        } else {
            self.again.remove(&sequence);
        }
    }

    fn room(&self) -> u64 {
        let proven = self.again.first().map_or(self.acknowledged.0, |oldest| oldest.0.saturating_sub(1));
        WINDOW.saturating_sub(self.sent.0.saturating_sub(proven))
    }
}

/// The record of a step that waits for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    sequence: AgentSequence,
    number: u32,
}

/// A record that is not yet durable; it must be given to [`Effector::send_ahead`].
#[must_use]
#[derive(Debug)]
pub(super) struct Ahead(AgentSequence);

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
        if self.link == LinkState::Up && self.window.next() == Some(sealed.sequence) {
            self.window.sent(sealed.sequence);
            self.send(sealed.sequence, sealed.signed.envelope().as_bytes()).await;
            return Ok(());
        }
        // One that was recorded ahead of it goes first.
        self.send_more().await
    }

    /// Records what a run is about to do and cannot take back, and remembers which record the run waits for. Once the
    /// control plane has it, it is sent again until it is proven, as the end of a run is.
    pub(super) async fn publish(&mut self, intent: StepIntended) -> Result<(), EffectorError> {
        let (run, number) = (intent.run, intent.number);
        self.record(Body::StepIntended(Box::new(intent)), |store, sealed| {
            store.append_until_proven(sealed.as_new())?;
            hold_point();
            Ok(())
        })
        .await?;
        let sequence = self.recorder.sequence();
        if let Some(active) = self.active.as_mut().filter(|active| active.permit.run == run) {
            active.announced = Some(Announced { sequence, number });
            tracing::info!(%run, number, "a step waits until the log holds its intent");
        }
        Ok(())
    }

    /// The log is proven to hold this record: a run that waits for it goes on.
    pub(super) async fn proven(&mut self, sequence: AgentSequence) -> Result<(), EffectorError> {
        // Whoever has seen two logs believes neither.
        let Some(active) = self.active.as_mut().filter(|_| self.log == LogView::Consistent) else { return Ok(()) };
        match active.announced.take_if(|announced| announced.sequence == sequence) {
            Some(Announced { number, .. }) => self.drive(Event::Published { number }).await,
            None => Ok(()),
        }
    }

    /// Signs a record that another one is likely to follow at once: both then cost one fsync, and go out
    /// together. Nothing is sent before [`Self::send_ahead`], or before the other record: a power cut would
    /// take the record from this host, which would then write another one in its place.
    pub(super) fn record_ahead(
        &mut self,
        body: Body,
        keep: impl FnOnce(&mut Store, &Sealed) -> Result<(), StoreError>,
    ) -> Result<Ahead, EffectorError> {
        let at = self.clocks.now().wall;
        let store = &mut self.store;
        let sealed = self
            .recorder
            .append(at, body, |sealed| store.ahead(|store| keep(store, sealed)))
            .map_err(EffectorError::Record)?;
        Ok(Ahead(sealed.sequence))
    }

    /// Makes a record durable and sends it, where the one that was to follow did not come.
    pub(super) async fn send_ahead(&mut self, ahead: Ahead) -> Result<(), EffectorError> {
        if self.recorder.sequence() == ahead.0 {
            self.store.sync()?;
        }
        self.send_more().await
    }

    /// A session stands: sends the ends of runs and the announced steps whose proof was lost, then on after what the control plane has.
    pub(super) async fn send_from(&mut self, durable: AgentSequence) -> Result<(), EffectorError> {
        let first = self.store.outbox_after(durable, 1)?.first().map(|(sequence, _)| *sequence);
        if first.is_some_and(|first| first != durable.next()) {
            tracing::error!(
                wanted = durable.next().0,
                "the control plane lost records that it had acknowledged: was it restored from an old copy?"
            );
        }
        let remembered = AgentSequence(durable.0.saturating_sub(WINDOW));
        let again = self.store.unproven_between(remembered, durable)?;
        self.window.begin(durable, again.iter().map(|(sequence, _)| *sequence).collect());
        for (sequence, envelope) in again {
            self.send(sequence, &envelope).await;
        }
        self.send_more().await
    }

    /// A record was acknowledged: sends what fits into the window.
    pub(super) async fn send_on(&mut self, acknowledged: AgentSequence) -> Result<(), EffectorError> {
        self.window.acknowledged(acknowledged);
        self.send_more().await
    }

    async fn send_more(&mut self) -> Result<(), EffectorError> {
        let room = u32::try_from(self.window.room()).unwrap_or(0);
        if self.link == LinkState::Down || room == 0 || self.window.sent >= self.recorder.sequence() {
            return Ok(());
        }
        for (sequence, envelope) in self.store.outbox_after(self.window.sent, room)? {
            self.window.sent(sequence);
            self.send(sequence, &envelope).await;
        }
        Ok(())
    }

    async fn send(&mut self, sequence: AgentSequence, envelope: &[u8]) {
        self.tell_daemon(&ToDaemon::Send { sequence, envelope: STANDARD.encode(envelope) }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(durable: u64, again: impl IntoIterator<Item = u64>) -> Window {
        let mut window = Window::default();
        window.begin(AgentSequence(durable), again.into_iter().map(AgentSequence).collect());
        window
    }

    fn filled(mut window: Window) -> Window {
        while let Some(next) = window.next() {
            window.sent(next);
        }
        window
    }

    #[test]
    fn no_more_is_sent_than_can_be_acknowledged_again() {
        let mut window = filled(begun(10, []));
        assert_eq!(window.sent, AgentSequence(10 + WINDOW));
        window.acknowledged(AgentSequence(12));
        assert_eq!(filled(window).sent, AgentSequence(12 + WINDOW));
    }

    #[test]
    fn the_window_begins_at_the_oldest_end_of_a_run_that_is_sent_again() {
        let mut window = filled(begun(100, [70, 90]));
        assert_eq!(window.sent, AgentSequence(69 + WINDOW), "the oldest is the first of the window");
        // What the control plane says at the beginning is no answer to what is sent again.
        window.acknowledged(AgentSequence(100));
        assert_eq!(window.next(), None);
        window.acknowledged(AgentSequence(70));
        let mut window = filled(window);
        assert_eq!(window.sent, AgentSequence(89 + WINDOW));
        window.acknowledged(AgentSequence(90));
        assert_eq!(filled(window).sent, AgentSequence(100 + WINDOW));
    }

    #[test]
    fn an_answer_that_never_comes_does_not_hold_up_what_follows() {
        let mut window = filled(begun(100, [90]));
        window.acknowledged(AgentSequence(101));
        assert_eq!(filled(window).sent, AgentSequence(101 + WINDOW));
    }
}
