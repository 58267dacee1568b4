//! Counts how often names in a folder were exchanged for others, by asking the kernel: releases are
//! activated and flags are set by a rename. No program under test can forget to be counted.

use anyhow::Context as _;
use rustix::fs::inotify;
use rustix::io::Errno;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What is read at once: some hundred events of names as short as ours.
const BUFFER_BYTES: usize = 8 * 1024;

/// Watches one folder.
#[derive(Debug)]
pub(crate) struct Witness {
    queue: OwnedFd,
    seen: RefCell<BTreeMap<String, usize>>,
}

impl Witness {
    /// Begins.
    pub(crate) fn of(folder: &Path) -> anyhow::Result<Self> {
        let queue = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)
            .context("open a queue of events")?;
        // Both ends of a move: the kernel would take two equal events in a row for one.
        inotify::add_watch(&queue, folder, inotify::WatchFlags::MOVE).context("watch a folder")?;
        Ok(Self { queue, seen: RefCell::default() })
    }

    /// How often something was renamed to this name since the beginning.
    pub(crate) fn renamed_to(&self, name: &str) -> anyhow::Result<usize> {
        let mut seen = self.seen.borrow_mut();
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::MOVED_TO) => {
                    let named = event.file_name().map(|name| name.to_string_lossy().into_owned());
                    *seen.entry(named.unwrap_or_default()).or_default() += 1;
                }
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(seen.get(name).copied().unwrap_or_default()),
                Err(error) => return Err(error).context("read the queue of events"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rename_is_counted_once_under_its_new_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let witness = Witness::of(folder.path()).expect("it watches");
        for round in 1..=3 {
            for _ in 0..2 {
                std::fs::write(folder.path().join("next"), "x").expect("written");
                std::fs::rename(folder.path().join("next"), folder.path().join("current")).expect("renamed");
            }
            assert_eq!(witness.renamed_to("current").expect("read"), 2 * round);
        }
        assert_eq!(witness.renamed_to("next").expect("read"), 0);
    }
}
