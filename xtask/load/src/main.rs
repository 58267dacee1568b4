//! `fettle-load`: asks a control plane for records as fast as it gives them. Started by `cargo xtask bench`.
//!
//! Every client has a connection of its own and waits for each answer, which comes only when the record is
//! durable and published. Client N stops and resumes, again and again, the automation of a service named
//! `load-N`, which the bench configured before: that leaves the control plane's state as large as it was.
//! Prints one line of JSON.

use anyhow::{Context as _, anyhow};
use clap::Parser;
use fettle_cli::connection::Connection;
use fettle_cli::failure::Failure;
use fettle_cli::profile::Profile;
use fettle_cli::terminal::Format;
use fettle_model::breaker::Scope;
use fettle_proto::operator::Command;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

#[derive(Parser)]
struct Arguments {
    /// The operator's profile.
    #[arg(long)]
    profile: PathBuf,
    /// How many orders to give.
    #[arg(long)]
    orders: u32,
    /// How many clients ask at once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    clients: u32,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { profile, orders, clients } = Arguments::parse();
    let profile = Profile::load(&profile).map_err(in_words)?;
    let mut connections = Vec::new();
    for client in 0..clients {
        let scope: Scope = format!("service:load-{client}").parse().context("a scope")?;
        connections.push((Connection::open(&profile, Format::Programs).await.map_err(in_words)?, scope));
    }
    let left = Arc::new(AtomicU32::new(orders));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (connection, scope) in connections {
        tasks.spawn(order(connection, scope, Arc::clone(&left)));
    }
    while let Some(asked) = tasks.join_next().await {
        asked.context("a client failed")??;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "orders": orders, "clients": clients, "seconds": seconds }));
    Ok(())
}

async fn order(mut connection: Connection, scope: Scope, left: Arc<AtomicU32>) -> anyhow::Result<()> {
    let why = || "the bench".to_owned();
    let stop = Command::Stop { scope: scope.clone(), why: why() };
    let resume = Command::Resume { scope, why: why() };
    for command in [&stop, &resume].into_iter().cycle() {
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
            break;
        }
        connection.execute(command).await.map(drop).map_err(in_words)?;
    }
    Ok(())
}

fn in_words(failure: Failure) -> anyhow::Error {
    let Failure { exit: _, message, remedy } = failure;
    anyhow!("{message}; {remedy}")
}
