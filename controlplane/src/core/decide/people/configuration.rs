//! Whether a configuration may be set. Called for [`super::PersonRequest::SetConfiguration`], and where one is simulated.

use super::PersonRefusal;
use crate::core::decide::rollouts;
use crate::core::state::State;
use fettle_model::configuration::{Configuration, Declared};
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::name::PersonName;
use fettle_model::record::{Body, ConfigurationSet};
use fettle_model::remediation::Remediation;

pub(super) fn set(
    state: &State,
    by: &PersonName,
    declared: &Declared,
    seen: ConfigurationGeneration,
) -> Result<Vec<Body>, PersonRefusal> {
    let current = state.configuration();
    if current.generation() != seen {
        return Err(PersonRefusal::ConfigurationChanged { seen, current: current.generation() });
    }
    if state.configured().is_some() && current.declares(declared) {
        return Ok(Vec::new());
    }
    let configuration = sound(state, declared, current.generation().next())?;
    let reach = rollouts::reach(state, &configuration);
    Ok(vec![Body::ConfigurationSet(Box::new(ConfigurationSet { configuration, by: by.clone(), reach }))])
}

/// What is declared, as a configuration: its playbooks are admitted, and take their parameters.
pub(in crate::core) fn sound(
    state: &State,
    declared: &Declared,
    generation: ConfigurationGeneration,
) -> Result<Configuration, PersonRefusal> {
    for (_, remediation) in declared.remediations.iter().flat_map(Remediation::rungs) {
        let admitted =
            state.playbooks.version(&remediation.playbook).ok_or_else(|| PersonRefusal::PlaybookNotAdmitted {
                remediation: remediation.name.clone(),
                version: remediation.playbook.clone(),
            })?;
        if !admitted.accepts(&remediation.parameters) {
            return Err(PersonRefusal::Parameters { remediation: remediation.name.clone() });
        }
    }
    Configuration::new(generation, declared.clone()).map_err(PersonRefusal::Configuration)
}
