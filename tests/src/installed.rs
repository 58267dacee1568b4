//! The agent on a throw-away host, installed as the head of its unit in `deploy/systemd` says. Called by the tests that
//! boot hosts; it never starts a program of this machine as part of a host.

use crate::Host;
use crate::control_plane::{ControlPlane, TRUST_DOMAIN};
use crate::operator::{Operator, PUBLISHER};
use crate::programs;
use anyhow::Context as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::process;

/// The agent's unit.
pub const AGENT_UNIT: &str = "fettle-agent.service";

/// What a host's owner says of drills, and where the host belongs by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// A staging host on which faults may be injected.
    AllowsDrills,
    /// A production host.
    OfProduction,
}

/// What every host of a fleet is installed with.
#[derive(Debug)]
pub struct Installation<'a> {
    /// The control plane that it belongs to.
    pub control_plane: &'a ControlPlane,
    /// Who makes join tokens.
    pub operator: &'a Operator,
    /// The public key of the publisher that it trusts.
    pub publisher: &'a str,
    /// The agent.
    pub program: &'a Path,
    /// Where the tokens are kept.
    pub folder: &'a Path,
}

impl Installation<'_> {
    /// Installs the agent with these tables about services, and starts it.
    pub fn install(&self, host: &Host, owner: Owner, services: &str) -> anyhow::Result<()> {
        let (environment, drills) = match owner {
            Owner::AllowsDrills => ("staging", "drills = \"allowed\"\n"),
            Owner::OfProduction => ("production", ""),
        };
        let token_file = self.folder.join(format!("{}.token", host.name()));
        let token = self.operator.create_token(environment, &token_file)?;
        let addresses = self.control_plane.addresses()?;
        let config = format!(
            "[host]\nname = \"{}\"\nenvironment = \"{environment}\"\nstate-dir = \"/var/lib/fettle-agent\"\n{drills}\n\
             [control-plane]\naddress = \"{}\"\nenrol-address = \"{}\"\nca-pin = \"{}\"\n\
             trust-domain = \"{TRUST_DOMAIN}\"\njoin-token-file = \"/etc/fettle/join-token\"\n\n\
             [[publisher]]\nname = \"{PUBLISHER}\"\nkey = \"{}\"\n\n{services}",
            host.name(),
            addresses.agents,
            addresses.enrol,
            token.ca_pin,
            self.publisher,
        );
        host.copy_in(self.program, "/usr/local/bin/fettle-agent")?;
        host.copy_in(&token_file, "/etc/fettle/join-token")?;
        host.write("/etc/fettle/agent.toml", config, 0o600)?;
        let users = fs::read(programs::repository("deploy/systemd/fettle.sysusers.conf"))?;
        host.write("/etc/sysusers.d/fettle.conf", users, 0o644)?;
        host.run("systemd-sysusers", &[])?;
        let unit = fs::read_to_string(programs::repository("deploy/systemd/fettle-agent.service"))?;
        host.install_unit(AGENT_UNIT, &unit)?;
        host.systemctl("start", AGENT_UNIT)
    }
}

/// A copy without what only a debugger reads: a host's disk is memory.
pub fn stripped(program: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let copy = folder.join(program.file_name().context("a program has a name")?);
    process::output(Command::new("strip").arg("-o").arg(&copy).arg(program)).context("strip a program")?;
    Ok(copy)
}
