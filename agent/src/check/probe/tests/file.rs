//! Real files, watched with inotify.

use super::*;
use fettle_model::check::{HostValue, Presence};
use std::path::Path;

fn file(path: &Path, must: Presence, max_age: Option<Duration>) -> Prober {
    prober(Probe::File { path: HostValue(path.display().to_string()), must, max_age })
}

#[tokio::test]
async fn a_file_that_comes_and_goes_wakes_its_probe_and_others_do_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("maintenance");
    let mut prober = file(&path, Presence::BeAbsent, None);
    expect(&prober.probe_within(LONG).await, Status::Passing, "does not exist");

    std::fs::write(folder.path().join("maintenance.old"), "").expect("written");
    assert!(tokio::time::timeout(Duration::from_millis(50), prober.event()).await.is_err(), "another file");

    std::fs::write(&path, "").expect("written");
    within(prober.event()).await;
    expect(&prober.probe_within(LONG).await, Status::Critical, "maintenance exists");

    std::fs::rename(&path, folder.path().join("elsewhere")).expect("renamed");
    within(prober.event()).await;
    expect(&prober.probe_within(LONG).await, Status::Passing, "does not exist");
}

#[tokio::test]
async fn a_folder_is_watched_from_when_it_is_there_and_again_when_it_is_replaced() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("run");
    let path = folder.join("ready");
    let mut prober = file(&path, Presence::Exist, None);
    expect(&prober.probe_within(LONG).await, Status::Critical, "does not exist");
    for _ in 0..2 {
        std::fs::create_dir(&folder).expect("made");
        expect(&prober.probe_within(LONG).await, Status::Critical, "does not exist");
        std::fs::write(&path, "").expect("written");
        within(prober.event()).await;
        expect(&prober.probe_within(LONG).await, Status::Passing, "ready exists");
        std::fs::remove_dir_all(&folder).expect("removed");
        within(prober.event()).await;
        expect(&prober.probe_within(LONG).await, Status::Critical, "does not exist");
        // The folder's own end may come as a second event.
        tokio::time::timeout(Duration::from_millis(50), prober.event()).await.ok();
    }
}

#[tokio::test]
async fn an_old_file_is_critical_until_it_is_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("backup.stamp");
    std::fs::write(&path, "").expect("written");
    let mut prober = file(&path, Presence::Exist, Some(Duration::from_secs(60)));
    expect(&prober.probe_within(LONG).await, Status::Passing, "s old");
    let stamp = std::fs::File::options().write(true).open(&path).expect("the file");
    let written = stamp.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    // Both times: the kernel tells a change of one alone as an access or as a write in progress.
    let hour_ago = written - Duration::from_secs(3_600);
    let times = std::fs::FileTimes::new().set_accessed(hour_ago).set_modified(hour_ago);
    stamp.set_times(times).expect("set");
    within(prober.event()).await;
    expect(&prober.probe_within(LONG).await, Status::Critical, "s old, more than 1m");
    std::fs::write(&path, "again").expect("written");
    within(prober.event()).await;
    expect(&prober.probe_within(LONG).await, Status::Passing, "s old");
}
