//! A control group of its own for every host: two systemds in one would share their units' groups.
//!
//! Works with cgroup 2 alone and with the hybrid layout. The groups lie directly below the roots,
//! are named after the test's process, and are removed with the host; what a killed test left behind
//! is removed by the next one.

use anyhow::Context as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use xtask::process;

/// The hierarchies in which systemd keeps its units: both of the hybrid layout, or the one of cgroup 2.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
/// How every group's name begins.
const PREFIX: &str = "fettle-tests-";
/// How long the kernel may take to let go of a group whose last process is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A group in each hierarchy.
#[derive(Debug)]
pub struct ControlGroups {
    folders: Vec<PathBuf>,
}

impl ControlGroups {
    /// Makes them.
    pub fn new() -> anyhow::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep()?;
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut folders = Vec::new();
        for root in roots() {
            let folder = root.join(&name);
            fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
            folders.push(folder);
        }
        Ok(Self { folders })
    }

    /// The files to which a process writes its id to move in.
    pub fn doors(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(|folder| folder.join("cgroup.procs"))
    }

    /// Their folders.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        for folder in &self.folders {
            let removed = process::wait_until("the control group is empty", PATIENCE, || match remove(folder) {
                Ok(()) => Ok(Some(())),
                Err(error) if error.kind() == ErrorKind::ResourceBusy => Ok(None),
                Err(error) => Err(error.into()),
            });
            if let Err(error) = removed {
                eprintln!("{} stays: {error:#}", folder.display());
            }
        }
    }
}

fn roots() -> impl Iterator<Item = &'static Path> {
    HIERARCHIES.iter().map(Path::new).filter(|root| root.join("cgroup.procs").exists())
}

/// Removes a group with the groups in it. Files cannot and need not be removed.
fn remove(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(folder)
}

/// Removes what tests that no longer run have left behind.
fn sweep() -> anyhow::Result<()> {
    for root in roots() {
        for entry in fs::read_dir(root).with_context(|| format!("list {}", root.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let owner =
                name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
            let Some(owner) = owner else { continue };
            if !Path::new("/proc").join(owner).exists()
                && let Err(error) = remove(&entry.path())
            {
                // Another test may be removing it as well, or its last process is just ending.
                eprintln!("{} stays for now: {error}", entry.path().display());
            }
        }
    }
    Ok(())
}
