//! The answer to an enrolment, carried as JSON.
//!
//! The request's document, what its MAC covers and how it is checked are in `fettle-certs` (`enrol`).

use fettle_model::counter::CertificateGeneration;
use fettle_model::id::HostId;
use fettle_model::identity::TrustDomain;
use serde::{Deserialize, Serialize};

/// Largest enrolment document: a certificate request has 500 bytes, the rest 400; room for ten times that.
pub const MAX_DOCUMENT_BYTES: usize = 32 * 1024;

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
