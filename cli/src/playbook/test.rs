//! `fettle playbook test`: the author's inner loop. What is tested, and what is told of it.

use super::publish::read_package;
use super::scenarios::{self, Outcome, Traces};
use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::file;
use clap::Args;
use fettle_model::playbook::{MAX_MANIFEST_BYTES, MAX_PACKAGE_BYTES};
use fettle_model::scenarios::ScenarioResult;
use fettle_sandbox::package::Package;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

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
    /// Write what came of them to a file, which `fettle playbook publish --report` signs.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
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

pub(super) fn run(command: &Test) -> Result<Answer, Failure> {
    let (package, folder) = find(command)?;
    let traces = if command.accept { Traces::Accepted } else { Traces::Compared };
    let outcomes = scenarios::run(&package, &folder, traces)?;
    if let Some(path) = &command.report {
        let report = serde_json::to_vec_pretty(&scenarios::report(&package, &outcomes));
        let report = report.map_err(|error| Failure::internal(format!("no report: {error}")))?;
        file::write(path, &report)?;
    }
    let sound = outcomes.iter().all(|outcome| outcome.result() == ScenarioResult::Passed);
    let text = scenarios::told(&outcomes);
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
    let Test { playbook, component, scenarios, report: _, accept: _ } = command;
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
