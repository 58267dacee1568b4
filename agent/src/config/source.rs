//! Reads `agent.toml` and the join token from disk, and refuses files that others may touch.
//!
//! Called at a process's start, for the token before every attempt to enrol. What is read as a secret is wiped when it is dropped and has
//! no readable debug form.

use super::mistake::ConfigError;
use super::scalar::AbsolutePath;
use super::settings::AgentConfig;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Largest configuration: 500 services of 500 bytes each.
const MAX_CONFIG_BYTES: u64 = 256 * 1024;
/// Largest secret file: a join token has under 200 bytes.
const MAX_SECRET_BYTES: u64 = 4 * 1024;
/// Permission bits by which somebody else than the owner could change a file.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Permission bits by which somebody else than the owner could touch a file at all.
const OPEN_TO_OTHERS: u32 = 0o077;

/// A secret read from a file.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The secret, without white space around it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.trim()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Reads and parses `agent.toml`.
///
/// # Errors
/// When it cannot be read, is too large, may be changed by others than root or this process's
/// user, or has mistakes.
pub fn load(file: &Path) -> Result<AgentConfig, ConfigError> {
    let text = read(file, MAX_CONFIG_BYTES, WRITABLE_BY_OTHERS)?;
    AgentConfig::parse(file, &text)
}

/// Reads a secret, such as the join token, from a file of mode 0600 or less.
///
/// # Errors
/// When it cannot be read, is too large, or is open to others.
pub fn read_secret(file: &AbsolutePath) -> Result<SecretText, ConfigError> {
    read(file.as_path(), MAX_SECRET_BYTES, OPEN_TO_OTHERS).map(SecretText)
}

fn read(file: &Path, limit: u64, forbidden: u32) -> Result<Zeroizing<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { file: file.to_owned(), source };
    let opened = File::open(file).map_err(unreadable)?;
    // The mode is that of the opened file, so that nobody exchanges it between look and read.
    let metadata = opened.metadata().map_err(unreadable)?;
    refuse_exposed(file, &metadata, forbidden)?;
    if metadata.len() > limit {
        return Err(ConfigError::TooLarge { file: file.to_owned(), size: metadata.len(), limit });
    }
    let mut text = Zeroizing::new(String::new());
    opened.take(limit).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn refuse_exposed(file: &Path, metadata: &Metadata, forbidden: u32) -> Result<(), ConfigError> {
    let owner = metadata.uid();
    let mode = metadata.permissions().mode() & 0o7777;
    let own = rustix::process::geteuid().as_raw();
    if (owner == 0 || owner == own) && mode & forbidden == 0 {
        return Ok(());
    }
    let wanted = mode & !forbidden & 0o777;
    let remedy = format!("chown root {0} && chmod {wanted:04o} {0}", file.display());
    Err(ConfigError::Exposed { file: file.to_owned(), owner, mode, remedy })
}
