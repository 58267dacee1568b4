//! PEM (RFC 7468) for certificates and keys; called by the modules that hold them.
//!
//! Reads no more than [`MAX_PEM_BYTES`] and [`MAX_CHAIN`] certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// Largest PEM text that is read: eight certificates of 4 KiB in base64 and a key, rounded up.
pub(crate) const MAX_PEM_BYTES: usize = 64 * 1024;

/// Most certificates in one text: a leaf, a root and room for intermediates and a second root.
pub(crate) const MAX_CHAIN: usize = 8;

/// The text is not the PEM that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPem {
    /// More bytes than are read.
    #[error("the text has {bytes} bytes, more than {MAX_PEM_BYTES}")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// A section is broken. The parser's own message is dropped: it may quote a key.
    #[error("a section of the text is no valid PEM")]
    Section,
    /// Not as many sections of this kind as are wanted.
    #[error("the text has {found} sections {label}, where {wanted} are wanted")]
    Count {
        /// The kind.
        label: &'static str,
        /// How many were found; counting stops at one too many.
        found: usize,
        /// How many are wanted.
        wanted: &'static str,
    },
}

/// Label of a certificate.
pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
/// Label of a PKCS#8 key.
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Appends one section. The text's buffer is reserved first, so that a secret leaves no copy behind
/// in a buffer that was outgrown.
pub(crate) fn append(text: &mut String, label: &str, der: &[u8]) {
    const LINE_BYTES: usize = 48;
    text.reserve(der.len() / 3 * 4 + der.len() / LINE_BYTES + 2 * label.len() + 64);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in der.chunks(LINE_BYTES) {
        STANDARD.encode_string(line, text);
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
}

fn bounded(text: &[u8]) -> Result<&[u8], InvalidPem> {
    if text.len() > MAX_PEM_BYTES { Err(InvalidPem::TooLong { bytes: text.len() }) } else { Ok(text) }
}

/// All certificates of a text, in its order: 1 to [`MAX_CHAIN`].
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidPem> {
    let found = CertificateDer::pem_slice_iter(bounded(text)?)
        .take(MAX_CHAIN + 1)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| InvalidPem::Section)?;
    if (1..=MAX_CHAIN).contains(&found.len()) {
        Ok(found)
    } else {
        Err(InvalidPem::Count { label: CERTIFICATE, found: found.len(), wanted: "1 to 8" })
    }
}

/// The only certificate of a text.
pub(crate) fn certificate(text: &[u8]) -> Result<CertificateDer<'static>, InvalidPem> {
    let mut found = certificates(text)?;
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (_, others) => Err(InvalidPem::Count { label: CERTIFICATE, found: others + 1, wanted: "1" }),
    }
}

/// The only PKCS#8 key of a text.
pub(crate) fn private_key(text: &[u8]) -> Result<PrivatePkcs8KeyDer<'static>, InvalidPem> {
    let mut found = PrivatePkcs8KeyDer::pem_slice_iter(bounded(text)?)
        .take(2)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| InvalidPem::Section)?;
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(InvalidPem::Count { label: PRIVATE_KEY, found: 0, wanted: "1" }),
        (Some(_), others) => Err(InvalidPem::Count { label: PRIVATE_KEY, found: others + 1, wanted: "1" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_of_any_length_is_read_back() {
        for length in [1, 47, 48, 49, 96, 1_000] {
            let der = vec![0x5a; length];
            let mut text = String::new();
            append(&mut text, CERTIFICATE, &der);
            assert_eq!(certificate(text.as_bytes()).expect("one section").as_ref(), der);
            assert!(text.lines().all(|line| line.len() <= 64));
        }
    }

    #[test]
    fn the_buffer_is_reserved_before_anything_is_written() {
        for length in [1, 48, 49, 1_000, 10_000] {
            let mut text = String::new();
            append(&mut text, PRIVATE_KEY, &vec![0; length]);
            let mut reserved = String::new();
            reserved.reserve(length / 3 * 4 + length / 48 + 2 * PRIVATE_KEY.len() + 64);
            assert!(text.len() <= reserved.capacity(), "{} bytes need {}", length, text.len());
        }
    }

    #[test]
    fn too_many_sections_none_and_too_long_a_text_are_refused() {
        let mut one = String::new();
        append(&mut one, CERTIFICATE, b"x");
        let repeated = |times| one.repeat(times);
        assert!(certificates(repeated(8).as_bytes()).is_ok());
        assert!(matches!(certificates(repeated(9).as_bytes()), Err(InvalidPem::Count { found: 9, .. })));
        assert!(matches!(certificate(repeated(2).as_bytes()), Err(InvalidPem::Count { found: 2, .. })));
        assert!(matches!(certificates(b"no PEM"), Err(InvalidPem::Count { found: 0, .. })));
        assert!(matches!(private_key(one.as_bytes()), Err(InvalidPem::Count { found: 0, .. })));
        let long = " ".repeat(MAX_PEM_BYTES + 1);
        assert!(matches!(certificates(long.as_bytes()), Err(InvalidPem::TooLong { .. })));
    }
}
