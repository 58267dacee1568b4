//! `fettle-agent`: reads the command line and starts the process that was asked for.
//!
//! `run` is the effector, which starts this program again as `daemon` and as `worker`. Nothing is decided
//! here; what users, roles and signals mean is in the library.

mod command_line;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    command_line::Arguments::parse().perform()
}
