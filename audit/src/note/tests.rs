//! The specification's example, and what is no note.

use super::*;
use crate::encoding::array_from_base64;
use crate::key::SigningKey;
use proptest::prelude::*;

const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
/// The published signing key of the example, type byte and seed.
const SIGNER: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn signer() -> NoteSigner {
    let [_, seed @ ..] = array_from_base64::<33>(SIGNER).expect("base64");
    NoteSigner::new("PeterNeumann".parse().expect("a name"), SigningKey::from_seed(&seed))
}

fn known() -> VerifierKey {
    VERIFIER.parse().expect("a verifier key")
}

#[test]
fn the_published_example_verifies_and_comes_out_of_signing() {
    let note = format!("{TEXT}\n{LINE}");
    let parsed = Note::parse(&note).expect("a note");
    assert_eq!(parsed.verify([&known()]), Ok(vec![&known()]));
    assert_eq!(parsed.unverified_text(), TEXT);
    assert_eq!(Note::sign(TEXT, &signer()).expect("signed").to_string(), note);
    assert_eq!(signer().verifier(SignatureKind::Ed25519).to_string(), VERIFIER);
}

#[test]
fn unknown_signatures_are_ignored_and_one_known_must_hold() {
    let other = NoteSigner::new("example.com/other".parse().expect("a name"), SigningKey::from_seed(&[9; 32]));
    let both = Note::sign(TEXT, &signer()).and_then(|n| n.with(other.signature(TEXT))).expect("signed twice");
    assert_eq!(both.verify([&known()]), Ok(vec![&known()]));
    let other_key = other.verifier(SignatureKind::Ed25519);
    assert_eq!(both.verify([&known(), &other_key]).map(|signers| signers.len()), Ok(2));
    assert_eq!(Note::sign(TEXT, &other).expect("signed").verify([&known()]), Err(NoteError::NotSigned));
    let wrong = Note::sign(TEXT, &signer()).and_then(|n| n.with(other.signature("x\n"))).expect("signed twice");
    assert!(matches!(wrong.verify([&known(), &other_key]), Err(NoteError::BadSignature(_))));
    let twice = Note::sign(TEXT, &signer()).and_then(|n| n.with(signer().signature(TEXT))).expect("signed twice");
    assert!(matches!(twice.verify([&known()]), Err(NoteError::SignedTwice(_))));
}

#[track_caller]
fn check_no_note(note: &str) {
    assert!(Note::parse(note).is_err(), "{note:?}");
}

#[test]
fn what_is_no_note_is_refused() {
    let note = format!("{TEXT}\n{LINE}");
    check_no_note("");
    check_no_note("\n\n");
    check_no_note(TEXT);
    check_no_note(&format!("{TEXT}\n"));
    check_no_note(&format!("\n\n{LINE}"));
    check_no_note(note.trim_end());
    check_no_note(&format!("{note}\n"));
    check_no_note(&note.replace('\u{2014}', "-"));
    check_no_note(&note.replace("\n\n", "\n"));
    check_no_note(&note.replace("your", "your\t"));
    check_no_note(&note.replace("AM=", "AN="));
    check_no_note(&note.replace("PeterNeumann ", "Peter+Neumann "));
    check_no_note(&note.replace("PeterNeumann ", "Peter\u{a0}Neumann "));
    check_no_note(&note.replace("PeterNeumann ", "PeterNeumann  "));
    check_no_note(&format!("{TEXT}\n{}", LINE.repeat(MAX_SIGNATURES + 1)));
    check_no_note(&format!("{}\n{LINE}", TEXT.repeat(MAX_NOTE_BYTES / TEXT.len() + 1)));
}

#[test]
fn a_verifier_key_has_one_spelling() {
    assert_eq!(known().to_string(), VERIFIER);
    for wrong in [
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10T",
        "PeterNeumann+c74f20a3+AhpczQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3",
    ] {
        assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn any_flipped_bit_fails(at in any::<prop::sample::Index>(), bit in 0..8) {
        let mut bytes = format!("{TEXT}\n{LINE}").into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let verified = std::str::from_utf8(&bytes).ok().and_then(|text| Note::parse(text).ok()).map(|note| note.verify([&known()]).is_ok());
        prop_assert_ne!(verified, Some(true));
    }

    #[test]
    fn what_parses_prints_the_same(note in "(a\n){0,2}b\n\n(\u{2014} n [A-Za-z0-9+/]{8}\n){0,3}") {
        if let Ok(parsed) = Note::parse(&note) {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }
}
