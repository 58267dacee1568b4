//! Mutes: which routine incidents people are not called to for a while.
//!
//! Asked by views alone. Nothing that is decided asks here: with and without mutes the same is decided.

use super::entry::Stamp;
use super::state::State;
use fettle_model::breaker::Scope;
use fettle_model::id::MuteId;
use fettle_model::incident::{IncidentOpened, Urgency};
use fettle_model::mute::{MuteLifted, MuteStarted};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// The mutes that were neither lifted nor forgotten; one that is over is forgotten when the next is started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Mutes(BTreeMap<MuteId, MuteStarted>);

impl Mutes {
    pub(in crate::core) fn start(&mut self, started: &MuteStarted, stamp: Stamp) {
        self.0.retain(|_, mute| mute.until > stamp.at);
        self.0.insert(started.mute, started.clone());
    }

    pub(in crate::core) fn lift(&mut self, lifted: &MuteLifted) {
        self.0.remove(&lifted.mute);
    }

    pub(in crate::core) fn in_force(&self, wall: UnixMillis) -> impl Iterator<Item = &MuteStarted> {
        self.0.values().filter(move |mute| mute.until > wall)
    }
}

/// Mutes that are in force.
#[must_use]
pub fn mutes(state: &State, wall: UnixMillis) -> Vec<MuteStarted> {
    state.mutes.in_force(wall).cloned().collect()
}

/// The mute that holds an incident at this time; of several the one that ends last.
#[must_use]
pub fn held_by<'a>(state: &'a State, incident: &IncidentOpened, wall: UnixMillis) -> Option<&'a MuteStarted> {
    match incident.cause.urgency() {
        Urgency::Urgent => None,
        Urgency::Routine => {
            let holding = state.mutes.in_force(wall).filter(|mute| concerns(state, &mute.scope, incident));
            holding.max_by_key(|mute| (mute.until, mute.mute))
        }
    }
}

/// Whether an incident is about something in this scope.
fn concerns(state: &State, scope: &Scope, incident: &IncidentOpened) -> bool {
    match scope {
        Scope::Global => true,
        Scope::Environment(environment) => {
            let host = incident.host.and_then(|host| state.host(host));
            host.is_some_and(|host| &host.environment == environment)
        }
        Scope::Service(service) => incident.check.as_ref().is_some_and(|check| &check.service == service),
        Scope::Playbook(playbook) => {
            let run = incident.cause.run().and_then(|run| state.runs.run(run));
            run.is_some_and(|run| &run.playbook == playbook)
        }
    }
}
