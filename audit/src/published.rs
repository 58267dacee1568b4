//! One record with the proof that it is in the log.
//!
//! The control plane makes them; agents verify them before they act on a permit, a configuration or
//! a stop order, and before they drop a record of their own. Never trusts a field that the proof
//! does not cover.

use crate::checkpoint::{Checkpoint, CheckpointError, LogVerifier};
use crate::encoding::base64_bytes;
use crate::envelope::Envelope;
use crate::key::PublicKey;
use crate::leaf::{InvalidLeaf, LEAF_BYTES, Leaf, leaf_of};
use crate::note::MAX_NOTE_BYTES;
use crate::signed_record::{OpenError, SignedRecord, UnverifiedRecord};
use crate::tree::{Hash, MAX_PROOF_HASHES, ProofMismatch, leaf_hash, verify_inclusion};
use fettle_model::counter::LogPosition;
use fettle_model::record::{MAX_RECORD_BYTES, Record};
use serde::{Deserialize, Serialize};

/// Longest published record as JSON: the envelope in base64 (4/3), the leaf, the note with its
/// newlines escaped (at most twice as long), the proof (47 bytes per hash), and the keys.
pub const MAX_PUBLISHED_BYTES: usize =
    MAX_RECORD_BYTES.div_ceil(3) * 4 + LEAF_BYTES * 2 + MAX_NOTE_BYTES * 2 + MAX_PROOF_HASHES * 47 + 256;

/// A record's envelope, its leaf, and the proof that the leaf is in the tree of a signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The envelope's exact bytes.
    #[serde(with = "base64_bytes")]
    pub envelope: Vec<u8>,
    /// The leaf's exact bytes.
    #[serde(with = "base64_bytes")]
    pub leaf: Vec<u8>,
    /// The record's position.
    pub position: LogPosition,
    /// The signed checkpoint, a note's text.
    pub checkpoint: String,
    /// Siblings from the leaf to the root.
    pub inclusion: Vec<Hash>,
}

/// Why a published record is refused.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// Longer than [`MAX_PUBLISHED_BYTES`].
    #[error("a published record of {0} bytes is longer than {MAX_PUBLISHED_BYTES}")]
    TooLong(usize),
    /// Not the JSON of a published record.
    #[error("the bytes are no published record")]
    Json(#[source] serde_json::Error),
    /// The record's envelope does not open with the author's key.
    #[error("the published record does not open")]
    Record(#[source] OpenError),
    /// The leaf is malformed.
    #[error("the published leaf is malformed")]
    Leaf(#[source] InvalidLeaf),
    /// The leaf is that of another record.
    #[error("the published leaf is not that of the record")]
    LeafDiffers,
    /// The checkpoint is not one of this log.
    #[error("the published checkpoint is refused")]
    Checkpoint(#[source] CheckpointError),
    /// The proof does not lead from leaf to checkpoint.
    #[error("the record is not proven to be in the log")]
    Inclusion(#[source] ProofMismatch),
}

impl Published {
    /// Parses a published record. It is not verified.
    ///
    /// # Errors
    /// When it is too long or not the JSON of one.
    pub fn parse(json: &[u8]) -> Result<Self, PublishedError> {
        if json.len() > MAX_PUBLISHED_BYTES {
            return Err(PublishedError::TooLong(json.len()));
        }
        serde_json::from_slice(json).map_err(PublishedError::Json)
    }

    /// Its JSON.
    ///
    /// # Errors
    /// Never in practice: only when the serializer fails.
    pub fn to_json(&self) -> Result<Vec<u8>, PublishedError> {
        serde_json::to_vec(self).map_err(PublishedError::Json)
    }

    /// Verifies everything: the record's signature by the author's key, that the leaf is the
    /// record's, that the leaf is at this position of the checkpoint's tree, and the checkpoint's
    /// signature by the log's key. The caller compares [`SignedRecord::speaker`] with the key's holder.
    ///
    /// # Errors
    /// With the first link that does not hold.
    pub fn verify(&self, log: &LogVerifier, author: &PublicKey) -> Result<(SignedRecord, Checkpoint), PublishedError> {
        let signed = SignedRecord::open(self.envelope.clone(), author).map_err(PublishedError::Record)?;
        let checkpoint = self.included(log, signed.record(), signed.envelope())?;
        Ok((signed, checkpoint))
    }

    /// Verifies all but the author's signature: that the log has this record at this position. For a reader who
    /// does not know the author's key; whether the author wrote it, the log's verifier tells.
    ///
    /// # Errors
    /// With the first link that does not hold.
    pub fn prove(&self, log: &LogVerifier) -> Result<(UnverifiedRecord, Checkpoint), PublishedError> {
        let record = UnverifiedRecord::parse(self.envelope.clone()).map_err(PublishedError::Record)?;
        let checkpoint = self.included(log, record.claimed(), record.envelope())?;
        Ok((record, checkpoint))
    }

    fn included(&self, log: &LogVerifier, record: &Record, envelope: &Envelope) -> Result<Checkpoint, PublishedError> {
        let leaf = Leaf::decode(&self.leaf).map_err(PublishedError::Leaf)?;
        if leaf != leaf_of(record, envelope, leaf.received_at) {
            return Err(PublishedError::LeafDiffers);
        }
        let checkpoint = Checkpoint::open(&self.checkpoint, log).map_err(PublishedError::Checkpoint)?;
        verify_inclusion(&leaf_hash(&self.leaf), self.position, checkpoint.size, &self.inclusion, &checkpoint.root)
            .map_err(PublishedError::Inclusion)?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use crate::leaf::leaf_for;
    use crate::note::{NoteSigner, SignatureKind};
    use crate::tree::{Frontier, inclusion_proof};
    use fettle_model::breaker::{Scope, StopOrder};
    use fettle_model::counter::StopEpoch;
    use fettle_model::record::{Author, Body};
    use fettle_model::time::UnixMillis;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    fn permit_key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn log() -> NoteSigner {
        NoteSigner::new("log.example/fettle".parse().expect("a name"), SigningKey::from_seed(&[2; 32]))
    }

    fn verifier() -> LogVerifier {
        LogVerifier::new(log().verifier(SignatureKind::Ed25519)).expect("a log's key")
    }

    fn stop(epoch: u64) -> SignedRecord {
        let order = StopOrder {
            scope: Scope::Global,
            epoch: StopEpoch(epoch),
            by: "alice".parse().expect("a name"),
            why: "x".to_owned(),
        };
        let body = Body::AutomationStopped(Box::new(order));
        SignedRecord::seal(Record { author: Author::ControlPlane, at: UnixMillis(1), body }, &permit_key())
            .expect("sealed")
    }

    /// The third of five records.
    static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
        let records: Vec<SignedRecord> = (1..=5).map(stop).collect();
        let leaves: Vec<Leaf> = records.iter().map(|record| leaf_for(record, UnixMillis(9))).collect();
        let mut frontier = Frontier::new();
        let mut nodes = std::collections::BTreeMap::new();
        for leaf in &leaves {
            frontier.append_with(leaf.hash(), |level, index, hash| {
                nodes.insert((level, index), hash);
            });
        }
        let inclusion = inclusion_proof(LogPosition(2), frontier.size(), |level, index| {
            nodes.get(&(level, index)).copied().ok_or("absent")
        });
        let checkpoint = Checkpoint { origin: log().name().clone(), size: frontier.size(), root: frontier.root() };
        Published {
            envelope: records[2].envelope().as_bytes().to_vec(),
            leaf: leaves[2].encode().to_vec(),
            position: LogPosition(2),
            checkpoint: checkpoint.sign(&log()).expect("signed"),
            inclusion: inclusion.expect("in range"),
        }
    });

    #[test]
    fn what_is_in_the_log_verifies_after_a_trip_through_json() {
        let json = PUBLISHED.to_json().expect("JSON");
        assert!(json.len() < MAX_PUBLISHED_BYTES);
        let parsed = Published::parse(&json).expect("parsed");
        let (signed, checkpoint) = parsed.verify(&verifier(), &permit_key().public()).expect("verified");
        assert_eq!(signed, stop(3));
        assert_eq!(checkpoint.size.0, 5);
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Published), refused: impl FnOnce(&PublishedError) -> bool) {
        let mut published = PUBLISHED.clone();
        change(&mut published);
        let error = published.verify(&verifier(), &permit_key().public()).expect_err("refused");
        assert!(refused(&error), "{error:?}");
    }

    #[test]
    fn every_link_of_the_proof_is_checked() {
        check(|p| p.envelope = stop(4).into_parts().1.into_bytes(), |e| matches!(e, PublishedError::LeafDiffers));
        check(
            |p| p.leaf = leaf_for(&stop(3), UnixMillis(10)).encode().to_vec(),
            |e| matches!(e, PublishedError::Inclusion(_)),
        );
        check(|p| p.leaf = Vec::new(), |e| matches!(e, PublishedError::Leaf(_)));
        check(|p| p.position = LogPosition(1), |e| matches!(e, PublishedError::Inclusion(_)));
        check(|p| p.inclusion.truncate(1), |e| matches!(e, PublishedError::Inclusion(_)));
        check(
            |p| p.checkpoint = p.checkpoint.replace("\n5\n", "\n6\n"),
            |e| matches!(e, PublishedError::Checkpoint(_)),
        );
        let stranger = SigningKey::from_seed(&[3; 32]).public();
        assert!(matches!(PUBLISHED.verify(&verifier(), &stranger), Err(PublishedError::Record(_))));
        let other_log = NoteSigner::new("other".parse().expect("a name"), SigningKey::from_seed(&[2; 32]));
        let other_log = LogVerifier::new(other_log.verifier(SignatureKind::Ed25519)).expect("a log's key");
        assert!(matches!(PUBLISHED.verify(&other_log, &permit_key().public()), Err(PublishedError::Checkpoint(_))));
    }

    #[test]
    fn a_record_is_proven_to_be_in_the_log_without_its_authors_key() {
        let (record, checkpoint) = PUBLISHED.prove(&verifier()).expect("proven");
        assert_eq!((record.envelope(), checkpoint.size.0), (stop(3).envelope(), 5));
        let other = Published { envelope: stop(4).into_parts().1.into_bytes(), ..PUBLISHED.clone() };
        assert!(matches!(other.prove(&verifier()), Err(PublishedError::LeafDiffers)));
        let elsewhere = Published { position: LogPosition(1), ..PUBLISHED.clone() };
        assert!(matches!(elsewhere.prove(&verifier()), Err(PublishedError::Inclusion(_))));
    }

    #[test]
    fn its_json_is_bounded_and_closed() {
        assert!(matches!(Published::parse(&vec![b' '; MAX_PUBLISHED_BYTES + 1]), Err(PublishedError::TooLong(_))));
        let mut json: serde_json::Value = serde_json::to_value(&*PUBLISHED).expect("JSON");
        json["more"] = 1.into();
        assert!(matches!(Published::parse(json.to_string().as_bytes()), Err(PublishedError::Json(_))));
    }

    proptest! {
        #[test]
        fn no_flipped_bit_yields_another_record(at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut json = PUBLISHED.to_json().expect("JSON");
            let at = at.index(json.len());
            json[at] ^= 1_u8 << bit;
            // White space between JSON tokens and an ignored signature carry no meaning: what still
            // verifies must be the same published record.
            if let Ok(parsed) = Published::parse(&json) && parsed.verify(&verifier(), &permit_key().public()).is_ok() {
                prop_assert_eq!(&parsed, &*PUBLISHED);
            }
        }
    }
}
