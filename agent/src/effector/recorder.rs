//! The recorder: signs this agent's records into one unbroken chain.
//!
//! Owned by the effector's loop. A record gets its place and the digest of the one before, is signed,
//! and is made durable by the caller in the same transaction as whatever it stands for; only then the
//! chain moves on.

use super::store::{ChainHead, NewRecord, StoreError};
use fettle_audit::key::SigningKey;
use fettle_audit::signed_record::{SealError, SignedRecord};
use fettle_model::counter::AgentSequence;
use fettle_model::id::HostId;
use fettle_model::record::{Author, Body, Record};
use fettle_model::time::UnixMillis;

/// Why a record was not appended.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// This host is not enrolled: it has no name to sign with.
    #[error("this host is not enrolled")]
    NotEnrolled,
    /// It could not be sealed.
    #[error("the record could not be sealed")]
    Seal(#[source] SealError),
    /// It could not be kept.
    #[error("the record could not be kept")]
    Store(#[source] StoreError),
}

/// The chain's end and the key that continues it.
#[derive(Debug)]
pub struct Recorder {
    key: SigningKey,
    host: Option<HostId>,
    head: ChainHead,
}

/// A record that is signed, not yet durable.
#[derive(Debug)]
pub struct Sealed {
    /// Its place.
    pub sequence: AgentSequence,
    /// The record and its envelope.
    pub signed: SignedRecord,
}

impl Sealed {
    /// As the store takes it.
    #[must_use]
    pub fn as_new(&self) -> NewRecord<'_> {
        NewRecord { sequence: self.sequence, envelope: self.signed.envelope().as_bytes() }
    }
}

impl Recorder {
    /// Continues the chain at its durable end.
    #[must_use]
    pub const fn new(key: SigningKey, host: Option<HostId>, head: ChainHead) -> Self {
        Self { key, host, head }
    }

    /// The record key's public half.
    #[must_use]
    pub fn public(&self) -> fettle_audit::key::PublicKey {
        self.key.public()
    }

    /// Signs bytes that are no record, for the proof of possession at enrolment.
    #[must_use]
    pub fn prove(&self, statement: &[u8]) -> fettle_audit::key::Signature {
        self.key.sign(statement)
    }

    /// This host, once it is enrolled.
    #[must_use]
    pub const fn host(&self) -> Option<HostId> {
        self.host
    }

    /// The host was enrolled.
    pub const fn enrolled(&mut self, host: HostId) {
        self.host = Some(host);
    }

    /// The last place of the chain.
    #[must_use]
    pub const fn sequence(&self) -> AgentSequence {
        self.head.sequence
    }

    /// Signs a record at the next place and keeps it by `keep`, in whose transaction it becomes durable.
    ///
    /// # Errors
    /// When it cannot be signed or kept; the chain has not moved then.
    pub fn append(
        &mut self,
        at: UnixMillis,
        body: Body,
        keep: impl FnOnce(&Sealed) -> Result<(), StoreError>,
    ) -> Result<Sealed, RecordError> {
        let host = self.host.ok_or(RecordError::NotEnrolled)?;
        let sequence = self.head.sequence.next();
        let author = Author::Agent { host, sequence, previous: self.head.digest };
        let signed = SignedRecord::seal(Record { author, at, body }, &self.key).map_err(RecordError::Seal)?;
        let sealed = Sealed { sequence, signed };
        keep(&sealed).map_err(RecordError::Store)?;
        self.head = ChainHead { sequence, digest: Some(sealed.signed.envelope().digest()) };
        Ok(sealed)
    }
}
