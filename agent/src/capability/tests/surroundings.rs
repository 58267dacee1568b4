//! What drills inject into a service's surroundings, on real things, and that it is taken back.

use super::commands::{Daemon, status};
use super::*;
use fettle_model::check::CheckRef;
use fettle_model::evidence::{Fault, FaultKind};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::Command;

const HOUR: Duration = Duration::from_hours(1);
const MIB: u64 = 1024 * 1024;

/// The owner's word on a fault of the service `app`.
fn named(table: &str) -> Capabilities {
    capabilities(&format!("manager = \"none\"\n[service.app.faults.{table}"))
}

async fn checked(capabilities: &Capabilities) -> OpenTargets {
    let check = CheckRef { service: "app".parse().expect("a name"), check: "http".parse().expect("a name") };
    open(capabilities, Target::Health { check }).await
}

async fn planned(open: &OpenTargets, kind: FaultKind) -> Result<Deed, ActError> {
    open.fault(&Fault { kind, on: label("it") }, HOUR).await
}

fn injection(deed: &Deed) -> Injection {
    let Deed::Inject { injection, .. } = deed else { unreachable!("{deed:?}") };
    injection.clone()
}

/// A file system of its own, of 100 MiB, in memory. Mounting one takes root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=100m", "tmpfs"])
            .arg(real(&dir))
            .status()
            .expect("the program mount, from the package mount");
        assert!(mounted.success(), "this test mounts a small file system and needs root for it");
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        real(&self.0)
    }

    fn filler(&self) -> PathBuf {
        self.path().join(".fettle-drill")
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("a file system");
        stat.f_bavail * stat.f_frsize
    }

    fn filled(&self, at_most_mib: u64, keep_free_mib: u64) -> Capabilities {
        named(&format!(
            "fill-disk]\nfolder = \"{}\"\nat-most-mib = {at_most_mib}\nkeep-free-mib = {keep_free_mib}\nlongest = \"2m\"",
            self.path().display()
        ))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small file system stays mounted");
    }
}

#[tokio::test]
async fn a_disk_is_filled_up_to_the_owners_bound_and_never_below_the_owners_floor() {
    let disk = SmallDisk::new();
    let before = disk.free();
    for (at_most, keep_free, taken) in [(10, 64, 10 * MIB), (1_000, 64, before - 64 * MIB)] {
        let capabilities = disk.filled(at_most, keep_free);
        let open = checked(&capabilities).await;
        let deed = planned(&open, FaultKind::FillDisk).await.expect("planned");
        let (seen, done) = carry_out(&open, &deed).await.expect("injected");
        assert_eq!(
            seen,
            Before::Surroundings { until: NOW.plus(Duration::from_mins(2)) },
            "no longer than the owner says"
        );
        assert_eq!(done.undo, fettle_model::run::UndoClass::Expires);
        assert_eq!(fs::metadata(disk.filler()).expect("the file").size(), taken);
        assert!(disk.free() >= keep_free * MIB && disk.free() <= before - taken, "{} of {before}", disk.free());
        assert!(matches!(open.look_after_crash(&deed, &seen, SOON).await, Look::Applied(_)));
        assert_eq!(capabilities.take_back(&injection(&deed)).await, Ok(TakenBack::Now));
        assert_eq!(disk.free(), before);
        assert_eq!(open.look_after_crash(&deed, &seen, SOON).await, Look::NotApplied);
        assert_eq!(capabilities.take_back(&injection(&deed)).await, Ok(TakenBack::GoneAlready), "it is no failure");
    }
}

#[tokio::test]
async fn a_file_that_a_service_cleared_away_with_its_folder_is_taken_back_already() {
    let disk = SmallDisk::new();
    let cache = disk.path().join("cache");
    fs::create_dir(&cache).expect("a folder");
    let table = format!("fill-disk]\nfolder = \"{}\"\nat-most-mib = 1\nkeep-free-mib = 64", cache.display());
    let capabilities = named(&table);
    let open = checked(&capabilities).await;
    let deed = planned(&open, FaultKind::FillDisk).await.expect("planned");
    carry_out(&open, &deed).await.expect("injected");
    fs::remove_dir_all(&cache).expect("cleared");
    assert_eq!(capabilities.take_back(&injection(&deed)).await, Ok(TakenBack::GoneAlready), "no folder");
    fs::create_dir(&cache).expect("a folder");
    assert_eq!(capabilities.take_back(&injection(&deed)).await, Ok(TakenBack::GoneAlready), "a new folder");
}

#[tokio::test]
async fn a_disk_without_room_above_the_floor_is_left_alone() {
    let disk = SmallDisk::new();
    let (capabilities, roomy) = (disk.filled(10, 200), disk.filled(50, 64));
    let refused = planned(&checked(&capabilities).await, FaultKind::FillDisk).await;
    assert!(matches!(refused, Err(ActError::Failed(_))), "{refused:?}");
    // The room goes between the plan and the deed.
    let open = checked(&roomy).await;
    let deed = planned(&open, FaultKind::FillDisk).await.expect("planned");
    fs::write(disk.path().join("other"), vec![1; 5 * 1024 * 1024]).expect("written");
    let refused = carry_out(&open, &deed).await;
    assert!(matches!(refused, Err(ActError::Failed(_))), "{refused:?}");
    assert!(!disk.filler().exists());
}

#[tokio::test]
async fn a_fault_that_the_owner_does_not_name_is_not_planned_and_not_injected() {
    let disk = SmallDisk::new();
    let named = disk.filled(10, 64);
    let deed = planned(&checked(&named).await, FaultKind::FillDisk).await.expect("planned");
    let silent = capabilities("manager = \"none\"");
    let open = checked(&silent).await;
    assert!(matches!(planned(&open, FaultKind::FillDisk).await, Err(ActError::Denied(_))));
    assert!(matches!(carry_out(&open, &deed).await, Err(ActError::Denied(_))));
    let smaller = disk.filled(1, 64);
    assert!(matches!(carry_out(&checked(&smaller).await, &deed).await, Err(ActError::Denied(_))));
    assert!(!disk.filler().exists());
}

#[tokio::test]
async fn no_symbolic_link_leads_a_filled_disk_elsewhere() {
    let dir = tempfile::tempdir().expect("a folder");
    let (aim, link) = (real(&dir).join("aim"), real(&dir).join("link"));
    fs::create_dir(&aim).expect("a folder");
    symlink(&aim, &link).expect("a link");
    let table = format!("fill-disk]\nfolder = \"{}\"\nat-most-mib = 1\nkeep-free-mib = 64", link.display());
    let refused = planned(&checked(&named(&table)).await, FaultKind::FillDisk).await;
    assert!(matches!(refused, Err(ActError::Failed(_))), "{refused:?}");
}

/// A network namespace of its own, which lives as long as the process that holds it.
struct Network(std::process::Child);

impl Network {
    fn new() -> Self {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the program unshare");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("its output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said).expect("it says something");
        assert_eq!(said, "up\n", "this test makes a network namespace and needs root and iproute2 for it");
        Self(holder)
    }

    /// Does something on a thread inside of it; its programs and sockets are inside too.
    fn inside<F: Future<Output = ()>>(&self, work: impl FnOnce() -> F + Send) {
        let namespace = fs::File::open(format!("/proc/{}/ns/net", self.0.id())).expect("the namespace");
        let inside = || {
            let kind = rustix::thread::LinkNameSpaceType::Network;
            let fd = std::os::fd::AsFd::as_fd(&namespace);
            rustix::thread::move_into_link_name_space(fd, Some(kind)).expect("root may");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(work());
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).expect("it holds");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.0.kill().expect("our own child");
        self.0.wait().expect("reaped");
    }
}

fn connects(port: u16) -> bool {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    match std::net::TcpStream::connect_timeout(&address, SOON) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{error}");
            false
        }
    }
}

#[test]
fn a_port_refuses_connections_until_it_is_taken_back_and_no_other_port_does() {
    let network = Network::new();
    network.inside(|| async {
        let listen = |port| std::net::TcpListener::bind(("127.0.0.1", port)).expect("a free port in a fresh network");
        let _listeners = [listen(5432), listen(5433)];
        let capabilities = named("refuse-port]\nport = 5432\nlongest = \"2m\"");
        let open = checked(&capabilities).await;
        let deed = planned(&open, FaultKind::RefusePort).await.expect("planned");
        assert_eq!((connects(5432), connects(5433)), (true, true));
        let (seen, _) = carry_out(&open, &deed).await.expect("injected");
        assert_eq!((connects(5432), connects(5433)), (false, true));
        assert!(matches!(open.look_after_crash(&deed, &seen, SOON).await, Look::Applied(_)));
        assert!(matches!(carry_out(&open, &deed).await, Err(ActError::Failed(_))), "it is there already");
        assert_eq!(capabilities.take_back(&injection(&deed)).await, Ok(TakenBack::Now));
        assert_eq!((connects(5432), connects(5433)), (true, true));
        assert_eq!(open.look_after_crash(&deed, &seen, SOON).await, Look::NotApplied);
        capabilities.take_back(&injection(&deed)).await.expect("nothing to take back is no failure");
        let other = named("refuse-port]\nport = 5433");
        assert!(matches!(carry_out(&checked(&other).await, &deed).await, Err(ActError::Denied(_))));
        assert_eq!((connects(5432), connects(5433)), (true, true));
    });
}

/// The state of a process: `T` is stopped.
fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    stat.rsplit_once(')').expect("a name").1.trim_start().starts_with('T')
}

/// Waits until the process was seen stopped, or going on, so many times in turns.
async fn turns(pid: u32, turns: u32) {
    for _ in 0..turns {
        turns_to(pid, true).await;
        turns_to(pid, false).await;
    }
}

async fn turns_to(pid: u32, stopped: bool) {
    let turned = async {
        while is_stopped(pid) != stopped {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, turned).await.expect("it is stopped, or goes on");
}

/// A turn takes 40 ms: it would be seen stopped in one of these looks.
async fn goes_on(pid: u32) {
    turns_to(pid, false).await;
    for _ in 0..40 {
        assert!(!is_stopped(pid), "it goes on for good");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A service that runs, whose owner allows it to be slowed down so.
async fn slowed(daemon: &Daemon, turns: &str) -> (Capabilities, OpenTargets, u32) {
    let capabilities = capabilities(&format!("{}[service.app.faults.slow-responses]\n{turns}", daemon.table()));
    let open = open(&capabilities, Target::CommandService { name: "app".to_owned() }).await;
    assert!(matches!(planned(&open, FaultKind::SlowResponses).await, Err(ActError::Failed(_))), "it does not run yet");
    let expect = status(&open).await.revision;
    let start = Deed::Service { label: label("it"), action: fettle_model::playbook::Action::Start, expect };
    carry_out(&open, &start).await.expect("started");
    (capabilities, open, daemon.pid().expect("a pid"))
}

#[tokio::test]
async fn a_slow_service_is_stopped_in_turns_until_it_is_taken_back() {
    let daemon = Daemon::new();
    let quick = "stopped = \"20ms\"\nrunning = \"20ms\"\nlongest = \"1m\"";
    let (capabilities, open, pid) = slowed(&daemon, quick).await;
    let deed = planned(&open, FaultKind::SlowResponses).await.expect("planned");
    let (seen, _) = carry_out(&open, &deed).await.expect("injected");
    turns(pid, 3).await;
    assert!(matches!(open.look_after_crash(&deed, &seen, SOON).await, Look::Applied(_)));
    assert!(matches!(open.before(&deed, NOW).await, Err(ActError::Failed(_))), "it is slow already");
    assert_eq!(capabilities.take_back(&injection(&deed)).await, Ok(TakenBack::Now));
    assert_eq!(open.look_after_crash(&deed, &seen, SOON).await, Look::NotApplied);
    goes_on(pid).await;
    capabilities.take_back(&injection(&deed)).await.expect("nothing to take back is no failure");
}

#[tokio::test]
async fn a_slow_service_goes_on_by_itself_when_nobody_takes_it_back() {
    let daemon = Daemon::new();
    let once = "stopped = \"500ms\"\nrunning = \"500ms\"\nlongest = \"1s\"";
    let (_capabilities, open, pid) = slowed(&daemon, once).await;
    let deed = planned(&open, FaultKind::SlowResponses).await.expect("planned");
    carry_out(&open, &deed).await.expect("injected");
    turns(pid, 1).await;
}

#[tokio::test]
async fn a_process_that_an_earlier_effector_left_stopped_is_let_go() {
    let daemon = Daemon::new();
    let (_capabilities, open, pid) = slowed(&daemon, "stopped = \"1s\"\nrunning = \"10ms\"").await;
    let deed = planned(&open, FaultKind::SlowResponses).await.expect("planned");
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(process, rustix::process::Signal::STOP).expect("our own child's child");
    turns_to(pid, true).await;
    // Another process of the agent: nothing is left of the thread.
    let later = super::capabilities(&daemon.table());
    assert_eq!(later.take_back(&injection(&deed)).await, Ok(TakenBack::Now));
    turns_to(pid, false).await;
}
