//! Whether a host's state may be set. Called for [`super::PersonRequest::SetHostState`].

use super::{PersonRefusal, sound, unless};
use crate::core::state::State;
use fettle_model::host::HostState;
use fettle_model::id::HostId;
use fettle_model::name::PersonName;
use fettle_model::record::{Body, HostStateSet};

pub(super) fn set_state(
    state: &State,
    by: &PersonName,
    host: HostId,
    wanted: HostState,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    let known = state.host(host).ok_or(PersonRefusal::UnknownHost(host))?;
    match (known.state, wanted) {
        (HostState::Revoked, HostState::Active | HostState::Quarantined) => Err(PersonRefusal::Revoked(host)),
        (HostState::Revoked, HostState::Revoked)
        | (
            HostState::Active | HostState::Quarantined,
            HostState::Active | HostState::Quarantined | HostState::Revoked,
        ) => {
            let set = HostStateSet { host, state: wanted, by: Some(by.clone()), why };
            Ok(unless(known.state == wanted, Body::HostStateSet(Box::new(set))))
        }
    }
}
