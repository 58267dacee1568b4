//! Breakers: switches with a scope that stop automation.

use crate::counter::StopEpoch;
use crate::id::RunId;
use crate::name::{EnvironmentName, PersonName, PlaybookName, ServiceName};
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a breaker stops. Text form: `global`, `environment:production`, `service:web`, `playbook:x`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "scope", content = "name", deny_unknown_fields)]
pub enum Scope {
    /// Everything.
    Global,
    /// One environment.
    Environment(EnvironmentName),
    /// One service in all environments.
    Service(ServiceName),
    /// One playbook, all versions.
    Playbook(PlaybookName),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Environment(name) => write!(f, "environment:{name}"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Playbook(name) => write!(f, "playbook:{name}"),
        }
    }
}

/// The text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a scope must be global, environment:NAME, service:NAME or playbook:NAME, not {text:?}")]
pub struct InvalidScope {
    /// What was given, cut to 120 characters.
    pub text: String,
}

impl std::str::FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let invalid = || InvalidScope { text: text.chars().take(120).collect() };
        match text.split_once(':') {
            None if text == "global" => Ok(Self::Global),
            Some(("environment", name)) => name.parse().map(Self::Environment).map_err(|_| invalid()),
            Some(("service", name)) => name.parse().map(Self::Service).map_err(|_| invalid()),
            Some(("playbook", name)) => name.parse().map(Self::Playbook).map_err(|_| invalid()),
            None | Some(_) => Err(invalid()),
        }
    }
}

/// Why a breaker is open; each reason has its owner and clears by its own rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "reason", deny_unknown_fields)]
pub enum OpenReason {
    /// More failures within the window than allowed. Clears through half-open.
    Failures {
        /// Failures counted.
        count: u32,
        /// Failures allowed.
        allowed: u32,
    },
    /// A person stopped it. Clears by `fettle resume`.
    ByHand {
        /// Who.
        by: PersonName,
        /// Why.
        why: String,
    },
}

/// A breaker opened, or got another reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerOpened {
    /// Which one.
    pub scope: Scope,
    /// Why.
    pub because: OpenReason,
    /// When it goes half-open by itself; `None`: a person must resume it.
    pub half_open_at: Option<UnixMillis>,
}

/// A breaker closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerClosed {
    /// Which one.
    pub scope: Scope,
    /// The probe that succeeded, or `None` when a person closed it.
    pub probe: Option<RunId>,
}

/// A person's order to stop automation in a scope. Reaches agents with its proof, and voids older permits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// Where.
    pub scope: Scope,
    /// Counts stop orders.
    pub epoch: StopEpoch,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}

/// A person's order to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeOrder {
    /// Where.
    pub scope: Scope,
    /// Who.
    pub by: PersonName,
    /// Why.
    pub why: String,
}
