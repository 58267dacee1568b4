//! `fettle-governor-bench`: the control plane's own code under the load of a fleet. Started by `cargo xtask bench`.
//!
//! Each subject is a run of its own, so that none leaves its memory to the next. Prints one line of JSON.
//! Hosts and agents are simulated here; core, Cedar, leader, SQLite, log, gateway and TLS are those that ship.

mod decide;
mod fleet;
mod site;
mod stop;
mod storm;
mod wire;

use clap::{Parser, Subcommand};
use stats_alloc::StatsAlloc;
use std::alloc::System;
use std::path::PathBuf;

/// Counts what the core's state holds. It costs two atomic additions for an allocation.
#[global_allocator]
static ALLOCATOR: StatsAlloc<System> = StatsAlloc::system();

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Subcommand)]
enum Subject {
    /// The core by itself, on one thread: decisions a second, and what its state holds for each host.
    Decide {
        #[arg(long)]
        hosts: u32,
        /// Each host carries all of them.
        #[arg(long)]
        services: u32,
        /// Requests for a permit that are decided.
        #[arg(long)]
        requests: u32,
    },
    /// The leader with the log on disk: transitions of different hosts within a second, each with its request.
    Storm {
        #[arg(long)]
        transitions: u32,
        /// Where the log is made.
        #[arg(long)]
        folder: PathBuf,
    },
    /// The whole server: from a person's order to stop until the last agent has it.
    Stop {
        #[arg(long)]
        agents: u32,
        /// Where the control plane is made.
        #[arg(long)]
        folder: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let line = match Arguments::parse().subject {
        Subject::Decide { hosts, services, requests } => {
            serde_json::to_string(&decide::measure(&ALLOCATOR, hosts, services, requests)?)?
        }
        Subject::Storm { transitions, folder } => {
            serde_json::to_string(&runtime()?.block_on(storm::measure(transitions, &folder))?)?
        }
        Subject::Stop { agents, folder } => {
            serde_json::to_string(&runtime()?.block_on(stop::measure(agents, &folder))?)?
        }
    };
    println!("{line}");
    Ok(())
}
