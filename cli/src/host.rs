//! `fettle host`: the machines, and whether they may act.

mod show;

pub(crate) use show::target;

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::{Args, Subcommand};
use fettle_model::host::HostState;
use fettle_model::name::HostName;
use fettle_proto::operator::{Command, HostRow, Query, QueryReply};
use show::{host, hosts};

/// What to do with hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// List all hosts.
    List,
    /// Show one host: what it says of itself, what is bound, how it is isolated.
    Show {
        /// The host's name.
        host: HostName,
    },
    /// Let a host observe only, until it is reinstated.
    Quarantine(StateChange),
    /// Withdraw a host's identity for good; it must be enrolled anew.
    Revoke(StateChange),
    /// Let a quarantined host act again.
    Reinstate(StateChange),
}

/// A change of a host's state.
#[derive(Debug, Args)]
pub(crate) struct StateChange {
    /// The host's name.
    host: HostName,
    /// Why; one line that goes into the log.
    #[arg(long)]
    why: String,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: HostCommand, context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    match command {
        HostCommand::List => {
            let rows = all(&mut connection).await?;
            Answer::new(&QueryReply::Hosts { hosts: rows.clone() }, hosts(&rows, context.now))
        }
        HostCommand::Show { host: name } => {
            let rows = all(&mut connection).await?;
            let row = rows.iter().find(|row| row.name == name).ok_or_else(|| unknown(&name))?;
            Answer::new(row, host(row, context.now))
        }
        HostCommand::Quarantine(change) => set(&mut connection, change, HostState::Quarantined).await,
        HostCommand::Revoke(change) => set(&mut connection, change, HostState::Revoked).await,
        HostCommand::Reinstate(change) => set(&mut connection, change, HostState::Active).await,
    }
}

async fn all(connection: &mut Connection) -> Result<Vec<HostRow>, Failure> {
    let QueryReply::Hosts { hosts } = connection.query(&Query::Hosts).await? else { return unexpected("hosts") };
    Ok(hosts)
}

async fn set(connection: &mut Connection, change: StateChange, state: HostState) -> Result<Answer, Failure> {
    let StateChange { host, why } = change;
    let text = format!("{host} is {}", state.as_str());
    connection.carry_out(&Command::SetHostState { host, state, why }, &text).await
}

fn unknown(name: &HostName) -> Failure {
    Failure::new(Exit::NotFound, format!("there is no host {name}"), "see `fettle host list`")
}
