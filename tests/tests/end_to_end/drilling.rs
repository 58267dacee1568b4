//! Drills with faults around a service, on throw-away hosts under systemd: a disk that is full, a service that answers
//! slowly, a port that refuses connections. Each from the fault to its evidence, under real permits.

use anyhow::{Context as _, bail, ensure};
use fettle_model::check::Status;
use fettle_model::coverage::Finding;
use fettle_model::evidence::FaultKind;
use fettle_model::record::Body;
use fettle_proto::operator::{Connection, QueryReply};
use fettle_tests::control_plane::{ControlPlane, Hold, Pulse};
use fettle_tests::installed::{AGENT_UNIT, Installation, Owner, stripped};
use fettle_tests::log::Log;
use fettle_tests::operator::{Operator, Said};
use fettle_tests::programs::{self, AGENT, DEMO_SERVICE, Place};
use fettle_tests::remedy::{Pace, Remedy};
use fettle_tests::{Host, Network, on_hosts};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use xtask::process::wait_until;

/// A drill takes some 10 s; beside a compilation some ten times that.
const PATIENCE: Duration = Duration::from_secs(90);
const STAGING: &str = "staging-1";
const PRODUCTION: &str = "prod-1";

const CONFIGURATION: &str = r#"
[[service]]
name = "spool"
owner = "tests"
tier = 1
hosts = { environments = ["staging", "production"] }

[[service.check]]
name = "disk"
kind = "resource"
resource = "disk"
path = "/srv/spool"
warning-percent = 50
critical-percent = 60
interval = "200ms"
fail-after = 1
recover-after = 1

[[service]]
name = "till"
owner = "tests"
tier = 1
hosts = { environments = ["staging", "production"] }

# One second of standing still covers two of these asks and their timeout; 10 ms of running, the timeout and one interval
# are less than two intervals, so no two asks in a row pass.
[[service.check]]
name = "quick"
kind = "http"
url = "http://{host.address}/healthz"
interval = "300ms"
timeout = "150ms"
fail-after = 2
recover-after = 2

[[service]]
name = "shop"
owner = "tests"
tier = 1
hosts = { environments = ["staging", "production"] }

[[service.check]]
name = "feature"
kind = "http"
url = "http://{host.address}/healthz/feature"
interval = "200ms"
timeout = "5s"
fail-after = 1
recover-after = 1

[[remediation]]
name = "restart-spool"
service = "spool"
check = "disk"
playbook = "restart-service"
modes = { staging = "auto", production = "auto" }

[[remediation]]
name = "restart-till"
service = "till"
check = "quick"
playbook = "restart-service"
modes = { staging = "auto", production = "auto" }

[[remediation]]
name = "calm-shop"
service = "shop"
check = "feature"
playbook = "disable-flag"
modes = { staging = "auto", production = "auto" }
"#;

/// The services of a host, as its owner writes them.
const SERVICES: &str = r#"
[service.spool]
manager = "systemd"
unit = "spool.service"
[ceiling.spool]
actions = ["restart"]

[service.till]
manager = "systemd"
unit = "till.service"
host-values = { address = "127.0.0.1:8002" }
[ceiling.till]
actions = ["restart"]

[service.shop]
manager = "systemd"
unit = "shop.service"
host-values = { address = "127.0.0.1:8003" }
[service.shop.flags.recommendations]
file = "/srv/flags/shop.json"
key = "recommendations"
[ceiling.shop]
actions = ["set"]
"#;

/// What the owner of the staging host lets drills do besides.
const FAULTS: &str = r#"
[service.spool.faults.fill-disk]
folder = "/srv/spool/cache"
at-most-mib = 1024
keep-free-mib = 64
[service.till.faults.slow-responses]
stopped = "1s"
running = "10ms"
[service.shop.faults.refuse-port]
port = 8004
"#;

/// The flag of the feature that asks the recommendations for something.
const FLAGS: &str =
    r#"{"flags":{"recommendations":{"state":"ENABLED","variants":{"on":true,"off":false},"defaultVariant":"on"}}}"#;

/// A drill, by its number in the manifest.
struct Drilled {
    playbook: &'static str,
    remediation: &'static str,
    number: u32,
    fault: FaultKind,
}

const DRILLS: [Drilled; 3] = [
    Drilled { playbook: "restart-service", remediation: "restart-spool", number: 2, fault: FaultKind::FillDisk },
    Drilled { playbook: "restart-service", remediation: "restart-till", number: 3, fault: FaultKind::SlowResponses },
    Drilled { playbook: "disable-flag", remediation: "calm-shop", number: 1, fault: FaultKind::RefusePort },
];

struct Fleet {
    hosts: Vec<Host>,
    control_plane: ControlPlane,
    operator: Operator,
    folder: TempDir,
}

#[test]
fn a_full_disk_a_slow_service_and_a_refused_port_are_healed_in_drills_and_earn_evidence() -> anyhow::Result<()> {
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
        self.install()?;
        let staging = self.host(STAGING)?;
        for drilled in &DRILLS {
            let Drilled { playbook, remediation, number, fault } = drilled;
            let view = self.operator.drill_by(playbook, STAGING, remediation, *number)?;
            ensure!(view.fault.kind == *fault, "{view:?}");
        }
        ensure!(!staging.exists("/srv/spool/cache/.fettle-drill")?, "the file is gone");
        let tables = staging.run("nft", &["list", "tables"])?;
        ensure!(!tables.contains("fettle_drill"), "the port is refused still: {tables}");
        ensure!(staging.read("/srv/flags/shop.json")?.contains(r#""defaultVariant":"on""#), "the feature is on again");
        let said = staging.run("journalctl", &["--no-pager", "--output=cat", "--unit", AGENT_UNIT])?;
        let removed =
            |line: &&str| line.contains("a drill's fault was gone already") && line.contains("/srv/spool/cache");
        ensure!(said.lines().filter(removed).count() >= 2, "the restart did not remove the file: {said}");
        self.production_is_covered()?;
        self.the_log_verifies()
    }

    fn install(&self) -> anyhow::Result<()> {
        let key = self.path("publisher.key");
        let publisher = self.operator.make_publisher(&key)?;
        for remedy in [Remedy::Restart, Remedy::Disable] {
            let package = remedy.pack(&self.operator, Pace::AsShipped, self.folder.path())?;
            self.operator.publish(&package, Said::ByRunning { scenarios: &remedy.scenarios() }, &key)?;
        }
        let installation = Installation {
            control_plane: &self.control_plane,
            operator: &self.operator,
            publisher: &publisher,
            program: &stripped(&programs::program(AGENT)?, self.folder.path())?,
            folder: self.folder.path(),
        };
        let service = stripped(&programs::program(DEMO_SERVICE)?, self.folder.path())?;
        for host in &self.hosts {
            host.copy_in(&service, "/usr/local/bin/fettle-demo-service")?;
            install_services(host)?;
            let (owner, faults) = match host.name() {
                STAGING => (Owner::AllowsDrills, FAULTS),
                _ => (Owner::OfProduction, ""),
            };
            installation.install(host, owner, &format!("{SERVICES}{faults}"))?;
        }
        let configuration = self.path("services.toml");
        fs::write(&configuration, CONFIGURATION)?;
        self.wait("both agents are connected", |fleet| {
            let rows = fleet.operator.hosts()?;
            Ok(rows.iter().filter(|row| row.connection == Connection::Connected).count() == 2)
        })?;
        self.operator.apply(&[&configuration])?;
        self.wait("every check passes on both hosts", |fleet| {
            let checks: Vec<_> = fleet.operator.services()?.into_iter().flat_map(|row| row.checks).collect();
            Ok(checks.len() == 6 && checks.iter().all(|check| check.status == Some(Status::Passing)))
        })
    }

    /// What was drilled covers the production host, and people see by which fault.
    fn production_is_covered(&self) -> anyhow::Result<()> {
        let QueryReply::Coverage { coverage } = self.operator.json(&["evidence", "show"])? else {
            bail!("coverage was asked for: fettle answered something else")
        };
        let shown = String::from_utf8(self.operator.run(&["evidence", "show"])?.stdout)?;
        for Drilled { remediation, fault, .. } in &DRILLS {
            let row = coverage.iter().find(|row| row.remediation.as_str() == *remediation).context("it needs some")?;
            let Finding::Covered { by } = &row.finding else { bail!("{row:?}") };
            ensure!(by.fault.kind == *fault && row.hosts == 1, "{row:?}");
            ensure!(shown.contains(fault.as_str()), "{shown}");
        }
        Ok(())
    }

    fn the_log_verifies(&self) -> anyhow::Result<()> {
        let (bundle, policy) = (self.path("log.bundle"), self.path("log.policy"));
        self.operator.export(&bundle, &policy)?;
        let arguments = ["log", "verify", &bundle.display().to_string(), "--policy", &policy.display().to_string()]
            .map(str::to_owned);
        let output = self.operator.run(&arguments.each_ref().map(String::as_str))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let log = Log::read(&bundle)?;
        let mut earned = Vec::new();
        for record in log.records() {
            if let Body::EvidenceEarned(evidence) = &record.body {
                earned.push((evidence.fault.kind, evidence.repetition.is_some(), evidence.killed.is_some()));
            }
        }
        let wanted = DRILLS.map(|drilled| (drilled.fault, true, true));
        ensure!(earned == wanted, "each drill has earned its evidence: {earned:?}");
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
            for unit in [AGENT_UNIT, "spool.service", "till.service", "shop.service"] {
                let journal = host.journal(unit).unwrap_or_else(|error| format!("{error:#}"));
                text.push_str(&format!("--- {unit} of {}\n{journal}\n", host.name()));
            }
        }
        text
    }
}

/// A service with a cache on a small disk of its own, which it clears when it starts; one that answers from one process;
/// and one with a feature that asks a fourth for something.
fn install_services(host: &Host) -> anyhow::Result<()> {
    host.write("/srv/shop/releases/r1/release.json", r#"{"version":"1.1","healthz":"ok"}"#, 0o644)?;
    host.run("ln", &["-s", "releases/r1", "/srv/shop/current"])?;
    host.write("/srv/flags/shop.json", FLAGS, 0o644)?;
    host.run("mkdir", &["/srv/spool"])?;
    host.run("mount", &["-t", "tmpfs", "-o", "size=200m,mode=755", "spool", "/srv/spool"])?;
    host.run("mkdir", &["/srv/spool/cache"])?;
    for (name, port, before, arguments) in [
        ("spool", 8001, "ExecStartPre=/usr/bin/find /srv/spool/cache -mindepth 1 -delete\n", ""),
        ("till", 8002, "", ""),
        ("recommendations", 8004, "", ""),
        ("shop", 8003, "", " --flag-key recommendations --feature-asks 127.0.0.1:8004"),
    ] {
        // systemd restarts none of them by itself.
        let unit = format!(
            "[Service]\nType=exec\n{before}ExecStart=/usr/local/bin/fettle-demo-service run --root /srv/shop \
             --listen 127.0.0.1:{port} --pid-file /run/{name}.pid --flags /srv/flags/shop.json{arguments}\n"
        );
        let unit_name = format!("{name}.service");
        host.install_unit(&unit_name, &unit)?;
        host.systemctl("start", &unit_name)?;
    }
    // What refuses a port needs it.
    let capability = "[Service]\nCapabilityBoundingSet=CAP_NET_ADMIN\n";
    host.write(&format!("/etc/systemd/system/{AGENT_UNIT}.d/refuse-port.conf"), capability, 0o644)
}
