//! What has to be done from time to time: the own certificate renewed, old tokens forgotten, certificates of
//! the console brought into the log.
//!
//! The control plane holds the authority, so it certifies itself: at half of a certificate's life it makes
//! the next, and every connection from then on is shown that one.

use super::ServeError;
use super::listening::tell_manager;
use crate::console;
use crate::gateway::Shared;
use crate::init::own_identity;
use crate::mint;
use crate::state_dir::StateDir;
use fettle_certs::authority::Authority;
use fettle_certs::identity::Identity;
use fettle_certs::rotation::{Rotation, rotation};
use fettle_certs::store::IdentityStore;
use fettle_certs::tls::{DefaultTimeProvider, TlsSetupProblem, enrolment_server_config, server_config};
use fettle_model::time::UnixMillis;
use rustls::ServerConfig;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked what is due: a certificate lives for a day, a token for minutes.
const LOOK: Duration = Duration::from_secs(60);
/// The service manager hears so many times within the time after which it takes silence for death: one answer of
/// the leader that was late is in time for the next.
const TIMES: u32 = 3;

/// Tells the service manager that the leader answers, while it does; ends with `stop` or the leader. Without a
/// watchdog there is nothing to tell.
pub(super) async fn be_watched(shared: Shared) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut turns = tokio::time::interval(within / TIMES);
    loop {
        // Cancel safe: a token and an interval.
        tokio::select! {
            () = shared.stop.cancelled() => return,
            _ = turns.tick() => {}
        }
        if shared.leader.inspect(|_| ()).await.is_err() {
            return;
        }
        tell_manager(NotifyState::Watchdog);
    }
}

/// The own identity and the TLS configurations that show it.
pub(super) struct Certificates {
    authority: Arc<Authority>,
    state: StateDir,
    store: IdentityStore,
    identity: Identity,
    spread: u32,
    mutual: watch::Sender<Arc<ServerConfig>>,
    enrolment: watch::Sender<Arc<ServerConfig>>,
}

impl Certificates {
    /// Loads the own identity, renewed when it is due: the control plane may have been down for days.
    pub(super) fn open(state: &StateDir, authority: Arc<Authority>, now: UnixMillis) -> Result<Self, ServeError> {
        let store = state.identity();
        let spread = mint::spread();
        let identity = match store.load().map_err(ServeError::Store)? {
            Some(identity) if !is_due(&identity, spread, now) => identity,
            Some(_) | None => own_identity(&authority, &store, now).map_err(ServeError::Identity)?,
        };
        let (mutual, enrolment) = configurations(&identity).map_err(ServeError::Tls)?;
        let (mutual, enrolment) = (watch::Sender::new(mutual), watch::Sender::new(enrolment));
        Ok(Self { authority, state: state.clone(), store, identity, spread, mutual, enrolment })
    }

    /// For the ports of those with an identity.
    pub(super) fn mutual(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.mutual.subscribe()
    }

    /// For the enrolment port.
    pub(super) fn enrolment(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.enrolment.subscribe()
    }

    /// Looks from time to time, until the server stops.
    pub(super) async fn keep(mut self, shared: Shared) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            // Cancel safe: a token and a tick.
            tokio::select! {
                () = shared.stop.cancelled() => return,
                _ = look.tick() => {}
            }
            let now = shared.wall();
            if is_due(&self.identity, self.spread, now) {
                self.renew(now);
            }
            if let Err(error) = console::bring_in(&self.state, &shared.leader).await {
                tracing::error!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "a console's note is not in the log"
                );
            }
            if let Err(error) = shared.vault.forget_old(now).await {
                tracing::error!(
                    error = format!("{:#}", anyhow::Error::from(error)),
                    "old tokens could not be forgotten"
                );
            }
        }
    }

    fn renew(&mut self, now: UnixMillis) {
        let renewed = own_identity(&self.authority, &self.store, now).map_err(anyhow::Error::from);
        let renewed = renewed.and_then(|identity| Ok((configurations(&identity)?, identity)));
        match renewed {
            Ok(((mutual, enrolment), identity)) => {
                tracing::info!(serial = %identity.holder().serial, "the own certificate was renewed");
                self.mutual.send_replace(mutual);
                self.enrolment.send_replace(enrolment);
                (self.identity, self.spread) = (identity, mint::spread());
            }
            // The one in use is good for half a day yet, and the next look is in a minute.
            Err(error) => tracing::error!(error = format!("{error:#}"), "the own certificate could not be renewed"),
        }
    }
}

fn is_due(identity: &Identity, spread: u32, now: UnixMillis) -> bool {
    match rotation(&identity.holder().validity, spread, now) {
        Rotation::Wait { .. } => false,
        Rotation::Due | Rotation::Expired { .. } => true,
    }
}

fn configurations(identity: &Identity) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>), TlsSetupProblem> {
    let clock = || Arc::new(DefaultTimeProvider);
    Ok((server_config(identity, clock())?, enrolment_server_config(identity, clock())?))
}
