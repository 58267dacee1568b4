//! Whether a person may let a rollout go on, or take it back. Called for [`super::PersonRequest::OrderRollout`].

use super::{PersonRefusal, sound};
use crate::core::rollout::RolloutStanding;
use crate::core::state::State;
use fettle_model::configuration::Configuration;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::name::PersonName;
use fettle_model::record::{Body, ConfigurationSet};
use fettle_model::rollout::{Reach, RolloutOrder, RolloutOrdered};

pub(super) fn order(
    state: &State,
    by: &PersonName,
    order: RolloutOrder,
    seen: ConfigurationGeneration,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    let current = state.configuration().generation();
    if current != seen {
        return Err(PersonRefusal::ConfigurationChanged { seen, current });
    }
    let rollout = state.rollout().ok_or(PersonRefusal::NoRollout)?;
    let ordered = RolloutOrdered { generation: current, order, by: by.clone(), why };
    let ordered = Body::RolloutOrdered(Box::new(ordered));
    match (order, &rollout.standing) {
        (RolloutOrder::Resume, RolloutStanding::Running) => Err(PersonRefusal::RolloutRuns),
        (RolloutOrder::Resume, RolloutStanding::Halted { .. }) => Ok(vec![ordered]),
        (RolloutOrder::Abort, RolloutStanding::Running | RolloutStanding::Halted { .. }) => {
            let declared = rollout.previous().declared();
            let configuration = Configuration::new(current.next(), declared).map_err(PersonRefusal::Configuration)?;
            let set = ConfigurationSet { configuration, by: by.clone(), reach: Reach::Everywhere };
            Ok(vec![ordered, Body::ConfigurationSet(Box::new(set))])
        }
    }
}
