//! `cargo xtask demo`: the main job, end to end, on this machine.
//!
//! A control plane and three agents on loopback; each host runs a small HTTP service. Playbooks prove
//! themselves on the staging host, then production is broken in three ways and healed without a person,
//! and the log is verified offline. [`story`] is the script, [`perform`] performs it, [`account`] tells it.

mod account;
mod perform;
mod story;

use crate::programs::{Build, Programs};
use crate::stage::{self, Stage};
use crate::steps::{Steps, seconds};
use crate::workspace::Workspace;
use crate::{guests, interrupt, tools};
use anyhow::Context as _;
use perform::Healed;
use std::time::Duration;

/// How to run it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Leave everything running at the end, and print what to try.
    #[arg(long)]
    keep: bool,
    /// End what an earlier `--keep` left running, and do nothing else.
    #[arg(long, conflicts_with = "keep")]
    stop: bool,
}

/// Runs it.
pub fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let folder = workspace.target.join("demo");
    if options.stop {
        match stage::end_kept(&folder)? {
            0 => println!("demo: nothing was running"),
            ended => println!("demo: ended {ended} processes and the services"),
        }
        return Ok(());
    }
    interrupt::listen()?;
    let mut steps = Steps::begin("demo");
    let performed = perform_all(workspace, &mut steps);
    let (stage, healed) = performed.with_context(|| {
        let logs = folder.join("logs");
        if logs.is_dir() { format!("the logs are in {}", logs.display()) } else { "nothing was started".to_owned() }
    })?;
    summarise(&healed);
    if options.keep {
        explain(&stage);
        stage.keep()?;
    } else {
        let mut stage = stage;
        steps.run("end everything", || stage.stop())?;
        steps.note(&format!("what was written is in {}", folder.display()));
    }
    steps.finish();
    Ok(())
}

fn perform_all(workspace: &Workspace, steps: &mut Steps) -> anyhow::Result<(Stage, Vec<Healed>)> {
    tools::ensure_for_building(steps)?;
    let components = steps.run("build the playbooks", || guests::build(workspace))?;
    let programs = steps.run("build the programs", || Programs::build(workspace, Build::Dev))?;
    let mut stage = perform::set_up(workspace, steps, programs, &components)?;
    perform::drill(&mut stage, steps)?;
    let healed = perform::break_and_heal(&mut stage, steps)?;
    steps.run("the log", || perform::show_log(&stage))?;
    steps.run("export the log and verify it offline", || perform::verify(&stage))?;
    Ok((stage, healed))
}

fn summarise(healed: &[Healed]) {
    println!();
    println!("  {:<48} {:>10} {:>10} {:>10} {:>10}", "after the fault", "critical", "permit", "answers", "confirmed");
    for Healed { plan, times } in healed {
        let ms = |value: u64| seconds_or_ms(Duration::from_millis(value));
        println!(
            "  {:<48} {:>10} {:>10} {:>10} {:>10}   {}",
            plan.title,
            ms(times.critical),
            ms(times.permit),
            ms(times.answered),
            ms(times.confirmed),
            plan.playbook
        );
    }
    println!();
}

fn seconds_or_ms(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { format!("{} ms", duration.as_millis()) } else { seconds(duration) }
}

/// What to try while it runs, and how to end it.
fn explain(stage: &Stage) {
    let fettle = stage.operator().words();
    println!("It is still running. To try, with");
    println!("    alias fettle='{fettle}'");
    println!("    fettle host list");
    println!("    fettle service show shop");
    println!("    fettle run list");
    println!("    fettle why shop/process@web-1");
    println!("    fettle stop environment:production --why 'to see a refusal'   # and resume");
    println!("Break it:");
    for host in ["web-1", "web-2"] {
        if let Ok(host) = stage.host(host) {
            let (root, address) = (host.root(), host.listen());
            println!("    curl http://{address}/     # {}", host.name());
            println!("    kill -9 $(head -1 {}/service.pid)", root.display());
            println!("    ln -sfn releases/1.5.0 {}/current", root.display());
        }
    }
    println!("Logs: {}", stage.logs().display());
    println!("End it: cargo xtask demo --stop");
}
