//! The release that `current` points at. Called once at the start and then for every request, so
//! that an activation needs no restart.
//!
//! ```text
//! root/current -> releases/<id>
//! root/releases/<id>/release.json     {"version":"1.4.0","healthz":"ok"}
//! ```
//!
//! Nothing is cached: the file is tiny, and a cache by modification time would miss two
//! activations within one tick of the file system's clock.

use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// A release, as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// The name of its folder.
    pub(crate) id: String,
    /// The version for people.
    pub(crate) version: String,
    /// How its `/healthz` answers.
    pub(crate) health: ReleaseHealth,
}

/// How a release's `/healthz` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReleaseHealth {
    /// With 200.
    Ok,
    /// With 500: this release is bad.
    Fail,
}

/// Why there is no current release.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    /// `current` is missing or no symlink.
    #[error("read the symlink {}", path.display())]
    Link {
        /// The symlink.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It points at something without a name, such as `..`.
    #[error("{} names no release", target.display())]
    Unnamed {
        /// What it points at.
        target: PathBuf,
    },
    /// Its `release.json` cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its `release.json` is not what it should be.
    #[error("understand {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: String,
    healthz: ReleaseHealth,
}

/// Reads the current release of the layout under `root`.
pub(crate) fn current(root: &Path) -> Result<Release, ReleaseError> {
    let path = root.join("current");
    let target = std::fs::read_link(&path).map_err(|source| ReleaseError::Link { path, source })?;
    let Some(id) = target.file_name().map(|name| name.to_string_lossy().into_owned()) else {
        return Err(ReleaseError::Unnamed { target });
    };
    // Through the target that was read, not through `current`: id and version then belong together
    // even when the symlink moves in between.
    let path = root.join(target).join("release.json");
    let bytes = crate::file::read(&path).map_err(|source| ReleaseError::Read { path: path.clone(), source })?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|source| ReleaseError::Parse { path, source })?;
    Ok(Release { id, version: document.version, health: document.healthz })
}
