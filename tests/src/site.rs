//! A whole installation on loopback: a control plane, its first operator, hosts with an agent and demo
//! services each, published playbooks, a configuration, and evidence by drill.
//!
//! [`Site::test`] builds one and runs a test on it; when that fails, the failure carries the logs.
//! Everything ends with the site, whatever happens.

use crate::agent::Agent;
use crate::control_plane::{ControlPlane, Hold, Pulse, TRUST_DOMAIN};
use crate::log::Log;
use crate::operator::{Operator, PUBLISHER, Said};
use crate::programs::{self, Place};
use crate::remedy::{Pace, Remedy};
use crate::shop::{FLAG, Shop};
use anyhow::{Context as _, bail, ensure};
use fettle_model::check::Status;
use fettle_model::id::RunId;
use fettle_model::run::Ending;
use fettle_proto::operator::{Connection, RunRow, RunState};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use xtask::process;

/// How long anything may take that is waited for: a run takes some 2 s, on a busy machine ten times that;
/// an agent may ask again after 15 s, and wait 30 s for the lease of a lost permit.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// The staging host, on which drills run.
pub const STAGING: &str = "staging-1";

/// What a site is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// What can break on each host, and what mends it.
    pub remedies: &'a [Remedy],
    /// The production hosts, besides the one staging host.
    pub production: &'a [&'a str],
    /// How patient the playbooks are.
    pub pace: Pace,
    /// The guard of every remediation, as TOML.
    pub guard: &'a str,
}

/// A guard under which one failure after the other can be caused and healed.
pub const LOOSE: &str = concat!(
    r#"{ min-healthy = 0, max-attempts = 1000, cooldown = "1ms", healthy-for = "1ms", max-failures = 1000, "#,
    "max-per-window = 1000, max-irreversible = 1000 }"
);

/// The tests break one host after the other, in fleets so small that the second would be a storm. Stands last, so that the
/// services keep their lines.
const BREAKERS: &str = "[breakers]\nstorm = \"100%\"\n\n";

/// One host of a site.
#[derive(Debug)]
pub struct SiteHost {
    name: String,
    /// Its agent.
    pub agent: Agent,
    shops: Vec<(Remedy, Shop)>,
}

impl SiteHost {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The demo service that this remedy mends.
    pub fn shop(&self, remedy: Remedy) -> anyhow::Result<&Shop> {
        let found = self.shops.iter().find(|(of, _)| *of == remedy);
        found.map(|(_, shop)| shop).with_context(|| format!("{} has no {}", self.name, remedy.service()))
    }
}

/// An installation.
#[derive(Debug)]
pub struct Site {
    // Dropped in this order: agents first, so that nothing heals what is being taken down.
    hosts: Vec<SiteHost>,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The first operator.
    pub operator: Operator,
    publisher_key: String,
    folder: TempDir,
}

impl Site {
    /// Builds a site and runs a test on it.
    pub fn test(plan: &Plan<'_>, test: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        Self::test_bare(|site| {
            let began = Instant::now();
            site.build(plan)?;
            eprintln!("the site stood after {:?}", began.elapsed());
            test(site)
        })
    }

    /// Runs a test on a control plane with its first operator and nothing else.
    pub fn test_bare(test: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut site = Self::bare()?;
        let done = test(&mut site);
        eprintln!("the test took {:?}", began.elapsed());
        done.map_err(|error| error.context(site.report()))
    }

    fn bare() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        // The agents' own users must get to their folders in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let mut control_plane = ControlPlane::init(&Place::Loopback, folder.path(), programs::own_address())?;
        control_plane.start(Hold::Never)?;
        let operator = Operator::new(&control_plane, &control_plane.profile());
        Ok(Self { hosts: Vec::new(), control_plane, operator, publisher_key: String::new(), folder })
    }

    /// A path in its folder.
    #[must_use]
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// A host by its name.
    pub fn host(&mut self, name: &str) -> anyhow::Result<&mut SiteHost> {
        let found = self.hosts.iter_mut().find(|host| host.name == name);
        found.with_context(|| format!("there is no host {name}"))
    }

    fn build(&mut self, plan: &Plan<'_>) -> anyhow::Result<()> {
        self.make_publisher()?;
        for remedy in plan.remedies {
            self.publish(*remedy, plan.pace)?;
        }
        for name in [&[STAGING], plan.production].concat() {
            self.add_host(name, plan.remedies)?;
        }
        self.wait_until_connected()?;
        let choices: Vec<_> = plan.remedies.iter().map(|remedy| (*remedy, remedy.playbook())).collect();
        self.configure(&choices, plan.guard)?;
        for remedy in plan.remedies {
            self.drill(*remedy, remedy.playbook())?;
        }
        Ok(())
    }

    /// Waits until every agent has a session.
    pub fn wait_until_connected(&mut self) -> anyhow::Result<()> {
        self.wait("every agent is connected", PATIENCE, |site| {
            let connected = site.operator.hosts()?.iter().filter(|row| row.connection == Connection::Connected).count();
            Ok((connected == site.hosts.len()).then_some(()))
        })
    }

    /// Applies a configuration: the services of these remedies, each mended by this playbook.
    pub fn configure(&self, choices: &[(Remedy, &str)], guard: &str) -> anyhow::Result<()> {
        let (services, remediations) = (self.path("services.toml"), self.path("remediations.toml"));
        let service_text: String = choices.iter().map(|(remedy, _)| remedy.service_toml()).collect();
        let service_text = service_text + BREAKERS;
        // What is applied over something is to be there as soon as hosts hold it.
        let service_text = service_text + "[rollout]\nsoak = \"0s\"\n";
        let remediation_text: String =
            choices.iter().map(|(remedy, playbook)| remedy.remediation_toml(playbook, guard)).collect();
        fs::write(&services, service_text).context("write the services")?;
        fs::write(&remediations, remediation_text).context("write the remediations")?;
        self.operator.apply(&[&services, &remediations])
    }

    /// Makes the publisher's key and has the control plane trust it.
    pub fn make_publisher(&mut self) -> anyhow::Result<()> {
        self.publisher_key = self.operator.make_publisher(&self.path("publisher.key"))?;
        Ok(())
    }

    /// Packs a remedy's playbook and publishes it with its scenarios.
    pub fn publish(&self, remedy: Remedy, pace: Pace) -> anyhow::Result<()> {
        let package = remedy.pack(&self.operator, pace, self.folder.path())?;
        let said = Said::ByRunning { scenarios: &remedy.scenarios() };
        self.operator.publish(&package, said, &self.path("publisher.key"))
    }

    /// Enrols a host with its services and starts its agent.
    pub fn add_host(&mut self, name: &str, remedies: &[Remedy]) -> anyhow::Result<()> {
        let folder = self.path(name);
        fs::create_dir(&folder).context("make a host's folder")?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))?;
        let mut shops = Vec::new();
        for remedy in remedies {
            let root = folder.join(remedy.service());
            fs::create_dir(&root).context("make a service's folder")?;
            shops.push((*remedy, Shop::open(&root)?));
        }
        let config = self.agent_toml(name, &folder, &shops)?;
        let mut agent = Agent::configure(name, &folder, &config)?;
        agent.start()?;
        self.hosts.push(SiteHost { name: name.to_owned(), agent, shops });
        Ok(())
    }

    fn agent_toml(&self, name: &str, folder: &Path, shops: &[(Remedy, Shop)]) -> anyhow::Result<String> {
        let (environment, drills) =
            if name == STAGING { ("staging", "drills = \"allowed\"\n") } else { ("production", "") };
        let token_file = folder.join("join-token");
        let token = self.operator.create_token(environment, &token_file)?;
        let addresses = self.control_plane.addresses()?;
        let mut text = format!(
            "[host]\nname = \"{name}\"\nenvironment = \"{environment}\"\nstate-dir = \"{}\"\n{drills}\n\
             [control-plane]\naddress = \"{}\"\nenrol-address = \"{}\"\nca-pin = \"{}\"\n\
             trust-domain = \"{TRUST_DOMAIN}\"\njoin-token-file = \"{}\"\n\n\
             [[publisher]]\nname = \"{PUBLISHER}\"\nkey = \"{}\"\n",
            folder.join("state").display(),
            addresses.agents,
            addresses.enrol,
            token.ca_pin,
            token_file.display(),
            self.publisher_key,
        );
        for (remedy, shop) in shops {
            let service = remedy.service();
            write!(
                text,
                "\n[service.{service}]\nmanager = \"command\"\nstart = [\"{}\"]\nstop = [\"{}\"]\n\
                 reload = [\"{}\"]\nstatus = [\"{}\"]\n\
                 pid-file = \"{}\"\nreleases = {{ root = \"{}\" }}\n\n\
                 [service.{service}.flags.{FLAG}]\nfile = \"{}\"\nkey = \"{FLAG}\"\n\n\
                 [service.{service}.host-values]\naddress = \"{}\"\n\n\
                 [ceiling.{service}]\nactions = [\"restart\", \"reload\", \"activate\", \"set\"]\n",
                shop.file("start"),
                shop.file("stop"),
                shop.file("reload"),
                shop.file("status"),
                shop.file("service.pid"),
                shop.root().display(),
                shop.file("flags.json"),
                shop.address(),
            )?;
        }
        Ok(text)
    }

    /// Earns evidence for a playbook by a drill on the staging host.
    pub fn drill(&self, remedy: Remedy, playbook: &str) -> anyhow::Result<()> {
        self.operator.drill(playbook, STAGING, &remedy.remediation())
    }

    /// Waits for a condition on what the control plane shows: looks again when something was appended.
    pub fn wait<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&mut Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let mut pulse = Pulse::default();
        process::wait_until(what, patience, || {
            if !pulse.beats(&self.control_plane)? {
                return Ok(None);
            }
            for host in &mut self.hosts {
                host.agent.must_run()?;
            }
            look(self)
        })
    }

    /// The ids of all runs so far.
    pub fn run_ids(&self) -> anyhow::Result<BTreeSet<RunId>> {
        Ok(self.operator.runs()?.into_iter().map(|row| row.run).collect())
    }

    /// Waits until a run on this host that was not there before has ended, and returns it.
    pub fn wait_for_run(&mut self, host: &str, before: &BTreeSet<RunId>) -> anyhow::Result<(RunRow, Ending)> {
        self.wait(&format!("a run on {host} ends"), PATIENCE, |site| {
            let ended = site.operator.runs()?.into_iter().filter(|row| row.host.as_str() == host).find_map(|row| {
                match row.state {
                    RunState::Ended { ending, .. } if !before.contains(&row.run) => Some((row, ending)),
                    RunState::Ended { .. }
                    | RunState::InFlight
                    | RunState::Rejected { .. }
                    | RunState::Unresolved
                    | RunState::Returned { .. }
                    | RunState::Expired { .. } => None,
                }
            });
            Ok(ended)
        })
    }

    /// Waits until the control plane knows this status of a remedy's check.
    pub fn wait_for_status(&mut self, host: &str, remedy: Remedy, wanted: Status) -> anyhow::Result<()> {
        let what = format!("{} on {host} is {}", remedy.check(), wanted.as_str());
        self.wait(&what, PATIENCE, |site| Ok((site.operator.status(host, remedy)? == Some(wanted)).then_some(())))
    }

    /// Whether nothing is wrong: no run in progress, and every check passes.
    pub fn is_quiet(&self) -> anyhow::Result<bool> {
        let busy = self.operator.hosts()?.iter().any(|row| row.running.is_some());
        let checks: Vec<_> = self.operator.services()?.into_iter().flat_map(|row| row.checks).collect();
        Ok(!busy && checks.iter().all(|check| check.status == Some(Status::Passing)))
    }

    /// Whether a run that was not there before has succeeded, and nothing is wrong.
    pub fn is_mended_since(&self, before: &BTreeSet<RunId>) -> anyhow::Result<bool> {
        let succeeded = |row: &RunRow| {
            !before.contains(&row.run) && matches!(row.state, RunState::Ended { ending: Ending::Succeeded, .. })
        };
        Ok(self.operator.runs()?.iter().any(succeeded) && self.is_quiet()?)
    }

    /// Waits until nothing is wrong. A breaker that failures of the test's own making opened is closed
    /// by hand, and the host is asked to try again, as a person would do it.
    pub fn wait_until_quiet_resuming(&mut self, host: &str, remedy: Remedy) -> anyhow::Result<()> {
        self.wait("nothing is wrong any more", PATIENCE, |site| {
            if site.is_quiet()? {
                return Ok(Some(()));
            }
            if site.close_breakers()? > 0 {
                site.operator.done(&["run", "start", host, &remedy.check_ref()])?;
            }
            Ok(None)
        })?;
        self.close_breakers().map(drop)
    }

    /// Closes every breaker by hand; says how many were open.
    fn close_breakers(&self) -> anyhow::Result<usize> {
        let breakers = self.operator.breakers()?;
        for breaker in &breakers {
            let scope = breaker.scope.to_string();
            self.operator.done(&["resume", &scope, "--why", "these failures were the test's"])?;
        }
        Ok(breakers.len())
    }

    /// Exports the log, has the command line verify it, and reads it.
    pub fn verified_log(&self) -> anyhow::Result<Log> {
        let (bundle, policy) = self.export()?;
        let output = self.operator.run(&[
            "log",
            "verify",
            &bundle.display().to_string(),
            "--policy",
            &policy.display().to_string(),
        ])?;
        if !output.status.success() {
            let (said, more) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            bail!("the log does not verify: {}: {said}{more}", output.status);
        }
        Log::read(&bundle)
    }

    /// Exports the log and the policy under which it is verified.
    pub fn export(&self) -> anyhow::Result<(std::path::PathBuf, std::path::PathBuf)> {
        let (bundle, policy) = (self.path("log.bundle"), self.path("log.policy"));
        for path in [&bundle, &policy] {
            if path.exists() {
                fs::remove_file(path).context("remove an earlier export")?;
            }
        }
        self.operator.export(&bundle, &policy)?;
        ensure!(bundle.exists() && policy.exists(), "both files are there");
        Ok((bundle, policy))
    }

    /// The logs of everything, for a failure.
    fn report(&self) -> String {
        let mut text = format!("on this site:\n--- control plane\n{}\n", self.control_plane.report());
        for host in &self.hosts {
            let log = host.agent.log().unwrap_or_else(|error| format!("{error:#}"));
            text.push_str(&format!("--- agent of {}\n{log}\n", host.name));
        }
        text
    }
}
