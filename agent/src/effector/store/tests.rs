//! What survives a restart, and what is refused.

use super::*;

fn reopened(path: &Path, store: Store) -> Store {
    drop(store);
    Store::open(path).expect("the state opens again")
}

fn in_folder() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state.db");
    (folder, path)
}

fn record(sequence: u64) -> (AgentSequence, Vec<u8>) {
    (AgentSequence(sequence), format!("record {sequence}").into_bytes())
}

fn append(store: &mut Store, sequence: u64) {
    let (sequence, envelope) = record(sequence);
    store.append(NewRecord { sequence, envelope: &envelope }).expect("it is appended");
}

fn opening<'a>(permit: PermitId, run: RunId, fence: u64) -> Opening<'a> {
    let (fence, at) = (Fence(fence), UnixMillis(1));
    Opening { permit, request: request(1), run, fence, at, published: "permit", entry: "opened" }
}

fn request(last: u8) -> RequestId {
    format!("00000000-0000-4000-a000-0000000000{last:02x}").parse().expect("an id")
}

fn permit(last: u8) -> PermitId {
    format!("00000000-0000-4000-8000-0000000000{last:02x}").parse().expect("an id")
}

fn run(last: u8) -> RunId {
    format!("00000000-0000-4000-9000-0000000000{last:02x}").parse().expect("an id")
}

#[test]
fn the_chain_goes_on_after_a_restart_and_after_records_were_dropped() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    assert_eq!(store.chain_head().expect("a head"), ChainHead { sequence: AgentSequence(0), digest: None });
    for sequence in 1..=3 {
        append(&mut store, sequence);
    }
    store.drop_published(AgentSequence(3)).expect("dropped");
    let store = reopened(&path, store);
    let head = ChainHead { sequence: AgentSequence(3), digest: Some(EnvelopeDigest::of(b"record 3")) };
    assert_eq!(store.chain_head().expect("a head"), head);
    assert_eq!(store.outbox_after(AgentSequence(0), 10).expect("the outbox"), vec![record(3)]);
}

#[test]
fn the_end_of_a_run_is_kept_until_it_is_itself_proven() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    append(&mut store, 1);
    store.open_run(&opening(permit(1), run(1), 1)).expect("opened");
    let (sequence, envelope) = record(2);
    store.append_run_end(NewRecord { sequence, envelope: &envelope }, run(1)).expect("ended");
    append(&mut store, 3);
    append(&mut store, 4);
    store.drop_published(AgentSequence(3)).expect("dropped");
    let mut store = reopened(&path, store);
    assert_eq!(store.outbox_after(AgentSequence(0), 10).expect("the outbox"), vec![record(2), record(4)]);
    store.drop_published(AgentSequence(2)).expect("dropped");
    assert_eq!(store.outbox_after(AgentSequence(0), 10).expect("the outbox"), vec![record(4)]);
}

#[test]
fn a_place_in_the_chain_is_taken_once() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    append(&mut store, 1);
    assert!(store.append(NewRecord { sequence: AgentSequence(1), envelope: b"another" }).is_err());
}

#[test]
fn a_permit_is_used_once_and_its_fence_is_remembered() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    assert_eq!(store.is_used(permit(1)).expect("read"), Use::Never);
    store.open_run(&opening(permit(1), run(1), 7)).expect("opened");
    let mut store = reopened(&path, store);
    assert_eq!(store.is_used(permit(1)).expect("read"), Use::Before);
    assert_eq!(store.highest_fence().expect("read"), Fence(7));
    assert!(store.open_run(&opening(permit(1), run(2), 8)).is_err());
    assert_eq!(store.open_runs().expect("read").len(), 1);
}

#[test]
fn a_request_waits_for_its_answer_until_the_permit_is_used_up() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    for last in [1, 2] {
        let (sequence, envelope) = record(last);
        let id = request(u8::try_from(last).expect("small"));
        store.append_request(NewRecord { sequence, envelope: &envelope }, id, &id.to_string()).expect("asked");
    }
    let mut store = reopened(&path, store);
    assert_eq!(store.requests().expect("read").len(), 2);
    store.open_run(&opening(permit(1), run(1), 7)).expect("opened");
    let store = reopened(&path, store);
    assert_eq!(store.requests().expect("read"), [request(2).to_string()]);
}

#[test]
fn a_run_keeps_its_journal_in_order_until_its_record_ends_it() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    store.open_run(&opening(permit(1), run(1), 1)).expect("opened");
    store.journal(run(1), 1, "read").expect("journalled");
    store.journal(run(1), 2, "intent").expect("journalled");
    assert!(store.journal(run(1), 2, "another").is_err());
    let mut store = reopened(&path, store);
    let expected = StoredRun {
        run: run(1),
        published: "permit".to_owned(),
        entries: vec!["opened".to_owned(), "read".to_owned(), "intent".to_owned()],
    };
    assert_eq!(store.open_runs().expect("read"), vec![expected]);
    let (sequence, envelope) = record(1);
    store.append_run_end(NewRecord { sequence, envelope: &envelope }, run(1)).expect("ended");
    let mut store = reopened(&path, store);
    assert_eq!(store.open_runs().expect("read"), vec![]);
    assert_eq!(store.is_used(permit(1)).expect("read"), Use::Before);
    // A second end would be a second record at the same place.
    assert!(store.append_run_end(NewRecord { sequence, envelope: &envelope }, run(1)).is_err());
}

#[test]
fn a_transition_moves_its_head_with_its_record_or_not_at_all() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    let check = CheckRef { service: "web".parse().expect("a name"), check: "http".parse().expect("a name") };
    let head = |epoch| CheckHead {
        check: check.clone(),
        epoch: TransitionEpoch(epoch),
        status: Status::Critical,
        at: UnixMillis(5),
        reason: "refused".to_owned(),
    };
    let (sequence, envelope) = record(1);
    store.append_transition(NewRecord { sequence, envelope: &envelope }, &head(1)).expect("appended");
    assert!(store.append_transition(NewRecord { sequence, envelope: &envelope }, &head(2)).is_err());
    assert_eq!(reopened(&path, store).check_heads().expect("read"), vec![head(1)]);
}

#[test]
fn an_enrolment_is_kept_as_a_whole() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    let host: HostId = "00000000-0000-4000-8000-000000000001".parse().expect("an id");
    store.keep_enrolment(host, "log", "permit").expect("kept");
    let store = reopened(&path, store);
    let kept = [Value::Host, Value::LogKey, Value::PermitKey].map(|value| store.value(value).expect("read"));
    assert_eq!(kept, [host.to_string(), "log".to_owned(), "permit".to_owned()].map(Some));
}

#[test]
fn a_fork_and_a_refused_answer_are_kept_with_their_record_or_not_at_all() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    let (first, envelope) = record(1);
    store.append_request(NewRecord { sequence: first, envelope: &envelope }, request(1), "asked").expect("asked");
    // Its place is taken: nothing of it may stay.
    let taken = NewRecord { sequence: first, envelope: b"another" };
    assert!(store.append_with_value(taken, Value::Fork, "given").is_err());
    assert!(store.append_answered(taken, request(1)).is_err());
    assert_eq!(store.value(Value::Fork).expect("read"), None);
    assert_eq!(store.requests().expect("read").len(), 1);

    let next = |sequence| NewRecord { sequence: AgentSequence(sequence), envelope: b"next" };
    store.append_with_value(next(2), Value::Fork, "given").expect("kept");
    store.append_answered(next(3), request(1)).expect("kept");
    let store = reopened(&path, store);
    assert_eq!(store.value(Value::Fork).expect("read").as_deref(), Some("given"));
    assert_eq!(store.requests().expect("read"), Vec::<String>::new());
    assert_eq!(store.chain_head().expect("a head").sequence, AgentSequence(3));
}

#[test]
fn the_oldest_used_permits_are_forgotten_and_the_highest_fence_never() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    let ids = |number: u64| {
        let text = format!("00000000-0000-4000-8000-{number:012x}");
        (text.parse::<PermitId>().expect("an id"), text.parse::<RunId>().expect("an id"))
    };
    let many = u64::from(MAX_USED_PERMITS) + 3;
    store.connection.execute_batch("PRAGMA synchronous = OFF").expect("a test needs no power cut");
    for number in 1..=many {
        let (permit, run) = ids(number);
        store.open_run(&opening(permit, run, number)).expect("opened");
    }
    assert_eq!(store.is_used(ids(1).0).expect("read"), Use::Never);
    assert_eq!(store.is_used(ids(many - 1).0).expect("read"), Use::Before);
    assert_eq!(store.highest_fence().expect("read"), Fence(many));
}

#[test]
fn the_state_can_be_read_by_its_user_alone() {
    let (folder, path) = in_folder();
    std::fs::write(&path, "").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("its owner may");
    let mut store = Store::open(&path).expect("the state opens");
    append(&mut store, 1);
    for file in std::fs::read_dir(folder.path()).expect("a folder") {
        let file = file.expect("an entry");
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", file.path());
    }
}

#[test]
fn a_file_of_another_format_is_refused_with_what_to_do() {
    let (_folder, path) = in_folder();
    for other in [1, FORMAT + 1] {
        drop(Store::open(&path).expect("the state opens"));
        let set = |format| Connection::open(&path).expect("opens").pragma_update(None, "user_version", format);
        set(other).expect("set");
        let refused = Store::open(&path).expect_err("another format");
        assert!(matches!(refused, StoreError::Format { found, known: FORMAT } if found == other), "{refused:?}");
        assert!(refused.to_string().contains("enrol this host again"), "{refused}");
        // It is left as it was.
        set(FORMAT).expect("set");
    }
}

/// How SQLite syncs a commit: 1 leaves it to the next checkpoint, 2 syncs each.
fn synchronous(store: &Store) -> i64 {
    store.connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).expect("a number")
}

#[test]
fn only_what_is_carried_out_ahead_is_left_to_the_next_transaction() {
    let (_folder, path) = in_folder();
    let mut store = Store::open(&path).expect("the state opens");
    assert_eq!(synchronous(&store), 2);
    let during = store.ahead(|store| {
        append(store, 1);
        Ok(synchronous(store))
    });
    assert_eq!((during.expect("done"), synchronous(&store)), (1, 2));
    let failed = store.ahead(|_| -> Result<(), StoreError> { Err(StoreError::Malformed { what: "test" }) });
    assert!(failed.is_err());
    assert_eq!(synchronous(&store), 2);
}

#[test]
fn a_sync_commits_something() {
    let (_folder, path) = in_folder();
    let store = Store::open(&path).expect("the state opens");
    let log = path.with_file_name("state.db-wal");
    let bytes = || std::fs::metadata(&log).expect("the write-ahead log").len();
    let before = bytes();
    store.sync().expect("synced");
    assert!(bytes() > before, "nothing was written, so nothing was synced");
    assert!(matches!(reopened(&path, store).check_heads(), Ok(heads) if heads.is_empty()));
}
