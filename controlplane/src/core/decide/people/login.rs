//! Whose an OpenID identity is, and whether it lets somebody in. Called for
//! [`super::PersonRequest::RegisterPerson`] and [`super::PersonRequest::LogIn`].
//!
//! Makes no account: only whom an administrator registered gets in. The token's signature was verified outside.

use super::PersonRefusal;
use super::request::VerifiedLogin;
use super::roles::{certified, granted};
use crate::core::decide::enrolment::NewCertificate;
use crate::core::identities::KnownIdentity;
use crate::core::now::Now;
use crate::core::state::State;
use fettle_model::identity::HeldRole;
use fettle_model::login::{IdentityRegistered, MAX_CLOCK_LEAD, MAX_TOKEN_AGE, OidcIdentity, PersonLoggedIn};
use fettle_model::name::PersonName;
use fettle_model::record::Body;

pub(super) fn register(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    role: &HeldRole,
    identity: &OidcIdentity,
) -> Result<Vec<Body>, PersonRefusal> {
    // One identity is one person, or two approvals could come from one pair of hands.
    if let Some(KnownIdentity::Good(other)) = state.identities.find(identity)
        && other != person
    {
        return Err(PersonRefusal::IdentityTaken { identity: identity.clone(), person: other.clone() });
    }
    if let Some(other) = state.identities.of(person).filter(|other| *other != identity) {
        return Err(PersonRefusal::PersonHasIdentity { person: person.clone(), identity: other.clone() });
    }
    let registered = IdentityRegistered { person: person.clone(), identity: identity.clone(), by: by.clone() };
    Ok(vec![granted(by, person, role)?, Body::IdentityRegistered(Box::new(registered))])
}

pub(super) fn log_in(
    state: &State,
    now: Now,
    by: &PersonName,
    login: &VerifiedLogin,
    certificate: &NewCertificate,
) -> Result<Vec<Body>, PersonRefusal> {
    let VerifiedLogin { identity, token, issued_at, authenticated_at, context } = login;
    match state.identities.find(identity) {
        Some(KnownIdentity::Good(person)) if person == by => {}
        Some(KnownIdentity::Good(_) | KnownIdentity::Withdrawn(_)) | None => {
            return Err(PersonRefusal::IdentityUnknown(identity.clone()));
        }
    }
    // Used tokens are remembered for so long only.
    if issued_at.plus(MAX_TOKEN_AGE) < now.wall || *issued_at > now.wall.plus(MAX_CLOCK_LEAD) {
        return Err(PersonRefusal::TokenAge { issued_at: *issued_at });
    }
    if state.identities.is_used(token) {
        return Err(PersonRefusal::TokenUsed);
    }
    let logged_in = PersonLoggedIn {
        person: by.clone(),
        identity: identity.clone(),
        token: *token,
        issued_at: *issued_at,
        authenticated_at: *authenticated_at,
        context: context.clone(),
        serial: certificate.serial.clone(),
        not_after: certificate.not_after,
    };
    let logged_in = Body::PersonLoggedIn(Box::new(logged_in));
    Ok(std::iter::once(logged_in).chain(certified(state, by, certificate)).collect())
}
