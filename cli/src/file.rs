//! Files that a person names: read within a bound, written whole or not at all.
//!
//! The rim: of this crate only this module, [`crate::profile`], the reader of bundles and the finder of
//! scenarios touch files.

use crate::exit::Exit;
use crate::failure::Failure;
use fettle_certs::store::{self, StoreProblem};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// When it is not there, cannot be read, or is longer.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() > limit {
        let message = format!("{} has more than the {limit} bytes that are read", path.display());
        return Err(Failure::new(Exit::Invalid, message, "name another file, or split it"));
    }
    Ok(bytes)
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// As [`read`], and when it is not UTF-8.
pub fn read_text(path: &Path, limit: usize) -> Result<String, Failure> {
    String::from_utf8(read(path, limit)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("{} is no UTF-8 text (byte {at})", path.display());
        Failure::new(Exit::Invalid, message, "save it as UTF-8")
    })
}

/// Reads a secret file of at most `limit` bytes that only its owner can read.
///
/// # Errors
/// As [`read`], and when others can read it.
pub fn read_secret(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    store::read_private(path, limit).map_err(|error| stored(&error))
}

/// The failure for a file that cannot be read.
pub fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let message = format!("{} cannot be read: {error}", path.display());
    let exit = if error.kind() == ErrorKind::NotFound { Exit::NotFound } else { Exit::Invalid };
    Failure::new(exit, message, "check the path and its permissions")
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::AlreadyExists {
        let message = format!("{} exists already, and it is not overwritten", path.display());
        return Failure::new(Exit::Conflict, message, "name another file, or remove this one");
    }
    let message = format!("{} cannot be written: {error}", path.display());
    Failure::new(Exit::Invalid, message, "check the folder, its permissions and the free space")
}

/// The failure for a file of an identity.
pub fn stored(error: &StoreProblem) -> Failure {
    let exit = match error {
        StoreProblem::Io { source, .. } if source.kind() == ErrorKind::NotFound => Exit::NotFound,
        StoreProblem::Exists { .. } => Exit::Conflict,
        StoreProblem::Io { .. }
        | StoreProblem::Exposed { .. }
        | StoreProblem::TooLong { .. }
        | StoreProblem::Key { .. }
        | StoreProblem::Root { .. }
        | StoreProblem::Identity { .. }
        | StoreProblem::Authority { .. } => Exit::Invalid,
    };
    Failure::caused(exit, error, "check the path and its permissions")
}

/// Writes a new file that only its owner can read. Refuses to replace one.
///
/// # Errors
/// When it exists, or cannot be written.
pub fn write_new_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    const OWNER_ONLY: u32 = 0o600;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    written.map_err(|error| unwritable(path, &error))
}

/// Fails when something is at the path: before a secret is asked for that could not be kept.
///
/// # Errors
/// When it exists.
pub fn must_be_new(path: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unreadable(path, &error)),
        Ok(_) => Err(unwritable(path, &ErrorKind::AlreadyExists.into())),
    }
}

/// A file under construction beside its place; it takes the place only when it is whole, and is gone
/// when it never was.
#[derive(Debug)]
pub struct Draft {
    place: PathBuf,
    /// `None` once it has taken its place.
    draft: Option<PathBuf>,
    file: File,
}

impl Draft {
    /// Begins a file. What stands at its place stays there until [`Self::finish`].
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn begin(place: &Path) -> Result<Self, Failure> {
        let mut name = place.as_os_str().to_owned();
        name.push(".part");
        let draft = PathBuf::from(name);
        let file = File::create(&draft).map_err(|error| unwritable(&draft, &error))?;
        Ok(Self { place: place.to_owned(), draft: Some(draft), file })
    }

    /// Appends.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| unwritable(&self.place, &error))
    }

    /// Puts the whole file in its place, durably.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<(), Failure> {
        let Some(draft) = &self.draft else { return Ok(()) };
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.file
            .sync_all()
            .and_then(|()| fs::rename(draft, &self.place))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| unwritable(&self.place, &error))?;
        self.draft = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(draft) = &self.draft {
            // Its name says that it is not whole; that it could not be removed changes nothing.
            drop(fs::remove_file(draft));
        }
    }
}

/// Writes a file that is no secret, whole or not at all, in place of what was there.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut draft = Draft::begin(path)?;
    draft.write(bytes)?;
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_read_within_its_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        assert_eq!(read(&path, 4).expect_err("not there").exit, Exit::NotFound);
        write(&path, b"1234").expect("written");
        assert_eq!(read(&path, 4).expect("4 bytes"), b"1234");
        let failure = read(&path, 3).expect_err("too long");
        assert!(failure.message.ends_with("/a has more than the 3 bytes that are read"), "{failure}");
    }

    #[test]
    fn a_secret_is_for_its_owner_only_and_is_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        write_new_secret(&path, b"secret").expect("written");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(write_new_secret(&path, b"other").expect_err("there already").exit, Exit::Conflict);
        assert_eq!(must_be_new(&path).expect_err("there already").exit, Exit::Conflict);
        assert_eq!(read_secret(&path, 100).expect("readable").as_slice(), b"secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened to others");
        assert!(read_secret(&path, 100).expect_err("exposed").message.contains("open to others"));
    }

    #[test]
    fn a_draft_that_is_not_finished_leaves_the_place_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        write(&path, b"old").expect("written");
        let mut draft = Draft::begin(&path).expect("begun");
        draft.write(b"new").expect("written");
        drop(draft);
        assert_eq!(read(&path, 10).expect("there"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    }
}
