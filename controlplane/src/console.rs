//! Certificates that were issued at the control plane's own console, on their way into the log.
//!
//! The command at the console cannot append: another process leads. It leaves a note, and the server brings
//! it into the log when it starts and from then on within a minute. A note is removed after its record is
//! durable; after a crash in between, the record stands in the log twice.

use crate::core::{Command, NewCertificate};
use crate::leader::{Gone, Leader};
use crate::state_dir::StateDir;
use fettle_certs::store::{StoreProblem, read_private, write_private};
use fettle_model::name::PersonName;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Longest note: a name of 64 bytes, a serial number, an instant.
const MAX_NOTE_BYTES: usize = 1_024;

/// Most notes that are brought in at once; what is left comes a minute later.
const MAX_NOTES: usize = 64;

/// A certificate and its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noted {
    /// Who got it.
    pub person: PersonName,
    /// The certificate.
    pub certificate: NewCertificate,
}

/// Why a note was not written or not brought into the log.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// It could not be written as JSON, or is none.
    #[error("the note {} is not sound", path.display())]
    Json {
        /// The note.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It could not be read or written.
    #[error("a note could not be read or written")]
    Store(#[source] StoreProblem),
    /// The folder could not be read, or a note not removed.
    #[error("{} cannot be {doing}", path.display())]
    Io {
        /// What was to be done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The leader has ended.
    #[error("a note could not be brought into the log")]
    Gone(#[source] Gone),
}

/// Leaves a note.
///
/// # Errors
/// When it cannot be written.
pub fn note(state: &StateDir, noted: &Noted) -> Result<(), ConsoleError> {
    let path = state.console().join(format!("{}.json", noted.certificate.serial));
    let text = serde_json::to_vec(noted).map_err(|source| ConsoleError::Json { path: path.clone(), source })?;
    write_private(&path, &text).map_err(ConsoleError::Store)
}

/// Brings the notes into the log.
///
/// # Errors
/// With the first that cannot be; those before it are in the log.
pub async fn bring_in(state: &StateDir, leader: &Leader) -> Result<(), ConsoleError> {
    let folder = state.console();
    let io = |doing, path: &PathBuf| {
        let path = path.clone();
        move |source| ConsoleError::Io { doing, path, source }
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("read", &folder)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries.take(MAX_NOTES) {
        paths.push(entry.map_err(io("read", &folder))?.path());
    }
    // What has another ending is being written.
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "json")) {
        let text = read_private(&path, MAX_NOTE_BYTES).map_err(ConsoleError::Store)?;
        let noted = serde_json::from_slice(&text).map_err(|source| ConsoleError::Json { path: path.clone(), source });
        let Noted { person, certificate } = noted?;
        tracing::warn!(%person, serial = certificate.serial, "a certificate was issued at the console");
        let command = Command::CertifiedAtConsole { person, certificate };
        leader.command(command).await.map_err(ConsoleError::Gone)?;
        // Crash here: the record comes once more.
        std::fs::remove_file(&path).map_err(io("removed", &path))?;
    }
    Ok(())
}
