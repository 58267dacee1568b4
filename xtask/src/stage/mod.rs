//! A whole installation on this machine: a control plane and some hosts with their agents, on loopback,
//! in one scratch folder. The demo and the bench play on it.
//!
//! Everything is done as a person would do it: the shipped programs, the command line, files. What was
//! started is ended when the value is dropped, and is listed in a file meanwhile ([`ledger`]), so that the
//! next command can end it when this one was killed.

pub mod answers;
mod host;
pub mod ledger;
mod operator;
pub mod page;
mod template;

pub use host::{Host, HostPlan};
pub use operator::Operator;

use crate::process::{self, Group, wait_until, wait_until_every};
use crate::programs::Programs;
use anyhow::{Context as _, bail};
use ledger::Ledger;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The installation's trust domain.
pub const TRUST_DOMAIN: &str = "demo.fettle.test";
/// The first operator.
const PERSON: &str = "alice";
/// Who signs the playbooks.
pub const PUBLISHER: &str = "fettle";

/// How long the control plane may take to open its ports: it takes well under a second.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long all agents may take to enrol and connect, and their checks to pass: about two seconds, and
/// a busy machine ten times that.
const READY_PATIENCE: Duration = Duration::from_mins(1);
/// How long a process may take to end in order.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions to the control plane: each starts a process and a TLS connection, some 20 ms
/// in a development build.
pub const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// The installation.
#[derive(Debug)]
pub struct Stage {
    programs: Programs,
    folder: PathBuf,
    group: Group,
    ledger: Ledger,
    operator: Operator,
    ports: Ports,
    /// The public half, for the hosts' configuration.
    publisher_key: String,
    hosts: Vec<Host>,
}

/// Where agents find the control plane; operators have it in their profile.
#[derive(Debug, Clone, Copy)]
struct Ports {
    agents: SocketAddr,
    enrol: SocketAddr,
}

impl Stage {
    /// Empties the folder, after ending what an earlier stage may have left running there, and makes the
    /// control plane's state in it.
    pub fn open(programs: Programs, folder: &Path) -> anyhow::Result<Self> {
        ledger::end(&ledger_of(folder)).context("end what an earlier run left")?;
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("empty {}", folder.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let group = Group::new(&folder.join("logs"))?;
        // Agents refuse folders with a symbolic link on the way.
        let folder = folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?;
        let [agents, enrol, operators] = free_addresses()?;
        let ports = Ports { agents, enrol };
        let state = folder.join("controlplane");
        process::output(Command::new(programs.controlplane()).arg("init").arg("--state").arg(&state).args([
            "--trust-domain",
            TRUST_DOMAIN,
            "--operator",
            PERSON,
            "--agents",
            &agents.to_string(),
            "--enrol",
            &enrol.to_string(),
            "--operators",
            &operators.to_string(),
        ]))?;
        let operator = Operator::new(programs.cli(), state.join("operator"), folder.join("logs"));
        let ledger = Ledger::new(ledger_of(&folder));
        Ok(Self { programs, folder, group, ledger, operator, ports, publisher_key: String::new(), hosts: Vec::new() })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// The operator's command line.
    #[must_use]
    pub const fn operator(&self) -> &Operator {
        &self.operator
    }

    /// A host by name.
    pub fn host(&self, name: &str) -> anyhow::Result<&Host> {
        self.hosts.iter().find(|host| host.name() == name).with_context(|| format!("no host {name}"))
    }

    /// Process id of a host's agent: its effector.
    pub fn agent_id(&mut self, host: &str) -> anyhow::Result<u32> {
        let child = self.group.get(&format!("agent-{host}")).with_context(|| format!("no agent on {host}"))?;
        Ok(child.id())
    }

    /// Process id of the control plane.
    pub fn controlplane_id(&mut self) -> anyhow::Result<u32> {
        Ok(self.group.get("controlplane").context("no control plane")?.id())
    }

    /// Starts the control plane and waits until its ports are open.
    pub fn start_controlplane(&mut self) -> anyhow::Result<()> {
        let state = self.folder.join("controlplane");
        let mut command = Command::new(self.programs.controlplane());
        command.arg("run").arg("--state").arg(&state).process_group(0);
        let child = self.group.spawn("controlplane", &mut command)?;
        self.ledger.note(child.name(), child.id())?;
        let listening = state.join("listening.json");
        child.wait_until("the control plane listens", START_PATIENCE, || Ok(listening.is_file().then_some(())))
    }

    /// Makes a publisher's key, packs the components with their manifests, trusts the publisher, and publishes with
    /// their scenarios.
    pub fn publish(&mut self, sources: &Path, components: &[PathBuf]) -> anyhow::Result<()> {
        let text = |path: &Path| path.display().to_string();
        let key = text(&self.folder.join("publisher.key"));
        let made = self.operator.json(&["playbook", "keygen", "--out", &key])?;
        let public = answers::text(&made, "public_key")?;
        self.operator.run(&["publisher", "trust", PUBLISHER, &public])?;
        self.publisher_key = public;
        let packages = self.folder.join("packages");
        std::fs::create_dir_all(&packages)?;
        for component in components {
            let name = component.file_stem().context("a component without a name")?.to_string_lossy().into_owned();
            let playbook = sources.join("playbooks").join(&name);
            let (manifest, scenarios) = (playbook.join("playbook.toml"), text(&playbook.join("scenarios")));
            let package = packages.join(format!("{name}.fettle"));
            let (component, manifest) = (text(component), text(&manifest));
            let package = text(&package);
            self.operator.run(&[
                "playbook",
                "pack",
                "--component",
                &component,
                "--manifest",
                &manifest,
                "--out",
                &package,
            ])?;
            self.operator.run(&[
                "playbook",
                "publish",
                "--package",
                &package,
                "--key",
                &key,
                "--publisher",
                PUBLISHER,
                "--scenarios",
                &scenarios,
            ])?;
        }
        Ok(())
    }

    /// Replaces the configuration by what these files say.
    pub fn apply(&self, files: &[PathBuf]) -> anyhow::Result<()> {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let mut arguments = vec!["apply"];
        arguments.extend(files.iter().map(String::as_str));
        self.operator.run(&arguments)
    }

    /// Adds a host: its service with releases and flag, a join token, its configuration, its agent.
    pub fn add_host(&mut self, plan: &HostPlan, template: &str) -> anyhow::Result<()> {
        let [listen] = free_addresses()?;
        let host = Host::lay_out(plan, &self.folder.join(plan.name), self.programs.service(), listen)?;
        let token = host.folder().join("join-token");
        let created = self.operator.json(&[
            "token",
            "create",
            "--environment",
            plan.environment,
            "--host",
            plan.name,
            "--out",
            &token.display().to_string(),
        ])?;
        let ca_pin = answers::text(&created, "ca_pin")?;
        let (agents, enrol) = (self.ports.agents.to_string(), self.ports.enrol.to_string());
        let configuration = host.configure(
            template,
            &[
                ("AGENTS", &agents),
                ("ENROL", &enrol),
                ("CA_PIN", &ca_pin),
                ("TRUST_DOMAIN", TRUST_DOMAIN),
                ("PUBLISHER", PUBLISHER),
                ("PUBLISHER_KEY", &self.publisher_key),
            ],
        )?;
        self.ledger.note_service(host.command("stop"))?;
        host.run("start")?;
        let mut command = Command::new(self.programs.agent());
        // Accounts of their own for its parts would have to be made on this machine first.
        command.arg("run").arg("--same-user").arg("--config").arg(configuration).process_group(0);
        let child = self.group.spawn(&format!("agent-{}", plan.name), &mut command)?;
        self.ledger.note(child.name(), child.id())?;
        self.hosts.push(host);
        Ok(())
    }

    /// Waits until every agent has a session and every check of every host passes.
    pub fn wait_until_healthy(&mut self) -> anyhow::Result<()> {
        let operator = self.operator.clone();
        let names: Vec<String> = self.hosts.iter().map(|host| host.name().to_owned()).collect();
        self.watch("all agents are connected and all checks pass", READY_PATIENCE, || {
            let hosts = answers::hosts(&operator)?;
            let connected =
                |name: &String| hosts.iter().any(|host| &host.name == name && host.connection.is_connected());
            if !names.iter().all(connected) {
                return Ok(None);
            }
            let checks = answers::checks(&operator)?;
            let healthy = |name: &String| {
                let mut of_host = checks.iter().filter(|check| &check.host == name).peekable();
                of_host.peek().is_some() && of_host.all(answers::CheckRow::passes)
            };
            Ok(names.iter().all(healthy).then_some(()))
        })
    }

    /// Waits for a condition that the control plane tells; fails at once when one of the processes ends.
    pub fn watch<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let group = &mut self.group;
        wait_until_every(ASK_INTERVAL, what, patience, || {
            let ended = group.report();
            if !ended.is_empty() {
                bail!("{ended}");
            }
            look()
        })
    }

    /// Runs one of a playbook's drills on a staging host and waits for its proof.
    pub fn drill(&self, playbook: &str, host: &str, remediation: &str) -> anyhow::Result<()> {
        self.operator.run(&["playbook", "drill", playbook, "--host", host, "--remediation", remediation, "--wait"])
    }

    /// Ends everything, the services last: their agents would heal them.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut first = self.group.stop(STOP_PATIENCE);
        for host in self.hosts.drain(..) {
            first = first.and(host.run("stop"));
        }
        self.ledger.forget();
        first
    }

    /// Leaves everything running; [`end_kept`] ends it.
    pub fn keep(mut self) -> anyhow::Result<()> {
        let nothing = Group::new(&self.logs())?;
        std::mem::replace(&mut self.group, nothing).leave();
        self.hosts.clear();
        self.ledger.keep();
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("not everything was ended: {error:#}");
        }
    }
}

/// Ends what a kept or killed stage left running in this folder. Says how many processes that were.
pub fn end_kept(folder: &Path) -> anyhow::Result<usize> {
    ledger::end(&ledger_of(folder))
}

fn ledger_of(folder: &Path) -> PathBuf {
    folder.join("running.json")
}

/// Addresses on loopback that are free now. They stay so long enough: nobody else asks for them by number.
fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut held = Vec::new();
    for _ in 0..N {
        held.push(TcpListener::bind("127.0.0.1:0").context("find a free port")?);
    }
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for (address, listener) in addresses.iter_mut().zip(&held) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}

/// Waits until a page answers with a status code; the bound is the caller's.
pub fn wait_for_page(address: SocketAddr, path: &str, status: u16, patience: Duration) -> anyhow::Result<()> {
    let what = format!("http://{address}{path} answers {status}");
    wait_until(&what, patience, || Ok((page::status(address, path) == Some(status)).then_some(())))
}
