//! The folders of an agent's state: one for the effector alone, one for the daemon's identity.

use super::children::Separation;
use super::serve::EffectorError;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The daemon's folder within the state folder.
pub(super) const DAEMON: &str = "daemon";

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

/// Gives a folder, and what an agent that ran without separation left in it, to the daemon's user.
fn own(folder: &Path, account: super::children::Account) -> std::io::Result<()> {
    std::os::unix::fs::lchown(folder, Some(account.uid), Some(account.gid))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            own(&entry.path(), account)?;
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(account.uid), Some(account.gid))?;
        }
    }
    Ok(())
}
