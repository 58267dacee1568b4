//! `fettle log`: the signed log: read it, export it, and verify an export without trusting anybody.

mod export;
mod show;
mod verify;

pub use verify::{Checked, verify_bundle};

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use clap::{Args, Subcommand};
use fettle_model::counter::LogPosition;
use fettle_proto::operator::MAX_ROWS;
use std::path::PathBuf;

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// List records: position, time, author, kind, summary.
    List {
        /// Begin at this position; without it the newest records are listed.
        #[arg(long)]
        from: Option<u64>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::try_from(MAX_ROWS).unwrap_or(1)))]
        limit: u32,
    },
    /// Show one record whole, as it was signed.
    Show {
        /// Its position.
        position: u64,
    },
    /// Export the whole log as one file for offline verification.
    Export {
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write the verification policy: the keys that an auditor pins.
    ///
    /// Keep it apart from the log, and compare it with what the control plane printed when it was made.
    Policy {
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Verify an exported log: no network, no database, no profile. Exits 0, 1 or 2.
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
}

/// A verification.
#[derive(Debug, Args)]
pub struct Verify {
    /// The bundle that `fettle log export` wrote; - for standard input.
    bundle: PathBuf,
    /// Whom to believe: the policy file, kept apart from the log.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
}

const VERIFY_HELP: &str = "\
What is checked: every byte of the bundle; each record's leaf, signature and author; each agent's
unbroken chain; the tree's root against the signed checkpoint; and from the records the rules under
which a permit may be granted: an open request, a trusted publisher, evidence, mode, stops,
breakers, limits; and that every run has its permit, stays within it and ends once.
A log that an earlier version began is held against the rules of this one, and is invalid where
it was written before there was a rule and does not hold to it.

Exit codes of this command:
   0  valid
   1  invalid: the log is not to be believed
   2  valid with gaps: nothing contradicts, and something is missing (a run that has not ended)
   3 and above: it could not be verified at all (a wrong option, a file that is not there)";

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say, and when files cannot be read or written.
pub async fn run(command: LogCommand, context: &Context) -> Result<Answer, Failure> {
    match command {
        LogCommand::List { from, limit } => {
            export::list(&mut context.connect().await?, from.map(LogPosition), limit).await
        }
        LogCommand::Show { position } => export::show(&mut context.connect().await?, LogPosition(position)).await,
        LogCommand::Export { out } => export::export(&mut context.connect().await?, &out).await,
        LogCommand::Policy { out } => export::policy(&mut context.connect().await?, &out).await,
        LogCommand::Verify(Verify { bundle, policy }) => verify::run(&bundle, &policy),
    }
}
