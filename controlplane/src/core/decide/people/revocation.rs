//! Whether a person may be revoked, and the record of it. Called for [`super::PersonRequest::RevokePerson`].
//!
//! Never leaves an installation without an administrator: nobody could give a role again, at the console neither.

use super::{PersonRefusal, sound};
use crate::core::state::State;
use fettle_model::identity::Role;
use fettle_model::name::PersonName;
use fettle_model::record::{Body, PersonRevoked};

/// The bodies to append; none when the person is revoked already.
pub(super) fn decide(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    if state.roles(person).is_empty() {
        let known = state.people.was_revoked(person);
        return if known { Ok(Vec::new()) } else { Err(PersonRefusal::UnknownPerson(person.clone())) };
    }
    if state.people.have_role(Role::Administrator).eq([person]) {
        return Err(PersonRefusal::LastAdministrator(person.clone()));
    }
    let revoked = PersonRevoked { person: person.clone(), by: by.clone(), why };
    Ok(vec![Body::PersonRevoked(Box::new(revoked))])
}
