//! The effector's two secrets: the record key, and the key under which compiled playbooks are sealed.
//!
//! Made before the host is enrolled, kept in files of mode 0600 that only the effector's user can read, never
//! sent to another process (workers get a key derived for their one package).

use fettle_audit::key::SigningKey;
use fettle_certs::store::{StoreProblem, read_private, write_private};
use fettle_sandbox::engine::HostKey;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const RECORD: &str = "record.key";
const ARTIFACTS: &str = "artifact.key";

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file could not be read or written.
    #[error("a key file could not be read or written")]
    Store(#[source] StoreProblem),
    /// A file does not hold 32 bytes.
    #[error("the key file {0} does not hold 32 bytes; restore it from a backup, or enrol this host anew")]
    Length(&'static str),
    /// The host has signed records with a key that is not there.
    #[error(
        "this host is enrolled, but its record key {path} is missing; restore the file from a backup, or, to give \
         the host a new identity, remove the agent's whole state folder and enrol it anew with a new token"
    )]
    Missing {
        /// Where it belongs.
        path: PathBuf,
    },
    /// Whether a file is there cannot be told.
    #[error("the key file {path} cannot be looked at")]
    Unreachable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system gives no random bytes.
    #[error("no random bytes for a new key")]
    Random(#[source] getrandom::Error),
}

/// What the state beside the keys says of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolment {
    /// It is not enrolled: nobody knows a key of it.
    Open,
    /// It is: the control plane knows its record key, and the log holds what that key signed.
    Done,
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
    /// Loads the keys from the effector's folder. The record key is made only for a host that is not
    /// enrolled. The other one is made whenever it is not there: what was sealed under the old one is
    /// compiled again.
    ///
    /// # Errors
    /// When a file is open to others or damaged, or the record key of an enrolled host is gone.
    pub fn load(folder: &Path, enrolment: Enrolment) -> Result<Self, KeysError> {
        let record = match (load(folder, RECORD)?, enrolment) {
            (Some(key), Enrolment::Open | Enrolment::Done) => key,
            (None, Enrolment::Open) => make(folder, RECORD)?,
            (None, Enrolment::Done) => return Err(KeysError::Missing { path: folder.join(RECORD) }),
        };
        let artifacts = match load(folder, ARTIFACTS)? {
            Some(key) => key,
            None => make(folder, ARTIFACTS)?,
        };
        Ok(Self { record: SigningKey::from_seed(&record), artifacts: HostKey::new(*artifacts) })
    }
}

fn load(folder: &Path, name: &'static str) -> Result<Option<Zeroizing<[u8; 32]>>, KeysError> {
    let path = folder.join(name);
    // Not `exists`: an error of the disk is no missing key.
    match path.try_exists() {
        Ok(true) => {
            let bytes = read_private(&path, 32).map_err(KeysError::Store)?;
            let key = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeysError::Length(name))?;
            Ok(Some(Zeroizing::new(key)))
        }
        Ok(false) => Ok(None),
        Err(source) => Err(KeysError::Unreachable { path, source }),
    }
}

fn make(folder: &Path, name: &'static str) -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let mut key = Zeroizing::new([0_u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(KeysError::Random)?;
    write_private(&folder.join(name), key.as_slice()).map_err(KeysError::Store)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_are_the_same_ever_after() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Keys::load(folder.path(), Enrolment::Open).expect("made").record.public();
        for enrolment in [Enrolment::Open, Enrolment::Done] {
            assert_eq!(Keys::load(folder.path(), enrolment).expect("loaded").record.public(), made);
        }
    }

    #[test]
    fn a_missing_record_key_of_an_enrolled_host_is_an_error_and_none_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        Keys::load(folder.path(), Enrolment::Open).expect("made");
        std::fs::remove_file(folder.path().join(RECORD)).expect("lost");
        let error = Keys::load(folder.path(), Enrolment::Done).expect_err("it is gone");
        assert!(error.to_string().contains("restore the file from a backup"), "{error}");
        assert!(!folder.path().join(RECORD).exists());
        // What the other one sealed is compiled again.
        std::fs::remove_file(folder.path().join(ARTIFACTS)).expect("lost");
        Keys::load(folder.path(), Enrolment::Open).expect("made anew");
        std::fs::remove_file(folder.path().join(ARTIFACTS)).expect("lost");
        Keys::load(folder.path(), Enrolment::Done).expect("made anew");
    }

    #[test]
    fn a_key_that_cannot_be_looked_for_counts_as_no_missing_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let none = folder.path().join("file");
        std::fs::write(&none, "").expect("written");
        let looked = Keys::load(&none, Enrolment::Open);
        assert!(matches!(looked, Err(KeysError::Unreachable { .. })), "{looked:?}");
    }
}
