//! The whole server: from a person's order to stop until the last of many agents has it.
//!
//! Every agent has a TLS connection of its own over loopback and a session over it; the person speaks to the
//! operators' port as the command line does. Both ends of all connections share this machine's processors, which
//! in a fleet they do not. That what came is in the log is verified after the clock has stopped, as agents do at once.

use crate::site::{Agent, Site};
use crate::wire;
use anyhow::{Context as _, bail, ensure};
use fettle_audit::checkpoint::LogVerifier;
use fettle_audit::key::PublicKey;
use fettle_audit::note::SignatureKind;
use fettle_audit::published::Published;
use fettle_certs::store::IdentityStore;
use fettle_controlplane::leader::Clocks;
use fettle_controlplane::server::start;
use fettle_controlplane::state_dir::StateDir;
use fettle_model::breaker::Scope;
use fettle_model::record::Body;
use fettle_proto::operator::Command;
use fettle_proto::session::MAX_MESSAGE_BYTES;
use fettle_proto::v1::agents_client::AgentsClient;
use fettle_proto::v1::operators_client::OperatorsClient;
use fettle_proto::v1::{Document, FromAgent, Heartbeat, Hello, ToAgent, from_agent, to_agent};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

/// Handshakes under way at once; far more would wait for this machine's processors anyway.
const CONNECTING_AT_ONCE: usize = 32;
/// Messages that wait to go up: a Hello and a heartbeat.
const UP: usize = 2;
/// How long the order may take to reach everybody before something is wrong: thirty times what is aimed at.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    agents: u32,
    /// From before the person's call until the person has the answer.
    answered_seconds: f64,
    /// Until half of the agents have the order.
    half_seconds: f64,
    /// Until the last has it.
    last_seconds: f64,
}

/// An agent's session. Its upward half is held, for the session ends with it.
struct Session {
    _up: mpsc::Sender<FromAgent>,
    down: Streaming<ToAgent>,
}

/// Measures.
pub(crate) async fn measure(agents: u32, folder: &Path) -> anyhow::Result<Measured> {
    ensure!(agents > 0, "there must be agents");
    allow_files()?;
    let site = Site::make(folder).await?;
    site.configure(1).await?;
    let mut fleet = Vec::new();
    for number in 0..agents {
        fleet.push(site.enrol(number).await?);
    }
    let state = site.close()?;
    let keys = Keys::of(&state)?;
    let over = CancellationToken::new();
    let running = start(state.clone(), Clocks::start(), over.clone()).await?;
    let (agents_at, operators_at) = (running.listening.agents, running.listening.operators);
    let serving = tokio::spawn(running.wait());
    let sessions = connect(fleet, agents_at).await?;
    let measured = stop(agents, sessions, operators_at, &state, &keys).await?;
    over.cancel();
    serving.await.context("the server failed")??;
    Ok(measured)
}

/// Each agent takes two of this process's files, one for each end.
fn allow_files() -> anyhow::Result<()> {
    let Rlimit { current: _, maximum } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("raise the limit of open files")
}

async fn connect(fleet: Vec<Agent>, address: SocketAddr) -> anyhow::Result<Vec<Session>> {
    let (mut sessions, mut connecting) = (Vec::new(), JoinSet::new());
    for agent in fleet {
        if connecting.len() >= CONNECTING_AT_ONCE {
            sessions.push(connecting.join_next().await.context("one is connecting")?.context("an agent failed")??);
        }
        connecting.spawn(open(agent, address));
    }
    while let Some(connected) = connecting.join_next().await {
        sessions.push(connected.context("an agent failed")??);
    }
    Ok(sessions)
}

/// Opens a session and takes its briefing in: the first answer to a heartbeat comes after all of it.
async fn open(agent: Agent, address: SocketAddr) -> anyhow::Result<Session> {
    let channel = wire::channel(address, &agent.identity).await?;
    let mut client = AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (up, outgoing) = mpsc::channel(UP);
    let hello = Hello {
        agent_version: "bench".to_owned(),
        boot: "00000000-0000-4000-8000-0000000000b0".to_owned(),
        ..Hello::default()
    };
    for message in [from_agent::Message::Hello(hello), from_agent::Message::Heartbeat(Heartbeat::default())] {
        up.send(FromAgent { message: Some(message) }).await.context("the session's own end")?;
    }
    let mut down = client.session(ReceiverStream::new(outgoing)).await?.into_inner();
    loop {
        match down.message().await?.and_then(|message| message.message) {
            Some(to_agent::Message::Head(_)) => return Ok(Session { _up: up, down }),
            Some(to_agent::Message::Rejected(rejected)) => bail!("a session was refused: {}", rejected.problem),
            Some(
                to_agent::Message::Welcome(_)
                | to_agent::Message::Acknowledged(_)
                | to_agent::Message::Published(_)
                | to_agent::Message::Nudge(_),
            ) => {}
            None => bail!("a session ended before its briefing"),
        }
    }
}

async fn stop(
    agents: u32,
    sessions: Vec<Session>,
    operators: SocketAddr,
    state: &StateDir,
    keys: &Keys,
) -> anyhow::Result<Measured> {
    let identity = IdentityStore::at(state.operator()).load()?.context("the person's identity")?;
    let mut person = OperatorsClient::new(wire::channel(operators, &identity).await?);
    let command = Command::Stop { scope: Scope::Global, why: "the bench".to_owned() };
    let json = serde_json::to_vec(&command)?;
    let mut waiting = JoinSet::new();
    for session in sessions {
        waiting.spawn(published(session));
    }
    let began = Instant::now();
    person.execute(Document { json }).await?;
    let answered = began.elapsed();
    let mut told = Vec::new();
    while let Some(heard) =
        tokio::time::timeout(PATIENCE, waiting.join_next()).await.context("an agent hears nothing")?
    {
        told.push(heard.context("an agent failed")??);
    }
    let mut times: Vec<Duration> = told.iter().map(|(at, _)| at.duration_since(began)).collect();
    times.sort_unstable();
    for (_, document) in &told {
        keys.believe_a_stop(document)?;
    }
    let last = times.last().context("nobody was told")?;
    let half = times.get(times.len() / 2).context("nobody was told")?;
    Ok(Measured {
        agents,
        answered_seconds: answered.as_secs_f64(),
        half_seconds: half.as_secs_f64(),
        last_seconds: last.as_secs_f64(),
    })
}

/// The next published record, and when it came.
async fn published(mut session: Session) -> anyhow::Result<(Instant, Vec<u8>)> {
    loop {
        match session.down.message().await?.context("a session ended")?.message {
            Some(to_agent::Message::Published(published)) => return Ok((Instant::now(), published.document)),
            Some(
                to_agent::Message::Welcome(_)
                | to_agent::Message::Acknowledged(_)
                | to_agent::Message::Head(_)
                | to_agent::Message::Nudge(_)
                | to_agent::Message::Rejected(_),
            )
            | None => {}
        }
    }
}

/// What an agent verifies with.
struct Keys {
    log: LogVerifier,
    permit: PublicKey,
}

impl Keys {
    fn of(state: &StateDir) -> anyhow::Result<Self> {
        let config = fettle_controlplane::config::Config::read(&state.config())?;
        let log = state.log_signer(&config.trust_domain)?.verifier(SignatureKind::Ed25519).to_string();
        Ok(Self { log: log.parse().context("the log's key")?, permit: state.permit_key()?.public() })
    }

    fn believe_a_stop(&self, document: &[u8]) -> anyhow::Result<()> {
        let published = Published::parse(document)?;
        let (signed, _) = published.verify(&self.log, &self.permit)?;
        let body = &signed.record().body;
        ensure!(matches!(body, Body::AutomationStopped(_)), "an agent was told {} first", body.kind().as_str());
        Ok(())
    }
}
