//! Releases in a symlink layout: `ROOT/releases/<id>/` and the link `ROOT/current`.
//!
//! Opened by [`super::open`]; `ROOT` is held open from the start and nothing outside of it is
//! reached, whoever may write in it. Known good is what the file `ROOT/known-good` lists, one id a
//! line, `#` for comments: a list beside the releases, since a release that could mark itself would
//! prove nothing. `release.json` in a release may hold `{"version": "1.2.3"}`.

use super::deed::{Deed, Done, Look, ReleaseBefore, in_words, not_seen, undo_of};
use super::swap::{Swapped, swap};
use crate::config::{AbsolutePath, ReleaseSettings};
use fettle_model::name::Label;
use fettle_model::playbook::Action;
use fettle_model::run::Change;
use fettle_model::time::UnixMillis;
use fettle_sandbox::call::{ActError, Goodness, ReadError, ReleaseInfo, Revision};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::fs::{chownat, fstat, openat2, readlinkat, statat, symlinkat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};

/// Most entries of `releases/` that are looked at. Deployers keep five to fifty.
const MAX_ENTRIES: usize = 1_000;
/// Largest `release.json` and `known-good`: 1 000 ids of 64 bytes.
const MAX_NOTE_BYTES: u64 = 64 * 1024;
/// Longest release id: a commit's 64 hexadecimal digits twice.
const MAX_ID_BYTES: usize = 128;
/// The link that names the current release.
const CURRENT: &str = "current";
/// The link that is prepared to take its place.
const NEXT: &str = ".fettle-next";

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Releases whose root is held open.
#[derive(Debug)]
pub(super) struct ReleaseHandle {
    root: OwnedFd,
    path: AbsolutePath,
    history: usize,
}

struct Link {
    id: String,
    revision: Revision,
    stat: Stat,
}

impl ReleaseHandle {
    /// Takes hold of the root.
    ///
    /// # Errors
    /// When it is no folder, or a symbolic link is on the way.
    pub(super) fn open(settings: &ReleaseSettings) -> Result<Self, String> {
        let path = settings.root.clone();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let root = openat2(CWD, path.as_str(), flags, Mode::empty(), resolve).map_err(|error| match error {
            Errno::LOOP => format!("{path} has a symbolic link in it; name the real folder"),
            other => format!("{path} cannot be opened: {other}"),
        })?;
        Ok(Self { root, path, history: settings.history })
    }

    /// The current release and the link's revision.
    pub(super) fn current(&self) -> Result<(ReleaseInfo, Revision), ReadError> {
        let link = self.link(CURRENT)?;
        let known_good = self.known_good()?;
        let info = match self.folder(&link.id)? {
            Some(folder) => describe(&link.id, &folder, &known_good),
            // The link may dangle: going back is just what helps then.
            None => ReleaseInfo {
                id: link.id.clone(),
                version: link.id.clone(),
                activated: None,
                known_good: Goodness::Unproven,
            },
        };
        Ok((ReleaseInfo { activated: millis_of(&link.stat), ..info }, link.revision))
    }

    /// The current release if its folder is there.
    pub(super) fn settled(&self) -> Result<ReleaseInfo, ReadError> {
        let (info, _) = self.current()?;
        match self.folder(&info.id)? {
            Some(_) => Ok(info),
            None => Err(ReadError::NotFound),
        }
    }

    /// The releases, newest first by their folders' time, at most as many as the owner shows.
    pub(super) fn history(&self) -> Result<Vec<ReleaseInfo>, ReadError> {
        let known_good = self.known_good()?;
        let current = self.link(CURRENT).ok();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let releases = openat2(&self.root, "releases", flags, Mode::empty(), INSIDE).map_err(unreadable)?;
        let mut found = Vec::new();
        for (number, entry) in Dir::new(releases).map_err(unreadable)?.enumerate() {
            if number >= MAX_ENTRIES {
                return Err(ReadError::TooLarge(u64::try_from(number).unwrap_or(u64::MAX)));
            }
            let entry = entry.map_err(unreadable)?;
            // What cannot be a release's name is not shown: a playbook could not name it either.
            let Some(id) = entry.file_name().to_str().ok().filter(|id| is_id(id)) else { continue };
            let Some(folder) = self.folder(id)? else { continue };
            let stat = fstat(&folder).map_err(unreadable)?;
            let mut info = describe(id, &folder, &known_good);
            if let Some(link) = &current
                && link.id == id
            {
                info.activated = millis_of(&link.stat);
            }
            found.push((stat.st_mtime, stat.st_mtime_nsec, info));
        }
        // The id decides between folders of one instant, so that the order is always the same.
        found.sort_by(|(s1, n1, a), (s2, n2, b)| (s2, n2, &b.id).cmp(&(s1, n1, &a.id)));
        Ok(found.into_iter().take(self.history).map(|(_, _, info)| info).collect())
    }

    /// The newest release that nobody calls good and that is not current; for a drill.
    pub(super) fn newest_unproven(&self) -> Result<Option<ReleaseInfo>, ReadError> {
        let (current, _) = self.current()?;
        let unproven = |info: &ReleaseInfo| info.known_good == Goodness::Unproven && info.id != current.id;
        Ok(self.history()?.into_iter().find(unproven))
    }

    /// Looks before a release is made current.
    pub(super) fn before(&self, release: &str, expect: &Revision) -> Result<ReleaseBefore, ActError> {
        if !is_id(release) {
            return Err(ActError::Failed("no release has such an id".to_owned()));
        }
        if self.folder(release).map_err(not_seen)?.is_none() {
            return Err(ActError::Failed(format!("there is no release {release}")));
        }
        let link = self.link(CURRENT).map_err(not_seen)?;
        if &link.revision != expect {
            return Err(ActError::Stale(link.revision));
        }
        Ok(ReleaseBefore { release: link.id, revision: link.revision })
    }

    /// Makes a release current, if the link is still as it was before.
    pub(super) fn activate(&self, label: &Label, release: &str, before: &ReleaseBefore) -> Result<Done, ActError> {
        let now = self.before(release, &before.revision)?;
        if now.release == release {
            return Ok(Done::unneeded(undo_of(Action::Activate)));
        }
        self.prepare(release).map_err(|error| ActError::Failed(format!("no link could be made: {error}")))?;
        let unchanged = |name: &str| self.link(name).is_ok_and(|link| link.revision == before.revision);
        match swap(self.root.as_fd(), CURRENT, NEXT, unchanged) {
            Ok(Swapped::Done) => Ok(self.done(label, before)),
            Ok(Swapped::Moved) => match self.link(CURRENT) {
                Ok(link) => Err(ActError::Stale(link.revision)),
                Err(error) => Err(not_seen(error)),
            },
            Ok(Swapped::InDoubt(seen)) => Err(ActError::Indeterminate(seen)),
            Err(error) => Err(ActError::Failed(format!("the link could not be replaced: {error}"))),
        }
    }

    fn prepare(&self, release: &str) -> Result<(), Errno> {
        match unlinkat(&self.root, NEXT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        symlinkat(format!("releases/{release}"), &self.root, NEXT)?;
        let old = statat(&self.root, CURRENT, AtFlags::SYMLINK_NOFOLLOW)?;
        let ours = statat(&self.root, NEXT, AtFlags::SYMLINK_NOFOLLOW)?;
        if (old.st_uid, old.st_gid) == (ours.st_uid, ours.st_gid) {
            return Ok(());
        }
        // The deployer must be able to replace it again, in a sticky folder too.
        let (owner, group) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
        chownat(&self.root, NEXT, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn done(&self, label: &Label, before: &ReleaseBefore) -> Done {
        // Without a revision to expect there is no safe way back; the link is read at once, so that
        // only what this deed made is undone.
        let inverse = self.link(CURRENT).ok().map(|link| Deed::Activate {
            label: label.clone(),
            release: before.release.clone(),
            expect: link.revision,
        });
        Done { change: Change::Made, undo: undo_of(Action::Activate), inverse, hold: super::HoldChange::Unchanged }
    }

    /// Whether the release was made current before a crash.
    pub(super) fn look_after_activate(&self, label: &Label, release: &str, before: &ReleaseBefore) -> Look {
        match self.link(CURRENT) {
            Ok(_) if before.release == release => Look::Applied(Done::unneeded(undo_of(Action::Activate))),
            Ok(link) if link.revision == before.revision => Look::NotApplied,
            Ok(link) if link.id == release => Look::Applied(self.done(label, before)),
            Ok(link) => Look::cannot_tell(format!("{} is current: somebody else activated it", link.id)),
            Err(error) => Look::cannot_tell(format!("the current release cannot be read: {}", in_words(&error))),
        }
    }

    /// Reads a link of the root; it must lead to `releases/<id>` and nowhere else.
    fn link(&self, name: &str) -> Result<Link, ReadError> {
        let stat = statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Err(ReadError::Malformed(format!("{name} is no symbolic link")));
        }
        let target = readlinkat(&self.root, name, Vec::new()).map_err(unreadable)?;
        let elsewhere = || ReadError::Malformed(format!("{name} leads to something else than releases/<id>"));
        let target = target.to_str().map_err(|_| elsewhere())?;
        // Deployers write the link relative or absolute; both must stay in this root.
        let relative =
            target.strip_prefix(self.path.as_str()).and_then(|rest| rest.strip_prefix('/')).unwrap_or(target);
        let relative = relative.strip_prefix("./").unwrap_or(relative);
        let id = relative.strip_prefix("releases/").map(|id| id.strip_suffix('/').unwrap_or(id));
        let id = id.filter(|id| is_id(id)).ok_or_else(elsewhere)?;
        Ok(Link { id: id.to_owned(), revision: link_revision(target, &stat), stat })
    }

    fn folder(&self, id: &str) -> Result<Option<OwnedFd>, ReadError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(&self.root, format!("releases/{id}"), flags, Mode::empty(), INSIDE) {
            Ok(folder) => Ok(Some(folder)),
            // A link, a file or another file system in a release's place is no release.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
            Err(error) => Err(unreadable(error)),
        }
    }

    fn known_good(&self) -> Result<BTreeSet<String>, ReadError> {
        match note(&self.root, "known-good") {
            Ok(text) => Ok(text.lines().map(str::trim).filter(|id| is_id(id)).map(str::to_owned).collect()),
            Err(ReadError::NotFound) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }
}

fn describe(id: &str, folder: &OwnedFd, known_good: &BTreeSet<String>) -> ReleaseInfo {
    // The version is for people; a release without a readable one is shown by its id.
    let version = note(folder, "release.json")
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|json| Some(super::text::clean(json.get("version")?.as_str()?)))
        .unwrap_or_else(|| id.to_owned());
    let known_good = if known_good.contains(id) { Goodness::KnownGood } else { Goodness::Unproven };
    ReleaseInfo { id: id.to_owned(), version, activated: None, known_good }
}

fn note(folder: &OwnedFd, name: &str) -> Result<String, ReadError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat2(folder, name, flags, Mode::empty(), INSIDE).map_err(unreadable)?;
    let stat = fstat(&file).map_err(unreadable)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ReadError::Malformed(format!("{name} is no regular file")));
    }
    match u64::try_from(stat.st_size) {
        Ok(size) if size <= MAX_NOTE_BYTES => {}
        Ok(_) | Err(_) => return Err(ReadError::TooLarge(u64::try_from(stat.st_size).unwrap_or(u64::MAX))),
    }
    let mut text = String::new();
    File::from(file)
        .take(MAX_NOTE_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| ReadError::Malformed(error.to_string()))?;
    Ok(text)
}

/// An id is one plain segment: nothing that a path, a terminal or a shell would take otherwise.
fn is_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+~-".contains(&b))
}

fn link_revision(target: &str, stat: &Stat) -> Revision {
    let mut hash = Sha256::new();
    hash.update(target.as_bytes());
    hash.update([0]);
    // A link that was made anew is another one, even if it leads to the same release.
    for number in [stat.st_dev, stat.st_ino] {
        hash.update(number.to_be_bytes());
    }
    hash.update(stat.st_mtime.to_be_bytes());
    hash.update(stat.st_mtime_nsec.to_be_bytes());
    Revision(format!("link:{}", hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn millis_of(stat: &Stat) -> Option<UnixMillis> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    Some(UnixMillis(seconds.checked_mul(1_000)?.checked_add(stat.st_mtime_nsec / 1_000_000)?))
}

fn unreadable(error: Errno) -> ReadError {
    match error {
        Errno::NOENT => ReadError::NotFound,
        Errno::LOOP | Errno::XDEV => ReadError::Malformed("a link leads out of the release root".to_owned()),
        other => ReadError::Unavailable(other.to_string()),
    }
}
