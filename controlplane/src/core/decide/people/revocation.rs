//! Whether a person, or one role of theirs, may be taken away, and the record of it. Called for
//! [`super::PersonRequest::RevokePerson`] and [`super::PersonRequest::RevokeRole`].
//!
//! Never leaves an installation without an administrator: nobody could give a role again, at the console neither.

use super::{PersonRefusal, sound};
use crate::core::state::State;
use fettle_model::identity::{HeldRole, Role};
use fettle_model::name::PersonName;
use fettle_model::record::{Body, PersonRevoked, RoleRevoked};

/// The bodies to append; none when the person is revoked already.
pub(super) fn decide(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    if !state.has_means(person) {
        let known = state.people.was_revoked(person);
        return if known { Ok(Vec::new()) } else { Err(PersonRefusal::UnknownPerson(person.clone())) };
    }
    if state.people.have_role(Role::Administrator).eq([person]) {
        return Err(PersonRefusal::LastAdministrator(person.clone()));
    }
    let revoked = PersonRevoked { person: person.clone(), by: by.clone(), why };
    Ok(vec![Body::PersonRevoked(Box::new(revoked))])
}

/// The body to append. A role that is not held is a refusal: whoever mistypes it would believe that it is gone.
pub(super) fn end_role(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    held: &HeldRole,
    why: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    let why = sound(why)?;
    if !state.roles(person).contains(held) {
        return Err(PersonRefusal::RoleNotHeld { person: person.clone(), role: held.clone() });
    }
    if *held == HeldRole::from(Role::Administrator) && state.people.have_role(Role::Administrator).eq([person]) {
        return Err(PersonRefusal::LastAdministrator(person.clone()));
    }
    let HeldRole { role, team } = held.clone();
    let revoked = RoleRevoked { person: person.clone(), role, team, by: by.clone(), why };
    Ok(vec![Body::RoleRevoked(Box::new(revoked))])
}
