//! Who somebody is: trust domain, SPIFFE ids, roles.
//!
//! Source: SPIFFE-ID specification 1.0. A workload's certificate carries exactly one URI name; the
//! kind of principal is its first path segment.

use crate::id::HostId;
use crate::name::{InvalidName, PersonName, TeamName};
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

/// What a person may do, coarsely; Cedar's policies say it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads the state.
    Viewer,
    /// Reads the state and publishes playbooks.
    Author,
    /// Enrols hosts, applies configuration, starts drills and runs, stops and resumes; reads everything.
    Operator,
    /// Says yes or no to what a remediation would do; reads everything.
    Approver,
    /// Stops automation in every scope; reads everything.
    IncidentCommander,
    /// Reads everything, exports the log, and changes nothing.
    Auditor,
    /// Gives and ends people's roles and trusts publishers; reads everything.
    Administrator,
}

impl Role {
    /// All roles, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Viewer,
        Self::Author,
        Self::Operator,
        Self::Approver,
        Self::IncidentCommander,
        Self::Auditor,
        Self::Administrator,
    ];

    /// The role's name in documents and policies.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Author => "author",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::IncidentCommander => "incident-commander",
            Self::Auditor => "auditor",
            Self::Administrator => "administrator",
        }
    }

    /// Where the role may be given: some are about services, which have a team, and some are not.
    #[must_use]
    pub const fn reach(self) -> Reach {
        match self {
            Self::Operator | Self::Approver | Self::IncidentCommander => Reach::Team,
            Self::Viewer | Self::Author | Self::Auditor | Self::Administrator => Reach::Installation,
        }
    }
}

/// Where a role may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// For the whole installation only: nothing that it allows is about a service.
    Installation,
    /// For the whole installation, or for the services of one team.
    Team,
}

/// A role as somebody holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRole {
    /// The role.
    pub role: Role,
    /// The team whose services it is about; `None`: the whole installation.
    #[serde(default)]
    pub team: Option<TeamName>,
}

impl From<Role> for HeldRole {
    /// The role for the whole installation.
    fn from(role: Role) -> Self {
        Self { role, team: None }
    }
}

impl fmt::Display for HeldRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.as_str())?;
        self.team.as_ref().map_or(Ok(()), |team| write!(f, " of team {team}"))
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
    #[test]
    fn a_role_is_read_without_a_team_and_shown_with_it() {
        let plain: HeldRole = serde_json::from_str(r#"{"role":"incident-commander"}"#).expect("a role");
        assert_eq!(plain, HeldRole::from(Role::IncidentCommander));
        let team = Some("payments".parse().expect("a name"));
        assert_eq!(HeldRole { role: Role::Operator, team }.to_string(), "operator of team payments");
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).expect("JSON"), role.as_str());
        }
    }
}
