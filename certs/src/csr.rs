//! Certificate requests (PKCS #10, RFC 2986): made by the holder of a key, checked by the server.
//!
//! A request proves one thing: that its sender holds the key. Everything else that it asks for
//! (names, usages, being an authority) is ignored; the certificate comes from the server's template.

use crate::key::{KeyProblem, PrivateKey};
use fettle_model::digest::DocumentDigest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroize as _;

/// Largest request that is parsed: ours have 200 bytes; other tools add a subject and extensions.
pub const MAX_CSR_BYTES: usize = 8 * 1024;

/// Makes the certificate request of a key, DER. It asks for nothing.
///
/// # Errors
/// [`KeyProblem`] when the key cannot sign.
pub fn certificate_request(key: &PrivateKey) -> Result<Vec<u8>, KeyProblem> {
    let mut signer = key.signer()?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let request = params.serialize_request(&signer).map_err(KeyProblem::Sign);
    signer.zeroize();
    Ok(request?.der().to_vec())
}

/// A public key whose holder has proven that it holds the private key. Only such a key is certified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    key: rcgen::SubjectPublicKeyInfo,
    csr: DocumentDigest,
}

/// A certificate request is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsrRefused {
    /// More bytes than are parsed.
    #[error("the certificate request has {bytes} bytes, more than {MAX_CSR_BYTES}")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// It does not parse, is not DER, or is signed with another algorithm than its key's.
    #[error("the certificate request is malformed")]
    Malformed,
    /// Bytes follow its end.
    #[error("{bytes} bytes follow the certificate request")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Its key is neither P-256, as an uncompressed point, nor Ed25519.
    #[error("the certificate request's key is neither P-256 nor Ed25519")]
    KeyKind,
    /// It is not signed by its own key.
    #[error("the certificate request is not signed by its own key")]
    Signature,
}

impl ProvenKey {
    /// Takes the public key out of a request, after the proof of possession was checked.
    ///
    /// # Errors
    /// [`CsrRefused`].
    pub fn from_csr(der: &[u8]) -> Result<Self, CsrRefused> {
        if der.len() > MAX_CSR_BYTES {
            return Err(CsrRefused::TooLong { bytes: der.len() });
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| CsrRefused::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrRefused::Trailing { bytes: rest.len() });
        }
        let key = rcgen::SubjectPublicKeyInfo::from_der(request.certification_request_info.subject_pki.raw)
            .map_err(|_| CsrRefused::KeyKind)?;
        let kind = acceptable(&key).ok_or(CsrRefused::KeyKind)?;
        if envelope(request.certification_request_info.raw, &kind, &request.signature_value.data) != der {
            return Err(CsrRefused::Malformed);
        }
        request.verify_signature().map_err(|_| CsrRefused::Signature)?;
        Ok(Self { key, csr: DocumentDigest::of(der) })
    }

    /// SHA-256 of the request from which the key was taken.
    #[must_use]
    pub const fn csr_digest(&self) -> DocumentDigest {
        self.csr
    }

    /// The public key, as its SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key_info(&self) -> Vec<u8> {
        use rcgen::PublicKeyData as _;
        self.key.subject_public_key_info()
    }

    pub(crate) const fn public_key(&self) -> &rcgen::SubjectPublicKeyInfo {
        &self.key
    }
}

enum KeyKind {
    P256,
    Ed25519,
}

/// The kind of a key that is certified; `None` for every other.
fn acceptable(key: &rcgen::SubjectPublicKeyInfo) -> Option<KeyKind> {
    use rcgen::PublicKeyData as _;
    /// Marks an uncompressed point (SEC 1, section 2.3.3), which has 1 + 32 + 32 bytes.
    const UNCOMPRESSED: u8 = 4;
    let point = key.der_bytes();
    if key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 {
        (point.len() == 65 && point.first() == Some(&UNCOMPRESSED)).then_some(KeyKind::P256)
    } else if key.algorithm() == &rcgen::PKCS_ED25519 {
        (point.len() == 32).then_some(KeyKind::Ed25519)
    } else {
        None
    }
}

/// The only encoding of a signed request: what the signature does not cover has one spelling too.
fn envelope(signed: &[u8], kind: &KeyKind, signature: &[u8]) -> Vec<u8> {
    // AlgorithmIdentifiers without parameters: RFC 5758, section 3.2, and RFC 8410, section 3.
    let algorithm: &[u8] = match kind {
        KeyKind::P256 => &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        KeyKind::Ed25519 => &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70],
    };
    let whole_bytes = [&[0], signature].concat();
    let bits = tagged(0x03, &whole_bytes);
    tagged(0x30, &[signed, algorithm, &bits].concat())
}

/// One DER value: tag, shortest length, content.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut der = vec![tag];
    match digits {
        [] => der.push(0),
        [short @ ..=0x7f] => der.push(*short),
        long => {
            // At most 8 digits, of a usize.
            der.push(0x80 | u8::try_from(long.len()).unwrap_or(0x7f));
            der.extend_from_slice(long);
        }
    }
    der.extend_from_slice(content);
    der
}
