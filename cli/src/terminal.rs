//! Where answers and failures are printed: the only writer to standard output and error.

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::{Failure, Warning};
use std::io::{self, ErrorKind, Write as _};

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tables and sentences.
    People,
    /// One JSON document on standard output; a failure or a warning is one on standard error.
    Programs,
}

/// Prints the outcome of a command and gives the exit code.
pub fn finish(outcome: &Result<Answer, Failure>, format: Format) -> Exit {
    match outcome {
        Ok(answer) => {
            let text = match format {
                Format::People => answer.text.clone(),
                Format::Programs => format!("{:#}\n", answer.document),
            };
            print(&text).unwrap_or(answer.exit)
        }
        Err(failure) => {
            match format {
                Format::People => note(&failure.to_string()),
                Format::Programs => note(&failure.document()),
            }
            failure.exit
        }
    }
}

/// Prints to standard output; an exit code when that failed. A reader that has seen enough
/// (`fettle log list | head`) is no failure.
#[must_use]
pub fn print(text: &str) -> Option<Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => None,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => None,
        Err(error) => {
            note(&format!("error: standard output cannot be written: {error}"));
            Some(Exit::Unavailable)
        }
    }
}

/// Prints a warning beside the answer.
pub fn warn(warning: &Warning, format: Format) {
    match format {
        Format::People => note(&warning.to_string()),
        Format::Programs => note(&warning.document()),
    }
}

/// Prints a line for people who wait; programs get the answer alone.
pub fn progress(line: &str, format: Format) {
    match format {
        Format::People => note(line),
        Format::Programs => {}
    }
}

/// Prints a line beside the answer.
#[expect(clippy::let_underscore_must_use, reason = "there is nowhere left to say that standard error is gone")]
pub fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
