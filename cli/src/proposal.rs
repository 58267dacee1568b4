//! `fettle proposal`, `fettle approve` and `fettle reject`: what waits for a person, and the yes or no to it.
//!
//! What is signed is computed here from what is shown here: a control plane that shows one thing and has another
//! one approved is found out by whoever verifies the log.

mod show;

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::signed::sealed;
use clap::{Args, Subcommand};
use fettle_model::digest::DocumentDigest;
use fettle_model::id::ProposalId;
use fettle_model::proposal::{Approval, Verdict};
use fettle_model::record::Body;
use fettle_proto::operator::{Command, ProposalView, Query, QueryReply};

/// What to do with proposals.
#[derive(Debug, Subcommand)]
pub(crate) enum ProposalCommand {
    /// List the newest proposals: what waits, and what became of the others.
    List,
    /// Show a proposal: what it would touch, step by step, and the hash that is signed.
    Show {
        /// The proposal's id.
        proposal: ProposalId,
    },
}

/// A yes.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The proposal's id.
    proposal: ProposalId,
    /// The hash that `fettle proposal show` told: nothing is signed when it is another one.
    #[arg(long, value_name = "SHA256")]
    hash: Option<DocumentDigest>,
}

/// A no.
#[derive(Debug, Args)]
pub(crate) struct Reject {
    /// The proposal's id.
    proposal: ProposalId,
    /// Why; one line that goes into the log.
    #[arg(long)]
    why: String,
}

/// Shows what waits.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: ProposalCommand, context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    match command {
        ProposalCommand::List => {
            let QueryReply::Proposals { proposals } = connection.query(&Query::Proposals).await? else {
                return unexpected("proposals");
            };
            let text = show::proposals(&proposals, context.now);
            Answer::new(&QueryReply::Proposals { proposals }, text)
        }
        ProposalCommand::Show { proposal } => {
            let view = detail(&mut connection, proposal).await?;
            let text = show::proposal(&view, context.now);
            Answer::new(&QueryReply::Proposal { proposal: Box::new(view) }, text)
        }
    }
}

/// Says yes.
///
/// # Errors
/// As the control plane and the connection say; when the profile has no signing key, or the hash is another one.
pub(crate) async fn approve(approve: Approve, context: &Context) -> Result<Answer, Failure> {
    let Approve { proposal, hash } = approve;
    answer(proposal, hash, Verdict::Approve, context).await
}

/// Says no.
///
/// # Errors
/// As the control plane and the connection say, and when the profile has no signing key.
pub(crate) async fn reject(reject: Reject, context: &Context) -> Result<Answer, Failure> {
    let Reject { proposal, why } = reject;
    answer(proposal, None, Verdict::Reject { why }, context).await
}

async fn answer(
    id: ProposalId,
    seen: Option<DocumentDigest>,
    verdict: Verdict,
    context: &Context,
) -> Result<Answer, Failure> {
    let profile = context.load_profile()?;
    let mut connection = Connection::open(&profile, context.format).await?;
    let view = detail(&mut connection, id).await?;
    let request = view.proposal.request();
    if let Some(seen) = seen.filter(|seen| *seen != request) {
        let message = format!("the proposal {id} has the hash {request}, not {seen}");
        return Err(Failure::new(Exit::Conflict, message, "look at it again: fettle proposal show"));
    }
    let text = show::answered(&view, &verdict);
    let body = Body::ApprovalGiven(Box::new(Approval { proposal: id, request, verdict }));
    let record = sealed(&profile, body, context.now)?;
    connection.carry_out(&Command::GiveApproval { proposal: id, record }, &text).await
}

/// The proposal that was asked for, and no other one.
async fn detail(connection: &mut Connection, id: ProposalId) -> Result<ProposalView, Failure> {
    let QueryReply::Proposal { proposal } = connection.query(&Query::Proposal { proposal: id }).await? else {
        return unexpected("a proposal");
    };
    if proposal.proposal.proposal == id { Ok(*proposal) } else { unexpected("the proposal that was named") }
}
