//! A network of its own: a bridge in a network namespace, to which hosts are plugged.
//!
//! No packet leaves it: there is no route out. The test's own programs run inside of it with
//! [`Network::command`], and its own sockets with [`Network::enter`].

use crate::chassis::Chassis;
use anyhow::{Context as _, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;
use xtask::process;

/// Where the test's own programs are; hosts are counted from the next address.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 1);
/// The last address of a host; 255 is the broadcast address.
const LAST_HOST: u8 = 254;

/// A network. Clones are the same network; it ends with the last one.
#[derive(Debug, Clone)]
pub struct Network {
    bridge: Arc<Bridge>,
}

#[derive(Debug)]
struct Bridge {
    chassis: Chassis,
    next: AtomicU8,
    // Removed after the chassis that writes its log there.
    _logs: TempDir,
}

/// Whether packets pass between a host and its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// They do.
    Up,
    /// None do; open connections see nothing, not even a reset.
    Down,
}

impl Network {
    /// An empty network.
    pub fn new() -> anyhow::Result<Self> {
        let logs = tempfile::tempdir().context("make a folder for logs")?;
        let script = format!(
            "ip link set lo up\nip link add br0 type bridge\nip addr add {GATEWAY}/24 dev br0\nip link set br0 up"
        );
        let chassis = Chassis::start("network", &script, logs.path())?;
        Ok(Self { bridge: Arc::new(Bridge { chassis, next: AtomicU8::new(2), _logs: logs }) })
    }

    /// The address at which the test's own programs inside the network can be reached from the hosts.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        GATEWAY
    }

    /// A command that runs inside the network, with this machine's files and a small environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = crate::chassis::clean("nsenter");
        command.arg(format!("--target={}", self.bridge.chassis.init())).args(["--net", "--", program]);
        command
    }

    /// Runs work on a thread inside the network: sockets made there belong to it for ever.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let namespace =
            File::open(format!("/proc/{}/ns/net", self.bridge.chassis.init())).context("open the network")?;
        let inside = || -> anyhow::Result<T> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .context("enter the network")?;
            Ok(work())
        };
        // A thread of its own: the namespace is a thread's, and this one stays where it is.
        match std::thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Plugs a host's namespaces in; returns the host's address and the name of its socket on the bridge.
    pub(crate) fn plug(&self, host: &Chassis) -> anyhow::Result<(Ipv4Addr, String)> {
        let number = self.bridge.next.fetch_add(1, Ordering::Relaxed);
        if !(2..=LAST_HOST).contains(&number) {
            bail!("the network has no address left");
        }
        let [first, second, third, _] = GATEWAY.octets();
        let address = Ipv4Addr::new(first, second, third, number);
        let socket = format!("host{number}");
        let init = host.init().to_string();
        self.ip(&["link", "add", &socket, "type", "veth", "peer", "name", "eth0", "netns", &init])?;
        self.ip(&["link", "set", &socket, "master", "br0", "up"])?;
        for arguments in [
            ["link", "set", "lo", "up"].as_slice(),
            &["addr", "add", &format!("{address}/24"), "dev", "eth0"],
            &["link", "set", "eth0", "up"],
        ] {
            process::output(host.command("ip").args(arguments))?;
        }
        Ok((address, socket))
    }

    /// Moves a host's socket up or down.
    pub(crate) fn set(&self, socket: &str, link: Link) -> anyhow::Result<()> {
        let state = match link {
            Link::Up => "up",
            Link::Down => "down",
        };
        self.ip(&["link", "set", socket, state])
    }

    fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        process::output(self.bridge.chassis.command("ip").args(arguments)).map(drop)
    }
}
