//! `[oidc]` in `controlplane.toml`: the provider that identifies people, and what its tokens must say.
//!
//! Read at every start; without it nobody logs in by a provider. Written by hand: `init` knows none.

use fettle_model::login::Issuer;
use fettle_model::time::HumanDuration;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Most ways of authentication that may be named: the known schemes have three levels.
const MAX_CONTEXTS: usize = 8;
/// Longest name of one: the known ones are URNs of 60 characters.
const MAX_TEXT_BYTES: usize = 256;

/// The provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Oidc {
    /// The provider's name, an `https://` address below which it describes itself.
    pub issuer: Issuer,
    /// Fettle's name at the provider: a public (native) client with a loopback redirect.
    pub client_id: OidcText,
    /// The certificate authorities that the provider's certificate may come from, PEM; the platform's where none is
    /// named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// How a person must have been authenticated: one of these values of the claim `acr`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "few")]
    pub acr: Vec<OidcText>,
    /// How long ago at most (claim `auth_time`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_authentication_age: Option<HumanDuration>,
}

/// A value that the provider and Fettle agree on: visible ASCII, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OidcText(String);

/// The text is no such value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a value of the provider's must have 1 to {MAX_TEXT_BYTES} visible ASCII characters, not {text:?}")]
pub struct InvalidOidcText {
    /// What was given, cut to 120 characters.
    pub text: String,
}

impl FromStr for OidcText {
    type Err = InvalidOidcText;

    fn from_str(text: &str) -> Result<Self, InvalidOidcText> {
        let sound = (1..=MAX_TEXT_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidOidcText { text: text.chars().take(120).collect() }) }
    }
}

impl fmt::Display for OidcText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OidcText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<OidcText>, D::Error> {
    let contexts = Vec::deserialize(deserializer)?;
    if contexts.len() <= MAX_CONTEXTS {
        Ok(contexts)
    } else {
        Err(serde::de::Error::custom(format!("acr may name {MAX_CONTEXTS} values, not {}", contexts.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_read_with_everything_that_is_enforced_and_nothing_else() {
        let whole = r#"issuer = "https://login.example.org"
client-id = "fettle"
ca = "/etc/fettle/provider.pem"
acr = ["urn:mfa"]
max-authentication-age = "12h"
"#;
        let read: Oidc = toml::from_str(whole).expect("sound");
        assert_eq!(toml::from_str::<Oidc>(&toml::to_string(&read).expect("TOML")).expect("its own text"), read);
        for (old, new) in [
            ("https://", "http://"),
            ("client-id = \"fettle\"", "client-id = \"\""),
            ("\"12h\"", "12"),
            ("acr = [\"urn:mfa\"]", "acr = [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]"),
            ("ca =", "client-secret ="),
        ] {
            let wrong = whole.replace(old, new);
            assert!(toml::from_str::<Oidc>(&wrong).is_err(), "{wrong}");
        }
    }
}
