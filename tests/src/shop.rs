//! One demo service on a loopback host: what is broken, healed, and counted.
//!
//! Its start command is a script that appends a line to a file before it starts the service, and its
//! folder is watched: the tests' witnesses of effects, which no program under test reads or writes.

use crate::programs;
use crate::witness::Witness;
use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use xtask::process;

/// The release that is known to be good.
pub const GOOD: &str = "r1";
/// The newer one, which answers 500.
pub const BAD: &str = "r2";
/// The flag whose feature fails.
pub const FLAG: &str = "new-checkout";
/// The link that names the current release.
const CURRENT: &str = "current";
/// The file of its flags.
const FLAGS: &str = "flags.json";
/// Waits while the gate is shut, for half a minute at most: a script must not outlive a test that was killed.
const GATE: &str = r#"gate() {
  left=1500
  while [ -e "$ROOT/gate-$1" ] && [ "$left" -gt 0 ]; do left=$((left - 1)); sleep 0.02; done
}"#;
/// How long one request may take: the service answers from two small files.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// A place in the start command at which it can be made to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It was counted, and the service does not run yet.
    BeforeStart,
    /// The service runs, and the command has not ended.
    AfterStart,
}

impl Gate {
    const fn file(self) -> &'static str {
        match self {
            Self::BeforeStart => "gate-before",
            Self::AfterStart => "gate-after",
        }
    }
}

/// A demo service with its folder. Ends with this value.
#[derive(Debug)]
pub struct Shop {
    root: PathBuf,
    address: SocketAddr,
    witness: Witness,
    activated_here: Cell<usize>,
    flagged_here: Cell<usize>,
}

impl Shop {
    /// Makes its folder and starts it.
    pub fn open(root: &Path) -> anyhow::Result<Self> {
        let shop = Self {
            root: root.to_owned(),
            address: SocketAddr::from((programs::own_address(), programs::own_port())),
            witness: Witness::of(root)?,
            activated_here: Cell::default(),
            flagged_here: Cell::default(),
        };
        for (id, health) in [(GOOD, "ok"), (BAD, "fail")] {
            let release = root.join("releases").join(id);
            fs::create_dir_all(&release).with_context(|| format!("make {}", release.display()))?;
            fs::write(release.join("release.json"), format!(r#"{{"version":"1.{id}","healthz":"{health}"}}"#))?;
        }
        fs::write(root.join("known-good"), format!("{GOOD}\n"))?;
        fs::write(shop.starts_file(), "")?;
        shop.script("start", "echo started >> \"$ROOT/starts\"\ngate before", "start", "gate after")?;
        shop.script("stop", ":", "stop", ":")?;
        shop.script("status", ":", "status", ":")?;
        // It follows its release and its flags by itself: nothing is to be done.
        shop.script("reload", ":", "status", ":")?;
        shop.activate(GOOD)?;
        shop.set_flag("off")?;
        shop.service("start")?;
        Ok(shop)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file in its folder.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How often its start command was run by anybody but this fixture.
    pub fn starts(&self) -> anyhow::Result<usize> {
        let text = fs::read_to_string(self.starts_file()).context("read the starts")?;
        Ok(text.lines().count())
    }

    /// How often a release was made the current one by anybody but this fixture.
    pub fn activations(&self) -> anyhow::Result<usize> {
        Ok(self.witness.renamed_to(CURRENT)? - self.activated_here.get())
    }

    /// How often the flags were exchanged by anybody but this fixture.
    pub fn flaggings(&self) -> anyhow::Result<usize> {
        Ok(self.witness.renamed_to(FLAGS)? - self.flagged_here.get())
    }

    /// Kills its process as an out-of-memory killer does.
    pub fn kill(&self) -> anyhow::Result<()> {
        let pid = self.pid()?.context("it runs")?;
        crate::signs::signal(pid, Signal::KILL)?;
        process::wait_until("the service is gone", ANSWER_PATIENCE, || Ok(self.pid()?.is_none().then_some(())))
    }

    /// From now on the start command waits at this gate.
    pub fn shut(&self, gate: Gate) -> anyhow::Result<()> {
        fs::write(self.root.join(gate.file()), "").context("shut a gate")
    }

    /// Lets the start command go on.
    pub fn open_up(&self, gate: Gate) -> anyhow::Result<()> {
        fs::remove_file(self.root.join(gate.file())).context("open a gate")
    }

    /// Starts it, not by its counted command: as a person does who was faster.
    pub fn start_by_hand(&self) -> anyhow::Result<()> {
        self.service("start")
    }

    /// Makes a release the current one.
    pub fn activate(&self, id: &str) -> anyhow::Result<()> {
        let next = self.root.join("next");
        symlink(Path::new("releases").join(id), &next).context("make a link")?;
        fs::rename(next, self.root.join(CURRENT)).context("make it the current one")?;
        self.activated_here.update(|count| count + 1);
        Ok(())
    }

    /// The current release.
    pub fn current(&self) -> anyhow::Result<String> {
        let target = fs::read_link(self.root.join(CURRENT)).context("read the current release")?;
        let name = target.file_name().context("the link names a release")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// Gives the flag this variant.
    pub fn set_flag(&self, variant: &str) -> anyhow::Result<()> {
        let next = self.root.join("flags.next");
        let text = format!(
            r#"{{"flags":{{"{FLAG}":{{"state":"ENABLED","variants":{{"on":true,"off":false}},"defaultVariant":"{variant}"}}}}}}"#
        );
        fs::write(&next, text).context("write the flags")?;
        fs::rename(next, self.root.join(FLAGS)).context("exchange the flags")?;
        self.flagged_here.update(|count| count + 1);
        Ok(())
    }

    /// The status of a page; `None` when nobody answers.
    pub fn get(&self, page: &str) -> Option<u16> {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect_timeout(&self.address, ANSWER_PATIENCE)?;
            stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
            write!(stream, "GET {page} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        ask().ok()?.split(' ').nth(1)?.parse().ok()
    }

    /// The process that its pid file names, if it runs.
    pub fn pid(&self) -> anyhow::Result<Option<u32>> {
        let output = self.command("status")?.output().context("ask for the service's status")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.trim_end().strip_prefix("running, pid ") {
            Some(pid) => Ok(Some(pid.parse().context("a process id")?)),
            None if output.status.code() == Some(3) => Ok(None),
            None => bail!("the service's status: {}: {text}", output.status),
        }
    }

    fn starts_file(&self) -> PathBuf {
        self.root.join("starts")
    }

    fn command(&self, name: &str) -> anyhow::Result<Command> {
        let mut command = crate::chassis::clean(&programs::program(programs::DEMO_SERVICE)?.display().to_string());
        command.arg(name).arg("--root").arg(&self.root).args(["--listen", &self.address.to_string()]);
        Ok(command)
    }

    fn service(&self, name: &str) -> anyhow::Result<()> {
        process::output(&mut self.command(name)?).map(drop)
    }

    /// A script that does `first`, runs a command of the service, and does `then`.
    fn script(&self, name: &str, first: &str, command: &str, then: &str) -> anyhow::Result<()> {
        let program = programs::program(programs::DEMO_SERVICE)?;
        let (root, program) = (self.root.display().to_string(), program.display().to_string());
        ensure!(!root.contains('\'') && !program.contains('\''), "a quote in a path");
        let text = format!(
            "#!/bin/sh\nset -eu\nROOT='{root}'\n{GATE}\n{first}\n'{program}' {command} --root \"$ROOT\" --listen {}\n{then}\n",
            self.address
        );
        let path = self.root.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("make it a program")
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if let Err(error) = self.service("stop") {
            eprintln!("a demo service was not ended: {error:#}");
        }
    }
}
