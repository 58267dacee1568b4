//! Breakers: switches with a scope that stop automation.

use crate::counter::StopEpoch;
use crate::id::RunId;
use crate::name::{EnvironmentName, PersonName, PlaybookName, ServiceName};
use crate::time::{UnixMillis, millis};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

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
    /// More unique hosts of a group unhealthy within the window than allowed. Goes half-open once it has been
    /// over for the cooldown.
    Storm {
        /// Hosts that are unhealthy, or were within the window.
        unhealthy: u32,
        /// Hosts of the group.
        hosts: u32,
        /// Unhealthy ones allowed.
        allowed: u32,
    },
    /// More agents not heard from than allowed. Clears when enough of them have been heard for a while.
    Blindness {
        /// Agents that are silent.
        silent: u32,
        /// Agents that should be heard.
        hosts: u32,
        /// Silent ones allowed.
        allowed: u32,
    },
    /// The log takes too long to become durable and published. Clears when it has kept up for a while.
    LogLag {
        /// How long a record took.
        #[serde(with = "millis", rename = "lag_ms")]
        lag: Duration,
        /// How long it may take.
        #[serde(with = "millis", rename = "allowed_ms")]
        allowed: Duration,
    },
    /// A person stopped it. Clears by `fettle resume`.
    ByHand {
        /// Who.
        by: PersonName,
        /// Why.
        why: String,
    },
}

/// The kind of a reason: a breaker has at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonKind {
    /// [`OpenReason::Failures`].
    Failures,
    /// [`OpenReason::Storm`].
    Storm,
    /// [`OpenReason::Blindness`].
    Blindness,
    /// [`OpenReason::LogLag`].
    LogLag,
    /// [`OpenReason::ByHand`].
    ByHand,
}

impl ReasonKind {
    /// The kind as it stands in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Storm => "storm",
            Self::Blindness => "blindness",
            Self::LogLag => "log-lag",
            Self::ByHand => "by-hand",
        }
    }

    /// Whether a reason of this kind ends without a person, at a time that nobody knows beforehand.
    #[must_use]
    pub const fn passes(self) -> bool {
        match self {
            Self::Storm | Self::Blindness | Self::LogLag => true,
            Self::Failures | Self::ByHand => false,
        }
    }
}

impl OpenReason {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ReasonKind {
        match self {
            Self::Failures { .. } => ReasonKind::Failures,
            Self::Storm { .. } => ReasonKind::Storm,
            Self::Blindness { .. } => ReasonKind::Blindness,
            Self::LogLag { .. } => ReasonKind::LogLag,
            Self::ByHand { .. } => ReasonKind::ByHand,
        }
    }

    /// Who can clear it: the person who gave it, or nobody but the control plane, by the reason's own rule.
    #[must_use]
    pub const fn owner(&self) -> Option<&PersonName> {
        match self {
            Self::ByHand { by, .. } => Some(by),
            Self::Failures { .. } | Self::Storm { .. } | Self::Blindness { .. } | Self::LogLag { .. } => None,
        }
    }
}

/// A reason for which a breaker is open has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerEased {
    /// Which breaker.
    pub scope: Scope,
    /// Which of its reasons.
    pub reason: ReasonKind,
    /// What that brings.
    pub easing: Easing,
}

/// What the end of a reason brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Easing {
    /// The reason stands until a probe has succeeded; one may pass from then on.
    HalfOpen {
        /// From when on.
        at: UnixMillis,
    },
    /// The reason is gone; a breaker without reasons is closed.
    Gone,
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
