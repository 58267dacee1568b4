//! Runs a playbook's scenarios against simulated hosts: the author's inner loop, and the second
//! stage of validation (design, section 7).
//!
//! Each scenario is run as written, then with every error variant at every call, then with a crash at
//! every record of the journal. The component is the real one, in the engine of the agent's worker.

use super::publish::read_package;
use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::file;
use crate::plain::plain;
use crate::table::{count, table};
use clap::Args;
use fettle_model::playbook::{MAX_MANIFEST_BYTES, MAX_PACKAGE_BYTES};
use fettle_sandbox::package::Package;
use fettle_sandbox::scenario::component::Component;
use fettle_sandbox::scenario::{self, Findings, RunError, Scenario};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Largest scenario and largest golden trace: some thousand lines.
const MAX_TEXT_BYTES: usize = 256 * 1024;
/// Most scenarios of one playbook.
const MAX_SCENARIOS: usize = 200;
/// Violations that are shown of one scenario; one broken rule often breaks all injected runs.
const MAX_SHOWN: usize = 10;

pub(super) const HELP: &str = "\
A FOLDER holds playbook.toml and scenarios/*.toml; its component is --component, or else the one that
`cargo build --profile guest --target wasm32-wasip2` left in the target folder. A PACKAGE brings its
manifest along; its scenarios are --scenarios, or else the folder scenarios beside it.

A scenario that names a golden trace (expect.trace) must produce it line for line; --accept writes
the traces anew, to be reviewed like code.";

/// A playbook to test.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The playbook's folder, or a package.
    #[arg(value_name = "FOLDER | PACKAGE")]
    playbook: PathBuf,
    /// The component, for a folder.
    #[arg(long, value_name = "X.wasm")]
    component: Option<PathBuf>,
    /// The folder of the scenarios.
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    /// Write the golden traces that scenarios name.
    #[arg(long)]
    accept: bool,
}

#[derive(Serialize)]
struct Tested {
    playbook: String,
    digest: String,
    outcome: &'static str,
    scenarios: Vec<Outcome>,
}

/// What came of one scenario.
#[derive(Debug, Serialize)]
struct Outcome {
    file: String,
    title: String,
    /// How the run as written ended.
    ended: String,
    /// Runs with an injected error.
    faults: u32,
    /// Runs with a crash.
    crashes: u32,
    /// What is wrong, one line each.
    wrong: Vec<String>,
}

pub(super) fn run(command: &Test) -> Result<Answer, Failure> {
    let (package, folder) = find(command)?;
    let scenarios = read_scenarios(&folder, &package)?;
    let component = Component::new(&package).map_err(|error| {
        Failure::caused(Exit::Invalid, &error, "build the component anew, with the SDK of this version")
    })?;
    let mut outcomes = Vec::new();
    for (path, scenario) in &scenarios {
        outcomes.push(try_out(path, scenario, &component, command.accept)?);
    }
    let sound = outcomes.iter().all(|outcome| outcome.wrong.is_empty());
    let text = told(&outcomes);
    let tested = Tested {
        playbook: package.manifest().playbook.name.to_string(),
        digest: package.digest().to_string(),
        outcome: if sound { "passed" } else { "failed" },
        scenarios: outcomes,
    };
    Ok(Answer::new(&tested, text)?.ending(if sound { Exit::Ok } else { Exit::Wrong }))
}

/// The package, and the folder of its scenarios.
fn find(command: &Test) -> Result<(Package, PathBuf), Failure> {
    let Test { playbook, component, scenarios, accept: _ } = command;
    let beside = |folder: &Path| scenarios.clone().unwrap_or_else(|| folder.join("scenarios"));
    if !playbook.is_dir() {
        let package = read_package(playbook)?;
        return Ok((package, beside(playbook.parent().unwrap_or(Path::new("")))));
    }
    let manifest_path = playbook.join("playbook.toml");
    let manifest = file::read_text(&manifest_path, MAX_MANIFEST_BYTES)?;
    let component = match component {
        Some(path) => path.clone(),
        None => built(playbook)?,
    };
    let bytes = file::read(&component, MAX_PACKAGE_BYTES)?;
    let package = Package::build(&bytes, &manifest).map_err(|error| {
        let message = format!("{} with {}: {}", component.display(), manifest_path.display(), chain(&error));
        Failure::new(Exit::Invalid, message, "correct the manifest, or build the component anew")
    })?;
    Ok((package, beside(playbook)))
}

/// The component that cargo built for the crate in this folder.
fn built(folder: &Path) -> Result<PathBuf, Failure> {
    const PROFILES: [&str; 2] = ["guest", "release"];
    let whole = fs::canonicalize(folder).map_err(|error| file::unreadable(folder, &error))?;
    let name = whole.file_name().map(|name| name.to_string_lossy().replace('-', "_")).unwrap_or_default();
    let targets = std::env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .into_iter()
        .chain(whole.ancestors().map(|above| above.join("target")));
    for target in targets {
        for profile in PROFILES {
            let component = target.join("wasm32-wasip2").join(profile).join(format!("{name}.wasm"));
            if component.is_file() {
                return Ok(component);
            }
        }
    }
    let message = format!("there is no component for {}: no target/wasm32-wasip2/guest/{name}.wasm", folder.display());
    let remedy = "build it with `cargo build --profile guest --target wasm32-wasip2`, or name one with --component";
    Err(Failure::new(Exit::NotFound, message, remedy))
}

fn read_scenarios(folder: &Path, package: &Package) -> Result<Vec<(PathBuf, Scenario)>, Failure> {
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
        return Err(Failure::new(Exit::Invalid, message, "write 1 to 200; nothing tested is no success"));
    }
    paths.sort();
    let mut scenarios = Vec::new();
    for path in paths {
        let text = file::read_text(&path, MAX_TEXT_BYTES)?;
        let scenario = Scenario::from_toml(&text, package.manifest()).map_err(|error| {
            let message = format!("{}:{}: {}", path.display(), error.line, error.message);
            Failure::new(Exit::Invalid, message, "correct the scenario; the standard playbooks' ones show every key")
        })?;
        scenarios.push((path, scenario));
    }
    Ok(scenarios)
}

fn try_out(path: &Path, scenario: &Scenario, component: &Component, accept: bool) -> Result<Outcome, Failure> {
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
            if accept {
                file::write(&place, report.trace.as_bytes())?;
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
    Ok(Outcome {
        file: path.display().to_string(),
        title: scenario.title.clone(),
        ended: report.outcome.as_str().to_owned(),
        faults: faults.runs,
        crashes: crashes.runs,
        wrong,
    })
}

fn told(outcomes: &[Outcome]) -> String {
    let cells = outcomes.iter().map(|outcome| {
        let result = if outcome.wrong.is_empty() { "passed" } else { "FAILED" };
        [
            result.to_owned(),
            outcome.title.clone(),
            outcome.ended.clone(),
            outcome.faults.to_string(),
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
    let runs: u64 = outcomes.iter().map(|outcome| u64::from(outcome.faults) + u64::from(outcome.crashes) + 1).sum();
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
            title: title.to_owned(),
            ended: "succeeded".to_owned(),
            faults: 31,
            crashes: 44,
            wrong,
        };
        let wrong = (0..12).map(|number| format!("with a crash: at {number}")).collect();
        insta::assert_snapshot!(told(&[outcome("hangs", Vec::new()), outcome("dies", wrong)]));
    }
}
