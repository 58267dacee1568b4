//! The effector's durable state: one SQLite file that only the effector opens.
//!
//! Holds the chain of signed records and its outbox, the heads of checks, permits that were used,
//! the journal of the run in progress, and what the control plane published for this host. Every
//! method is one transaction and is durable when it returns (write-ahead log, `synchronous = FULL`:
//! one fsync each), unless it is carried out [ahead](Store::ahead) of the next. A state that cannot be read is an error, never an empty state.

mod outbox;
mod playbooks;
mod requests;

pub use playbooks::StoredPlaybook;

use fettle_model::check::{CheckRef, Status};
use fettle_model::counter::{AgentSequence, Fence, TransitionEpoch};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::id::{HostId, PermitId, RequestId, RunId};
use fettle_model::time::UnixMillis;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed; nothing of the transaction happened, or whether it did is unknown and the
    /// process must restart to find out.
    #[error("the agent's state file could not be read or written")]
    Sqlite(#[source] rusqlite::Error),
    /// The file could not be made, or kept from other users.
    #[error("the agent's state file could not be made private to its user")]
    File(#[source] std::io::Error),
    /// A value in the file makes no sense.
    #[error("the agent's state file holds a malformed {what}")]
    Malformed {
        /// What.
        what: &'static str,
    },
    /// The file is of another format.
    #[error(
        "the agent's state file has format {found}, and this agent reads format {known} alone; start the version of \
         the agent that wrote it, or remove the state folder and enrol this host again with a new join token"
    )]
    Format {
        /// In the file.
        found: i64,
        /// Ours.
        known: i64,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

const FORMAT: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE value (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outbox (
  sequence INTEGER PRIMARY KEY, envelope BLOB NOT NULL, until_proven INTEGER NOT NULL DEFAULT 0);
CREATE TABLE check_head (
  service TEXT NOT NULL, name TEXT NOT NULL, epoch INTEGER NOT NULL, status TEXT NOT NULL,
  at INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (service, name)) WITHOUT ROWID;
CREATE TABLE used_permit (permit TEXT PRIMARY KEY, fence INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE run (run TEXT PRIMARY KEY, permit TEXT NOT NULL, published TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE journal (
  run TEXT NOT NULL REFERENCES run (run), number INTEGER NOT NULL, entry TEXT NOT NULL,
  PRIMARY KEY (run, number)) WITHOUT ROWID;
CREATE TABLE playbook (
  digest TEXT PRIMARY KEY, admitted TEXT NOT NULL, package BLOB, fingerprint TEXT, artifact BLOB) WITHOUT ROWID;
CREATE TABLE request (request TEXT PRIMARY KEY, document TEXT NOT NULL) WITHOUT ROWID;
";

/// Used permits that are remembered besides the newest: so many in a row may be told as replayed.
const MAX_USED_PERMITS: u32 = 1_000;

/// A named text that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// The host's id.
    Host,
    /// The log's verifier key, pinned at enrolment.
    LogKey,
    /// The permit key, pinned at enrolment.
    PermitKey,
    /// The newest verified checkpoint, note text.
    Checkpoint,
    /// The published `configuration-set` in force.
    Configuration,
    /// The published stop and resume orders in force, as a JSON list.
    StopOrders,
    /// The host's last description, as it was signed.
    Description,
    /// Evidence of a fork, once one was seen.
    Fork,
    /// What must be put back at a time, as JSON.
    Holds,
    /// What drills injected and must be taken back, as JSON.
    Injections,
    /// The published drill that runs here.
    Drill,
    /// What was said of requests that were not made, as JSON.
    Withheld,
    /// What was said last of a configuration that this host cannot hold, as JSON.
    Rejected,
    /// The published permit of the budget that is held in advance; empty once it was given back.
    Offline,
}

impl Value {
    const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::LogKey => "log-key",
            Self::PermitKey => "permit-key",
            Self::Checkpoint => "checkpoint",
            Self::Configuration => "configuration",
            Self::StopOrders => "stop-orders",
            Self::Description => "description",
            Self::Fork => "fork",
            Self::Holds => "holds",
            Self::Injections => "injections",
            Self::Drill => "drill",
            Self::Withheld => "withheld",
            Self::Rejected => "rejected",
            Self::Offline => "offline",
        }
    }
}

/// The last record of this agent's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Its sequence; 0 before the first.
    pub sequence: AgentSequence,
    /// Its digest.
    pub digest: Option<EnvelopeDigest>,
}

/// The last transition of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckHead {
    /// Which check.
    pub check: CheckRef,
    /// Its count.
    pub epoch: TransitionEpoch,
    /// Its status since.
    pub status: Status,
    /// When.
    pub at: UnixMillis,
    /// Why.
    pub reason: String,
}

/// A record to be appended to the chain.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Its place.
    pub sequence: AgentSequence,
    /// The envelope.
    pub envelope: &'a [u8],
}

/// The run that was in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Its id.
    pub run: RunId,
    /// The permit as it was published.
    pub published: String,
    /// Its journal in order, JSON text each.
    pub entries: Vec<String>,
}

/// The effector's state.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file, making it when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened or is of another format.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(StoreError::File)?;
        let connection = Connection::open(path)?;
        // A cache of 256 KiB: the working set is a page of each table.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -256;
             PRAGMA locking_mode = EXCLUSIVE;",
        )?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            FORMAT => {}
            0 => connection.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"))?,
            found => return Err(StoreError::Format { found, known: FORMAT }),
        }
        Ok(Self { connection })
    }

    /// Carries out a transaction ahead of the next: it outlasts this process when it returns, and a power cut
    /// once the next one, or [`Self::sync`], has returned. The file's log is synced as a whole, in its order.
    ///
    /// # Errors
    /// As `transaction`.
    pub fn ahead<T>(&mut self, transaction: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.connection.execute_batch("PRAGMA synchronous = NORMAL")?;
        let done = transaction(self);
        // Whatever came of it: everything else is durable when its method returns.
        self.connection.execute_batch("PRAGMA synchronous = FULL")?;
        done
    }

    /// Makes durable what was carried out ahead, where no other transaction follows that would.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sync(&self) -> Result<(), StoreError> {
        // Only a commit syncs, and only one that writes.
        Ok(self.connection.execute_batch(&format!("PRAGMA user_version = {FORMAT}"))?)
    }

    /// A named text.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn value(&self, value: Value) -> Result<Option<String>, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT text FROM value WHERE name = ?1")?
            .query_row([value.name()], |row| row.get(0))
            .optional()?)
    }

    /// Keeps a named text.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_value(&self, value: Value, text: &str) -> Result<(), StoreError> {
        set_value(&self.connection, value, text)
    }

    /// Keeps who this host is and whose keys it obeys, in one transaction.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_enrolment(&mut self, host: HostId, log_key: &str, permit_key: &str) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let values = [(Value::LogKey, log_key), (Value::PermitKey, permit_key), (Value::Host, &host.to_string())];
        for (value, text) in values {
            set_value(&transaction, value, text)?;
        }
        Ok(transaction.commit()?)
    }

    /// The end of this agent's chain.
    ///
    /// # Errors
    /// When the file cannot be read or makes no sense.
    pub fn chain_head(&self) -> Result<ChainHead, StoreError> {
        let row: Option<(i64, Vec<u8>)> = self
            .connection
            .prepare_cached("SELECT sequence, envelope FROM outbox ORDER BY sequence DESC LIMIT 1")?
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match row {
            None => Ok(ChainHead { sequence: AgentSequence(0), digest: None }),
            Some((sequence, envelope)) => Ok(ChainHead {
                sequence: AgentSequence(unsigned(sequence, "sequence")?),
                digest: Some(EnvelopeDigest::of(&envelope)),
            }),
        }
    }

    /// Appends a record to the chain.
    ///
    /// # Errors
    /// When the file cannot be written, or the sequence is taken.
    pub fn append(&mut self, record: NewRecord<'_>) -> Result<(), StoreError> {
        insert_record(&self.connection, record)
    }

    /// Appends a transition and moves its check's head, in one transaction.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_transition(&mut self, record: NewRecord<'_>, head: &CheckHead) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        insert_record(&transaction, record)?;
        transaction
            .prepare_cached(
                "INSERT INTO check_head (service, name, epoch, status, at, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (service, name) DO UPDATE SET epoch = ?3, status = ?4, at = ?5, reason = ?6",
            )?
            .execute(params![
                head.check.service.as_str(),
                head.check.check.as_str(),
                signed(head.epoch.0),
                head.status.as_str(),
                signed(head.at.0),
                head.reason,
            ])?;
        Ok(transaction.commit()?)
    }

    /// Appends a record that is sent until its own inclusion is verified, not only that of a later one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_until_proven(&mut self, record: NewRecord<'_>) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        insert_until_proven(&transaction, record)?;
        Ok(transaction.commit()?)
    }

    /// Appends a run's record and drops its journal, in one transaction: after a crash the run is
    /// either in progress or has ended, never both, never neither.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_run_end(&mut self, record: NewRecord<'_>, run: RunId) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        insert_until_proven(&transaction, record)?;
        transaction.execute("DELETE FROM journal WHERE run = ?1", [run.to_string()])?;
        transaction.execute("DELETE FROM run WHERE run = ?1", [run.to_string()])?;
        Ok(transaction.commit()?)
    }

    /// Appends a record and keeps a named text that it stands for, in one transaction: an agent that observes
    /// only has said so, and what was said is not said again.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_with_value(&mut self, record: NewRecord<'_>, value: Value, text: &str) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        insert_record(&transaction, record)?;
        set_value(&transaction, value, text)?;
        Ok(transaction.commit()?)
    }

    /// Appends the record of what this agent made of an answer, and forgets the request, in one transaction.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_answered(&mut self, record: NewRecord<'_>, request: RequestId) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        insert_record(&transaction, record)?;
        transaction.execute("DELETE FROM request WHERE request = ?1", [request.to_string()])?;
        Ok(transaction.commit()?)
    }

    /// The heads of all checks.
    ///
    /// # Errors
    /// When the file cannot be read or makes no sense.
    pub fn check_heads(&self) -> Result<Vec<CheckHead>, StoreError> {
        type Row = (String, String, i64, String, i64, String);
        let mut statement =
            self.connection.prepare_cached("SELECT service, name, epoch, status, at, reason FROM check_head")?;
        let rows = statement.query_map([], |row| -> rusqlite::Result<Row> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })?;
        rows.map(|row| {
            let (service, check, epoch, status, at, reason) = row?;
            let malformed = || StoreError::Malformed { what: "check head" };
            Ok(CheckHead {
                check: CheckRef {
                    service: service.parse().map_err(|_| malformed())?,
                    check: check.parse().map_err(|_| malformed())?,
                },
                epoch: TransitionEpoch(unsigned(epoch, "epoch")?),
                status: parse_status(&status)?,
                at: UnixMillis(unsigned(at, "time")?),
                reason,
            })
        })
        .collect()
    }

    /// Whether a permit was used before.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_used(&self, permit: PermitId) -> Result<Use, StoreError> {
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT 1 FROM used_permit WHERE permit = ?1")?
            .query_row([permit.to_string()], |row| row.get(0))
            .optional()?;
        Ok(if found.is_some() { Use::Before } else { Use::Never })
    }

    /// The highest fence that was accepted.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn highest_fence(&self) -> Result<Fence, StoreError> {
        let found: Option<i64> =
            self.connection.query_row("SELECT MAX(fence) FROM used_permit", [], |row| row.get(0))?;
        Ok(Fence(unsigned(found.unwrap_or(0), "fence")?))
    }

    /// Marks a permit as used and opens its run with the first journal entry, in one transaction.
    /// When it returns, no crash makes the permit good again.
    ///
    /// # Errors
    /// When the file cannot be written, or the permit was used before.
    pub fn open_run(&mut self, opening: &Opening<'_>) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        let (permit, run) = (opening.permit.to_string(), opening.run.to_string());
        // One below the highest fence is refused for its fence, whether it is remembered or not.
        transaction.execute(
            "DELETE FROM used_permit WHERE permit NOT IN (SELECT permit FROM used_permit ORDER BY fence DESC LIMIT ?1)",
            [MAX_USED_PERMITS],
        )?;
        transaction.execute(
            "INSERT INTO used_permit (permit, fence, at) VALUES (?1, ?2, ?3)",
            params![permit, signed(opening.fence.0), signed(opening.at.0)],
        )?;
        transaction.execute(
            "INSERT INTO run (run, permit, published) VALUES (?1, ?2, ?3)",
            params![run, permit, opening.published],
        )?;
        transaction
            .execute("INSERT INTO journal (run, number, entry) VALUES (?1, 0, ?2)", params![run, opening.entry])?;
        // Its request is answered with the very commit that uses the permit up: before it, the permit comes
        // again for the asking.
        transaction.execute("DELETE FROM request WHERE request = ?1", [opening.request.to_string()])?;
        Ok(transaction.commit()?)
    }

    /// Appends an entry to the run's journal.
    ///
    /// # Errors
    /// When the file cannot be written, or the number is taken.
    pub fn journal(&self, run: RunId, number: u32, entry: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("INSERT INTO journal (run, number, entry) VALUES (?1, ?2, ?3)")?
            .execute(params![run.to_string(), number, entry])?;
        Ok(())
    }

    /// [`Self::journal`], with the value that follows from the entry, in one transaction.
    ///
    /// # Errors
    /// As [`Self::journal`].
    pub fn journal_with(
        &mut self,
        run: RunId,
        number: u32,
        entry: &str,
        (value, text): (Value, &str),
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("INSERT INTO journal (run, number, entry) VALUES (?1, ?2, ?3)")?
            .execute(params![run.to_string(), number, entry])?;
        set_value(&transaction, value, text)?;
        Ok(transaction.commit()?)
    }

    /// The run that was in progress when the process ended, if any.
    ///
    /// # Errors
    /// When the file cannot be read, or holds more than one.
    pub fn open_runs(&self) -> Result<Vec<StoredRun>, StoreError> {
        let mut statement = self.connection.prepare("SELECT run, published FROM run ORDER BY run")?;
        let runs: Vec<(String, String)> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut entries = self.connection.prepare("SELECT entry FROM journal WHERE run = ?1 ORDER BY number")?;
        runs.into_iter()
            .map(|(run, published)| {
                let id = run.parse().map_err(|_| StoreError::Malformed { what: "run id" })?;
                let entries = entries.query_map([run], |row| row.get(0))?.collect::<Result<_, _>>()?;
                Ok(StoredRun { run: id, published, entries })
            })
            .collect()
    }
}

/// Whether a permit was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It was.
    Before,
    /// It was not.
    Never,
}

/// What [`Store::open_run`] keeps.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The permit.
    pub permit: PermitId,
    /// The request that it answers.
    pub request: RequestId,
    /// The run.
    pub run: RunId,
    /// The permit's fence.
    pub fence: Fence,
    /// When it was accepted.
    pub at: UnixMillis,
    /// The permit as it was published.
    pub published: &'a str,
    /// The journal's first entry.
    pub entry: &'a str,
}

/// Makes the file, or an older one's mode, such that its user alone can read it. SQLite gives the files beside
/// it the same mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

fn set_value(connection: &Connection, value: Value, text: &str) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO value (name, text) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET text = ?2")?
        .execute([value.name(), text])?;
    Ok(())
}

fn insert_record(connection: &Connection, record: NewRecord<'_>) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO outbox (sequence, envelope) VALUES (?1, ?2)")?
        .execute(params![signed(record.sequence.0), record.envelope])?;
    Ok(())
}

/// One whose own inclusion must be verified before it is dropped.
fn insert_until_proven(connection: &Connection, record: NewRecord<'_>) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT INTO outbox (sequence, envelope, until_proven) VALUES (?1, ?2, 1)")?
        .execute(params![signed(record.sequence.0), record.envelope])?;
    Ok(())
}

fn parse_status(text: &str) -> Result<Status, StoreError> {
    [Status::Passing, Status::Warning, Status::Critical, Status::Unknown]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or(StoreError::Malformed { what: "status" })
}

/// Counters stay below 2^53, so this never saturates.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64, what: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Malformed { what })
}

#[cfg(test)]
mod tests;
