//! `fettle-demo-service`: a small HTTP service that the demo and the end-to-end tests break and heal.
//!
//! It has what a remediation needs from a service and nothing else: releases that can be bad
//! ([`release`]), a feature behind a flag ([`flag`]), health endpoints ([`server`]), and start, stop
//! and status commands with a pid file ([`lifecycle`]), so that it runs under systemd as well as
//! without any service manager. Linux only. It never writes to its releases or its flag file.

mod command_log;
mod file;
mod flag;
mod lifecycle;
mod pid_file;
mod release;
mod server;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use lifecycle::{Settings, Standing};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// `status` of a service that does not run, as the Linux Standard Base defines it.
const EXIT_NOT_RUNNING: u8 = 3;

/// A small HTTP service with releases, a feature flag and health endpoints.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve in the foreground until SIGTERM or SIGINT.
    Run {
        #[command(flatten)]
        options: Options,
        /// Given by `start` to the process that it spawns.
        #[arg(long, hide = true)]
        own_session: bool,
    },
    /// Start it in a session of its own, and return when it answers.
    Start(Options),
    /// Stop it: SIGTERM, and SIGKILL when it is still there after three seconds.
    Stop(Options),
    /// Exit with 0 when it runs, with 3 when it does not. It reads release and flag anew for each
    /// request, so there is nothing else to do.
    Reload(Options),
    /// Exit with 0 when it runs, with 3 when it does not.
    Status(Options),
}

#[derive(Args)]
struct Options {
    /// The folder that holds `releases/` and the symlink `current`.
    #[arg(long)]
    root: PathBuf,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the process id is kept [default: service.pid in the root].
    #[arg(long)]
    pid_file: Option<PathBuf>,
    /// Where a started service's output goes [default: service.log in the root].
    #[arg(long)]
    log_file: Option<PathBuf>,
    /// The feature flags, in flagd's format [default: flags.json in the root].
    #[arg(long)]
    flags: Option<PathBuf>,
    /// The flag that turns the failing feature on.
    #[arg(long, default_value = "new-checkout")]
    flag_key: String,
    /// Whom the feature asks for something: it fails only when nobody answers there [default: it always fails].
    #[arg(long)]
    feature_asks: Option<SocketAddr>,
}

impl Options {
    fn settings(self) -> anyhow::Result<Settings> {
        let Self { root, listen, pid_file, log_file, flags, flag_key, feature_asks } = self;
        let root = root.canonicalize().with_context(|| format!("no folder {}", root.display()))?;
        let or_in_root = |given: Option<PathBuf>, name: &str| match given {
            Some(path) => std::path::absolute(path),
            None => Ok(root.join(name)),
        };
        Ok(Settings {
            listen,
            pid_file: or_in_root(pid_file, "service.pid")?,
            log_file: or_in_root(log_file, "service.log")?,
            flags: or_in_root(flags, "flags.json")?,
            flag_key,
            feature_asks,
            root,
        })
    }
}

fn main() -> ExitCode {
    let began = command_log::now();
    match dispatch(Arguments::parse().command, began) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("fettle-demo-service: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command, began: command_log::Began) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { options, own_session } => {
            if own_session {
                lifecycle::leave_session()?;
            }
            lifecycle::run(options.settings()?)?;
        }
        Command::Start(options) => {
            let settings = options.settings()?;
            command_log::note(&settings.pid_file, began, "start")?;
            let pid = lifecycle::start(&settings)?;
            println!("running, pid {}", pid.as_raw_nonzero());
        }
        Command::Stop(options) => {
            let settings = options.settings()?;
            command_log::note(&settings.pid_file, began, "stop")?;
            lifecycle::stop(&settings)?;
            println!("stopped");
        }
        Command::Reload(options) | Command::Status(options) => match lifecycle::status(&options.settings()?)? {
            Standing::Running(pid) => println!("running, pid {}", pid.as_raw_nonzero()),
            Standing::Stopped => {
                println!("not running");
                return Ok(ExitCode::from(EXIT_NOT_RUNNING));
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}
