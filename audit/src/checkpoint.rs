//! Checkpoints: the signed head of a log (C2SP tlog-checkpoint, version 1.0.0).
//!
//! The control plane signs them with the log key; agents and auditors open them with a
//! [`LogVerifier`]. Extension lines are refused: this log writes none, and no monitor could audit
//! them. Never compares two checkpoints: that is [`crate::tree::verify_consistency`].

use crate::encoding::from_decimal;
use crate::note::{InvalidVerifierKey, KeyName, Note, NoteError, NoteSigner, SignatureKind, VerifierKey};
use crate::tree::{Hash, empty_root};
use fettle_model::counter::{self, TreeSize};
use std::fmt;
use std::str::FromStr;

/// The head of a log: its name, how many records it has, and the root over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: the first line, and the name of its key.
    pub origin: KeyName,
    /// Number of records.
    pub size: TreeSize,
    /// Root of the tree.
    pub root: Hash,
}

/// Why a text is no checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// No note, or one that does not verify.
    #[error("the checkpoint's note is refused")]
    Note(#[source] NoteError),
    /// Not origin, size and root on three lines.
    #[error("the checkpoint is malformed: {0}")]
    Malformed(&'static str),
    /// The head of another log.
    #[error("the checkpoint is of {found}, not of {expected}")]
    OtherLog {
        /// Whose it says it is.
        found: KeyName,
        /// Whose it was to be.
        expected: KeyName,
    },
}

impl Checkpoint {
    /// Signs the checkpoint; gives the note's text.
    ///
    /// # Errors
    /// When it makes no note.
    pub fn sign(&self, signer: &NoteSigner) -> Result<String, CheckpointError> {
        if &self.origin != signer.name() {
            return Err(CheckpointError::OtherLog { found: self.origin.clone(), expected: signer.name().clone() });
        }
        Note::sign(&self.to_string(), signer).map(|note| note.to_string()).map_err(CheckpointError::Note)
    }

    /// Opens a signed checkpoint of this log. Signatures of other keys are ignored.
    ///
    /// # Errors
    /// When it is not signed by the log's key, or is no checkpoint of this log.
    pub fn open(note: &str, log: &LogVerifier) -> Result<Self, CheckpointError> {
        let note = Note::parse(note).map_err(CheckpointError::Note)?;
        note.verify([&log.key]).map_err(CheckpointError::Note)?;
        let checkpoint: Self = note.unverified_text().parse()?;
        if &checkpoint.origin != log.origin() {
            return Err(CheckpointError::OtherLog { found: checkpoint.origin, expected: log.origin().clone() });
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for Checkpoint {
    /// The note's text: three lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    /// Reads a note's text. Nothing is verified.
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let malformed = CheckpointError::Malformed;
        let mut lines = text.strip_suffix('\n').ok_or(malformed("no newline at the end"))?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(malformed("not exactly three lines"));
        };
        let size = from_decimal(size).filter(|size| *size <= counter::MAX).ok_or(malformed("the size"))?;
        let root = root.parse().map_err(|_| malformed("the root"))?;
        if size == 0 && root != empty_root() {
            return Err(malformed("a root of an empty tree that is not the empty root"));
        }
        Ok(Self { origin: origin.parse().map_err(|_| malformed("the origin"))?, size: TreeSize(size), root })
    }
}

/// Opens the checkpoints of one log: its origin is the name of its key. Text form: the vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogVerifier {
    key: VerifierKey,
}

/// The key cannot be a log's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogKey {
    /// The text is no verifier key.
    #[error("the log key is refused")]
    Key(#[source] InvalidVerifierKey),
    /// It is a witness's key.
    #[error("{0} is a key for cosignatures, not a log's")]
    Cosignature(KeyName),
}

impl LogVerifier {
    /// The verifier of the log with this key.
    ///
    /// # Errors
    /// When it is a witness's key.
    pub fn new(key: VerifierKey) -> Result<Self, InvalidLogKey> {
        match key.kind() {
            SignatureKind::Ed25519 => Ok(Self { key }),
            SignatureKind::Cosignature => Err(InvalidLogKey::Cosignature(key.name().clone())),
        }
    }

    /// The log's name.
    #[must_use]
    pub const fn origin(&self) -> &KeyName {
        self.key.name()
    }

    /// The log's key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }
}

impl fmt::Display for LogVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

impl FromStr for LogVerifier {
    type Err = InvalidLogKey;

    fn from_str(text: &str) -> Result<Self, InvalidLogKey> {
        Self::new(text.parse().map_err(InvalidLogKey::Key)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use proptest::prelude::*;

    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn signer(name: &str) -> NoteSigner {
        NoteSigner::new(name.parse().expect("a name"), SigningKey::from_seed(&[1; 32]))
    }

    fn verifier(signer: &NoteSigner) -> LogVerifier {
        LogVerifier::new(signer.verifier(SignatureKind::Ed25519)).expect("a log's key")
    }

    #[test]
    fn the_example_of_the_specification_reads_and_prints() {
        let checkpoint: Checkpoint = TEXT.parse().expect("a checkpoint");
        assert_eq!(checkpoint.size, TreeSize(20_852_163));
        assert_eq!(checkpoint.origin.as_str(), "example.com/behind-the-sofa");
        assert_eq!(checkpoint.to_string(), TEXT);
    }

    #[test]
    fn a_signed_checkpoint_opens_with_the_logs_key_and_no_other() {
        let log = signer("example.com/behind-the-sofa");
        let checkpoint: Checkpoint = TEXT.parse().expect("a checkpoint");
        let note = checkpoint.sign(&log).expect("signed");
        assert_eq!(Checkpoint::open(&note, &verifier(&log)), Ok(checkpoint.clone()));
        let same_key_other_name = signer("example.com/other");
        assert_eq!(
            Checkpoint::open(&note, &verifier(&same_key_other_name)),
            Err(CheckpointError::Note(NoteError::NotSigned))
        );
        assert!(matches!(checkpoint.sign(&same_key_other_name), Err(CheckpointError::OtherLog { .. })));
        let foreign = Note::sign(TEXT, &same_key_other_name).expect("signed").to_string();
        assert!(matches!(
            Checkpoint::open(&foreign, &verifier(&same_key_other_name)),
            Err(CheckpointError::OtherLog { .. })
        ));
        assert!(matches!(
            LogVerifier::new(log.verifier(SignatureKind::Cosignature)),
            Err(InvalidLogKey::Cosignature(_))
        ));
    }

    #[test]
    fn every_other_shape_is_refused() {
        for text in [
            "",
            "a\n1\n",
            "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
            "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nextension\n",
            "a\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n+1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n9007199254740992\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
            "a\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
            "a b\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        ] {
            assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_fails(at in any::<prop::sample::Index>(), bit in 0..8) {
            let log = signer("example.com/behind-the-sofa");
            let checkpoint: Checkpoint = TEXT.parse().expect("a checkpoint");
            let mut bytes = checkpoint.sign(&log).expect("signed").into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let opened = std::str::from_utf8(&bytes).ok().map(|text| Checkpoint::open(text, &verifier(&log)).is_ok());
            prop_assert_ne!(opened, Some(true));
        }
    }
}
