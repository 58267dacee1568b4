//! `fettle-load`: asks a control plane for records as fast as it gives them. Started by `cargo xtask bench`.
//!
//! Every client has a connection of its own and waits for each answer, which comes only when the record is
//! durable and published. Each record is a join token, the smallest thing that a person can ask for; the
//! secrets are dropped unread. Prints one line of JSON.

use anyhow::{Context as _, anyhow};
use clap::Parser;
use fettle_cli::connection::Connection;
use fettle_cli::failure::Failure;
use fettle_cli::profile::Profile;
use fettle_model::name::EnvironmentName;
use fettle_proto::operator::Command;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

/// How long the tokens are good: a minute, so that they are worth nothing soon.
const TTL_MS: u64 = 60_000;

#[derive(Parser)]
struct Arguments {
    /// The operator's profile.
    #[arg(long)]
    profile: PathBuf,
    /// How many records to ask for.
    #[arg(long)]
    records: u32,
    /// How many clients ask at once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { profile, records, clients } = Arguments::parse();
    let profile = Profile::load(&profile).map_err(in_words)?;
    let environment: EnvironmentName = "staging".parse().context("a name")?;
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(&profile).await.map_err(in_words)?);
    }
    let left = Arc::new(AtomicU32::new(records));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(ask(connection, Arc::clone(&left), environment.clone()));
    }
    while let Some(asked) = tasks.join_next().await {
        asked.context("a client failed")??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let answer = serde_json::json!({
        "records": records,
        "clients": clients,
        "seconds": seconds,
        "per_second": f64::from(records) / seconds,
    });
    println!("{answer}");
    Ok(())
}

async fn ask(mut connection: Connection, left: Arc<AtomicU32>, environment: EnvironmentName) -> anyhow::Result<()> {
    let command = Command::CreateToken { environment, host: None, ttl_ms: TTL_MS };
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        connection.execute(&command).await.map(drop).map_err(in_words)?;
    }
    Ok(())
}

fn in_words(failure: Failure) -> anyhow::Error {
    let Failure { exit: _, message, remedy } = failure;
    anyhow!("{message}; {remedy}")
}
