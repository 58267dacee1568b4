//! Compiled playbooks and the proof that this host compiled them.
//!
//! Machine code that was changed on disk would run with a worker's rights, so an artifact is sealed
//! with a MAC when it is made, and opened by checking it. The key is derived per package and engine:
//! a worker is given the key of its own package only, and cannot seal code in another's name.
//! Nothing here does I/O; the effector keeps the host key and the files.

use fettle_model::digest::PlaybookDigest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Names an engine build: artifacts fit engines of the same fingerprint only. Part of the cache's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub(super) [u8; 32]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text names no engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an engine's fingerprint must be 64 lower-case hexadecimal digits")]
pub struct InvalidFingerprint;

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let (high, low) = text.split_at_checked(32).ok_or(InvalidFingerprint)?;
        let half = |digits| u128::from_str_radix(digits, 16).map(u128::to_be_bytes).map_err(|_| InvalidFingerprint);
        let mut bytes = [0; 32];
        for (byte, value) in bytes.iter_mut().zip(half(high)?.into_iter().chain(half(low)?)) {
            *byte = value;
        }
        // The number's parser takes upper case, a sign and fewer digits: only the one spelling passes.
        let fingerprint = Self(bytes);
        if fingerprint.to_string() == text { Ok(fingerprint) } else { Err(InvalidFingerprint) }
    }
}

/// A host's own secret for artifacts: 32 random bytes that never leave the effector.
pub struct HostKey(Zeroizing<[u8; 32]>);

/// The key for artifacts of one package under one engine.
pub struct ArtifactKey(Zeroizing<[u8; 32]>);

/// Separates these MACs from every other use of a key.
const DERIVE: &[u8] = b"fettle artifact key v1";
const SEAL: &[u8] = b"fettle artifact v1";
const MAGIC: &[u8; 8] = b"FETTLEA1";
const TAG_BYTES: usize = 32;

impl HostKey {
    /// Takes the secret.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// Derives the key for one package under one engine.
    #[must_use]
    pub fn derive(&self, package: PlaybookDigest, engine: Fingerprint) -> ArtifactKey {
        let tag = mac(&self.0, &[DERIVE, &engine.0, package.as_bytes()]).finalize().into_bytes();
        ArtifactKey(Zeroizing::new(tag.into()))
    }
}

impl ArtifactKey {
    /// Takes a derived key, as the effector sent it to the worker.
    #[must_use]
    pub fn new(derived: [u8; 32]) -> Self {
        Self(Zeroizing::new(derived))
    }

    /// The key, to be sent to a worker over its own pipe.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(..)")
    }
}

impl fmt::Debug for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArtifactKey(..)")
    }
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    // RFC 2104, section 2: a key shorter than the hash's block is padded with zeros.
    let mut block = Zeroizing::new([0_u8; 64]);
    let (start, _) = block.split_at_mut(key.len());
    start.copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&(*block).into());
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Machine code that this host's engine made from one package.
pub struct Artifact {
    package: PlaybookDigest,
    engine: Fingerprint,
    code: Vec<u8>,
}

impl Artifact {
    /// What [`super::Engine::compile`] has just made.
    pub(super) const fn compiled(package: PlaybookDigest, engine: Fingerprint, code: Vec<u8>) -> Self {
        Self { package, engine, code }
    }

    /// The package that it was made from.
    #[must_use]
    pub const fn package(&self) -> PlaybookDigest {
        self.package
    }

    /// The engine that it fits.
    #[must_use]
    pub const fn engine(&self) -> Fingerprint {
        self.engine
    }

    pub(super) fn code(&self) -> &[u8] {
        &self.code
    }

    /// Seals it for storing.
    #[must_use]
    pub fn seal(&self, key: &ArtifactKey) -> SealedArtifact {
        let tag = mac(&key.0, &[SEAL, &self.engine.0, self.package.as_bytes(), &self.code]).finalize().into_bytes();
        let mut bytes = Vec::with_capacity(MAGIC.len() + TAG_BYTES + self.code.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&tag);
        bytes.extend_from_slice(&self.code);
        SealedArtifact(bytes)
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifact")
            .field("package", &self.package)
            .field("engine", &self.engine)
            .field("code_bytes", &self.code.len())
            .finish()
    }
}

/// A sealed artifact: `FETTLEA1`, the 32-byte tag, the machine code. Worth nothing until it is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedArtifact(Vec<u8>);

/// The bytes are not what this host sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the compiled playbook is not what this host sealed for this package and engine")]
pub struct UntrustedArtifact;

impl SealedArtifact {
    /// Takes bytes as they were stored.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Proves that this host sealed it for this package and engine.
    ///
    /// # Errors
    /// When a byte, the package, the engine or the key is another one.
    pub fn open(
        self,
        key: &ArtifactKey,
        package: PlaybookDigest,
        engine: Fingerprint,
    ) -> Result<Artifact, UntrustedArtifact> {
        let sealed = self.0.strip_prefix(MAGIC).ok_or(UntrustedArtifact)?;
        let (tag, code) = sealed.split_at_checked(TAG_BYTES).ok_or(UntrustedArtifact)?;
        mac(&key.0, &[SEAL, &engine.0, package.as_bytes(), code]).verify_slice(tag).map_err(|_| UntrustedArtifact)?;
        Ok(Artifact { package, engine, code: code.to_vec() })
    }
}

impl fmt::Debug for SealedArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedArtifact({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(host: &HostKey) -> Vec<u8> {
        let (package, engine) = (PlaybookDigest::of(b"package"), Fingerprint([7; 32]));
        Artifact::compiled(package, engine, b"code".to_vec()).seal(&host.derive(package, engine)).as_bytes().to_vec()
    }

    #[track_caller]
    fn check(bytes: Vec<u8>, host: &HostKey, package: &[u8], engine: u8, expected: Result<&[u8], UntrustedArtifact>) {
        let (package, engine) = (PlaybookDigest::of(package), Fingerprint([engine; 32]));
        let opened = SealedArtifact::new(bytes).open(&host.derive(package, engine), package, engine);
        assert_eq!(opened.as_ref().map(Artifact::code).map_err(|error| *error), expected);
    }

    #[test]
    fn only_what_this_host_sealed_for_this_package_and_engine_opens() {
        let host = HostKey::new([1; 32]);
        check(sealed(&host), &host, b"package", 7, Ok(b"code"));
        check(sealed(&host), &HostKey::new([2; 32]), b"package", 7, Err(UntrustedArtifact));
        check(sealed(&host), &host, b"other package", 7, Err(UntrustedArtifact));
        check(sealed(&host), &host, b"package", 8, Err(UntrustedArtifact));
        for index in 0..sealed(&host).len() {
            let mut changed = sealed(&host);
            changed[index] ^= 1;
            check(changed, &host, b"package", 7, Err(UntrustedArtifact));
            check(sealed(&host)[..index].to_vec(), &host, b"package", 7, Err(UntrustedArtifact));
        }
    }

    #[test]
    fn a_fingerprint_has_one_spelling() {
        let fingerprint = Fingerprint(std::array::from_fn(|i| u8::try_from(i * 8).expect("below 256")));
        let text = fingerprint.to_string();
        assert_eq!(text.parse(), Ok(fingerprint));
        for wrong in ["", &text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replacen("00", "+0", 1)] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(InvalidFingerprint), "{wrong:?}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let host = HostKey::new([65; 32]);
        let derived = host.derive(PlaybookDigest::of(b""), Fingerprint([0; 32]));
        assert_eq!(format!("{host:?} {derived:?}"), "HostKey(..) ArtifactKey(..)");
    }
}
