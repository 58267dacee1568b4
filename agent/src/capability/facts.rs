//! Facts about the host: operating system, machine, processors, memory, boot.
//!
//! Gathered once at the agent's start; the effector answers a playbook's `facts.get` from them and
//! the daemon puts them into the host's description. Holds nothing that names people or addresses.

use fettle_model::host::OperatingSystem;
use fettle_model::id::BootId;
use fettle_model::name::HostName;
use fettle_sandbox::call::Fact;
use std::fs;
use std::io;

/// Where os-release lies, in the order of os-release(5).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];
/// Names this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What is known of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The host's name in its configuration.
    pub name: HostName,
    /// The name that the kernel has for it.
    pub hostname: String,
    /// `ID` and `VERSION_ID` of os-release.
    pub os: OperatingSystem,
    /// The kernel's release, as `uname -r` says.
    pub kernel: String,
    /// The machine, as `uname -m` says.
    pub architecture: String,
    /// Processors that the agent may use.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_total: u64,
    /// This boot.
    pub boot: BootId,
}

/// The host's facts cannot be gathered.
#[derive(Debug, thiserror::Error)]
#[error("failed to gather the host's facts: {what} cannot be read")]
pub struct FactsError {
    /// What.
    pub what: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Facts {
    /// Looks at the host.
    ///
    /// # Errors
    /// When `/proc` or os-release cannot be read.
    pub fn gather(name: HostName) -> Result<Self, FactsError> {
        let failed = |what| move |source| FactsError { what, source };
        let os_release = OS_RELEASE
            .iter()
            .map(fs::read_to_string)
            .reduce(Result::or)
            .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
            .map_err(failed("os-release"))?;
        let boot = fs::read_to_string(BOOT_ID).map_err(failed("the boot id"))?;
        let boot = boot.trim().parse().map_err(io::Error::other).map_err(failed("the boot id"))?;
        let cpus = std::thread::available_parallelism().map_err(failed("the number of processors"))?;
        let uname = rustix::system::uname();
        let system = rustix::system::sysinfo();
        Ok(Self {
            name,
            hostname: uname.nodename().to_string_lossy().into_owned(),
            os: parse_os_release(&os_release),
            kernel: uname.release().to_string_lossy().into_owned(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            cpus: u32::try_from(cpus.get()).unwrap_or(u32::MAX),
            memory_total: total_bytes(&system),
            boot,
        })
    }

    /// One fact by its key; `None` when there is no such key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Fact> {
        let text = |text: &str| Some(Fact::Text(text.to_owned()));
        match key {
            "os.id" => text(&self.os.id),
            "os.version" => text(&self.os.version),
            "os.hostname" => text(&self.hostname),
            "os.kernel" => text(&self.kernel),
            "architecture" => text(&self.architecture),
            "host.name" => text(self.name.as_str()),
            "cpus" => Some(Fact::Integer(i64::from(self.cpus))),
            "memory.total-bytes" => Some(Fact::Integer(i64::try_from(self.memory_total).unwrap_or(i64::MAX))),
            _ => None,
        }
    }
}

#[expect(clippy::useless_conversion, reason = "the fields are 32 bits wide on some machines")]
fn total_bytes(system: &rustix::system::Sysinfo) -> u64 {
    u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit))
}

/// `ID` defaults to `linux` and `VERSION_ID` to nothing, as os-release(5) says.
fn parse_os_release(text: &str) -> OperatingSystem {
    let value = |key: &str| {
        text.lines().rev().find_map(|line| {
            let quoted = line.trim().strip_prefix(key)?.strip_prefix('=')?;
            let bare = |quote: char| quoted.strip_prefix(quote)?.strip_suffix(quote);
            Some(bare('"').or_else(|| bare('\'')).unwrap_or(quoted).to_owned())
        })
    };
    OperatingSystem {
        id: value("ID").unwrap_or_else(|| "linux".to_owned()),
        version: value("VERSION_ID").unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, id: &str, version: &str) {
        let expected = OperatingSystem { id: id.to_owned(), version: version.to_owned() };
        assert_eq!(parse_os_release(text), expected, "{text:?}");
    }

    #[test]
    fn os_release_is_read_as_its_manual_says() {
        check("ID=debian\nVERSION_ID=\"12\"\n", "debian", "12");
        check("VERSION_ID='3.20'\nID=alpine\nID_LIKE=x\n", "alpine", "3.20");
        check("NAME=x\n", "linux", "");
        check("ID=arch\n", "arch", "");
        check("# ID=no\nID=old\nID=new", "new", "");
    }

    #[test]
    fn every_documented_key_has_a_fact_on_this_host() {
        let facts = Facts::gather("web-1".parse().expect("a name")).expect("facts");
        assert_eq!(facts.get("host.name"), Some(Fact::Text("web-1".to_owned())));
        for key in ["os.id", "os.version", "os.hostname", "os.kernel", "architecture"] {
            assert!(matches!(facts.get(key), Some(Fact::Text(_))), "{key}");
        }
        for key in ["cpus", "memory.total-bytes"] {
            assert!(matches!(facts.get(key), Some(Fact::Integer(1..))), "{key}");
        }
        assert_eq!(facts.get("environment.PATH"), None);
    }
}
