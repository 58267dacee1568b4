//! Ed25519 keys (RFC 8032): the log key, the permit key, agents' record keys, publishers' keys.
//!
//! Called by whoever signs or verifies. Secret bytes come in as a seed and never go out: there is
//! no accessor, `Debug` shows the public half, and the memory is wiped on drop. Verification is
//! the strict kind: canonical scalars, no small-order points.

use crate::encoding::{array_from_base64, serde_as_text, to_base64};
use ed25519_dalek::Signer as _;
use fettle_model::digest::KeyId;
use std::fmt;
use std::str::FromStr;

/// The bytes are no usable public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// Not standard padded base64 of 32 bytes.
    #[error("a public key must be 32 bytes in standard padded base64")]
    Text,
    /// Not the canonical encoding of a point on the curve.
    #[error("the 32 bytes are not the canonical encoding of an Ed25519 public key")]
    NotAPoint,
    /// A point of small order: signatures by it would hold for almost every message.
    #[error("the public key is a point of small order")]
    Weak,
}

/// The signature does not hold for this message and key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not hold")]
pub struct SignatureMismatch;

/// The text is not an Ed25519 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signature must be 64 bytes in standard padded base64")]
pub struct InvalidSignature;

/// A signing key. Wiped on drop; `Debug` shows only the public half.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of this seed (RFC 8032, section 5.1.5). The caller wipes its own copy of the seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a message. The caller separates domains: documents are signed through
    /// [`crate::envelope::Envelope`] and checkpoints through [`crate::note`].
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

/// A public key: canonical, and not of small order. Text form: its 32 bytes in standard padded base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// The key of these 32 bytes.
    ///
    /// # Errors
    /// When they are not the canonical encoding of a point, or one of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidPublicKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| InvalidPublicKey::NotAPoint)?;
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(InvalidPublicKey::NotAPoint);
        }
        if key.is_weak() {
            return Err(InvalidPublicKey::Weak);
        }
        Ok(Self(key))
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Its name: SHA-256 of its 32 bytes.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::of(self.as_bytes())
    }

    /// Verifies a signature strictly.
    ///
    /// # Errors
    /// When it does not hold.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), SignatureMismatch> {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0.verify_strict(message, &signature).map_err(|_| SignatureMismatch)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base64(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        Self::from_bytes(&array_from_base64(text).ok_or(InvalidPublicKey::Text)?)
    }
}

serde_as_text!(PublicKey);

/// An Ed25519 signature, not yet verified. Text form: its 64 bytes in standard padded base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Wraps the 64 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_base64(&self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signature {
    type Err = InvalidSignature;

    fn from_str(text: &str) -> Result<Self, InvalidSignature> {
        array_from_base64(text).map(Self).ok_or(InvalidSignature)
    }
}

serde_as_text!(Signature);

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn the_rfc_8032_vector_holds() {
        let key = SigningKey::from_seed(&hex(b"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
        assert_eq!(key.public().as_bytes(), &hex(b"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"));
        let signature = key.sign(&[0x72]);
        let start: [u8; 32] = hex(b"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da");
        assert_eq!(signature.as_bytes()[..32], start);
        assert_eq!(key.public().verify(&[0x72], &signature), Ok(()));
        assert_eq!(key.public().verify(&[0x73], &signature), Err(SignatureMismatch));
    }

    #[test]
    fn debug_output_shows_the_public_half_only() {
        let seed = [7_u8; 32];
        let shown = format!("{:?}", SigningKey::from_seed(&seed));
        assert!(!shown.contains(&to_base64(&seed)) && !shown.contains("7, 7"), "{shown}");
        assert!(shown.contains(&SigningKey::from_seed(&seed).public().to_string()), "{shown}");
    }

    #[test]
    fn weak_and_non_canonical_keys_are_refused() {
        let mut identity = [0_u8; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::from_bytes(&identity), Err(InvalidPublicKey::Weak));
        // y = p + 3 is the same point as y = 3, in a spelling that is not canonical.
        let mut non_canonical = [0xff_u8; 32];
        non_canonical[0] = 0xf0;
        non_canonical[31] = 0x7f;
        assert_eq!(PublicKey::from_bytes(&non_canonical), Err(InvalidPublicKey::NotAPoint));
    }

    #[test]
    fn a_public_key_has_one_text() {
        let key = SigningKey::from_seed(&[1; 32]).public();
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        for other in [text.trim_end_matches('='), &format!("{text}="), &format!(" {text}")] {
            assert_eq!(other.parse::<PublicKey>(), Err(InvalidPublicKey::Text));
        }
    }

    fn hex(digits: &[u8; 64]) -> [u8; 32] {
        let text = std::str::from_utf8(digits).expect("ASCII");
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal"))
    }
}
