//! The link to the control plane: enrolment, sessions, rotation, and getting back after an outage.
//!
//! One task. The daemon's loop sends it [`LinkCommand`]s and receives [`LinkEvent`]s, both over bounded
//! channels. Without a session nothing is lost: records wait in the effector's outbox, which sends them
//! again from the sequence that the control plane names.

mod connect;
mod enrol;
mod generation;
mod rotate;
mod session;

use super::reconnect::Delays;
use crate::ipc::daemon::{DaemonStart, Introduction, JoinTokenText, Nudge, ToEffector};
use fettle_certs::identity::Identity;
use fettle_certs::rotation::{Rotation, rotation};
use fettle_certs::store::{IdentityStore, StoreProblem};
use fettle_model::counter::{AgentSequence, ConfigurationGeneration, TreeSize};
use fettle_model::digest::PlaybookDigest;
use fettle_model::id::HostId;
use std::time::Duration;
use tokio::sync::mpsc;

/// Commands that wait for the link: a page of the outbox and a few more.
const COMMANDS: usize = 128;
/// Events that wait for the daemon's loop.
const EVENTS: usize = 128;

/// From the daemon's loop.
#[derive(Debug)]
pub(crate) enum LinkCommand {
    /// What to say in the Hello.
    Introduce(Introduction),
    /// A record, base64.
    Send {
        /// Its place in the chain.
        sequence: AgentSequence,
        /// The envelope.
        envelope: String,
    },
    /// Fetch a package.
    Fetch {
        /// Which.
        digest: PlaybookDigest,
    },
    /// The join token, where there is one.
    JoinToken(Option<JoinTokenText>),
    /// The record key's signature, base64.
    RecordKeyProof(String),
    /// What to say in the next heartbeat.
    Verified {
        /// Size of the newest verified checkpoint.
        tree_size: TreeSize,
        /// The last sequence of the chain.
        sequence: AgentSequence,
        /// The configuration that is in force.
        configuration: ConfigurationGeneration,
    },
}

/// To the daemon's loop.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// Wants an introduction.
    Connecting,
    /// Wants the join token.
    TokenWanted,
    /// Wants a proof of the record key over these bytes, base64.
    ProveRecordKey(String),
    /// The host was enrolled.
    Enrolled {
        /// Its id.
        host: HostId,
        /// The log's verifier key.
        log_key: String,
        /// The permit key, base64.
        permit_key: String,
    },
    /// A session stands.
    Up(AgentSequence),
    /// It ended.
    Down,
    /// The control plane is there, and does not take this agent.
    Refused,
    /// A record is published.
    Acknowledged(AgentSequence, String),
    /// A record that this agent must know.
    Published(String),
    /// The log's head, proven from this size on.
    Head(TreeSize, String, Vec<String>),
    /// A wish.
    Nudged(Nudge),
    /// A package, or none.
    Fetched(PlaybookDigest, Option<String>),
}

impl LinkEvent {
    /// As the effector is told. There is one question at a time, so the link needs no numbers.
    pub(crate) fn into_message(self) -> ToEffector {
        match self {
            Self::Connecting => ToEffector::Connecting,
            Self::TokenWanted => ToEffector::TokenWanted,
            Self::ProveRecordKey(bytes) => ToEffector::ProveRecordKey { ask: crate::ipc::daemon::Ask(0), bytes },
            Self::Enrolled { host, log_key, permit_key } => ToEffector::Enrolled { host, log_key, permit_key },
            Self::Up(sequence) => ToEffector::LinkUp { sequence },
            Self::Down => ToEffector::LinkDown,
            Self::Refused => ToEffector::LinkRefused,
            Self::Acknowledged(sequence, published) => ToEffector::Acknowledged { sequence, published },
            Self::Published(document) => ToEffector::Published { document },
            Self::Head(from, checkpoint, consistency) => ToEffector::Head { from, checkpoint, consistency },
            Self::Nudged(nudge) => ToEffector::Nudged(nudge),
            Self::Fetched(digest, package) => ToEffector::Fetched { digest, package },
        }
    }
}

/// Why the link is down.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("no connection")]
    Connect(#[source] connect::ConnectError),
    #[error("enrolment failed")]
    Enrol(#[source] enrol::EnrolError),
    #[error("the session ended")]
    Session(#[source] session::SessionError),
    #[error(
        "the certificate expired {}s ago; write a new join token for this host to the file that join-token-file names",
        .0.as_secs()
    )]
    Expired(Duration),
    #[error("the certificate expired {}s ago, and the join token gets no new one", since.as_secs())]
    Renew {
        since: Duration,
        #[source]
        source: enrol::EnrolError,
    },
    #[error("what is left of the enrolment could not be removed")]
    Leftover(#[source] std::io::Error),
    #[error("the identity could not be read or written")]
    Store(#[source] StoreProblem),
    #[error("this host is not enrolled, and there is no join token; write one to the file join-token-file names")]
    NoToken,
}

impl LinkError {
    /// Whether the control plane said that it does not take this agent: its identity is withdrawn or not known.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Session(session::SessionError::Status(status)) => {
                matches!(status.code(), tonic::Code::PermissionDenied | tonic::Code::Unauthenticated)
            }
            Self::Session(_)
            | Self::Connect(_)
            | Self::Enrol(_)
            | Self::Expired(_)
            | Self::Renew { .. }
            | Self::Leftover(_)
            | Self::Store(_)
            | Self::NoToken => false,
        }
    }
}

/// How a session ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// A new certificate is there.
    Rotated,
}

/// The daemon's loop is gone.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the daemon's loop has ended")]
struct LoopGone;

/// Starts the link's task.
pub(crate) fn start(start: DaemonStart) -> (mpsc::Sender<LinkCommand>, mpsc::Receiver<LinkEvent>) {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let (outbox, events) = mpsc::channel(EVENTS);
    let store = IdentityStore::at(start.state.join("identity"));
    let link = Link { start, store, inbox, outbox };
    // Ends with the process, or when the daemon's loop drops its ends of both channels.
    drop(tokio::spawn(link.run()));
    (commands, events)
}

struct Link {
    start: DaemonStart,
    store: IdentityStore,
    inbox: mpsc::Receiver<LinkCommand>,
    outbox: mpsc::Sender<LinkEvent>,
}

impl Link {
    async fn run(mut self) {
        let mut delays = Delays::new();
        loop {
            let (delay, event) = match self.once(&mut delays).await {
                // The new certificate is used at once.
                Ok(Ended::Rotated) => (Duration::ZERO, LinkEvent::Down),
                Err(error) => {
                    let event = if error.is_refusal() { LinkEvent::Refused } else { LinkEvent::Down };
                    let error = anyhow::Error::from(error);
                    tracing::warn!(error = format!("{error:#}"), "the link to the control plane is down");
                    (delays.next(), event)
                }
            };
            if self.tell(event).await.is_err() || self.wait(delay).await.is_err() {
                return;
            }
        }
    }

    /// One connection from beginning to end.
    async fn once(&mut self, delays: &mut Delays) -> Result<Ended, LinkError> {
        let random = rotate::random();
        let identity = self.identity(random).await?;
        let channel = connect::with_identity(&self.start.address, &identity).await.map_err(LinkError::Connect)?;
        // It was accepted: the one before is not needed any more.
        self.store.retire_previous().map_err(LinkError::Store)?;
        session::hold(self, channel, &identity, random, delays).await.map_err(LinkError::Session)
    }

    /// The identity that is installed, or a new one where there is none that could still be rotated.
    async fn identity(&mut self, random: u32) -> Result<Identity, LinkError> {
        let mut expired = None;
        if let Some(identity) = self.store.load().map_err(LinkError::Store)? {
            match rotation(&identity.holder().validity, random, crate::daemon::wall_clock()) {
                Rotation::Wait { .. } | Rotation::Due => return Ok(identity),
                Rotation::Expired { since } => expired = Some(since),
            }
        }
        let Some(token) = enrol::token(self).await.map_err(LinkError::Enrol)? else {
            return Err(expired.map_or(LinkError::NoToken, LinkError::Expired));
        };
        let identity = enrol::enrol(self, &token).await.map_err(|source| match expired {
            Some(since) => LinkError::Renew { since, source },
            None => LinkError::Enrol(source),
        })?;
        self.store.install(&identity).map_err(LinkError::Store)?;
        enrol::Attempt::forget(&self.start.state).map_err(LinkError::Leftover)?;
        Ok(identity)
    }

    async fn tell(&self, event: LinkEvent) -> Result<(), LoopGone> {
        self.outbox.send(event).await.map_err(|_| LoopGone)
    }

    /// Waits without a session. What is ordered meanwhile is dropped: the effector sends it again.
    async fn wait(&mut self, delay: Duration) -> Result<(), LoopGone> {
        let until = tokio::time::Instant::now() + delay;
        loop {
            match tokio::time::timeout_at(until, self.inbox.recv()).await {
                Err(_elapsed) => return Ok(()),
                Ok(None) => return Err(LoopGone),
                Ok(Some(LinkCommand::Fetch { digest })) => self.tell(LinkEvent::Fetched(digest, None)).await?,
                Ok(Some(
                    LinkCommand::Introduce(_)
                    | LinkCommand::Send { .. }
                    | LinkCommand::JoinToken(_)
                    | LinkCommand::RecordKeyProof(_)
                    | LinkCommand::Verified { .. },
                )) => {}
            }
        }
    }
}
