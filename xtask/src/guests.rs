//! Builds the playbooks: components for the sandbox, one file each in `target/playbooks`.

use crate::process;
use crate::workspace::Workspace;
use anyhow::{Context as _, bail};
use std::path::PathBuf;
use std::process::Command;

/// What the playbooks are compiled for.
pub const TARGET: &str = "wasm32-wasip2";
/// The profile in the root manifest: small and reproducible.
const PROFILE: &str = "guest";

/// The components that were built before, whatever has changed since.
pub fn built_before(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let folder = workspace.target.join("playbooks");
    let components: Vec<_> = workspace.guests().iter().map(|guest| folder.join(format!("{guest}.wasm"))).collect();
    if let Some(missing) = components.iter().find(|component| !component.is_file()) {
        bail!("{} was not built yet", missing.display());
    }
    Ok(components)
}

/// Compiles every playbook and copies the components to `target/playbooks/<name>.wasm`. Returns their paths.
pub fn build(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    let guests = workspace.guests();
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(&workspace.root).args(["build", "--locked", "--profile", PROFILE, "--target", TARGET]);
    for guest in &guests {
        command.args(["--package", guest]);
    }
    process::run(&mut command)?;
    let built = workspace.target.join(TARGET).join(PROFILE);
    let folder = workspace.target.join("playbooks");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let mut components = Vec::new();
    for guest in guests {
        let from = built.join(format!("{}.wasm", guest.replace('-', "_")));
        let to = folder.join(format!("{guest}.wasm"));
        std::fs::copy(&from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
        components.push(to);
    }
    Ok(components)
}
