//! Whether a configuration may be set. Called for [`super::PersonRequest::SetConfiguration`].

use super::PersonRefusal;
use crate::core::state::State;
use fettle_model::configuration::Configuration;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::name::PersonName;
use fettle_model::record::{Body, ConfigurationSet};
use fettle_model::remediation::Remediation;
use fettle_model::service::Service;

pub(super) fn set(
    state: &State,
    by: &PersonName,
    services: &[Service],
    remediations: &[Remediation],
    seen: ConfigurationGeneration,
) -> Result<Vec<Body>, PersonRefusal> {
    let current = state.configuration();
    if current.generation() != seen {
        return Err(PersonRefusal::ConfigurationChanged { seen, current: current.generation() });
    }
    if state.configured().is_some() && current.services() == services && current.remediations() == remediations {
        return Ok(Vec::new());
    }
    for remediation in remediations {
        let admitted =
            state.playbooks.version(&remediation.playbook).ok_or_else(|| PersonRefusal::PlaybookNotAdmitted {
                remediation: remediation.name.clone(),
                version: remediation.playbook.clone(),
            })?;
        if !admitted.accepts(&remediation.parameters) {
            return Err(PersonRefusal::Parameters { remediation: remediation.name.clone() });
        }
    }
    let configuration = Configuration::new(current.generation().next(), services.to_vec(), remediations.to_vec())
        .map_err(PersonRefusal::Configuration)?;
    Ok(vec![Body::ConfigurationSet(Box::new(ConfigurationSet { configuration, by: by.clone() }))])
}
