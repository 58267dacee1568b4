//! The throw-away hosts are real hosts, and leave nothing behind.

use anyhow::{Context as _, ensure};
use fettle_tests::network::Link;
use fettle_tests::{Host, Network, on_hosts};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use xtask::process::{Child, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

/// The first line that a web server answers.
fn status_line(address: Ipv4Addr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, 80)), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[test]
fn systemd_sees_that_a_service_was_killed_and_starts_it_again() -> anyhow::Result<()> {
    on_hosts(|| {
        let host = Host::boot("web")?;
        eprintln!("booted in {:?}", host.boot_time());
        let call =
            ["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
        host.run("busctl", &[call.as_slice(), &["StartUnit", "ss", "nginx.service", "replace"]].concat())?;
        let started = host.wait_for_unit("nginx.service", "is active", PATIENCE, |it| it.active == "active")?;
        let main = started.main_pid.context("it has a main process")?;
        ensure!(host.read(&format!("/proc/{main}/comm"))?.trim() == "nginx");
        ensure!(host.network().enter(|| status_line(host.address()))??.contains("200"));

        host.kill(main, "KILL")?;
        let killed = host.wait_for_unit("nginx.service", "has failed", PATIENCE, |it| it.active == "failed")?;
        ensure!(killed.result == "signal", "{killed:?}");
        ensure!(host.network().enter(|| status_line(host.address()))?.is_err(), "nobody listens any more");

        host.systemctl("restart", "nginx.service")?;
        let again = host.unit("nginx.service")?;
        ensure!(again.active == "active" && again.invocation != started.invocation, "{again:?}");
        ensure!(again.main_pid != Some(main));
        Ok(())
    })
}

#[test]
fn a_host_runs_only_what_the_test_started() -> anyhow::Result<()> {
    on_hosts(|| {
        let host = Host::boot("quiet")?;
        let state = host.run("systemctl", &["is-system-running"])?;
        ensure!(state.trim() == "running", "{state}");
        let listed =
            host.run("systemctl", &["list-units", "--type=service", "--state=running", "--plain", "--no-legend"])?;
        let mut services: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
        services.sort_unstable();
        ensure!(services == ["dbus.service", "systemd-journald.service"], "{services:?}");
        let processes = host.run("ps", &["-e", "-o", "pid=", "-o", "comm="])?;
        ensure!(processes.lines().next().is_some_and(|line| line.trim() == "1 systemd"), "{processes}");
        Ok(())
    })
}

#[test]
fn a_reboot_and_a_power_cut_keep_the_disk_and_the_address_and_change_the_boot() -> anyhow::Result<()> {
    on_hosts(|| {
        let mut host = Host::boot("phoenix")?;
        let machine_id = host.read("/etc/machine-id")?;
        ensure!(machine_id != std::fs::read_to_string("/etc/machine-id").unwrap_or_default());
        host.write("/var/lib/kept", "kept", 0o600)?;
        host.write("/run/lost", "lost", 0o600)?;
        let first = host.boot_id()?;

        host.reboot()?;
        let second = host.boot_id()?;
        host.cut_power()?;
        ensure!(host.boot_id().is_err(), "a host without power answers nothing");
        host.power_on()?;
        let third = host.boot_id()?;

        ensure!(first != second && second != third && first != third, "{first} {second} {third}");
        ensure!(host.read("/var/lib/kept")? == "kept" && host.read("/etc/machine-id")? == machine_id);
        ensure!(host.exists("/var/lib/kept")? && !host.exists("/run/lost")?);
        host.systemctl("start", "nginx.service")?;
        ensure!(host.network().enter(|| status_line(host.address()))??.contains("200"));
        Ok(())
    })
}

#[test]
fn hosts_of_one_network_reach_each_other_until_the_cable_is_pulled() -> anyhow::Result<()> {
    on_hosts(|| {
        let network = Network::new()?;
        let server = Host::boot_in(&network, "server")?;
        let client = Host::boot_in(&network, "client")?;
        server.systemctl("start", "nginx.service")?;
        let url = format!("http://{}/", server.address());
        let ask =
            || client.status("curl", &["--silent", "--fail", "--max-time", "2", &url]).map(|status| status.success());
        ensure!(ask()?);
        server.set_link(Link::Down)?;
        ensure!(!ask()?, "nothing passes");
        server.set_link(Link::Up)?;
        wait_until("the network passes packets again", PATIENCE, || Ok(ask()?.then_some(())))?;
        Ok(())
    })
}

#[test]
fn what_a_host_writes_stays_in_it_and_nothing_of_it_remains() -> anyhow::Result<()> {
    on_hosts(|| {
        let mark = format!("fettle-mark-{}", std::process::id());
        let host = Host::boot("gone")?;
        let inside = format!("/usr/local/{mark}");
        host.write(&inside, "x", 0o644)?;
        ensure!(host.run("cat", &[&inside])? == "x");
        ensure!(!Path::new(&inside).exists(), "the outer machine does not see it");
        // An absolute symlink, on Debian: it must be followed inside.
        let behind_a_link = format!("/var/run/{mark}");
        host.write(&behind_a_link, "y", 0o640)?;
        ensure!(host.run("stat", &["--format=%a", &behind_a_link])?.trim() == "640");
        ensure!(!Path::new(&behind_a_link).exists(), "the outer machine does not see that either");
        let copy = tempfile::NamedTempFile::new()?;
        host.copy_out(&behind_a_link, copy.path())?;
        ensure!(std::fs::read_to_string(copy.path())? == "y");
        let unit = format!("{mark}.service");
        host.install_unit(&unit, &format!("[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; sleep 600; : {mark}'\n"))?;
        host.systemctl("start", &unit)?;
        let stubborn = host.unit(&unit)?.main_pid.context("it runs")?;
        ensure!(host.read(&format!("/proc/{stubborn}/comm"))?.trim() == "sh");
        ensure!(!processes_with(&mark)?.is_empty(), "it can be seen from outside");
        let own = format!("fettle-tests-{}-", std::process::id());
        ensure!(leftovers(&own)? > 0, "it has control groups while it lives");

        drop(host);
        ensure!(leftovers(&own)? == 0, "its control groups are gone");
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        ensure!(!mounts.contains("fettle-host") && !mounts.contains("fettle-disk"), "{mounts}");
        let running = processes_with(&mark)?;
        ensure!(running.is_empty(), "{running:?}");
        Ok(())
    })
}

#[test]
fn a_killed_test_takes_its_hosts_with_it() -> anyhow::Result<()> {
    // Names the file with which the inner run of this same test says that its host is up.
    const SIGNAL: &str = "FETTLE_TEST_SIGNAL";
    on_hosts(|| {
        if let Some(signal) = std::env::var_os(SIGNAL) {
            return boot_and_wait(Path::new(&signal));
        }
        let logs = tempfile::tempdir()?;
        let mark = format!("fettle-orphan-{}", std::process::id());
        let signal = logs.path().join(&mark);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", "a_killed_test_takes_its_hosts_with_it", "--nocapture"]);
        // Killed, it cannot remove its logs: they go where this run removes them.
        command.env(SIGNAL, &signal).env("TMPDIR", logs.path()).stdin(Stdio::piped());
        let mut inner = Child::spawn_with_input("inner", &mut command, logs.path())?;
        inner.wait_until("its host is up", PATIENCE * 2, || Ok(signal.exists().then_some(())))?;
        ensure!(!processes_with(&mark)?.is_empty(), "the host runs");
        inner.kill()?;
        wait_until("the kernel has ended the host", PATIENCE, || Ok(processes_with(&mark)?.is_empty().then_some(())))
    })
}

/// Boots a host with a process that carries the signal's name, says so, and waits to be killed.
fn boot_and_wait(signal: &Path) -> anyhow::Result<()> {
    let mark = signal.file_name().and_then(|name| name.to_str()).context("the signal has a name")?;
    let host = Host::boot("orphan")?;
    host.install_unit("wait.service", &format!("[Service]\nExecStart=/bin/sh -c 'sleep 600; : {mark}'\n"))?;
    host.systemctl("start", "wait.service")?;
    std::fs::write(signal, "up")?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// How many control groups with this prefix there are.
fn leftovers(prefix: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
        let Ok(entries) = std::fs::read_dir(root) else { continue };
        for entry in entries {
            count += usize::from(entry?.file_name().to_string_lossy().starts_with(prefix));
        }
    }
    Ok(count)
}

/// The command lines of this machine's processes that contain a mark.
fn processes_with(mark: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path().join("cmdline");
        // A process that ended during the listing has none any more.
        let Ok(bytes) = std::fs::read(path) else { continue };
        let line = String::from_utf8_lossy(&bytes).replace('\0', " ");
        if line.contains(mark) {
            found.push(line);
        }
    }
    Ok(found)
}
