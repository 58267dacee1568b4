//! The documents of enrolment, carried as JSON.
//!
//! The cryptography (what the MAC covers, how it is checked) is in `fettle-certs`.

use fettle_model::counter::CertificateGeneration;
use fettle_model::id::{HostId, TokenId};
use fettle_model::identity::TrustDomain;
use fettle_model::name::{EnvironmentName, HostName};
use serde::{Deserialize, Serialize};

/// Largest enrolment document: a certificate request has 500 bytes, the rest 400; room for ten times that.
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1024;

/// What an agent sends to be enrolled. Binary fields are base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolDocument {
    /// The join token's public name.
    pub token: TokenId,
    /// The host's name for people.
    pub host: HostName,
    /// The environment that its owner wrote down; it must be the token's.
    pub environment: EnvironmentName,
    /// The certificate request, DER.
    pub csr: String,
    /// The 32 public bytes of the record key.
    pub record_key: String,
    /// Proof that the sender holds the record key.
    pub record_key_proof: String,
    /// 32 fresh bytes.
    pub nonce: String,
    /// Proof of the token over all of the above and the TLS session.
    pub mac: String,
}

/// What the control plane answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityDocument {
    /// The host's id.
    pub host: HostId,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The certificate chain, PEM, leaf first.
    pub chain: String,
    /// The root certificate, PEM; its key's hash is the pin that the agent was given.
    pub root: String,
    /// The certificate's count.
    pub generation: CertificateGeneration,
    /// The log's verifier key (C2SP), pinned by the agent from now on.
    pub log_key: String,
    /// The 32 public bytes of the permit key, base64, pinned by the agent from now on.
    pub permit_key: String,
}
