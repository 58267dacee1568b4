//! Whether throw-away hosts, and the OpenID provider's runtime, can be had here. Called at the beginning of every
//! test that wants one.

use anyhow::bail;
use std::path::Path;
use xtask::tools::{HostTests, SKIP_HOST_TESTS};

/// What booting a host uses.
const PROGRAMS: [&str; 5] = ["unshare", "nsenter", "mount", "ip", "systemd-nspawn"];

/// Runs a test that boots hosts; fails with what is missing when they cannot be had. Leaves the test
/// out, and says so, only when the environment asks for it.
pub fn on_hosts(test: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    match HostTests::from_environment() {
        HostTests::LeftOut => {
            eprintln!("left out, as {SKIP_HOST_TESTS}=1 asks");
            Ok(())
        }
        HostTests::Wanted => {
            require()?;
            test()
        }
    }
}

/// Fails with what is missing when no OpenID provider can be started here.
pub(crate) fn require_node() -> anyhow::Result<()> {
    let missing: Vec<_> = ["node", "npm"].into_iter().filter(|program| !in_search_path(program)).collect();
    if !missing.is_empty() {
        bail!("no OpenID provider here; missing the programs {}: install Node.js 20 or newer", missing.join(", "));
    }
    Ok(())
}

fn require() -> anyhow::Result<()> {
    let mut missing = Vec::new();
    if !cfg!(target_os = "linux") {
        missing.push("Linux".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        missing.push("root".to_owned());
    }
    missing.extend(
        PROGRAMS.iter().filter(|program| !in_search_path(program)).map(|program| format!("the program {program}")),
    );
    if !["/lib/systemd/systemd", "/usr/lib/systemd/systemd"].iter().any(|path| Path::new(path).exists()) {
        missing.push("systemd".to_owned());
    }
    if !missing.is_empty() {
        bail!("no throw-away hosts here; missing: {}. {SKIP_HOST_TESTS}=1 leaves these tests out", missing.join(", "));
    }
    Ok(())
}

fn in_search_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
