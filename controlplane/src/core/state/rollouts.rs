//! Which configuration stands for which host, and how a rollout changes that: called by [`State`]'s folds.

use super::State;
use crate::core::entry::Stamp;
use crate::core::hosts::Host;
use crate::core::rollout::{Rejection, Rollout};
use fettle_model::check::CheckRef;
use fettle_model::configuration::Configuration;
use fettle_model::id::HostId;
use fettle_model::remediation::Remediation;
use fettle_model::rollout::RolloutAdvanced;
use std::collections::BTreeMap;

impl State {
    /// What a host is judged by: the newest configuration, once it has reached it.
    #[must_use]
    pub fn configuration_of(&self, host: &Host) -> &Configuration {
        self.rollouts.configuration_of(host, &self.configuration)
    }

    /// Where the configuration was set that a host gets.
    #[must_use]
    pub fn configured_for(&self, host: &Host) -> Option<Stamp> {
        self.rollouts.set_for(host, self.configured)
    }

    /// The rollout that is under way.
    #[must_use]
    pub fn rollout(&self) -> Option<&Rollout> {
        self.rollouts.running()
    }

    /// The hosts that cannot hold the newest configuration.
    #[must_use]
    pub fn rejections(&self) -> &BTreeMap<HostId, Rejection> {
        self.rollouts.rejections()
    }

    /// The remediation that answers a check on a host, as it is judged by there.
    pub(in crate::core) fn answer_on(&self, host: HostId, check: &CheckRef) -> Option<&Remediation> {
        self.host(host).map_or(&self.configuration, |host| self.configuration_of(host)).answer_to(check)
    }

    /// Hosts that are reached count in their groups by what they get. Who was sick stays so.
    pub(super) fn advance_rollout(&mut self, advanced: &RolloutAdvanced, stamp: Stamp) {
        let before = self.rollouts.clone();
        self.rollouts.advance(advanced, stamp);
        let was = |host: &Host| before.configuration_of(host, &self.configuration).generation();
        let generation = |configuration: &Configuration| configuration.generation();
        let reached: Vec<HostId> = self
            .hosts
            .values()
            .filter(|host| was(host) != generation(self.rollouts.configuration_of(host, &self.configuration)))
            .map(|host| host.id)
            .collect();
        for id in reached {
            let hands = self.hands(id);
            let Some(host) = self.hosts.get(&id) else { continue };
            self.tallies.leave(host, hands, before.configuration_of(host, &self.configuration));
            self.tallies.join(host, hands, &self.configuration);
            self.examine(id, stamp.at);
        }
    }
}
