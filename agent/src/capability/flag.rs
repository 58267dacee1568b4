//! One flag in a flagd-format file: read it, set its default variant for a while, put it back.
//!
//! Opened by [`super::open`]. The file is replaced as a whole (temporary file, fsync, exchange,
//! fsync of the folder), with the mode and owner of the one before; extended attributes are not
//! carried over. Its folder is held open from the start, and no symbolic link is followed on the
//! way to it: whoever may write in the folder gains nothing from the effector being root.

use super::deed::{Done, FlagBefore, Look, in_words, not_seen, undo_of};
use super::flag_file::{DecidedBy, Definition, FlagFileError, Meaning, State};
use super::hold::{Hold, HoldChange};
use super::swap::{Swapped, swap};
use crate::config::{AbsolutePath, FlagSettings};
use fettle_model::name::Label;
use fettle_model::playbook::Action;
use fettle_model::run::{Change, UndoClass};
use fettle_model::time::{HumanDuration, UnixMillis};
use fettle_sandbox::call::{ActError, FlagSetting, ReadError, Revision};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::fs::{fchmod, fchown, fstat, openat, openat2, unlinkat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

/// Largest flag file: 10 000 flags of 100 bytes. It is read whole and twice.
const MAX_FLAG_FILE_BYTES: u64 = 1024 * 1024;

/// A flag whose folder is held open.
#[derive(Debug)]
pub(super) struct FlagHandle {
    folder: OwnedFd,
    /// For [`Hold`] and people; never opened again.
    path: AbsolutePath,
    key: String,
    longest_hold: Duration,
}

struct Seen {
    text: String,
    stat: Stat,
    definition: Definition,
}

impl FlagHandle {
    /// Takes hold of the file's folder.
    ///
    /// # Errors
    /// When there is none, or a symbolic link is on the way.
    pub(super) fn open(settings: &FlagSettings) -> Result<Self, String> {
        let (folder, _) = settings.file.split();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(CWD, folder, flags, Mode::empty(), resolve).map_err(|error| match error {
            Errno::LOOP => format!("{folder} has a symbolic link in it; name the real folder"),
            other => format!("{folder} cannot be opened: {other}"),
        })?;
        Ok(Self {
            folder: opened,
            path: settings.file.clone(),
            key: settings.key.clone(),
            longest_hold: settings.longest_hold,
        })
    }

    /// Longest time for which the host's owner lets it be set.
    pub(super) const fn longest_hold(&self) -> Duration {
        self.longest_hold
    }

    fn name(&self) -> &str {
        self.path.split().1
    }

    fn look(&self) -> Result<Seen, ReadError> {
        let (text, stat) = self.read(self.name())?;
        let definition = Definition::find(&text, &self.key).map_err(|error| match error {
            FlagFileError::Missing => ReadError::NotFound,
            FlagFileError::Malformed(_) | FlagFileError::Duplicate(_) => ReadError::Malformed(error.to_string()),
        })?;
        Ok(Seen { text, stat, definition })
    }

    fn read(&self, name: &str) -> Result<(String, Stat), ReadError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&self.folder, name, flags, Mode::empty(), resolve).map_err(|error| match error {
            Errno::NOENT => ReadError::NotFound,
            Errno::LOOP => ReadError::Malformed("the flag file is a symbolic link".to_owned()),
            other => ReadError::Unavailable(other.to_string()),
        })?;
        let stat = fstat(&file).map_err(|error| ReadError::Unavailable(error.to_string()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(ReadError::Malformed("the flag file is no regular file".to_owned()));
        }
        let mut text = String::new();
        let limit = MAX_FLAG_FILE_BYTES + 1;
        File::from(file)
            .take(limit)
            .read_to_string(&mut text)
            .map_err(|error| ReadError::Malformed(error.to_string()))?;
        match u64::try_from(text.len()) {
            Ok(length) if length <= MAX_FLAG_FILE_BYTES => Ok((text, stat)),
            Ok(_) | Err(_) => Err(ReadError::TooLarge(u64::try_from(stat.st_size).unwrap_or(u64::MAX))),
        }
    }

    /// Its variant now.
    pub(super) fn setting(&self) -> Result<FlagSetting, ReadError> {
        let Definition { value, state, revision, .. } = self.look()?.definition;
        match state {
            State::Enabled => Ok(FlagSetting { value, revision }),
            State::Disabled => Err(ReadError::Unavailable("the flag's state is DISABLED".to_owned())),
        }
    }

    /// The variant that means *on*: the one of that name, or the only one that is `true`.
    pub(super) fn on_variant(&self) -> Result<Option<String>, ReadError> {
        let definition = self.look()?.definition;
        if definition.has("on") {
            return Ok(Some("on".to_owned()));
        }
        let mut on = definition.variants.into_iter().filter(|(_, meaning)| *meaning == Meaning::On);
        Ok(match (on.next(), on.next()) {
            (Some((name, _)), None) => Some(name),
            (_, _) => None,
        })
    }

    /// Looks before setting `value`; refuses what could not have its effect.
    pub(super) fn before(
        &self,
        value: &str,
        expect: &Revision,
        hold: Duration,
        now: UnixMillis,
    ) -> Result<FlagBefore, ActError> {
        if hold.is_zero() || hold > self.longest_hold {
            return Err(ActError::Denied(format!(
                "a hold of {} is outside of the {} that the host's owner allows",
                HumanDuration(hold),
                HumanDuration(self.longest_hold)
            )));
        }
        let Seen { text, definition, .. } = self.look().map_err(not_seen)?;
        if &definition.revision != expect {
            return Err(ActError::Stale(definition.revision));
        }
        if !definition.has(value) {
            return Err(ActError::Failed(format!("the flag's variants are {}", definition.variant_names())));
        }
        if definition.state == State::Disabled {
            return Err(ActError::Failed("the flag's state is DISABLED: its variant decides nothing".to_owned()));
        }
        if definition.decided_by == DecidedBy::Targeting {
            return Err(ActError::Failed("the flag has targeting rules: its default decides nothing".to_owned()));
        }
        let will_be = self.revision_with(&definition, &text, value)?;
        Ok(FlagBefore { value: definition.value, revision: definition.revision, will_be, until: now.plus(hold) })
    }

    fn revision_with(&self, definition: &Definition, text: &str, value: &str) -> Result<Revision, ActError> {
        definition
            .with_value(text, value)
            .and_then(|next| Definition::find(&next, &self.key))
            .map(|next| next.revision)
            .map_err(|error| ActError::Failed(error.to_string()))
    }

    /// Sets the variant, if the flag is still as it was before.
    pub(super) fn set(&self, label: &Label, value: &str, before: &FlagBefore) -> Result<Done, ActError> {
        if before.value == value {
            // Nothing to write; but what is held already is held for longer.
            return Ok(Done { hold: self.begins(value, before), ..Done::unneeded(undo_of(Action::Set)) });
        }
        self.write(value, &before.revision)?;
        Ok(self.done(label, value, before))
    }

    fn done(&self, label: &Label, value: &str, before: &FlagBefore) -> Done {
        let inverse = super::Deed::PutFlagBack {
            label: label.clone(),
            value: before.value.clone(),
            expect: before.will_be.clone(),
        };
        Done {
            change: Change::Made,
            undo: UndoClass::Expires,
            inverse: Some(inverse),
            hold: self.begins(value, before),
        }
    }

    fn begins(&self, value: &str, before: &FlagBefore) -> HoldChange {
        HoldChange::Begins(Box::new(Hold {
            file: self.path.as_str().to_owned(),
            key: self.key.clone(),
            old: before.value.clone(),
            set: value.to_owned(),
            revision: before.will_be.clone(),
            until: before.until,
            drill: None,
        }))
    }

    /// Looks before putting `value` back. The hold's own rules do not apply to its end.
    pub(super) fn before_back(&self, value: &str, expect: &Revision, now: UnixMillis) -> Result<FlagBefore, ActError> {
        let Seen { text, definition, .. } = self.look().map_err(not_seen)?;
        if &definition.revision != expect {
            return Err(ActError::Stale(definition.revision));
        }
        let will_be = self.revision_with(&definition, &text, value)?;
        Ok(FlagBefore { value: definition.value, revision: definition.revision, will_be, until: now })
    }

    /// Puts the old variant back and ends the hold.
    pub(super) fn set_back(&self, value: &str, before: &FlagBefore) -> Result<Done, ActError> {
        self.write(value, &before.revision)?;
        Ok(self.done_back(before))
    }

    fn done_back(&self, before: &FlagBefore) -> Done {
        let (file, key) = (self.path.as_str().to_owned(), self.key.clone());
        let hold = HoldChange::Ends { file, key, revision: before.revision.clone() };
        Done { change: Change::Made, undo: UndoClass::None, inverse: None, hold }
    }

    /// Whether setting happened before a crash.
    pub(super) fn look_after_set(&self, label: &Label, value: &str, before: &FlagBefore) -> Look {
        if before.value == value {
            let hold = self.begins(value, before);
            return Look::Applied(Done { hold, ..Done::unneeded(undo_of(Action::Set)) });
        }
        self.judge(before, || self.done(label, value, before))
    }

    /// Whether putting back happened before a crash.
    pub(super) fn look_after_back(&self, before: &FlagBefore) -> Look {
        self.judge(before, || self.done_back(before))
    }

    fn judge(&self, before: &FlagBefore, done: impl FnOnce() -> Done) -> Look {
        match self.look() {
            Ok(seen) if seen.definition.revision == before.will_be => Look::Applied(done()),
            Ok(seen) if seen.definition.revision == before.revision => Look::NotApplied,
            Ok(_) => Look::cannot_tell("the flag's definition was changed by somebody else"),
            Err(error) => Look::cannot_tell(format!("the flag cannot be read: {}", in_words(&error))),
        }
    }

    fn write(&self, value: &str, expect: &Revision) -> Result<(), ActError> {
        let Seen { text, stat, definition } = self.look().map_err(not_seen)?;
        if &definition.revision != expect {
            return Err(ActError::Stale(definition.revision));
        }
        let next_text = definition.with_value(&text, value).map_err(|error| ActError::Failed(error.to_string()))?;
        let next = self.next_name();
        self.prepare(&next, &next_text, &stat).map_err(|error| {
            // What is left of it is removed by the next attempt.
            ActError::Failed(format!("the new file could not be written: {error}"))
        })?;
        // Whoever wrote the file since we read it, in place or by renaming, is what the exchange displaces.
        let unchanged = |name: &str| self.read(name).is_ok_and(|(now, _)| now == text);
        match swap(self.folder.as_fd(), self.name(), &next, unchanged) {
            Ok(Swapped::Done) => Ok(()),
            Ok(Swapped::Moved) => match self.look() {
                Ok(now) => Err(ActError::Stale(now.definition.revision)),
                Err(error) => Err(not_seen(error)),
            },
            Ok(Swapped::InDoubt(seen)) => Err(ActError::Indeterminate(seen)),
            Err(error) => Err(ActError::Failed(format!("the flag file could not be replaced: {error}"))),
        }
    }

    fn next_name(&self) -> String {
        format!(".{}.fettle-next", self.name())
    }

    fn prepare(&self, next: &str, text: &str, like: &Stat) -> std::io::Result<()> {
        match unlinkat(&self.folder, next, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.folder, next, flags, Mode::RUSR | Mode::WUSR)?;
        let ours = fstat(&file)?;
        if (ours.st_uid, ours.st_gid) != (like.st_uid, like.st_gid) {
            fchown(&file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
        }
        // After the owner: changing that clears the set-id bits.
        fchmod(&file, Mode::from_raw_mode(like.st_mode))?;
        let mut file = File::from(file);
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }
}

/// What came of a hold's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// The old variant is back.
    Restored,
    /// The flag is not as the hold set it: somebody decided otherwise, and that stays.
    Moved,
    /// It could not be done now; try again later.
    NotNow(String),
    /// Whether it is back cannot be said; looking again tells.
    InDoubt(String),
}

/// Puts a due hold's old variant back if the flag is still as the hold set it. Needs no permit:
/// it is the end of an effect that had one. The settings are the flag's in the host's configuration.
#[must_use]
pub fn put_back(settings: &FlagSettings, hold: &Hold) -> PutBack {
    let handle = match FlagHandle::open(settings) {
        Ok(handle) => handle,
        Err(why) => return PutBack::NotNow(why),
    };
    match handle.write(&hold.old, &hold.revision) {
        Ok(()) => PutBack::Restored,
        Err(ActError::Stale(_)) => PutBack::Moved,
        Err(ActError::Indeterminate(seen)) => PutBack::InDoubt(seen),
        Err(ActError::Failed(why) | ActError::Denied(why) | ActError::Exhausted(why)) => PutBack::NotNow(why),
        Err(ActError::OffPlan) => PutBack::NotNow("off plan".to_owned()),
    }
}
