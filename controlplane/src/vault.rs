//! The vault: what is secret or passing, and therefore not in the log.
//!
//! Verifiers of join tokens until they are used or expire, the answers to enrolments for the minutes in
//! which they may be asked for again, and which certificate of a host was presented last. One SQLite file
//! of mode 0600, owned by one thread; everybody else asks it over a bounded channel. Losing it loses open
//! tokens and nothing else.

use crate::core::MAX_OPEN_TOKENS;
use crate::state_dir::private_file;
use fettle_certs::token::{REPEAT_WINDOW, TokenUse, TokenVerifier};
use fettle_model::counter::CertificateGeneration;
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{HostId, TokenId};
use fettle_model::time::{UnixMillis, whole_millis};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

/// Questions that may wait: one per enrolment or connection in its handshake, of which the listeners
/// allow fewer.
const INBOX: usize = 1_024;

/// Most tokens that are kept: those that the leader lets be open, and as many again that were used up or
/// expired and are not forgotten yet, which they are within minutes.
const MAX_TOKENS: usize = 2 * MAX_OPEN_TOKENS;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS token (
  token TEXT PRIMARY KEY, verifier BLOB NOT NULL, expires_at INTEGER NOT NULL,
  used_at INTEGER, request TEXT, answer TEXT);
CREATE TABLE IF NOT EXISTS seen (host TEXT PRIMARY KEY, serial TEXT NOT NULL);
";

/// The vault's address.
#[derive(Debug, Clone)]
pub struct Vault {
    inbox: mpsc::Sender<Question>,
}

type Question = Box<dyn FnOnce(&mut Connection) + Send>;

/// A token as the vault keeps it.
#[derive(Debug, Clone)]
pub struct KeptToken {
    /// Its verifier.
    pub verifier: TokenVerifier,
    /// When it expires.
    pub expires_at: UnixMillis,
    /// How it was used up.
    pub used: Option<(TokenUse, Box<Answer>)>,
}

/// The answer to an enrolment, and what its records say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The host's id.
    pub host: HostId,
    /// The certificate's count.
    pub generation: CertificateGeneration,
    /// The certificate's serial number.
    pub serial: String,
    /// When the certificate ends.
    pub not_after: UnixMillis,
    /// The identity document.
    pub document: String,
}

/// Why the vault does not answer.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// SQLite failed.
    #[error("the vault could not be read or written")]
    Sqlite(#[source] rusqlite::Error),
    /// The file could not be made.
    #[error("the vault's file could not be made")]
    File(#[source] std::io::Error),
    /// The thread could not be started.
    #[error("the vault's thread could not be started")]
    Thread(#[source] std::io::Error),
    /// A value in the file makes no sense.
    #[error("the vault holds a malformed {what}")]
    Malformed {
        /// What.
        what: &'static str,
    },
    /// Too many tokens are kept.
    #[error("the vault keeps {MAX_TOKENS} join tokens already")]
    Full,
    /// Its thread has ended.
    #[error("the vault has ended")]
    Gone,
}

impl From<rusqlite::Error> for VaultError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Vault {
    /// Opens the file, making it when it is not there, and starts the thread. It ends when every address
    /// is dropped.
    ///
    /// # Errors
    /// When the file cannot be made or opened.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        private_file(path).map_err(VaultError::File)?;
        let mut connection = Connection::open(path)?;
        // secure_delete: a deleted verifier is overwritten.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 2000; PRAGMA secure_delete = ON;",
        )?;
        connection.execute_batch(SCHEMA)?;
        let (inbox, mut questions) = mpsc::channel::<Question>(INBOX);
        std::thread::Builder::new()
            .name("vault".to_owned())
            .spawn(move || {
                while let Some(question) = questions.blocking_recv() {
                    question(&mut connection);
                }
            })
            .map_err(VaultError::Thread)?;
        Ok(Self { inbox })
    }

    /// Keeps a new token.
    ///
    /// # Errors
    /// When it cannot be written, or too many are kept.
    pub async fn keep_token(
        &self,
        token: TokenId,
        verifier: TokenVerifier,
        expires_at: UnixMillis,
    ) -> Result<(), VaultError> {
        self.ask(move |vault| {
            let kept: i64 = vault.query_row("SELECT COUNT(*) FROM token", [], |row| row.get(0))?;
            if usize::try_from(kept).unwrap_or(usize::MAX) >= MAX_TOKENS {
                return Err(VaultError::Full);
            }
            vault.execute(
                "INSERT INTO token (token, verifier, expires_at) VALUES (?1, ?2, ?3)",
                params![token.to_string(), verifier.as_bytes().as_slice(), signed(expires_at)],
            )?;
            Ok(())
        })
        .await
    }

    /// A token that is open, or was used not long ago.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn token(&self, token: TokenId) -> Result<Option<KeptToken>, VaultError> {
        self.ask(move |vault| {
            let row: Option<TokenRow> = vault
                .query_row(
                    "SELECT verifier, expires_at, used_at, request, answer FROM token WHERE token = ?1",
                    [token.to_string()],
                    TokenRow::read,
                )
                .optional()?;
            row.map(TokenRow::parse).transpose()
        })
        .await
    }

    /// Uses a token up for one request with one answer, unless it was used meanwhile.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn use_token(&self, token: TokenId, used: TokenUse, answer: &Answer) -> Result<Use, VaultError> {
        let answer = serde_json::to_string(answer).map_err(|_| VaultError::Malformed { what: "answer" })?;
        self.ask(move |vault| {
            let changed = vault.execute(
                "UPDATE token SET used_at = ?2, request = ?3, answer = ?4 WHERE token = ?1 AND used_at IS NULL",
                params![token.to_string(), signed(used.at), used.request.to_string(), answer],
            )?;
            Ok(if changed == 1 { Use::Taken } else { Use::TakenBefore })
        })
        .await
    }

    /// Gives a token back that was used for a request which the leader refused.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn give_back(&self, token: TokenId, request: DocumentDigest) -> Result<(), VaultError> {
        self.ask(move |vault| {
            vault.execute(
                "UPDATE token SET used_at = NULL, request = NULL, answer = NULL WHERE token = ?1 AND request = ?2",
                params![token.to_string(), request.to_string()],
            )?;
            Ok(())
        })
        .await
    }

    /// Forgets tokens that cannot be used any more, and answers that cannot be asked for any more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn forget_old(&self, now: UnixMillis) -> Result<(), VaultError> {
        self.ask(move |vault| {
            let window = i64::try_from(whole_millis(REPEAT_WINDOW)).unwrap_or(i64::MAX);
            vault.execute(
                "DELETE FROM token WHERE (used_at IS NULL AND expires_at <= ?1) OR used_at + ?2 < ?1",
                params![signed(now), window],
            )?;
            Ok(())
        })
        .await
    }

    /// The serial number of the certificate that a host presented last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn seen(&self, host: HostId) -> Result<Option<String>, VaultError> {
        self.ask(move |vault| {
            Ok(vault
                .query_row("SELECT serial FROM seen WHERE host = ?1", [host.to_string()], |row| row.get(0))
                .optional()?)
        })
        .await
    }

    /// A host presented its newest certificate: from now on none before it is live.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn see(&self, host: HostId, serial: String) -> Result<(), VaultError> {
        self.ask(move |vault| {
            vault.execute(
                "INSERT INTO seen (host, serial) VALUES (?1, ?2) ON CONFLICT (host) DO UPDATE SET serial = ?2",
                params![host.to_string(), serial],
            )?;
            Ok(())
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Connection) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, VaultError> {
        let (reply, answer) = oneshot::channel();
        let question = Box::new(move |connection: &mut Connection| {
            // Whoever asked may have given up; then nobody misses the answer.
            drop(reply.send(question(connection)));
        });
        self.inbox.send(question).await.map_err(|_| VaultError::Gone)?;
        answer.await.map_err(|_| VaultError::Gone)?
    }
}

/// Whether a token was still there to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It was.
    Taken,
    /// Another request was faster.
    TakenBefore,
}

struct TokenRow {
    verifier: Vec<u8>,
    expires_at: i64,
    used: (Option<i64>, Option<String>, Option<String>),
}

impl TokenRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let used = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok(Self { verifier: row.get(0)?, expires_at: row.get(1)?, used })
    }

    fn parse(self) -> Result<KeptToken, VaultError> {
        let malformed = |what| VaultError::Malformed { what };
        let verifier = self.verifier.try_into().map_err(|_| malformed("verifier"))?;
        let used = match self.used {
            (None, None, None) => None,
            (Some(at), Some(request), Some(answer)) => {
                let used = TokenUse { at: unsigned(at)?, request: request.parse().map_err(|_| malformed("request"))? };
                Some((used, serde_json::from_str(&answer).map_err(|_| malformed("answer"))?))
            }
            (Some(_) | None, Some(_) | None, Some(_) | None) => return Err(malformed("token")),
        };
        let verifier = TokenVerifier::from_bytes(verifier);
        Ok(KeptToken { verifier, expires_at: unsigned(self.expires_at)?, used })
    }
}

fn signed(at: UnixMillis) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

fn unsigned(at: i64) -> Result<UnixMillis, VaultError> {
    u64::try_from(at).map(UnixMillis).map_err(|_| VaultError::Malformed { what: "time" })
}
