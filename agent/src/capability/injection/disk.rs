//! A file that takes the room of a folder: within the owner's bound, never below the owner's floor.
//!
//! The file is allocated, not written, so it takes milliseconds and no bandwidth. No symbolic link is followed
//! on the way to the folder: whoever may write there gains nothing from the effector being root.

use super::{Injection, Look, TakenBack};
use crate::capability::Done;
use crate::config::FillDiskSettings;
use fettle_sandbox::call::ActError;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Mode, OFlags, ResolveFlags, fallocate, fstat, fstatvfs, openat, openat2, unlinkat,
};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// The file's name. A person who finds it can see whose it is.
const NAME: &str = ".fettle-drill";

fn open(folder: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(CWD, folder, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)
}

fn failed(what: &str, error: Errno) -> ActError {
    ActError::Failed(format!("{what}: {error}"))
}

/// Room for everybody, root's reserve not counted.
fn free(folder: &OwnedFd) -> Result<u64, Errno> {
    let stat = fstatvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// How large the file would be now.
pub(in crate::capability) fn plan_fill(settings: &FillDiskSettings) -> Result<Injection, ActError> {
    let path = settings.folder.as_str();
    let folder = open(path).map_err(|error| failed(&format!("{path} cannot be opened"), error))?;
    let free = free(&folder).map_err(|error| failed("the file system cannot be asked for its room", error))?;
    let bytes = settings.at_most.min(free.saturating_sub(settings.keep_free));
    if bytes == 0 {
        return Err(ActError::Failed(format!("{path} has {free} bytes left, and {} must stay", settings.keep_free)));
    }
    Ok(Injection::FillDisk { folder: path.to_owned(), bytes })
}

/// Makes the file, if the room is still there.
pub(in crate::capability) fn fill(settings: &FillDiskSettings, bytes: u64) -> Result<Done, ActError> {
    if bytes > settings.at_most {
        return Err(ActError::Denied(format!("the owner allows a file of at most {} bytes", settings.at_most)));
    }
    let path = settings.folder.as_str();
    let folder = open(path).map_err(|error| failed(&format!("{path} cannot be opened"), error))?;
    let room = |least: u64| match free(&folder) {
        Ok(free) if free >= least => Ok(()),
        Ok(free) => Err(ActError::Failed(format!("{path} has {free} bytes left only"))),
        Err(error) => Err(failed("the file system cannot be asked for its room", error)),
    };
    room(settings.keep_free.saturating_add(bytes))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&folder, NAME, flags, Mode::RUSR | Mode::WUSR).map_err(|error| match error {
        Errno::EXIST => ActError::Failed(format!("there is a {NAME} in {path} already")),
        other => failed("the file cannot be made", other),
    })?;
    let filled = fallocate(&file, FallocateFlags::empty(), 0, bytes)
        .map_err(|error| failed("the file system gives no room to it", error))
        // Somebody else may have written meanwhile.
        .and_then(|()| room(settings.keep_free));
    match filled {
        Ok(()) => Ok(Done::of_injection()),
        Err(error) => match unlinkat(&folder, NAME, AtFlags::empty()) {
            Ok(()) => Err(error),
            Err(left) => Err(ActError::Indeterminate(format!("the file could not be removed again: {left}"))),
        },
    }
}

/// Removes the file. A service that clears its folder when it starts may have done so, or have made the folder anew.
pub(super) fn remove(path: &str) -> Result<TakenBack, String> {
    let removed = open(path).and_then(|folder| unlinkat(&folder, NAME, AtFlags::empty()));
    match removed {
        Ok(()) => Ok(TakenBack::Now),
        Err(Errno::NOENT) => Ok(TakenBack::GoneAlready),
        Err(error) => Err(format!("{NAME} in {path} cannot be removed: {error}")),
    }
}

/// Whether the file was made.
pub(super) fn look(path: &str, bytes: u64) -> Look {
    let seen = open(path)
        .and_then(|folder| openat(&folder, NAME, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()));
    match seen.and_then(fstat) {
        Ok(stat) if u64::try_from(stat.st_size) == Ok(bytes) => Look::Applied(Done::of_injection()),
        Ok(_) => Look::cannot_tell("the file is there and has another size"),
        Err(Errno::NOENT) => Look::NotApplied,
        Err(error) => Look::cannot_tell(format!("the file cannot be looked at: {error}")),
    }
}
