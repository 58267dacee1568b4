//! The programs that are shipped, and the demo's service: builds them and says where they are.
//! Used by the demo and the bench.

use crate::process;
use crate::workspace::Workspace;
use anyhow::ensure;
use std::path::PathBuf;
use std::process::Command;

/// How they are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Quickly, for trying things out; shares every compiled dependency with the tests.
    Dev,
    /// As they are shipped.
    Release,
}

/// The packages whose programs are shipped, the demo's service, and the bench's load.
const PACKAGES: [&str; 5] = ["fettle-controlplane", "fettle-agent", "fettle-cli", "fettle-demo-service", "fettle-load"];

/// The package of the governor's bench, which needs none of the others.
const GOVERNOR: [&str; 1] = ["fettle-governor-bench"];

/// Where the built programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those that were built before, whatever has changed since.
    pub fn built_before(workspace: &Workspace, build: Build) -> anyhow::Result<Self> {
        let programs = Self::in_folder(workspace, build);
        for program in [programs.controlplane(), programs.agent(), programs.cli(), programs.service()] {
            ensure!(program.is_file(), "{} was not built yet", program.display());
        }
        Ok(programs)
    }

    fn in_folder(workspace: &Workspace, build: Build) -> Self {
        let folder = match build {
            Build::Dev => "debug",
            Build::Release => "release",
        };
        Self { folder: workspace.target.join(folder) }
    }

    /// Builds them; cargo shows its progress.
    pub fn build(workspace: &Workspace, build: Build) -> anyhow::Result<Self> {
        match build {
            Build::Dev => {
                // One integration test among the targets makes cargo resolve the same features as a
                // build of all tests does, so that neither command compiles what the other one needs
                // otherwise. This one takes a second.
                let mut command = crate::test::on_hosts(workspace, &["build", "--bins", "--test", "service"]);
                process::run(command.arg("--locked"))?;
            }
            Build::Release => release(workspace, &PACKAGES)?,
        }
        Ok(Self::in_folder(workspace, build))
    }

    /// Builds the governor's bench as what it measures is shipped.
    pub fn build_governor(workspace: &Workspace) -> anyhow::Result<Self> {
        release(workspace, &GOVERNOR)?;
        Ok(Self::in_folder(workspace, Build::Release))
    }

    /// The governor's bench that was built before, whatever has changed since.
    pub fn governor_built_before(workspace: &Workspace) -> anyhow::Result<Self> {
        let programs = Self::in_folder(workspace, Build::Release);
        ensure!(programs.governor().is_file(), "{} was not built yet", programs.governor().display());
        Ok(programs)
    }

    /// The control plane.
    #[must_use]
    pub fn controlplane(&self) -> PathBuf {
        self.folder.join("fettle-controlplane")
    }

    /// The agent.
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.folder.join("fettle-agent")
    }

    /// The operator's command line.
    #[must_use]
    pub fn cli(&self) -> PathBuf {
        self.folder.join("fettle")
    }

    /// The demo's service.
    #[must_use]
    pub fn service(&self) -> PathBuf {
        self.folder.join("fettle-demo-service")
    }

    /// The load that the bench puts on the log.
    #[must_use]
    pub fn load(&self) -> PathBuf {
        self.folder.join("fettle-load")
    }

    /// The load that the bench puts on core, leader and gateway.
    #[must_use]
    pub fn governor(&self) -> PathBuf {
        self.folder.join("fettle-governor-bench")
    }
}

fn release(workspace: &Workspace, packages: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(&workspace.root).args(["build", "--release", "--bins", "--locked"]);
    for package in packages {
        command.args(["--package", package]);
    }
    process::run(&mut command)
}
