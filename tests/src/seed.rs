//! What a host has of its own before its first boot, over the files of the outer machine.
//!
//! `/etc/systemd/system` is opaque: nothing that an administrator enabled, masked or overrode on the
//! outer machine takes part. The default target asks for the basic system and D-Bus and nothing
//! else, so a boot takes well under a second and a test starts what it needs.

use anyhow::Context as _;
use rustix::fs::XattrFlags;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The default target's name.
const TARGET: &str = "fettle-test.target";

/// Writes it to `upper`, the host's own layer, before the layers are mounted.
pub(crate) fn write(upper: &Path, name: &str) -> anyhow::Result<()> {
    let etc = upper.join("etc");
    let units = etc.join("systemd/system");
    fs::create_dir_all(&units).context("make the folder of units")?;
    rustix::fs::setxattr(&units, "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .context("hide the outer machine's units")?;
    let target = "[Unit]\nDescription=What a test host starts by itself\nRequires=basic.target dbus.service\n\
                  After=basic.target dbus.service\nAllowIsolate=yes\n";
    for (path, text) in [
        (units.join(TARGET), target),
        (etc.join("machine-id"), &format!("{}\n", machine_id()?)),
        (etc.join("hostname"), &format!("{name}\n")),
        (etc.join("hosts"), &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n")),
        // The outer machine's disks and name servers are not this host's.
        (etc.join("fstab"), ""),
        (etc.join("crypttab"), ""),
        (etc.join("resolv.conf"), ""),
    ] {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    symlink(TARGET, units.join("default.target")).context("choose the default target")?;
    // The vendor's timers would rotate, trim and fetch in the middle of a test.
    symlink("/dev/null", units.join("timers.target")).context("mask the timers")
}

/// A machine id of its own: two hosts with one would be taken for clones.
fn machine_id() -> anyhow::Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("draw a machine id")?;
    Ok(uuid.trim().replace('-', ""))
}
