//! The binary `fettle`: hands arguments and the home folder to the library, and its exit code to the system.

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let home = std::env::home_dir();
    let exit = runtime.block_on(fettle_cli::cli::main(std::env::args_os(), home));
    Ok(ExitCode::from(exit.code()))
}
