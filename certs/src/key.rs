//! Private TLS keys: P-256 in PKCS#8. Made on the machine that uses them; they never travel.
//!
//! The record key, the permit key and the log key are Ed25519 and not of this type.

use crate::pem::{self, InvalidPem};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use zeroize::{Zeroize as _, Zeroizing};

/// A private TLS key. Its memory is overwritten when it is dropped, and it is never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

/// A key could not be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// The provider made no key.
    #[error("no key could be generated")]
    Generate(#[source] rcgen::Error),
    /// The file's text is not a PEM key.
    #[error("the key is not in PEM")]
    Pem(#[source] InvalidPem),
    /// The PEM holds no PKCS#8 key of P-256.
    #[error("the key is not a P-256 key in PKCS#8")]
    Kind,
    /// The provider could not sign.
    #[error("the key could not sign")]
    Sign(#[source] rcgen::Error),
}

impl PrivateKey {
    /// A new P-256 key from the cryptographic provider's generator.
    ///
    /// # Errors
    /// [`KeyProblem::Generate`] when the provider fails.
    pub fn generate() -> Result<Self, KeyProblem> {
        let mut pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(KeyProblem::Generate)?;
        let key = Self(Zeroizing::new(pair.serialized_der().to_vec()));
        pair.zeroize();
        Ok(key)
    }

    /// Reads the only `PRIVATE KEY` section of a text.
    ///
    /// # Errors
    /// [`KeyProblem::Pem`] and [`KeyProblem::Kind`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyProblem> {
        let der = pem::private_key(text).map_err(KeyProblem::Pem)?;
        let key = Self(Zeroizing::new(der.secret_pkcs8_der().to_vec()));
        key.signer()?.zeroize();
        Ok(key)
    }

    /// The key as one `PRIVATE KEY` section.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        pem::append(&mut text, pem::PRIVATE_KEY, &self.0);
        text
    }

    /// The key in the form that signs certificates and requests. The caller zeroizes it.
    pub(crate) fn signer(&self) -> Result<rcgen::KeyPair, KeyProblem> {
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(self.0.as_slice()),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        )
        .map_err(|_| KeyProblem::Kind)
    }

    /// The key in the form that rustls takes.
    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.to_vec()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_text_and_not_printed() {
        let key = PrivateKey::generate().expect("the provider makes keys");
        let text = key.to_pem();
        let again = PrivateKey::from_pem(text.as_bytes()).expect("its own text");
        assert_eq!(again.0, key.0);
        assert_eq!(format!("{key:?}"), "PrivateKey(hidden)");
    }

    #[test]
    fn only_p256_keys_are_read() {
        for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let other = rcgen::KeyPair::generate_for(algorithm).expect("the provider makes keys").serialize_pem();
            assert_eq!(PrivateKey::from_pem(other.as_bytes()).err(), Some(KeyProblem::Kind));
        }
    }
}
