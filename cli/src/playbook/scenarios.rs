//! Runs a package's scenarios against simulated hosts. Called by `playbook test`, and by `playbook publish` where no
//! report was handed to it.
//!
//! Each scenario is run as written, then with every error variant at every call, then with a crash at
//! every record of the journal. The component is the real one, in the engine of the agent's worker.

use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::file;
use crate::plain::plain;
use crate::table::{count, table};
use fettle_model::digest::DocumentDigest;
use fettle_model::run::Ending;
use fettle_model::scenarios::{MAX_SCENARIOS, ScenarioReport, ScenarioResult, ScenarioRun};
use fettle_sandbox::package::Package;
use fettle_sandbox::scenario::component::Component;
use fettle_sandbox::scenario::{self, Findings, RunError, Scenario};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Largest scenario and largest golden trace: some thousand lines.
const MAX_TEXT_BYTES: usize = 256 * 1024;
/// Violations that are shown of one scenario; one broken rule often breaks all injected runs.
const MAX_SHOWN: usize = 10;

/// What becomes of the golden traces that scenarios name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Traces {
    /// They must be produced line for line.
    Compared,
    /// They are written anew.
    Accepted,
}

/// What came of one scenario.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    file: String,
    digest: DocumentDigest,
    title: String,
    /// How the run as written ended.
    ended: Ending,
    /// Runs with an injected error.
    errors: u32,
    /// Runs with a crash.
    crashes: u32,
    /// What is wrong, one line each.
    wrong: Vec<String>,
}

impl Outcome {
    pub(super) fn result(&self) -> ScenarioResult {
        if self.wrong.is_empty() { ScenarioResult::Passed } else { ScenarioResult::Failed }
    }
}

/// Runs all scenarios of a folder with a package's component.
///
/// # Errors
/// When there are none or too many, one cannot be read, or the component cannot be run.
pub(super) fn run(package: &Package, folder: &Path, traces: Traces) -> Result<Vec<Outcome>, Failure> {
    let scenarios = read(folder, package)?;
    let component = Component::new(package).map_err(|error| {
        Failure::caused(Exit::Invalid, &error, "build the component anew, with the SDK of this version")
    })?;
    scenarios.iter().map(|written| try_out(written, &component, traces)).collect()
}

/// What a publisher signs of it.
pub(super) fn report(package: &Package, outcomes: &[Outcome]) -> ScenarioReport {
    let scenarios = outcomes.iter().map(|outcome| ScenarioRun {
        file: outcome.digest,
        title: outcome.title.clone(),
        ended: outcome.ended,
        errors: outcome.errors,
        crashes: outcome.crashes,
        result: outcome.result(),
    });
    ScenarioReport { digest: package.digest(), scenarios: scenarios.collect() }
}

/// A scenario and its file.
struct Written {
    path: PathBuf,
    digest: DocumentDigest,
    scenario: Scenario,
}

fn read(folder: &Path, package: &Package) -> Result<Vec<Written>, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| file::unreadable(folder, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| file::unreadable(folder, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    if paths.is_empty() || paths.len() > MAX_SCENARIOS {
        let message = format!("{} holds {} scenarios", folder.display(), paths.len());
        let remedy = format!("write 1 to {MAX_SCENARIOS}; nothing tested is no success");
        return Err(Failure::new(Exit::Invalid, message, remedy));
    }
    paths.sort();
    let mut scenarios = Vec::new();
    for path in paths {
        let text = file::read_text(&path, MAX_TEXT_BYTES)?;
        let scenario = Scenario::from_toml(&text, package.manifest()).map_err(|error| {
            let message = format!("{}:{}: {}", path.display(), error.line, error.message);
            Failure::new(Exit::Invalid, message, "correct the scenario; the standard playbooks' ones show every key")
        })?;
        scenarios.push(Written { path, digest: DocumentDigest::of(text.as_bytes()), scenario });
    }
    Ok(scenarios)
}

fn try_out(written: &Written, component: &Component, traces: Traces) -> Result<Outcome, Failure> {
    let Written { path, digest, scenario } = written;
    let broken = |error: RunError| {
        let failure = Failure::internal(format!("{}: {}", path.display(), chain(&error)));
        Failure { remedy: "report it with the scenario and the component".to_owned(), ..failure }
    };
    let manifest = component.manifest();
    let mut executor = |trigger: &_, host: &mut dyn FnMut(_) -> _| component.execute(trigger, host);
    let report = scenario::run(scenario, manifest, &mut executor).map_err(broken)?;
    let golden = match &scenario.expect.trace {
        Some(name) => {
            let place = path.parent().unwrap_or(Path::new("")).join(name);
            match traces {
                Traces::Accepted => file::write(&place, report.trace.as_bytes())?,
                Traces::Compared => {}
            }
            Some(file::read_text(&place, MAX_TEXT_BYTES)?)
        }
        None => None,
    };
    let mut wrong = report.differences(scenario, golden.as_deref());
    let faults = scenario::faults(scenario, manifest, &mut executor).map_err(broken)?;
    let crashes = scenario::crashes(scenario, manifest, &mut executor).map_err(broken)?;
    let found = |what: &str, findings: &Findings| -> Vec<String> {
        findings.violations.iter().map(|violation| format!("{what}: {violation}")).collect()
    };
    wrong.extend(found("with an injected error", &faults));
    wrong.extend(found("with a crash", &crashes));
    // Each of the two begins with a run in which nothing is injected.
    let injected = |findings: &Findings| findings.runs.saturating_sub(1);
    Ok(Outcome {
        file: path.display().to_string(),
        digest: *digest,
        title: scenario.title.clone(),
        ended: report.outcome,
        errors: injected(&faults),
        crashes: injected(&crashes),
        wrong,
    })
}

/// What came of them, as a table, and below it what is wrong.
pub(super) fn told(outcomes: &[Outcome]) -> String {
    let cells = outcomes.iter().map(|outcome| {
        let result = match outcome.result() {
            ScenarioResult::Passed => "passed",
            ScenarioResult::Failed => "FAILED",
        };
        [
            result.to_owned(),
            outcome.title.clone(),
            outcome.ended.as_str().to_owned(),
            outcome.errors.to_string(),
            outcome.crashes.to_string(),
        ]
    });
    let mut text =
        table(["RESULT", "SCENARIO", "ENDED", "RUNS WITH AN ERROR", "RUNS WITH A CRASH"], cells.collect(), "");
    for outcome in outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()) {
        text.push_str(&format!("\n{} ({}):\n", plain(&outcome.title), outcome.file));
        for line in outcome.wrong.iter().take(MAX_SHOWN).flat_map(|wrong| wrong.lines()) {
            text.push_str(&format!("  {}\n", plain(line)));
        }
        let more = outcome.wrong.len().saturating_sub(MAX_SHOWN);
        if more > 0 {
            text.push_str(&format!("  and {more} more; --json lists all\n"));
        }
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.wrong.is_empty()).count();
    let runs: u64 = outcomes.iter().map(|outcome| u64::from(outcome.errors) + u64::from(outcome.crashes) + 1).sum();
    text.push_str(&format!(
        "\n{}, {failed} failed, {} in all\n",
        count(u64::try_from(outcomes.len()).unwrap_or(u64::MAX), "scenario"),
        count(runs, "run")
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_below_the_table() {
        let outcome = |title: &str, wrong: Vec<String>| Outcome {
            file: format!("scenarios/{title}.toml"),
            digest: DocumentDigest::of(title.as_bytes()),
            title: title.to_owned(),
            ended: Ending::Succeeded,
            errors: 31,
            crashes: 44,
            wrong,
        };
        let wrong = (0..12).map(|number| format!("with a crash: at {number}")).collect();
        insta::assert_snapshot!(told(&[outcome("hangs", Vec::new()), outcome("dies", wrong)]));
    }
}
