//! The files as serde reads them: kebab-case keys, unknown keys refused, places kept where a later
//! complaint may point.

use super::escalation::RawFurther;
use super::freezes::RawFreeze;
use super::offline::RawOffline;
use super::schedules::RawSchedule;
use crate::breaker_limits::BreakerLimits;
use crate::check::{HostValue, NoAnswer, Presence};
use crate::guard::{Amount, Guard, MAX_APPROVALS, MAX_PER_WINDOW, MAX_WINDOW};
use crate::name::{CheckName, EnvironmentName, HostName, PlaybookName, RemediationName, ServiceName, TeamName};
use crate::promotion::{MAX_AFTER, PromotionLimits};
use crate::remediation::Mode;
use crate::service::Tier;
use crate::time::HumanDuration;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    #[serde(default)]
    pub(super) service: Vec<RawService>,
    #[serde(default)]
    pub(super) remediation: Vec<RawRemediation>,
    pub(super) breakers: Option<Spanned<RawBreakers>>,
    pub(super) rollout: Option<Spanned<RawRollout>>,
    #[serde(default)]
    pub(super) freeze: Vec<RawFreeze>,
    #[serde(default)]
    pub(super) schedule: Vec<RawSchedule>,
    pub(super) promotion: Option<Spanned<RawPromotion>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawService {
    pub(super) name: Spanned<ServiceName>,
    pub(super) owner: TeamName,
    pub(super) tier: Tier,
    pub(super) hosts: Spanned<RawHosts>,
    #[serde(default)]
    pub(super) check: Vec<RawCheck>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawHosts {
    #[serde(default)]
    pub(super) environments: BTreeSet<EnvironmentName>,
    #[serde(default)]
    pub(super) names: BTreeSet<HostName>,
}

/// All probes' keys side by side: an internally tagged enum would lose the places.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawCheck {
    pub(super) name: Spanned<CheckName>,
    pub(super) kind: Spanned<ProbeKind>,
    #[serde(default = "default_interval")]
    pub(super) interval: HumanDuration,
    #[serde(default = "default_timeout")]
    pub(super) timeout: HumanDuration,
    #[serde(default = "default_fail_after")]
    pub(super) fail_after: u32,
    #[serde(default = "default_recover_after")]
    pub(super) recover_after: u32,
    pub(super) url: Option<Spanned<HostValue>>,
    pub(super) expect_status: Option<Spanned<Vec<u16>>>,
    pub(super) expect_body: Option<Spanned<String>>,
    pub(super) no_answer: Option<Spanned<NoAnswer>>,
    pub(super) address: Option<Spanned<HostValue>>,
    pub(super) pid_file: Option<Spanned<HostValue>>,
    pub(super) unit: Option<Spanned<HostValue>>,
    pub(super) resource: Option<Spanned<ResourceKind>>,
    pub(super) path: Option<Spanned<HostValue>>,
    pub(super) warning_percent: Option<Spanned<u8>>,
    pub(super) critical_percent: Option<Spanned<u8>>,
    pub(super) must: Option<Spanned<Presence>>,
    pub(super) max_age: Option<Spanned<HumanDuration>>,
    pub(super) command: Option<Spanned<CheckName>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ProbeKind {
    Http,
    Tcp,
    Process,
    SystemdUnit,
    Resource,
    File,
    Command,
}

impl ProbeKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Process => "process",
            Self::SystemdUnit => "systemd-unit",
            Self::Resource => "resource",
            Self::File => "file",
            Self::Command => "command",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ResourceKind {
    Cpu,
    Memory,
    Swap,
    Disk,
}

const fn default_interval() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(10))
}

const fn default_timeout() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(5))
}

const fn default_fail_after() -> u32 {
    3
}

const fn default_recover_after() -> u32 {
    2
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRemediation {
    pub(super) name: Spanned<RemediationName>,
    pub(super) service: Spanned<ServiceName>,
    pub(super) check: Spanned<CheckName>,
    pub(super) playbook: Spanned<PlaybookName>,
    #[serde(default)]
    pub(super) parameters: Option<Spanned<BTreeMap<String, serde_json::Value>>>,
    #[serde(default)]
    pub(super) modes: BTreeMap<EnvironmentName, Mode>,
    #[serde(default)]
    pub(super) guard: RawGuard,
    pub(super) timeout: Option<Spanned<HumanDuration>>,
    #[serde(default)]
    pub(super) then: Vec<RawFurther>,
    pub(super) offline: Option<Spanned<RawOffline>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawGuard {
    pub(super) max_in_flight: Option<Amount>,
    min_healthy: Option<Amount>,
    pub(super) max_attempts: Option<u32>,
    cooldown: Option<HumanDuration>,
    healthy_for: Option<HumanDuration>,
    max_failures: Option<u32>,
    failure_window: Option<HumanDuration>,
    max_per_window: Option<Spanned<u32>>,
    max_irreversible: Option<Spanned<u32>>,
    window: Option<Spanned<HumanDuration>>,
    approvals: Option<Spanned<u32>>,
}

impl From<RawGuard> for Guard {
    fn from(raw: RawGuard) -> Self {
        let RawGuard {
            max_in_flight,
            min_healthy,
            max_attempts,
            cooldown,
            healthy_for,
            max_failures,
            failure_window,
            max_per_window,
            max_irreversible,
            window,
            approvals,
        } = raw;
        let default = Self::default();
        Self {
            max_in_flight: max_in_flight.unwrap_or(default.max_in_flight),
            min_healthy: min_healthy.unwrap_or(default.min_healthy),
            max_attempts: max_attempts.unwrap_or(default.max_attempts),
            cooldown: cooldown.map_or(default.cooldown, |d| d.0),
            healthy_for: healthy_for.map_or(default.healthy_for, |d| d.0),
            max_failures: max_failures.unwrap_or(default.max_failures),
            failure_window: failure_window.map_or(default.failure_window, |d| d.0),
            max_per_window: max_per_window.map_or(default.max_per_window, Spanned::into_inner),
            max_irreversible: max_irreversible.map_or(default.max_irreversible, Spanned::into_inner),
            window: window.map_or(default.window, |d| d.into_inner().0),
            approvals: approvals.map_or(default.approvals, Spanned::into_inner),
        }
    }
}

impl RawGuard {
    /// What lies outside the bounds within which permits are remembered.
    pub(super) fn complain(&self, complaints: &mut super::Complaints<'_>) {
        for (key, count) in [("max-per-window", &self.max_per_window), ("max-irreversible", &self.max_irreversible)] {
            if let Some(count) = count.as_ref().filter(|count| *count.get_ref() > MAX_PER_WINDOW) {
                complaints.at(
                    count.span(),
                    format!("{key} is {}, more than {MAX_PER_WINDOW}", count.get_ref()),
                    "write a smaller number: so many permits are not remembered",
                );
            }
        }
        if let Some(count) = self.approvals.as_ref().filter(|count| !(1..=MAX_APPROVALS).contains(count.get_ref())) {
            complaints.at(
                count.span(),
                format!("approvals is {}, not 1 to {MAX_APPROVALS}", count.get_ref()),
                "write how many people must approve a run in mode approve",
            );
        }
        if let Some(window) = self.window.as_ref().filter(|window| {
            let window = window.get_ref().0;
            window.is_zero() || window > MAX_WINDOW
        }) {
            complaints.at(window.span(), "window is not above 0 and at most 24h", "write for example window = \"1h\"");
        }
    }
}

/// One table for all files.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct RawBreakers {
    environment_failures: Option<u32>,
    global_failures: Option<u32>,
    failure_window: Option<HumanDuration>,
    cooldown: Option<HumanDuration>,
    storm: Option<Amount>,
    storm_window: Option<HumanDuration>,
    blindness: Option<Amount>,
    silent_after: Option<HumanDuration>,
    log_lag: Option<HumanDuration>,
    steady_for: Option<HumanDuration>,
}

impl From<RawBreakers> for BreakerLimits {
    fn from(raw: RawBreakers) -> Self {
        let RawBreakers {
            environment_failures,
            global_failures,
            failure_window,
            cooldown,
            storm,
            storm_window,
            blindness,
            silent_after,
            log_lag,
            steady_for,
        } = raw;
        let default = Self::default();
        Self {
            environment_failures: environment_failures.unwrap_or(default.environment_failures),
            global_failures: global_failures.unwrap_or(default.global_failures),
            failure_window: failure_window.map_or(default.failure_window, |d| d.0),
            cooldown: cooldown.map_or(default.cooldown, |d| d.0),
            storm: storm.unwrap_or(default.storm),
            storm_window: storm_window.map_or(default.storm_window, |d| d.0),
            blindness: blindness.unwrap_or(default.blindness),
            silent_after: silent_after.map_or(default.silent_after, |d| d.0),
            log_lag: log_lag.map_or(default.log_lag, |d| d.0),
            steady_for: steady_for.map_or(default.steady_for, |d| d.0),
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawRollout {
    pub(super) soak: Option<Spanned<HumanDuration>>,
    pub(super) part: Option<Amount>,
}

/// One table for all files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawPromotion {
    after: Spanned<u32>,
}

impl RawPromotion {
    pub(super) fn limits(&self, complaints: &mut super::Complaints<'_>) -> PromotionLimits {
        let after = *self.after.get_ref();
        if !(1..=MAX_AFTER).contains(&after) {
            complaints.at(
                self.after.span(),
                format!("after is {after}, not 1 to {MAX_AFTER}"),
                "write after how many runs that held the next mode is proposed",
            );
        }
        PromotionLimits { after }
    }
}
