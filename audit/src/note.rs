//! Signed notes (C2SP signed-note, version 1.0.0): text, a blank line, signature lines.
//!
//! Checkpoints are notes. Signatures of unknown keys are ignored, a known key's signature must hold,
//! and at least one known key must have signed. Knows Ed25519 (type 0x01) and, for witnesses, the
//! timestamped cosignatures of [`crate::cosignature`] (type 0x04).

mod verifier;

pub use verifier::{InvalidKeyName, InvalidVerifierKey, KeyName, NoteSigner, SignatureKind, VerifierKey};

use crate::encoding::{from_base64, to_base64};
use std::fmt;

/// Longest note in bytes: a checkpoint has about 250, a witness's line about 200 more.
pub const MAX_NOTE_BYTES: usize = 16 * 1024;
/// Most signatures on a note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 32;
/// Longest signature in bytes after its key id: an unknown one may be a post-quantum signature.
const MAX_SIGNATURE_BYTES: usize = 5 * 1024;
/// Em dash and space, before every signature.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

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
                return Err(NoteError::SignedTwice(key.name().clone()));
            }
            if !key.holds(&self.text, signature) {
                return Err(NoteError::BadSignature(key.name().clone()));
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
mod tests;
