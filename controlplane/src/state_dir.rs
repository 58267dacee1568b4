//! A control plane's state directory: what lies where, its keys, and that one process works in it.
//!
//! ```text
//! controlplane.toml   configuration; written last by `init`
//! ca.pem              the authority: whoever has it can be anybody
//! log.key permit.key  seeds of the two signing keys, base64
//! identity/           the control plane's own certificate and key
//! operator/           the first operator's profile
//! log/                journal, checkpoint, tiles
//! vault.db            token verifiers and answers to enrolments
//! playbooks/          packages by digest
//! console/            certificates issued at the console whose records are not in the log yet
//! listening.json      where it listens, while it does
//! lock                held by the process that serves
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_audit::key::SigningKey;
use fettle_audit::note::{InvalidKeyName, KeyName, NoteSigner};
use fettle_certs::store::{IdentityStore, StoreProblem, read_private, write_private};
use fettle_model::identity::TrustDomain;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key file: 32 bytes in base64 and a newline, with room for a stray one.
const MAX_KEY_FILE_BYTES: usize = 64;

/// The directory.
#[derive(Debug, Clone)]
pub struct StateDir {
    root: PathBuf,
}

/// Why something in the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The operating system refused.
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
    /// A secret file cannot be read or written.
    #[error("a secret cannot be read or written")]
    Store(#[source] StoreProblem),
    /// A key's file holds no key.
    #[error("{} holds no key: 32 bytes in base64", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The trust domain makes no name for a log.
    #[error("the trust domain makes no name for a log")]
    Origin(#[source] InvalidKeyName),
    /// Another process serves from here.
    #[error("another fettle-controlplane works in {}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
}

/// Held while a process serves from a state directory; the kernel gives it up with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl StateDir {
    /// Names the directory.
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `controlplane.toml`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("controlplane.toml")
    }

    /// The authority.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.root.join("ca.pem")
    }

    /// The control plane's own identity.
    #[must_use]
    pub fn identity(&self) -> IdentityStore {
        IdentityStore::at(self.root.join("identity"))
    }

    /// The first operator's profile.
    #[must_use]
    pub fn operator(&self) -> PathBuf {
        self.root.join("operator")
    }

    /// Journal, checkpoint and tiles.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The vault.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.root.join("vault.db")
    }

    /// Packages by digest.
    #[must_use]
    pub fn playbooks(&self) -> PathBuf {
        self.root.join("playbooks")
    }

    /// Certificates issued at the console whose records are not in the log yet.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.root.join("console")
    }

    /// Where it listens.
    #[must_use]
    pub fn listening(&self) -> PathBuf {
        self.root.join("listening.json")
    }

    /// Makes the directory and those in it, mode 0700.
    ///
    /// # Errors
    /// When one cannot be made.
    pub fn make(&self) -> Result<(), StateError> {
        for path in [self.root.clone(), self.log(), self.playbooks(), self.console()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|source| StateError::Io {
                doing: "made",
                path,
                source,
            })?;
        }
        Ok(())
    }

    /// Makes sure that no other process serves from here.
    ///
    /// # Errors
    /// When one does.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let path = self.root.join("lock");
        let io = |source| StateError::Io { doing: "locked", path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateError::Locked { path: self.root.clone() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Keeps the seeds of the two signing keys.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn save_keys(&self, log: &[u8; 32], permit: &[u8; 32]) -> Result<(), StateError> {
        for (name, seed) in [(LOG_KEY, log), (PERMIT_KEY, permit)] {
            let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE_BYTES));
            STANDARD.encode_string(seed, &mut text);
            text.push('\n');
            write_private(&self.root.join(name), text.as_bytes()).map_err(StateError::Store)?;
        }
        Ok(())
    }

    /// The key that signs checkpoints, under the log's name.
    ///
    /// # Errors
    /// When there is none.
    pub fn log_signer(&self, trust_domain: &TrustDomain) -> Result<NoteSigner, StateError> {
        Ok(NoteSigner::new(origin(trust_domain)?, self.key(LOG_KEY)?))
    }

    /// The key that signs the control plane's records.
    ///
    /// # Errors
    /// When there is none.
    pub fn permit_key(&self) -> Result<SigningKey, StateError> {
        self.key(PERMIT_KEY)
    }

    fn key(&self, name: &str) -> Result<SigningKey, StateError> {
        let path = self.root.join(name);
        let text = read_private(&path, MAX_KEY_FILE_BYTES).map_err(StateError::Store)?;
        let mut seed = Zeroizing::new([0_u8; 32]);
        let length = STANDARD.decode_slice_unchecked(text.trim_ascii(), seed.as_mut_slice());
        if length == Ok(seed.len()) { Ok(SigningKey::from_seed(&seed)) } else { Err(StateError::Key { path }) }
    }
}

/// Makes a database's file with mode 0600 unless it is there. SQLite gives its side files the same mode.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn private_file(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

const LOG_KEY: &str = "log.key";
const PERMIT_KEY: &str = "permit.key";

/// The log's name: the first line of its checkpoints.
///
/// # Errors
/// When the trust domain makes none.
pub fn origin(trust_domain: &TrustDomain) -> Result<KeyName, StateError> {
    format!("{trust_domain}/fettle").parse().map_err(StateError::Origin)
}
