//! Signed notes (C2SP signed-note, version 1.0.0): text, a blank line, signature lines.
//!
//! Checkpoints are notes. Signatures of unknown keys are ignored, a known key's signature must hold,
//! and at least one known key must have signed. Knows Ed25519 (type 0x01) and, for witnesses, the
//! timestamped cosignatures of [`crate::cosignature`] (type 0x04).

use crate::cosignature;
use crate::encoding::{array_from_base64, from_base64, serde_as_text, to_base64};
use crate::key::{PublicKey, Signature, SigningKey};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Longest note in bytes: a checkpoint has about 250, a witness's line about 200 more.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;
/// Most signatures on a note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 32;
/// Longest signature in bytes after its key id: an unknown one may be a post-quantum signature.
const MAX_SIGNATURE_BYTES: usize = 5 * 1024;
/// Longest key name in bytes.
const MAX_KEY_NAME_BYTES: usize = 255;
/// Em dash and space, before every signature.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// The name of a note's signer, and of a log: its origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// The text is not a key name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key name must have 1 to {MAX_KEY_NAME_BYTES} bytes without white space, control characters and '+', not {text:?}"
)]
pub struct InvalidKeyName {
    /// What was given, cut to 80 characters.
    pub text: String,
}

impl KeyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(text: &str) -> Result<Self, InvalidKeyName> {
        let sound = (1..=MAX_KEY_NAME_BYTES).contains(&text.len())
            && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+');
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidKeyName { text: text.chars().take(80).collect() }) }
    }
}

serde_as_text!(KeyName);

/// How a key signs notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureKind {
    /// Ed25519 over the text: type 0x01. Logs sign so.
    Ed25519,
    /// Ed25519 over the text with a time before it: type 0x04. Witnesses sign so.
    Cosignature,
}

impl SignatureKind {
    const fn code(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Ed25519),
            4 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// A key that verifies notes. Text form (a *vkey*): `<name>+<key id in hexadecimal>+<base64 of type and key>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: KeyName,
    kind: SignatureKind,
    key: PublicKey,
    id: u32,
}

/// The text is not a verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVerifierKey {
    /// Not three parts with `+` between them.
    #[error("a verifier key must be <name>+<key id>+<base64 of type and key>")]
    Shape,
    /// The name is none.
    #[error("the verifier key's name is not valid")]
    Name(#[source] InvalidKeyName),
    /// A signature type that is not known here.
    #[error("signature type {0:#04x} is not known")]
    Kind(u8),
    /// The key itself is refused.
    #[error("the verifier key's public key is refused")]
    Key(#[source] crate::key::InvalidPublicKey),
    /// The key id is not that of name, type and key.
    #[error("the verifier key's id is {expected:08x}, not {found:?}")]
    Id {
        /// What it must be.
        expected: u32,
        /// What is written, cut to 16 characters.
        found: String,
    },
}

impl VerifierKey {
    /// The verifier of this name, kind and key.
    #[must_use]
    pub fn new(name: KeyName, kind: SignatureKind, key: PublicKey) -> Self {
        let id = key_id(&name, kind, &key);
        Self { name, kind, key, id }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// How it signs.
    #[must_use]
    pub const fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether a signature claims to be by this key.
    #[must_use]
    pub fn claims(&self, signature: &NoteSignature) -> bool {
        self.id == signature.id && self.name == signature.name
    }

    fn holds(&self, text: &str, signature: &NoteSignature) -> bool {
        match self.kind {
            SignatureKind::Ed25519 => match signature.bytes.as_slice().try_into() {
                Ok(bytes) => self.key.verify(text.as_bytes(), &Signature::from_bytes(bytes)).is_ok(),
                Err(_) => false,
            },
            SignatureKind::Cosignature => cosignature::holds(&self.key, text, &signature.bytes),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind.code()];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, to_base64(&bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidVerifierKey;

    fn from_str(text: &str) -> Result<Self, InvalidVerifierKey> {
        // The base64 part may hold a '+' of its own, the name cannot.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidVerifierKey::Shape);
        };
        let name = name.parse().map_err(InvalidVerifierKey::Name)?;
        let [code, key @ ..] = array_from_base64::<33>(bytes).ok_or(InvalidVerifierKey::Shape)?;
        let kind = SignatureKind::from_code(code).ok_or(InvalidVerifierKey::Kind(code))?;
        let verifier = Self::new(name, kind, PublicKey::from_bytes(&key).map_err(InvalidVerifierKey::Key)?);
        if id == format!("{:08x}", verifier.id) {
            Ok(verifier)
        } else {
            Err(InvalidVerifierKey::Id { expected: verifier.id, found: id.chars().take(16).collect() })
        }
    }
}

serde_as_text!(VerifierKey);

fn key_id(name: &KeyName, kind: SignatureKind, key: &PublicKey) -> u32 {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(name.as_str())
        .chain_update([b'\n', kind.code()])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d])
}

/// A name and a key that sign notes.
#[derive(Debug)]
pub struct NoteSigner {
    name: KeyName,
    key: SigningKey,
}

impl NoteSigner {
    /// The signer of this name and key.
    #[must_use]
    pub const fn new(name: KeyName, key: SigningKey) -> Self {
        Self { name, key }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The verifier of its signatures of this kind.
    #[must_use]
    pub fn verifier(&self, kind: SignatureKind) -> VerifierKey {
        VerifierKey::new(self.name.clone(), kind, self.key.public())
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    fn signature(&self, text: &str) -> NoteSignature {
        NoteSignature {
            name: self.name.clone(),
            id: self.verifier(SignatureKind::Ed25519).id,
            bytes: self.key.sign(text.as_bytes()).as_bytes().to_vec(),
        }
    }

    /// A cosignature line's content, made by [`cosignature::cosign`].
    pub(crate) fn cosignature(&self, bytes: Vec<u8>) -> NoteSignature {
        NoteSignature { name: self.name.clone(), id: self.verifier(SignatureKind::Cosignature).id, bytes }
    }
}

/// One signature line, not verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: u32,
    bytes: Vec<u8>,
}

impl NoteSignature {
    /// The name that it claims.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }
}

/// A note with its signatures, not verified. Its `Display` is the one spelling that parses to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// Why text is no note, or a note does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`MAX_NOTE_BYTES`].
    #[error("a note of {0} bytes is longer than {MAX_NOTE_BYTES}")]
    TooLong(usize),
    /// Holds a control character, no blank line, or no text.
    #[error("the note is malformed: {0}")]
    Malformed(&'static str),
    /// More than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// One key signed twice.
    #[error("{0} signed the note twice")]
    SignedTwice(KeyName),
    /// A known key's signature does not hold.
    #[error("the note's signature by {0} does not hold")]
    BadSignature(KeyName),
    /// No known key signed.
    #[error("the note is signed by no known key")]
    NotSigned,
}

impl Note {
    /// Signs a text.
    ///
    /// # Errors
    /// When the text does not end in a newline, holds other control characters, ends in a blank
    /// line, or is too long.
    pub fn sign(text: &str, signer: &NoteSigner) -> Result<Self, NoteError> {
        check_text(text)?;
        let note = Self { text: text.to_owned(), signatures: vec![signer.signature(text)] };
        note.bounded()
    }

    /// The note with one more signature.
    ///
    /// # Errors
    /// When there are too many.
    pub fn with(mut self, signature: NoteSignature) -> Result<Self, NoteError> {
        self.signatures.push(signature);
        self.bounded()
    }

    fn bounded(self) -> Result<Self, NoteError> {
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let bytes = self.to_string().len();
        if bytes > MAX_NOTE_BYTES { Err(NoteError::TooLong(bytes)) } else { Ok(self) }
    }

    /// Parses a note. It is not verified.
    ///
    /// # Errors
    /// When it is no note.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(note.len()));
        }
        // The last blank line separates: the text may hold blank lines, signatures cannot.
        let split = note.rfind("\n\n").ok_or(NoteError::Malformed("no blank line before the signatures"))?;
        let (text, rest) = note.split_at(split + 1);
        check_text(text)?;
        let lines = rest.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let mut signatures: Vec<NoteSignature> = Vec::new();
        for line in lines.ok_or(NoteError::Malformed("no newline at the end"))?.split('\n') {
            if signatures.len() == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(parse_signature(line).ok_or(NoteError::Malformed("a signature line"))?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// Its text before verification, the last newline included.
    #[must_use]
    pub fn unverified_text(&self) -> &str {
        &self.text
    }

    /// Its signatures.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Verifies the signatures of the known keys; gives those that signed, in the order of `known`.
    ///
    /// # Errors
    /// When a known key's signature does not hold, a known key signed twice, or none signed.
    pub fn verify<'k>(
        &self,
        known: impl IntoIterator<Item = &'k VerifierKey>,
    ) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signers = Vec::new();
        for key in known {
            let mut claimed = self.signatures.iter().filter(|signature| key.claims(signature));
            let Some(signature) = claimed.next() else { continue };
            if claimed.next().is_some() {
                return Err(NoteError::SignedTwice(key.name.clone()));
            }
            if !key.holds(&self.text, signature) {
                return Err(NoteError::BadSignature(key.name.clone()));
            }
            signers.push(key);
        }
        if signers.is_empty() { Err(NoteError::NotSigned) } else { Ok(signers) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        for signature in &self.signatures {
            let mut bytes = signature.id.to_be_bytes().to_vec();
            bytes.extend_from_slice(&signature.bytes);
            writeln!(f, "{SIGNATURE_PREFIX}{} {}", signature.name, to_base64(&bytes))?;
        }
        Ok(())
    }
}

fn check_text(text: &str) -> Result<(), NoteError> {
    if !text.ends_with('\n') || text == "\n" {
        return Err(NoteError::Malformed("the text must be lines, each with its newline"));
    }
    if text.ends_with("\n\n") {
        return Err(NoteError::Malformed("the text ends in a blank line"));
    }
    if text.chars().any(|c| c < ' ' && c != '\n') {
        return Err(NoteError::Malformed("a control character"));
    }
    Ok(())
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, bytes) = line.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    if bytes.len() > MAX_SIGNATURE_BYTES.div_ceil(3) * 4 {
        return None;
    }
    let bytes = from_base64(bytes)?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    if bytes.is_empty() {
        return None;
    }
    Some(NoteSignature { name: name.parse().ok()?, id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
