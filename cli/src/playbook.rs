//! `fettle playbook`: from a component to evidence: pack, test, publish, drill; and what is admitted.

mod drill;
mod key;
mod publish;
mod scenarios;
pub(crate) mod show;
mod test;

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::Subcommand;
use fettle_model::name::PlaybookName;
use fettle_proto::operator::{PlaybookRow, Query, QueryReply};
use std::path::PathBuf;

/// What to do with playbooks.
#[derive(Debug, Subcommand)]
pub(crate) enum PlaybookCommand {
    /// Make a publisher's key; the public half is printed.
    Keygen {
        /// The key file; never overwritten.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Embed a manifest in a component; the result is checked, and its SHA-256 names the version.
    Pack(publish::Pack),
    /// Run a package's scenarios, sign it and what came of them, and bring both to the control plane. The publisher's
    /// key must be trusted there.
    ///
    /// That the scenarios passed is the publisher's word: the control plane runs no playbook. Without it no drill begins.
    Publish(publish::Publish),
    /// List the admitted playbooks and what each has proved.
    List,
    /// Show a playbook: what it asks for and why, its parameters, limits, drills and evidence.
    Show {
        /// Its name; the newest admitted version is shown first.
        playbook: PlaybookName,
    },
    /// Run a playbook's scenarios here, against simulated hosts; exits 1 when anything is wrong.
    ///
    /// Each is run as written, with every error at every call, and with a crash at every record of the
    /// journal.
    #[command(after_help = test::HELP)]
    Test(test::Test),
    /// Earn evidence: inject one of the playbook's declared faults on a staging host, and let it heal.
    Drill(drill::StartDrill),
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say, and when files cannot be read or written.
pub(crate) async fn run(command: PlaybookCommand, context: &Context) -> Result<Answer, Failure> {
    match command {
        PlaybookCommand::Keygen { out } => key::generate(&out),
        PlaybookCommand::Pack(command) => publish::pack(&command),
        PlaybookCommand::Publish(command) => publish::publish(command, context).await,
        PlaybookCommand::List => {
            let playbooks = all(&mut context.connect().await?).await?;
            let text = show::playbooks(&playbooks, context.now);
            Answer::new(&QueryReply::Playbooks { playbooks }, text)
        }
        PlaybookCommand::Show { playbook } => {
            let mut rows = all(&mut context.connect().await?).await?;
            rows.retain(|row| row.manifest.playbook.name == playbook);
            if rows.is_empty() {
                let message = format!("no playbook {playbook} is admitted");
                return Err(Failure::new(Exit::NotFound, message, "see `fettle playbook list`"));
            }
            let text = show::playbook(&rows, context.now);
            Answer::new(&QueryReply::Playbooks { playbooks: rows }, text)
        }
        PlaybookCommand::Test(command) => test::run(&command),
        PlaybookCommand::Drill(command) => drill::run(command, context).await,
    }
}

async fn all(connection: &mut Connection) -> Result<Vec<PlaybookRow>, Failure> {
    let QueryReply::Playbooks { playbooks } = connection.query(&Query::Playbooks).await? else {
        return unexpected("playbooks");
    };
    Ok(playbooks)
}
