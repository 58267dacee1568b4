//! One session: Hello, Welcome, then records up and published records down until it ends.

use super::{Ended, Link, LinkCommand, LinkEvent, LoopGone, rotate};
use crate::daemon::reconnect::Delays;
use crate::ipc::daemon::Nudge;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_certs::identity::Identity;
use fettle_certs::rotation::{Rotation, rotation};
use fettle_model::check::CheckRef;
use fettle_model::counter::{AgentSequence, ConfigurationGeneration, TreeSize};
use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::MAX_PACKAGE_BYTES;
use fettle_proto::session::{HEARTBEAT_INTERVAL, MAX_MESSAGE_BYTES, SILENCE_LIMIT};
use fettle_proto::v1::agents_client::AgentsClient;
use fettle_proto::v1::{
    self, AgentRecord, FetchPlaybookRequest, FromAgent, Heartbeat, Hello, from_agent, nudge, to_agent,
};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// Messages that wait for the network.
const UP: usize = 128;
/// How long the effector may take for its introduction.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the certificate's age is looked at; and, after a rotation failed, when it is tried again.
const ROTATION_LOOK: Duration = Duration::from_secs(60);
/// A package of 8 MiB over a link of 2 Mbit/s.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("the daemon ends")]
    Gone(#[source] LoopGone),
    #[error("the effector did not introduce this agent")]
    NoIntroduction,
    #[error("the control plane ended it: {}", .0.message())]
    Status(Box<tonic::Status>),
    #[error("the control plane closed it")]
    Closed,
    #[error("the control plane was silent for {SILENCE_LIMIT:?}")]
    Silent,
    #[error("the control plane does not accept record {sequence}: {problem}")]
    Rejected { sequence: u64, problem: String },
    #[error("a message makes no sense: {0}")]
    Malformed(&'static str),
}

impl From<LoopGone> for SessionError {
    fn from(gone: LoopGone) -> Self {
        Self::Gone(gone)
    }
}

/// What the next heartbeat says.
#[derive(Default)]
struct Verified {
    tree_size: TreeSize,
    sequence: AgentSequence,
    configuration: ConfigurationGeneration,
}

struct Session<'a> {
    link: &'a mut Link,
    client: AgentsClient<Channel>,
    up: mpsc::Sender<FromAgent>,
    verified: Verified,
    /// Sizes that were named in heartbeats without an answer yet; answers come in order.
    named: VecDeque<TreeSize>,
}

/// Holds one session until it ends. `delays` begin anew once it stands.
pub(super) async fn hold(
    link: &mut Link,
    channel: Channel,
    identity: &Identity,
    random: u32,
    delays: &mut Delays,
) -> Result<Ended, SessionError> {
    let client = AgentsClient::new(channel.clone())
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (up, outgoing) = mpsc::channel(UP);
    let mut session = Session { link, client, up, verified: Verified::default(), named: VecDeque::new() };
    session.hello().await?;
    let mut client = session.client.clone();
    let opened = client.session(ReceiverStream::new(outgoing));
    let mut incoming = tokio::time::timeout(SILENCE_LIMIT, opened)
        .await
        .map_err(|_elapsed| SessionError::Silent)?
        .map_err(|status| SessionError::Status(Box::new(status)))?
        .into_inner();
    let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
    let mut silent_at = Instant::now() + SILENCE_LIMIT;
    let mut look_at = Instant::now();
    loop {
        // Cancel safe: channel receives, interval ticks, and tonic keeps a message that was not taken.
        tokio::select! {
            message = incoming.message() => {
                let message = message.map_err(|status| SessionError::Status(Box::new(status)))?;
                let message = message.and_then(|m| m.message).ok_or(SessionError::Closed)?;
                silent_at = Instant::now() + SILENCE_LIMIT;
                if matches!(message, to_agent::Message::Welcome(_)) {
                    delays.reset();
                }
                session.hear(message).await?;
            }
            command = session.link.inbox.recv() => session.obey(command.ok_or(LoopGone)?).await?,
            _ = heartbeat.tick() => session.beat().await?,
            () = sleep_until(silent_at) => return Err(SessionError::Silent),
            () = sleep_until(look_at) => {
                let now = crate::daemon::wall_clock();
                match rotation(&identity.holder().validity, random, now) {
                    Rotation::Wait { until } => look_at = Instant::now() + until.since(now).min(ROTATION_LOOK),
                    Rotation::Due | Rotation::Expired { .. } => {
                        match rotate::rotate(session.link, channel.clone(), identity).await {
                            Ok(()) => return Ok(Ended::Rotated),
                            Err(error) => {
                                let error = anyhow::Error::from(error);
                                tracing::warn!(error = format!("{error:#}"), "the certificate could not be rotated");
                                look_at = Instant::now() + ROTATION_LOOK;
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Session<'_> {
    async fn hello(&mut self) -> Result<(), SessionError> {
        self.link.tell(LinkEvent::Connecting).await?;
        let introduced = async {
            loop {
                match self.link.inbox.recv().await {
                    Some(LinkCommand::Introduce(introduction)) => return Some(introduction),
                    // Orders of an earlier session: the effector sends them again.
                    Some(_) => {}
                    None => return None,
                }
            }
        };
        let introduction = tokio::time::timeout(INTRODUCTION_TIMEOUT, introduced)
            .await
            .ok()
            .flatten()
            .ok_or(SessionError::NoIntroduction)?;
        self.verified.tree_size = introduction.tree_size;
        self.verified.configuration = introduction.configuration;
        let hello = Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot: self.link.start.boot.to_string(),
            tree_size: introduction.tree_size.0,
            configuration: introduction.configuration.0,
            stop_epoch: introduction.stop_epoch.0,
            unanswered: introduction.unanswered.iter().map(ToString::to_string).collect(),
        };
        self.send(from_agent::Message::Hello(hello)).await
    }

    async fn send(&self, message: from_agent::Message) -> Result<(), SessionError> {
        self.up.send(FromAgent { message: Some(message) }).await.map_err(|_| SessionError::Closed)
    }

    async fn beat(&mut self) -> Result<(), SessionError> {
        let Verified { tree_size, sequence, configuration } = self.verified;
        // Silence ends the session before there are more than a handful.
        self.named.push_back(tree_size);
        let (tree_size, sequence, configuration) = (tree_size.0, sequence.0, configuration.0);
        self.send(from_agent::Message::Heartbeat(Heartbeat { tree_size, sequence, configuration })).await
    }

    async fn obey(&mut self, command: LinkCommand) -> Result<(), SessionError> {
        match command {
            LinkCommand::Send { sequence, envelope } => {
                let envelope =
                    STANDARD.decode(envelope).map_err(|_| SessionError::Malformed("an envelope of the effector"))?;
                self.send(from_agent::Message::Record(AgentRecord { sequence: sequence.0, envelope })).await
            }
            LinkCommand::Verified { tree_size, sequence, configuration } => {
                let before = std::mem::replace(&mut self.verified, Verified { tree_size, sequence, configuration });
                // A rollout waits for this.
                if before.configuration == configuration { Ok(()) } else { self.beat().await }
            }
            LinkCommand::Fetch { digest } => {
                let (client, outbox) = (self.client.clone(), self.link.outbox.clone());
                // Beside the session: a package is large, and a permit must not wait for it.
                drop(tokio::spawn(async move {
                    let package = tokio::time::timeout(FETCH_TIMEOUT, fetch(client, digest)).await.ok().flatten();
                    // The loop ends only with the process.
                    drop(outbox.send(LinkEvent::Fetched(digest, package)).await);
                }));
                Ok(())
            }
            // An answer to an earlier question.
            LinkCommand::Introduce(_) | LinkCommand::JoinToken(_) | LinkCommand::RecordKeyProof(_) => Ok(()),
        }
    }

    async fn hear(&mut self, message: to_agent::Message) -> Result<(), SessionError> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| SessionError::Malformed("a document"));
        let event = match message {
            to_agent::Message::Welcome(welcome) => LinkEvent::Up(AgentSequence(welcome.sequence)),
            to_agent::Message::Acknowledged(ack) => {
                LinkEvent::Acknowledged(AgentSequence(ack.sequence), text(ack.published)?)
            }
            // What is no text cannot verify either: the effector refuses it and records that.
            to_agent::Message::Published(published) => {
                LinkEvent::Published(String::from_utf8_lossy(&published.document).into_owned())
            }
            to_agent::Message::Head(head) => {
                let from = self.named.pop_front().ok_or(SessionError::Malformed("a head that was not asked for"))?;
                let consistency = head.consistency.iter().map(|hash| STANDARD.encode(hash)).collect();
                LinkEvent::Head(from, text(head.checkpoint)?, consistency)
            }
            to_agent::Message::Nudge(v1::Nudge { about }) => LinkEvent::Nudged(parse_nudge(about)?),
            to_agent::Message::Rejected(v1::Rejected { sequence, problem }) => {
                return Err(SessionError::Rejected { sequence, problem });
            }
        };
        Ok(self.link.tell(event).await?)
    }
}

fn parse_nudge(about: Option<nudge::About>) -> Result<Nudge, SessionError> {
    let malformed = || SessionError::Malformed("a nudge");
    match about.ok_or_else(malformed)? {
        nudge::About::Remediate(check) => {
            let (service, check) = check.split_once('/').ok_or_else(malformed)?;
            let service = service.parse().map_err(|_| malformed())?;
            Ok(Nudge::Remediate { check: CheckRef { service, check: check.parse().map_err(|_| malformed())? } })
        }
        nudge::About::Inject(drill) => Ok(Nudge::Inject { drill: drill.parse().map_err(|_| malformed())? }),
        nudge::About::Repeat(drill) => Ok(Nudge::Repeat { drill: drill.parse().map_err(|_| malformed())? }),
        nudge::About::Plan(request) => Ok(Nudge::Plan { request: request.parse().map_err(|_| malformed())? }),
    }
}

/// A package by its digest, base64. The effector compares the digest; here only the size is bounded.
async fn fetch(mut client: AgentsClient<Channel>, digest: PlaybookDigest) -> Option<String> {
    let mut chunks =
        client.fetch_playbook(FetchPlaybookRequest { digest: digest.to_string() }).await.ok()?.into_inner();
    let mut package = Vec::new();
    while let Some(chunk) = chunks.message().await.ok()? {
        if package.len() + chunk.data.len() > MAX_PACKAGE_BYTES {
            return None;
        }
        package.extend_from_slice(&chunk.data);
    }
    Some(STANDARD.encode(package))
}
