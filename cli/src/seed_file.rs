//! An Ed25519 key in a file: one line, the 32 secret bytes in base64, readable by its owner only.
//!
//! Publishers' keys and people's signing keys are kept so. The secret is never shown and never overwritten.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::file;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_audit::key::SigningKey;
use std::path::Path;
use zeroize::Zeroizing;

/// 44 characters and a newline; anything longer is another file.
const MAX_KEY_FILE_BYTES: usize = 64;

/// A key that is in no file yet.
pub(crate) struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    /// A fresh one.
    pub(crate) fn fresh() -> Result<Self, Failure> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        getrandom::fill(seed.as_mut_slice())
            .map_err(|error| Failure::new(Exit::Unavailable, format!("no random bytes: {error}"), "try again"))?;
        Ok(Self(seed))
    }

    /// The key.
    pub(crate) fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.0)
    }

    /// Puts it into a new file.
    pub(crate) fn write(&self, out: &Path) -> Result<(), Failure> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE_BYTES));
        STANDARD.encode_string(self.0.as_slice(), &mut text);
        text.push('\n');
        file::write_new_secret(out, text.as_bytes())
    }
}

/// Reads a key; `wanted` and `remedy` say what it should have been, and how one gets it.
pub(crate) fn load(path: &Path, wanted: &str, remedy: &str) -> Result<SigningKey, Failure> {
    let text = file::read_secret(path, MAX_KEY_FILE_BYTES)?;
    let mut seed = Zeroizing::new([0_u8; 32]);
    let encoded = text.strip_suffix(b"\n").unwrap_or(&text);
    // Too large a buffer would be refused by the decoder, too small a one by its length.
    match STANDARD.decode_slice(encoded, seed.as_mut_slice()) {
        Ok(32) => Ok(SigningKey::from_seed(&seed)),
        Ok(_) | Err(_) => Err(Failure::new(Exit::Invalid, format!("{} holds no {wanted}", path.display()), remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_read_back_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let seed = Seed::fresh().expect("random bytes");
        seed.write(&path).expect("written");
        assert_eq!(load(&path, "key", "make one").expect("its own file").public(), seed.key().public());
        assert_eq!(seed.write(&path).expect_err("never overwritten").exit, Exit::Conflict);
    }

    #[test]
    fn another_file_is_no_key() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("short", "AAAA\n"), ("text", "not base64 at all, but text\n"), ("empty", "")] {
            let path = folder.path().join(name);
            file::write_new_secret(&path, text.as_bytes()).expect("written");
            assert_eq!(load(&path, "key", "make one").expect_err("no key").exit, Exit::Invalid, "{name}");
        }
    }
}
