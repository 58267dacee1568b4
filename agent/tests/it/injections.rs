//! Injections of drills through the whole agent: only what the owner names, and always taken back.

use crate::stand::{PATIENCE, Stand, check, id, parsed};
use fettle_agent::capability::{Injection, Injections, Pending, ProcessRef};
use fettle_agent::effector::store::Value;
use fettle_model::breaker::{Scope, StopOrder};
use fettle_model::counter::StopEpoch;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::record::Body;
use fettle_model::run::{Ending, RunRecord};
use fettle_model::time::UnixMillis;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A folder that the owner lets drills fill for so long, and the table that says so.
fn folder(longest: &str) -> (tempfile::TempDir, PathBuf, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().canonicalize().expect("a path");
    let table = format!(
        "[service.web.faults.fill-disk]\nfolder = \"{}\"\nat-most-mib = 1\nkeep-free-mib = 64\nlongest = \"{longest}\"\n",
        path.display()
    );
    (dir, path.join(".fettle-drill"), table)
}

/// A drill that fills the folder, up to the permit for it.
async fn injecting(stand: &mut Stand) -> Permit {
    let package = stand.package.bytes().to_vec();
    stand.control_plane.shared().packages.insert(stand.package.digest(), package);
    stand.configure().await;
    stand.start_drill_of(Fault { kind: FaultKind::FillDisk, on: parsed("health") }).await;
    let request = stand.request().await;
    assert!(matches!(&request.purpose, Purpose::InjectFault { .. }), "{request:?}");
    let permit = Permit { drill: Some(id(9)), ..stand.permit(&request) };
    stand.say(Body::PermitGranted(Box::new(permit.clone()))).await;
    permit
}

async fn ended(stand: &mut Stand) -> RunRecord {
    stand.recorded(|body| if let Body::RunEnded(record) = body { Some((**record).clone()) } else { None }).await
}

async fn gone(file: &Path) {
    let gone = async {
        while file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("it is taken back");
}

#[tokio::test]
async fn a_fault_is_taken_back_when_its_time_is_over_without_a_word_of_the_control_plane() {
    let (_dir, file, table) = folder("1s");
    let mut stand = Stand::with_tables(&table).await;
    injecting(&mut stand).await;
    let record = ended(&mut stand).await;
    assert_eq!(record.ending, Ending::Succeeded, "{record:?}");
    gone(&file).await;
}

#[tokio::test]
async fn a_fault_outlives_a_killed_agent_and_the_next_one_takes_it_back_when_automation_is_stopped() {
    let (_dir, file, table) = folder("30m");
    let mut stand = Stand::with_tables(&table).await;
    injecting(&mut stand).await;
    assert_eq!(ended(&mut stand).await.ending, Ending::Succeeded);
    assert!(file.exists(), "for half an hour");
    stand.host.restart(str::to_owned).await;
    stand.heard(|heard| matches!(heard, crate::control_plane::Heard::Connected { .. }).then_some(())).await;
    assert!(file.exists(), "its time is not over");
    let scope = Scope::Service(parsed("another"));
    let order = StopOrder { scope, epoch: StopEpoch(1), by: parsed("alice"), why: "a storm".to_owned() };
    stand.say(Body::AutomationStopped(Box::new(order))).await;
    gone(&file).await;
}

#[tokio::test]
async fn a_fault_is_taken_back_when_the_drills_healing_run_has_ended() {
    let (_dir, file, table) = folder("30m");
    let mut stand = Stand::with_tables(&table).await;
    injecting(&mut stand).await;
    assert_eq!(ended(&mut stand).await.ending, Ending::Succeeded);
    stand.host.break_it();
    let request = stand.request().await;
    assert!(matches!(&request.purpose, Purpose::Remediate { check: asked, .. } if *asked == check()));
    assert!(file.exists(), "nothing has healed it");
    let permit = Permit { drill: Some(id(9)), ..stand.permit(&request) };
    stand.say(Body::PermitGranted(Box::new(permit))).await;
    assert_eq!(ended(&mut stand).await.run, request.run);
    gone(&file).await;
}

#[tokio::test]
async fn a_flag_that_a_drill_set_is_as_before_when_the_drills_healing_run_has_ended() {
    let mut stand = Stand::configured().await;
    stand.start_drill().await;
    for (breaks, variant) in [(false, "on"), (true, "off")] {
        if breaks {
            stand.host.break_it();
        }
        let request = stand.request().await;
        let permit = Permit { drill: Some(id(9)), ..stand.permit(&request) };
        stand.say(Body::PermitGranted(Box::new(permit))).await;
        assert_eq!(ended(&mut stand).await.run, request.run);
        let set = format!("\"defaultVariant\": \"{variant}\"");
        let is_set = async {
            while !stand.host.flags().contains(&set) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_set).await.expect("long before the hold's own end");
    }
}

#[tokio::test]
async fn an_agent_that_ends_takes_its_faults_back_first() {
    let (_dir, file, table) = folder("30m");
    let mut stand = Stand::with_tables(&table).await;
    injecting(&mut stand).await;
    assert_eq!(ended(&mut stand).await.ending, Ending::Succeeded);
    stand.host.terminate();
    assert!(stand.host.ended().await.success());
    assert!(!file.exists());
}

#[tokio::test]
async fn what_a_crash_left_of_a_fault_that_was_only_begun_is_taken_back() {
    let (dir, file, table) = folder("30m");
    std::fs::write(&file, "half of it").expect("written");
    let folder = dir.path().canonicalize().expect("a path").display().to_string();
    let mut injections = Injections::default();
    let injection = Injection::FillDisk { folder, bytes: 1 };
    injections.begin(Pending { drill: id(9), injection, until: UnixMillis(1) });
    let kept = serde_json::to_string(&injections).expect("JSON");
    let _stand = Stand::prepared(|store, _| store.set_value(Value::Injections, &kept).expect("kept")).await;
    drop(table);
    gone(&file).await;
}

#[tokio::test]
async fn a_permit_for_a_fault_that_the_owner_does_not_name_is_refused() {
    let mut stand = Stand::with_tables("").await;
    injecting(&mut stand).await;
    let because = stand
        .recorded(|body| if let Body::PermitRejected(rejected) = body { Some(rejected.because.clone()) } else { None })
        .await;
    assert_eq!(because, PermitRejection::DrillsRefused);
}

#[tokio::test]
async fn a_process_that_a_killed_agent_left_stopped_is_let_go_by_the_next_one_at_once() {
    let mut process = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().expect("it starts");
    let pid = process.id().expect("it runs");
    let named = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(named, rustix::process::Signal::STOP).expect("our own child");
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
        stat.rsplit_once(')').expect("a name").1.trim_start().starts_with('T')
    };
    let mut injections = Injections::default();
    let slowed = ProcessRef::of(pid).expect("proc").expect("it lives");
    let until = UnixMillis(u64::MAX >> 12);
    injections.begin(Pending { drill: id(9), injection: Injection::SlowResponses { process: slowed }, until });
    let kept = serde_json::to_string(&injections).expect("JSON");
    let _stand = Stand::prepared(|store, _| store.set_value(Value::Injections, &kept).expect("kept")).await;
    let let_go = async {
        while stopped() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go).await.expect("it goes on, although its time is not over");
    process.kill().await.expect("our own child");
}
