//! Between the vocabulary of [`crate::call`] and the generated bindings, shape by shape.

use super::bindings::playbook::exports::fettle::host::playbook as export;
use super::bindings::playbook::fettle::host::{facts, feature_flags, health, log, releases, services, types};
use crate::call;
use crate::execution::Trigger;
use crate::text::one_line;
use fettle_model::counter;
use fettle_model::run::{Change, Claim, MAX_SAID_BYTES, MAX_SUMMARY_BYTES, UndoClass};
use fettle_model::time::UnixMillis;

/// Most lines of a failure's detail: what a person reads first fits a screen.
const MAX_DETAIL_LINES: usize = 32;

impl From<call::OpenError> for types::OpenError {
    fn from(error: call::OpenError) -> Self {
        match error {
            call::OpenError::Undeclared => Self::Undeclared,
            call::OpenError::Unbound => Self::Unbound,
            call::OpenError::Denied(decision) => Self::Denied(decision),
        }
    }
}

impl From<call::ReadError> for types::ReadError {
    fn from(error: call::ReadError) -> Self {
        match error {
            call::ReadError::NotFound => Self::NotFound,
            call::ReadError::Timeout => Self::Timeout,
            call::ReadError::Unavailable(why) => Self::Unavailable(why),
            call::ReadError::TooLarge(size) => Self::TooLarge(size),
            call::ReadError::Malformed(why) => Self::Malformed(why),
        }
    }
}

impl From<call::ActError> for types::ActError {
    fn from(error: call::ActError) -> Self {
        match error {
            call::ActError::Denied(decision) => Self::Denied(decision),
            call::ActError::Stale(now) => Self::Stale(now.0),
            call::ActError::OffPlan => Self::OffPlan,
            call::ActError::Exhausted(budget) => Self::Exhausted(budget),
            call::ActError::Failed(why) => Self::Failed(why),
            call::ActError::Indeterminate(why) => Self::Indeterminate(why),
        }
    }
}

impl From<call::Receipt> for types::Receipt {
    fn from(receipt: call::Receipt) -> Self {
        Self {
            action_id: receipt.action_id,
            undo: match receipt.undo {
                UndoClass::Automatic => types::Undo::Automatic,
                UndoClass::Expires => types::Undo::Expires,
                UndoClass::None => types::Undo::None,
            },
            changed: match receipt.change {
                Change::Made => true,
                Change::Unneeded => false,
            },
        }
    }
}

impl From<call::Fact> for facts::Fact {
    fn from(fact: call::Fact) -> Self {
        match fact {
            call::Fact::Text(text) => Self::Text(text),
            call::Fact::Integer(integer) => Self::Integer(integer),
            call::Fact::Boolean(boolean) => Self::Boolean(boolean),
            call::Fact::Texts(texts) => Self::Texts(texts),
        }
    }
}

impl From<call::ServiceStatus> for services::Status {
    fn from(status: call::ServiceStatus) -> Self {
        Self {
            activity: status.activity.into(),
            since: status.since.0,
            restarts_last_hour: status.restarts_last_hour,
            main_pid: status.main_pid,
            revision: status.revision.0,
        }
    }
}

impl From<call::Activity> for services::Activity {
    fn from(activity: call::Activity) -> Self {
        match activity {
            call::Activity::Active => Self::Active,
            call::Activity::Inactive => Self::Inactive,
            call::Activity::Activating => Self::Activating,
            call::Activity::Deactivating => Self::Deactivating,
            call::Activity::Failed => Self::Failed,
        }
    }
}

impl From<services::Activity> for call::Activity {
    fn from(activity: services::Activity) -> Self {
        match activity {
            services::Activity::Active => Self::Active,
            services::Activity::Inactive => Self::Inactive,
            services::Activity::Activating => Self::Activating,
            services::Activity::Deactivating => Self::Deactivating,
            services::Activity::Failed => Self::Failed,
        }
    }
}

impl From<call::ReleaseInfo> for releases::Release {
    fn from(release: call::ReleaseInfo) -> Self {
        Self {
            id: release.id,
            version: release.version,
            activated: release.activated.map(|at| at.0),
            known_good: match release.known_good {
                call::Goodness::KnownGood => true,
                call::Goodness::Unproven => false,
            },
        }
    }
}

impl From<call::FlagSetting> for feature_flags::Setting {
    fn from(setting: call::FlagSetting) -> Self {
        Self { value: setting.value, revision: setting.revision.0 }
    }
}

impl From<call::HealthReport> for health::Report {
    fn from(report: call::HealthReport) -> Self {
        Self {
            verdict: match report.verdict {
                call::Verdict::Healthy => health::Verdict::Healthy,
                call::Verdict::Degraded => health::Verdict::Degraded,
                call::Verdict::Unhealthy => health::Verdict::Unhealthy,
                call::Verdict::Unknown => health::Verdict::Unknown,
            },
            reasons: report.reasons,
        }
    }
}

impl From<log::Level> for call::LogLevel {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
        }
    }
}

impl From<&Trigger> for export::Trigger {
    fn from(trigger: &Trigger) -> Self {
        Self {
            run_id: trigger.run.to_string(),
            incident_id: trigger.incident.map(|id| id.to_string()).unwrap_or_default(),
            alert: trigger.alert.clone(),
            fired: trigger.fired.0,
            labels: trigger.labels.clone().into_iter().collect(),
            parameters: trigger.parameters.canonical_text(),
        }
    }
}

/// What the component returned, its text cleaned and cut.
pub(super) fn claim(returned: Result<export::Outcome, export::Failure>) -> Claim {
    let summary = |text: String| one_line(&text, MAX_SUMMARY_BYTES);
    match returned {
        Ok(export::Outcome::Resolved(text)) => Claim::Resolved { summary: summary(text) },
        Ok(export::Outcome::Mitigated((text, until))) => {
            // Documents carry whole numbers up to 2^53 - 1; later is "for ever" all the same.
            Claim::Mitigated { summary: summary(text), until: UnixMillis(until.min(counter::MAX)) }
        }
        Ok(export::Outcome::NoAction(text)) => Claim::NoAction { summary: summary(text) },
        Ok(export::Outcome::Escalate(text)) => Claim::Escalate { summary: summary(text) },
        Err(failure) => Claim::Failed {
            summary: summary(failure.summary),
            detail: failure.detail.iter().take(MAX_DETAIL_LINES).map(|line| one_line(line, MAX_SAID_BYTES)).collect(),
        },
    }
}
