//! A person's own signing key: what they say yes or no with, apart from the TLS key that they call with.
//!
//! The command line makes it and keeps it; the control plane has the public half registered; whoever
//! verifies the log believes it from its record on. Verifies nothing: [`SigningKeyProof`] is checked by
//! `fettle-audit`.

use crate::name::PersonName;
use serde::{Deserialize, Serialize};

/// A public key with the proof that whoever registers it holds its secret half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyProof {
    /// Its 32 public bytes, base64.
    pub key: String,
    /// The signature by this key over trust domain, person and key, base64.
    pub proof: String,
}

/// A person's signing key was registered. From here on it is the one that their signature is verified with, until
/// the next such record or until they are revoked. A key is registered once: it belongs to one person for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonKeySet {
    /// Whose key it is.
    pub person: PersonName,
    /// The key, and the proof that its holder registered it for this person.
    pub signing_key: SigningKeyProof,
    /// Who registered it: the person, where they had no key, or the administrator who added them.
    pub by: PersonName,
}
