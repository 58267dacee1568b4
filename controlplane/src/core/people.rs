//! People's roles, join tokens and trusted publishers.

use super::entry::Stamp;
use fettle_model::counter::CertificateGeneration;
use fettle_model::id::TokenId;
use fettle_model::identity::Role;
use fettle_model::name::{PersonName, PublisherName};
use fettle_model::record::{PublisherTrusted, RoleGranted, TokenCreated};
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
    pub(in crate::core) roles: BTreeMap<PersonName, BTreeSet<Role>>,
    pub(in crate::core) tokens: BTreeMap<TokenId, Token>,
    certificates: BTreeMap<PersonName, CertificateGeneration>,
    /// Keys in the base64 form in which their records give them.
    pub(in crate::core) publishers: BTreeMap<PublisherName, BTreeSet<String>>,
}

impl People {
    pub(in crate::core) fn grant(&mut self, granted: &RoleGranted) {
        self.roles.entry(granted.person.clone()).or_default().insert(granted.role);
    }

    pub(in crate::core) fn certified(&mut self, person: &PersonName, generation: CertificateGeneration) {
        let newest = self.certificates.entry(person.clone()).or_default();
        *newest = (*newest).max(generation);
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
