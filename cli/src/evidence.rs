//! `fettle evidence`: what production needs to have proved, beside what drills in staging did prove.

mod show;

use crate::answer::Answer;
use crate::connection::unexpected;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::Subcommand;
use fettle_proto::operator::{Query, QueryReply};

/// What to do with evidence.
#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Show what is covered, by which drill and until when; what is not, what differs, and the command
    /// that would earn it.
    ///
    /// One row for each remediation and class of host outside staging that carries its service.
    Show {
        /// Only this playbook or this remediation.
        #[arg(value_name = "PLAYBOOK|REMEDIATION")]
        of: Option<String>,
    },
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say, and when nothing has the name that was given.
pub(crate) async fn run(command: EvidenceCommand, context: &Context) -> Result<Answer, Failure> {
    let EvidenceCommand::Show { of } = command;
    let mut connection = context.connect().await?;
    let QueryReply::Coverage { mut coverage } = connection.query(&Query::Coverage).await? else {
        return unexpected("coverage");
    };
    if let Some(name) = &of {
        coverage.retain(|row| row.remediation.as_str() == name || row.playbook.name.as_str() == name);
        if coverage.is_empty() {
            let message = format!("no remediation {name} needs evidence, and none that uses a playbook {name}");
            let remedy = "see `fettle evidence show`; only hosts outside staging that carry the service need any";
            return Err(Failure::new(Exit::NotFound, message, remedy));
        }
    }
    let text = show::coverage(&coverage, context.now);
    Answer::new(&QueryReply::Coverage { coverage }, text)
}
