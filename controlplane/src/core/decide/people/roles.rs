//! Roles and the certificates that come with them. Called for what an administrator gives, and for renewals.

use super::{PersonRefusal, keys, unless};
use crate::core::decide::enrolment::NewCertificate;
use crate::core::state::State;
use fettle_model::identity::{HeldRole, Principal, Reach, SpiffeId};
use fettle_model::name::PersonName;
use fettle_model::person_key::SigningKeyProof;
use fettle_model::record::{Body, CertificateIssued, RoleGranted};

pub(super) fn grant(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    role: &HeldRole,
) -> Result<Vec<Body>, PersonRefusal> {
    let known = state.roles(person).contains(role);
    Ok(unless(known, granted(by, person, role)?))
}

pub(super) fn add(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    role: &HeldRole,
    certificate: &NewCertificate,
    signing_key: &SigningKeyProof,
) -> Result<Vec<Body>, PersonRefusal> {
    // Said again for somebody who has the role: it names who let this key speak for them.
    let granted = granted(by, person, role)?;
    let key = keys::set(state, by, person, signing_key)?;
    Ok([granted, key].into_iter().chain(certified(state, person, certificate)).collect())
}

pub(super) fn granted(by: &PersonName, person: &PersonName, held: &HeldRole) -> Result<Body, PersonRefusal> {
    match (held.role.reach(), &held.team) {
        (Reach::Installation, Some(_)) => Err(PersonRefusal::RoleHasNoTeam(held.role)),
        (Reach::Installation, None) | (Reach::Team, None | Some(_)) => {
            let HeldRole { role, team } = held.clone();
            let granted = RoleGranted { person: person.clone(), role, team, by: Some(by.clone()) };
            Ok(Body::RoleGranted(Box::new(granted)))
        }
    }
}

pub(super) fn renew(
    state: &State,
    by: &PersonName,
    shown: &str,
    certificate: &NewCertificate,
) -> Result<Vec<Body>, PersonRefusal> {
    if state.is_withdrawn(by, shown) {
        return Err(PersonRefusal::CertificateWithdrawn(by.clone()));
    }
    // Or whoever the provider no longer knows would stay in by renewing.
    if state.identities.came_from_login(shown) {
        return Err(PersonRefusal::LogInAgain(by.clone()));
    }
    Ok(certified(state, by, certificate).into_iter().collect())
}

/// The record of a person's next certificate; `None` before the log is open, when nobody has a role.
pub(in crate::core::decide) fn certified(
    state: &State,
    person: &PersonName,
    certificate: &NewCertificate,
) -> Option<Body> {
    let subject =
        SpiffeId { trust_domain: state.log()?.trust_domain.clone(), principal: Principal::Person(person.clone()) };
    Some(Body::CertificateIssued(Box::new(CertificateIssued {
        subject,
        serial: certificate.serial.clone(),
        generation: state.people.certificate(person).next(),
        not_after: certificate.not_after,
        token: None,
    })))
}
