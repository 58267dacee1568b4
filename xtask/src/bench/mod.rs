//! `cargo xtask bench`: measures the shipped programs, as processes on loopback, beside baselines that are
//! measured in the same run.
//!
//! It builds in the release profile, which shares nothing with the development build: about 13 minutes on
//! two cores the first time, and 1.5 GB. The measurements then take about five minutes. A machine that does
//! something else meanwhile is what is measured then.

mod governor;
mod heal;
mod idle;
mod log;
mod numbers;

use crate::programs::{Build, Programs};
use crate::steps::Steps;
use crate::workspace::Workspace;
use crate::{guests, interrupt, tools};
use anyhow::Context as _;
use numbers::Row;
use serde::Serialize;
use std::path::PathBuf;

/// How to run it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Write the numbers here as well, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure what was built before, whatever has changed since.
    #[arg(long)]
    no_build: bool,
    /// Measure only this.
    subject: Option<Subject>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// How fast a killed service is healed.
    Heal,
    /// What an idle agent costs.
    Idle,
    /// Appends to the log and its verification.
    Log,
    /// The governor under a fleet: decisions, memory, a storm, an order to stop.
    Governor,
}

/// What the numbers were measured on.
#[derive(Debug, Serialize)]
struct Report {
    profile: &'static str,
    processors: usize,
    kernel: String,
    rows: Vec<Row>,
}

/// Runs it.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    interrupt::listen()?;
    let mut steps = Steps::begin("bench");
    let mut rows = Vec::new();
    // Shown as they come: a later part may fail.
    let mut keep = |measured: Vec<Row>| {
        if options.subject.is_none() {
            println!("{}", numbers::table(&measured));
        }
        rows.extend(measured);
    };
    let wanted = |subject: Subject| options.subject.is_none_or(|only| only == subject);
    if options.subject != Some(Subject::Governor) {
        let (components, programs) = if options.no_build {
            (guests::built_before(workspace)?, Programs::built_before(workspace, Build::Release)?)
        } else {
            build(workspace, &mut steps)?
        };
        if wanted(Subject::Heal) {
            let what = "kill a service and have it healed, 43 times; then without us";
            keep(steps.run(what, || heal::measure(workspace, &programs, &components))?);
        }
        if wanted(Subject::Idle) {
            keep(steps.run("leave an agent alone for a minute", || idle::measure(workspace, &programs, &components))?);
        }
        if wanted(Subject::Log) {
            keep(steps.run("append 100 000 records and verify them", || log::measure(workspace, &programs))?);
        }
    }
    if wanted(Subject::Governor) {
        let programs = if options.no_build {
            Programs::governor_built_before(workspace)?
        } else {
            steps.run("build the governor's bench in the release profile", || Programs::build_governor(workspace))?
        };
        let what = "decide for 10 000 hosts, through a storm, and stop 1 000 agents";
        keep(steps.run(what, || governor::measure(workspace, &programs))?);
    }
    let report = Report {
        profile: "release",
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        rows,
    };
    println!("\n{} processors, Linux {}", report.processors, report.kernel);
    println!("{}", numbers::table(&report.rows));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))?;
    }
    steps.finish();
    Ok(())
}

fn build(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<(Vec<PathBuf>, Programs)> {
    tools::ensure_for_building(steps)?;
    let components = steps.run("build the playbooks", || guests::build(workspace))?;
    let what = "build the programs in the release profile (the first time some 15 minutes on two cores)";
    let programs = steps.run(what, || Programs::build(workspace, Build::Release))?;
    Ok((components, programs))
}
