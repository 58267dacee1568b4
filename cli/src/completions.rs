//! `fettle completions`: scripts for shells.

use crate::answer::Answer;
use crate::cli::Fettle;
use crate::failure::Failure;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// A shell.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell. For bash: fettle completions bash > /etc/bash_completion.d/fettle
    shell: Shell,
}

/// Makes the script.
///
/// # Errors
/// When the script is no text: a fault of ours.
pub(crate) fn run(completions: &Completions) -> Result<Answer, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Fettle::command(), "fettle", &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::internal(error.to_string()))?;
    Answer::new(&script, script.clone())
}
