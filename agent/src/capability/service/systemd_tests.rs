//! Tests of the systemd units against [`super::fake_systemd`].

use super::fake_systemd::{FakeSystemd, Job, Unit};
use super::*;
use crate::capability::deed::Before;
use crate::config::UnitName;
use std::process::Stdio;

const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::from_millis(50);

fn boot() -> BootId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("a boot id")
}

fn label() -> Label {
    "web".parse().expect("a label")
}

async fn opened(fake: &FakeSystemd) -> Result<ServiceHandle, String> {
    let unit: UnitName = "web.service".parse().expect("a unit");
    fake.link.open(&unit).await.map(ServiceHandle::Systemd)
}

async fn revision(service: &ServiceHandle) -> Revision {
    service.observe().await.expect("a status").status.revision
}

/// The whole way of one action on a unit: look, do.
async fn done(fake: &FakeSystemd, action: Action, within: Duration) -> Result<Done, ActError> {
    let service = opened(fake).await.expect("opened");
    let expect = revision(&service).await;
    let before = service.before(boot(), &expect).await.expect("before");
    service.change(&label(), action, &before, within).await
}

#[tokio::test]
async fn a_unit_is_seen_as_systemd_says() {
    let fake = FakeSystemd::with(Unit::running()).await;
    let service = opened(&fake).await.expect("opened");
    let seen = service.observe().await.expect("a status");
    let expected = ServiceStatus {
        activity: Activity::Active,
        since: fettle_model::time::UnixMillis(100),
        // It began to run decades ago, so none of its restarts fell into the last hour.
        restarts_last_hour: 0,
        main_pid: None,
        revision: Revision("sd:01010101010101010101010101010101:100:0".to_owned()),
    };
    assert_eq!(seen.status, expected);
    assert_eq!(seen.changed_at, Some(100));
    for (word, activity) in [
        ("reloading", Activity::Active),
        ("activating", Activity::Activating),
        ("deactivating", Activity::Deactivating),
        ("failed", Activity::Failed),
    ] {
        fake.unit(|unit| unit.active = word);
        assert_eq!(service.observe().await.expect("a status").status.activity, activity);
    }
    fake.unit(|unit| unit.active = "dreaming");
    assert!(matches!(service.observe().await, Err(ReadError::Malformed(_))));
}

#[tokio::test]
async fn every_action_is_one_job_with_the_canonical_name() {
    for (action, method) in [
        (Action::Restart, "RestartUnit web.service replace"),
        (Action::Stop, "StopUnit web.service replace"),
        (Action::Reload, "ReloadUnit web.service replace"),
    ] {
        let fake = FakeSystemd::with(Unit::running()).await;
        let done = done(&fake, action, SOON).await.expect("done");
        assert_eq!(done.change, Change::Made);
        assert_eq!(done.undo, undo_of(action));
        assert_eq!(fake.unit(|unit| unit.asked.clone()), [method]);
    }
}

#[tokio::test]
async fn starting_what_runs_asks_systemd_for_nothing() {
    let fake = FakeSystemd::with(Unit::running()).await;
    let done = done(&fake, Action::Start, SOON).await.expect("done");
    assert_eq!(done, Done::unneeded(UndoClass::Automatic));
    assert!(fake.unit(|unit| unit.asked.is_empty()));
}

#[tokio::test]
async fn what_was_stopped_can_be_started_again_by_its_inverse_only_while_nobody_else_did() {
    let fake = FakeSystemd::with(Unit::running()).await;
    let done = done(&fake, Action::Stop, SOON).await.expect("done");
    let service = opened(&fake).await.expect("opened");
    let Some(Deed::Service { action: Action::Start, expect, .. }) = done.inverse else {
        unreachable!("a stop has a start as its inverse: {done:?}")
    };
    assert_eq!(expect, revision(&service).await);
    fake.unit(|unit| {
        unit.start();
        unit.stop();
    });
    let now = revision(&service).await;
    assert_eq!(service.before(boot(), &expect).await, Err(ActError::Stale(now)));
}

#[tokio::test]
async fn a_unit_that_moved_since_it_was_observed_is_not_touched() {
    let fake = FakeSystemd::with(Unit::running()).await;
    let service = opened(&fake).await.expect("opened");
    let expect = revision(&service).await;
    let before = service.before(boot(), &expect).await.expect("before");
    fake.unit(Unit::start);
    let stale = Err(ActError::Stale(revision(&service).await));
    assert_eq!(service.change(&label(), Action::Restart, &before, SOON).await, stale);
    assert!(fake.unit(|unit| unit.asked.is_empty()));
}

#[track_caller]
fn check_error(result: Result<Done, ActError>, failed: bool) {
    match result {
        Err(ActError::Failed(_)) => assert!(failed, "failed, though it cannot be told"),
        Err(ActError::Indeterminate(_)) => assert!(!failed, "in doubt, though it failed for certain"),
        other => unreachable!("neither failed nor in doubt: {other:?}"),
    }
}

#[tokio::test]
async fn the_end_of_a_job_is_told_apart_from_not_knowing() {
    for (job, failed) in
        [(Job::Fails, true), (Job::IsRefused, true), (Job::IsCancelled, false), (Job::EndsUnheard, false)]
    {
        let fake = FakeSystemd::with(Unit { job, ..Unit::running() }).await;
        check_error(done(&fake, Action::Restart, Duration::from_millis(300)).await, failed);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_during_a_job_leaves_doubt() {
    let fake = FakeSystemd::with(Unit { job: Job::Stays, ..Unit::running() }).await;
    let service = opened(&fake).await.expect("opened");
    let expect = revision(&service).await;
    let before = service.before(boot(), &expect).await.expect("before");
    let label = label();
    let restart = service.change(&label, Action::Restart, &before, SOON);
    let vanish = async {
        while fake.unit(|unit| unit.queued) == 0 {
            tokio::task::yield_now().await;
        }
        fake.vanish().await;
    };
    let (result, ()) = tokio::join!(restart, vanish);
    check_error(result, false);
}

/// A private message bus; ended on drop.
struct Bus {
    daemon: std::process::Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Bus {
    fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("bus.conf");
        let socket = dir.path().join("bus").display().to_string();
        let text = format!(
            "<busconfig><type>custom</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow send_type=\"signal\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>"
        );
        std::fs::write(&config, text).expect("a configuration");
        let config = format!("--config-file={}", config.display());
        let mut daemon = std::process::Command::new("/usr/bin/dbus-daemon")
            .args([config.as_str(), "--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut address = String::new();
        let stdout = daemon.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut address).expect("an address");
        Some(Self { daemon, address: address.trim().to_owned(), _dir: dir })
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.daemon.kill().and_then(|()| self.daemon.wait());
    }
}

#[tokio::test]
async fn a_strangers_signal_on_the_bus_ends_no_job() {
    // Where there is no message bus there is nobody to send a false signal.
    let Some(bus) = Bus::start() else { return };
    let fake = FakeSystemd::on_bus(Unit { job: Job::Stays, ..Unit::running() }, &bus.address).await;
    let stranger = zbus::connection::Builder::address(bus.address.as_str()).build().await.expect("a stranger");
    let lie = async {
        while fake.unit(|unit| unit.queued) == 0 {
            tokio::task::yield_now().await;
        }
        super::fake_systemd::tell_job_removed(&stranger, "done").await;
    };
    let (result, ()) = tokio::join!(done(&fake, Action::Restart, Duration::from_millis(500)), lie);
    check_error(result, false);

    fake.unit(|unit| unit.job = Job::Ends);
    done(&fake, Action::Restart, SOON).await.expect("systemd's own signal ends it");
}

#[tokio::test]
async fn aliases_unloaded_units_and_the_agent_itself_are_not_opened() {
    for unit in [
        Unit { id: "nginx.service", ..Unit::running() },
        Unit { load: "not-found", ..Unit::running() },
        Unit { load: "masked", ..Unit::running() },
        Unit { main_pid: std::process::id(), ..Unit::running() },
    ] {
        let fake = FakeSystemd::with(unit).await;
        assert!(opened(&fake).await.is_err());
    }
}

#[tokio::test]
async fn a_unit_whose_file_was_replaced_is_not_acted_on() {
    let fake = FakeSystemd::with(Unit::running()).await;
    let service = opened(&fake).await.expect("opened");
    let expect = revision(&service).await;
    let before = service.before(boot(), &expect).await.expect("before");
    fake.unit(|unit| unit.fragment = "/run/systemd/system/web.service");
    let result = service.change(&label(), Action::Restart, &before, SOON).await;
    assert!(matches!(result, Err(ActError::Failed(_))), "{result:?}");
    assert!(fake.unit(|unit| unit.asked.is_empty()));
}

#[tokio::test]
async fn waiting_ends_with_the_signal_or_with_the_time() {
    let fake = FakeSystemd::with(Unit::running()).await;
    let service = opened(&fake).await.expect("opened");
    assert_eq!(service.wait_for(Activity::Inactive, AT_ONCE).await, Err(ReadError::Timeout));
    let change = async {
        fake.unit(Unit::stop);
        fake.tell().await;
    };
    let (waited, ()) = tokio::join!(service.wait_for(Activity::Inactive, SOON), change);
    assert_eq!(waited.expect("a status").activity, Activity::Inactive);
}

/// Crashes the effector after `change` and looks again.
async fn looked_after(action: Action, change: impl FnOnce(&mut Unit)) -> Look {
    let fake = FakeSystemd::with(Unit::running()).await;
    let service = opened(&fake).await.expect("opened");
    let before = service.before(boot(), &revision(&service).await).await.expect("before");
    let text = serde_json::to_string(&Before::Service(before)).expect("JSON");
    let Ok(Before::Service(before)) = serde_json::from_str(&text) else { unreachable!("the journal keeps it") };
    fake.unit(change);
    let again = opened(&fake).await.expect("opened");
    again.look_after_change(boot(), &label(), action, &before, AT_ONCE).await
}

#[tokio::test]
async fn after_a_crash_the_unit_itself_tells() {
    let restarted = looked_after(Action::Restart, |unit| {
        unit.stop();
        unit.start();
    });
    assert!(matches!(restarted.await, Look::Applied(Done { change: Change::Made, .. })));
    assert_eq!(looked_after(Action::Restart, |_| ()).await, Look::NotApplied);
    assert!(matches!(looked_after(Action::Restart, Unit::stop).await, Look::CannotTell { .. }));
    assert!(matches!(looked_after(Action::Stop, Unit::stop).await, Look::Applied(_)));
    assert!(matches!(looked_after(Action::Reload, |unit| unit.clock += 1).await, Look::Applied(_)));
    assert_eq!(looked_after(Action::Reload, |_| ()).await, Look::NotApplied);
}

#[tokio::test]
async fn a_job_still_at_work_is_not_taken_for_not_applied() {
    let look = looked_after(Action::Restart, |unit| unit.queued = 7).await;
    assert!(matches!(look, Look::CannotTell { .. }), "{look:?}");
}

#[tokio::test]
async fn the_main_process_is_killed_and_no_other() {
    let mut child = std::process::Command::new("/bin/sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep");
    let fake = FakeSystemd::with(Unit { main_pid: child.id(), ..Unit::running() }).await;
    let service = opened(&fake).await.expect("opened");
    let before = service.before(boot(), &revision(&service).await).await.expect("before");
    assert_eq!(before.main.map(|main| main.pid), Some(child.id()));
    assert_eq!(ServiceHandle::look_after_kill(boot(), &before), Look::NotApplied);
    let done = service.kill(&before, SOON).await.expect("killed");
    assert_eq!(done, killed());
    assert_eq!(ServiceHandle::look_after_kill(boot(), &before), Look::Applied(killed()));
    child.wait().expect("reaped");
}

#[tokio::test]
async fn a_unit_without_a_main_process_has_nothing_to_kill() {
    for main_pid in [0, 1] {
        let fake = FakeSystemd::with(Unit { main_pid, ..Unit::running() }).await;
        let service = opened(&fake).await.expect("opened");
        let before = service.before(boot(), &revision(&service).await).await.expect("before");
        assert!(matches!(service.kill(&before, AT_ONCE).await, Err(ActError::Failed(_))));
    }
}
