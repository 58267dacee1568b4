//! The names and keys of notes' signers: logs and witnesses.

use super::NoteSignature;
use crate::cosignature;
use crate::encoding::{array_from_base64, serde_as_text, to_base64};
use crate::key::{PublicKey, Signature, SigningKey};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// Longest key name in bytes.
const MAX_KEY_NAME_BYTES: usize = 255;

/// The name of a note's signer, and of a log: its origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// The text is not a key name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key name must have 1 to {MAX_KEY_NAME_BYTES} bytes without white space, control characters and '+', not {text:?}"
)]
pub struct InvalidKeyName {
    /// What was given, cut to 80 characters.
    pub text: String,
}

impl KeyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(text: &str) -> Result<Self, InvalidKeyName> {
        let sound = (1..=MAX_KEY_NAME_BYTES).contains(&text.len())
            && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+');
        if sound { Ok(Self(text.to_owned())) } else { Err(InvalidKeyName { text: text.chars().take(80).collect() }) }
    }
}

serde_as_text!(KeyName);

/// How a key signs notes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureKind {
    /// Ed25519 over the text: type 0x01. Logs sign so.
    Ed25519,
    /// Ed25519 over the text with a time before it: type 0x04. Witnesses sign so.
    Cosignature,
}

impl SignatureKind {
    const fn code(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Cosignature => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Ed25519),
            4 => Some(Self::Cosignature),
            _ => None,
        }
    }
}

/// A key that verifies notes. Text form (a *vkey*): `<name>+<key id in hexadecimal>+<base64 of type and key>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: KeyName,
    kind: SignatureKind,
    key: PublicKey,
    id: u32,
}

/// The text is not a verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVerifierKey {
    /// Not three parts with `+` between them.
    #[error("a verifier key must be <name>+<key id>+<base64 of type and key>")]
    Shape,
    /// The name is none.
    #[error("the verifier key's name is not valid")]
    Name(#[source] InvalidKeyName),
    /// A signature type that is not known here.
    #[error("signature type {0:#04x} is not known")]
    Kind(u8),
    /// The key itself is refused.
    #[error("the verifier key's public key is refused")]
    Key(#[source] crate::key::InvalidPublicKey),
    /// The key id is not that of name, type and key.
    #[error("the verifier key's id is {expected:08x}, not {found:?}")]
    Id {
        /// What it must be.
        expected: u32,
        /// What is written, cut to 16 characters.
        found: String,
    },
}

impl VerifierKey {
    /// The verifier of this name, kind and key.
    #[must_use]
    pub fn new(name: KeyName, kind: SignatureKind, key: PublicKey) -> Self {
        let id = key_id(&name, kind, &key);
        Self { name, kind, key, id }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// How it signs.
    #[must_use]
    pub const fn kind(&self) -> SignatureKind {
        self.kind
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether a signature claims to be by this key.
    #[must_use]
    pub fn claims(&self, signature: &NoteSignature) -> bool {
        self.id == signature.id && self.name == signature.name
    }

    pub(super) fn holds(&self, text: &str, signature: &NoteSignature) -> bool {
        match self.kind {
            SignatureKind::Ed25519 => match signature.bytes.as_slice().try_into() {
                Ok(bytes) => self.key.verify(text.as_bytes(), &Signature::from_bytes(bytes)).is_ok(),
                Err(_) => false,
            },
            SignatureKind::Cosignature => cosignature::holds(&self.key, text, &signature.bytes),
        }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.kind.code()];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, to_base64(&bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidVerifierKey;

    fn from_str(text: &str) -> Result<Self, InvalidVerifierKey> {
        // The base64 part may hold a '+' of its own, the name cannot.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(InvalidVerifierKey::Shape);
        };
        let name = name.parse().map_err(InvalidVerifierKey::Name)?;
        let [code, key @ ..] = array_from_base64::<33>(bytes).ok_or(InvalidVerifierKey::Shape)?;
        let kind = SignatureKind::from_code(code).ok_or(InvalidVerifierKey::Kind(code))?;
        let verifier = Self::new(name, kind, PublicKey::from_bytes(&key).map_err(InvalidVerifierKey::Key)?);
        if id == format!("{:08x}", verifier.id) {
            Ok(verifier)
        } else {
            Err(InvalidVerifierKey::Id { expected: verifier.id, found: id.chars().take(16).collect() })
        }
    }
}

serde_as_text!(VerifierKey);

fn key_id(name: &KeyName, kind: SignatureKind, key: &PublicKey) -> u32 {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(name.as_str())
        .chain_update([b'\n', kind.code()])
        .chain_update(key.as_bytes())
        .finalize()
        .into();
    let [a, b, c, d, ..] = hash;
    u32::from_be_bytes([a, b, c, d])
}

/// A name and a key that sign notes.
#[derive(Debug)]
pub struct NoteSigner {
    name: KeyName,
    key: SigningKey,
}

impl NoteSigner {
    /// The signer of this name and key.
    #[must_use]
    pub const fn new(name: KeyName, key: SigningKey) -> Self {
        Self { name, key }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The verifier of its signatures of this kind.
    #[must_use]
    pub fn verifier(&self, kind: SignatureKind) -> VerifierKey {
        VerifierKey::new(self.name.clone(), kind, self.key.public())
    }

    pub(crate) const fn key(&self) -> &SigningKey {
        &self.key
    }

    pub(super) fn signature(&self, text: &str) -> NoteSignature {
        NoteSignature {
            name: self.name.clone(),
            id: self.verifier(SignatureKind::Ed25519).id,
            bytes: self.key.sign(text.as_bytes()).as_bytes().to_vec(),
        }
    }

    /// A cosignature line's content, made by [`cosignature::cosign`].
    pub(crate) fn cosignature(&self, bytes: Vec<u8>) -> NoteSignature {
        NoteSignature { name: self.name.clone(), id: self.verifier(SignatureKind::Cosignature).id, bytes }
    }
}
