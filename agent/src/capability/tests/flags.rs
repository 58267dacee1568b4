//! Flags: real files, other writers, holds.

use super::*;
use fettle_model::run::{Change, UndoClass};
use fettle_sandbox::call::{FlagSetting, ReadError};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

const HOUR: Duration = Duration::from_hours(1);

pub(super) struct FlagFile {
    dir: tempfile::TempDir,
    capabilities: Capabilities,
}

impl FlagFile {
    pub(super) fn new(default: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let file = real(&dir).join("flags.json").display().to_string();
        let table = format!(
            "manager = \"none\"\n[service.app.flags.beta]\nfile = \"{file}\"\nkey = \"beta\"\nlongest-hold = \"2h\""
        );
        let flags = Self { dir, capabilities: capabilities(&table) };
        fs::write(flags.path(), flags.text(default)).expect("flags");
        flags
    }

    pub(super) fn path(&self) -> PathBuf {
        real(&self.dir).join("flags.json")
    }

    pub(super) fn text(&self, default: &str) -> String {
        format!(
            "{{\"flags\": {{\n  \"beta\": {{\"state\": \"ENABLED\", \"variants\": {{\"on\": true, \"off\": false}}, \
             \"defaultVariant\": \"{default}\"}},\n  \"z\": 1e2, \"a\": 1\n}}}}\n"
        )
    }

    pub(super) async fn open(&self) -> OpenTargets {
        let file = self.path().display().to_string();
        open(&self.capabilities, Target::Flag { file, key: "beta".to_owned() }).await
    }

    fn put_back(&self, hold: &Hold) -> PutBack {
        put_back(self.capabilities.config().flag(&hold.file, &hold.key).expect("configured"), hold)
    }

    pub(super) fn content(&self) -> String {
        fs::read_to_string(self.path()).expect("flags")
    }
}

async fn read(open: &OpenTargets) -> Result<FlagSetting, ReadError> {
    let reply = answer(open, Call::Flag { label: label("it"), op: FlagCall::Read }).await;
    let Reply::Flag(setting) = reply else { unreachable!("{reply:?}") };
    setting
}

async fn set_deed(open: &OpenTargets, value: &str, hold: Duration) -> Deed {
    let expect = read(open).await.expect("a setting").revision;
    Deed::SetFlag { label: label("it"), value: value.to_owned(), expect, hold }
}

fn hold_of(done: &Done) -> Hold {
    let HoldChange::Begins(hold) = &done.hold else { unreachable!("no hold begins: {:?}", done.hold) };
    (**hold).clone()
}

#[tokio::test]
async fn setting_a_flag_keeps_every_other_byte_the_mode_and_the_owner() {
    let flags = FlagFile::new("on");
    fs::set_permissions(flags.path(), fs::Permissions::from_mode(0o664)).expect("a mode");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(flags.path(), Some(65_534), Some(65_534)).expect("chown");
    }
    let before = fs::metadata(flags.path()).expect("stat");
    let open = flags.open().await;
    let (_, done) = carry_out(&open, &set_deed(&open, "off", HOUR).await).await.expect("set");
    assert_eq!((done.change, done.undo), (Change::Made, UndoClass::Expires));
    assert_eq!(flags.content(), flags.text("off"));
    let after = fs::metadata(flags.path()).expect("stat");
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!(fs::read_dir(real(&flags.dir)).expect("list").count(), 1, "no temporary file stays");
    let hold = hold_of(&done);
    assert_eq!((hold.old.as_str(), hold.set.as_str(), hold.until), ("on", "off", NOW.plus(HOUR)));
    assert_eq!(hold.revision, read(&open).await.expect("a setting").revision);
}

#[tokio::test]
async fn a_hold_ends_by_itself_or_early_and_only_if_nobody_decided_otherwise() {
    let flags = FlagFile::new("on");
    let open = flags.open().await;
    let (_, done) = carry_out(&open, &set_deed(&open, "off", HOUR).await).await.expect("set");
    let hold = hold_of(&done);
    assert_eq!(flags.put_back(&hold), PutBack::Restored);
    assert_eq!(flags.content(), flags.text("on"));
    assert_eq!(flags.put_back(&hold), PutBack::Moved, "a second time there is nothing of ours");

    let (_, done) = carry_out(&open, &set_deed(&open, "off", HOUR).await).await.expect("set");
    let mut holds = Holds::default();
    holds.apply(done.hold.clone(), None);
    let (_, undone) = carry_out(&open, &done.inverse.expect("an inverse")).await.expect("undone");
    holds.apply(undone.hold, None);
    assert_eq!((flags.content(), holds), (flags.text("on"), Holds::default()));
}

#[tokio::test]
async fn setting_what_is_set_already_writes_nothing() {
    let flags = FlagFile::new("off");
    let open = flags.open().await;
    let inode = fs::metadata(flags.path()).expect("stat").ino();
    let (_, done) = carry_out(&open, &set_deed(&open, "off", HOUR).await).await.expect("set");
    assert_eq!((done.change, &done.inverse), (Change::Unneeded, &None));
    assert_eq!(fs::metadata(flags.path()).expect("stat").ino(), inode);
    let mut holds = Holds::default();
    holds.apply(done.hold, None);
    assert_eq!(holds, Holds::default());
}

#[tokio::test]
async fn a_file_that_somebody_else_wrote_in_between_is_not_overwritten() {
    let flags = FlagFile::new("on");
    let open = flags.open().await;
    let deed = set_deed(&open, "off", HOUR).await;
    let before = open.before(&deed, NOW).await.expect("before");
    let theirs = flags.text("on").replace("\"off\": false", "\"off\": false, \"new\": 1");
    fs::write(flags.path(), &theirs).expect("another writer");
    assert!(matches!(open.perform(&deed, &before, SOON).await, Err(ActError::Stale(_))));
    assert_eq!(flags.content(), theirs);
    let look = open.look_after_crash(&deed, &before, SOON).await;
    assert!(matches!(look, Look::CannotTell { .. }));
}

#[tokio::test]
async fn another_flag_may_change_meanwhile_without_being_lost() {
    let flags = FlagFile::new("on");
    let open = flags.open().await;
    let deed = set_deed(&open, "off", HOUR).await;
    let before = open.before(&deed, NOW).await.expect("before");
    fs::write(flags.path(), flags.text("on").replace("\"a\": 1", "\"a\": 2")).expect("another writer");
    open.perform(&deed, &before, SOON).await.expect("set");
    assert_eq!(flags.content(), flags.text("off").replace("\"a\": 1", "\"a\": 2"));
}

#[tokio::test]
async fn concurrent_writers_never_lose_the_file() {
    let flags = FlagFile::new("on");
    let open = flags.open().await;
    let path = flags.path();
    let (on, off) = (flags.text("on"), flags.text("off"));
    let texts = [on.replace("\"a\": 1", "\"a\": 2"), on.clone()];
    let dir = real(&flags.dir);
    let writer = std::thread::spawn(move || {
        for round in 0..300 {
            let new = dir.join("theirs");
            fs::write(&new, &texts[round % 2]).expect("write");
            fs::rename(&new, &path).expect("rename");
        }
    });
    let mut set = 0_u32;
    while !writer.is_finished() {
        let Ok(setting) = read(&open).await else { unreachable!("the file is always whole") };
        let value = if setting.value == "on" { "off" } else { "on" }.to_owned();
        let deed = Deed::SetFlag { label: label("it"), value, expect: setting.revision, hold: HOUR };
        match carry_out(&open, &deed).await {
            Ok(_) => set += 1,
            Err(ActError::Stale(_) | ActError::Indeterminate(_)) => {}
            Err(other) => unreachable!("{other:?}"),
        }
        tokio::task::yield_now().await;
    }
    writer.join().expect("the writer");
    assert!(set > 0, "never set in 300 rounds");
    let content = flags.content().replace("\"a\": 2", "\"a\": 1");
    assert!([on, off].contains(&content), "{content}");
}

#[tokio::test]
async fn after_a_crash_the_file_itself_tells() {
    let flags = FlagFile::new("on");
    let open = flags.open().await;
    let deed = set_deed(&open, "off", HOUR).await;
    let before = open.before(&deed, NOW).await.expect("before");
    let look = || open.look_after_crash(&deed, &before, SOON);
    assert_eq!(look().await, Look::NotApplied);
    // The crash may have left the prepared file behind, whole or not.
    fs::write(real(&flags.dir).join(".flags.json.fettle-next"), "{\"fl").expect("a rest");
    assert_eq!(look().await, Look::NotApplied);
    let done = open.perform(&deed, &before, SOON).await.expect("set");
    assert_eq!(look().await, Look::Applied(done.clone()));
    let back = done.inverse.expect("an inverse");
    let before_back = open.before(&back, NOW).await.expect("before");
    assert_eq!(open.look_after_crash(&back, &before_back, SOON).await, Look::NotApplied);
    let undone = open.perform(&back, &before_back, SOON).await.expect("undone");
    assert_eq!(open.look_after_crash(&back, &before_back, SOON).await, Look::Applied(undone));
}

#[tokio::test]
async fn what_could_have_no_effect_is_refused_before_the_file_is_touched() {
    let cases: [(&str, &str, &str, Duration); 5] = [
        ("", "", "purple", HOUR),
        ("ENABLED", "DISABLED", "off", HOUR),
        ("\"defaultVariant\"", "\"targeting\": {\"if\": []}, \"defaultVariant\"", "off", HOUR),
        ("", "", "off", Duration::ZERO),
        ("", "", "off", Duration::from_hours(3)),
    ];
    for (from, to, value, hold) in cases {
        let flags = FlagFile::new("on");
        let open = flags.open().await;
        let text = if from.is_empty() { flags.text("on") } else { flags.text("on").replacen(from, to, 1) };
        fs::write(flags.path(), &text).expect("write");
        let raw = flags.text("on");
        let expect = super::super::flag_file::Definition::find(&text, "beta").expect("beta").revision;
        assert_eq!(from.is_empty(), text == raw);
        let deed = Deed::SetFlag { label: label("it"), value: value.to_owned(), expect, hold };
        let refused = open.before(&deed, NOW).await;
        assert!(matches!(refused, Err(ActError::Failed(_) | ActError::Denied(_))), "{value} {hold:?}: {refused:?}");
        assert_eq!(flags.content(), text);
    }
}

#[tokio::test]
async fn links_devices_and_huge_files_are_not_read() {
    let flags = FlagFile::new("on");
    let open = flags.open().await;
    fs::remove_file(flags.path()).expect("remove");
    assert_eq!(read(&open).await, Err(ReadError::NotFound));
    symlink("/etc/shadow", flags.path()).expect("a link");
    assert!(matches!(read(&open).await, Err(ReadError::Malformed(_))));
    fs::remove_file(flags.path()).expect("remove");
    fs::create_dir(flags.path()).expect("a folder");
    assert!(matches!(read(&open).await, Err(ReadError::Malformed(_))));
    fs::remove_dir(flags.path()).expect("remove");
    let huge = fs::File::create(flags.path()).expect("create");
    huge.set_len(1024 * 1024 + 1).expect("grow");
    assert_eq!(read(&open).await, Err(ReadError::TooLarge(1024 * 1024 + 1)));
}

#[tokio::test]
async fn a_folder_behind_a_link_is_not_opened() {
    let flags = FlagFile::new("on");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let link = real(&elsewhere).join("link");
    symlink(real(&flags.dir), &link).expect("a link");
    let file = link.join("flags.json").display().to_string();
    let table = format!("manager = \"none\"\n[service.app.flags.beta]\nfile = \"{file}\"\nkey = \"beta\"");
    let target = Target::Flag { file, key: "beta".to_owned() };
    let opened = capabilities(&table).open(&[BoundTarget { label: label("it"), target }]).await;
    assert!(matches!(opened, Err(NotOpened::Unusable { .. })), "{opened:?}");
}
