//! A drill's faults on real things.

use super::commands::{Daemon, status};
use super::flags::FlagFile;
use super::releases::{Tree, current};
use super::*;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_sandbox::call::Activity;
use std::fs;

const HOUR: Duration = Duration::from_hours(1);

async fn inject(open: &OpenTargets, kind: FaultKind) -> Result<(Before, Done), ActError> {
    let deed = open.fault(&Fault { kind, on: label("it") }, HOUR).await?;
    carry_out(open, &deed).await
}

#[tokio::test]
async fn a_service_is_stopped_or_its_process_killed() {
    for kind in [FaultKind::StopService, FaultKind::KillProcess] {
        let daemon = Daemon::new();
        let open = daemon.open().await;
        let expect = status(&open).await.revision;
        let start = Deed::Service { label: label("it"), action: fettle_model::playbook::Action::Start, expect };
        carry_out(&open, &start).await.expect("started");
        let pid = daemon.pid().expect("a pid");
        inject(&open, kind).await.expect("injected");
        assert_eq!(ProcessRef::of(pid).expect("proc"), None, "{kind:?}");
        assert_eq!(daemon.pid().is_some(), kind == FaultKind::KillProcess, "a kill cleans nothing up");
        fs::metadata("/proc/self").expect("and this process lives");
    }
}

#[tokio::test]
async fn a_killed_service_is_seen_as_not_running() {
    let daemon = Daemon::new();
    let open = daemon.open().await;
    assert!(matches!(inject(&open, FaultKind::KillProcess).await, Err(ActError::Failed(_))));
    assert_eq!(status(&open).await.activity, Activity::Inactive);
}

#[tokio::test]
async fn the_newest_release_that_is_not_known_good_is_activated() {
    let tree = Tree::new();
    let open = tree.open().await;
    inject(&open, FaultKind::BadRelease).await.expect("injected");
    assert_eq!(tree.link(), "releases/r3");
    fs::write(tree.path("known-good"), "r1\nr2\n").expect("known-good");
    let refused = inject(&open, FaultKind::BadRelease).await;
    assert!(matches!(refused, Err(ActError::Failed(_))), "{refused:?}");
    assert_eq!(current(&open).await.expect("current").0.id, "r3");
}

#[tokio::test]
async fn a_flag_is_turned_on_for_as_long_as_the_drill_lasts() {
    let flags = FlagFile::new("off");
    let open = flags.open().await;
    let (_, done) = inject(&open, FaultKind::FlagOn).await.expect("injected");
    assert_eq!(flags.content(), flags.text("on"));
    let HoldChange::Begins(hold) = done.hold else { unreachable!("a fault is held") };
    assert_eq!((hold.old.as_str(), hold.until), ("off", NOW.plus(HOUR)));
}

#[tokio::test]
async fn the_variant_that_means_on_is_found_by_name_or_by_value() {
    let flags = FlagFile::new("off");
    let open = flags.open().await;
    for (variants, on) in [
        ("\"yes\": true, \"off\": false", Some("yes")),
        ("\"yes\": true, \"sure\": true, \"off\": false", None),
        ("\"red\": 1, \"off\": 2", None),
    ] {
        let text = flags.text("off").replace("\"on\": true, \"off\": false", variants);
        fs::write(flags.path(), text).expect("write");
        match (open.fault(&Fault { kind: FaultKind::FlagOn, on: label("it") }, HOUR).await, on) {
            (Ok(Deed::SetFlag { value, .. }), Some(on)) => assert_eq!(value, on),
            (Err(ActError::Failed(_)), None) => {}
            (other, _) => unreachable!("{variants}: {other:?}"),
        }
    }
}
