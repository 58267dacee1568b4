//! Records in their envelopes.
//!
//! Authors seal them, the control plane and agents open them. A [`SignedRecord`] exists only after
//! its signature held; an [`UnverifiedRecord`] lets the receiver read the *claimed* author in order
//! to choose the key. Which author a key may speak for is the caller's decision: it compares
//! [`SignedRecord::speaker`] with the holder of the key.

use crate::envelope::{Envelope, EnvelopeError};
use crate::key::{PublicKey, SigningKey};
use fettle_model::digest::KeyId;
use fettle_model::id::HostId;
use fettle_model::name::PersonName;
use fettle_model::record::{Author, RECORD_PAYLOAD_TYPE, Record};

/// A record whose signature held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRecord {
    record: Record,
    envelope: Envelope,
}

/// A record was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// It cannot be written as JSON.
    #[error("the record cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    /// It does not fit an envelope.
    #[error("the record does not fit an envelope")]
    Envelope(#[source] EnvelopeError),
}

/// Bytes were not opened as a record.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No envelope, or one that does not verify.
    #[error("the record's envelope is refused")]
    Envelope(#[source] EnvelopeError),
    /// The payload is no record.
    #[error("the envelope's payload is no record")]
    Json(#[source] serde_json::Error),
}

/// Who speaks in a record, without the place in the chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Speaker {
    /// The control plane.
    ControlPlane,
    /// The agent of this host.
    Agent(HostId),
    /// This person.
    Person(PersonName),
}

impl Speaker {
    /// Who speaks, according to an author field.
    #[must_use]
    pub fn of(author: &Author) -> Self {
        match author {
            Author::ControlPlane => Self::ControlPlane,
            Author::Agent { host, .. } => Self::Agent(*host),
            Author::Person { person } => Self::Person(person.clone()),
        }
    }
}

impl SignedRecord {
    /// Signs a record.
    ///
    /// # Errors
    /// When it is too long.
    pub fn seal(record: Record, key: &SigningKey) -> Result<Self, SealError> {
        let payload = serde_json::to_vec(&record).map_err(SealError::Json)?;
        let envelope = Envelope::seal(RECORD_PAYLOAD_TYPE, &payload, key).map_err(SealError::Envelope)?;
        Ok(Self { record, envelope })
    }

    /// Opens an envelope: verifies it with this key and then reads the record. The caller compares
    /// [`SignedRecord::speaker`] with the holder of the key.
    ///
    /// # Errors
    /// When it is no envelope of a record, is not signed by this key, or holds no record.
    pub fn open(bytes: Vec<u8>, key: &PublicKey) -> Result<Self, OpenError> {
        Self::open_envelope(Envelope::parse(bytes).map_err(OpenError::Envelope)?, key)
    }

    /// As [`SignedRecord::open`], of an envelope that is parsed already.
    ///
    /// # Errors
    /// When it is not signed by this key, or holds no record.
    pub fn open_envelope(envelope: Envelope, key: &PublicKey) -> Result<Self, OpenError> {
        let payload = envelope.verify(key, RECORD_PAYLOAD_TYPE).map_err(OpenError::Envelope)?;
        let record = serde_json::from_slice(payload).map_err(OpenError::Json)?;
        Ok(Self { record, envelope })
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Its envelope.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Who speaks in it. The signature only says that a holder of the key wrote it.
    #[must_use]
    pub fn speaker(&self) -> Speaker {
        Speaker::of(&self.record.author)
    }

    /// The record and its envelope, without a copy.
    #[must_use]
    pub fn into_parts(self) -> (Record, Envelope) {
        (self.record, self.envelope)
    }
}

/// A record whose signature was not looked at yet.
#[derive(Debug, Clone)]
pub struct UnverifiedRecord {
    record: Record,
    envelope: Envelope,
}

impl UnverifiedRecord {
    /// Parses an envelope and the record in it, without verifying either.
    ///
    /// # Errors
    /// When it is no envelope of a record, or holds no record.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, OpenError> {
        let envelope = Envelope::parse(bytes).map_err(OpenError::Envelope)?;
        if envelope.payload_type() != RECORD_PAYLOAD_TYPE {
            return Err(OpenError::Envelope(EnvelopeError::OtherType {
                found: envelope.payload_type().to_owned(),
                expected: RECORD_PAYLOAD_TYPE.to_owned(),
            }));
        }
        let record = serde_json::from_slice(envelope.unverified_payload()).map_err(OpenError::Json)?;
        Ok(Self { record, envelope })
    }

    /// Who it claims speaks.
    #[must_use]
    pub fn claimed_speaker(&self) -> Speaker {
        Speaker::of(&self.record.author)
    }

    /// The author field that it claims.
    #[must_use]
    pub const fn claimed_author(&self) -> &Author {
        &self.record.author
    }

    /// The key that it claims it is signed by.
    #[must_use]
    pub const fn claimed_key_id(&self) -> KeyId {
        self.envelope.key_id()
    }

    /// The record that it claims to be.
    #[must_use]
    pub const fn claimed(&self) -> &Record {
        &self.record
    }

    /// Its envelope, not verified.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Verifies it with this key.
    ///
    /// # Errors
    /// When it is not signed by this key.
    pub fn verify(self, key: &PublicKey) -> Result<SignedRecord, OpenError> {
        self.envelope.verify(key, RECORD_PAYLOAD_TYPE).map_err(OpenError::Envelope)?;
        Ok(SignedRecord { record: self.record, envelope: self.envelope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::AgentSequence;
    use fettle_model::record::{Body, PermitRejected};
    use fettle_model::time::UnixMillis;
    use uuid::Uuid;

    fn record() -> Record {
        Record {
            author: Author::Agent {
                host: HostId::from_uuid(Uuid::from_u128(5)),
                sequence: AgentSequence(1),
                previous: None,
            },
            at: UnixMillis(1),
            body: Body::PermitRejected(Box::new(PermitRejected {
                permit: None,
                run: None,
                envelope: fettle_model::digest::EnvelopeDigest::of(b"x"),
                because: fettle_model::permit::PermitRejection::NotInLog,
            })),
        }
    }

    #[test]
    fn a_sealed_record_opens_with_its_key_and_with_no_other() {
        let key = SigningKey::from_seed(&[1; 32]);
        let sealed = SignedRecord::seal(record(), &key).expect("sealed");
        let bytes = sealed.envelope().as_bytes().to_vec();
        assert_eq!(SignedRecord::open(bytes.clone(), &key.public()).expect("opened"), sealed);
        assert!(SignedRecord::open(bytes, &SigningKey::from_seed(&[2; 32]).public()).is_err());
    }

    #[test]
    fn the_claimed_author_is_readable_before_verification_and_nothing_is_trusted_by_it() {
        let key = SigningKey::from_seed(&[1; 32]);
        let bytes = SignedRecord::seal(record(), &key).expect("sealed").into_parts().1.into_bytes();
        let unverified = UnverifiedRecord::parse(bytes).expect("parsed");
        assert_eq!(unverified.claimed_speaker(), Speaker::Agent(HostId::from_uuid(Uuid::from_u128(5))));
        assert_eq!(unverified.claimed_key_id(), key.public().key_id());
        assert!(unverified.clone().verify(&SigningKey::from_seed(&[2; 32]).public()).is_err());
        assert_eq!(unverified.verify(&key.public()).expect("verified").record(), &record());
    }

    #[test]
    fn a_payload_of_another_type_or_shape_is_no_record() {
        let key = SigningKey::from_seed(&[1; 32]);
        let payload = serde_json::to_vec(&record()).expect("JSON");
        let other = Envelope::seal("application/vnd.fettle.other.v1+json", &payload, &key).expect("sealed");
        assert!(matches!(SignedRecord::open(other.as_bytes().to_vec(), &key.public()), Err(OpenError::Envelope(_))));
        assert!(matches!(UnverifiedRecord::parse(other.into_bytes()), Err(OpenError::Envelope(_))));
        let shapeless = Envelope::seal(RECORD_PAYLOAD_TYPE, b"{}", &key).expect("sealed");
        assert!(matches!(SignedRecord::open(shapeless.into_bytes(), &key.public()), Err(OpenError::Json(_))));
    }
}
