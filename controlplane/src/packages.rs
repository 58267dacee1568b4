//! Packages: playbooks' bytes on disk, each under its digest.
//!
//! Written before the record of an admission, never changed, read again and compared with its digest
//! whenever it is sent.

use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::MAX_PACKAGE_BYTES;
use std::path::PathBuf;
use tokio::io::AsyncWriteExt as _;

/// The folder.
#[derive(Debug, Clone)]
pub struct Packages {
    folder: PathBuf,
}

/// Why a package cannot be kept or given.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The file system failed.
    #[error("the package {digest} cannot be read or written")]
    Io {
        /// Which.
        digest: PlaybookDigest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The bytes are not those that were kept.
    #[error("the package {digest} is damaged on disk")]
    Damaged {
        /// Which.
        digest: PlaybookDigest,
    },
}

impl Packages {
    /// Names the folder, which is there.
    #[must_use]
    pub const fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn file(&self, digest: &PlaybookDigest) -> PathBuf {
        self.folder.join(format!("{}.wasm", digest.to_string().replace(':', "-")))
    }

    /// Keeps a package durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn keep(&self, digest: PlaybookDigest, bytes: &[u8]) -> Result<(), PackageError> {
        let file = self.file(&digest);
        // Of this call alone: two may bring the same package at once.
        let unfinished = self.folder.join(format!("{}.unfinished", crate::mint::uuid()));
        let written = async {
            let mut out =
                tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished).await?;
            out.write_all(bytes).await?;
            out.sync_all().await?;
            tokio::fs::rename(&unfinished, &file).await?;
            tokio::fs::File::open(&self.folder).await?.sync_all().await
        };
        written.await.map_err(|source| PackageError::Io { digest, source })
    }

    /// A package's bytes.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub async fn read(&self, digest: PlaybookDigest) -> Result<Vec<u8>, PackageError> {
        let io = |source| PackageError::Io { digest, source };
        let file = self.file(&digest);
        if tokio::fs::metadata(&file).await.map_err(io)?.len() > MAX_PACKAGE_BYTES as u64 {
            return Err(PackageError::Damaged { digest });
        }
        let bytes = tokio::fs::read(&file).await.map_err(io)?;
        if PlaybookDigest::of(&bytes) == digest { Ok(bytes) } else { Err(PackageError::Damaged { digest }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_package_is_read_back_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let packages = Packages::at(folder.path().to_owned());
        let digest = PlaybookDigest::of(b"a package");
        packages.keep(digest, b"a package").await.expect("kept");
        packages.keep(digest, b"a package").await.expect("kept again");
        assert_eq!(packages.read(digest).await.expect("read"), b"a package");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
        std::fs::write(packages.file(&digest), b"another one").expect("written");
        assert!(matches!(packages.read(digest).await, Err(PackageError::Damaged { .. })));
    }
}
