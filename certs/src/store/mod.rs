//! Identities and keys on disk. This module is the rim: it alone of this crate touches files.
//!
//! ```text
//! <directory>/current  -> gen-<serial>   what is used
//! <directory>/previous -> gen-<serial>   what was used before, until it is retired
//! <directory>/gen-<serial>/ca.pem        the root
//! <directory>/gen-<serial>/identity.pem  the chain, leaf first
//! <directory>/gen-<serial>/identity.key  the key
//! ```
//!
//! Chain and key change together: a new generation is written and synced whole, then one rename of
//! the link `current` switches to it. A crash at any point leaves the old or the new pair, never half
//! of each. Directories have mode 0700, files 0600; a key that others can read is not loaded.
//!
//! One process writes a directory at a time. The calls block on the disk for some milliseconds.

mod operation;

use crate::authority::{Authority, AuthorityProblem};
use crate::identity::{Identity, InvalidIdentity};
use crate::key::{KeyProblem, PrivateKey};
use crate::pem::MAX_PEM_BYTES;
use crate::root::{InvalidRoot, Root};
use operation::Operation;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const ROOT_FILE: &str = "ca.pem";
const CHAIN_FILE: &str = "identity.pem";
const KEY_FILE: &str = "identity.key";
const CURRENT: &str = "current";
const PREVIOUS: &str = "previous";
const GENERATION: &str = "gen-";

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreProblem {
    /// The operating system refused.
    #[error("{} cannot be {doing}", path.display())]
    Io {
        /// What was to be done: `read`, `written`, …
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others than the owner can read or write a secret file.
    #[error("{} is open to others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is larger than what is read.
    #[error("{} has {bytes} bytes, more than {limit}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: usize,
    },
    /// There is an authority already, and it is not overwritten: all its certificates would be void.
    #[error("{} exists already", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The key's file holds no key.
    #[error("{} holds no key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeyProblem,
    },
    /// The root's file holds no root.
    #[error("{} holds no root certificate", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidRoot,
    },
    /// The files make no identity.
    #[error("{} holds no identity", path.display())]
    Identity {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidIdentity,
    },
    /// The file holds no authority.
    #[error("{} holds no authority", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: AuthorityProblem,
    },
}

impl StoreProblem {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// The directory of one identity.
#[derive(Debug, Clone)]
pub struct IdentityStore {
    directory: PathBuf,
}

impl IdentityStore {
    /// Names the directory; it is made when the first identity is installed.
    #[must_use]
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Loads the identity in use; `None` when none was ever installed.
    ///
    /// # Errors
    /// [`StoreProblem`], such as a key that others can read.
    pub fn load(&self) -> Result<Option<Identity>, StoreProblem> {
        self.load_generation(CURRENT)
    }

    /// Loads the identity that was in use before; `None` when there is none or it was retired.
    ///
    /// # Errors
    /// [`StoreProblem`].
    pub fn load_previous(&self) -> Result<Option<Identity>, StoreProblem> {
        self.load_generation(PREVIOUS)
    }

    /// Makes this identity the one in use, durably. The one before is kept until
    /// [`Self::retire_previous`]; use the new one only after this has returned.
    ///
    /// # Errors
    /// [`StoreProblem`]; then the identity in use is the one before or, when only the last sync
    /// failed, perhaps this one.
    pub fn install(&self, identity: &Identity) -> Result<(), StoreProblem> {
        let current = self.target(CURRENT)?;
        let generations = self.generations()?;
        operation::perform_all(&plan_install(&self.directory, identity, current.as_deref(), &generations))
    }

    /// Forgets the identity that was in use before: the new one has worked.
    ///
    /// # Errors
    /// [`StoreProblem`].
    pub fn retire_previous(&self) -> Result<(), StoreProblem> {
        let Some(previous) = self.target(PREVIOUS)? else { return Ok(()) };
        let mut plan = vec![Operation::Remove { path: self.directory.join(PREVIOUS) }];
        if self.target(CURRENT)?.is_none_or(|current| current != previous) {
            plan.push(Operation::RemoveTree { path: self.directory.join(previous) });
        }
        plan.push(Operation::SyncDirectory { path: self.directory.clone() });
        operation::perform_all(&plan)
    }

    fn load_generation(&self, link: &str) -> Result<Option<Identity>, StoreProblem> {
        // Resolved once: the three files are of one generation even if the link switches meanwhile.
        let Some(generation) = self.target(link)? else { return Ok(None) };
        let directory = self.directory.join(generation);
        let path = directory.join(KEY_FILE);
        let key = read_private(&path, MAX_PEM_BYTES)?;
        let key = PrivateKey::from_pem(&key).map_err(|source| StoreProblem::Key { path, source })?;
        let path = directory.join(ROOT_FILE);
        let root = read_bounded(&path, MAX_PEM_BYTES)?;
        let root = Root::from_pem(&root).map_err(|source| StoreProblem::Root { path, source })?;
        let chain = read_bounded(&directory.join(CHAIN_FILE), MAX_PEM_BYTES)?;
        Identity::from_pem(&chain, key, root)
            .map(Some)
            .map_err(|source| StoreProblem::Identity { path: directory, source })
    }

    /// The generation that a link names.
    fn target(&self, link: &str) -> Result<Option<PathBuf>, StoreProblem> {
        let path = self.directory.join(link);
        match fs::read_link(&path) {
            Ok(target) => Ok(Some(target)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreProblem::io("read", &path)(error)),
        }
    }

    /// The generations that stand in the directory, whole or left over from a crash.
    fn generations(&self) -> Result<Vec<PathBuf>, StoreProblem> {
        let failed = || StoreProblem::io("read", &self.directory);
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed()(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed())?.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(GENERATION)) {
                found.push(PathBuf::from(name));
            }
        }
        Ok(found)
    }
}

/// The operations that install an identity, in the order that makes every prefix of them safe.
fn plan_install(
    directory: &Path,
    identity: &Identity,
    current: Option<&Path>,
    generations: &[PathBuf],
) -> Vec<Operation> {
    let name = PathBuf::from(format!("{GENERATION}{}", identity.holder().serial));
    let file = |file: &str| directory.join(&name).join(file);
    if current == Some(name.as_path()) {
        return Vec::new();
    }
    // Left over from a crash: neither in use nor what a retry would build upon.
    let stale = generations.iter().filter(|found| Some(found.as_path()) != current);
    let mut plan = vec![Operation::CreateDirectory { path: directory.to_owned() }];
    plan.push(Operation::Remove { path: directory.join(PREVIOUS) });
    plan.extend(stale.map(|found| Operation::RemoveTree { path: directory.join(found) }));
    plan.push(Operation::CreateDirectory { path: directory.join(&name) });
    let text = |text: String| Zeroizing::new(text.into_bytes());
    plan.push(Operation::Write { path: file(ROOT_FILE), bytes: text(identity.root().to_pem()) });
    plan.push(Operation::Write { path: file(CHAIN_FILE), bytes: text(identity.chain_pem()) });
    let key = Zeroizing::new(identity.key().to_pem().as_bytes().to_vec());
    plan.push(Operation::Write { path: file(KEY_FILE), bytes: key });
    plan.push(Operation::SyncDirectory { path: directory.join(&name) });
    plan.push(Operation::SyncDirectory { path: directory.to_owned() });
    if let Some(current) = current {
        plan.push(Operation::Link { path: directory.join(PREVIOUS), target: current.to_owned() });
    }
    plan.push(Operation::Link { path: directory.join(CURRENT), target: name });
    plan.push(Operation::SyncDirectory { path: directory.to_owned() });
    plan
}

/// Saves a new authority as one file. Refuses to replace one.
///
/// # Errors
/// [`StoreProblem::Exists`] and [`StoreProblem::Io`].
pub fn save_authority(path: &Path, authority: &Authority) -> Result<(), StoreProblem> {
    let bytes = Zeroizing::new(authority.to_pem().as_bytes().to_vec());
    operation::perform_all(&plan_new_file(path, bytes))
}

/// Loads an authority that [`save_authority`] wrote.
///
/// # Errors
/// [`StoreProblem`].
pub fn load_authority(path: &Path) -> Result<Authority, StoreProblem> {
    let text = read_private(path, MAX_PEM_BYTES)?;
    Authority::from_pem(&text).map_err(|source| StoreProblem::Authority { path: path.to_owned(), source })
}

/// Writes a file with mode 0600, durably and all or nothing, in place of what was there.
///
/// # Errors
/// [`StoreProblem::Io`].
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StoreProblem> {
    operation::perform_all(&plan_file(path, Zeroizing::new(bytes.to_vec())))
}

/// Reads a secret file of at most `limit` bytes.
///
/// # Errors
/// [`StoreProblem::Exposed`] when others than the owner can read or write it; the others.
pub fn read_private(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, StoreProblem> {
    let file = File::open(path).map_err(StoreProblem::io("read", path))?;
    // Of the opened file, so that it is the one that is read.
    let mode = file.metadata().map_err(StoreProblem::io("read", path))?.mode() & 0o7777;
    if mode & 0o077 == 0 { read(file, path, limit) } else { Err(StoreProblem::Exposed { path: path.to_owned(), mode }) }
}

fn read_bounded(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, StoreProblem> {
    read(File::open(path).map_err(StoreProblem::io("read", path))?, path, limit)
}

fn read(file: File, path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, StoreProblem> {
    let too_long = |bytes| StoreProblem::TooLong { path: path.to_owned(), bytes, limit };
    let size = file.metadata().map_err(StoreProblem::io("read", path))?.len();
    let capacity = usize::try_from(size).ok().filter(|size| *size <= limit).ok_or_else(|| too_long(size))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity + 1));
    // The file may grow between the two looks at it.
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(StoreProblem::io("read", path))?;
    if bytes.len() > limit { Err(too_long(most)) } else { Ok(bytes) }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")).to_owned()
}

fn plan_file(path: &Path, bytes: Zeroizing<Vec<u8>>) -> Vec<Operation> {
    let temporary = temporary(path);
    vec![
        Operation::CreateDirectory { path: parent(path) },
        Operation::Remove { path: temporary.clone() },
        Operation::Write { path: temporary.clone(), bytes },
        Operation::Rename { from: temporary, to: path.to_owned() },
        Operation::SyncDirectory { path: parent(path) },
    ]
}

fn plan_new_file(path: &Path, bytes: Zeroizing<Vec<u8>>) -> Vec<Operation> {
    let temporary = temporary(path);
    vec![
        Operation::CreateDirectory { path: parent(path) },
        Operation::Remove { path: temporary.clone() },
        Operation::Write { path: temporary.clone(), bytes },
        Operation::HardLink { from: temporary.clone(), to: path.to_owned() },
        Operation::SyncDirectory { path: parent(path) },
        Operation::Remove { path: temporary },
    ]
}

#[cfg(test)]
mod tests;
