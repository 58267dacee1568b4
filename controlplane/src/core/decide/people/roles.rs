//! Roles and the certificates that come with them. Called for what an administrator gives, and for renewals.

use super::{PersonRefusal, unless};
use crate::core::decide::enrolment::NewCertificate;
use crate::core::state::State;
use fettle_model::identity::{Principal, Role, SpiffeId};
use fettle_model::name::PersonName;
use fettle_model::record::{Body, CertificateIssued, RoleGranted};

pub(super) fn grant(state: &State, by: &PersonName, person: &PersonName, role: Role) -> Vec<Body> {
    let granted = RoleGranted { person: person.clone(), role, by: Some(by.clone()) };
    let known = state.roles(person).contains(&role);
    unless(known, Body::RoleGranted(Box::new(granted)))
}

pub(super) fn add(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    role: Role,
    certificate: &NewCertificate,
) -> Vec<Body> {
    // Said again for somebody who has the role: it names who let this key speak for them.
    let granted = RoleGranted { person: person.clone(), role, by: Some(by.clone()) };
    let granted = Body::RoleGranted(Box::new(granted));
    std::iter::once(granted).chain(certified(state, person, certificate)).collect()
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
