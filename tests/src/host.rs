//! A throw-away host: a real systemd in a container over this machine's files.
//!
//! Its disk, its network and its process ids are a [`Chassis`]; the machine that runs on it is a
//! `systemd-nspawn` that can be rebooted and cut off from power while the disk and the plugged cable
//! stay. The disk is memory: what a host wrote is there after a power cut, synced or not, so lost
//! writes cannot be tested with it.

use crate::chassis::{self, Chassis};
use crate::control_groups::ControlGroups;
use crate::network::{Link, Network};
use crate::unit::{self, UnitState};
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use xtask::process::{self, Child};

/// How long a boot may take: 0.4 s on an idle machine with two processors; two boots beside a compilation some 10 s.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);
/// How long a shutdown may take: systemd gives a stubborn unit 90 s, and the test starts none of those.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(60);
/// The status with which systemd-nspawn says that the machine asked for a reboot (`--keep-unit` in its manual).
const REBOOT_STATUS: i32 = 133;
/// Where the layers are, in the chassis's private `/run`.
const DISK: &str = "/run/fettle-disk";
/// The largest disk: it holds a few programs and their state, and is memory.
const DISK_SIZE: &str = "2g";

/// A booted host. Ends with this value.
#[derive(Debug)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    boot_time: Duration,
    machine: Option<Machine>,
    // After the machine: its processes are gone before the groups are removed.
    chassis: Chassis,
    groups: ControlGroups,
    // The network stays at least as long as the host.
    network: Network,
    socket: String,
    logs: TempDir,
}

/// A host that has power.
#[derive(Debug)]
struct Machine {
    nspawn: Child,
    /// Its first process, as this process sees it.
    leader: u32,
}

impl Host {
    /// Boots a host in a network of its own.
    pub fn boot(name: &str) -> anyhow::Result<Self> {
        Self::boot_in(&Network::new()?, name)
    }

    /// Boots a host in a network. Returns when systemd says that it is up.
    pub fn boot_in(network: &Network, name: &str) -> anyhow::Result<Self> {
        let logs = tempfile::tempdir().context("make a folder for logs")?;
        let groups = ControlGroups::new()?;
        let script = format!(
            "mkdir {DISK}\nmount -t tmpfs -o mode=755,size={DISK_SIZE} fettle-disk {DISK}\n\
             mkdir {DISK}/upper {DISK}/work {DISK}/root"
        );
        let chassis = Chassis::start(name, &script, logs.path())?;
        crate::seed::write(&chassis.path(&format!("{DISK}/upper")), name)?;
        let layers = format!("lowerdir=/,upperdir={DISK}/upper,workdir={DISK}/work");
        let mount = ["-t", "overlay", "fettle-host", "-o", &layers, &format!("{DISK}/root")];
        process::output(chassis.command("mount").args(mount))?;
        let (address, socket) = network.plug(&chassis)?;
        let mut host = Self {
            name: name.to_owned(),
            address,
            boot_time: Duration::ZERO,
            machine: None,
            chassis,
            groups,
            network: network.clone(),
            socket,
            logs,
        };
        host.power_on()?;
        Ok(host)
    }

    /// Its name, which is also its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address in its network.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// How long the last boot took, until systemd said that it is up.
    #[must_use]
    pub fn boot_time(&self) -> Duration {
        self.boot_time
    }

    /// A command inside the host, as root, with a small environment. It is no unit of the host's
    /// systemd: what is to outlive a test's step belongs in one.
    pub fn command(&self, program: &str) -> anyhow::Result<Command> {
        Ok(inside(self.machine()?.leader, program))
    }

    /// Runs a command inside the host and returns what it printed; any other end than success is an error.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let done = process::output(self.command(program)?.args(arguments));
        done.with_context(|| format!("on host {}", self.name))
    }

    /// Runs a command inside the host and returns how it ended, whatever that is.
    pub fn status(&self, program: &str, arguments: &[&str]) -> anyhow::Result<ExitStatus> {
        let mut command = self.command(program)?;
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().with_context(|| format!("start {program} on host {}", self.name))
    }

    /// Writes a file, with its folders. Done by a process inside: from outside, an absolute symlink
    /// of the host would lead to this machine's files.
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>, mode: u32) -> anyhow::Result<()> {
        const SCRIPT: &str = r#"mkdir -p -- "$(dirname -- "$2")" && cat > "$2" && chmod -- "$1" "$2""#;
        let mut command = self.command("sh")?;
        command.args(["-euc", SCRIPT, "sh", &format!("{mode:o}"), inside]).stdin(Stdio::piped());
        let what = || format!("write {inside} on host {}", self.name);
        let mut child = command.spawn().with_context(what)?;
        let input = child.stdin.take().context("it has an input")?;
        // A failed write is told by the status, and more clearly.
        let written = { input }.write_all(content.as_ref());
        let status = child.wait().with_context(what)?;
        if !status.success() {
            bail!("{}: {status}", what());
        }
        written.with_context(what)
    }

    /// Copies a file of this machine in, with its mode.
    pub fn copy_in(&self, from: &Path, inside: &str) -> anyhow::Result<()> {
        let mode = fs::metadata(from).with_context(|| format!("look at {}", from.display()))?.permissions().mode();
        let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.write(inside, content, mode & 0o7777)
    }

    /// Copies a file of the host out.
    pub fn copy_out(&self, inside: &str, to: &Path) -> anyhow::Result<()> {
        let file = fs::File::create(to).with_context(|| format!("make {}", to.display()))?;
        let mut command = self.command("cat")?;
        process::run(command.args(["--", inside]).stdout(file))
    }

    /// Reads a file of text.
    pub fn read(&self, inside: &str) -> anyhow::Result<String> {
        self.run("cat", &["--", inside])
    }

    /// Whether there is such a file or folder.
    pub fn exists(&self, inside: &str) -> anyhow::Result<bool> {
        Ok(self.status("test", &["-e", inside])?.success())
    }

    /// Installs a unit file and has systemd read it.
    pub fn install_unit(&self, unit: &str, text: &str) -> anyhow::Result<()> {
        self.write(&format!("/etc/systemd/system/{unit}"), text, 0o644)?;
        self.run("systemctl", &["daemon-reload"]).map(drop)
    }

    /// Runs `systemctl` with a verb on a unit.
    pub fn systemctl(&self, verb: &str, unit: &str) -> anyhow::Result<()> {
        let done = self.run("systemctl", &[verb, "--", unit]);
        done.map(drop).with_context(|| self.journal(unit).unwrap_or_else(|error| format!("{error:#}")))
    }

    /// What systemd says about a unit.
    pub fn unit(&self, unit: &str) -> anyhow::Result<UnitState> {
        UnitState::parse(&self.run("systemctl", &["show", "--property", unit::PROPERTIES, "--", unit])?)
    }

    /// Waits until a unit's state is as wanted, and returns it.
    pub fn wait_for_unit(
        &self,
        unit: &str,
        what: &str,
        patience: Duration,
        wanted: impl Fn(&UnitState) -> bool,
    ) -> anyhow::Result<UnitState> {
        let waited =
            process::wait_until(&format!("{unit} {what}"), patience, || Ok(Some(self.unit(unit)?).filter(&wanted)));
        waited.with_context(|| self.journal(unit).unwrap_or_else(|error| format!("{error:#}")))
    }

    /// The last lines that a unit logged.
    pub fn journal(&self, unit: &str) -> anyhow::Result<String> {
        self.run("journalctl", &["--no-pager", "--lines=60", "--unit", unit])
    }

    /// Sends a signal to a process of the host, by the id that it has there.
    pub fn kill(&self, pid: u32, signal: &str) -> anyhow::Result<()> {
        self.run("kill", &["-s", signal, "--", &pid.to_string()]).map(drop)
    }

    /// The id of its current boot.
    pub fn boot_id(&self) -> anyhow::Result<String> {
        Ok(self.run("cat", &["/proc/sys/kernel/random/boot_id"])?.trim().to_owned())
    }

    /// Lets packets pass between the host and its network, or none.
    pub fn set_link(&self, link: Link) -> anyhow::Result<()> {
        self.network.set(&self.socket, link)
    }

    /// Reboots it in order; returns when it is up again. Its disk and its address stay.
    pub fn reboot(&mut self) -> anyhow::Result<()> {
        let asked = self.status("systemctl", &["--no-block", "reboot"])?;
        let mut machine = self.machine.take().context("it has no power")?;
        let status = machine.nspawn.wait(SHUTDOWN_PATIENCE)?;
        if status.code() != Some(REBOOT_STATUS) {
            bail!("host {} was to reboot ({asked}) and ended with {status}", self.name);
        }
        self.power_on()
    }

    /// Ends it as a power cut does: no process of it gets to do anything any more.
    pub fn cut_power(&mut self) -> anyhow::Result<()> {
        let Some(mut machine) = self.machine.take() else { return Ok(()) };
        let leader = i32::try_from(machine.leader).ok().and_then(Pid::from_raw).context("no process id")?;
        // Its first process: the kernel ends all others with it.
        kill_process(leader, Signal::KILL).with_context(|| format!("cut the power of host {}", self.name))?;
        machine.nspawn.wait(SHUTDOWN_PATIENCE)?;
        Ok(())
    }

    /// Boots it again after [`Self::cut_power`].
    pub fn power_on(&mut self) -> anyhow::Result<()> {
        if self.machine.is_some() {
            return Ok(());
        }
        let began = Instant::now();
        let mut nspawn = Child::spawn(&format!("{}-console", self.name), &mut self.nspawn(), self.logs.path())?;
        let nsenter = nspawn.id();
        let leader = nspawn.wait_until("systemd says that it is up", BOOT_PATIENCE, || {
            Ok(leader_below(nsenter)?.filter(|leader| is_up(*leader)))
        })?;
        self.boot_time = began.elapsed();
        self.machine = Some(Machine { nspawn, leader });
        Ok(())
    }

    /// The command that becomes the machine: it moves into the host's control groups and then into
    /// the chassis, whose end is its end.
    fn nspawn(&self) -> Command {
        let script = "for door in $DOORS; do echo $$ > $door; done; unset DOORS; exec \"$@\"";
        let doors: Vec<_> = self.groups.doors().map(|door| door.display().to_string()).collect();
        let mut command = chassis::clean("sh");
        command
            .env("DOORS", doors.join(" "))
            // Without nspawn's own filter of system calls: a host has a kernel, and the agent filters itself.
            .env("SYSTEMD_SECCOMP", "0")
            .args(["-c", script, "sh", "nsenter"])
            .arg(format!("--target={}", self.chassis.init()))
            .args(["--mount", "--pid", "--", "systemd-nspawn", "--boot", "--quiet", "--register=no", "--keep-unit"])
            .args(["--console=pipe", "--capability=CAP_NET_ADMIN", "--network-namespace-path=/proc/1/ns/net"])
            .arg(format!("--directory={DISK}/root"))
            .arg(format!("--machine={}", self.name));
        command
    }

    fn machine(&self) -> anyhow::Result<&Machine> {
        self.machine.as_ref().with_context(|| format!("host {} has no power", self.name))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(machine) = &self.machine
        {
            eprintln!("{}", machine.nspawn.report());
        }
        // The end of the chassis is the end of every process of the host; only then can the control
        // groups, which are dropped after this, be removed.
        if let Err(error) = self.chassis.end() {
            eprintln!("host {}: {error:#}", self.name);
        }
    }
}

/// The machine's first process: a child of nspawn, which is a child of nsenter.
fn leader_below(nsenter: u32) -> anyhow::Result<Option<u32>> {
    for nspawn in chassis::children(nsenter)? {
        if let Some(leader) = chassis::first_process_below(nspawn)? {
            return Ok(Some(leader));
        }
    }
    Ok(None)
}

fn is_up(leader: u32) -> bool {
    let asked = inside(leader, "systemctl").arg("is-system-running").stderr(Stdio::null()).output();
    // Until D-Bus answers this fails, and that means "not yet".
    asked.is_ok_and(|output| matches!(output.stdout.trim_ascii(), b"running" | b"degraded"))
}

fn inside(leader: u32, program: &str) -> Command {
    let mut command = chassis::clean("nsenter");
    command.arg(format!("--target={leader}")).args(["--all", "--", program]);
    command
}
