//! `fettle token`: join tokens, the single-use secrets that enrol agents.
//!
//! The secret goes into a file of mode 0600 and nowhere else: not on the screen, not into a document.

use crate::answer::Answer;
use crate::connection::unexpected;
use crate::context::Context;
use crate::failure::Failure;
use crate::file;
use crate::when::instant_with_distance;
use clap::{Args, Subcommand};
use fettle_model::id::TokenId;
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
    let mut connection = context.connect().await?;
    let command = Command::CreateToken { environment, host, ttl_ms: whole_millis(ttl.0) };
    let reply = connection.execute(&command).await?;
    let CommandReply::Token { token, secret, ca_pin, enrol_address, agents_address, expires_at } = reply else {
        return unexpected("a token");
    };
    let secret = Zeroizing::new(secret);
    file::write_new_secret(&out, secret.as_bytes())?;
    let text = text(&out.display().to_string(), &ca_pin, &enrol_address, &agents_address, expires_at, context.now);
    Answer::new(&Created { token, secret_file: out, ca_pin, enrol_address, agents_address, expires_at }, text)
}

fn text(out: &str, ca_pin: &str, enrol: &str, agents: &str, expires_at: UnixMillis, now: UnixMillis) -> String {
    let lines = format!("  address = {agents:?}\n  enrol-address = {enrol:?}\n  ca-pin = {ca_pin:?}\n");
    format!(
        "the secret is in {out} (mode 0600); move it to the host as the agent's join-token-file\n\
         it enrols one host until {}\n\nfor [control-plane] of the agent's configuration:\n{lines}",
        instant_with_distance(expires_at, now)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_the_agents_configuration_needs() {
        let now = UnixMillis(1_795_731_481_000);
        let text =
            text("join-token", "sha256:ab", "cp:7444", "cp:7443", now.plus(std::time::Duration::from_hours(1)), now);
        insta::assert_snapshot!(text, @r#"
        the secret is in join-token (mode 0600); move it to the host as the agent's join-token-file
        it enrols one host until 2026-11-26 23:18:01Z (in 1h)

        for [control-plane] of the agent's configuration:
          address = "cp:7443"
          enrol-address = "cp:7444"
          ca-pin = "sha256:ab"
        "#);
    }
}
