//! The standard playbooks as the test command builds them, and built here when they are missing or old.

use fettle_sandbox::package::Package;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The standard playbooks.
pub(crate) const STANDARD: [&str; 3] = ["restart-service", "rollback-release", "disable-flag"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace")
}

/// The folder of a standard playbook.
pub(crate) fn folder(name: &str) -> PathBuf {
    root().join("playbooks").join(name)
}

/// The package of a standard playbook. `cargo xtask` leaves the components in `target/playbooks`.
pub(crate) fn package(name: &str) -> Package {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let components = target.join("playbooks");
    fs::create_dir_all(&components).expect("the target folder can be written");
    // Several test processes may want it at once.
    let lock = File::create(components.join(".lock")).expect("the target folder can be written");
    lock.lock().expect("the lock can be taken");
    let component = components.join(format!("{name}.wasm"));
    let built = fs::metadata(&component).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let sources = [root().join("wasm-sdk"), folder(name).join("src"), folder(name).join("Cargo.toml")];
    if sources.into_iter().any(|source| newest(&source) > built) {
        build(&target, name, &component);
    }
    let manifest = fs::read_to_string(folder(name).join("playbook.toml")).expect("a manifest");
    let component = fs::read(component).expect("it was built");
    Package::build(&component, &manifest).expect("a standard playbook is a valid package")
}

fn newest(path: &Path) -> SystemTime {
    let meta = fs::metadata(path).expect("sources can be read");
    if meta.is_file() {
        return meta.modified().expect("this system keeps times");
    }
    let entries = fs::read_dir(path).expect("sources can be read");
    entries.map(|entry| newest(&entry.expect("sources can be read").path())).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn build(target: &Path, name: &str, to: &Path) {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--offline", "--quiet", "--profile", "guest", "--target", "wasm32-wasip2"])
        .args(["--package", name])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let from = target.join("wasm32-wasip2/guest").join(format!("{}.wasm", name.replace('-', "_")));
    fs::copy(from, to).expect("cargo built it");
}
