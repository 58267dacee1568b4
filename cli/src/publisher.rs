//! `fettle publisher`: whose playbooks the control plane admits. Each host's owner decides anew.

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;
use fettle_audit::key::PublicKey;
use fettle_model::name::PublisherName;
use fettle_proto::operator::Command;

/// What to do with publishers.
#[derive(Debug, Subcommand)]
pub(crate) enum PublisherCommand {
    /// Trust a publisher's key: playbooks that it signs are admitted from now on.
    Trust {
        /// The publisher's name.
        publisher: PublisherName,
        /// The public key, as `fettle playbook keygen` prints it.
        key: PublicKey,
    },
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: PublisherCommand, context: &Context) -> Result<Answer, Failure> {
    let PublisherCommand::Trust { publisher, key } = command;
    let text = format!("playbooks that {publisher} signs with {key} are admitted");
    let command = Command::TrustPublisher { publisher, key: key.to_string() };
    context.connect().await?.carry_out(&command, &text).await
}
