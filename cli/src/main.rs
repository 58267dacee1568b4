//! The binary `fettle`: hands arguments and the home folder to the library, and its exit code to the system.

use fettle_cli::cli;
use fettle_cli::exit::Exit;
use fettle_cli::terminal;
use std::process::ExitCode;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let exit = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli::main(std::env::args_os(), std::env::home_dir())),
        Err(error) => {
            terminal::note(&format!("error: the system gives no event loop: {error}\nremedy: raise its limits"));
            // Not 1, which would be a verdict.
            Exit::Unavailable
        }
    };
    ExitCode::from(exit.code())
}
