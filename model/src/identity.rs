//! Who somebody is: trust domain, SPIFFE ids, roles.
//!
//! Source: SPIFFE-ID specification 1.0. A workload's certificate carries exactly one URI name; the
//! kind of principal is its first path segment.

use crate::id::HostId;
use crate::name::{InvalidName, PersonName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The text is not one of our SPIFFE ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// Not `spiffe://<trust-domain>/<kind>/<name>`.
    #[error("an identity must be spiffe://<trust-domain>/<kind>/<name>, not {text:?}")]
    Shape {
        /// What was given, cut to 120 characters.
        text: String,
    },
    /// The trust domain has other characters than `a-z`, `0-9`, `.`, `-`, `_`, or more than 255.
    #[error("a trust domain must have 1 to 255 characters from a-z, 0-9, '.', '-' and '_', not {text:?}")]
    TrustDomain {
        /// What was given, cut to 120 characters.
        text: String,
    },
    /// The last segment is not a name of this kind.
    #[error("the last segment of the identity is no valid name")]
    Name(#[source] InvalidName),
}

/// The root of an installation's identities, such as `fettle.example.org`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The trust domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        let sound = (1..=255).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b));
        if sound {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSpiffeId::TrustDomain { text: text.chars().take(120).collect() })
        }
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A principal within a trust domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// An agent: `/agent/<uuid>`.
    Agent(HostId),
    /// A control plane's process: `/controlplane/<name>`.
    ControlPlane(PersonName),
    /// A person with a client certificate: `/person/<name>`.
    Person(PersonName),
}

/// `spiffe://<trust-domain>/<kind>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Who within it.
    pub principal: Principal,
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domain = &self.trust_domain;
        match &self.principal {
            Principal::Agent(host) => write!(f, "spiffe://{domain}/agent/{host}"),
            Principal::ControlPlane(name) => write!(f, "spiffe://{domain}/controlplane/{name}"),
            Principal::Person(name) => write!(f, "spiffe://{domain}/person/{name}"),
        }
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        let shape = || InvalidSpiffeId::Shape { text: text.chars().take(120).collect() };
        let rest = text.strip_prefix("spiffe://").ok_or_else(shape)?;
        let mut segments = rest.split('/');
        let (Some(domain), Some(kind), Some(name), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(shape());
        };
        let principal = match kind {
            "agent" => Principal::Agent(name.parse().map_err(|_| shape())?),
            "controlplane" => Principal::ControlPlane(name.parse().map_err(InvalidSpiffeId::Name)?),
            "person" => Principal::Person(name.parse().map_err(InvalidSpiffeId::Name)?),
            _ => return Err(shape()),
        };
        Ok(Self { trust_domain: domain.parse()?, principal })
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a person may do, coarsely; Cedar's floors say it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Enrols hosts, applies configuration, starts drills and runs, stops and resumes.
    Operator,
    /// Publishes playbooks.
    Author,
    /// Reads and exports the log.
    Auditor,
}

impl Role {
    /// All roles, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Operator, Self::Author, Self::Auditor];

    /// The role's name in documents and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Auditor => "auditor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        match text.parse::<SpiffeId>() {
            Ok(id) => {
                assert!(expected, "{text:?} parsed");
                assert_eq!(id.to_string(), text);
            }
            Err(_) => assert!(!expected, "{text:?} did not parse"),
        }
    }

    #[test]
    fn only_the_three_shapes_parse_and_each_has_one_spelling() {
        let agent = "7f8d4f0a-9f3e-4b7c-8a51-2a6d1c0b9e11";
        check(&format!("spiffe://fettle.example/agent/{agent}"), true);
        check("spiffe://fettle.example/person/alice", true);
        check("spiffe://fettle.example/controlplane/cp-1", true);
        check(&format!("spiffe://Fettle.example/agent/{agent}"), false);
        check(&format!("spiffe://fettle.example/agent/{}", agent.to_uppercase()), false);
        check(&format!("spiffe://fettle.example:443/agent/{agent}"), false);
        check(&format!("spiffe://fettle.example/agent/{agent}/x"), false);
        check(&format!("spiffe://fettle.example/agent/{agent}?x=1"), false);
        check("spiffe://fettle.example/agent/", false);
        check("spiffe://fettle.example/person/../agent", false);
        check("https://fettle.example/person/alice", false);
        check("spiffe:///person/alice", false);
    }
}
