//! nginx under systemd on throw-away hosts, the agent installed from `deploy/systemd`, the control
//! plane outside: healed through D-Bus.

use anyhow::{Context as _, bail, ensure};
use fettle_model::run::Ending;
use fettle_proto::operator::{Connection, RunState};
use fettle_tests::control_plane::{ControlPlane, Hold, Pulse};
use fettle_tests::installed::{AGENT_UNIT, Installation, Owner, stripped};
use fettle_tests::operator::{Operator, Said};
use fettle_tests::programs::{self, AGENT, Place};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::{Host, Network, on_hosts};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use xtask::process::wait_until;

/// A healing takes some 5 s; beside a compilation ten times that.
const PATIENCE: Duration = Duration::from_secs(90);
const STAGING: &str = "staging-1";
const PRODUCTION: &str = "prod-1";
const UNIT: &str = "nginx.service";

const CONFIGURATION: &str = r#"
[[service]]
name = "web"
owner = "tests"
tier = 1
hosts = { environments = ["staging", "production"] }

[[service.check]]
name = "unit"
kind = "systemd-unit"
unit = "nginx.service"
interval = "1s"
timeout = "5s"
fail-after = 1
recover-after = 1

# Longer than a restart takes: a dead nginx shows here as well.
[[service.check]]
name = "page"
kind = "http"
url = "http://{host.address}/healthz"
interval = "200ms"
timeout = "5s"
fail-after = 15
recover-after = 1

[[remediation]]
name = "restart-web"
service = "web"
check = "unit"
playbook = "restart-service"
modes = { staging = "auto", production = "auto" }
guard = { min-healthy = 0 }

[[remediation]]
name = "roll-back-web"
service = "web"
check = "page"
playbook = "rollback-release"
parameters = { then = "reload" }
modes = { staging = "auto", production = "auto" }
guard = { min-healthy = 0 }
"#;

/// nginx with the configuration of the current release. systemd does not restart it by itself.
const NGINX: &str = "[Unit]\nDescription=nginx with a configuration by release\n\
    [Service]\nType=exec\nExecStart=/usr/sbin/nginx -c /srv/web/current/nginx.conf -g 'daemon off;'\n\
    ExecReload=/bin/kill -HUP $MAINPID\n";

/// nginx as its host's owner binds it.
const SERVICES: &str = r#"
[service.web]
manager = "systemd"
unit = "nginx.service"
releases = { root = "/srv/web" }
host-values = { address = "127.0.0.1:80" }

[ceiling.web]
actions = ["restart", "reload", "activate"]
"#;

struct Fleet {
    hosts: Vec<Host>,
    control_plane: ControlPlane,
    operator: Operator,
    folder: TempDir,
}

#[test]
fn nginx_on_a_real_host_is_restarted_and_rolled_back_by_an_agent_without_privileges_to_spare() -> anyhow::Result<()> {
    on_hosts(|| {
        let mut fleet = Fleet::start()?;
        let done = fleet.test();
        done.map_err(|error| error.context(fleet.report()))
    })
}

impl Fleet {
    fn start() -> anyhow::Result<Self> {
        let network = Network::new()?;
        let folder = tempfile::tempdir().context("make a folder")?;
        let place = Place::Network(network.clone());
        let mut control_plane = ControlPlane::init(&place, folder.path(), network.gateway())?;
        control_plane.start(Hold::Never)?;
        let operator = Operator::new(&control_plane, &control_plane.profile());
        let hosts =
            [STAGING, PRODUCTION].map(|name| Host::boot_in(&network, name)).into_iter().collect::<Result<_, _>>()?;
        Ok(Self { hosts, control_plane, operator, folder })
    }

    fn test(&mut self) -> anyhow::Result<()> {
        let publisher = self.operator.make_publisher(&self.path("publisher.key"))?;
        for remedy in [Remedy::Restart, Remedy::Rollback] {
            let package = remedy.pack(&self.operator, Pace::AsShipped, self.folder.path())?;
            let said = Said::ByRunning { scenarios: &remedy.scenarios() };
            self.operator.publish(&package, said, &self.path("publisher.key"))?;
        }
        let installation = Installation {
            control_plane: &self.control_plane,
            operator: &self.operator,
            publisher: &publisher,
            program: &stripped(&programs::program(AGENT)?, self.folder.path())?,
            folder: self.folder.path(),
        };
        for host in &self.hosts {
            install_nginx(host)?;
            let owner = if host.name() == STAGING { Owner::AllowsDrills } else { Owner::OfProduction };
            installation.install(host, owner, SERVICES)?;
        }
        self.wait("both agents are connected", |fleet| {
            let rows = fleet.operator.hosts()?;
            Ok(rows.iter().filter(|row| row.connection == Connection::Connected).count() == 2)
        })?;
        let configuration = self.path("web.toml");
        fs::write(&configuration, CONFIGURATION)?;
        self.operator.apply(&[&configuration])?;

        for host in &self.hosts {
            privileges_are_dropped(host)?;
        }
        self.operator.drill("restart-service", STAGING, "restart-web")?;
        self.drill_the_rollback()?;
        self.a_killed_nginx_is_restarted()?;
        self.a_bad_configuration_is_rolled_back()?;
        self.the_log_verifies()
    }

    /// The drill makes the bad release current, twice, and this test is the deployer that tells nginx of it.
    fn drill_the_rollback(&self) -> anyhow::Result<()> {
        let staging = self.host(STAGING)?;
        std::thread::scope(|scope| {
            let drill = scope.spawn(|| self.operator.drill("rollback-release", STAGING, "roll-back-web"));
            let told = deploys(staging, || drill.is_finished());
            let drilled = drill.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            drilled.and(told)
        })?;
        ensure!(current(staging)? == "r1", "it is rolled back");
        Ok(())
    }

    fn a_killed_nginx_is_restarted(&self) -> anyhow::Result<()> {
        let host = self.host(PRODUCTION)?;
        let before = host.unit(UNIT)?;
        host.kill(before.main_pid.context("nginx runs")?, "KILL")?;
        self.succeeds("restart-service")?;
        let after = host.unit(UNIT)?;
        ensure!(after.active == "active" && after.invocation != before.invocation, "{after:?}");
        ensure!(after.restarts == 0, "systemd did it by itself: {after:?}");
        ensure!(status(host)? == "200", "nginx serves");
        Ok(())
    }

    fn a_bad_configuration_is_rolled_back(&self) -> anyhow::Result<()> {
        let host = self.host(PRODUCTION)?;
        let before = host.unit(UNIT)?;
        activate(host, "r2")?;
        host.systemctl("reload", UNIT)?;
        wait_until("nginx answers 500", PATIENCE, || Ok((status(host)? == "500").then_some(())))?;
        self.succeeds("rollback-release")?;
        ensure!(current(host)? == "r1" && status(host)? == "200", "the good release serves");
        ensure!(host.unit(UNIT)?.invocation == before.invocation, "it was reloaded, not restarted");
        Ok(())
    }

    /// Waits until this playbook has succeeded on the production host.
    fn succeeds(&self, playbook: &str) -> anyhow::Result<()> {
        self.wait(&format!("{playbook} has healed {PRODUCTION}"), |fleet| {
            for row in fleet.operator.runs()? {
                let here =
                    row.host.as_str() == PRODUCTION && row.playbook.as_ref().is_some_and(|it| it.as_str() == playbook);
                match row.state {
                    RunState::Ended { ending: Ending::Succeeded, .. } if here => return Ok(true),
                    RunState::Ended { ending, .. } if here => bail!("the run ended {}", ending.as_str()),
                    RunState::Ended { .. }
                    | RunState::InFlight
                    | RunState::Rejected { .. }
                    | RunState::Unresolved
                    | RunState::Returned { .. }
                    | RunState::Expired { .. } => {}
                }
            }
            Ok(false)
        })
    }

    fn the_log_verifies(&self) -> anyhow::Result<()> {
        let (bundle, policy) = (self.path("log.bundle"), self.path("log.policy"));
        self.operator.export(&bundle, &policy)?;
        let (bundle, policy) = (bundle.display().to_string(), policy.display().to_string());
        let output = self.operator.run(&["log", "verify", &bundle, "--policy", &policy])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    fn wait(&self, what: &str, look: impl Fn(&Self) -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let mut pulse = Pulse::default();
        wait_until(what, PATIENCE, || Ok((pulse.beats(&self.control_plane)? && look(self)?).then_some(())))
    }

    fn host(&self, name: &str) -> anyhow::Result<&Host> {
        self.hosts.iter().find(|host| host.name() == name).context("there is such a host")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn report(&self) -> String {
        let mut text = format!("--- control plane\n{}\n", self.control_plane.report());
        for host in &self.hosts {
            for unit in [AGENT_UNIT, UNIT] {
                let journal = host.journal(unit).unwrap_or_else(|error| format!("{error:#}"));
                text.push_str(&format!("--- {unit} of {}\n{journal}\n", host.name()));
            }
        }
        text
    }
}

/// Tells nginx of the bad release each time the drill has made it current.
fn deploys(host: &Host, ended: impl Fn() -> bool) -> anyhow::Result<()> {
    for (what, release) in [
        ("the drill has activated the bad release", "r2"),
        ("the release is rolled back", "r1"),
        ("the drill has activated the bad release once more", "r2"),
    ] {
        wait_until(what, PATIENCE, || {
            if ended() {
                bail!("the drill ended before {what}");
            }
            Ok((current(host)? == release).then_some(()))
        })?;
        if release == "r2" {
            host.systemctl("reload", UNIT)?;
        }
    }
    Ok(())
}

/// nginx with two releases of its configuration: r1 is good, r2 answers 500.
fn install_nginx(host: &Host) -> anyhow::Result<()> {
    for (id, answer) in [("r1", 200), ("r2", 500)] {
        let config = format!(
            "user www-data;\npid /run/nginx.pid;\nerror_log /dev/null;\nevents {{}}\n\
             http {{\n  access_log off;\n  server {{\n    listen 127.0.0.1:80;\n    \
             location / {{ return {answer} \"{id}\\n\"; }}\n  }}\n}}\n"
        );
        host.write(&format!("/srv/web/releases/{id}/nginx.conf"), config, 0o644)?;
    }
    host.write("/srv/web/known-good", "r1\n", 0o644)?;
    activate(host, "r1")?;
    host.install_unit(UNIT, NGINX)?;
    host.systemctl("start", UNIT)
}

fn activate(host: &Host, id: &str) -> anyhow::Result<()> {
    host.run("ln", &["-sfn", &format!("releases/{id}"), "/srv/web/next"])?;
    host.run("mv", &["-T", "/srv/web/next", "/srv/web/current"]).map(drop)
}

fn current(host: &Host) -> anyhow::Result<String> {
    let target = host.run("readlink", &["/srv/web/current"])?;
    Ok(target.trim().rsplit('/').next().unwrap_or_default().to_owned())
}

/// The status that nginx answers with.
fn status(host: &Host) -> anyhow::Result<String> {
    let url = "http://127.0.0.1/healthz";
    host.run("curl", &["--silent", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}", url])
}

/// The daemon and the workers have users of their own, no capabilities, and get none; the worker is
/// behind a filter of system calls.
fn privileges_are_dropped(host: &Host) -> anyhow::Result<()> {
    let effector = host.unit(AGENT_UNIT)?.main_pid.context("the agent runs")?;
    for (role, user, seccomp) in [("daemon", "fettle-agent", None), ("worker", "fettle-worker", Some("2"))] {
        let uid = host.run("id", &["-u", user])?;
        let status = wait_until(&format!("the {role} runs"), PATIENCE, || child_status(host, effector, role))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).with_context(|| format!("{role}: no {name}"))
        };
        let uids: Vec<_> = field("Uid:")?.split_whitespace().collect();
        ensure!(uids.iter().all(|id| *id == uid.trim()) && uid.trim() != "0", "the {role}'s users: {uids:?}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            ensure!(field(set)? == "0000000000000000", "the {role} has {set} {}", field(set)?);
        }
        ensure!(field("NoNewPrivs:")? == "1", "the {role} may gain privileges");
        if let Some(mode) = seccomp {
            ensure!(field("Seccomp:")? == mode, "the {role} has no filter of its own");
        }
    }
    Ok(())
}

/// `/proc/<pid>/status` of the effector's child in this role.
fn child_status(host: &Host, effector: u32, role: &str) -> anyhow::Result<Option<String>> {
    let listed = host.run("ps", &["--ppid", &effector.to_string(), "-o", "pid=,args="])?;
    let child = listed.lines().find(|line| line.split_whitespace().nth(2) == Some(role));
    let Some(pid) = child.and_then(|line| line.split_whitespace().next()) else { return Ok(None) };
    host.read(&format!("/proc/{pid}/status")).map(Some)
}
