//! The file operations of [`crate::store`], as data: a plan is a list of them, done in order.
//!
//! A plan can be stopped after any operation, which is how its crash safety is tested. Each leaves
//! the disk in one of two states and can be done again.

use super::StoreProblem;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// One change of the file system.
pub(super) enum Operation {
    /// Makes a directory with mode 0700, and those above it, unless it is there.
    CreateDirectory { path: PathBuf },
    /// Writes a new file with mode 0600 and syncs it. The file must not be there.
    Write { path: PathBuf, bytes: Zeroizing<Vec<u8>> },
    /// Renames a file over another.
    Rename { from: PathBuf, to: PathBuf },
    /// Gives a file a second name that must not be there.
    HardLink { from: PathBuf, to: PathBuf },
    /// Lets a symbolic link name `target`, in one step whatever it named before.
    Link { path: PathBuf, target: PathBuf },
    /// Makes the names in a directory durable.
    SyncDirectory { path: PathBuf },
    /// Removes a file or a link, if it is there.
    Remove { path: PathBuf },
    /// Removes a directory with everything in it, if it is there.
    RemoveTree { path: PathBuf },
}

/// Does a plan.
pub(super) fn perform_all(plan: &[Operation]) -> Result<(), StoreProblem> {
    plan.iter().try_for_each(Operation::perform)
}

impl Operation {
    pub(super) fn perform(&self) -> Result<(), StoreProblem> {
        match self {
            Self::CreateDirectory { path } => {
                DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreProblem::io("made", path))
            }
            Self::Write { path, bytes } => write(path, bytes).map_err(StoreProblem::io("written", path)),
            Self::Rename { from, to } => fs::rename(from, to).map_err(StoreProblem::io("replaced", to)),
            Self::HardLink { from, to } => match fs::hard_link(from, to) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    Err(StoreProblem::Exists { path: to.clone() })
                }
                other => other.map_err(StoreProblem::io("written", to)),
            },
            Self::Link { path, target } => {
                let temporary = super::temporary(path);
                unless_missing(fs::remove_file(&temporary))
                    .and_then(|()| symlink(target, &temporary))
                    .and_then(|()| fs::rename(&temporary, path))
                    .map_err(StoreProblem::io("switched", path))
            }
            Self::SyncDirectory { path } => {
                File::open(path).and_then(|directory| directory.sync_all()).map_err(StoreProblem::io("synced", path))
            }
            Self::Remove { path } => unless_missing(fs::remove_file(path)).map_err(StoreProblem::io("removed", path)),
            Self::RemoveTree { path } => {
                unless_missing(fs::remove_dir_all(path)).map_err(StoreProblem::io("removed", path))
            }
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
