//! What cargo says about this workspace: its root, its members, their targets and dependencies.
//! Loaded once by every command.

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The folder under the root whose crates are guests: built for [`crate::guests::TARGET`], never for the host.
const PLAYBOOKS: &str = "playbooks";

/// The workspace that holds this program's sources.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Absolute path of its folder.
    pub root: PathBuf,
    /// Absolute path of cargo's target folder.
    pub target: PathBuf,
    /// Its members, by name.
    pub members: Vec<Member>,
}

/// One crate of the workspace.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its folder, relative to the root.
    pub folder: PathBuf,
    /// The root files of its targets, build script included, relative to the workspace's root.
    pub roots: Vec<PathBuf>,
    /// Whether it has a library whose documentation can hold tests.
    pub library: Option<PathBuf>,
    /// What it depends on, of any kind, on any platform.
    pub dependencies: Vec<Edge>,
}

/// One dependency as the manifest states it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The other crate's name.
    pub on: String,
    /// In which table it stands.
    pub kind: EdgeKind,
}

/// The table of a dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// Part of what is built.
    Built,
    /// `[dev-dependencies]`.
    Test,
}

impl Workspace {
    /// Asks cargo. Without the network and without changing `Cargo.lock`.
    pub fn load() -> anyhow::Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata = MetadataCommand::new()
            .manifest_path(manifest)
            .no_deps()
            .exec()
            .context("ask cargo for the workspace's metadata")?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let relative = |path: &Path| {
            path.strip_prefix(&root)
                .map(Path::to_path_buf)
                .with_context(|| format!("{} is outside of the workspace", path.display()))
        };
        let mut members = Vec::new();
        for package in metadata.workspace_packages() {
            let folder = package.manifest_path.parent().context("a manifest without a folder")?;
            let mut roots = Vec::new();
            for target in &package.targets {
                roots.push(relative(target.src_path.as_std_path())?);
            }
            let library = package.targets.iter().find(|target| target.is_lib() || target.is_proc_macro());
            members.push(Member {
                name: package.name.to_string(),
                folder: relative(folder.as_std_path())?,
                roots,
                library: library.map(|target| relative(target.src_path.as_std_path())).transpose()?,
                dependencies: edges(&package.dependencies),
            });
        }
        Ok(Self { root, target: metadata.target_directory.into_std_path_buf(), members })
    }

    /// The names of the guests: the playbooks.
    #[must_use]
    pub fn guests(&self) -> Vec<&str> {
        let guests = self.members.iter().filter(|member| member.folder.starts_with(PLAYBOOKS));
        guests.map(|member| member.name.as_str()).collect()
    }
}

fn edges(dependencies: &[cargo_metadata::Dependency]) -> Vec<Edge> {
    let edges: BTreeSet<Edge> = dependencies
        .iter()
        .map(|dependency| Edge {
            on: dependency.name.clone(),
            // cargo_metadata's enum is open; what it does not know yet is part of the build.
            kind: if dependency.kind == DependencyKind::Development { EdgeKind::Test } else { EdgeKind::Built },
        })
        .collect();
    edges.into_iter().collect()
}
