//! Telling where the control plane listens: a file, the service manager, the first operator's profile.

use crate::config::Config;
use crate::gateway::Addresses;
use crate::init::{InitError, write_profile};
use crate::state_dir::StateDir;
use fettle_certs::store::{StoreProblem, write_private};
use sd_notify::NotifyState;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The addresses that are bound; `listening.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// For agents with an identity.
    pub agents: SocketAddr,
    /// For agents that have none yet.
    pub enrol: SocketAddr,
    /// For people.
    pub operators: SocketAddr,
}

/// Why it could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ListeningError {
    /// A bound port has no address.
    #[error("a bound port has no address")]
    Address(#[source] std::io::Error),
    /// The file could not be written as JSON.
    #[error("listening.json could not be written")]
    Json(#[source] serde_json::Error),
    /// The file could not be written.
    #[error("listening.json could not be written")]
    Write(#[source] StoreProblem),
    /// The file could not be removed.
    #[error("listening.json could not be removed")]
    Remove(#[source] std::io::Error),
    /// The profile could not be written.
    #[error("the first operator's profile could not be written")]
    Profile(#[source] InitError),
}

impl Listening {
    /// What others are told: what the configuration says, or what is bound.
    pub(super) fn advertised(&self, config: &Config) -> Addresses {
        let told = |wanted: &Option<crate::config::HostPort>, bound: SocketAddr| {
            wanted.as_ref().map_or_else(|| bound.to_string(), ToString::to_string)
        };
        Addresses {
            agents: told(&config.advertise.agents, self.agents),
            enrol: told(&config.advertise.enrol, self.enrol),
            operators: told(&config.advertise.operators, self.operators),
        }
    }

    /// Tells everybody who waits for it.
    pub(super) fn tell(&self, state: &StateDir, config: &Config, addresses: &Addresses) -> Result<(), ListeningError> {
        // With port 0 the address is new at every start, and the profile would name none.
        if config.listen.operators.port() == 0 && state.operator().is_dir() {
            write_profile(&state.operator(), &addresses.operators).map_err(ListeningError::Profile)?;
        }
        let text = serde_json::to_vec(self).map_err(ListeningError::Json)?;
        write_private(&state.listening(), &text).map_err(ListeningError::Write)?;
        tracing::info!(agents = %self.agents, enrol = %self.enrol, operators = %self.operators, "the control plane serves");
        tell_manager(NotifyState::Ready);
        Ok(())
    }
}

/// Removes the file: nothing listens.
pub(super) fn forget(state: &StateDir) -> Result<(), ListeningError> {
    match std::fs::remove_file(state.listening()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ListeningError::Remove(error)),
    }
}

/// Where people find the operators' API of a control plane that may be running: what is advertised, what is
/// bound, or what will be.
#[must_use]
pub fn operators_address(state: &StateDir) -> String {
    let config = Config::read(&state.config()).ok();
    let advertised = config.as_ref().and_then(|config| config.advertise.operators.as_ref()).map(ToString::to_string);
    let bound = || -> Option<String> {
        let text = std::fs::read(state.listening()).ok()?;
        serde_json::from_slice::<Listening>(&text).ok().map(|listening| listening.operators.to_string())
    };
    let configured = || config.as_ref().map(|config| config.listen.operators.to_string());
    advertised.or_else(bound).or_else(configured).unwrap_or_else(|| "127.0.0.1:7445".to_owned())
}

/// Says something to the service manager (`sd_notify`), if there is one.
pub(super) fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
