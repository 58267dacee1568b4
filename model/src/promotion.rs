//! Promotions: the control plane's word that a remediation has earned to be trusted further in an environment.
//!
//! Nothing is promoted by itself: a person writes the next mode into the operators' files and applies them. Decides
//! nothing.

use crate::configuration::Configuration;
use crate::counter::LogPosition;
use crate::digest::DocumentDigest;
use crate::escalation::Rung;
use crate::name::{EnvironmentName, RemediationName};
use crate::remediation::{Mode, PlaybookVersion};
use serde::{Deserialize, Serialize};

/// Most runs that may be asked for: their positions stand in the record, a hundred of eight bytes.
pub const MAX_AFTER: u32 = 100;

/// When the next mode is proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionLimits {
    /// After so many runs, or plans, one after the other; 1 to [`MAX_AFTER`].
    pub after: u32,
}

impl Default for PromotionLimits {
    fn default() -> Self {
        // Where each of them fails with even odds, all ten succeed once in a thousand times.
        Self { after: 10 }
    }
}

/// The mode after this one; `None` after the last.
#[must_use]
pub const fn next_mode(mode: Mode) -> Option<Mode> {
    match mode {
        Mode::Observe => Some(Mode::Approve),
        Mode::Approve => Some(Mode::Auto),
        Mode::Auto => None,
    }
}

/// What is trusted, and where: a rung of a remediation in an environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionOf {
    /// The remediation.
    pub remediation: RemediationName,
    /// The rung of its list.
    #[serde(default, skip_serializing_if = "Rung::is_first")]
    pub rung: Rung,
    /// The environment.
    pub environment: EnvironmentName,
}

/// What a rung is configured as in an environment; `None` where there is no such rung.
#[must_use]
pub fn trusted(configuration: &Configuration, of: &PromotionOf) -> Option<EarnedWith> {
    let placed = configuration.remediation(&of.remediation)?.at(of.rung)?;
    let (mode, parameters) = (placed.mode_in(&of.environment), placed.parameters.digest());
    Some(EarnedWith { mode, playbook: placed.into_owned().playbook, parameters })
}

/// What was earned with: a change of any of it begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarnedWith {
    /// The mode in which it was earned.
    pub mode: Mode,
    /// The playbook.
    pub playbook: PlaybookVersion,
    /// SHA-256 over its parameters.
    pub parameters: DocumentDigest,
}

/// The next mode is proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionProposed {
    /// Of what, and where.
    pub of: PromotionOf,
    /// With what it was earned.
    pub with: EarnedWith,
    /// The mode that is proposed.
    pub to: Mode,
    /// How many were asked for.
    pub after: u32,
    /// By what it was earned, in the order of the log: the ends of runs in mode `approve`, the plans in mode `observe`.
    pub earned_by: Vec<LogPosition>,
}

/// How far a promotion is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionRow {
    /// Of what, and where.
    pub of: PromotionOf,
    /// With what it is earned.
    pub with: EarnedWith,
    /// The next mode.
    pub to: Mode,
    /// How many are asked for.
    pub after: u32,
    /// By what it is earned so far.
    pub earned_by: Vec<LogPosition>,
    /// Runs that succeeded and have not held for long enough yet.
    pub proving: u32,
    /// The record that set it back last.
    pub set_back: Option<LogPosition>,
    /// The record that proposes it.
    pub proposed: Option<LogPosition>,
}
