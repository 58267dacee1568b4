//! How a person is identified by an OpenID provider, and the records of it.
//!
//! Read by the control plane's core, the operators' API and the verifier. Knows nothing of tokens and keys:
//! what was verified stands here.

use crate::digest::DocumentDigest;
use crate::name::PersonName;
use crate::time::UnixMillis;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Longest issuer: a host name of 253 characters, `https://` and a path, rounded up.
const MAX_ISSUER_BYTES: usize = 512;
/// Longest subject (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT_BYTES: usize = 255;

/// The text is not an issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an issuer must be an https:// address without query, fragment and user name, not {text:?}")]
pub struct InvalidIssuer {
    /// What was given, cut to 120 characters.
    pub text: String,
}

/// The text is not a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a subject must have 1 to {MAX_SUBJECT_BYTES} visible ASCII characters, not {text:?}")]
pub struct InvalidSubject {
    /// What was given, cut to 120 characters.
    pub text: String,
}

/// The name of an OpenID provider, such as `https://login.example.org`. Compared byte for byte, as its tokens spell it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Issuer(String);

/// What a provider calls a person: never given to anybody else, and no name for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OidcSubject(String);

impl Issuer {
    /// The issuer as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OidcSubject {
    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for OidcSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Issuer {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        let sound = text.len() <= MAX_ISSUER_BYTES
            && text.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\\"<>`{}|^".contains(&byte));
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidIssuer { text: text.chars().take(120).collect() }) }
    }
}

impl FromStr for OidcSubject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let sound = (1..=MAX_SUBJECT_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidSubject { text: text.chars().take(120).collect() }) }
    }
}

impl<'de> Deserialize<'de> for Issuer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for OidcSubject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Oldest token that logs somebody in. Between its issue and its arrival here lie the exchange of the code and
/// one call, some seconds; a clock that is a minute off, and a slow line.
pub const MAX_TOKEN_AGE: Duration = Duration::from_mins(5);

/// By how much the provider's clock may be ahead of the control plane's.
pub const MAX_CLOCK_LEAD: Duration = Duration::from_mins(1);

/// Who somebody is, as one provider says it: the subject alone names nobody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcIdentity {
    /// The provider.
    pub issuer: Issuer,
    /// The person.
    pub subject: OidcSubject,
}

impl fmt::Display for OidcIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.subject, self.issuer)
    }
}

/// An administrator says which identity is a person's. It is good until the person is revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityRegistered {
    /// Who.
    pub person: PersonName,
    /// What the provider calls them.
    pub identity: OidcIdentity,
    /// By whom.
    pub by: PersonName,
}

/// A person logged in: the provider's token was verified, and they got a certificate for the key that it was bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonLoggedIn {
    /// Who.
    pub person: PersonName,
    /// By which identity.
    pub identity: OidcIdentity,
    /// SHA-256 of what the provider signed: the same token logs nobody in again.
    pub token: DocumentDigest,
    /// When the provider issued the token.
    pub issued_at: UnixMillis,
    /// When the provider last authenticated them, where it says so.
    pub authenticated_at: Option<UnixMillis>,
    /// How (the claim `acr`), where it says so.
    pub context: Option<String>,
    /// The serial number of the certificate that they got.
    pub serial: String,
    /// When that ends.
    pub not_after: UnixMillis,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_address_and_nothing_more() {
        for (text, sound) in [
            ("https://login.example.org", true),
            ("https://login.example.org:8443/realms/ops", true),
            ("http://login.example.org", false),
            ("https://", false),
            ("https:///path", false),
            ("https://a?b", false),
            ("https://a#b", false),
            ("https://user@a", false),
            ("https://a b", false),
        ] {
            assert_eq!(text.parse::<Issuer>().is_ok(), sound, "{text}");
        }
    }

    #[test]
    fn a_subject_is_visible_ascii_of_bounded_length() {
        for (text, sound) in [("248289761001", true), ("auth0|x", true), ("", false), ("a b", false), ("é", false)] {
            assert_eq!(text.parse::<OidcSubject>().is_ok(), sound, "{text}");
        }
        assert!("x".repeat(MAX_SUBJECT_BYTES).parse::<OidcSubject>().is_ok());
        assert!("x".repeat(MAX_SUBJECT_BYTES + 1).parse::<OidcSubject>().is_err());
    }
}
