//! What the governor decides in how long, and in how much memory: the control plane's own code under a simulated
//! fleet, in a program of its own (`xtask/governor`).

use super::numbers::{Row, Unit};
use crate::process;
use crate::programs::Programs;
use crate::workspace::Workspace;
use anyhow::Context as _;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// The fleet of one control plane.
const HOSTS: u32 = 10_000;
/// What each host carries: many, so that the state is large.
const SERVICES: u32 = 50;
/// Requests that are decided: two seconds at what is aimed at.
const REQUESTS: u32 = 100_000;
/// Requests where only the memory is of interest.
const FEW_REQUESTS: u32 = 1_000;
/// Transitions in one second.
const STORM: u32 = 5_000;
/// Agents that are told to stop.
const AGENTS: u32 = 1_000;

#[derive(Debug, Deserialize)]
struct Decided {
    decisions: u32,
    granted: u32,
    refused: u32,
    seconds: f64,
    hosts: u32,
    state_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Stormed {
    transitions: u32,
    answered: u32,
    records: u64,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Stopped {
    agents: u32,
    answered_seconds: f64,
    half_seconds: f64,
    last_seconds: f64,
}

/// Measures.
pub(super) fn measure(workspace: &Workspace, programs: &Programs) -> anyhow::Result<Vec<Row>> {
    let folder = workspace.target.join("bench/governor");
    let program = programs.governor();
    let decided: Decided = decide(&program, SERVICES, REQUESTS)?;
    let small: Decided = decide(&program, 1, FEW_REQUESTS)?;
    let storm = ["storm", "--transitions", &STORM.to_string()].map(str::to_owned);
    let stormed: Stormed = in_folder(&program, &storm, &folder.join("storm"))?;
    let stop = ["stop", "--agents", &AGENTS.to_string()].map(str::to_owned);
    let stopped: Stopped = in_folder(&program, &stop, &folder.join("stop"))?;
    Ok([decisions(&decided)?, memory(&decided, &small), storm_row(&stormed)?, stop_rows(&stopped)?].concat())
}

fn decide(program: &Path, services: u32, requests: u32) -> anyhow::Result<Decided> {
    let mut command = Command::new(program);
    command.args(["decide", "--hosts", &HOSTS.to_string(), "--services", &services.to_string()]);
    answer(command.args(["--requests", &requests.to_string()]))
}

/// Runs a subject that keeps a control plane in a folder, which is made anew.
fn in_folder<T: for<'de> Deserialize<'de>>(program: &Path, arguments: &[String], folder: &Path) -> anyhow::Result<T> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    answer(Command::new(program).args(arguments).arg("--folder").arg(folder))
}

fn answer<T: for<'de> Deserialize<'de>>(command: &mut Command) -> anyhow::Result<T> {
    let printed = process::output(command)?;
    serde_json::from_str(&printed).with_context(|| format!("understand {printed:?}"))
}

fn decisions(decided: &Decided) -> anyhow::Result<Vec<Row>> {
    let Decided { decisions, granted, refused, seconds, hosts, state_bytes: _ } = decided;
    let what = format!("decisions, one core, {hosts} hosts, {SERVICES} services ({granted} yes, {refused} no)");
    let rate = f64::from(*decisions) / seconds;
    Ok(vec![Row::new(what, rate, Unit::PerSecond, usize::try_from(*decisions)?).aiming_at_least(50_000.0)])
}

#[expect(clippy::cast_precision_loss, reason = "bytes of one machine's memory are far below 2^52")]
fn memory(large: &Decided, small: &Decided) -> Vec<Row> {
    let each = |decided: &Decided| decided.state_bytes as f64 / f64::from(decided.hosts) / 1024.0;
    let row = |services: u32, decided: &Decided| {
        let what = format!("core state for each host with {services} checked services");
        Row::new(what, each(decided), Unit::Kibibytes, 1).aiming_at_most(1.0)
    };
    vec![row(1, small), row(SERVICES, large)]
}

fn storm_row(stormed: &Stormed) -> anyhow::Result<Vec<Row>> {
    let Stormed { transitions, answered, records, seconds } = stormed;
    anyhow::ensure!(transitions == answered, "{answered} of {transitions} agents were answered");
    let what = format!("storm of {transitions} transitions in 1 s, all decided ({records} records)");
    Ok(vec![Row::new(what, *seconds, Unit::Seconds, usize::try_from(*transitions)?).aiming_at_most(2.0)])
}

fn stop_rows(stopped: &Stopped) -> anyhow::Result<Vec<Row>> {
    let Stopped { agents, answered_seconds, half_seconds, last_seconds } = stopped;
    let samples = usize::try_from(*agents)?;
    let row = |what: &str, value: f64| Row::new(what, value, Unit::Seconds, samples);
    let last = format!("order to stop until the last of {agents} agents has it (TLS, loopback)");
    Ok(vec![
        row(&last, *last_seconds).aiming_at_most(1.0),
        row("  until half of them have it", *half_seconds),
        row("  until the person has the answer", *answered_seconds),
    ])
}
