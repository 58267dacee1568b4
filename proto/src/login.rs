//! The documents of a login by OpenID Connect, carried as JSON.
//!
//! Spoken by the command line and the control plane on the enrolment port. A failure is a
//! [`crate::operator::Problem`] in the status's details.

use fettle_model::login::Issuer;
use serde::{Deserialize, Serialize};

/// Largest document: an ID token of 16 KiB and a certificate request of 8 KiB in base64; the roots of a provider,
/// of which a file of its own has one or two.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// Where and how a person asks for a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The provider.
    pub issuer: Issuer,
    /// Fettle's name there.
    pub client_id: String,
    /// Where people log in.
    pub authorization_endpoint: String,
    /// Where a code becomes a token.
    pub token_endpoint: String,
    /// How the person is to be authenticated: one of these (`acr`); anyhow, where there is none.
    pub contexts: Vec<String>,
    /// How long ago at most, in milliseconds.
    pub max_authentication_age_ms: Option<u64>,
    /// Whom to trust as the provider's certificate authority, PEM; `None`: the platform's.
    pub provider_roots: Option<String>,
}

/// A person with a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The certificate request, DER, base64. Only its public key is taken.
    pub csr: String,
    /// The ID token, whose nonce is made from that key (fettle-oidc, `binding`).
    pub id_token: String,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest").finish_non_exhaustive()
    }
}

/// The person is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginReply {
    /// The certificate chain, PEM, leaf first. It says who they are here.
    pub chain: String,
    /// The root certificate, PEM.
    pub root: String,
    /// Where people speak to the control plane, `host:port`.
    pub operators_address: String,
}
