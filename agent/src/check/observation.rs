//! What probes say and what the schedule makes of it. The daemon passes [`Change`]s to the effector.

use super::reason::Reason;
use fettle_model::check::{CheckRef, Status};
use fettle_model::time::UnixMillis;

/// What one probe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The status.
    pub status: Status,
    /// Why.
    pub reason: Reason,
}

impl Verdict {
    /// As it should be.
    #[must_use]
    pub fn passing(reason: &str) -> Self {
        Self { status: Status::Passing, reason: Reason::new(reason) }
    }

    /// Not as it should be.
    #[must_use]
    pub fn warning(reason: &str) -> Self {
        Self { status: Status::Warning, reason: Reason::new(reason) }
    }

    /// Broken.
    #[must_use]
    pub fn critical(reason: &str) -> Self {
        Self { status: Status::Critical, reason: Reason::new(reason) }
    }

    /// The probe could not tell.
    #[must_use]
    pub fn unknown(reason: &str) -> Self {
        Self { status: Status::Unknown, reason: Reason::new(reason) }
    }
}

/// One probe's verdict on one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Which check.
    pub check: CheckRef,
    /// The status.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// When the probe ended.
    pub at: UnixMillis,
}

/// A check changed its status, after damping. The effector gives it an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which check.
    pub check: CheckRef,
    /// Before; `None`: it never had a status.
    pub from: Option<Status>,
    /// After.
    pub to: Status,
    /// When the last probe ended.
    pub at: UnixMillis,
    /// What the last probe said.
    pub reason: Reason,
}

/// One probe's verdict and what followed from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// The verdict.
    pub observation: Observation,
    /// The change, if this verdict completed one.
    pub change: Option<Change>,
}
