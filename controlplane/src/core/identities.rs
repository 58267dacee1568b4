//! Which OpenID identity is whose, which tokens are used up, and which certificates came from a login.
//!
//! Called by the state for the records of registrations, logins and revocations, and by the decisions about
//! them. Verifies no token: that is the rim's, before.

use super::entry::Stamp;
use super::state::State;
use fettle_model::counter::CertificateGeneration;
use fettle_model::digest::DocumentDigest;
use fettle_model::login::{IdentityRegistered, MAX_TOKEN_AGE, OidcIdentity, PersonLoggedIn};
use fettle_model::name::PersonName;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// Whose an identity is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownIdentity {
    /// It lets this person in.
    Good(PersonName),
    /// It was this person's when they were revoked, and lets nobody in until it is registered again.
    Withdrawn(PersonName),
}

impl KnownIdentity {
    /// Whose.
    #[must_use]
    pub const fn person(&self) -> &PersonName {
        match self {
            Self::Good(person) | Self::Withdrawn(person) => person,
        }
    }
}

/// The identities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Identities {
    known: BTreeMap<OidcIdentity, KnownIdentity>,
    /// Until when a token that was used would be young enough to be used again.
    used: BTreeMap<DocumentDigest, UnixMillis>,
    /// Who registered each person's newest identity.
    by: BTreeMap<PersonName, PersonName>,
    /// Serial numbers of certificates that came from a login, with their ends.
    sessions: BTreeMap<String, UnixMillis>,
}

impl Identities {
    pub(in crate::core) fn register(&mut self, registered: &IdentityRegistered) {
        self.known.insert(registered.identity.clone(), KnownIdentity::Good(registered.person.clone()));
        self.by.insert(registered.person.clone(), registered.by.clone());
    }

    /// A role that is given again brings no identity back, as it brings no certificate back.
    pub(in crate::core) fn withdraw(&mut self, person: &PersonName) {
        for known in self.known.values_mut().filter(|known| known.person() == person) {
            *known = KnownIdentity::Withdrawn(person.clone());
        }
    }

    /// Remembers token and certificate for as long as either could be shown again, which bounds both maps by
    /// the logins of one certificate's life.
    pub(in crate::core) fn logged_in(&mut self, login: &PersonLoggedIn, stamp: Stamp) {
        self.used.retain(|_, until| *until >= stamp.at);
        self.used.insert(login.token, login.issued_at.plus(MAX_TOKEN_AGE));
        self.sessions.retain(|_, ends| *ends >= stamp.at);
        self.sessions.insert(login.serial.clone(), login.not_after);
    }

    pub(in crate::core) fn find(&self, identity: &OidcIdentity) -> Option<&KnownIdentity> {
        self.known.get(identity)
    }

    /// The identity that lets a person in. There is at most one.
    pub(in crate::core) fn of(&self, person: &PersonName) -> Option<&OidcIdentity> {
        let mut good = self.known.iter().filter(|(_, known)| matches!(known, KnownIdentity::Good(of) if of == person));
        good.next().map(|(identity, _)| identity)
    }

    /// Who registered a person's identity.
    pub(in crate::core) fn registered_by(&self, person: &PersonName) -> Option<&PersonName> {
        self.by.get(person)
    }

    pub(in crate::core) fn is_used(&self, token: &DocumentDigest) -> bool {
        self.used.contains_key(token)
    }

    /// Whether a certificate came from a login.
    pub(in crate::core) fn came_from_login(&self, serial: &str) -> bool {
        self.sessions.contains_key(serial)
    }
}

impl State {
    /// Whether a person has anything that [`fettle_model::record::PersonRevoked`] would take: a role, a key, an
    /// identity, or a certificate where they were never revoked.
    pub(in crate::core) fn has_means(&self, person: &PersonName) -> bool {
        let certified =
            self.people.certificate(person) > CertificateGeneration::default() && !self.people.was_revoked(person);
        self.people.roles.contains_key(person)
            || self.people.signing_key(person).is_some()
            || self.identities.of(person).is_some()
            || certified
    }

    /// Whose an identity is, as far as the log knows.
    #[must_use]
    pub fn identity(&self, identity: &OidcIdentity) -> Option<&KnownIdentity> {
        self.identities.find(identity)
    }
}
