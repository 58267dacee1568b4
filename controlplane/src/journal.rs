//! The journal: the log's records in order, durable, written under one leader's epoch.
//!
//! One SQLite file. The leader is its only writer; an append names the position that it expects and
//! the epoch under which it leads, so that neither a stale leader nor a confused one can write. What
//! it holds is never changed afterwards. Signs nothing and interprets nothing.

use crate::state_dir::private_file;
use fettle_model::counter::{LeaderEpoch, LogPosition, TreeSize};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use std::path::{Path, PathBuf};

/// Most records in one batch: at 2 KiB each a batch is half a megabyte, which one fsync takes in stride.
pub const MAX_BATCH: usize = 256;

/// A record as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// The envelope's bytes.
    pub envelope: Vec<u8>,
}

/// Why the journal could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file could not be made.
    #[error("the journal's file could not be made")]
    File(#[source] std::io::Error),
    /// SQLite failed.
    #[error("the journal could not be read or written")]
    Sqlite(#[source] rusqlite::Error),
    /// A number in the file makes no sense.
    #[error("the journal holds a malformed {what}")]
    Malformed {
        /// What.
        what: &'static str,
    },
    /// The file is of another format.
    #[error("the journal has format {found}, and this control plane knows {known}")]
    Format {
        /// In the file.
        found: i64,
        /// Ours.
        known: i64,
    },
}

impl From<rusqlite::Error> for JournalError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The journal is longer or shorter than the leader believes. Nothing was appended.
    #[error("the journal has {found} records where the leader expected {expected}")]
    Position {
        /// As the leader believes.
        expected: TreeSize,
        /// As it is.
        found: TreeSize,
    },
    /// Another leader took over. Nothing was appended.
    #[error("leader {ours} was deposed by leader {current}")]
    Deposed {
        /// Our epoch.
        ours: LeaderEpoch,
        /// The newest.
        current: LeaderEpoch,
    },
    /// Whether the batch is durable is unknown. The process must end; the next start finds out.
    #[error("whether the batch was appended is unknown")]
    Unknown(#[source] JournalError),
}

const FORMAT: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE record (position INTEGER PRIMARY KEY, leaf BLOB NOT NULL, envelope BLOB NOT NULL);
CREATE TABLE leader (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL);
INSERT INTO leader (id, epoch) VALUES (1, 0);
";

/// The journal.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    path: PathBuf,
}

impl Journal {
    /// Opens the file, making it when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened or is of another format.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        private_file(path).map_err(JournalError::File)?;
        let connection = Connection::open(path)?;
        // FULL: a commit returns after the write-ahead log is on disk. 8 MiB of cache serve proofs and
        // lists of recent records.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA busy_timeout = 2000;",
        )?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match found {
            FORMAT => {}
            0 => connection.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"))?,
            found => return Err(JournalError::Format { found, known: FORMAT }),
        }
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Becomes the leader: from now on no lower epoch can append.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn lead(&mut self) -> Result<LeaderEpoch, JournalError> {
        let epoch: i64 = self.connection.query_row(
            "UPDATE leader SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch",
            [],
            |row| row.get(0),
        )?;
        Ok(LeaderEpoch(unsigned(epoch, "leader epoch")?))
    }

    /// How many records it holds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn size(&self) -> Result<TreeSize, JournalError> {
        size_of(&self.connection)
    }

    /// Appends a batch at `expected`, under `epoch`. When it returns, the batch is durable as a whole.
    ///
    /// # Errors
    /// When it is another's turn (nothing was appended), or when the outcome is unknown.
    pub fn append(&mut self, expected: TreeSize, epoch: LeaderEpoch, rows: &[Row]) -> Result<(), AppendError> {
        let unknown = |error: rusqlite::Error| AppendError::Unknown(error.into());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unknown)?;
        let current: i64 =
            transaction.query_row("SELECT epoch FROM leader WHERE id = 1", [], |row| row.get(0)).map_err(unknown)?;
        let current = LeaderEpoch(unsigned(current, "leader epoch").map_err(AppendError::Unknown)?);
        if current != epoch {
            return Err(AppendError::Deposed { ours: epoch, current });
        }
        let found = size_of(&transaction).map_err(AppendError::Unknown)?;
        if found != expected {
            return Err(AppendError::Position { expected, found });
        }
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO record (position, leaf, envelope) VALUES (?1, ?2, ?3)")
                .map_err(unknown)?;
            for (position, row) in (expected.0..).zip(rows) {
                insert.execute(params![signed(position), row.leaf, row.envelope]).map_err(unknown)?;
            }
        }
        transaction.commit().map_err(unknown)
    }

    /// Records from a position on, at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, from: LogPosition, limit: usize) -> Result<Vec<Row>, JournalError> {
        read(&self.connection, from, limit)
    }
}

/// A journal that another thread leads, for somebody who only reads: SQLite itself refuses to write.
#[derive(Debug)]
pub struct JournalReader {
    connection: Connection,
}

impl JournalReader {
    /// Opens the file of a journal that is open.
    ///
    /// # Errors
    /// When it cannot be opened or is of another format.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 2000;")?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found == FORMAT { Ok(Self { connection }) } else { Err(JournalError::Format { found, known: FORMAT }) }
    }

    /// Records from a position on, at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, from: LogPosition, limit: usize) -> Result<Vec<Row>, JournalError> {
        read(&self.connection, from, limit)
    }
}

fn read(connection: &Connection, from: LogPosition, limit: usize) -> Result<Vec<Row>, JournalError> {
    let mut statement = connection
        .prepare_cached("SELECT leaf, envelope FROM record WHERE position >= ?1 ORDER BY position LIMIT ?2")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(params![signed(from.0), limit], |row| Ok(Row { leaf: row.get(0)?, envelope: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn size_of(connection: &Connection) -> Result<TreeSize, JournalError> {
    let last: Option<i64> = connection.query_row("SELECT MAX(position) FROM record", [], |row| row.get(0))?;
    Ok(last
        .map(|last| unsigned(last, "position"))
        .transpose()?
        .map_or(TreeSize(0), |last| LogPosition(last).tree_size()))
}

/// Positions stay below 2^53, so this never saturates.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64, what: &'static str) -> Result<u64, JournalError> {
    u64::try_from(value).map_err(|_| JournalError::Malformed { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[&str]) -> Vec<Row> {
        names.iter().map(|name| Row { leaf: b"leaf".to_vec(), envelope: name.as_bytes().to_vec() }).collect()
    }

    #[test]
    fn a_batch_is_read_back_in_order_after_the_file_was_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        let mut journal = Journal::open(&path).expect("it opens");
        let epoch = journal.lead().expect("it leads");
        journal.append(TreeSize(0), epoch, &rows(&["a", "b"])).expect("appended");
        journal.append(TreeSize(2), epoch, &rows(&["c"])).expect("appended");
        drop(journal);
        let journal = Journal::open(&path).expect("it opens");
        assert_eq!(journal.size().expect("read"), TreeSize(3));
        assert_eq!(journal.read(LogPosition(1), 10).expect("read"), rows(&["b", "c"]));
        assert_eq!(journal.read(LogPosition(0), 1).expect("read"), rows(&["a"]));
    }

    #[test]
    fn a_reader_reads_what_the_leader_appends_and_can_write_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        let mut journal = Journal::open(&path).expect("it opens");
        let epoch = journal.lead().expect("it leads");
        let reader = JournalReader::open(&path).expect("it opens");
        journal.append(TreeSize(0), epoch, &rows(&["a", "b"])).expect("appended");
        assert_eq!(reader.read(LogPosition(1), 10).expect("read"), rows(&["b"]));
        let written = reader.connection.execute("DELETE FROM record", []);
        assert!(written.is_err(), "{written:?}");
        assert!(JournalReader::open(&folder.path().join("none.db")).is_err(), "it makes no file");
    }

    #[test]
    fn a_stale_leader_and_a_wrong_position_append_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.db");
        let mut old = Journal::open(&path).expect("it opens");
        let deposed = old.lead().expect("it leads");
        let mut new = Journal::open(&path).expect("it opens");
        let epoch = new.lead().expect("it leads");
        assert!(matches!(old.append(TreeSize(0), deposed, &rows(&["a"])), Err(AppendError::Deposed { .. })));
        assert!(matches!(new.append(TreeSize(1), epoch, &rows(&["a"])), Err(AppendError::Position { .. })));
        assert_eq!(new.size().expect("read"), TreeSize(0));
    }
}
