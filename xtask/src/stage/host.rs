//! One host of a stage: a folder with the service's releases and flag, and the agent's configuration.
//! It also breaks the service, in the three ways that the demo shows.

use super::template;
use crate::process;
use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The release that works.
const GOOD_RELEASE: &str = "1.4.0";
/// The newest release, which does not.
const BAD_RELEASE: &str = "1.5.0";
/// The releases, oldest first, with what their health page answers.
const RELEASES: [(&str, &str); 3] = [("1.3.0", "ok"), (GOOD_RELEASE, "ok"), (BAD_RELEASE, "fail")];
/// The releases that are known to be good.
const KNOWN_GOOD: &str = "# Releases that served customers well.\n1.3.0\n1.4.0\n";
/// How long a process may take to be gone after SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// What a host is to be.
#[derive(Debug, Clone, Copy)]
pub struct HostPlan {
    /// Its name.
    pub name: &'static str,
    /// Its environment.
    pub environment: &'static str,
    /// Whether faults may be injected: `allowed` or `refused`.
    pub drills: &'static str,
}

/// A host that is laid out.
#[derive(Debug, Clone)]
pub struct Host {
    plan: HostPlan,
    folder: PathBuf,
    program: PathBuf,
    listen: SocketAddr,
}

impl Host {
    /// Makes its folder: three releases, the good one current, the flag off.
    pub(super) fn lay_out(
        plan: &HostPlan,
        folder: &Path,
        program: PathBuf,
        listen: SocketAddr,
    ) -> anyhow::Result<Self> {
        let host = Self { plan: *plan, folder: folder.to_owned(), program, listen };
        let root = host.root();
        for (id, health) in RELEASES {
            let release = root.join("releases").join(id);
            std::fs::create_dir_all(&release).with_context(|| format!("make {}", release.display()))?;
            let document = serde_json::json!({ "version": id, "healthz": health });
            std::fs::write(release.join("release.json"), document.to_string())?;
        }
        std::fs::write(root.join("known-good"), KNOWN_GOOD)?;
        host.activate(GOOD_RELEASE)?;
        host.set_flag("off")?;
        Ok(host)
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.plan.name
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its service listens.
    #[must_use]
    pub const fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The folder of its service.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.join("shop")
    }

    /// Writes the agent's configuration; `values` holds what the control plane gives.
    pub(super) fn configure(&self, template: &str, values: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
        let text = |path: &Path| path.display().to_string();
        let own = [
            ("NAME", self.plan.name.to_owned()),
            ("ENVIRONMENT", self.plan.environment.to_owned()),
            ("DRILLS", self.plan.drills.to_owned()),
            ("STATE", text(&self.folder.join("state"))),
            ("TOKEN", text(&self.folder.join("join-token"))),
            ("ROOT", text(&self.root())),
            ("PROGRAM", text(&self.program)),
            ("LISTEN", self.listen.to_string()),
        ];
        let mut all = values.to_vec();
        all.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
        let path = self.folder.join("agent.toml");
        let filled = template::fill(template, &all).context("fill in the agent's configuration")?;
        let mut file = std::fs::OpenOptions::new();
        let file = file.create(true).write(true).truncate(true).mode(0o600).open(&path);
        std::io::Write::write_all(&mut file.context("make agent.toml")?, filled.as_bytes())?;
        Ok(path)
    }

    /// One of the service's own commands, as words.
    #[must_use]
    pub fn command(&self, name: &str) -> Vec<String> {
        let root = self.root().display().to_string();
        let words = [name, "--root", &root, "--listen", &self.listen.to_string()].map(str::to_owned);
        std::iter::once(self.program.display().to_string()).chain(words).collect()
    }

    /// Runs one of the service's own commands.
    pub fn run(&self, name: &str) -> anyhow::Result<()> {
        let words = self.command(name);
        let (program, arguments) = words.split_first().context("no words")?;
        process::output(Command::new(program).args(arguments)).map(drop)
    }

    /// Ends the service's process with SIGKILL; returns its id once it is gone.
    pub fn kill_service(&self) -> anyhow::Result<u32> {
        let path = self.root().join("service.pid");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let number = text.lines().next().and_then(|line| line.parse::<i32>().ok()).and_then(Pid::from_raw);
        let pid = number.with_context(|| format!("{} holds no process id", path.display()))?;
        let process = pidfd_open(pid, PidfdFlags::empty()).context("the service does not run")?;
        pidfd_send_signal(&process, Signal::KILL).context("kill the service")?;
        let patience = Timespec::try_from(KILL_PATIENCE)?;
        if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&patience))? == 0 {
            bail!("the service is still there after SIGKILL");
        }
        Ok(pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Makes the bad release current, as a deployment would: at once, by renaming a symlink.
    pub fn deploy_bad_release(&self) -> anyhow::Result<&'static str> {
        self.activate(BAD_RELEASE)?;
        Ok(BAD_RELEASE)
    }

    /// The id of the current release.
    pub fn current_release(&self) -> anyhow::Result<String> {
        let target = std::fs::read_link(self.root().join("current")).context("read the symlink")?;
        Ok(target.file_name().context("a release without a name")?.to_string_lossy().into_owned())
    }

    fn activate(&self, id: &str) -> anyhow::Result<()> {
        let next = self.root().join("next");
        symlink(Path::new("releases").join(id), &next).context("make the symlink")?;
        std::fs::rename(next, self.root().join("current")).context("activate the release")
    }

    /// Turns the feature flag `on` or `off`, at once, by renaming a file.
    pub fn set_flag(&self, variant: &str) -> anyhow::Result<()> {
        let document = serde_json::json!({
            "$schema": "https://flagd.dev/schema/v0/flags.json",
            "flags": {
                "new-checkout": {
                    "state": "ENABLED",
                    "variants": { "on": true, "off": false },
                    "defaultVariant": variant,
                },
            },
        });
        let next = self.root().join("flags.json.next");
        std::fs::write(&next, serde_json::to_string_pretty(&document)?)?;
        std::fs::rename(next, self.root().join("flags.json")).context("set the flag")
    }
}
