//! DSSE envelopes (secure-systems-lab/dsse, protocol 1.0.0) in one spelling.
//!
//! Everything that crosses a trust boundary travels in one. The bytes are kept exactly as they were
//! signed, and they have one spelling only:
//!
//! ```text
//! {"payload":"<base64>","payloadType":"<type>","signatures":[{"keyid":"sha256:<hex>","sig":"<base64>"}]}
//! ```
//!
//! No white space, no other key order, no escapes, no second signature: an envelope that could be
//! written in two ways would have two digests. Never parses the payload.

use crate::encoding::{from_base64, to_base64};
use crate::key::{PublicKey, Signature, SigningKey};
use fettle_model::digest::{EnvelopeDigest, KeyId};

/// Largest envelope in bytes: that of the largest record.
pub const MAX_ENVELOPE_BYTES: usize = fettle_model::record::MAX_RECORD_BYTES;
/// Longest payload type in bytes; the longest one in use has 42.
pub const MAX_PAYLOAD_TYPE_BYTES: usize = 128;

/// Bytes of an envelope around payload and type: keys, quotes, key id (71) and signature (88).
const FRAME_BYTES: usize = 300;

/// An envelope with exactly one signature, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    bytes: Vec<u8>,
    payload: Vec<u8>,
    payload_type: String,
    key_id: KeyId,
    signature: Signature,
    digest: EnvelopeDigest,
}

/// Why bytes are no envelope, or an envelope does not verify.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than [`MAX_ENVELOPE_BYTES`].
    #[error("an envelope of {bytes} bytes is longer than {MAX_ENVELOPE_BYTES}")]
    TooLong {
        /// How long it is, or would be at least.
        bytes: usize,
    },
    /// Not the one spelling of an envelope.
    #[error("the bytes are not an envelope in its one spelling: {what}")]
    Malformed {
        /// Which part is wrong.
        what: &'static str,
    },
    /// The payload type has other characters than visible ASCII without quote and backslash, or is
    /// empty or too long.
    #[error(
        "the payload type must be 1 to {MAX_PAYLOAD_TYPE_BYTES} visible ASCII characters without quote or backslash"
    )]
    PayloadType,
    /// It holds another type of payload than expected.
    #[error("the envelope holds {found}, not {expected}")]
    OtherType {
        /// What it says it holds.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// It names another key than expected, and is not signed by the expected one.
    #[error("the envelope is signed by {found}, not by {expected}")]
    OtherKey {
        /// The key that it names.
        found: KeyId,
        /// The key that it was to be verified with.
        expected: KeyId,
    },
    /// The signature does not hold.
    #[error("the envelope's signature does not hold")]
    BadSignature,
}

impl Envelope {
    /// Signs a payload.
    ///
    /// # Errors
    /// When the payload is too long or the payload type has other characters than allowed.
    pub fn seal(payload_type: &str, payload: &[u8], key: &SigningKey) -> Result<Self, EnvelopeError> {
        if !sound_payload_type(payload_type) {
            return Err(EnvelopeError::PayloadType);
        }
        let bytes = payload.len().div_ceil(3).saturating_mul(4).saturating_add(payload_type.len() + FRAME_BYTES);
        if bytes > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLong { bytes });
        }
        let signature = key.sign(&pre_authentication_encoding(payload_type, payload));
        let key_id = key.public().key_id();
        let text = render(&to_base64(payload), payload_type, key_id, &signature);
        let digest = EnvelopeDigest::of(text.as_bytes());
        Ok(Self {
            bytes: text.into_bytes(),
            payload: payload.to_vec(),
            payload_type: payload_type.to_owned(),
            key_id,
            signature,
            digest,
        })
    }

    /// Parses an envelope. It is not verified.
    ///
    /// # Errors
    /// When the bytes are too long or not the one spelling of an envelope.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE_BYTES {
            return Err(EnvelopeError::TooLong { bytes: bytes.len() });
        }
        let malformed = |what| EnvelopeError::Malformed { what };
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed("not UTF-8"))?;
        let rest = text.strip_prefix("{\"payload\":\"").ok_or(malformed("the start"))?;
        let (payload, rest) = rest.split_once("\",\"payloadType\":\"").ok_or(malformed("the payload's end"))?;
        let (payload_type, rest) =
            rest.split_once("\",\"signatures\":[{\"keyid\":\"").ok_or(malformed("the payload type's end"))?;
        let (key_id, rest) = rest.split_once("\",\"sig\":\"").ok_or(malformed("the key id's end"))?;
        let signature = rest.strip_suffix("\"}]}").ok_or(malformed("the end"))?;
        if !sound_payload_type(payload_type) {
            return Err(EnvelopeError::PayloadType);
        }
        Ok(Self {
            payload: from_base64(payload).ok_or(malformed("the payload's base64"))?,
            payload_type: payload_type.to_owned(),
            key_id: key_id.parse().map_err(|_| malformed("the key id"))?,
            signature: signature.parse().map_err(|_| malformed("the signature's base64"))?,
            digest: EnvelopeDigest::of(&bytes),
            bytes,
        })
    }

    /// The envelope's exact bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The envelope's exact bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// SHA-256 of the exact bytes.
    #[must_use]
    pub const fn digest(&self) -> EnvelopeDigest {
        self.digest
    }

    /// The key that it says it is signed by. A hint until [`Envelope::verify`] holds.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The type of the payload. A claim until [`Envelope::verify`] holds.
    #[must_use]
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload before verification: only for choosing the key to verify with.
    #[must_use]
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Verifies type, key and signature, and gives the payload.
    ///
    /// # Errors
    /// When the type or the key is another one, or the signature does not hold.
    pub fn verify(&self, key: &PublicKey, expected_type: &str) -> Result<&[u8], EnvelopeError> {
        if self.payload_type != expected_type {
            return Err(EnvelopeError::OtherType {
                found: self.payload_type.clone(),
                expected: expected_type.to_owned(),
            });
        }
        let expected = key.key_id();
        let held = key.verify(&pre_authentication_encoding(&self.payload_type, &self.payload), &self.signature);
        match (held, self.key_id == expected) {
            (Ok(()), true) => Ok(&self.payload),
            // A damaged name of the key, not another key.
            (Ok(()), false) => Err(EnvelopeError::Malformed { what: "the key id" }),
            (Err(_), true) => Err(EnvelopeError::BadSignature),
            (Err(_), false) => Err(EnvelopeError::OtherKey { found: self.key_id, expected }),
        }
    }
}

fn render(payload: &str, payload_type: &str, key_id: KeyId, signature: &Signature) -> String {
    format!(
        "{{\"payload\":\"{payload}\",\"payloadType\":\"{payload_type}\",\"signatures\":[{{\"keyid\":\"{key_id}\",\"sig\":\"{signature}\"}}]}}"
    )
}

fn sound_payload_type(text: &str) -> bool {
    (1..=MAX_PAYLOAD_TYPE_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// PAE of DSSE: what the signature covers.
fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoding = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    encoding.extend_from_slice(payload);
    encoding
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPE: &str = "application/vnd.fettle.test.v1+json";

    fn key() -> SigningKey {
        SigningKey::from_seed(&[3; 32])
    }

    #[test]
    fn the_pre_authentication_encoding_is_that_of_the_specification() {
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn what_was_sealed_parses_and_verifies_to_the_same_bytes() {
        let sealed = Envelope::seal(TYPE, b"{\"a\":1}", &key()).expect("sealed");
        let parsed = Envelope::parse(sealed.as_bytes().to_vec()).expect("parsed");
        assert_eq!(parsed, sealed);
        assert_eq!(parsed.verify(&key().public(), TYPE), Ok(&b"{\"a\":1}"[..]));
        assert_eq!(parsed.digest(), EnvelopeDigest::of(sealed.as_bytes()));
        assert_eq!(parsed.key_id(), key().public().key_id());
    }

    #[test]
    fn an_envelope_is_json_that_other_tools_read() {
        let sealed = Envelope::seal(TYPE, b"\x00\xff", &key()).expect("sealed");
        let json: serde_json::Value = serde_json::from_slice(sealed.as_bytes()).expect("JSON");
        assert_eq!(json["payload"], "AP8=");
        assert_eq!(json["payloadType"], TYPE);
        assert_eq!(json["signatures"][0]["keyid"], key().public().key_id().to_string());
        assert_eq!(json.to_string().as_bytes(), sealed.as_bytes());
    }

    #[test]
    fn another_key_and_another_type_are_told_apart_from_a_bad_signature() {
        let sealed = Envelope::seal(TYPE, b"x", &key()).expect("sealed");
        let other = SigningKey::from_seed(&[4; 32]);
        assert!(matches!(sealed.verify(&other.public(), TYPE), Err(EnvelopeError::OtherKey { .. })));
        assert!(matches!(sealed.verify(&key().public(), "other"), Err(EnvelopeError::OtherType { .. })));
        let claimed = String::from_utf8(sealed.into_bytes())
            .expect("text")
            .replace(&key().public().key_id().to_string(), &other.public().key_id().to_string());
        let claimed = Envelope::parse(claimed.into_bytes()).expect("parsed");
        assert_eq!(claimed.verify(&other.public(), TYPE), Err(EnvelopeError::BadSignature));
        // It names another key, and yet is this one's.
        assert!(matches!(claimed.verify(&key().public(), TYPE), Err(EnvelopeError::Malformed { .. })));
    }

    #[track_caller]
    fn check_malformed(change: impl FnOnce(&str) -> String) {
        let sealed = Envelope::seal(TYPE, b"{\"a\":1}", &key()).expect("sealed");
        let text = change(std::str::from_utf8(sealed.as_bytes()).expect("text"));
        assert!(Envelope::parse(text.clone().into_bytes()).is_err(), "{text}");
    }

    #[test]
    fn every_other_spelling_is_refused() {
        check_malformed(|text| format!("{text}\n"));
        check_malformed(|text| format!(" {text}"));
        check_malformed(|text| text.replace("\",\"", "\", \""));
        check_malformed(|text| text.replace("}]}", "}],\"more\":1}"));
        check_malformed(|text| text.replace("sha256:", "SHA256:"));
        check_malformed(|text| text.replace("vnd", "\\u0076nd"));
        check_malformed(|text| text.replace("=\"", "\""));
        check_malformed(|text| text.replace("}]}", "},{\"keyid\":\"\",\"sig\":\"\"}]}"));
        check_malformed(|_| "{\"payload\":\"\",\"payloadType\":\"x\",\"signatures\":[]}".to_owned());
        check_malformed(|_| String::new());
    }

    #[test]
    fn lengths_are_bounded_before_anything_is_done() {
        let long = vec![b'{'; MAX_ENVELOPE_BYTES + 1];
        assert_eq!(Envelope::parse(long), Err(EnvelopeError::TooLong { bytes: MAX_ENVELOPE_BYTES + 1 }));
        let payload = vec![0; MAX_ENVELOPE_BYTES];
        assert!(matches!(Envelope::seal(TYPE, &payload, &key()), Err(EnvelopeError::TooLong { .. })));
        assert_eq!(Envelope::seal("a\"b", b"", &key()), Err(EnvelopeError::PayloadType));
    }

    proptest! {
        #[test]
        fn any_flipped_bit_fails(payload in proptest::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), bit in 0..8) {
            let sealed = Envelope::seal(TYPE, &payload, &key()).expect("sealed");
            let mut bytes = sealed.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            let verified = Envelope::parse(bytes).and_then(|e| e.verify(&key().public(), TYPE).map(<[u8]>::to_vec));
            prop_assert!(verified.is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Envelope::parse(bytes).is_err());
        }
    }
}
