//! `fettle simulate`: what edited rules would have done with the faults of the past. Changes nothing.
//!
//! The files are an edit of the configuration in force: what they do not name stays. Names of playbooks are resolved here,
//! as by `fettle apply`; the control plane replays its own records.

mod show;

use crate::answer::Answer;
use crate::apply::{all_complaints, current, known_playbooks, read, sources};
use crate::connection::unexpected;
use crate::context::Context;
use crate::failure::Failure;
use clap::{Args, ValueEnum};
use fettle_model::config_file::{self, Diagnostic};
use fettle_model::simulation::Assume;
use fettle_model::time::{HumanDuration, whole_millis};
use fettle_proto::operator::{Query, QueryReply};
use std::path::PathBuf;

/// What to replay against what.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// A TOML file with edited remediations, services, breakers or freezes; may be given several times. What is not named
    /// in them stays as it was.
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How long ago the edit begins to count, such as 12h or 30d.
    #[arg(long, value_name = "DURATION", default_value = "30d")]
    since: HumanDuration,
    /// What becomes of a run that there was not.
    #[arg(long, value_name = "ENDING", default_value = "succeeded")]
    assume: AssumeArgument,
}

/// [`Assume`] as it is written on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AssumeArgument {
    Succeeded,
    Failed,
}

impl From<AssumeArgument> for Assume {
    fn from(argument: AssumeArgument) -> Self {
        match argument {
            AssumeArgument::Succeeded => Self::Succeeded,
            AssumeArgument::Failed => Self::Failed,
        }
    }
}

/// Carries the command out.
///
/// # Errors
/// With every diagnostic, or as the control plane and the connection say.
pub(crate) async fn run(simulate: Simulate, context: &Context) -> Result<Answer, Failure> {
    let Simulate { files, since, assume } = simulate;
    let texts = read(&files)?;
    let mut connection = context.connect().await?;
    let in_force = current(&mut connection).await?;
    let parsed = config_file::parse_edit(&sources(&texts), &in_force.declared).map_err(|found| complaints(&found))?;
    let known = known_playbooks(&mut connection).await?;
    let edit = parsed.resolve_edit(&known).map_err(|found| complaints(&found))?;
    let rules: Vec<String> = edit.remediations.iter().map(|rule| rule.name.to_string()).collect();
    let query = Query::Simulate { edit: Box::new(edit), since_ms: whole_millis(since.0), assume: assume.into() };
    let QueryReply::Simulation { simulation } = connection.query(&query).await? else {
        return unexpected("a simulation");
    };
    let text = show::text(&rules, &simulation);
    Answer::new(&QueryReply::Simulation { simulation }, text)
}

fn complaints(found: &[Diagnostic]) -> Failure {
    all_complaints(
        "the files are not simulated",
        found,
        "nothing was changed; correct the files and simulate them again",
    )
}
