//! A playbook's claim, made fit for people and for the log.
//!
//! The worker has done so already; the effector does not rely on the worker.

use crate::text::one_line;
use fettle_model::run::{Claim, MAX_SAID_BYTES, MAX_SUMMARY_BYTES};

/// Most lines of detail that a failed claim keeps: one screen.
pub const MAX_DETAIL_LINES: usize = 32;

/// The claim with its text in single lines, cut to what a run record may hold.
#[must_use]
pub fn cleaned(claim: Claim) -> Claim {
    let line = |text: String| one_line(&text, MAX_SUMMARY_BYTES);
    match claim {
        Claim::Resolved { summary } => Claim::Resolved { summary: line(summary) },
        Claim::Mitigated { summary, until } => Claim::Mitigated { summary: line(summary), until },
        Claim::NoAction { summary } => Claim::NoAction { summary: line(summary) },
        Claim::Escalate { summary } => Claim::Escalate { summary: line(summary) },
        Claim::Failed { summary, detail } => Claim::Failed {
            summary: line(summary),
            detail: detail.iter().take(MAX_DETAIL_LINES).map(|text| one_line(text, MAX_SAID_BYTES)).collect(),
        },
    }
}
