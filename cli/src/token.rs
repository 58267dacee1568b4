//! `fettle token`: join tokens, the single-use secrets that enrol agents.
//!
//! The secret goes into a file of mode 0600 and nowhere else: not on the screen, not into a document.

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::failure::Failure;
use crate::file;
use crate::when::instant_with_distance;
use clap::{Args, Subcommand};
use fettle_model::id::TokenId;
use fettle_model::identity::TrustDomain;
use fettle_model::name::{EnvironmentName, HostName};
use fettle_model::time::{HumanDuration, UnixMillis, whole_millis};
use fettle_proto::operator::{Command, CommandReply};
use serde::Serialize;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What to do with join tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a join token: prints what the agent's configuration needs, writes the secret to a file.
    Create(Create),
}

/// A join token to create.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The environment into which it enrols.
    #[arg(long)]
    environment: EnvironmentName,
    /// The only host that it enrols; otherwise any one host.
    #[arg(long)]
    host: Option<HostName>,
    /// How long it is good, such as 30m.
    #[arg(long, default_value = "1h")]
    ttl: HumanDuration,
    /// Where the secret goes, mode 0600; never overwritten.
    #[arg(long, value_name = "FILE", default_value = "join-token")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Created {
    token: TokenId,
    secret_file: PathBuf,
    ca_pin: String,
    enrol_address: String,
    agents_address: String,
    trust_domain: TrustDomain,
    expires_at: UnixMillis,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say, and when the secret cannot be kept.
pub(crate) async fn run(command: TokenCommand, context: &Context) -> Result<Answer, Failure> {
    let TokenCommand::Create(Create { environment, host, ttl, out }) = command;
    // Before the token exists: a secret that cannot be written would be lost.
    file::must_be_new(&out)?;
    let profile = context.load_profile()?;
    let mut connection = Connection::open(&profile, context.format).await?;
    let command = Command::CreateToken { environment, host, ttl_ms: whole_millis(ttl.0) };
    let reply = connection.execute(&command).await?;
    let CommandReply::Token { token, secret, ca_pin, enrol_address, agents_address, expires_at } = reply else {
        return unexpected("a token");
    };
    let secret = Zeroizing::new(secret);
    file::write_new_secret(&out, secret.as_bytes())?;
    let trust_domain = profile.identity.root().trust_domain().clone();
    let created = Created { token, secret_file: out, ca_pin, enrol_address, agents_address, trust_domain, expires_at };
    Answer::new(&created, text(&created, context.now))
}

fn text(created: &Created, now: UnixMillis) -> String {
    let Created { token: _, secret_file, ca_pin, enrol_address, agents_address, trust_domain, expires_at } = created;
    format!(
        "the secret is in {} (mode 0600); move it to the host as the agent's join-token-file\n\
         it enrols one host until {}\n\n\
         for [control-plane] of the agent's configuration:\n  \
         address = {agents_address:?}\n  \
         enrol-address = {enrol_address:?}\n  \
         ca-pin = {ca_pin:?}\n  \
         trust-domain = \"{trust_domain}\"\n",
        secret_file.display(),
        instant_with_distance(*expires_at, now)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_the_agents_configuration_needs() {
        let now = UnixMillis(1_795_731_481_000);
        let created = Created {
            token: TokenId::from_uuid(uuid::Uuid::from_u128(1)),
            secret_file: PathBuf::from("join-token"),
            ca_pin: "sha256:ab".to_owned(),
            enrol_address: "cp:7444".to_owned(),
            agents_address: "cp:7443".to_owned(),
            trust_domain: "fettle.test".parse().expect("a trust domain"),
            expires_at: now.plus(std::time::Duration::from_hours(1)),
        };
        let text = text(&created, now);
        insta::assert_snapshot!(text, @r#"
        the secret is in join-token (mode 0600); move it to the host as the agent's join-token-file
        it enrols one host until 2026-11-26 23:18:01Z (in 1h)

        for [control-plane] of the agent's configuration:
          address = "cp:7443"
          enrol-address = "cp:7444"
          ca-pin = "sha256:ab"
          trust-domain = "fettle.test"
        "#);
    }
}
