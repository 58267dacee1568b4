//! Reading the log over the connection: export, policy, one whole record.

use crate::fettle::fettle;
use crate::log::{Log, log_signer, permit_key};
use crate::stand_in::{Asked, Said, StandIn, problem};
use crate::story::story;
use fettle_audit::note::SignatureKind;
use fettle_audit::published::Published;
use fettle_audit::signed_record::SignedRecord;
use fettle_audit::tree::{Frontier, inclusion_proof};
use fettle_model::counter::LogPosition;
use fettle_proto::operator::{LogRow, Problem, ProblemCode, Query, QueryReply};
use std::collections::BTreeMap;
use std::fs;

/// Answers as a control plane that has the story as its log, in pieces that cut lines.
fn answer(asked: &Asked) -> Said {
    let log = story();
    match asked {
        Asked::Export => Said::Bundle(log.bundle().chunks(1_000).map(|piece| Ok(piece.to_vec())).collect()),
        Asked::Query(Query::Policy) => Said::Answer(QueryReply::Policy {
            policy: format!(
                "log {}\npermit-key {}\nquorum none\n",
                log_signer().verifier(SignatureKind::Ed25519),
                permit_key().public()
            ),
        }),
        Asked::Query(Query::Log { from, limit }) => {
            let size = log.records.len();
            let first =
                from.map_or(size.saturating_sub(*limit as usize), |from| usize::try_from(from.0).expect("small"));
            let rows = log.records.iter().enumerate().skip(first).take(*limit as usize);
            let records = rows.map(|(at, (_, signed))| row(at as u64, signed));
            Said::Answer(QueryReply::Log { size: size as u64, records: records.collect() })
        }
        Asked::Query(Query::Record { position }) => record(&log, *position, |published| published),
        _ => Said::Problem(problem(ProblemCode::Internal)),
    }
}

/// One record of the story with its proof, changed in some way.
fn record(log: &Log, position: LogPosition, change: impl FnOnce(Published) -> Published) -> Said {
    let Some((leaf, signed)) = usize::try_from(position.0).ok().and_then(|at| log.records.get(at)) else {
        return Said::Problem(Problem { message: format!("no {position}"), ..problem(ProblemCode::NotFound) });
    };
    let mut nodes = BTreeMap::new();
    let mut frontier = Frontier::new();
    for (leaf, _) in &log.records {
        frontier.append_with(leaf.hash(), |level, index, hash| {
            nodes.insert((level, index), hash);
        });
    }
    let inclusion =
        inclusion_proof(position, frontier.size(), |level, index| nodes.get(&(level, index)).copied().ok_or("absent"));
    let published = change(Published {
        envelope: signed.envelope().as_bytes().to_vec(),
        leaf: leaf.encode().to_vec(),
        position,
        checkpoint: log.head(),
        inclusion: inclusion.expect("in range"),
    });
    let published = serde_json::to_string(&published).expect("JSON");
    Said::Answer(QueryReply::Record { row: row(position.0, signed), published })
}

fn row(position: u64, signed: &SignedRecord) -> LogRow {
    LogRow {
        position: LogPosition(position),
        kind: signed.record().body.kind(),
        at: signed.record().at,
        author: "control plane".to_owned(),
        summary: "a summary".to_owned(),
        digest: signed.envelope().digest(),
        broken_glass: None,
    }
}

#[test]
fn an_exported_log_verifies_with_an_exported_policy() {
    let stand_in = StandIn::start(answer);
    let ended = stand_in.fettle(&["log", "export", "--out", "log.bundle", "--json"]).expect(0);
    assert_eq!(ended.json::<serde_json::Value>()["records"], 51);
    assert_eq!(fs::read(stand_in.path("log.bundle")).expect("there"), story().bundle());
    stand_in.fettle(&["log", "policy", "--out", "policy"]).expect(0);
    // The exported policy knows no witness, whose cosignature the story's checkpoint carries.
    let ended = fettle(stand_in.folder.path(), &["log", "verify", "log.bundle", "--policy", "policy"]).expect(1);
    assert!(ended.out.contains("checkpoint (invalid): a signature by witness.example/w1"), "{}", ended.out);
}

#[test]
fn an_export_that_breaks_off_leaves_no_file_that_looks_whole() {
    let stand_in = StandIn::start(|_| {
        let first = story().bundle()[..5_000].to_vec();
        Said::Bundle(vec![Ok(first), Err(problem(ProblemCode::Unavailable))])
    });
    let ended = stand_in.fettle(&["log", "export", "--out", "log.bundle"]).expect(9);
    assert!(ended.err.contains("it is Unavailable"), "{}", ended.err);
    let left = std::fs::read_dir(stand_in.folder.path()).expect("a folder").count();
    assert_eq!(left, 1, "only the profile");
}

#[test]
fn a_record_is_shown_whole_with_its_proof_and_without_an_export() {
    let stand_in = StandIn::start(answer);
    let ended = stand_in.fettle(&["log", "show", "1"]).expect(0);
    assert!(ended.out.contains("kind       role-granted"), "{}", ended.out);
    assert!(ended.out.contains("proven     in the log, under its checkpoint of 51 records"), "{}", ended.out);
    assert!(ended.out.contains("\"person\": \"alice\""), "{}", ended.out);
    let ended = stand_in.fettle(&["log", "show", "50", "--json"]).expect(0);
    assert_eq!(ended.json::<serde_json::Value>()["record"]["body"]["kind"], "automation-resumed");
    let ended = stand_in.fettle(&["log", "show", "51"]).expect(5);
    assert!(ended.err.contains("no 51"), "{}", ended.err);
    assert!(!stand_in.asked().contains(&Asked::Export));
}

#[test]
fn a_record_whose_proof_does_not_hold_is_not_shown() {
    type Change = fn(Published) -> Published;
    let changes: [Change; 3] = [
        |published| Published { inclusion: Vec::new(), ..published },
        |published| Published { position: LogPosition(2), ..published },
        |published| Published { checkpoint: published.checkpoint.replace("\n51\n", "\n52\n"), ..published },
    ];
    for change in changes {
        let stand_in = StandIn::start(move |asked| match asked {
            Asked::Query(Query::Record { position }) => record(&story(), *position, change),
            asked => answer(asked),
        });
        let ended = stand_in.fettle(&["log", "show", "1"]).expect(10);
        assert!(ended.err.contains("is not proven to be in the log") && ended.out.is_empty(), "{ended:?}");
    }
}

#[test]
fn the_newest_records_are_listed_and_a_table_fits_a_hundred_columns() {
    let stand_in = StandIn::start(answer);
    let ended = stand_in.fettle(&["log", "list", "--limit", "2"]).expect(0);
    assert!(ended.out.lines().all(|line| line.chars().count() <= 100), "{}", ended.out);
    assert!(
        ended.out.starts_with("2023-11-14, times in UTC\n") && ended.out.contains("\n50        22:14:10.000"),
        "{}",
        ended.out
    );
    assert!(!ended.out.contains("\n30 "), "{}", ended.out);
    stand_in.fettle(&["log", "list", "--from", "3", "--limit", "1"]).expect(0);
    let from = Some(LogPosition(3));
    assert_eq!(stand_in.asked()[1], Asked::Query(Query::Log { from, limit: 1 }));
}
