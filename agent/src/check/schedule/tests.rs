//! The schedule over real probes.

use super::*;
use crate::check::{Sequel, Stay};
use fettle_model::check::{HostValue, Presence, Probe};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;

/// Longer than anything here takes on a loaded machine.
const LONG: Duration = Duration::from_secs(20);

const SHORT: Duration = Duration::from_millis(100);

fn no_clock() -> UnixMillis {
    UnixMillis(1_700_000_000_000)
}

fn schedule() -> Schedule {
    Schedule::new(BTreeMap::new(), BusAddress::At("unix:path=/nonexistent/bus".to_owned()), no_clock)
}

fn of(check: &str) -> CheckRef {
    CheckRef { service: "web".parse().expect("a name"), check: check.parse().expect("a name") }
}

/// A name whose first probe comes almost at once, whatever the interval.
fn prompt() -> CheckRef {
    (0..100_000_u32)
        .map(|number| of(&format!("c{number}")))
        .find(|of| phase(of, LONG) < Duration::from_millis(20))
        .expect("one of so many names")
}

fn resolved(of: &CheckRef, probe: Probe, interval: Duration, fail_after: u32) -> ResolvedCheck {
    let check = Check { name: of.check.clone(), probe, interval, timeout: LONG, fail_after, recover_after: 1 };
    ResolvedCheck { of: of.clone(), check, last: Some(Status::Passing) }
}

fn tcp(address: &str) -> Probe {
    Probe::Tcp { address: HostValue(address.to_owned()) }
}

/// Nobody listens there.
async fn refusing() -> Probe {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    tcp(&listener.local_addr().expect("an address").to_string())
}

async fn next(schedule: &mut Schedule) -> Noticed {
    tokio::time::timeout(LONG, schedule.next()).await.expect("a result in time")
}

/// The statuses until a change, and the change.
async fn until_change(schedule: &mut Schedule) -> (Vec<Status>, Change) {
    let mut seen = Vec::new();
    loop {
        let noticed = next(schedule).await;
        seen.push(noticed.observation.status);
        if let Some(change) = noticed.change {
            assert_eq!(change.at, no_clock());
            assert_eq!(change.reason, noticed.observation.reason);
            return (seen, change);
        }
    }
}

#[tokio::test]
async fn a_fault_is_a_change_after_its_number_of_probes() {
    let mut schedule = schedule();
    schedule.reconfigure(vec![resolved(&of("answers"), refusing().await, SHORT, 3)]);
    let (seen, change) = until_change(&mut schedule).await;
    assert_eq!(seen, vec![Status::Critical; 3]);
    assert_eq!((change.check, change.from, change.to), (of("answers"), Some(Status::Passing), Status::Critical));
    assert!(change.reason.as_str().contains("refused"), "{}", change.reason);
    assert_eq!(schedule.status(&of("answers")), Some(Status::Critical));
}

#[tokio::test]
async fn a_killed_process_is_a_change_long_before_its_interval_is_over() {
    let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep(1)");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.pid");
    std::fs::write(&path, sleeper.id().to_string()).expect("written");
    let mut schedule = schedule();
    let probe = Probe::Process { pid_file: HostValue(path.display().to_string()) };
    schedule.reconfigure(vec![resolved(&prompt(), probe, 100 * LONG, 1)]);
    assert_eq!(next(&mut schedule).await.observation.status, Status::Passing);
    let killed = Instant::now();
    sleeper.kill().expect("it lives");
    let (seen, change) = until_change(&mut schedule).await;
    println!("from kill to change: {:?}", killed.elapsed());
    assert_eq!((seen, change.to), (vec![Status::Critical], Status::Critical));
    sleeper.wait().expect("it is ours");
}

#[tokio::test]
async fn events_that_say_nothing_new_do_not_fill_up_the_damping() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stop");
    std::fs::write(&path, "").expect("written");
    let mut schedule = schedule();
    let probe = Probe::File { path: HostValue(path.display().to_string()), must: Presence::BeAbsent, max_age: None };
    schedule.reconfigure(vec![resolved(&prompt(), probe, 100 * LONG, 2)]);
    assert_eq!(next(&mut schedule).await.observation.status, Status::Critical);
    for _ in 0..5 {
        std::fs::write(&path, "again").expect("written");
        // Lets the check's task take the event, and ends with its spacing.
        let nothing = tokio::time::timeout(EVENT_SPACING + EVENT_SPACING / 2, schedule.next()).await;
        assert_eq!(nothing.ok(), None);
    }
    std::fs::remove_file(&path).expect("removed");
    let noticed = next(&mut schedule).await;
    assert_eq!((noticed.observation.status, noticed.change), (Status::Passing, None));
}

#[tokio::test]
async fn an_unchanged_check_goes_on_where_it_was() {
    let mut schedule = schedule();
    let set = vec![resolved(&of("answers"), refusing().await, SHORT, 2)];
    schedule.reconfigure(set.clone());
    assert_eq!(next(&mut schedule).await.change, None);
    schedule.reconfigure(set);
    assert_eq!(until_change(&mut schedule).await.0, vec![Status::Critical]);
}

#[tokio::test]
async fn a_redefined_check_keeps_its_status_and_a_new_one_takes_the_durable_one() {
    let mut schedule = schedule();
    let refusing = refusing().await;
    schedule.reconfigure(vec![resolved(&of("answers"), refusing.clone(), SHORT, 1)]);
    until_change(&mut schedule).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let accepting = tcp(&listener.local_addr().expect("an address").to_string());
    let mut added = resolved(&of("added"), refusing, SHORT, 1);
    added.last = Some(Status::Critical);
    // The effector's word is older than what was seen here.
    schedule.reconfigure(vec![resolved(&of("answers"), accepting, SHORT, 1), added]);
    assert_eq!(schedule.status(&of("answers")), Some(Status::Critical));
    assert_eq!(schedule.status(&of("added")), Some(Status::Critical));
    let (_, change) = until_change(&mut schedule).await;
    assert_eq!((change.check, change.from, change.to), (of("answers"), Some(Status::Critical), Status::Passing));
    drop(listener);
}

#[tokio::test]
async fn a_removed_check_is_silent_even_where_it_had_results_on_the_way() {
    let mut schedule = schedule();
    let refusing = refusing().await;
    schedule.reconfigure(vec![resolved(&of("gone"), refusing.clone(), SHORT, 1)]);
    next(&mut schedule).await;
    // Fill the channel behind the reader's back.
    while schedule.reports.is_empty() {
        tokio::task::yield_now().await;
    }
    schedule.reconfigure(vec![resolved(&of("kept"), refusing, SHORT, 1)]);
    for _ in 0..3 {
        assert_eq!(next(&mut schedule).await.observation.check, of("kept"));
    }
    assert_eq!(schedule.status(&of("gone")), None);
    assert!(schedule.subscribe(&of("gone")).is_none());
}

#[tokio::test]
async fn a_check_never_overlaps_with_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let lock = folder.path().join("lock");
    let script = format!("mkdir {0} || exit 2; sleep 0.25; rmdir {0}; echo alone", lock.display());
    let name: CheckName = "slow".parse().expect("a name");
    let argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
    let mut schedule = Schedule::new(BTreeMap::from([(name.clone(), argv)]), BusAddress::System, no_clock);
    schedule.reconfigure(vec![resolved(&of("slow"), Probe::Command { command: name }, SHORT, 1)]);
    for _ in 0..4 {
        let noticed = next(&mut schedule).await;
        assert_eq!(noticed.observation.status, Status::Passing, "{}", noticed.observation.reason);
    }
}

#[tokio::test]
async fn a_probe_on_demand_is_fresh_and_leaves_the_schedule_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ready");
    let mut schedule = schedule();
    let probe = Probe::File { path: HostValue(path.display().to_string()), must: Presence::Exist, max_age: None };
    // Its own first probe is far away.
    schedule.reconfigure(vec![resolved(&of("ready"), probe, 100 * LONG, 1)]);
    assert_eq!(schedule.probe_now(&of("ready")).await.status, Status::Critical);
    std::fs::write(&path, "").expect("written");
    assert_eq!(schedule.probe_now(&of("ready")).await.status, Status::Passing);
    assert_eq!(schedule.status(&of("ready")), Some(Status::Passing));
    let absent = schedule.probe_now(&of("absent")).await;
    assert_eq!((absent.status, absent.reason.as_str()), (Status::Unknown, "this host has no check web/absent"));
}

#[tokio::test]
async fn one_good_probe_on_demand_is_not_the_health_of_a_check_that_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = format!("if rmdir {0}; then exit 2; fi; mkdir {0}", folder.path().join("now-and-then").display());
    let name: CheckName = "comes-and-goes".parse().expect("a name");
    let argv = vec!["/bin/sh".to_owned(), "-c".to_owned(), script];
    let flaps = Probe::Command { command: name.clone() };
    for (last, recover_after, expected) in [
        (Status::Passing, 2, [Status::Passing, Status::Critical]),
        (Status::Critical, 1, [Status::Passing, Status::Critical]),
        // A bad answer is said at once, so each begins with a good one.
        (Status::Critical, 2, [Status::Critical, Status::Critical]),
    ] {
        let mut schedule = Schedule::new(BTreeMap::from([(name.clone(), argv.clone())]), BusAddress::System, no_clock);
        // Its own first probe is far away.
        let mut checked = resolved(&of("comes-and-goes"), flaps.clone(), 100 * LONG, 1);
        (checked.check.recover_after, checked.last) = (recover_after, Some(last));
        schedule.reconfigure(vec![checked]);
        for status in expected {
            assert_eq!(
                schedule.probe_now(&of("comes-and-goes")).await.status,
                status,
                "from {last:?}, {recover_after}"
            );
        }
    }
}

#[tokio::test]
async fn results_can_be_followed_until_a_check_has_stayed_healthy() {
    let mut schedule = schedule();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    schedule.reconfigure(vec![
        resolved(&of("answers"), tcp(&address), SHORT, 1),
        resolved(&of("other"), refusing().await, SHORT, 1),
    ]);
    let mut results = schedule.subscribe(&of("answers")).expect("a check");
    let drained = async move {
        loop {
            schedule.next().await;
        }
    };
    let followed = async {
        assert_eq!(results.stays_passing(3 * SHORT).await, Stay::Stayed);
        drop(listener);
        let broken = results.stays_passing(LONG).await;
        assert!(matches!(&broken, Stay::Broke(observation) if observation.status == Status::Critical), "{broken:?}");
        assert!(matches!(results.next().await, Sequel::Result(_)));
    };
    tokio::select! {
        () = followed => {}
        () = drained => {}
        () = tokio::time::sleep(LONG) => unreachable!("it comes in time"),
    }
}

static CLOCK_READ: AtomicU32 = AtomicU32::new(0);

fn clock_that_fails_once() -> UnixMillis {
    assert!(CLOCK_READ.fetch_add(1, Ordering::Relaxed) > 0, "the first reading fails");
    no_clock()
}

#[tokio::test]
async fn a_probe_that_ends_with_a_bug_is_told_and_started_again() {
    let mut schedule = Schedule::new(BTreeMap::new(), BusAddress::System, clock_that_fails_once);
    schedule.reconfigure(vec![resolved(&of("answers"), refusing().await, SHORT, 1)]);
    let (seen, change) = until_change(&mut schedule).await;
    assert_eq!((seen, change.to), (vec![Status::Unknown], Status::Unknown));
    assert_eq!(until_change(&mut schedule).await.1.to, Status::Critical);
}

#[test]
fn first_probes_are_spread_and_none_is_late() {
    let names: Vec<CheckRef> = (0..200).map(|number| of(&format!("check-{number}"))).collect();
    for (interval, bound) in [(SHORT, SHORT), (Duration::from_secs(3_600), FIRST_WITHIN)] {
        let phases: Vec<Duration> = names.iter().map(|of| phase(of, interval)).collect();
        assert!(phases.iter().all(|phase| *phase < bound));
        let tenths: BTreeSet<u128> = phases.iter().map(|phase| phase.as_nanos() * 10 / bound.as_nanos()).collect();
        assert_eq!(tenths.len(), 10, "every tenth of the time has a first probe");
    }
    assert_eq!(phase(&names[0], SHORT), phase(&names[0], SHORT));
}
