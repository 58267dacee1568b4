//! The leader: the one thread that decides, appends and publishes.
//!
//! Everybody else sends it a [`Job`] over a bounded channel and waits for the answer, which comes only
//! after the batch with its records is durable and covered by a published checkpoint. Jobs that wait
//! together are decided one after the other and appended as one batch: one fsync of the journal and one
//! of the checkpoint for all of them. A batch for which nobody is in a hurry waits a moment for more. The thread owns the state, the journal, the log and the permit key.
//!
//! The state runs ahead of the journal by the batch in hand. If the append fails, or its outcome is
//! unknown, the thread ends with its state and so does the process: nothing was told to anybody, and the
//! next start reads what really happened.

mod batch;
mod feed;
#[cfg(feature = "hold-points")]
mod hold;
mod start;

pub use batch::LeaderError;
pub use feed::{Batch, FEED_BATCHES, Feed};
pub(crate) use start::read_record;
pub use start::{Ahead, Clocks, Opened, StartError, open, read_state};

use crate::core::{Command, Core, Heard, InForce, Outcome, PersonRequest};
use crate::journal::{Journal, JournalError};
use crate::log::{Log, LogError};
use fettle_audit::note::KeyName;
use fettle_audit::published::Published;
use fettle_audit::signed_record::{SignedRecord, UnverifiedRecord};
use fettle_model::counter::{LogPosition, TreeSize};
use fettle_model::id::HostId;
use fettle_model::name::{EnvironmentName, PersonName};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait: a storm of 5 000 transitions waits in its senders' sessions, not here; four
/// batches' worth keep the thread busy.
pub const INBOX_JOBS: usize = 4 * crate::journal::MAX_BATCH;

/// A record that is durable and published.
#[derive(Debug)]
pub struct Entry {
    /// The record, and its envelope.
    pub signed: SignedRecord,
    /// With its proof.
    pub published: Published,
}

/// What was done with a job.
#[derive(Debug)]
pub struct Done {
    /// The core's answer.
    pub outcome: Outcome,
    /// The records that were appended because of it.
    pub entries: Vec<Arc<Entry>>,
}

/// What the leader is asked.
pub enum Job {
    /// Take in an agent's record whose signature was verified with the record key of `host`.
    AgentRecord {
        /// Whose key it was.
        host: HostId,
        /// The record.
        signed: Box<SignedRecord>,
        /// The answer.
        reply: oneshot::Sender<Done>,
    },
    /// Do what needs no answer of Cedar: open the log, enrol, rotate, quarantine, record a refusal.
    Command {
        /// What.
        command: Box<Command>,
        /// The answer.
        reply: oneshot::Sender<Done>,
    },
    /// Do what a person asks, if Cedar lets them.
    Person {
        /// Who.
        by: PersonName,
        /// What.
        request: Box<PersonRequest>,
        /// The answer.
        reply: oneshot::Sender<Done>,
    },
    /// Take note of what the log does not say; the next tick acts on it.
    Sense(Sensed),
    /// Take in what a person says themselves (a yes or no, an ask to break the glass or its confirmation), if Cedar lets
    /// them and the key that stands for them signed it.
    PersonRecord {
        /// Who brings it.
        by: PersonName,
        /// The record.
        given: Box<UnverifiedRecord>,
        /// The answer.
        reply: oneshot::Sender<Done>,
    },
    /// Look at the state and the log; changes nothing.
    Inspect(Look),
}

/// Something that the rim sees and the log does not say.
#[derive(Debug)]
pub enum Sensed {
    /// How the agents are heard.
    Heard(BTreeMap<EnvironmentName, Heard>),
    /// What connected agents hold.
    Held(Arc<BTreeMap<HostId, InForce>>),
}

/// A look at the state and the log.
pub type Look = Box<dyn FnOnce(&View<'_>) + Send>;

/// What an inspection sees: one moment between two batches.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The state.
    pub core: &'a Core,
    journal: &'a Journal,
    log: &'a Log,
}

/// Why a record could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The journal failed.
    #[error("the record could not be read")]
    Journal(#[source] JournalError),
    /// There is no such record.
    #[error("the log has no record {0}")]
    NoRecord(LogPosition),
    /// The proof failed.
    #[error("the record could not be proved")]
    Log(#[source] LogError),
}

impl View<'_> {
    /// The signed checkpoint, note text.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.log.latest().note
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> KeyName {
        self.log.origin().clone()
    }

    /// Where the journal's file is, for readers that bring their own connection.
    #[must_use]
    pub fn journal_path(&self) -> PathBuf {
        self.journal.path().to_owned()
    }

    /// Size of the published tree.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        self.log.latest().size
    }

    /// A record with its proof.
    ///
    /// # Errors
    /// When there is no such record, or it cannot be read.
    pub fn published(&self, position: LogPosition) -> Result<Published, ShowError> {
        let row = self.journal.read(position, 1).map_err(ShowError::Journal)?.pop();
        let row = row.ok_or(ShowError::NoRecord(position))?;
        self.log.prove(position, row.leaf, row.envelope).map_err(ShowError::Log)
    }

    /// Leaves and envelopes from a position on, at most `limit`.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn rows(&self, from: LogPosition, limit: usize) -> Result<Vec<crate::journal::Row>, JournalError> {
        self.journal.read(from, limit)
    }

    /// Proof that the published tree continues the one of `from` records.
    ///
    /// # Errors
    /// When `from` is larger than the published tree.
    pub fn consistency(&self, from: TreeSize) -> Result<Vec<fettle_audit::tree::Hash>, LogError> {
        self.log.prove_consistency(from)
    }
}

/// The leader's address.
#[derive(Debug, Clone)]
pub struct Leader {
    inbox: mpsc::Sender<Job>,
    feed: Feed,
}

/// The leader's thread has ended; so will the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control plane's leader has ended")]
pub struct Gone;

impl Leader {
    /// Every batch from now on.
    #[must_use]
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Takes in an agent's record, once there is room in the inbox. The answer comes later, so that one
    /// session's records share a commit; they are decided in the order in which they are submitted.
    ///
    /// # Errors
    /// When the leader has ended.
    pub async fn submit_agent_record(
        &self,
        host: HostId,
        signed: SignedRecord,
    ) -> Result<oneshot::Receiver<Done>, Gone> {
        let (reply, answer) = oneshot::channel();
        let job = Job::AgentRecord { host, signed: Box::new(signed), reply };
        self.inbox.send(job).await.map_err(|_| Gone)?;
        Ok(answer)
    }

    /// Does what needs no answer of Cedar.
    ///
    /// # Errors
    /// When the leader has ended.
    pub async fn command(&self, command: Command) -> Result<Done, Gone> {
        self.ask(|reply| Job::Command { command: Box::new(command), reply }).await
    }

    /// Says how the agents are heard.
    ///
    /// # Errors
    /// When the leader has ended.
    pub async fn sense(&self, sensed: Sensed) -> Result<(), Gone> {
        self.inbox.send(Job::Sense(sensed)).await.map_err(|_| Gone)
    }

    /// Waits until the leader has ended.
    pub async fn ended(&self) {
        self.inbox.closed().await;
    }

    /// Does what a person asks, if Cedar lets them.
    ///
    /// # Errors
    /// When the leader has ended.
    pub async fn person(&self, by: PersonName, request: PersonRequest) -> Result<Done, Gone> {
        self.ask(|reply| Job::Person { by, request: Box::new(request), reply }).await
    }

    /// Takes in what a person says themselves.
    ///
    /// # Errors
    /// When the leader has ended.
    pub async fn person_record(&self, by: PersonName, given: UnverifiedRecord) -> Result<Done, Gone> {
        self.ask(|reply| Job::PersonRecord { by, given: Box::new(given), reply }).await
    }

    /// Looks.
    ///
    /// # Errors
    /// When the leader has ended.
    pub async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&View<'_>) -> T + Send + 'static,
    ) -> Result<T, Gone> {
        self.ask(|reply| {
            Job::Inspect(Box::new(move |view| {
                // Whoever asked may have given up; then nobody misses the answer.
                drop(reply.send(look(view)));
            }))
        })
        .await
    }

    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(job(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}
