//! Refusals: why automation did not act, as data.
//!
//! Every refusal is a record. Each reason names the rule, its limit, its value and when it may
//! clear, so that "why not?" is a query.

use crate::breaker::{OpenReason, Scope};
use crate::check::CheckRef;
use crate::counter::{ConfigurationGeneration, StopEpoch, TransitionEpoch};
use crate::escalation::Rung;
use crate::evidence::HostClass;
use crate::freeze::FrozenBy;
use crate::id::{HostId, ProposalId, RequestId, RunId};
use crate::name::Label;
use crate::remediation::Mode;
use crate::time::UnixMillis;
use serde::{Deserialize, Serialize};

/// The control plane's answer to a request that it does not grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The request.
    pub request: RequestId,
    /// The run that it would have been.
    pub run: RunId,
    /// The host that asked.
    pub host: HostId,
    /// What it was for; `None` for a drill's fault.
    pub check: Option<CheckRef>,
    /// The transition that it answered.
    pub epoch: Option<TransitionEpoch>,
    /// The check for which a budget in advance was asked for; `None` for a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<CheckRef>,
    /// Every reason that held, not only the first. Never empty.
    pub reasons: Vec<Reason>,
    /// When the agent may ask again by itself; `None`: only when something changes.
    pub retry_at: Option<UnixMillis>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "rule", deny_unknown_fields)]
pub enum Reason {
    /// No remediation answers this check.
    NoRemediation,
    /// The agent asked under an older configuration than the current one.
    ConfigurationStale {
        /// The agent's.
        held: ConfigurationGeneration,
        /// The current one.
        current: ConfigurationGeneration,
    },
    /// The transition that the request names is not the check's newest, or not critical.
    TransitionStale {
        /// The one asked about.
        asked: TransitionEpoch,
        /// The newest that the control plane holds.
        newest: TransitionEpoch,
    },
    /// The remediation's mode does not act by itself.
    Mode {
        /// The mode.
        mode: Mode,
        /// The proposal that waits, in mode `approve`.
        proposal: Option<ProposalId>,
    },
    /// The playbook was not admitted, or the agent holds another version.
    PlaybookNotAdmitted,
    /// No evidence covers this playbook version on this class of host.
    NoEvidence {
        /// The class that is not covered.
        class: HostClass,
        /// Classes that are.
        covered: Vec<HostClass>,
    },
    /// Evidence covers this class of host, but was earned where these labels stood for other kinds of things.
    EvidenceDiffers {
        /// The labels.
        labels: Vec<Label>,
    },
    /// The evidence has expired.
    EvidenceExpired {
        /// When.
        at: UnixMillis,
    },
    /// Cedar says no, or could not be evaluated.
    NotAuthorised {
        /// The ids of the policies that forbade it, or the error; empty when none permitted it.
        policies: Vec<String>,
    },
    /// A breaker is open.
    BreakerOpen {
        /// Which one.
        scope: Scope,
        /// Why it is open.
        because: Vec<OpenReason>,
        /// When it may go half-open by itself.
        clears_at: Option<UnixMillis>,
    },
    /// A half-open breaker's one probe is taken.
    ProbeTaken {
        /// Which breaker.
        scope: Scope,
        /// The run that is the probe.
        run: RunId,
    },
    /// Automation is stopped by hand.
    Stopped {
        /// In which scope.
        scope: Scope,
        /// The stop order.
        epoch: StopEpoch,
    },
    /// A freeze is in force.
    Frozen {
        /// In which scope.
        scope: Scope,
        /// Which one.
        freeze: FrozenBy,
        /// Why it is there.
        why: String,
        /// When it ends by itself; `None` where no end is known.
        clears_at: Option<UnixMillis>,
    },
    /// `max_in_flight` is reached.
    MaxInFlight {
        /// The limit for this group.
        limit: u32,
        /// Permits whose effects may be in progress.
        value: u32,
        /// When the oldest of them is reclaimed at the latest.
        clears_at: Option<UnixMillis>,
    },
    /// A remediation that hits many hosts acts on one first, then on two, doubling while its runs succeed.
    Ramp {
        /// How many at once it has earned.
        limit: u32,
        /// Its runs that are in progress.
        value: u32,
    },
    /// `max_per_window` is reached.
    MaxPerWindow {
        /// The limit.
        limit: u32,
        /// Permits granted in the window.
        value: u32,
        /// When the first of them leaves the window; `None` where the limit is zero.
        clears_at: Option<UnixMillis>,
    },
    /// `max_irreversible` is reached.
    MaxIrreversible {
        /// The limit.
        limit: u32,
        /// Such permits granted in the window.
        value: u32,
        /// When the first of them leaves the window; `None` where the limit is zero.
        clears_at: Option<UnixMillis>,
    },
    /// Too few healthy hosts would be left.
    MinHealthy {
        /// The limit for this group.
        limit: u32,
        /// Healthy hosts without a permit, the target not counted.
        value: u32,
    },
    /// `max_attempts` is reached for this check on this host.
    MaxAttempts {
        /// The limit.
        limit: u32,
        /// Attempts counted.
        value: u32,
        /// The check with which the problem began, where a fix for that brought this one down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        began_with: Option<CheckRef>,
    },
    /// Another rung of the remediation's list is due.
    RungNotDue {
        /// The one asked for.
        asked: Rung,
        /// The one that is due.
        due: Rung,
        /// When the turn of the one that is due is over, where its run has begun.
        clears_at: Option<UnixMillis>,
    },
    /// The turn of the list's last rung is over: it is people's.
    RungsExhausted {
        /// How many rungs it has.
        rungs: u32,
    },
    /// The last run for this check on this host ended too recently.
    Cooldown {
        /// Until when.
        clears_at: UnixMillis,
    },
    /// The host already has a permit whose effects may be in progress.
    HostBusy {
        /// Its run.
        run: RunId,
        /// When it is reclaimed at the latest.
        clears_at: UnixMillis,
    },
    /// The host is quarantined or revoked, or its environment is not the enrolled one.
    HostNotActive,
    /// A label that the manifest asks for is not bound on this host, or nothing is.
    Unbound {
        /// The label; `None`: the request had no target at all.
        label: Option<Label>,
    },
    /// The drill is not running on this host, or its fault was injected before.
    NoSuchDrill,
    /// The remediation gives no budget in advance.
    NoOffline,
    /// The playbook may do something that no inverse undoes: no budget for it is given in advance.
    OfflineIrreversible,
    /// As many hosts of the group hold a budget given in advance as may.
    OfflineHosts {
        /// The limit for this group.
        limit: u32,
        /// Hosts that hold one.
        value: u32,
        /// When the first of them gets a fresh one or gives it back, as far as is known; `None` where none may hold one.
        clears_at: Option<UnixMillis>,
    },
}

impl Reason {
    /// The rule's name in documents, tables and metrics.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NoRemediation => "no-remediation",
            Self::ConfigurationStale { .. } => "configuration-stale",
            Self::TransitionStale { .. } => "transition-stale",
            Self::Mode { .. } => "mode",
            Self::PlaybookNotAdmitted => "playbook-not-admitted",
            Self::NoEvidence { .. } => "no-evidence",
            Self::EvidenceDiffers { .. } => "evidence-differs",
            Self::EvidenceExpired { .. } => "evidence-expired",
            Self::NotAuthorised { .. } => "not-authorised",
            Self::BreakerOpen { .. } => "breaker-open",
            Self::ProbeTaken { .. } => "probe-taken",
            Self::Stopped { .. } => "stopped",
            Self::Frozen { .. } => "frozen",
            Self::MaxInFlight { .. } => "max-in-flight",
            Self::Ramp { .. } => "ramp",
            Self::MaxPerWindow { .. } => "max-per-window",
            Self::MaxIrreversible { .. } => "max-irreversible",
            Self::MinHealthy { .. } => "min-healthy",
            Self::MaxAttempts { .. } => "max-attempts",
            Self::RungNotDue { .. } => "rung-not-due",
            Self::RungsExhausted { .. } => "rungs-exhausted",
            Self::Cooldown { .. } => "cooldown",
            Self::HostBusy { .. } => "host-busy",
            Self::HostNotActive => "host-not-active",
            Self::Unbound { .. } => "unbound",
            Self::NoSuchDrill => "no-such-drill",
            Self::NoOffline => "no-offline",
            Self::OfflineIrreversible => "offline-irreversible",
            Self::OfflineHosts { .. } => "offline-hosts",
        }
    }

    /// When this reason may clear by itself, where a time is known.
    #[must_use]
    pub const fn clears_at(&self) -> Option<UnixMillis> {
        match self {
            Self::BreakerOpen { clears_at, .. }
            | Self::Frozen { clears_at, .. }
            | Self::RungNotDue { clears_at, .. }
            | Self::OfflineHosts { clears_at, .. }
            | Self::MaxInFlight { clears_at, .. }
            | Self::MaxPerWindow { clears_at, .. }
            | Self::MaxIrreversible { clears_at, .. } => *clears_at,
            Self::Cooldown { clears_at } | Self::HostBusy { clears_at, .. } => Some(*clears_at),
            Self::NoRemediation
            | Self::ConfigurationStale { .. }
            | Self::TransitionStale { .. }
            | Self::Mode { .. }
            | Self::PlaybookNotAdmitted
            | Self::NoEvidence { .. }
            | Self::EvidenceDiffers { .. }
            | Self::EvidenceExpired { .. }
            | Self::NotAuthorised { .. }
            | Self::ProbeTaken { .. }
            | Self::Stopped { .. }
            | Self::Ramp { .. }
            | Self::MinHealthy { .. }
            | Self::MaxAttempts { .. }
            | Self::RungsExhausted { .. }
            | Self::HostNotActive
            | Self::Unbound { .. }
            | Self::NoSuchDrill
            | Self::NoOffline
            | Self::OfflineIrreversible => None,
        }
    }
}
