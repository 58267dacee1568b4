//! The programs under test, and where they run. Called by the fixtures.
//!
//! The programs are those that were built beside the test: `cargo xtask test` builds them first, with
//! the hold points that the crash tests need. Nothing is built here.

use crate::Network;
use anyhow::{Context as _, bail};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

/// The agent.
pub const AGENT: &str = "fettle-agent";
/// The control plane.
pub const CONTROL_PLANE: &str = "fettle-controlplane";
/// The command line.
pub const CLI: &str = "fettle";
/// The small HTTP service that is broken and healed.
pub const DEMO_SERVICE: &str = "fettle-demo-service";

/// Where a built program is.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let path = built()?.join(name);
    if !path.is_file() {
        bail!("{} is not built; `cargo xtask test` builds it", path.display());
    }
    Ok(path)
}

/// A standard playbook's component.
pub fn component(playbook: &str) -> anyhow::Result<PathBuf> {
    let path = target()?.join("playbooks").join(format!("{playbook}.wasm"));
    if !path.is_file() {
        bail!("{} is not built; `cargo xtask test` builds it", path.display());
    }
    Ok(path)
}

/// A file of the repository.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The target folder.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    Ok(built()?.parent().context("the programs are in a folder of the target folder")?.to_owned())
}

/// The folder of the profile: the test itself is in `deps` below it.
fn built() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("find the test's own program")?;
    let folder = test.parent().and_then(Path::parent).context("the test is in a target folder")?;
    Ok(folder.to_owned())
}

/// Where the programs of an installation run.
#[derive(Debug, Clone)]
pub enum Place {
    /// On this machine's loopback.
    Loopback,
    /// In a network of throw-away hosts.
    Network(Network),
}

impl Place {
    /// A command there, with a small environment of its own.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let name = program.display().to_string();
        match self {
            Self::Loopback => crate::chassis::clean(&name),
            Self::Network(network) => {
                let mut command = network.command(&name);
                command.stdin(Stdio::null());
                command
            }
        }
    }
}

/// A loopback address that no other live process of this machine's tests uses: the 22 bits of a
/// process id fit into 127.64.0.0/10. Ports on it may be fixed, so that a program that was killed
/// comes back under its old address.
#[must_use]
pub fn own_address() -> Ipv4Addr {
    let [_, second, third, fourth] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (second & 0x3f), third, fourth)
}

/// The next port of [`own_address`]; below those that the system hands out.
pub fn own_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
