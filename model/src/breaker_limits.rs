//! The limits of breakers that no single remediation owns: those of whole environments and of everything, and
//! those that open on a storm, on blindness and on a log that lags. Set by `[breakers]` in the operators' files.

use crate::guard::Amount;
use crate::time::millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The limits; defaults are on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerLimits {
    /// Failures allowed in one environment within `failure_window`, whatever the service.
    pub environment_failures: u32,
    /// Failures allowed anywhere within `failure_window`.
    pub global_failures: u32,
    /// The window of both.
    #[serde(with = "millis", rename = "failure_window_ms")]
    pub failure_window: Duration,
    /// How long they stay open before they let a probe pass, and how long a storm must have been over.
    #[serde(with = "millis", rename = "cooldown_ms")]
    pub cooldown: Duration,
    /// Unique hosts of a group that may be unhealthy within `storm_window`: of a service in an environment, of
    /// an environment, of everything.
    pub storm: Amount,
    /// The window in which hosts count as unhealthy after they recovered.
    #[serde(with = "millis", rename = "storm_window_ms")]
    pub storm_window: Duration,
    /// Agents of an environment, or of everything, that may be silent.
    pub blindness: Amount,
    /// An agent is silent when it was not heard for this long.
    #[serde(with = "millis", rename = "silent_after_ms")]
    pub silent_after: Duration,
    /// How long it may take until a record is durable and published.
    #[serde(with = "millis", rename = "log_lag_ms")]
    pub log_lag: Duration,
    /// For how long agents must have been heard, and the log have kept up, before automation goes on.
    #[serde(with = "millis", rename = "steady_for_ms")]
    pub steady_for: Duration,
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self {
            environment_failures: 5,
            global_failures: 10,
            failure_window: Duration::from_hours(1),
            cooldown: Duration::from_mins(15),
            storm: Amount::Percent(30),
            storm_window: Duration::from_mins(5),
            blindness: Amount::Percent(50),
            // Four missed heartbeats.
            silent_after: Duration::from_mins(2),
            log_lag: Duration::from_secs(10),
            steady_for: Duration::from_mins(1),
        }
    }
}
