//! Witnesses' cosignatures (C2SP tlog-cosignature, version 1, Ed25519).
//!
//! A witness that saw a checkpoint and verified that it continues the one before adds a line with
//! the time. Called by witnesses and, through [`crate::note`], by whoever verifies a quorum. Never
//! decides whether a checkpoint is consistent: that is [`crate::tree::verify_consistency`].

use crate::key::{PublicKey, Signature};
use crate::note::{Note, NoteError, NoteSigner};

/// Seconds since 1970-01-01T00:00:00Z, as cosignatures carry them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixSeconds(pub u64);

/// Highest time that the specification allows.
const MAX_TIME: u64 = (1 << 63) - 1;

/// The note with this witness's cosignature added. The caller has verified that the checkpoint
/// continues the last one it cosigned.
///
/// # Errors
/// When the note has too many signatures already.
pub fn cosign(note: Note, witness: &NoteSigner, at: UnixSeconds) -> Result<Note, NoteError> {
    if at.0 > MAX_TIME {
        return Err(NoteError::Malformed("a time above 2^63 - 1"));
    }
    let signature = witness.key().sign(message(note.unverified_text(), at).as_bytes());
    let mut bytes = at.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(signature.as_bytes());
    note.with(witness.cosignature(bytes))
}

pub(crate) fn holds(key: &PublicKey, text: &str, bytes: &[u8]) -> bool {
    let Some((time, signature)) = bytes.split_first_chunk::<8>() else { return false };
    let Ok(signature) = signature.try_into() else { return false };
    let at = UnixSeconds(u64::from_be_bytes(*time));
    at.0 <= MAX_TIME && key.verify(message(text, at).as_bytes(), &Signature::from_bytes(signature)).is_ok()
}

fn message(text: &str, at: UnixSeconds) -> String {
    format!("cosignature/v1\ntime {}\n{text}", at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use crate::note::SignatureKind;

    #[test]
    fn the_signed_message_is_that_of_the_specification() {
        assert_eq!(
            message(
                "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
                UnixSeconds(1_679_315_147)
            ),
            "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
        );
    }

    #[test]
    fn a_cosignature_holds_for_its_text_and_time_only() {
        let log = NoteSigner::new("log".parse().expect("a name"), SigningKey::from_seed(&[1; 32]));
        let witness = NoteSigner::new("witness".parse().expect("a name"), SigningKey::from_seed(&[2; 32]));
        let note = Note::sign("text\n", &log).expect("signed");
        let cosigned = cosign(note.clone(), &witness, UnixSeconds(7)).expect("cosigned");
        let key = witness.verifier(SignatureKind::Cosignature);
        assert_eq!(cosigned.verify([&key]), Ok(vec![&key]));
        assert_eq!(Note::parse(&cosigned.to_string()), Ok(cosigned.clone()));
        let as_log = witness.verifier(SignatureKind::Ed25519);
        assert_eq!(cosigned.verify([&as_log]), Err(NoteError::NotSigned), "the kinds have different key ids");
        let other_time = {
            let mut bytes = 8_u64.to_be_bytes().to_vec();
            bytes.extend_from_slice(witness.key().sign(message("text\n", UnixSeconds(7)).as_bytes()).as_bytes());
            note.clone().with(witness.cosignature(bytes)).expect("room")
        };
        assert!(matches!(other_time.verify([&key]), Err(NoteError::BadSignature(_))));
        assert!(cosign(note, &witness, UnixSeconds(MAX_TIME + 1)).is_err());
    }
}
