//! Releases: real trees, and trees that are out to get root.

use super::*;
use fettle_model::run::{Change, UndoClass};
use fettle_sandbox::call::{Goodness, ReadError, ReleaseCall, ReleaseInfo};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::SystemTime;

/// `ROOT` with releases r1 (oldest) to r3 (newest), r2 current, r1 known good.
pub(super) struct Tree {
    dir: tempfile::TempDir,
}

fn ago(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(crate::daemon::wall_clock().0) - Duration::from_secs(seconds)
}

impl Tree {
    pub(super) fn new() -> Self {
        let tree = Self { dir: tempfile::tempdir().expect("a folder") };
        for (age, id) in [(300, "r1"), (200, "r2"), (100, "r3")] {
            fs::create_dir_all(tree.path("releases").join(id)).expect("a release");
            let folder = fs::File::open(tree.path("releases").join(id)).expect("open");
            folder.set_modified(ago(age)).expect("a time");
        }
        symlink("releases/r2", tree.path("current")).expect("current");
        fs::write(tree.path("known-good"), "# by the deployer\nr1\n").expect("known-good");
        tree
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        real(&self.dir).join(name)
    }

    fn point_current_to(&self, target: &str) {
        fs::remove_file(self.path("current")).expect("remove");
        symlink(target, self.path("current")).expect("current");
    }

    pub(super) async fn open(&self) -> OpenTargets {
        let root = real(&self.dir).display().to_string();
        let table = format!("manager = \"none\"\nreleases = {{ root = \"{root}\" }}");
        open(&capabilities(&table), Target::ReleaseRoot { root }).await
    }

    pub(super) fn link(&self) -> String {
        fs::read_link(self.path("current")).expect("a link").display().to_string()
    }
}

pub(super) async fn current(open: &OpenTargets) -> Result<(ReleaseInfo, Revision), ReadError> {
    let reply = answer(open, Call::Release { label: label("it"), op: ReleaseCall::Current }).await;
    let Reply::CurrentRelease(current) = reply else { unreachable!("{reply:?}") };
    current
}

async fn history(open: &OpenTargets) -> Result<Vec<ReleaseInfo>, ReadError> {
    let reply = answer(open, Call::Release { label: label("it"), op: ReleaseCall::History }).await;
    let Reply::Releases(releases) = reply else { unreachable!("{reply:?}") };
    releases
}

fn activate(release: &str, expect: Revision) -> Deed {
    Deed::Activate { label: label("it"), release: release.to_owned(), expect }
}

async fn activated(open: &OpenTargets, release: &str) -> Result<(Before, Done), ActError> {
    let (_, revision) = current(open).await.expect("current");
    carry_out(open, &activate(release, revision)).await
}

#[tokio::test]
async fn releases_are_seen_newest_first_with_what_is_known_of_them() {
    let tree = Tree::new();
    let version = r#"{"version": "1.2.3", "other": 1}"#;
    fs::write(tree.path("releases/r1/release.json"), version).expect("release.json");
    // Writing into it made its folder the newest.
    let folder = fs::File::open(tree.path("releases/r1")).expect("open");
    folder.set_modified(ago(300)).expect("a time");
    let open = tree.open().await;
    let seen: Vec<_> =
        history(&open).await.expect("history").into_iter().map(|r| (r.id, r.version, r.known_good)).collect();
    let release = |id: &str, version: &str, goodness| (id.to_owned(), version.to_owned(), goodness);
    assert_eq!(
        seen,
        [
            release("r3", "r3", Goodness::Unproven),
            release("r2", "r2", Goodness::Unproven),
            release("r1", "1.2.3", Goodness::KnownGood),
        ]
    );
    let (info, _) = current(&open).await.expect("current");
    assert_eq!(info.id, "r2");
    assert!(info.activated.is_some());
}

#[tokio::test]
async fn activating_swaps_the_link_and_its_inverse_swaps_it_back() {
    let tree = Tree::new();
    let open = tree.open().await;
    let (_, first) = current(&open).await.expect("current");
    let (_, done) = activated(&open, "r1").await.expect("activated");
    assert_eq!((done.change, done.undo), (Change::Made, UndoClass::Automatic));
    assert_eq!(tree.link(), "releases/r1");
    assert_ne!(current(&open).await.expect("current").1, first);
    assert!(!tree.path(".fettle-next").exists());
    let inverse = done.inverse.expect("an inverse");
    carry_out(&open, &inverse).await.expect("undone");
    assert_eq!(tree.link(), "releases/r2");
    assert!(matches!(open.before(&inverse, NOW).await, Err(ActError::Stale(_))), "an inverse counts once");
}

#[tokio::test]
async fn the_current_release_is_activated_by_doing_nothing() {
    let tree = Tree::new();
    let open = tree.open().await;
    let inode = fs::symlink_metadata(tree.path("current")).expect("stat").ino();
    let (_, done) = activated(&open, "r2").await.expect("activated");
    assert_eq!((done.change, done.inverse), (Change::Unneeded, None));
    assert_eq!(fs::symlink_metadata(tree.path("current")).expect("stat").ino(), inode);
}

#[tokio::test]
async fn a_link_that_a_deployer_moved_is_left_alone() {
    let tree = Tree::new();
    let open = tree.open().await;
    let (_, observed) = current(&open).await.expect("current");
    let deed = activate("r1", observed);
    let before = open.before(&deed, NOW).await.expect("before");
    // The same target, but another deployment.
    tree.point_current_to("releases/r2");
    let (_, now) = current(&open).await.expect("current");
    assert_eq!(open.perform(&deed, &before, SOON).await, Err(ActError::Stale(now.clone())));
    assert_eq!(open.before(&deed, NOW).await, Err(ActError::Stale(now)));
    assert_eq!(tree.link(), "releases/r2");
}

#[tokio::test]
async fn after_a_crash_the_link_itself_tells() {
    let tree = Tree::new();
    let open = tree.open().await;
    let (_, revision) = current(&open).await.expect("current");
    let deed = activate("r1", revision);
    let before = open.before(&deed, NOW).await.expect("before");
    let look = || open.look_after_crash(&deed, &before, SOON);
    assert_eq!(look().await, Look::NotApplied);
    // The crash may have left the prepared link behind.
    symlink("releases/r1", tree.path(".fettle-next")).expect("a rest");
    assert_eq!(look().await, Look::NotApplied);
    let done = open.perform(&deed, &before, SOON).await.expect("activated");
    assert_eq!(look().await, Look::Applied(done));
    tree.point_current_to("releases/r3");
    assert!(matches!(look().await, Look::CannotTell { .. }));
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_neither_read_nor_moved() {
    for target in [
        "/etc",
        "../../etc",
        "releases/../../../etc",
        "releases",
        "releases/",
        "releases/.hidden",
        "releases/r1/sub",
        "other/r1",
        "releases/r\u{1b}1",
        "releases/r\n1",
    ] {
        let tree = Tree::new();
        let open = tree.open().await;
        let (_, revision) = current(&open).await.expect("current");
        tree.point_current_to(target);
        assert!(matches!(current(&open).await, Err(ReadError::Malformed(_))), "{target}");
        let refused = open.before(&activate("r1", revision), NOW).await;
        assert!(matches!(refused, Err(ActError::Failed(_))), "{target}: {refused:?}");
        assert_eq!(tree.link(), target);
    }
}

#[tokio::test]
async fn deployers_that_write_absolute_links_are_understood_within_the_root_only() {
    let tree = Tree::new();
    tree.point_current_to(&tree.path("releases/r1").display().to_string());
    let open = tree.open().await;
    assert_eq!(current(&open).await.expect("current").0.id, "r1");
    activated(&open, "r3").await.expect("activated");
    assert_eq!(tree.link(), "releases/r3");
}

#[tokio::test]
async fn no_id_reaches_outside_of_the_releases() {
    let tree = Tree::new();
    symlink("/etc", tree.path("releases/evil")).expect("a link");
    fs::write(tree.path("releases/file"), "x").expect("a file");
    let open = tree.open().await;
    let long = "r".repeat(129);
    for id in ["evil", "file", "r9", "", ".", "..", "../r1", "/etc", "r1/", "r1/sub", "r1\0", "r1\n", "-r1", &long] {
        let result = activated(&open, id).await;
        assert!(matches!(result, Err(ActError::Failed(_))), "{id:?}: {result:?}");
        assert_eq!(tree.link(), "releases/r2", "{id:?}");
    }
    let ids: Vec<String> = history(&open).await.expect("history").into_iter().map(|r| r.id).collect();
    assert_eq!(ids, ["r3", "r2", "r1"], "what is no release is not shown");
}

#[tokio::test]
async fn notes_that_are_links_or_too_large_are_not_followed_or_read() {
    let tree = Tree::new();
    fs::remove_file(tree.path("known-good")).expect("remove");
    symlink("/etc/passwd", tree.path("known-good")).expect("a link");
    let open = tree.open().await;
    assert!(matches!(history(&open).await, Err(ReadError::Malformed(_))));
    fs::remove_file(tree.path("known-good")).expect("remove");
    fs::write(tree.path("known-good"), "x\n".repeat(40_000)).expect("large");
    assert_eq!(history(&open).await, Err(ReadError::TooLarge(80_000)));
    fs::remove_file(tree.path("known-good")).expect("remove");
    symlink("/etc/passwd", tree.path("releases/r3/release.json")).expect("a link");
    assert_eq!(history(&open).await.expect("history").len(), 3);
}

#[tokio::test]
async fn a_root_behind_a_link_is_not_opened_and_a_swapped_one_is_not_followed() {
    let tree = Tree::new();
    let open = tree.open().await;
    // Somebody swaps the whole root for a link to another tree: the handle stays with the first.
    let other = Tree::new();
    let away = format!("{}.away", real(&tree.dir).display());
    fs::rename(real(&tree.dir), &away).expect("moved away");
    symlink(real(&other.dir), tree.dir.path()).expect("a link");
    activated(&open, "r1").await.expect("activated");
    assert_eq!(other.link(), "releases/r2");
    assert_eq!(fs::read_link(format!("{away}/current")).expect("a link"), Path::new("releases/r1"));
    let root = tree.dir.path().display().to_string();
    let table = format!("manager = \"none\"\nreleases = {{ root = \"{root}\" }}");
    let target = Target::ReleaseRoot { root };
    let again = capabilities(&table).open(&[BoundTarget { label: label("it"), target }]).await;
    assert!(matches!(again, Err(NotOpened::Unusable { .. })));
    fs::remove_file(tree.dir.path()).expect("the link");
    fs::rename(&away, tree.dir.path()).expect("back");
}

#[tokio::test]
async fn a_dangling_current_is_seen_and_can_be_left() {
    let tree = Tree::new();
    fs::remove_dir(tree.path("releases/r2")).expect("remove");
    let open = tree.open().await;
    let (info, _) = current(&open).await.expect("current");
    assert_eq!((info.id.as_str(), info.known_good), ("r2", Goodness::Unproven));
    let settled = Call::Release { label: label("it"), op: ReleaseCall::WaitSettled { timeout_ms: 10 } };
    assert_eq!(answer(&open, settled.clone()).await, Reply::Settled(Err(ReadError::NotFound)));
    activated(&open, "r1").await.expect("activated");
    assert!(matches!(answer(&open, settled).await, Reply::Settled(Ok(info)) if info.id == "r1"));
}

#[tokio::test]
async fn a_release_settles_only_when_its_service_runs() {
    let tree = Tree::new();
    let daemon = super::commands::Daemon::new();
    let root = real(&tree.dir).display().to_string();
    let table = format!("{}releases = {{ root = \"{root}\" }}", daemon.table());
    let open = open(&capabilities(&table), Target::ReleaseRoot { root }).await;
    let settled = Call::Release { label: label("it"), op: ReleaseCall::WaitSettled { timeout_ms: 50 } };
    assert_eq!(answer(&open, settled).await, Reply::Settled(Err(ReadError::Timeout)));
}
