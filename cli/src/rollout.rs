//! `fettle rollout`: how the newest configuration reaches the hosts, and what a person orders when it halts.

mod show;

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::failure::Failure;
use clap::{Args, Subcommand};
use fettle_model::rollout::RolloutOrder;
use fettle_proto::operator::{Command, Query, QueryReply, RolloutView};

/// What to do with the rollout.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show the rings, their hosts, and what the rollout waits for.
    Show,
    /// Let a halted rollout go on: what halted it counts no more, and nobody waits for hosts that cannot hold it.
    Resume(Reason),
    /// Go back: every host gets the whole of what was in force before, limits and freezes too, as a new generation.
    Abort(Reason),
}

/// Why.
#[derive(Debug, Args)]
pub(crate) struct Reason {
    /// Why; one line that goes into the log.
    #[arg(long)]
    why: String,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: RolloutCommand, context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    let rollout = rollout(&mut connection).await?;
    let seen = rollout.generation;
    match command {
        RolloutCommand::Show => {
            let text = show::text(&rollout, context.now);
            Answer::new(&QueryReply::Rollout { rollout }, text)
        }
        RolloutCommand::Resume(Reason { why }) => {
            let text = format!("the rollout of configuration {seen} goes on; `fettle rollout show` says where it is");
            connection.carry_out(&Command::OrderRollout { order: RolloutOrder::Resume, seen, why }, &text).await
        }
        RolloutCommand::Abort(Reason { why }) => {
            let text = format!("the rollout of configuration {seen} is taken back from every host");
            connection.carry_out(&Command::OrderRollout { order: RolloutOrder::Abort, seen, why }, &text).await
        }
    }
}

/// Asks for it.
pub(crate) async fn rollout(connection: &mut Connection) -> Result<Box<RolloutView>, Failure> {
    let QueryReply::Rollout { rollout } = connection.query(&Query::Rollout).await? else {
        return unexpected("the rollout");
    };
    Ok(rollout)
}
