//! People's signing keys and roles as the log has them: whose signature counts at this place of it.

use super::break_glass::Glasses;
use super::finding::{At, Rule};
use crate::key::PublicKey;
use crate::person_key;
use fettle_model::identity::{HeldRole, Role, TrustDomain};
use fettle_model::login::IdentityRegistered;
use fettle_model::name::{PersonName, TeamName};
use fettle_model::person_key::PersonKeySet;
use fettle_model::record::{RoleGranted, RoleRevoked};
use std::collections::{BTreeMap, BTreeSet};

/// Whose signing key stands, which keys were ever registered, and who has which role.
#[derive(Debug, Clone, Default)]
pub(super) struct People {
    /// As the log was opened; proofs are for it.
    trust_domain: Option<TrustDomain>,
    keys: BTreeMap<PersonName, PublicKey>,
    known: BTreeSet<[u8; 32]>,
    roles: BTreeMap<PersonName, BTreeSet<HeldRole>>,
    /// Who registered each person's key, and their OpenID identity.
    keys_by: BTreeMap<PersonName, PersonName>,
    identities_by: BTreeMap<PersonName, PersonName>,
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
        self.keys_by.insert(person.clone(), by.clone());
    }

    pub(super) fn register(&mut self, registered: &IdentityRegistered) {
        self.identities_by.insert(registered.person.clone(), registered.by.clone());
    }

    /// Whether one of two people registered the key or the identity of the other.
    pub(super) fn vouched(&self, one: &PersonName, other: &PersonName) -> bool {
        let by = |person: &PersonName, voucher: &PersonName| {
            self.keys_by.get(person) == Some(voucher) || self.identities_by.get(person) == Some(voucher)
        };
        by(one, other) || by(other, one)
    }

    pub(super) fn has_role(&self, person: &PersonName) -> bool {
        self.roles.get(person).is_some_and(|held| !held.is_empty())
    }

    /// Whether a person was given a role in exactly this scope.
    pub(super) fn holds(&self, person: &PersonName, held: &HeldRole) -> bool {
        self.roles.get(person).is_some_and(|roles| roles.contains(held))
    }

    pub(super) fn grant(&mut self, granted: &RoleGranted) {
        let held = HeldRole { role: granted.role, team: granted.team.clone() };
        self.roles.entry(granted.person.clone()).or_default().insert(held);
    }

    pub(super) fn end_role(&mut self, revoked: &RoleRevoked, at: &mut At<'_>) {
        let RoleRevoked { person, role, team, .. } = revoked;
        let ended = HeldRole { role: *role, team: team.clone() };
        if !self.roles.get_mut(person).is_some_and(|held| held.remove(&ended)) {
            at.flag(Rule::Role, format!("{person} lost the role {ended}, which they did not hold"));
        }
        let administrator = HeldRole::from(Role::Administrator);
        if ended == administrator && !self.roles.values().any(|held| held.contains(&administrator)) {
            at.flag(Rule::Role, format!("{person} was the last administrator, and lost the role"));
        }
    }

    /// Whether a person is an approver for the services of a team.
    pub(super) fn approves_for(&self, person: &PersonName, team: Option<&TeamName>, glasses: &Glasses) -> bool {
        if !self.has_role(person) {
            return false;
        }
        let holds = |held: &HeldRole| self.holds(person, held) || glasses.held(person).as_ref() == Some(held);
        let of_team = team.map(|team| HeldRole { role: Role::Approver, team: Some(team.clone()) });
        holds(&HeldRole::from(Role::Approver)) || of_team.is_some_and(|held| holds(&held))
    }

    pub(super) fn revoke(&mut self, person: &PersonName) {
        self.keys.remove(person);
        self.keys_by.remove(person);
        self.roles.remove(person);
    }
}
