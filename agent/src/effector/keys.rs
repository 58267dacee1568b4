//! The effector's two secrets: the record key, and the key under which compiled playbooks are sealed.
//!
//! Made at the first start, kept in files of mode 0600 that only the effector's user can read, never
//! sent to another process (workers get a key derived for their one package).

use fettle_audit::key::SigningKey;
use fettle_certs::store::{StoreProblem, read_private, write_private};
use fettle_sandbox::engine::HostKey;
use std::path::Path;
use zeroize::Zeroizing;

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file could not be read or written.
    #[error("a key file could not be read or written")]
    Store(#[source] StoreProblem),
    /// A file does not hold 32 bytes.
    #[error("the key file {0} does not hold 32 bytes; restore it from a backup, or enrol this host anew")]
    Length(&'static str),
    /// The system gives no random bytes.
    #[error("no random bytes for a new key")]
    Random(#[source] getrandom::Error),
}

/// Both keys.
#[derive(Debug)]
pub struct Keys {
    /// Signs this agent's records.
    pub record: SigningKey,
    /// Seals compiled playbooks.
    pub artifacts: HostKey,
}

impl Keys {
    /// Loads the keys from the effector's folder, making them where there are none.
    ///
    /// # Errors
    /// When a file is open to others, or damaged: a key is never replaced silently.
    pub fn load(folder: &Path) -> Result<Self, KeysError> {
        let record = load(folder, "record.key")?;
        let artifacts = load(folder, "artifact.key")?;
        Ok(Self { record: SigningKey::from_seed(&record), artifacts: HostKey::new(*artifacts) })
    }
}

fn load(folder: &Path, name: &'static str) -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let path = folder.join(name);
    if path.exists() {
        let bytes = read_private(&path, 32).map_err(KeysError::Store)?;
        let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeysError::Length(name))?;
        return Ok(Zeroizing::new(key));
    }
    let mut key = Zeroizing::new([0_u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(KeysError::Random)?;
    write_private(&path, key.as_slice()).map_err(KeysError::Store)?;
    Ok(key)
}
