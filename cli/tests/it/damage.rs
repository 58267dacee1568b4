//! `fettle log verify` over a real bundle with every kind of damage: never exit 0.

use crate::fettle::fettle;
use crate::log::{Log, policy};
use crate::story::{At, Edit, edited, story, without};
use fettle_audit::verify::Verdict;
use fettle_cli::log::verify_bundle;
use std::fs;
use tempfile::TempDir;

/// The policy of the story's auditor, as the file that they keep.
fn policy_text() -> String {
    use crate::log::{log_signer, permit_key, witness};
    use fettle_audit::note::SignatureKind;
    format!(
        "log {}\npermit-key {}\nwitness w1 {}\nquorum w1\n",
        log_signer().verifier(SignatureKind::Ed25519),
        permit_key().public(),
        witness().verifier(SignatureKind::Cosignature)
    )
}

fn auditor() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("policy"), policy_text()).expect("written");
    folder
}

/// The exit code of the process on this bundle.
#[track_caller]
fn exit_code(auditor: &TempDir, bundle: &[u8]) -> i32 {
    fs::write(auditor.path().join("bundle"), bundle).expect("written");
    fettle(auditor.path(), &["log", "verify", "bundle", "--policy", "policy"]).code
}

#[test]
fn a_sound_bundle_exits_0_and_says_what_was_checked() {
    let auditor = auditor();
    fs::write(auditor.path().join("bundle"), story().bundle()).expect("written");
    let ended = fettle(auditor.path(), &["log", "verify", "bundle", "--policy", "policy"]).expect(0);
    insta::assert_snapshot!(ended.out, @r"
    checked: 51 records, 2 hosts, 6 permits, 6 ended runs; the checkpoint of log.example/fettle over 51
      records; cosigned by w1

    HOST    COMPLETE UP TO  AT                    POSITION
    host-1  17              2023-11-14 22:13:53Z  33
    host-2  8               2023-11-14 22:14:08Z  48

    valid: complete up to its checkpoint, and without contradiction
    ");
    let ended = fettle(auditor.path(), &["--json", "log", "verify", "bundle", "--policy", "policy"]).expect(0);
    let document: serde_json::Value = ended.json();
    assert_eq!(document["verdict"], "valid");
    assert_eq!(document["checkpoint"]["size"], 51);
    assert_eq!(document["findings"], serde_json::json!([]));
}

#[test]
fn a_run_that_had_not_ended_exits_2_and_is_named() {
    let auditor = auditor();
    fs::write(auditor.path().join("bundle"), without(At::Ended).bundle()).expect("written");
    let ended = fettle(auditor.path(), &["--json", "log", "verify", "bundle", "--policy", "policy"]).expect(2);
    let document: serde_json::Value = ended.json();
    assert_eq!(
        (&document["verdict"], &document["findings"][0]["rule"]),
        (&"valid-with-gaps".into(), &"open-run".into())
    );
    let ended = fettle(auditor.path(), &["log", "verify", "bundle", "--policy", "policy"]).expect(2);
    assert!(ended.out.contains("open-run (gap): ") && ended.out.ends_with("something is missing\n"), "{}", ended.out);
}

#[test]
fn a_flipped_bit_anywhere_exits_1() {
    let auditor = auditor();
    let bundle = story().bundle();
    // 61 is prime to the lengths of lines, so that the samples fall into every part of them.
    for sample in 0..61 {
        let at = sample * bundle.len() / 61;
        let mut flipped = bundle.clone();
        flipped[at] ^= 1 << (sample % 8);
        assert_eq!(exit_code(&auditor, &flipped), 1, "bit {} of byte {at}", sample % 8);
    }
}

/// The function that the command calls, on the smallest log: every bit of every byte.
#[test]
fn every_single_flipped_bit_is_found_by_what_the_command_calls() {
    let log = edited(|at, _| match at {
        At::Opened | At::Operator => Edit::Keep,
        _ => Edit::Drop,
    });
    let (bundle, policy) = (log.bundle(), policy());
    let verdict = |bundle: &[u8]| verify_bundle(bundle, &policy).expect("memory is readable").verdict;
    assert_eq!(verdict(&bundle), Verdict::Valid);
    for at in 0..bundle.len() {
        for bit in 0..8 {
            let mut flipped = bundle.clone();
            flipped[at] ^= 1 << bit;
            assert_eq!(verdict(&flipped), Verdict::Invalid, "bit {bit} of byte {at}");
        }
    }
}

fn lines(log: &Log) -> Vec<Vec<u8>> {
    log.lines(&log.head())
}

#[test]
fn a_dropped_line_exits_1() {
    let auditor = auditor();
    let lines = lines(&story());
    for dropped in 0..lines.len() {
        let mut rest = lines.clone();
        rest.remove(dropped);
        assert_eq!(exit_code(&auditor, &rest.concat()), 1, "without line {dropped}");
    }
}

#[test]
fn reordered_and_repeated_lines_exit_1() {
    let auditor = auditor();
    let lines = lines(&story());
    for at in 1..lines.len() {
        let mut swapped = lines.clone();
        swapped.swap(at - 1, at);
        assert_eq!(exit_code(&auditor, &swapped.concat()), 1, "lines {} and {at} swapped", at - 1);
    }
    for at in [0, 1, 17, lines.len() - 1] {
        let mut repeated = lines.clone();
        repeated.insert(at, lines[at].clone());
        assert_eq!(exit_code(&auditor, &repeated.concat()), 1, "line {at} twice");
    }
}

#[test]
fn a_truncated_bundle_exits_1() {
    let auditor = auditor();
    let lines = lines(&story());
    for kept in 0..lines.len() {
        assert_eq!(exit_code(&auditor, &lines[..kept].concat()), 1, "{kept} lines");
    }
    let bundle = lines.concat();
    for sample in 1..20 {
        let length = sample * bundle.len() / 20;
        assert_eq!(exit_code(&auditor, &bundle[..length]), 1, "{length} bytes");
    }
    assert_eq!(exit_code(&auditor, &bundle[..bundle.len() - 1]), 1, "without the last newline");
    assert_eq!(exit_code(&auditor, &[&bundle[..], b"\n"].concat()), 1, "with a newline more");
}

#[test]
fn another_logs_policy_exits_1_and_a_policy_that_is_none_is_no_verdict() {
    let auditor = auditor();
    fs::write(auditor.path().join("bundle"), story().bundle()).expect("written");
    let strange = policy_text()
        .replace(&crate::log::permit_key().public().to_string(), &crate::log::publisher_key().public().to_string());
    fs::write(auditor.path().join("strange"), strange).expect("written");
    fettle(auditor.path(), &["log", "verify", "bundle", "--policy", "strange"]).expect(1);
    fs::write(auditor.path().join("none"), "log\n").expect("written");
    let ended = fettle(auditor.path(), &["log", "verify", "bundle", "--policy", "none"]).expect(4);
    assert!(ended.err.starts_with("error: none: line 1: "), "{}", ended.err);
    fettle(auditor.path(), &["log", "verify", "nowhere", "--policy", "policy"]).expect(5);
    fettle(auditor.path(), &["log", "verify", "bundle", "--policy", "nowhere"]).expect(5);
    fettle(auditor.path(), &["log", "verify", "bundle"]).expect(3);
    let ended = fettle(auditor.path(), &["log", "verify", "-", "--policy", "policy"]).expect(1);
    assert!(ended.out.contains("the bundle ends before its checkpoint"), "standard input is empty: {}", ended.out);
}
