//! Names that people choose.
//!
//! One alphabet for all: lower-case letters, digits and `-`, with `.` and `_` inside where the
//! thing named commonly has them. At most 64 bytes, so that every name fits a table column, a file
//! name and a metric label. A playbook's name may have one `/` between publisher and name.
//!
//! Up to 23 bytes stand in the value itself: a control plane keeps, compares and copies millions of names.

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;

/// Longest name in bytes: a DNS label has 63, a playbook's `publisher/name` two of 31 and a slash.
pub const MAX_NAME_BYTES: usize = 64;

/// The text does not follow the alphabet or the length of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} must have 1 to 64 characters from a-z, 0-9, '-', '_' and '.', and start and end with a letter or digit, not {text:?}"
)]
pub struct InvalidName {
    /// Which kind of name was expected.
    pub kind: &'static str,
    /// What was given instead, cut to 80 characters.
    pub text: String,
}

/// How many `/` a kind of name may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Segments {
    One,
    OneOrTwo,
}

fn check(kind: &'static str, segments: Segments, text: &str) -> Result<(), InvalidName> {
    let sound_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
    };
    let allowed = match segments {
        Segments::One => 1,
        Segments::OneOrTwo => 2,
    };
    let sound =
        text.len() <= MAX_NAME_BYTES && text.split('/').count() <= allowed && text.split('/').all(sound_segment);
    if sound { Ok(()) } else { Err(InvalidName { kind, text: text.chars().take(80).collect() }) }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $segments:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check($kind, Segments::$segments, text)?;
                Ok(Self(SmolStr::new(text)))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// A host's name for people; its identity is the [`crate::id::HostId`].
    HostName, "a host's name", One;
    /// An environment: `staging`, `production` or another.
    EnvironmentName, "an environment", One;
    /// A service.
    ServiceName, "a service", One;
    /// A check of a service; unique within the service.
    CheckName, "a check", One;
    /// A freeze by calendar; unique in the configuration.
    FreezeName, "a freeze", One;
    /// A schedule; unique in the configuration.
    ScheduleName, "a schedule", One;
    /// A remediation; unique in the configuration.
    RemediationName, "a remediation", One;
    /// A playbook, `name` or `publisher/name`.
    PlaybookName, "a playbook", OneOrTwo;
    /// The label under which a manifest asks for a capability and an operator binds it.
    Label, "a label", One;
    /// A team that owns services.
    TeamName, "a team", One;
    /// A person, as the identity provider or the certificate names them.
    PersonName, "a person", One;
    /// The publisher that signs playbooks.
    PublisherName, "a publisher", One;
}

impl EnvironmentName {
    /// The environment in which evidence is earned.
    pub const STAGING: &'static str = "staging";

    /// Whether drills may run here at all. The host's own configuration must allow them as well.
    #[must_use]
    pub fn is_staging(&self) -> bool {
        self.as_str() == Self::STAGING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_playbook(text: &str, expected: bool) {
        assert_eq!(text.parse::<PlaybookName>().is_ok(), expected, "{text:?}");
    }

    #[test]
    fn names_take_one_alphabet_and_nothing_that_could_be_a_path() {
        for (text, expected) in [
            ("restart-service", true),
            ("acme/restart-service", true),
            ("a", true),
            ("a.b_c-1", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("a b", false),
            ("..", false),
            ("a/../b", false),
            ("/a", false),
            ("a/", false),
            ("a/b/c", false),
            ("ä", false),
            ("a\nb", false),
        ] {
            check_playbook(text, expected);
        }
        check_playbook(&"a".repeat(MAX_NAME_BYTES), true);
        check_playbook(&"a".repeat(MAX_NAME_BYTES + 1), false);
    }

    #[test]
    fn a_name_is_checked_when_it_is_deserialised() {
        assert!(serde_json::from_str::<ServiceName>("\"web\"").is_ok());
        assert!(serde_json::from_str::<ServiceName>("\"we/b\"").is_err());
    }
}
