//! People's roles and keys, join tokens and trusted publishers.

use super::entry::Stamp;
use fettle_model::counter::CertificateGeneration;
use fettle_model::id::TokenId;
use fettle_model::identity::{HeldRole, Role};
use fettle_model::name::{PersonName, PublisherName};
use fettle_model::person_key::PersonKeySet;
use fettle_model::record::{CertificateIssued, PublisherTrusted, RoleGranted, RoleRevoked, TokenCreated};
use fettle_model::time::UnixMillis;
use std::collections::{BTreeMap, BTreeSet};

/// A join token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What was created.
    pub created: TokenCreated,
    /// When.
    pub stamp: Stamp,
    /// The enrolment that used it up.
    pub used: Option<Stamp>,
}

/// The join tokens that still enrol somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct OpenTokens {
    pub(in crate::core) count: usize,
    /// `None` where there is none.
    pub(in crate::core) first_expiry: Option<UnixMillis>,
}

/// Who may do what, and whose keys are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct People {
    pub(in crate::core) roles: BTreeMap<PersonName, BTreeSet<HeldRole>>,
    pub(in crate::core) tokens: BTreeMap<TokenId, Token>,
    certificates: BTreeMap<PersonName, CertificateGeneration>,
    /// For those who were ever revoked: the serial numbers that they were given since, with their ends. Naming
    /// what is good instead of what is not needs no knowledge of what was issued before: the first operator's
    /// certificate is older than the log.
    since_revoked: BTreeMap<PersonName, BTreeMap<String, UnixMillis>>,
    /// The signing key that stands for each, in base64.
    signing_keys: BTreeMap<PersonName, String>,
    /// Who registered it.
    keys_by: BTreeMap<PersonName, PersonName>,
    /// Every signing key that was ever registered: one belongs to one person for ever. Grows by one with each
    /// person who is added and never shrinks: 44 bytes a key.
    known_keys: BTreeSet<String>,
    /// Keys in the base64 form in which their records give them.
    pub(in crate::core) publishers: BTreeMap<PublisherName, BTreeSet<String>>,
}

impl People {
    pub(in crate::core) fn grant(&mut self, granted: &RoleGranted) {
        let held = HeldRole { role: granted.role, team: granted.team.clone() };
        self.roles.entry(granted.person.clone()).or_default().insert(held);
    }

    /// Ends one role. Whoever has none left is in no list of those who have one.
    pub(in crate::core) fn end_role(&mut self, revoked: &RoleRevoked) {
        let RoleRevoked { person, role, team, .. } = revoked;
        let Some(held) = self.roles.get_mut(person) else { return };
        held.remove(&HeldRole { role: *role, team: team.clone() });
        if held.is_empty() {
            self.roles.remove(person);
        }
    }

    /// Ends a person's roles, their signing key and every certificate until here.
    pub(in crate::core) fn revoke(&mut self, person: &PersonName) {
        self.roles.remove(person);
        self.signing_keys.remove(person);
        self.keys_by.remove(person);
        self.since_revoked.insert(person.clone(), BTreeMap::new());
    }

    pub(in crate::core) fn set_key(&mut self, set: &PersonKeySet) {
        self.signing_keys.insert(set.person.clone(), set.signing_key.key.clone());
        self.keys_by.insert(set.person.clone(), set.by.clone());
        self.known_keys.insert(set.signing_key.key.clone());
    }

    pub(in crate::core) fn signing_key(&self, person: &PersonName) -> Option<&str> {
        self.signing_keys.get(person).map(String::as_str)
    }

    /// Who registered the signing key that stands for a person.
    pub(in crate::core) fn key_by(&self, person: &PersonName) -> Option<&PersonName> {
        self.keys_by.get(person)
    }

    pub(in crate::core) fn knows_key(&self, key: &str) -> bool {
        self.known_keys.contains(key)
    }

    /// Counts a certificate, and forgets those that have ended, which bounds the map by what one person is
    /// given within a certificate's life.
    pub(in crate::core) fn certified(&mut self, person: &PersonName, issued: &CertificateIssued, stamp: Stamp) {
        let newest = self.certificates.entry(person.clone()).or_default();
        *newest = (*newest).max(issued.generation);
        // Whoever has no role was given it before they were revoked: a note of the console comes late.
        if let Some(good) = self.since_revoked.get_mut(person).filter(|_| self.roles.contains_key(person)) {
            good.retain(|_, ends| *ends > stamp.at);
            good.insert(issued.serial.clone(), issued.not_after);
        }
    }

    pub(in crate::core) fn is_withdrawn(&self, person: &PersonName, serial: &str) -> bool {
        self.since_revoked.get(person).is_some_and(|good| !good.contains_key(serial))
    }

    pub(in crate::core) fn was_revoked(&self, person: &PersonName) -> bool {
        self.since_revoked.contains_key(person)
    }

    /// Who has a role for the whole installation.
    pub(in crate::core) fn have_role(&self, role: Role) -> impl Iterator<Item = &PersonName> {
        self.roles.iter().filter(move |(_, roles)| roles.contains(&HeldRole::from(role))).map(|(person, _)| person)
    }

    /// How many certificates a person was given.
    pub(in crate::core) fn certificate(&self, person: &PersonName) -> CertificateGeneration {
        self.certificates.get(person).copied().unwrap_or_default()
    }

    pub(in crate::core) fn trust(&mut self, trusted: &PublisherTrusted) {
        self.publishers.entry(trusted.publisher.clone()).or_default().insert(trusted.key.clone());
    }

    /// Adds a token and forgets those that have expired, which bounds the map by what people create
    /// within the longest validity.
    pub(in crate::core) fn add_token(&mut self, created: &TokenCreated, stamp: Stamp) {
        self.tokens.retain(|_, token| token.created.expires_at > stamp.at);
        self.tokens.insert(created.token, Token { created: created.clone(), stamp, used: None });
    }

    pub(in crate::core) fn open_tokens(&self, now: UnixMillis) -> OpenTokens {
        let open = self.tokens.values().filter(|token| token.used.is_none() && token.created.expires_at > now);
        open.fold(OpenTokens { count: 0, first_expiry: None }, |open, token| {
            let expiry = token.created.expires_at;
            OpenTokens {
                count: open.count + 1,
                first_expiry: Some(open.first_expiry.map_or(expiry, |first| first.min(expiry))),
            }
        })
    }

    pub(in crate::core) fn use_token(&mut self, token: TokenId, stamp: Stamp) {
        if let Some(token) = self.tokens.get_mut(&token) {
            token.used = Some(stamp);
        }
    }

    pub(in crate::core) fn trusts(&self, publisher: &PublisherName, key: &str) -> bool {
        self.publishers.get(publisher).is_some_and(|keys| keys.contains(key))
    }
}
