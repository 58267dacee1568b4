//! The command line: what a person or a unit file writes, and the exit codes that it gets.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fettle_agent::config::{self, AgentConfig};
use fettle_agent::separation::{self, Choice};
use fettle_agent::{daemon, effector, worker};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Mistakes in the configuration, or a process that could not go on. Wrong usage is 2, which clap gives.
const FAILED: u8 = 1;

/// The agent of Fettle: checks this host's services and repairs them with the control plane's permits.
#[derive(Parser)]
#[command(
    version,
    after_help = "Logs go to standard error. FETTLE_LOG sets how much: info, debug, fettle_agent::effector=debug."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent until SIGTERM or SIGINT.
    #[command(after_help = "Exit codes: 0 ended in order, 1 failed (the last line of the log says why), 2 wrong usage.

As root, the parts of the agent that speak to the network and that run playbooks get users of their own,
fettle-agent and fettle-worker. Without root they are processes of the same user, and the agent says at its
start what is weaker.")]
    Run {
        /// The configuration, agent.toml.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// As root: run every part of the agent as root nevertheless. For trying things out.
        #[arg(long)]
        same_user: bool,
    },
    /// Say what is wrong with a configuration, with file, line and remedy.
    #[command(
        after_help = "Exit codes: 0 the configuration is good, 1 it has mistakes or cannot be read, 2 wrong usage."
    )]
    CheckConfig {
        /// The configuration, agent.toml.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Network and checks; started by `run`.
    #[command(hide = true)]
    Daemon,
    /// One playbook; started by `run`.
    #[command(hide = true)]
    Worker,
}

impl Arguments {
    pub(crate) fn perform(self) -> ExitCode {
        let performed = match self.command {
            Command::Run { config, same_user } => {
                log_to_stderr();
                let choice = if same_user { Choice::SameUser } else { Choice::OwnUsers };
                run(&config, choice)
            }
            Command::Daemon => {
                log_to_stderr();
                on_this_thread().and_then(|runtime| Ok(runtime.block_on(daemon::serve())?))
            }
            Command::Worker => worker::serve().map_err(Into::into),
            Command::CheckConfig { config } => check(&config),
        };
        match performed {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Nothing can be done when standard error is closed.
                drop(writeln!(std::io::stderr(), "fettle-agent: {error:#}"));
                ExitCode::from(FAILED)
            }
        }
    }
}

fn run(file: &Path, choice: Choice) -> anyhow::Result<()> {
    let config = load(file)?;
    let (separation, isolation) = separation::decide(choice)?;
    let runtime = on_this_thread()?;
    runtime.block_on(Box::pin(effector::serve(config, separation, isolation)))?;
    Ok(())
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = load(file)?;
    let (services, publishers) = (config.services.len(), config.publishers.len());
    let summary = format!("{} is good: {services} services, {publishers} trusted publishers", file.display());
    writeln!(std::io::stdout(), "{summary}").context("standard output is closed")
}

fn load(file: &Path) -> anyhow::Result<AgentConfig> {
    Ok(config::load(file)?)
}

/// One thread is enough for every process of the agent, and each further one costs memory on every host.
fn on_this_thread() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the asynchronous runtime cannot start")
}

/// A worker does not log: it tells the effector, and its standard error is the effector's.
fn log_to_stderr() {
    let wanted = std::env::var("FETTLE_LOG").unwrap_or_default();
    let (targets, malformed) = match wanted.parse::<Targets>() {
        Ok(targets) if !wanted.is_empty() => (targets, false),
        Ok(_) => (Targets::new().with_default(tracing::Level::INFO), false),
        Err(_) => (Targets::new().with_default(tracing::Level::INFO), true),
    };
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(targets).init();
    if malformed {
        tracing::warn!("FETTLE_LOG is not understood: write a level, or target=level, separated by commas");
    }
}
