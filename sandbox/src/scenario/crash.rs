//! Generated tests: a crash at every entry of the journal, before and after what follows it.
//!
//! The run goes on by replay and must come to the same end, world and trace. Three exceptions are
//! known. A crash between an intent and its effect leaves the effect undone for good, since it is
//! never tried again; the playbook is told, and must come to a sound end of its own. Before the first
//! effect the check is run again, so that a run that found nothing to do may be superseded. And where
//! the outcome of an effect could not be told, looking after a crash may tell it.

use super::Findings;
use super::drive::{CrashAt, Executor, Report, RunError, run, run_with_crashes};
use super::fault::violations;
use super::format::Scenario;
use crate::call::ActError;
use crate::journal::{Entry, Look};
use crate::simulate::{Sight, SimDeed};
use fettle_model::playbook::Manifest;
use fettle_model::run::Ending;
use std::collections::BTreeMap;

/// Runs the scenario once for each crash point of its own course.
///
/// # Errors
/// When a run does not come to an end.
pub fn crashes(scenario: &Scenario, manifest: &Manifest, executor: &mut Executor<'_>) -> Result<Findings, RunError> {
    let whole = run(scenario, manifest, executor)?;
    let mut findings = Findings { runs: 1, violations: Vec::new() };
    for written in 1..=whole.entries.len() {
        for when in [CrashAt::Before, CrashAt::After] {
            let at = BTreeMap::from([(written, when)]);
            let report = run_with_crashes(scenario, manifest, &[], Sight::Clear, &at, executor)?;
            findings.runs += 1;
            let found = differences(&whole, &report).into_iter().chain(violations(&report, manifest));
            findings.violations.extend(found.map(|violation| format!("crash at {written} {when:?}: {violation}")));
        }
    }
    Ok(findings)
}

fn differences(whole: &Report, report: &Report) -> Vec<String> {
    let gone_meanwhile = report.outcome == Ending::Superseded && (whole.performed, report.performed) == (0, 0);
    if gone_meanwhile || was_not_applied(&report.entries) || was_cleared_up(&whole.entries, &report.entries) {
        return Vec::new();
    }
    let mut differences = Vec::new();
    if report.outcome != whole.outcome {
        differences.push(format!("it ended {}, not {}", report.outcome.as_str(), whole.outcome.as_str()));
    }
    if (&report.state, &report.changed) != (&whole.state, &whole.changed) {
        differences.push("the world is another one".to_owned());
    }
    if report.trace != whole.trace {
        differences.push("the trace is another one".to_owned());
    }
    differences
}

/// Whether the crash came between an intent and its effect.
fn was_not_applied(entries: &[Entry<SimDeed>]) -> bool {
    entries.iter().any(|entry| {
        matches!(
            entry,
            Entry::Resolved { look: Look::NotApplied, .. } | Entry::UndoResolved { look: Look::NotApplied, .. }
        )
    })
}

/// Whether looking after the crash told what the uninterrupted run was not told.
fn was_cleared_up(whole: &[Entry<SimDeed>], entries: &[Entry<SimDeed>]) -> bool {
    whole.iter().any(|entry| matches!(entry, Entry::Outcome { result: Err(ActError::Indeterminate(_)), .. }))
        && entries.iter().any(|entry| matches!(entry, Entry::Resolved { look: Look::Applied(_), .. }))
}
