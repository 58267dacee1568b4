//! `fettle run`: executions of playbooks: what was intended, what came of it; and to ask for one.

#[cfg(test)]
pub(crate) mod example;
mod show;

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::failure::Failure;
use crate::why::{InvalidSubject, check_ref};
use clap::Subcommand;
use fettle_model::check::CheckRef;
use fettle_model::id::RunId;
use fettle_model::name::HostName;
use fettle_proto::operator::{Command, MAX_ROWS, Query, QueryReply, RunDetail};

pub(crate) use show::{claim, inverse_outcome, outcome, state};

/// What to do with runs.
#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// List runs, newest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::try_from(MAX_ROWS).unwrap_or(1)))]
        limit: u32,
    },
    /// Show a run step by step: intent and outcome of each change, and what the playbook said.
    Show {
        /// The run's id.
        run: RunId,
    },
    /// Ask a host to ask for a run of the check's remediation now. Every rule still applies.
    Start {
        /// The host.
        host: HostName,
        /// SERVICE/CHECK.
        #[arg(value_parser = check_argument, value_name = "SERVICE/CHECK")]
        check: CheckRef,
    },
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: RunCommand, context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    match command {
        RunCommand::List { limit } => {
            let QueryReply::Runs { runs } = connection.query(&Query::Runs { limit }).await? else {
                return unexpected("runs");
            };
            let text = show::runs(&runs, context.now);
            Answer::new(&QueryReply::Runs { runs }, text)
        }
        RunCommand::Show { run } => {
            let run = detail(&mut connection, run).await?;
            let text = show::run(&run, context.now);
            Answer::new(&QueryReply::Run { run: Box::new(run) }, text)
        }
        RunCommand::Start { host, check } => {
            let text = format!(
                "{host} is asked to ask for a run for {check}; `fettle why {check}@{host}` tells what was decided"
            );
            connection.carry_out(&Command::WishRun { host, check }, &text).await
        }
    }
}

/// Everything known of a run.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn detail(connection: &mut Connection, run: RunId) -> Result<RunDetail, Failure> {
    let QueryReply::Run { run } = connection.query(&Query::Run { run }).await? else { return unexpected("a run") };
    Ok(*run)
}

fn check_argument(text: &str) -> Result<CheckRef, String> {
    check_ref(text).map_err(|InvalidSubject| "it must be SERVICE/CHECK, such as web/http".to_owned())
}
