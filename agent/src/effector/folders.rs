//! The folders of an agent's state: one for the effector alone, one for the daemon's identity.

use super::children::{Account, Separation};
use super::serve::EffectorError;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, openat};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The daemon's folder within the state folder.
pub(super) const DAEMON: &str = "daemon";

/// Folders within the daemon's: it makes one, for its identity.
const DEEPEST: usize = 4;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Makes what is missing; gives the effector's own folder.
pub(super) fn prepare(state: &Path, separation: Separation) -> Result<PathBuf, EffectorError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| EffectorError::Folder { path, source }
    };
    // The daemon must reach its own folder through this one.
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(state).map_err(failed(state))?;
    let effector = state.join("effector");
    let daemon = state.join(DAEMON);
    for folder in [&effector, &daemon] {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(failed(folder))?;
    }
    if let Separation::Users { daemon: account, .. } = separation {
        own(&daemon, account).map_err(failed(&daemon))?;
    }
    Ok(effector)
}

/// The effector's database, made for its user alone whatever the process's umask is; SQLite gives its
/// side files the same mode.
pub(super) fn state_file(folder: &Path) -> Result<PathBuf, EffectorError> {
    let path = folder.join("state.db");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    match file.and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o600))) {
        Ok(()) => Ok(path),
        Err(source) => Err(EffectorError::Folder { path, source }),
    }
}

/// Gives a folder, and what an agent that ran without separation left in it, to the daemon's user. Only
/// once: from then on it is that user's to change, and root has no business in it.
fn own(folder: &Path, account: Account) -> io::Result<()> {
    let folder = openat(CWD, folder, FOLDER, Mode::empty())?;
    if fstat(&folder)?.st_uid == account.uid {
        return Ok(());
    }
    give(&folder, account, DEEPEST)
}

/// Goes by descriptors and follows no link: a name may stand for something else a moment later. The folder
/// itself comes last, so that what a crash interrupted is done again.
fn give(folder: &OwnedFd, account: Account, deeper: usize) -> io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let refused = |why: &str| Err(io::Error::other(format!("{} in it {why}", name.to_string_lossy())));
        let found = openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let Some(deeper) = deeper.checked_sub(1) else {
                return refused("lies deeper than anything of the agent's");
            };
            give(&openat(&found, ".", FOLDER, Mode::empty())?, account, deeper)?;
        } else if stat.st_nlink > 1 {
            return refused("has more than one name; remove it");
        } else {
            chown(&found, account)?;
        }
    }
    chown(folder, account)
}

fn chown(what: &OwnedFd, account: Account) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    Ok(chownat(what, "", Some(user), Some(group), AtFlags::EMPTY_PATH)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    const ACCOUNT: Account = Account { uid: 64_001, gid: 64_002 };
    const USERS: Separation = Separation::Users { daemon: ACCOUNT, worker: Account { uid: 64_003, gid: 64_004 } };

    /// Only root can give files away; elsewhere these rules have no case.
    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    fn owner(path: &Path) -> (u32, u32) {
        let metadata = fs::symlink_metadata(path).expect("it is there");
        (metadata.uid(), metadata.gid())
    }

    #[test]
    fn what_an_agent_without_separation_left_goes_to_the_daemons_user() {
        if !is_root() {
            return;
        }
        let scratch = tempfile::tempdir().expect("a folder");
        let (state, outside) = (scratch.path().join("state"), scratch.path().join("outside"));
        prepare(&state, Separation::SameUser).expect("prepared");
        fs::write(&outside, "").expect("written");
        fs::create_dir(state.join("daemon/identity")).expect("a folder");
        fs::write(state.join("daemon/identity/key"), "").expect("written");
        std::os::unix::fs::symlink(&outside, state.join("daemon/link")).expect("a link");
        prepare(&state, USERS).expect("prepared");
        for given in ["daemon", "daemon/identity", "daemon/identity/key", "daemon/link"] {
            assert_eq!(owner(&state.join(given)), (ACCOUNT.uid, ACCOUNT.gid), "{given}");
        }
        for kept in [&outside, &state, &state.join("effector")] {
            assert_eq!(owner(kept).0, 0, "{}", kept.display());
        }
    }

    #[test]
    fn a_folder_that_is_the_daemons_users_already_is_left_alone() {
        if !is_root() {
            return;
        }
        let scratch = tempfile::tempdir().expect("a folder");
        prepare(scratch.path(), USERS).expect("prepared");
        let later = scratch.path().join("daemon/later");
        fs::write(&later, "").expect("written");
        prepare(scratch.path(), USERS).expect("prepared");
        assert_eq!(owner(&later).0, 0);
    }

    #[test]
    fn a_file_that_lies_elsewhere_too_is_not_given_away() {
        if !is_root() {
            return;
        }
        let scratch = tempfile::tempdir().expect("a folder");
        let (state, outside) = (scratch.path().join("state"), scratch.path().join("outside"));
        prepare(&state, Separation::SameUser).expect("prepared");
        fs::write(&outside, "").expect("written");
        fs::hard_link(&outside, state.join("daemon/same")).expect("a name");
        let error = anyhow::Error::from(prepare(&state, USERS).expect_err("two names"));
        assert!(format!("{error:#}").contains("same in it has more than one name"), "{error:#}");
        assert_eq!((owner(&outside).0, owner(&state.join("daemon")).0), (0, 0));
    }

    #[test]
    fn the_database_is_its_users_alone_also_one_that_was_open_to_others() {
        let scratch = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        let path = state_file(scratch.path()).expect("made");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "kept").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its owner may");
        assert_eq!(mode(&state_file(scratch.path()).expect("there")), 0o600);
        assert_eq!(fs::read_to_string(&path).expect("text"), "kept");
    }
}
