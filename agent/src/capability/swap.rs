//! Exchanges a name in a folder for a prepared one, and takes it back when what it displaced is not
//! what was expected.
//!
//! Used for the link of the current release and for flag files. `rename` alone would silently
//! overwrite what another writer put there between our look and our rename; `RENAME_EXCHANGE` lets
//! us look at what was really displaced. Never follows a link, never leaves the folder.

use rustix::fs::{AtFlags, RenameFlags, fsync, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// What came of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Swapped {
    /// The prepared entry is in place and durable; the expected one is gone.
    Done,
    /// Something else was in its place; it is back there, untouched.
    Moved,
    /// It cannot be said which entry is in place, or whether it is durable.
    InDoubt(String),
}

/// Puts `next` in the place of `name`. `expected` looks at an entry of the folder and says whether
/// it is the one that may be displaced. `next` is gone afterwards.
///
/// # Errors
/// When nothing was changed.
pub(super) fn swap(
    folder: BorrowedFd<'_>,
    name: &str,
    next: &str,
    expected: impl Fn(&str) -> bool,
) -> Result<Swapped, Errno> {
    let ours = identity(folder, next)?;
    match renameat_with(folder, next, folder, name, RenameFlags::EXCHANGE) {
        Ok(()) => {}
        // The file system cannot exchange: the look just before is the best there is.
        Err(Errno::INVAL | Errno::NOSYS) => return replace(folder, name, next, expected),
        Err(error) => return Err(error),
    }
    if expected(next) {
        return Ok(finish(folder, next));
    }
    if let Err(error) = renameat_with(folder, next, folder, name, RenameFlags::EXCHANGE) {
        return Ok(Swapped::InDoubt(format!("another writer was displaced and could not be put back: {error}")));
    }
    // A third writer between the two exchanges would now be displaced instead of us.
    if identity(folder, next) != Ok(ours) {
        return Ok(Swapped::InDoubt("several writers changed it at once".to_owned()));
    }
    match finish(folder, next) {
        Swapped::Done => Ok(Swapped::Moved),
        doubt @ (Swapped::Moved | Swapped::InDoubt(_)) => Ok(doubt),
    }
}

fn replace(folder: BorrowedFd<'_>, name: &str, next: &str, expected: impl Fn(&str) -> bool) -> Result<Swapped, Errno> {
    if !expected(name) {
        unlinkat(folder, next, AtFlags::empty())?;
        return Ok(Swapped::Moved);
    }
    renameat(folder, next, folder, name)?;
    Ok(durable(folder))
}

fn finish(folder: BorrowedFd<'_>, displaced: &str) -> Swapped {
    match unlinkat(folder, displaced, AtFlags::empty()) {
        Ok(()) => durable(folder),
        Err(error) => Swapped::InDoubt(format!("the displaced entry could not be removed: {error}")),
    }
}

fn durable(folder: BorrowedFd<'_>) -> Swapped {
    match fsync(folder) {
        Ok(()) => Swapped::Done,
        Err(error) => Swapped::InDoubt(format!("the folder could not be made durable: {error}")),
    }
}

fn identity(folder: BorrowedFd<'_>, name: &str) -> Result<(u64, u64), Errno> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd as _;

    #[track_caller]
    fn check(is_expected: bool, outcome: &Swapped, content: &str) {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("name"), "old").expect("old");
        fs::write(dir.path().join("next"), "new").expect("new");
        let folder = fs::File::open(dir.path()).expect("open");
        let swapped = swap(folder.as_fd(), "name", "next", |_| is_expected).expect("swap");
        assert_eq!(&swapped, outcome);
        assert_eq!(fs::read_to_string(dir.path().join("name")).expect("read"), content);
        assert!(!dir.path().join("next").exists(), "the prepared entry stayed");
    }

    #[test]
    fn the_prepared_entry_takes_the_place_of_the_expected_one_only() {
        check(true, &Swapped::Done, "new");
        check(false, &Swapped::Moved, "old");
    }

    #[test]
    fn a_missing_name_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join("next"), "new").expect("new");
        let folder = fs::File::open(dir.path()).expect("open");
        assert_eq!(swap(folder.as_fd(), "name", "next", |_| true), Err(Errno::NOENT));
        assert!(!dir.path().join("name").exists());
    }
}
