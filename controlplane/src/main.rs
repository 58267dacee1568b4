//! `fettle-controlplane`: makes a control plane, serves it, and lets people in at its console.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use fettle_controlplane::config::{Advertise, HostPort, Listen};
use fettle_controlplane::init::{self, Made, Plan};
use fettle_controlplane::leader::Clocks;
use fettle_controlplane::server;
use fettle_controlplane::state_dir::StateDir;
use fettle_model::identity::TrustDomain;
use fettle_model::name::PersonName;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The control plane of Fettle.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a new control plane in an empty or new directory.
    Init(Box<Init>),
    /// Serves agents and people.
    Run {
        /// The state directory that `init` made.
        #[arg(long)]
        state: PathBuf,
    },
    /// Writes a fresh profile for a person who has a role, at the control plane's own console.
    Operator {
        /// The state directory that `init` made.
        #[arg(long)]
        state: PathBuf,
        /// Who.
        #[arg(long)]
        person: PersonName,
        /// Where to write the profile.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Init {
    /// The directory to make.
    #[arg(long)]
    state: PathBuf,
    /// The root of the installation's identities, such as fettle.example.org.
    #[arg(long)]
    trust_domain: TrustDomain,
    /// The first person's name: administrator and operator.
    #[arg(long)]
    operator: PersonName,
    /// Where to listen for agents [default: 127.0.0.1:7443].
    #[arg(long)]
    agents: Option<SocketAddr>,
    /// Where to listen for enrolment [default: 127.0.0.1:7444].
    #[arg(long)]
    enrol: Option<SocketAddr>,
    /// Where to listen for people [default: 127.0.0.1:7445].
    #[arg(long)]
    operators: Option<SocketAddr>,
    /// What agents are told, where it is another address.
    #[arg(long)]
    advertise_agents: Option<HostPort>,
    /// What agents that enrol are told, where it is another address.
    #[arg(long)]
    advertise_enrol: Option<HostPort>,
    /// What people are told, where it is another address.
    #[arg(long)]
    advertise_operators: Option<HostPort>,
}

fn main() -> ExitCode {
    abort_on_panic();
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_env("FETTLE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(ansi).with_env_filter(filter).init();
    match perform(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fettle-controlplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A bug ends the whole process, after the usual report. In a task of its own it would end that task only,
/// and leave a loop to wait for its answer for ever; the state on disk is made for a process that is killed
/// at any instant, and its service manager starts this one again.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn perform(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")?;
    match command {
        Command::Init(arguments) => runtime.block_on(make(*arguments)),
        Command::Run { state } => runtime.block_on(run(state)),
        Command::Operator { state, person, out } => {
            let state = StateDir::at(state);
            let holder = init::fresh_profile(&state, &person, &out, &Clocks::start())?;
            println!("{} may speak with the profile {} until {}", holder.id, out.display(), until(&holder));
            println!("next: fettle --profile {} status", out.display());
            Ok(())
        }
    }
}

async fn make(arguments: Init) -> anyhow::Result<()> {
    let defaults = Listen::default();
    let plan = Plan {
        state: StateDir::at(arguments.state.clone()),
        trust_domain: arguments.trust_domain,
        operator: arguments.operator,
        listen: Listen {
            agents: arguments.agents.unwrap_or(defaults.agents),
            enrol: arguments.enrol.unwrap_or(defaults.enrol),
            operators: arguments.operators.unwrap_or(defaults.operators),
        },
        advertise: Advertise {
            agents: arguments.advertise_agents,
            enrol: arguments.advertise_enrol,
            operators: arguments.advertise_operators,
        },
    };
    let Made { ca_pin, log_key, permit_key, operator } = init::init(&plan, &Clocks::start()).await?;
    let profile = plan.state.operator();
    println!("made a control plane in {}", plan.state.root().display());
    println!("  root pin    {ca_pin}");
    println!("  log key     {log_key}");
    println!("  permit key  {permit_key}");
    println!("  operator    {} until {}", operator.id, until(&operator));
    println!("  profile     {}", profile.display());
    println!("next: fettle-controlplane run --state {}", plan.state.root().display());
    println!("then: fettle --profile {} status", profile.display());
    println!(
        "a profile is good for a day; a fresh one: fettle-controlplane operator --state {} --person {} --out DIR",
        plan.state.root().display(),
        plan.operator
    );
    Ok(())
}

fn until(holder: &fettle_certs::peer::PeerIdentity) -> String {
    fettle_controlplane::time_text::utc(holder.validity.not_after)
}

async fn run(state: PathBuf) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let running = server::start(StateDir::at(state), Clocks::start(), stop.clone()).await?;
    let mut terminate = signal(SignalKind::terminate()).context("no signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no signals")?;
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("the control plane stops");
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = running.wait() => ended.map_err(Into::into),
        () = told => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    /// SIGABRT.
    const ABORTED: i32 = 6;
    /// Set in the copy of this test that panics.
    const PANICS: &str = "FETTLE_TEST_PANICS";

    #[test]
    fn a_panic_in_a_task_that_nobody_watches_ends_the_process_with_its_report() {
        if std::env::var_os(PANICS).is_some() {
            super::abort_on_panic();
            let task = std::thread::spawn(|| panic!("nobody watches"));
            drop(task.join());
            return;
        }
        let own = std::env::current_exe().expect("this program");
        let name = "tests::a_panic_in_a_task_that_nobody_watches_ends_the_process_with_its_report";
        let copy = Command::new(own).args(["--exact", name, "--nocapture"]).env(PANICS, "1").output();
        let copy = copy.expect("it starts");
        assert_eq!(copy.status.signal(), Some(ABORTED), "{copy:?}");
        assert!(String::from_utf8_lossy(&copy.stderr).contains("nobody watches"), "{copy:?}");
    }
}
