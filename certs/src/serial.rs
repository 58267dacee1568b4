//! Serial numbers of certificates; the record of an issue and the live-certificate check name them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A certificate's serial number: 126 random bits, positive and always 16 bytes long.
///
/// RFC 5280, section 4.1.2.2 wants a positive number of at most 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

/// The text is not a serial number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a serial number must be 32 lower-case hexadecimal digits, the first of them 4 to 7, not {text:?}")]
pub struct InvalidSerial {
    /// What was given instead, cut to 48 characters.
    pub text: String,
}

impl Serial {
    /// Makes a serial number of random bytes. The two highest bits become `01`: DER then needs
    /// neither a leading zero nor fewer bytes.
    #[must_use]
    pub const fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[0] = bytes[0] & 0x3f | 0x40;
        Self(bytes)
    }

    /// The 16 bytes, as they stand in the certificate.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The serial number that a certificate carries, if it is one of ours.
    pub(crate) fn from_certificate(bytes: &[u8]) -> Option<Self> {
        <[u8; 16]>::try_from(bytes).ok().filter(|bytes| bytes[0] & 0xc0 == 0x40).map(Self)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Serial {
    type Err = InvalidSerial;

    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        // u128's parser takes upper case, '+' and fewer digits: only the one spelling passes.
        u128::from_str_radix(text, 16)
            .ok()
            .and_then(|number| Self::from_certificate(&number.to_be_bytes()))
            .filter(|serial| serial.to_string() == text)
            .ok_or_else(|| InvalidSerial { text: text.chars().take(48).collect() })
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_serial_is_positive_and_has_one_spelling() {
        for bytes in [[0x00; 16], [0xff; 16], [0x80; 16], [0x7f; 16]] {
            let serial = Serial::from_random(bytes);
            assert!((0x40..0x80).contains(&serial.as_bytes()[0]));
            let text = serial.to_string();
            assert_eq!(text.len(), 32);
            assert_eq!(text.parse(), Ok(serial));
        }
        let text = Serial::from_random([0xab; 16]).to_string();
        for wrong in
            [text.to_uppercase(), text[1..].to_owned(), format!("+{}", &text[1..]), "0".repeat(32), "f".repeat(32)]
        {
            assert!(wrong.parse::<Serial>().is_err(), "{wrong:?}");
        }
    }
}
