//! Enrolment: how an agent proves its join token, its TLS key and its record key in one message.
//!
//! The agent fills an [`EnrolDraft`], lets the holder of the record key sign the
//! [statement](EnrolDraft::record_key_statement), and turns it into an [`EnrolRequest`]. The server
//! looks up the token's verifier and calls [`EnrolRequest::check`] before it writes anything; then
//! [`crate::token::redeem`] decides, in the transaction that uses the token up.
//!
//! Everything is bound to the TLS session ([`SessionBinding`]): a request that was copied from one
//! session proves nothing in another, and nobody can sit in the middle with a session on each side.

use crate::csr::{CsrRefused, MAX_CSR_BYTES, ProvenKey};
use crate::token::TokenVerifier;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use fettle_model::digest::DocumentDigest;
use fettle_model::id::TokenId;
use fettle_model::name::{EnvironmentName, HostName};
use rustls::ConnectionCommon;
use serde::{Deserialize, Serialize};

/// Label of the exported key (RFC 5705, section 4: labels for private use begin so).
pub const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL fettle enrol v1";

const MAC_CONTEXT: &[u8] = b"fettle-enrol-v1";
const RECORD_KEY_CONTEXT: &[u8] = b"fettle-record-key-proof-v1";
const DIGEST_CONTEXT: &[u8] = b"fettle-enrol-digest-v1";

/// 32 bytes that only the two ends of one TLS session know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionBinding([u8; 32]);

impl SessionBinding {
    /// Exports the binding of a session; both ends get the same. The handshake must be complete.
    ///
    /// # Errors
    /// That of rustls, when the handshake is not complete.
    pub fn of<Data>(connection: &ConnectionCommon<Data>) -> Result<Self, rustls::Error> {
        connection.export_keying_material([0_u8; 32], EXPORTER_LABEL, None).map(Self)
    }
}

/// What an agent says of itself when it enrols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolDraft {
    /// The join token's public name.
    pub token: TokenId,
    /// The host's name for people.
    pub host: HostName,
    /// The environment that its owner wrote down.
    pub environment: EnvironmentName,
    /// The certificate request ([`crate::csr::certificate_request`]), DER.
    pub csr: Vec<u8>,
    /// The public record key, Ed25519.
    pub record_key: [u8; 32],
    /// Fresh random bytes.
    pub nonce: [u8; 32],
}

impl EnrolDraft {
    /// What the holder of the record key signs with Ed25519 to prove that it holds it.
    #[must_use]
    pub fn record_key_statement(&self, binding: &SessionBinding) -> Vec<u8> {
        self.transcript(RECORD_KEY_CONTEXT, binding)
    }

    /// Completes the request: `record_key_proof` is the signature over the statement, `verifier`
    /// comes from the join token.
    #[must_use]
    pub fn prove(self, record_key_proof: [u8; 64], verifier: &TokenVerifier, binding: &SessionBinding) -> EnrolRequest {
        let mac = verifier.mac(&self.transcript(MAC_CONTEXT, binding));
        EnrolRequest { draft: self, record_key_proof, mac }
    }

    /// A context that is no prefix of another, then every field with its length before it.
    fn transcript(&self, context: &[u8], binding: &SessionBinding) -> Vec<u8> {
        let Self { token, host, environment, csr, record_key, nonce } = self;
        let mut message = context.to_vec();
        append(&mut message, token.as_uuid().as_bytes());
        append(&mut message, nonce);
        append(&mut message, DocumentDigest::of(csr).as_bytes());
        append(&mut message, record_key);
        append(&mut message, host.as_str().as_bytes());
        append(&mut message, environment.as_str().as_bytes());
        append(&mut message, &binding.0);
        message
    }
}

/// Whether these bytes are a [`EnrolDraft::record_key_statement`] and therefore nothing else that a record key
/// signs: its holder signs them for a process that it does not trust.
#[must_use]
pub fn is_record_key_statement(bytes: &[u8]) -> bool {
    bytes.starts_with(RECORD_KEY_CONTEXT)
}

/// Appends a field: its length in four bytes, highest first, then its bytes.
fn append(message: &mut Vec<u8>, field: &[u8]) {
    // Fields are digests, keys and names of at most 64 bytes.
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(field);
}

/// What an agent sends. As JSON it has the fields of the draft and `record_key_proof` and `mac`,
/// with binary ones in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct EnrolRequest {
    /// What the agent says.
    pub draft: EnrolDraft,
    /// Signature of the record key over the statement.
    pub record_key_proof: [u8; 64],
    /// Proof of the join token.
    pub mac: [u8; 32],
}

/// The keys of a request, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenEnrolment {
    /// The TLS key, to be certified.
    pub tls_key: ProvenKey,
    /// The record key.
    pub record_key: VerifyingKey,
}

/// A request does not prove what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolRefused {
    /// The sender does not have the token, the request was changed, or it belongs to another session.
    #[error("the request does not prove the join token in this session")]
    Mac,
    /// The record key is not a sound Ed25519 key.
    #[error("the record key is not a sound Ed25519 key")]
    RecordKey,
    /// The sender does not hold the record key.
    #[error("the request does not prove the record key")]
    RecordKeyProof,
    /// The certificate request.
    #[error("the certificate request is not accepted")]
    Csr(#[source] CsrRefused),
}

impl EnrolRequest {
    /// Checks every proof, the token's first: without it nothing else is computed.
    ///
    /// # Errors
    /// [`EnrolRefused`].
    pub fn check(&self, verifier: &TokenVerifier, binding: &SessionBinding) -> Result<ProvenEnrolment, EnrolRefused> {
        let draft = &self.draft;
        if draft.csr.len() > MAX_CSR_BYTES {
            return Err(EnrolRefused::Csr(CsrRefused::TooLong { bytes: draft.csr.len() }));
        }
        if !verifier.holds(&draft.transcript(MAC_CONTEXT, binding), &self.mac) {
            return Err(EnrolRefused::Mac);
        }
        let record_key = VerifyingKey::from_bytes(&draft.record_key)
            .ok()
            .filter(|key| !key.is_weak())
            .ok_or(EnrolRefused::RecordKey)?;
        record_key
            .verify_strict(&draft.record_key_statement(binding), &Signature::from_bytes(&self.record_key_proof))
            .map_err(|_| EnrolRefused::RecordKeyProof)?;
        let tls_key = ProvenKey::from_csr(&draft.csr).map_err(EnrolRefused::Csr)?;
        Ok(ProvenEnrolment { tls_key, record_key })
    }

    /// Names what the request asks for, whatever session it came in: the same keys for the same host.
    /// A token that was used up answers only the request with the same digest.
    #[must_use]
    pub fn digest(&self) -> DocumentDigest {
        let EnrolDraft { token, host, environment, csr, record_key, nonce: _ } = &self.draft;
        let mut message = DIGEST_CONTEXT.to_vec();
        append(&mut message, token.as_uuid().as_bytes());
        append(&mut message, DocumentDigest::of(csr).as_bytes());
        append(&mut message, record_key);
        append(&mut message, host.as_str().as_bytes());
        append(&mut message, environment.as_str().as_bytes());
        DocumentDigest::of(&message)
    }
}

/// The JSON form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    token: TokenId,
    host: HostName,
    environment: EnvironmentName,
    csr: String,
    record_key: String,
    record_key_proof: String,
    nonce: String,
    mac: String,
}

/// A field of a request is not base64, or has another length than it must have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the field {field} is not base64 of the right length")]
pub struct InvalidEnrolRequest {
    /// The field's name.
    pub field: &'static str,
}

impl TryFrom<Wire> for EnrolRequest {
    type Error = InvalidEnrolRequest;

    fn try_from(wire: Wire) -> Result<Self, InvalidEnrolRequest> {
        let Wire { token, host, environment, csr, record_key, record_key_proof, nonce, mac } = wire;
        /// Base64 writes four characters for three bytes, the last group padded.
        const MAX_CSR_CHARS: usize = MAX_CSR_BYTES.div_ceil(3) * 4;
        let invalid = InvalidEnrolRequest { field: "csr" };
        if csr.len() > MAX_CSR_CHARS {
            return Err(invalid);
        }
        let csr = STANDARD.decode(csr).map_err(|_| invalid)?;
        let draft = EnrolDraft {
            token,
            host,
            environment,
            csr,
            record_key: decode("record_key", &record_key)?,
            nonce: decode("nonce", &nonce)?,
        };
        let record_key_proof = decode("record_key_proof", &record_key_proof)?;
        Ok(Self { draft, record_key_proof, mac: decode("mac", &mac)? })
    }
}

fn decode<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], InvalidEnrolRequest> {
    let invalid = || InvalidEnrolRequest { field };
    if text.len() != N.div_ceil(3) * 4 {
        return Err(invalid());
    }
    STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(invalid)
}

impl From<EnrolRequest> for Wire {
    fn from(request: EnrolRequest) -> Self {
        let EnrolRequest { draft, record_key_proof, mac } = request;
        let EnrolDraft { token, host, environment, csr, record_key, nonce } = draft;
        Self {
            token,
            host,
            environment,
            csr: STANDARD.encode(csr),
            record_key: STANDARD.encode(record_key),
            record_key_proof: STANDARD.encode(record_key_proof),
            nonce: STANDARD.encode(nonce),
            mac: STANDARD.encode(mac),
        }
    }
}
