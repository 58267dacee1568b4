//! Leaves: what the Merkle tree commits to for each record.
//!
//! The control plane encodes one per record; agents and auditors decode and compare. A leaf holds
//! hashes and routing only, no name and no text, so it may be kept for ever while the record's body
//! expires under its retention class.
//!
//! Format 1, 131 bytes, integers big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format: 1 |
//! | 1 | the record's kind ([`Kind::code`]) |
//! | 32 | SHA-256 of the envelope |
//! | 32 | key id of the author's key |
//! | 8 | the agent's sequence; 0: the control plane or a person |
//! | 32 | SHA-256 of the agent's envelope before this one; zeros: none |
//! | 16 | the run that the record is about; zeros: none |
//! | 1 | retention class ([`RetentionClass::code`]) |
//! | 8 | when the control plane received it, Unix milliseconds |

use crate::envelope::Envelope;
use crate::signed_record::SignedRecord;
use crate::tree::{Hash, leaf_hash};
use fettle_model::counter::{self, AgentSequence};
use fettle_model::digest::{EnvelopeDigest, KeyId};
use fettle_model::id::RunId;
use fettle_model::record::{Author, Body, Kind, Record, RetentionClass};
use fettle_model::time::UnixMillis;
use uuid::Uuid;

/// Length of an encoded leaf: 1 + 1 + 32 + 32 + 8 + 32 + 16 + 1 + 8.
pub const LEAF_BYTES: usize = 131;

const FORMAT: u8 = 1;

/// What the tree commits to for one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// The record's kind.
    pub kind: Kind,
    /// Digest of its envelope.
    pub envelope: EnvelopeDigest,
    /// The key that signed it.
    pub author_key: KeyId,
    /// The agent's sequence; 0 for the control plane and for people.
    pub sequence: AgentSequence,
    /// Digest of the agent's envelope before this one.
    pub previous: Option<EnvelopeDigest>,
    /// The run that the record is about.
    pub run: Option<RunId>,
    /// How long the body is kept.
    pub retention: RetentionClass,
    /// When the control plane received the record.
    pub received_at: UnixMillis,
}

/// Why bytes are no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLeaf {
    /// Not [`LEAF_BYTES`] long.
    #[error("a leaf has {LEAF_BYTES} bytes, not {0}")]
    Length(usize),
    /// Not format 1.
    #[error("leaf format {0} is not known")]
    Format(u8),
    /// No kind of record has this number.
    #[error("no kind of record has the number {0}")]
    Kind(u8),
    /// No retention class has this number.
    #[error("no retention class has the number {0}")]
    Retention(u8),
    /// Sequence or time is above 2^53 - 1, which the record's JSON cannot carry.
    #[error("sequence or time is above 2^53 - 1")]
    Number,
}

/// The leaf of a record that the control plane received at this time.
#[must_use]
pub fn leaf_for(signed: &SignedRecord, received_at: UnixMillis) -> Leaf {
    leaf_of(signed.record(), signed.envelope(), received_at)
}

/// The same of a record whose signature was not looked at.
pub(crate) fn leaf_of(record: &Record, envelope: &Envelope, received_at: UnixMillis) -> Leaf {
    let (sequence, previous) = match &record.author {
        Author::ControlPlane | Author::Person { .. } => (AgentSequence(0), None),
        Author::Agent { sequence, previous, .. } => (*sequence, *previous),
    };
    Leaf {
        kind: record.body.kind(),
        envelope: envelope.digest(),
        author_key: envelope.key_id(),
        sequence,
        // Zeros stand for "none" in the format, so a value of zeros must not come back as one.
        previous: previous.filter(|digest| digest.as_bytes() != &[0; 32]),
        run: run_of(&record.body).filter(|run| !run.as_uuid().is_nil()),
        retention: record.body.kind().retention(),
        received_at,
    }
}

/// The run that a record is about: one search over the leaves finds a run's whole story.
#[must_use]
pub fn run_of(body: &Body) -> Option<RunId> {
    match body {
        Body::PermitRequested(request) => Some(request.run),
        Body::PermitGranted(permit) => Some(permit.run),
        Body::PermitRefused(refusal) => Some(refusal.run),
        Body::PermitRejected(rejected) => rejected.run,
        Body::StepIntended(step) => Some(step.run),
        Body::RunEnded(run) => Some(run.run),
        Body::RunUnresolved(unresolved) => Some(unresolved.run),
        Body::PlanMade(plan) => Some(plan.run),
        Body::LogOpened(_)
        | Body::RoleGranted(_)
        | Body::PersonRevoked(_)
        | Body::BreakGlassAsked(_)
        | Body::BreakGlassOpened(_)
        | Body::BreakGlassClosed(_)
        | Body::RoleRevoked(_)
        | Body::PersonKeySet(_)
        | Body::IdentityRegistered(_)
        | Body::PersonLoggedIn(_)
        | Body::ProposalMade(_)
        | Body::ApprovalGiven(_)
        | Body::ProposalEnded(_)
        | Body::RolloutAdvanced(_)
        | Body::RolloutHalted(_)
        | Body::RolloutOrdered(_)
        | Body::ConfigurationRejected(_)
        | Body::TokenCreated(_)
        | Body::HostEnrolled(_)
        | Body::CertificateIssued(_)
        | Body::HostStateSet(_)
        | Body::HostDescribed(_)
        | Body::PublisherTrusted(_)
        | Body::PlaybookAdmitted(_)
        | Body::ScenariosPassed(_)
        | Body::ConfigurationSet(_)
        | Body::TransitionSeen(_)
        | Body::BreakerOpened(_)
        | Body::BreakerClosed(_)
        | Body::BreakerEased(_)
        | Body::FreezeDeclared(_)
        | Body::FreezeLifted(_)
        | Body::MuteStarted(_)
        | Body::MuteLifted(_)
        | Body::PromotionProposed(_)
        | Body::AutomationStopped(_)
        | Body::AutomationResumed(_)
        | Body::DrillStarted(_)
        | Body::DrillStagePassed(_)
        | Body::ScheduleRefused(_)
        | Body::OfflineReturned(_)
        | Body::OfflineExpired(_)
        | Body::DrillEnded(_)
        | Body::EvidenceEarned(_)
        | Body::IncidentOpened(_)
        | Body::ActionRefused(_)
        | Body::ForkSeen(_)
        | Body::RunWished(_)
        | Body::RequestWithheld(_) => None,
    }
}

impl Leaf {
    /// The leaf's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; LEAF_BYTES] {
        let mut bytes = [0; LEAF_BYTES];
        let mut rest = bytes.as_mut_slice();
        put(&mut rest, &[FORMAT, self.kind.code()]);
        put(&mut rest, self.envelope.as_bytes());
        put(&mut rest, self.author_key.as_bytes());
        put(&mut rest, &self.sequence.0.to_be_bytes());
        put(&mut rest, self.previous.as_ref().map_or(&[0; 32], |digest| digest.as_bytes()));
        put(&mut rest, self.run.as_ref().map_or(&[0; 16], |run| run.as_uuid().as_bytes()));
        put(&mut rest, &[self.retention.code()]);
        put(&mut rest, &self.received_at.0.to_be_bytes());
        bytes
    }

    /// The leaf of these bytes.
    ///
    /// # Errors
    /// When they are not exactly one leaf of format 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidLeaf> {
        let bytes: &[u8; LEAF_BYTES] = bytes.try_into().map_err(|_| InvalidLeaf::Length(bytes.len()))?;
        let mut rest = bytes.as_slice();
        let [format, kind] = take(&mut rest);
        if format != FORMAT {
            return Err(InvalidLeaf::Format(format));
        }
        let leaf = Self {
            kind: Kind::from_code(kind).ok_or(InvalidLeaf::Kind(kind))?,
            envelope: EnvelopeDigest::from_bytes(take(&mut rest)),
            author_key: KeyId::from_bytes(take(&mut rest)),
            sequence: AgentSequence(u64::from_be_bytes(take(&mut rest))),
            previous: Some(take(&mut rest)).filter(|digest| digest != &[0; 32]).map(EnvelopeDigest::from_bytes),
            run: Some(Uuid::from_bytes(take(&mut rest))).filter(|run| !run.is_nil()).map(RunId::from_uuid),
            retention: {
                let [code] = take(&mut rest);
                RetentionClass::from_code(code).ok_or(InvalidLeaf::Retention(code))?
            },
            received_at: UnixMillis(u64::from_be_bytes(take(&mut rest))),
        };
        if leaf.sequence.0 > counter::MAX || leaf.received_at.0 > counter::MAX {
            return Err(InvalidLeaf::Number);
        }
        Ok(leaf)
    }

    /// Its hash in the tree (RFC 6962, section 2.1).
    #[must_use]
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.encode())
    }
}

/// Writes at the front of `rest` and moves it on. All lengths are constants that add up to [`LEAF_BYTES`].
fn put(rest: &mut &mut [u8], field: &[u8]) {
    let (head, tail) = std::mem::take(rest).split_at_mut(field.len());
    head.copy_from_slice(field);
    *rest = tail;
}

/// Takes `N` bytes from the front. All lengths are constants that add up to [`LEAF_BYTES`].
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_at(N);
    *rest = tail;
    std::array::from_fn(|i| head[i])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf() -> Leaf {
        Leaf {
            kind: Kind::RunEnded,
            envelope: EnvelopeDigest::from_bytes([1; 32]),
            author_key: KeyId::from_bytes([2; 32]),
            sequence: AgentSequence(3),
            previous: Some(EnvelopeDigest::from_bytes([4; 32])),
            run: Some(RunId::from_uuid(Uuid::from_bytes([5; 16]))),
            retention: RetentionClass::Regulated,
            received_at: UnixMillis(6),
        }
    }

    #[test]
    fn the_fields_stand_where_the_format_says() {
        let mut expected = vec![1, Kind::RunEnded.code()];
        expected.extend([1; 32]);
        expected.extend([2; 32]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        expected.extend([4; 32]);
        expected.extend([5; 16]);
        expected.push(1);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 6]);
        assert_eq!(leaf().encode().as_slice(), expected);
        assert_eq!(Leaf::decode(&expected), Ok(leaf()));
    }

    #[test]
    fn nothing_is_zeros_and_zeros_are_nothing() {
        let bare = Leaf { sequence: AgentSequence(0), previous: None, run: None, ..leaf() };
        assert_eq!(bare.encode()[74..122], [0; 48]);
        assert_eq!(Leaf::decode(&bare.encode()), Ok(bare));
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut Vec<u8>), expected: InvalidLeaf) {
        let mut bytes = leaf().encode().to_vec();
        change(&mut bytes);
        assert_eq!(Leaf::decode(&bytes), Err(expected));
    }

    #[test]
    fn what_is_no_leaf_is_refused_with_its_reason() {
        check_refused(|bytes| bytes.push(0), InvalidLeaf::Length(132));
        check_refused(|bytes| bytes.truncate(130), InvalidLeaf::Length(130));
        check_refused(|bytes| bytes[0] = 2, InvalidLeaf::Format(2));
        check_refused(|bytes| bytes[1] = 0, InvalidLeaf::Kind(0));
        check_refused(|bytes| bytes[122] = 9, InvalidLeaf::Retention(9));
        check_refused(|bytes| bytes[66] = 1, InvalidLeaf::Number);
        check_refused(|bytes| bytes[123] = 1, InvalidLeaf::Number);
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(mut bytes in proptest::collection::vec(any::<u8>(), LEAF_BYTES)) {
            bytes[0] = FORMAT;
            bytes[1] = bytes[1] % 29 + 1;
            bytes[122] %= 2;
            bytes[66] = 0;
            bytes[67] %= 32;
            bytes[123] = 0;
            bytes[124] %= 32;
            let leaf = Leaf::decode(&bytes).expect("a leaf");
            prop_assert_eq!(leaf.encode().to_vec(), bytes);
        }

        #[test]
        fn any_flipped_bit_changes_the_leaf_or_fails(at in 0..LEAF_BYTES, bit in 0..8) {
            let mut bytes = leaf().encode();
            bytes[at] ^= 1_u8 << bit;
            prop_assert_ne!(Leaf::decode(&bytes), Ok(leaf()));
        }
    }
}
