//! The story verifies; what is cut, moved, doubled or foreign in its bundle does not.

use crate::log::{Log, host, log_signer, origin, permit_key, policy, witness};
use crate::story::{PRODUCTION, STAGING, story};
use fettle_audit::bundle::{MAX_LINE_BYTES, header_line};
use fettle_audit::checkpoint::Checkpoint;
use fettle_audit::key::SigningKey;
use fettle_audit::note::{Note, NoteSigner, SignatureKind};
use fettle_audit::policy::Policy;
use fettle_audit::tree::Frontier;
use fettle_audit::verify::{Report, Rule, Verdict, Verification, verify_bundle};
use fettle_model::counter::AgentSequence;

#[track_caller]
fn check(bundle: &[u8], policy: &Policy, rule: Rule) -> Report {
    let report = verify_bundle(bundle, policy);
    assert_eq!(report.verdict(), Verdict::Invalid, "{:?}", report.findings);
    assert!(report.findings.iter().any(|finding| finding.rule == rule), "{rule}: {:?}", report.findings);
    report
}

#[test]
fn the_story_is_valid_and_the_report_says_how_far_it_reaches() {
    let log = story();
    let report = verify_bundle(&log.bundle(), &policy());
    assert_eq!(report.findings, []);
    assert_eq!(report.verdict(), Verdict::Valid);
    assert_eq!(report.verdict().exit_code(), 0);
    assert_eq!(report.checkpoint, Some(log.checkpoint()));
    assert_eq!(report.witnesses, ["w1"]);
    assert_eq!((report.records, report.permits, report.runs), (51, 6, 6));
    let tails: Vec<_> = report.agents.iter().map(|tail| (tail.host, tail.sequence)).collect();
    assert_eq!(tails, [(host(STAGING), AgentSequence(17)), (host(PRODUCTION), AgentSequence(8))]);
    assert_eq!(
        report.agents[1].to_string(),
        format!("agent host-2 ({}) complete up to sequence 8 at {} ms", host(PRODUCTION), log.now().0 - 3_000)
    );
}

#[test]
fn the_bundle_may_come_in_pieces_of_any_size() {
    let bundle = story().bundle();
    let policy = policy();
    let whole = verify_bundle(&bundle, &policy);
    for size in [1, 7, 1_000, 65_536] {
        let mut verification = Verification::new(&policy);
        for piece in bundle.chunks(size) {
            verification.feed(piece);
        }
        assert_eq!(verification.finish(), whole, "pieces of {size}");
    }
}

#[test]
fn a_record_that_is_dropped_doubled_or_moved_breaks_the_tree() {
    let log = story();
    let (lines, policy) = (log.lines(&log.head()), policy());
    let last = lines.len() - 1;
    for at in 1..last {
        let mut dropped = lines.clone();
        dropped.remove(at);
        check(&dropped.concat(), &policy, Rule::Tree);
        let mut doubled = lines.clone();
        doubled.insert(at, lines[at].clone());
        check(&doubled.concat(), &policy, Rule::Tree);
        for other in at + 1..last {
            let mut moved = lines.clone();
            moved.swap(at, other);
            check(&moved.concat(), &policy, Rule::Tree);
        }
    }
}

#[test]
fn a_bundle_that_ends_anywhere_else_is_invalid() {
    let bundle = story().bundle();
    let policy = policy();
    let mut verification = Verification::new(&policy);
    for at in 0..bundle.len() {
        let report = verification.clone().finish();
        assert_eq!(report.verdict(), Verdict::Invalid, "cut at {at}");
        verification.feed(&bundle[at..=at]);
    }
    assert_eq!(verification.finish().verdict(), Verdict::Valid);
}

#[test]
fn bytes_without_meaning_are_refused() {
    let log = story();
    let (lines, policy) = (log.lines(&log.head()), policy());
    let with = |at: usize, line: &[u8]| {
        let mut lines = lines.clone();
        lines.insert(at, line.to_vec());
        lines.concat()
    };
    for at in 0..=lines.len() {
        check(&with(at, b"\n"), &policy, Rule::Framing);
        check(&with(at, b"{}\n"), &policy, Rule::Framing);
        check(&with(at, b" "), &policy, Rule::Framing);
    }
    check(&with(0, header_line(&origin()).as_bytes()), &policy, Rule::Framing);
    check(&with(lines.len(), lines.last().expect("a checkpoint")), &policy, Rule::Framing);
    check(b"", &policy, Rule::Framing);
    check(&vec![b'x'; MAX_LINE_BYTES + 1], &policy, Rule::Framing);
    let windows = String::from_utf8(log.bundle()).expect("text").replace('\n', "\r\n");
    check(windows.as_bytes(), &policy, Rule::Framing);
}

#[test]
fn the_checkpoint_is_signed_by_the_policys_keys_and_nobody_else() {
    let log = story();
    let checkpoint = log.checkpoint();
    let stranger = |name: &str| NoteSigner::new(name.parse().expect("a name"), SigningKey::from_seed(&[99; 32]));

    let uncosigned = checkpoint.sign(&log_signer()).expect("signed");
    check(&log.bundle_under(&uncosigned), &policy(), Rule::Quorum);

    let note = Note::sign(&checkpoint.to_string(), &stranger(crate::log::ORIGIN)).expect("signed");
    check(&log.bundle_under(&note.to_string()), &policy(), Rule::Checkpoint);

    let head = log.head();
    let by_stranger = Note::sign(&checkpoint.to_string(), &stranger("stranger")).expect("signed");
    let line = by_stranger.to_string().lines().last().expect("a signature").to_owned();
    let report = check(&log.bundle_under(&format!("{head}{line}\n")), &policy(), Rule::Checkpoint);
    assert_eq!(report.checkpoint, None);

    let witness_only: String =
        head.lines().filter(|line| !line.contains("\u{2014} log.")).map(|l| format!("{l}\n")).collect();
    check(&log.bundle_under(&witness_only), &policy(), Rule::Checkpoint);

    let other = Checkpoint { root: Frontier::new().root(), ..checkpoint.clone() };
    check(&log.bundle_under(&cosigned(&other)), &policy(), Rule::Tree);
    let longer = Checkpoint { size: fettle_model::counter::TreeSize(checkpoint.size.0 + 1), ..checkpoint };
    check(&log.bundle_under(&cosigned(&longer)), &policy(), Rule::Tree);
    let empty = Log::default();
    check(&empty.bundle(), &policy(), Rule::Opening);
}

fn cosigned(checkpoint: &Checkpoint) -> String {
    let note = Note::parse(&checkpoint.sign(&log_signer()).expect("signed")).expect("a note");
    let at = fettle_audit::cosignature::UnixSeconds(1);
    fettle_audit::cosignature::cosign(note, &witness(), at).expect("cosigned").to_string()
}

#[test]
fn another_policy_believes_nothing_of_it() {
    let bundle = story().bundle();
    let other_permit_key = format!(
        "log {}\npermit-key {}\nquorum none\n",
        log_signer().verifier(SignatureKind::Ed25519),
        witness().verifier(SignatureKind::Ed25519).key()
    );
    check(&bundle, &other_permit_key.parse().expect("a policy"), Rule::Signature);
    let other_log = format!(
        "log {}\npermit-key {}\nquorum none\n",
        witness().verifier(SignatureKind::Ed25519),
        permit_key().public()
    );
    check(&bundle, &other_log.parse().expect("a policy"), Rule::Opening);
}
