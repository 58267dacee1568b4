//! What ties an ID token to one key: its nonce is a hash of the public key that is to be certified.
//!
//! The command line asks the provider with this nonce, the control plane compares it. Whoever steals a token
//! without the key's private half can have nothing certified that they could use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::Nonce;
use sha2::{Digest as _, Sha256};

/// Keeps the hash apart from every other hash of the same key.
const PURPOSE: &[u8] = b"fettle login v1\0";

/// The nonce for a key, given as its SubjectPublicKeyInfo in DER.
#[must_use]
pub fn nonce(public_key: &[u8]) -> Nonce {
    let hash = Sha256::new().chain_update(PURPOSE).chain_update(public_key).finalize();
    Nonce::new(URL_SAFE_NO_PAD.encode(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_key_has_another_nonce() {
        assert_eq!(nonce(b"key").secret(), nonce(b"key").secret());
        assert_ne!(nonce(b"key").secret(), nonce(b"kez").secret());
    }
}
