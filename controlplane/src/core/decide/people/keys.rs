//! People's signing keys. Called for who is added, and for who registers the key of a profile that had none.
//!
//! Never replaces a key at its owner's word: whoever stole the TLS key could put a key of theirs in its place.

use super::PersonRefusal;
use crate::core::state::State;
use fettle_model::name::PersonName;
use fettle_model::person_key::{PersonKeySet, SigningKeyProof};
use fettle_model::record::Body;

/// The body to append; none when this key stands already.
pub(super) fn set_own(
    state: &State,
    by: &PersonName,
    shown: &str,
    signing_key: &SigningKeyProof,
) -> Result<Vec<Body>, PersonRefusal> {
    if state.is_withdrawn(by, shown) {
        return Err(PersonRefusal::CertificateWithdrawn(by.clone()));
    }
    match state.signing_key(by) {
        Some(standing) if standing == signing_key.key => Ok(Vec::new()),
        Some(_) => Err(PersonRefusal::SigningKeyStands(by.clone())),
        None => set(state, by, by, signing_key).map(|body| vec![body]),
    }
}

/// The key of somebody who is added, in place of one that they may have.
pub(super) fn set(
    state: &State,
    by: &PersonName,
    person: &PersonName,
    signing_key: &SigningKeyProof,
) -> Result<Body, PersonRefusal> {
    if state.people.knows_key(&signing_key.key) {
        return Err(PersonRefusal::SigningKeyKnown);
    }
    let set = PersonKeySet { person: person.clone(), signing_key: signing_key.clone(), by: by.clone() };
    Ok(Body::PersonKeySet(Box::new(set)))
}
