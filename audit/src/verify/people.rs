//! People's signing keys as the log has them: whose signature counts at this place of it.

use super::finding::{At, Rule};
use crate::key::PublicKey;
use crate::person_key;
use fettle_model::identity::TrustDomain;
use fettle_model::name::PersonName;
use fettle_model::person_key::PersonKeySet;
use std::collections::{BTreeMap, BTreeSet};

/// Whose signing key stands, and which keys were ever registered.
#[derive(Debug, Clone, Default)]
pub(super) struct People {
    /// As the log was opened; proofs are for it.
    trust_domain: Option<TrustDomain>,
    keys: BTreeMap<PersonName, PublicKey>,
    known: BTreeSet<[u8; 32]>,
}

impl People {
    pub(super) fn open(&mut self, trust_domain: &TrustDomain) {
        self.trust_domain = Some(trust_domain.clone());
    }

    /// The key that stands for a person.
    pub(super) fn key(&self, person: &PersonName) -> Option<&PublicKey> {
        self.keys.get(person)
    }

    pub(super) fn set_key(&mut self, set: &PersonKeySet, at: &mut At<'_>) {
        let PersonKeySet { person, signing_key, by } = set;
        let Some(trust_domain) = &self.trust_domain else { return };
        let key = match person_key::check(signing_key, trust_domain, person) {
            Ok(key) => key,
            Err(error) => return at.flag(Rule::PersonKey, format!("the key of {person}: {error}")),
        };
        if !self.known.insert(*key.as_bytes()) {
            return at.flag(Rule::PersonKey, format!("the key of {person} was registered before"));
        }
        if by == person && self.keys.contains_key(person) {
            at.flag(Rule::PersonKey, format!("{person} replaced their own key"));
        }
        self.keys.insert(person.clone(), key);
    }

    pub(super) fn revoke(&mut self, person: &PersonName) {
        self.keys.remove(person);
    }
}
