//! Generated tests: every error variant at every call that can fail, once each.
//!
//! What must hold needs no author: the playbook never traps, ends within its limits, does nothing
//! after it was refused, looks before it acts again on what it cannot tell, and what can be undone
//! of a failed run is undone.

use super::Findings;
use super::drive::{Executor, Report, RunError, run, run_with_crashes};
use super::format::Scenario;
use crate::call::{ActError, Reply};
use crate::journal::{Asked, Deed as _, Entry, must_be_looked_at, next_inverse, undone};
use crate::simulate::{Effectiveness, Injection, Sight, SimDeed, Variant, name};
use fettle_model::playbook::{Manifest, UndoPolicy};
use fettle_model::run::{Ending, StepOutcome};
use std::collections::{BTreeMap, BTreeSet};

/// Runs the scenario once for each error at each call of its own course.
///
/// # Errors
/// When a run does not come to an end.
pub fn faults(scenario: &Scenario, manifest: &Manifest, executor: &mut Executor<'_>) -> Result<Findings, RunError> {
    let sound = run(scenario, manifest, executor)?;
    let mut findings = Findings { runs: 1, violations: Vec::new() };
    for injection in injections(&sound) {
        let report = run_with_crashes(
            scenario,
            manifest,
            std::slice::from_ref(&injection),
            Sight::Clear,
            &BTreeMap::new(),
            executor,
        )?;
        findings.runs += 1;
        let at = format!("{} #{} {:?} {:?}", injection.call, injection.nth, injection.returns, injection.effect);
        let violations = violations(&report, manifest);
        findings.violations.extend(violations.into_iter().map(|violation| format!("{at}: {violation}")));
    }
    Ok(findings)
}

fn injections(sound: &Report) -> Vec<Injection> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut injections = Vec::new();
    for entry in &sound.entries {
        let (call, answered) = if let Entry::Read { call, reply, .. } = entry {
            (call, reply.clone())
        } else if let Entry::Intent { asked: Asked::Playbook(call), .. } = entry {
            (call, Reply::Acted(Err(ActError::OffPlan)))
        } else {
            continue;
        };
        let call = name(call);
        let nth = counts.entry(call.clone()).or_default();
        *nth += 1;
        for returns in Variant::all_for(&answered) {
            let effects: &[Effectiveness] = match returns {
                Variant::Indeterminate(_) => &[Effectiveness::None, Effectiveness::Happens],
                Variant::Undeclared
                | Variant::Unbound
                | Variant::NotFound
                | Variant::Timeout
                | Variant::Unavailable(_)
                | Variant::TooLarge(_)
                | Variant::Malformed(_)
                | Variant::Denied(_)
                | Variant::Stale(_)
                | Variant::OffPlan
                | Variant::Exhausted(_)
                | Variant::Failed(_) => &[Effectiveness::None],
            };
            injections.extend(effects.iter().map(|effect| Injection {
                call: call.clone(),
                nth: *nth,
                returns: returns.clone(),
                effect: *effect,
            }));
        }
    }
    injections
}

/// What must not be in any run.
pub(super) fn violations(report: &Report, manifest: &Manifest) -> Vec<String> {
    let mut violations = Vec::new();
    let mut refused = false;
    let mut effects = BTreeSet::new();
    for (at, entry) in report.entries.iter().enumerate() {
        if let Entry::Returned { claim: Err(stop), .. } = entry {
            violations.push(stop.to_string());
        }
        if let Entry::Refused { call, .. } | Entry::Intent { asked: Asked::Playbook(call), .. } = entry {
            if refused {
                violations.push(format!("{call} after it had been refused"));
            }
            let before = report.entries.get(..at).unwrap_or_default();
            if let Some(deed) = SimDeed::of(call)
                && must_be_looked_at(before, deed.label())
            {
                violations.push(format!("{call} before a look at what it cannot tell"));
            }
        }
        if let Entry::Intent { number, .. } = entry {
            effects.insert(*number);
        }
        refused |= is_refusal(entry);
    }
    if effects.len() > usize::try_from(manifest.limits.actions).unwrap_or(usize::MAX) {
        violations.push(format!("{} effects, and the manifest allows {}", effects.len(), manifest.limits.actions));
    }
    if report.performed > effects.len() + undo_intents(&report.entries) {
        violations.push("an effect happened twice".to_owned());
    }
    if report.records != 1 {
        violations.push(format!("the run ended {} times", report.records));
    }
    let undoes = manifest.on_failure.undo == UndoPolicy::Automatic;
    // An inverse that was refused or interrupted ends the undoing: those before it rest on it.
    let stopped = undone(&report.entries).iter().any(|step| !matches!(step.outcome, StepOutcome::Done { .. }));
    if undoes && !stopped && report.outcome == Ending::Failed && next_inverse(&report.entries).is_some() {
        violations.push("it failed, and what can be undone was not".to_owned());
    }
    violations
}

fn undo_intents(entries: &[Entry<SimDeed>]) -> usize {
    entries.iter().filter(|entry| matches!(entry, Entry::UndoIntent { .. })).count()
}

fn is_refusal(entry: &Entry<SimDeed>) -> bool {
    let (Entry::Refused { error, .. } | Entry::Outcome { result: Err(error), .. }) = entry else { return false };
    match error {
        ActError::Denied(_) | ActError::OffPlan | ActError::Exhausted(_) => true,
        ActError::Stale(_) | ActError::Failed(_) | ActError::Indeterminate(_) => false,
    }
}
