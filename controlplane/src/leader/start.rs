//! Starting the leader: the journal is read, the state computed, the log checked against its
//! checkpoint, and only then a thread takes jobs.

use super::batch::Thread;
use super::{Feed, INBOX_JOBS, Leader, LeaderError};
use crate::authority::Authority;
use crate::core::{ApplyError, Core, Entry, Monotonic, Now, Senses, State};
use crate::journal::{Journal, JournalError, MAX_BATCH};
use crate::log::checkpoints::{Checkpoints, CheckpointsError};
use crate::log::tiles::Tiles;
use crate::log::{Log, LogError};
use fettle_audit::envelope::{Envelope, EnvelopeError};
use fettle_audit::key::SigningKey;
use fettle_audit::leaf::{InvalidLeaf, Leaf};
use fettle_audit::note::NoteSigner;
use fettle_model::counter::LogPosition;
use fettle_model::record::Record;
use fettle_model::time::{UnixMillis, whole_millis};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The two clocks of this process.
#[derive(Debug, Clone)]
pub struct Clocks {
    start: Instant,
    /// What a test lets the wall clock go ahead by.
    ahead: Ahead,
}

/// By how many milliseconds the wall clock goes ahead of the machine's: a test's hand on the clock.
/// Nothing in the product sets it.
#[derive(Debug, Clone, Default)]
pub struct Ahead(Arc<AtomicU64>);

impl Ahead {
    /// Sets the wall clock ahead by so much.
    pub fn set(&self, by: Duration) {
        self.0.store(whole_millis(by), Ordering::Relaxed);
    }
}

impl Clocks {
    /// Begins the monotonic clock.
    #[must_use]
    pub fn start() -> Self {
        Self { start: Instant::now(), ahead: Ahead::default() }
    }

    /// As [`Clocks::start`], with a wall clock that a test can set ahead.
    #[must_use]
    pub fn start_with(ahead: Ahead) -> Self {
        Self { ahead, ..Self::start() }
    }

    /// Reads both.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the rim: this is where the control plane's clocks are read")]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = wall.saturating_add(Duration::from_millis(self.ahead.0.load(Ordering::Relaxed)));
        Now { wall: UnixMillis(whole_millis(wall)), monotonic: Monotonic(self.start.elapsed()) }
    }
}

/// Why the control plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal failed.
    #[error("the journal could not be opened")]
    Journal(#[source] JournalError),
    /// The checkpoint's file failed.
    #[error("the checkpoint could not be read")]
    Checkpoints(#[source] CheckpointsError),
    /// The log and its checkpoint do not fit.
    #[error("the log could not be opened")]
    Log(#[source] LogError),
    /// A leaf is malformed.
    #[error("the leaf at position {position} is malformed")]
    Leaf {
        /// Where.
        position: LogPosition,
        /// How.
        #[source]
        source: InvalidLeaf,
    },
    /// An envelope does not parse.
    #[error("the envelope at position {position} does not parse")]
    Envelope {
        /// Where.
        position: LogPosition,
        /// How.
        #[source]
        source: EnvelopeError,
    },
    /// An envelope is not the one of its leaf.
    #[error("the record at position {position} is not the one that was appended")]
    Altered {
        /// Where.
        position: LogPosition,
    },
    /// A record does not parse.
    #[error("the record at position {position} does not parse")]
    Record {
        /// Where.
        position: LogPosition,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// The records are not those of a control plane.
    #[error("the record at position {position} does not follow those before it")]
    Apply {
        /// Where.
        position: LogPosition,
        /// Why.
        #[source]
        source: ApplyError,
    },
    /// The thread could not be started.
    #[error("the leader's thread could not be started")]
    Thread(#[source] std::io::Error),
}

/// A leader that runs.
#[derive(Debug)]
pub struct Opened {
    /// Its address.
    pub leader: Leader,
    /// Its thread: ends in order when every address is dropped, otherwise with the reason for which the
    /// process must end.
    pub thread: std::thread::JoinHandle<Result<(), LeaderError>>,
}

/// Opens the log in `folder` (`journal.db`, `checkpoint.db`, `tile/`) and starts the leader.
///
/// # Errors
/// When anything does not fit: damaged or restored state is never taken for an empty one.
pub fn open(
    folder: &Path,
    log_signer: NoteSigner,
    permit_key: SigningKey,
    authority: Authority,
    clocks: Clocks,
) -> Result<Opened, StartError> {
    let mut journal = Journal::open(&folder.join("journal.db")).map_err(StartError::Journal)?;
    let epoch = journal.lead().map_err(StartError::Journal)?;
    let (state, leaves) = replay(&journal)?;
    let checkpoints = Checkpoints::open(&folder.join("checkpoint.db")).map_err(StartError::Checkpoints)?;
    let tiles = Tiles::new(folder.to_owned());
    let leaves = leaves.into_iter().map(Ok::<_, std::convert::Infallible>);
    let Ok(log) = Log::open(log_signer, tiles, checkpoints, leaves);
    let log = log.map_err(StartError::Log)?;
    let core = Core::on_start(state, clocks.now());
    let (inbox, jobs) = tokio::sync::mpsc::channel(INBOX_JOBS);
    let feed = Feed::new();
    let thread = Thread {
        core,
        journal,
        log,
        epoch,
        permit_key,
        authority,
        policies: Authority::digest(),
        clocks,
        feed: feed.clone(),
        senses: Senses::default(),
        #[cfg(feature = "hold-points")]
        hold: super::hold::Hold::from_environment(),
    };
    let thread = std::thread::Builder::new()
        .name("leader".to_owned())
        .spawn(move || thread.run(jobs))
        .map_err(StartError::Thread)?;
    Ok(Opened { leader: Leader { inbox, feed }, thread })
}

/// The state that the journal in `folder` gives, without leading: for commands beside a server that runs.
///
/// # Errors
/// When the journal cannot be read or is not one of a control plane.
pub fn read_state(folder: &Path) -> Result<State, StartError> {
    let journal = Journal::open(&folder.join("journal.db")).map_err(StartError::Journal)?;
    replay(&journal).map(|(state, _)| state)
}

/// The state that the journal gives, and its leaves. Signatures were verified before anything was
/// appended; the tree's root is compared with the signed checkpoint by the caller.
fn replay(journal: &Journal) -> Result<(State, Vec<Vec<u8>>), StartError> {
    let mut state = State::default();
    let mut leaves = Vec::new();
    loop {
        let from = LogPosition(u64::try_from(leaves.len()).unwrap_or(u64::MAX));
        let rows = journal.read(from, MAX_BATCH).map_err(StartError::Journal)?;
        if rows.is_empty() {
            return Ok((state, leaves));
        }
        for (position, row) in (from.0..).map(LogPosition).zip(rows) {
            let leaf = Leaf::decode(&row.leaf).map_err(|source| StartError::Leaf { position, source })?;
            let record = read_record(&leaf, row.envelope, position)?;
            let entry = Entry { position, envelope: leaf.envelope, received_at: leaf.received_at, record: &record };
            state.apply(&entry).map_err(|source| StartError::Apply { position, source })?;
            leaves.push(row.leaf);
        }
    }
}

/// The record of a leaf. Its signature was verified before it was appended; that these are still the
/// same bytes is what the leaf's digest, and with it the signed checkpoint, says.
pub(crate) fn read_record(leaf: &Leaf, envelope: Vec<u8>, position: LogPosition) -> Result<Record, StartError> {
    let envelope = Envelope::parse(envelope).map_err(|source| StartError::Envelope { position, source })?;
    if envelope.digest() != leaf.envelope {
        return Err(StartError::Altered { position });
    }
    serde_json::from_slice(envelope.unverified_payload()).map_err(|source| StartError::Record { position, source })
}
