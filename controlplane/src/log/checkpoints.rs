//! The newest published checkpoint, in a file of its own.
//!
//! Kept apart from the journal on purpose: a backup of the one must never bring back the other. It is
//! only ever moved forward, by compare-and-set.

use crate::state_dir::private_file;
use fettle_audit::tree::{Hash, empty_root};
use fettle_model::counter::TreeSize;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;

/// The newest checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// Its size.
    pub size: TreeSize,
    /// Its root.
    pub root: Hash,
    /// The signed note.
    pub note: String,
}

impl Latest {
    /// Before the first one.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: TreeSize(0), root: empty_root(), note: String::new() }
    }
}

/// Why the checkpoint could not be read or moved.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointsError {
    /// The file could not be made.
    #[error("the checkpoint's file could not be made")]
    File(#[source] std::io::Error),
    /// SQLite failed.
    #[error("the checkpoint's file could not be read or written")]
    Sqlite(#[source] rusqlite::Error),
    /// Somebody else moved it: a second control plane works on this log.
    #[error("the checkpoint was moved by another process")]
    Moved,
    /// A value in the file makes no sense.
    #[error("the checkpoint's file holds a malformed value")]
    Malformed,
}

impl From<rusqlite::Error> for CheckpointsError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The file.
#[derive(Debug)]
pub struct Checkpoints {
    connection: Connection,
}

impl Checkpoints {
    /// Opens the file, making it when it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, CheckpointsError> {
        private_file(path).map_err(CheckpointsError::File)?;
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000;
             CREATE TABLE IF NOT EXISTS latest (
               id INTEGER PRIMARY KEY CHECK (id = 1), size INTEGER NOT NULL, root TEXT NOT NULL, note TEXT NOT NULL);",
        )?;
        Ok(Self { connection })
    }

    /// The newest one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn latest(&self) -> Result<Option<Latest>, CheckpointsError> {
        let row: Option<(i64, String, String)> = self
            .connection
            .query_row("SELECT size, root, note FROM latest WHERE id = 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        row.map(|(size, root, note)| {
            Ok(Latest {
                size: TreeSize(u64::try_from(size).map_err(|_| CheckpointsError::Malformed)?),
                root: root.parse().map_err(|_| CheckpointsError::Malformed)?,
                note,
            })
        })
        .transpose()
    }

    /// Moves from `held` to `next`, durably.
    ///
    /// # Errors
    /// When it is not at `held` any more.
    pub fn advance(&self, held: &Latest, next: &Latest) -> Result<(), CheckpointsError> {
        let size = |latest: &Latest| i64::try_from(latest.size.0).map_err(|_| CheckpointsError::Malformed);
        let moved = if held.size == TreeSize(0) {
            self.connection
                .prepare_cached(
                    "INSERT INTO latest (id, size, root, note) VALUES (1, ?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute(params![size(next)?, next.root.to_string(), next.note])?
        } else {
            self.connection
                .prepare_cached(
                    "UPDATE latest SET size = ?1, root = ?2, note = ?3 WHERE id = 1 AND size = ?4 AND root = ?5",
                )?
                .execute(params![size(next)?, next.root.to_string(), next.note, size(held)?, held.root.to_string()])?
        };
        if moved == 1 { Ok(()) } else { Err(CheckpointsError::Moved) }
    }
}
