//! Opens the pid file of a command service.
//!
//! Root reads it, and who writes in its folder must not choose what is read: the number in it decides which
//! process a drill ends. Called by [`super::command`] for every look; never waits, never writes.

use crate::config::AbsolutePath;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat, statat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// Most links on the way to it: `/var/run` is one, and some systems add one for `/var`.
const MAX_LINKS: usize = 8;

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The file, which is opened without waiting for whatever else may have its name. It is no link, and only
/// [`trusted_link`]s lead to it.
pub(super) fn open(path: &AbsolutePath) -> io::Result<File> {
    let (folder, name) = path.split();
    let folder = walk(folder)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(&folder, name, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP => io::Error::other("it is a symbolic link"),
        error => error.into(),
    })?;
    // A second name is how another file comes to lie here without a link.
    if fstat(&file)?.st_nlink > 1 {
        return Err(io::Error::other("it has more than one name"));
    }
    Ok(File::from(file))
}

fn walk(folder: &str) -> io::Result<OwnedFd> {
    let root = || openat(CWD, "/", FOLDER, Mode::empty());
    let mut here = root()?;
    let mut links = 0;
    // The next segment last.
    let mut rest: Vec<String> = folder.rsplit('/').map(str::to_owned).collect();
    while let Some(name) = rest.pop() {
        if name.is_empty() {
            continue;
        }
        match openat(&here, &name, FOLDER, Mode::empty()) {
            Ok(next) => here = next,
            Err(Errno::NOTDIR) => {
                let target = trusted_link(&here, &name)?;
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                if target.starts_with('/') {
                    here = root()?;
                }
                rest.extend(target.rsplit('/').map(str::to_owned));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(here)
}

/// Where a link leads that only root (or who runs this agent) can have placed: it is theirs, and so is its
/// folder, in which nobody else may write. `/var/run` is such a link.
fn trusted_link(folder: &OwnedFd, name: &str) -> io::Result<String> {
    let link = statat(folder, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(link.st_mode) != FileType::Symlink {
        return Err(Errno::NOTDIR.into());
    }
    let around = fstat(folder)?;
    let own = rustix::process::geteuid().as_raw();
    let trusted = |user: u32| user == 0 || user == own;
    if !trusted(link.st_uid) || !trusted(around.st_uid) || around.st_mode & 0o022 != 0 {
        return Err(io::Error::other(format!("on the way to it, {name:?} is a symbolic link that is not only root's")));
    }
    let target = readlinkat(folder, name, Vec::new())?;
    target.into_string().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a link leads to what is no text"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    /// A folder as `/run` is one: its owner's alone to write in.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().canonicalize().expect("it is there");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("its owner may");
        (folder, path)
    }

    fn opened(path: &Path) -> Result<String, String> {
        let path: AbsolutePath = path.to_str().expect("text").parse().expect("an absolute path");
        let file = open(&path).map_err(|error| error.to_string())?;
        io::read_to_string(file).map_err(|error| error.to_string())
    }

    #[test]
    fn a_link_of_the_system_may_lead_to_the_folder_of_a_pid_file() {
        let (_kept, root) = folder();
        fs::create_dir_all(root.join("run/app")).expect("folders");
        fs::create_dir(root.join("var")).expect("a folder");
        fs::write(root.join("run/app/pid"), "7\n").expect("written");
        symlink(root.join("run"), root.join("var/run")).expect("a link");
        symlink("../run/app", root.join("var/app")).expect("a link");
        assert_eq!(opened(&root.join("run/app/pid")), Ok("7\n".to_owned()));
        assert_eq!(opened(&root.join("var/run/app/pid")), Ok("7\n".to_owned()));
        assert_eq!(opened(&root.join("var/app/pid")), Ok("7\n".to_owned()));
        symlink("again", root.join("again")).expect("a link");
        assert!(opened(&root.join("again/pid")).expect_err("no end").contains("symbolic links"));
    }

    #[test]
    fn no_link_that_somebody_else_can_place_is_followed_to_a_pid_file() {
        let (_kept, root) = folder();
        for name in ["app", "other"] {
            fs::create_dir(root.join(name)).expect("a folder");
        }
        fs::write(root.join("other/pid"), "7\n").expect("written");
        symlink(root.join("other/pid"), root.join("app/pid")).expect("a link");
        assert_eq!(opened(&root.join("app/pid")), Err("it is a symbolic link".to_owned()));
        fs::hard_link(root.join("other/pid"), root.join("app/same")).expect("a name");
        assert_eq!(opened(&root.join("app/same")), Err("it has more than one name".to_owned()));
        fs::remove_file(root.join("app/same")).expect("removed");
        symlink(root.join("other"), root.join("app/run")).expect("a link");
        assert_eq!(opened(&root.join("app/run/pid")), Ok("7\n".to_owned()), "only root's still");
        fs::set_permissions(root.join("app"), Permissions::from_mode(0o775)).expect("its owner may");
        let refusal = "on the way to it, \"run\" is a symbolic link that is not only root's";
        assert_eq!(opened(&root.join("app/run/pid")), Err(refusal.to_owned()));
    }

    #[test]
    fn a_pipe_in_the_place_of_a_pid_file_keeps_nobody_waiting() {
        let (_kept, root) = folder();
        let pipe = root.join("pid");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        drop(std::thread::spawn(move || done.send(opened(&pipe))));
        assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(Ok(String::new())), "it was opened and is empty");
    }
}
