//! A configuration that the control plane set: taken as a whole, or rejected as a whole.
//!
//! What this host holds is in its state file and stays in force across restarts and without a control plane, until one
//! that it can hold replaces it. Called for what was published; never judges whether a configuration is wise.

use super::serve::{Effector, EffectorError};
use super::store::Value;
use crate::check::{Reason, resolve_check};
use fettle_model::check::{Check, CheckRef, Probe};
use fettle_model::configuration::Configuration;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::record::Body;
use fettle_model::rollout::{ConfigurationFault, ConfigurationFaults, ConfigurationRejected};
use fettle_model::service::Service;

/// Most checks that one host runs: what the control plane keeps of a host. At one a second each they are 1 000 probes a
/// second, which is more than a host is for.
const MAX_CHECKS: usize = 1_000;

impl Effector {
    /// Takes a newer configuration in, or says why not.
    pub(super) async fn configured(&mut self, configuration: Configuration) -> Result<(), EffectorError> {
        let generation = configuration.generation();
        if generation <= self.configuration.generation() {
            return Ok(());
        }
        if let Ok(because) = ConfigurationFaults::first_of(self.faults_of(&configuration)) {
            return self.reject_configuration(generation, because).await;
        }
        super::course::hold_point_of(generation);
        self.keep(Value::Configuration, &configuration)?;
        tracing::info!(generation = generation.0, "a new configuration is in force");
        self.configuration = configuration;
        self.tell_verified().await;
        self.reconsider();
        self.assign();
        // The run in progress needs its playbook to its end, and after a crash too.
        let in_use = self.active.as_ref().and_then(|active| active.permit.playbook.as_ref());
        let wanted = self.assigned.iter().copied().chain(in_use.map(|playbook| playbook.digest)).collect();
        self.library.keep_only(&wanted, &self.store)?;
        self.tell_checks().await?;
        self.describe().await?;
        self.supply().await?;
        self.take_up().await
    }

    /// A configuration that this agent cannot read: it has something that the agent does not know.
    pub(super) async fn unreadable_configuration(
        &mut self,
        generation: ConfigurationGeneration,
        why: &str,
    ) -> Result<(), EffectorError> {
        if generation <= self.configuration.generation() {
            return Ok(());
        }
        let fault = ConfigurationFault::Unreadable { why: Reason::new(why).into_string() };
        match ConfigurationFaults::first_of(vec![fault]) {
            Ok(because) => self.reject_configuration(generation, because).await,
            Err(_none) => Ok(()),
        }
    }

    /// What this host cannot hold of it.
    fn faults_of(&self, configuration: &Configuration) -> Vec<ConfigurationFault> {
        let host = &self.capabilities.config().host;
        let carried = configuration.services().iter().filter(|service| {
            self.capabilities.config().services.contains_key(&service.name)
                && service.hosts.selects(&host.name, &host.environment)
        });
        let carried: Vec<&Service> = carried.collect();
        let checks: usize = carried.iter().map(|service| service.checks.len()).sum();
        if checks > MAX_CHECKS {
            let why = format!("it has {checks} checks for this host, more than the {MAX_CHECKS} that one host runs");
            return vec![ConfigurationFault::Unreadable { why }];
        }
        carried
            .iter()
            .flat_map(|service| service.checks.iter().map(|check| (*service, check)))
            .filter_map(|(service, check)| {
                let why = self.fault_of(service, check)?;
                let check = CheckRef { service: service.name.clone(), check: check.name.clone() };
                Some(ConfigurationFault::Check { check, why: Reason::new(&why).into_string() })
            })
            .collect()
    }

    fn fault_of(&self, service: &Service, check: &Check) -> Option<String> {
        let config = self.capabilities.config();
        let settings = config.services.get(&service.name)?;
        if let Probe::Command { command } = &check.probe
            && !config.commands.contains_key(command)
        {
            return Some(format!(
                "no command is registered as {command}: add it to [commands] in the agent's configuration"
            ));
        }
        let error = resolve_check(&service.name, check, &settings.host_values).err()?;
        Some(format!("{:#}", anyhow::Error::from(error)))
    }

    /// Says so once: the control plane sends it again with every session.
    async fn reject_configuration(
        &mut self,
        generation: ConfigurationGeneration,
        because: ConfigurationFaults,
    ) -> Result<(), EffectorError> {
        let keeps = self.configuration.generation();
        let rejected = ConfigurationRejected { generation, keeps, because };
        let document = serde_json::to_string(&rejected).map_err(EffectorError::Json)?;
        if self.store.value(Value::Rejected)?.as_deref() == Some(&document) {
            return Ok(());
        }
        tracing::error!(generation = generation.0, keeps = keeps.0, "a configuration is rejected: {document}");
        let body = Body::ConfigurationRejected(Box::new(rejected));
        self.record(body, |store, sealed| store.append_with_value(sealed.as_new(), Value::Rejected, &document)).await
    }
}
