//! `cargo xtask <command>`: parses the arguments and hands over to the library.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use xtask::workspace::Workspace;

/// The developer's commands.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing, build the playbooks, run every test.
    Test(xtask::test::Options),
    /// Break and heal three hosts on this machine, end to end.
    Demo(xtask::demo::Options),
    /// Measure the release build beside baselines.
    Bench(xtask::bench::Options),
    /// Check the rules that the compiler and the linter do not know.
    Tidy,
}

fn main() -> ExitCode {
    let done = Workspace::load().and_then(|workspace| match Arguments::parse().command {
        Command::Test(options) => xtask::test::run(&workspace, &options),
        Command::Demo(options) => xtask::demo::run(&workspace, &options),
        Command::Bench(options) => xtask::bench::run(&workspace, &options),
        Command::Tidy => xtask::tidy::run(&workspace),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
