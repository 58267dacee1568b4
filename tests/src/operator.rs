//! A person at the command line: runs the real `fettle` with `--json` and reads what it prints.

use crate::control_plane::{Beat, ControlPlane};
use crate::programs::{self, Place};
use crate::remedy::Remedy;
use anyhow::{Context as _, bail, ensure};
use fettle_model::check::Status;
use fettle_model::evidence::DrillResult;
use fettle_model::id::RunId;
use fettle_proto::operator::{
    BreakerRow, CommandReply, DrillView, HostRow, PlaybookRow, ProposalView, QueryReply, RunDetail, RunRow, ServiceRow,
    WhyCheck,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::Duration;
use xtask::process::wait_until;

/// The publisher of every test.
pub const PUBLISHER: &str = "e2e";

/// What is told of a join token; the secret is in its file.
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    /// The pin of the control plane's root key.
    pub ca_pin: String,
}

#[derive(Deserialize)]
struct Key {
    public_key: String,
}

#[derive(Deserialize)]
struct Standing {
    breakers: Vec<BreakerRow>,
}

/// How long one command may take: a drill some seconds, on a busy machine ten times that.
const PATIENCE: Duration = Duration::from_secs(120);

/// A person with a profile.
#[derive(Debug, Clone)]
pub struct Operator {
    place: Place,
    profile: PathBuf,
    beat: Beat,
}

/// How whoever publishes comes to what they say of a playbook's scenarios.
#[derive(Debug, Clone, Copy)]
pub enum Said<'a> {
    /// By running them.
    ByRunning {
        /// Their folder.
        scenarios: &'a Path,
    },
    /// From a report that was written before.
    Reported {
        /// Its file.
        report: &'a Path,
    },
}

impl Operator {
    /// The person whose profile is in this folder, towards this control plane.
    #[must_use]
    pub fn new(control_plane: &ControlPlane, profile: &Path) -> Self {
        Self { place: control_plane.place().clone(), profile: profile.to_owned(), beat: control_plane.beat() }
    }

    /// `fettle` with these arguments, whatever comes of it.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.command(arguments)?;
        let what = || format!("fettle {}", arguments.join(" "));
        let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut process = command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn().with_context(what)?;
        let ended = wait_until("it ends", PATIENCE, || {
            // A control plane that holds itself answers nobody.
            ensure!(!self.beat.is_held()?, "the control plane is held");
            Ok(process.try_wait()?)
        });
        let ended = ended.with_context(what);
        if ended.is_err() {
            process.kill().with_context(what)?;
            process.wait().with_context(what)?;
        }
        let status = ended?;
        Ok(Output { status, stdout: contents(&mut stdout)?, stderr: contents(&mut stderr)? })
    }

    /// `fettle --json` with these arguments; what it printed. Any other end than success is an error.
    pub fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> anyhow::Result<T> {
        let arguments = [&["--json"], arguments].concat();
        let output = self.run(&arguments)?;
        if !output.status.success() {
            let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            bail!("fettle {} ended with {}: {}{}", arguments.join(" "), output.status, printed, said.trim_end());
        }
        serde_json::from_slice(&output.stdout).with_context(|| {
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            format!("fettle {} printed something else: {printed}", arguments.join(" "))
        })
    }

    /// What `fettle` says on standard error when it refuses these arguments, and its exit code.
    pub fn refused(&self, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
        let output = self.run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(code) if code != 0 => Ok((code, said)),
            Some(_) | None => {
                bail!("fettle {} was to be refused, and ended with {}: {said}", arguments.join(" "), output.status)
            }
        }
    }

    /// All hosts.
    pub fn hosts(&self) -> anyhow::Result<Vec<HostRow>> {
        let QueryReply::Hosts { hosts } = self.json(&["host", "list"])? else {
            bail!("hosts were asked for: fettle answered something else")
        };
        Ok(hosts)
    }

    /// All services with the health of their checks.
    pub fn services(&self) -> anyhow::Result<Vec<ServiceRow>> {
        let QueryReply::Services { services } = self.json(&["service", "list"])? else {
            bail!("services were asked for: fettle answered something else")
        };
        Ok(services)
    }

    /// The status of a remedy's check on a host; `None` when it never reported.
    pub fn status(&self, host: &str, remedy: Remedy) -> anyhow::Result<Option<Status>> {
        let services = self.services()?;
        let checks = services.iter().filter(|row| row.service.as_str() == remedy.service()).flat_map(|row| &row.checks);
        let mut found = checks.filter(|row| row.host.as_str() == host && row.check.as_str() == remedy.check());
        Ok(found.next_back().and_then(|row| row.status))
    }

    /// Runs, newest first.
    pub fn runs(&self) -> anyhow::Result<Vec<RunRow>> {
        let QueryReply::Runs { runs } = self.json(&["run", "list", "--limit", "500"])? else {
            bail!("runs were asked for: fettle answered something else")
        };
        Ok(runs)
    }

    /// One run.
    pub fn run_detail(&self, run: RunId) -> anyhow::Result<RunDetail> {
        let QueryReply::Run { run } = self.json(&["run", "show", &run.to_string()])? else {
            bail!("a run was asked for: fettle answered something else")
        };
        Ok(*run)
    }

    /// Why automation did or did not act.
    pub fn why(&self, check: &str, host: &str) -> anyhow::Result<WhyCheck> {
        let QueryReply::Why { why } = self.json(&["why", &format!("{check}@{host}")])? else {
            bail!("the why was asked for: fettle answered something else")
        };
        Ok(*why)
    }

    /// Proposals, newest first.
    pub fn proposals(&self) -> anyhow::Result<Vec<ProposalView>> {
        let QueryReply::Proposals { proposals } = self.json(&["proposal", "list"])? else {
            bail!("proposals were asked for: fettle answered something else")
        };
        Ok(proposals)
    }

    /// Admitted playbooks.
    pub fn playbooks(&self) -> anyhow::Result<Vec<PlaybookRow>> {
        let QueryReply::Playbooks { playbooks } = self.json(&["playbook", "list"])? else {
            bail!("playbooks were asked for: fettle answered something else")
        };
        Ok(playbooks)
    }

    /// Creates a join token in a file.
    pub fn create_token(&self, environment: &str, file: &Path) -> anyhow::Result<Token> {
        let out = file.display().to_string();
        self.json(&["token", "create", "--environment", environment, "--out", &out])
    }

    /// Makes a publisher's key in a file and has it trusted; returns its public half.
    pub fn make_publisher(&self, file: &Path) -> anyhow::Result<String> {
        let made: Key = self.json(&["playbook", "keygen", "--out", &file.display().to_string()])?;
        self.done(&["publisher", "trust", PUBLISHER, &made.public_key])?;
        Ok(made.public_key)
    }

    /// Packs a component with its manifest; returns the package's path.
    pub fn pack(&self, component: &Path, manifest: &Path) -> anyhow::Result<PathBuf> {
        let package = manifest.with_extension("package");
        let (component, manifest) = (component.display().to_string(), manifest.display().to_string());
        let out = package.display().to_string();
        let arguments = ["playbook", "pack", "--component", &component, "--manifest", &manifest, "--out", &out];
        let _: serde_json::Value = self.json(&arguments)?;
        Ok(package)
    }

    /// Publishes a package with what is said of its scenarios.
    pub fn publish(&self, package: &Path, said: Said<'_>, key: &Path) -> anyhow::Result<()> {
        let (package, key) = (package.display().to_string(), key.display().to_string());
        let (option, place) = match said {
            Said::ByRunning { scenarios } => ("--scenarios", scenarios),
            Said::Reported { report } => ("--report", report),
        };
        let place = place.display().to_string();
        let publish = ["playbook", "publish", "--package", &package, "--key", &key, "--publisher", PUBLISHER];
        let CommandReply::Playbook { .. } = self.json(&[&publish[..], &[option, &place]].concat())? else {
            bail!("a playbook was published: fettle answered something else")
        };
        Ok(())
    }

    /// Replaces the configuration.
    pub fn apply(&self, files: &[&Path]) -> anyhow::Result<()> {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        let arguments: Vec<&str> = std::iter::once("apply").chain(files.iter().map(String::as_str)).collect();
        let answer: serde_json::Value = self.json(&arguments)?;
        ensure!(answer["outcome"] == "applied", "a configuration was applied: {answer}");
        Ok(())
    }

    /// Starts the first of a playbook's drills and waits until it proved the playbook.
    pub fn drill(&self, playbook: &str, host: &str, remediation: &str) -> anyhow::Result<()> {
        self.drill_by(playbook, host, remediation, 0).map(drop)
    }

    /// The same with the drill of this number in the manifest.
    pub fn drill_by(&self, playbook: &str, host: &str, remediation: &str, number: u32) -> anyhow::Result<DrillView> {
        let number = number.to_string();
        let of = ["playbook", "drill", playbook, "--host", host, "--remediation", remediation, "--drill", &number];
        let drill = self.json(&[&of[..], &["--wait"]].concat())?;
        let QueryReply::Drill { drill } = drill else { bail!("a drill was awaited: {drill:?}") };
        ensure!(drill.result == Some(DrillResult::Proved), "the drill of {playbook} on {host}: {drill:?}");
        Ok(*drill)
    }

    /// The breakers that are not closed.
    pub fn breakers(&self) -> anyhow::Result<Vec<BreakerRow>> {
        let standing: Standing = self.json(&["status"])?;
        Ok(standing.breakers)
    }

    /// Gives a person a role, with a profile in a new folder.
    pub fn add_person(&self, person: &str, role: &str, profile: &Path) -> anyhow::Result<()> {
        let out = profile.display().to_string();
        self.json::<serde_json::Value>(&["person", "add", person, "--role", role, "--out", &out]).map(drop)
    }

    /// A command that is answered by a position in the log.
    pub fn done(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let CommandReply::Done { .. } = self.json(arguments)? else {
            bail!("fettle {}: fettle answered something else", arguments.join(" "))
        };
        Ok(())
    }

    /// Exports the log and the policy that verifies it.
    pub fn export(&self, bundle: &Path, policy: &Path) -> anyhow::Result<()> {
        for (what, path) in [("export", bundle), ("policy", policy)] {
            let _: serde_json::Value = self.json(&["log", what, "--out", &path.display().to_string()])?;
        }
        Ok(())
    }

    /// Starts a login, and gives the address that a person has to open.
    pub fn log_in(&self, arguments: &[&str]) -> anyhow::Result<Login> {
        let mut command = self.command(&[&["--json", "login"], arguments].concat())?;
        let (stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let process = command.stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).spawn()?;
        Ok(Login { process, stdout, stderr })
    }

    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.place.command(&programs::program(programs::CLI)?);
        command.arg("--profile").arg(&self.profile).args(arguments);
        Ok(command)
    }
}

/// A login that waits for a person at the provider.
#[derive(Debug)]
pub struct Login {
    process: Child,
    stdout: File,
    stderr: File,
}

impl Login {
    /// The address that it prints.
    pub fn address(&mut self) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Open {
            open: String,
        }
        wait_until("fettle login prints an address", PATIENCE, || {
            let said = contents(&mut self.stderr)?;
            if let Some(status) = self.process.try_wait()? {
                bail!("fettle login ended with {status}: {}", String::from_utf8_lossy(&said));
            }
            Ok(serde_json::from_slice::<Open>(&said).ok().map(|told| told.open))
        })
    }

    /// How it ended, and what it said on standard error.
    pub fn end(mut self) -> anyhow::Result<(i32, String)> {
        let status = wait_until("fettle login ends", PATIENCE, || Ok(self.process.try_wait()?))?;
        let said = String::from_utf8_lossy(&contents(&mut self.stderr)?).into_owned();
        let printed = String::from_utf8_lossy(&contents(&mut self.stdout)?).into_owned();
        Ok((status.code().context("fettle login ends by itself")?, format!("{printed}{said}")))
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn contents(file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
