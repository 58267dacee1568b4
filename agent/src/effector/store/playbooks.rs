//! The playbooks in the effector's state: admissions, packages, sealed artifacts. Used by the library alone; what
//! is verified is verified before it comes here.

use super::{Store, StoreError};
use fettle_model::digest::PlaybookDigest;
use rusqlite::params;

/// A playbook that the configuration assigns to this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPlaybook {
    /// Its digest.
    pub digest: PlaybookDigest,
    /// The published `playbook-admitted`.
    pub admitted: String,
    /// Its package, once it was fetched and verified.
    pub package: Option<Vec<u8>>,
    /// The compiled component with its MAC, for the engine of this fingerprint.
    pub artifact: Option<(String, Vec<u8>)>,
}

impl Store {
    /// Keeps an admitted playbook; its package comes later.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_playbook(&self, digest: PlaybookDigest, admitted: &str) -> Result<(), StoreError> {
        self.connection.execute(
            "INSERT INTO playbook (digest, admitted) VALUES (?1, ?2) ON CONFLICT (digest) DO UPDATE SET admitted = ?2",
            params![digest.to_string(), admitted],
        )?;
        Ok(())
    }

    /// Keeps a playbook's package, whose digest was verified.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_package(&self, digest: PlaybookDigest, package: &[u8]) -> Result<(), StoreError> {
        self.connection
            .execute("UPDATE playbook SET package = ?2 WHERE digest = ?1", params![digest.to_string(), package])?;
        Ok(())
    }

    /// Keeps a compiled component with its MAC.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep_artifact(&self, digest: PlaybookDigest, fingerprint: &str, artifact: &[u8]) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE playbook SET fingerprint = ?2, artifact = ?3 WHERE digest = ?1",
            params![digest.to_string(), fingerprint, artifact],
        )?;
        Ok(())
    }

    /// All playbooks that are kept.
    ///
    /// # Errors
    /// When the file cannot be read or makes no sense.
    pub fn playbooks(&self) -> Result<Vec<StoredPlaybook>, StoreError> {
        type Row = (String, String, Option<Vec<u8>>, Option<String>, Option<Vec<u8>>);
        let mut statement =
            self.connection.prepare("SELECT digest, admitted, package, fingerprint, artifact FROM playbook")?;
        let rows = statement.query_map([], |row| -> rusqlite::Result<Row> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        })?;
        rows.map(|row| {
            let (digest, admitted, package, fingerprint, artifact) = row?;
            Ok(StoredPlaybook {
                digest: digest.parse().map_err(|_| StoreError::Malformed { what: "playbook digest" })?,
                admitted,
                package,
                artifact: fingerprint.zip(artifact),
            })
        })
        .collect()
    }

    /// Drops a playbook that the configuration no longer assigns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn drop_playbook(&self, digest: PlaybookDigest) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM playbook WHERE digest = ?1", [digest.to_string()])?;
        Ok(())
    }
}
