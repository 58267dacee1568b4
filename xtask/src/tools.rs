//! What the tests need on the machine: finds out what is missing, installs it where that is allowed
//! and says so, and names it with its remedy where it is not.

use crate::steps::Steps;
use crate::{guests, process};
use anyhow::{Context as _, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Set to `1` to leave out the tests that boot throw-away hosts, knowingly.
pub const SKIP_HOST_TESTS: &str = "FETTLE_SKIP_HOST_TESTS";
/// The test runner's version that is installed when there is none; it must compile with this toolchain.
const NEXTEST: &str = "0.9.143";

/// A program that comes with a Debian package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Program {
    /// Its name, or its absolute path when it is not meant to be in the search path.
    name: &'static str,
    /// The package that holds it.
    package: &'static str,
}

/// What every build needs.
const BUILD: &[Program] = &[Program { name: "cc", package: "gcc" }];

/// What the OpenID provider of the tests needs; Node.js of version 20 or newer.
const PROVIDER: &[Program] = &[Program { name: "node", package: "nodejs" }, Program { name: "npm", package: "npm" }];

/// What the throw-away hosts need.
const HOSTS: &[Program] = &[
    Program { name: "/lib/systemd/systemd", package: "systemd" },
    Program { name: "systemd-nspawn", package: "systemd-container" },
    Program { name: "dbus-daemon", package: "dbus" },
    Program { name: "nginx", package: "nginx-light" },
    Program { name: "ip", package: "iproute2" },
    Program { name: "nft", package: "nftables" },
    Program { name: "curl", package: "curl" },
    Program { name: "unshare", package: "util-linux" },
    Program { name: "nsenter", package: "util-linux" },
    Program { name: "mount", package: "mount" },
    Program { name: "strip", package: "binutils" },
];

/// Whether the tests on throw-away hosts are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostTests {
    /// They run; what they need must be there.
    Wanted,
    /// Somebody left them out.
    LeftOut,
}

impl HostTests {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        if std::env::var_os(SKIP_HOST_TESTS).is_some_and(|value| value == "1") { Self::LeftOut } else { Self::Wanted }
    }
}

/// Makes sure that everything is there.
pub fn ensure(steps: &Steps, hosts: HostTests) -> anyhow::Result<()> {
    let needed = match hosts {
        HostTests::Wanted => [BUILD, PROVIDER, HOSTS].concat(),
        HostTests::LeftOut => {
            steps.note(&format!("{SKIP_HOST_TESTS}=1: the tests on throw-away hosts are left out"));
            [BUILD, PROVIDER].concat()
        }
    };
    ensure_programs(steps, &missing(&needed))?;
    ensure_target(steps)?;
    ensure_nextest(steps)
}

/// Makes sure that everything is there which building takes: a C compiler and the playbooks' target.
pub fn ensure_for_building(steps: &Steps) -> anyhow::Result<()> {
    ensure_programs(steps, &missing(BUILD))?;
    ensure_target(steps)
}

fn missing(needed: &[Program]) -> Vec<Program> {
    needed.iter().copied().filter(|program| !is_there(program.name)).collect()
}

/// Whether a program is in the search path, or in the folders of the administrator that are often left out of it.
fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).any(|candidate| candidate.is_file())
}

fn ensure_programs(steps: &Steps, missing: &[Program]) -> anyhow::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    packages.dedup();
    let may_install = rustix::process::geteuid().is_root() && is_there("apt-get");
    if !may_install {
        bail!("{}", explain(missing, &packages));
    }
    steps.note(&format!("installing {} with apt-get", packages.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        // RUNLEVEL=1 keeps the packages' scripts from starting the services: only the test hosts do.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdin(Stdio::null());
        process::run(command.arg("--quiet").args(arguments))
    };
    apt(&["update"])?;
    apt(&[["install", "--yes", "--no-install-recommends"].as_slice(), &packages].concat())
}

fn explain(missing: &[Program], packages: &[&str]) -> String {
    let names: Vec<_> = missing.iter().map(|program| program.name).collect();
    format!(
        "missing: {}. Install the packages {} (as root on Debian or Ubuntu this command does it), or set \
         {SKIP_HOST_TESTS}=1 to leave out the tests that need throw-away hosts",
        names.join(", "),
        packages.join(" ")
    )
}

fn ensure_target(steps: &Steps) -> anyhow::Result<()> {
    let mut rustc = Command::new("rustc");
    let folder = process::output(rustc.args(["--print", "target-libdir", "--target", guests::TARGET]))?;
    if Path::new(folder.trim_end()).is_dir() {
        return Ok(());
    }
    if !is_there("rustup") {
        bail!("missing: the standard library for {}, and rustup to install it", guests::TARGET);
    }
    let active = process::output(Command::new("rustup").args(["show", "active-toolchain"]))?;
    let toolchain = active.split_whitespace().next().context("rustup names no active toolchain")?;
    steps.note(&format!("adding the target {} to {toolchain}", guests::TARGET));
    process::run(Command::new("rustup").args(["target", "add", guests::TARGET, "--toolchain", toolchain]))
}

fn ensure_nextest(steps: &Steps) -> anyhow::Result<()> {
    if is_there("cargo-nextest") {
        return Ok(());
    }
    steps.note(&format!("installing cargo-nextest {NEXTEST}: this takes some minutes, once"));
    let mut cargo = Command::new(env!("CARGO"));
    process::run(cargo.args(["install", "--locked", "cargo-nextest", "--version", NEXTEST]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        let absent = Program { name: "no-such-program-anywhere", package: "its-package" };
        let found = missing(&[Program { name: "sh", package: "dash" }, absent]);
        assert_eq!(found, [absent]);
        let text = explain(&found, &["its-package"]);
        assert!(
            text.contains("no-such-program-anywhere") && text.contains("its-package") && text.contains(SKIP_HOST_TESTS)
        );
    }
}
