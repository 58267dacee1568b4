//! A host in a scratch folder: one flag, one check that a test breaks, and an agent that is enrolled already.

use crate::control_plane::{ControlPlane, issue_at, now};
use crate::stand::PATIENCE;
use fettle_agent::effector::store::Store;
use fettle_audit::key::{PublicKey, SigningKey};
use fettle_certs::authority::Subject;
use fettle_certs::store::{IdentityStore, write_private};
use fettle_model::id::{HostId, RunId};
use fettle_model::time::{UnixMillis, whole_millis};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// The agent of one test; killed when it is dropped, and its children with it.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    agent: tokio::process::Child,
}

/// What the agent has written to its error stream.
const LOG: &str = "agent.log";

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.path(LOG)).unwrap_or_default());
        }
    }
}

const FIRST_SERIAL: u8 = 7;
/// A certificate of one minute that was issued so long ago; the authority is five minutes old.
const EXPIRED: Duration = Duration::from_secs(120);

impl Host {
    /// Starts an agent whose first certificate lives so long, after `prepare` changed its state, or what is
    /// appended to `[control-plane]`.
    pub(crate) fn start_prepared(
        control_plane: &ControlPlane,
        id: HostId,
        publisher: &PublicKey,
        life: Duration,
        prepare: impl FnOnce(&mut Store, &mut String),
    ) -> Self {
        Self::start_in(control_plane, id, publisher, life, prepare, &[])
    }

    /// Starts an agent as a service manager does that listens on this socket and takes so long a silence for death.
    pub(crate) fn start_watched(
        control_plane: &ControlPlane,
        id: HostId,
        publisher: &PublicKey,
        socket: &std::path::Path,
        within: Duration,
        prepare: impl FnOnce(&mut Store, &mut String),
    ) -> Self {
        let (socket, within) = (socket.to_str().expect("text"), within.as_micros().to_string());
        let environment = [("NOTIFY_SOCKET", socket), ("WATCHDOG_USEC", within.as_str())];
        Self::start_in(control_plane, id, publisher, Duration::from_hours(1), prepare, &environment)
    }

    fn start_in(
        control_plane: &ControlPlane,
        id: HostId,
        publisher: &PublicKey,
        life: Duration,
        prepare: impl FnOnce(&mut Store, &mut String),
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("it is there");
        let mut more = String::new();
        prepare(&mut enrol(&root, control_plane, id, life), &mut more);
        fs::write(root.join("probe.sh"), format!("[ -e {}/broken ] && exit 2\nexit 0\n", root.display()))
            .expect("written");
        fs::write(root.join("flags.json"), flags("off")).expect("written");
        fs::write(root.join("agent.toml"), config(&root.display().to_string(), control_plane, publisher, &more))
            .expect("written");
        fs::set_permissions(root.join("agent.toml"), fs::Permissions::from_mode(0o600)).expect("its owner may");
        Self { agent: spawn(&root.join("agent.toml"), environment), folder }
    }

    /// Kills the agent and starts it anew with its configuration changed.
    pub(crate) async fn restart(&mut self, change: impl FnOnce(&str) -> String) {
        self.agent.kill().await.expect("it can be killed");
        let path = self.path("agent.toml");
        let before = fs::read_to_string(&path).expect("it is there");
        fs::write(&path, change(&before)).expect("written");
        self.agent = spawn(&path, &[]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    /// The whole content of the flag's file.
    pub(crate) fn flags(&self) -> String {
        fs::read_to_string(self.path("flags.json")).expect("it is there")
    }

    pub(crate) fn set_flag(&self, variant: &str) {
        fs::write(self.path("flags.json"), flags(variant)).expect("written");
    }

    /// Makes the check critical.
    pub(crate) fn break_it(&self) {
        fs::write(self.path("broken"), "").expect("written");
    }

    /// Makes it passing again.
    pub(crate) fn mend(&self) {
        fs::remove_file(self.path("broken")).expect("it was broken");
    }

    /// Stops the whole process, as if its loop were stuck.
    pub(crate) fn stop(&self) {
        let id = self.agent.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)).expect("it runs");
        rustix::process::kill_process(id, rustix::process::Signal::STOP).expect("it can be stopped");
    }

    /// Asks the agent to end.
    pub(crate) fn terminate(&self) {
        let id = self.agent.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?)).expect("it runs");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it can be told");
    }

    /// Kills the agent and opens what it left.
    pub(crate) async fn state_after_kill(&mut self) -> Store {
        self.agent.kill().await.expect("it can be killed");
        Store::open(&self.path("state/effector/state.db")).expect("its state")
    }

    /// Waits until the agent says that it has begun this run. Nothing else shows it while nobody listens: the agent
    /// alone opens its state.
    pub(crate) async fn has_begun(&self, run: RunId) {
        self.says(&format!("a run begins run={run}")).await;
    }

    /// Waits until the agent has written this to its error stream.
    pub(crate) async fn says(&self, words: &str) {
        let said = async {
            while !fs::read_to_string(self.path(LOG)).expect("it is there").contains(words) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.expect("it says so in time");
    }

    /// Waits until the agent has ended by itself.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(PATIENCE, self.agent.wait()).await.expect("it ends in time").expect("it can be asked")
    }

    /// Whether the agent has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.agent.try_wait().expect("it can be asked").is_some()
    }
}

fn spawn(config: &Path, environment: &[(&str, &str)]) -> tokio::process::Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(config.with_file_name(LOG)).expect("a file");
    tokio::process::Command::new(env!("CARGO_BIN_EXE_fettle-agent"))
        .args(["run", "--same-user", "--config"])
        .arg(config)
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::from(log))
        .kill_on_drop(true)
        .spawn()
        .expect("the agent starts")
}

/// A file in flagd's format with one flag in this state.
pub(crate) fn flags(variant: &str) -> String {
    format!(
        "{{\"flags\": {{\"checkout\": {{\"state\": \"ENABLED\", \"variants\": {{\"on\": true, \"off\": false}}, \
         \"defaultVariant\": \"{variant}\"}}}}}}\n"
    )
}

/// Leaves in the agent's state what an enrolment leaves there.
fn enrol(root: &std::path::Path, control_plane: &ControlPlane, id: HostId, life: Duration) -> Store {
    let (effector, daemon) = (root.join("state/effector"), root.join("state/daemon"));
    for folder in [&effector, &daemon] {
        fs::create_dir_all(folder).expect("a folder");
    }
    // A certificate without a life is one that has expired.
    let (at, life) = if life.is_zero() {
        (UnixMillis(now().0 - whole_millis(EXPIRED)), Duration::from_secs(60))
    } else {
        (now(), life)
    };
    let identity = issue_at(at, &control_plane.authority, Subject::Agent(id), life, FIRST_SERIAL);
    IdentityStore::at(daemon.join("identity")).install(&identity).expect("installed");
    write_private(&daemon.join("generations"), format!("{} 1\n", identity.holder().serial).as_bytes())
        .expect("written");
    let seed = [42; 32];
    write_private(&effector.join("record.key"), &seed).expect("written");
    let mut store = Store::open(&effector.join("state.db")).expect("a state");
    let mut shared = control_plane.shared();
    shared.record_key = Some(SigningKey::from_seed(&seed).public());
    store.keep_enrolment(id, &shared.log.log_key(), &shared.log.permit_key()).expect("kept");
    store
}

fn config(root: &str, control_plane: &ControlPlane, publisher: &PublicKey, more: &str) -> String {
    let (address, pin) = (&control_plane.address, control_plane.authority.ca_pin());
    let enrol_address = &control_plane.enrol_address;
    format!(
        r#"[host]
name = "web-1"
environment = "staging"
state-dir = "{root}/state"
drills = "allowed"

[control-plane]
address = "{address}"
enrol-address = "{enrol_address}"
ca-pin = "{pin}"
trust-domain = "fettle.test"
{more}
[[publisher]]
name = "tests"
key = "{publisher}"

[service.web]
manager = "none"
[service.web.flags.checkout]
file = "{root}/flags.json"
key = "checkout"

[ceiling.web]
actions = ["set"]

[commands.probe]
argv = ["/bin/sh", "{root}/probe.sh"]
"#
    )
}
