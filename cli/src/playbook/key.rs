//! A publisher's key in a file: one line, the 32 secret bytes in base64, readable by its owner only.

use crate::answer::Answer;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::file;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fettle_audit::key::SigningKey;
use serde::Serialize;
use std::path::Path;
use zeroize::Zeroizing;

/// 44 characters and a newline; anything longer is another file.
const MAX_KEY_FILE_BYTES: usize = 64;

#[derive(Serialize)]
struct Generated<'a> {
    key_file: &'a Path,
    public_key: String,
}

pub(super) fn generate(out: &Path) -> Result<Answer, Failure> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut_slice())
        .map_err(|error| Failure::new(Exit::Unavailable, format!("no random bytes: {error}"), "try again"))?;
    let key = SigningKey::from_seed(&seed);
    let mut text = Zeroizing::new(String::with_capacity(MAX_KEY_FILE_BYTES));
    STANDARD.encode_string(seed.as_slice(), &mut text);
    text.push('\n');
    file::write_new_secret(out, text.as_bytes())?;
    let public_key = key.public().to_string();
    let text = format!(
        "the key is in {} (mode 0600); whoever has it can sign your playbooks\npublic key: {public_key}\n\
         trust it: fettle publisher trust NAME {public_key}\n\n\
         for agent.toml of every host that is to run them:\n  \
         [[publisher]]\n  name = \"NAME\"\n  key = \"{public_key}\"\n",
        out.display()
    );
    Answer::new(&Generated { key_file: out, public_key }, text)
}

pub(super) fn load(path: &Path) -> Result<SigningKey, Failure> {
    let text = file::read_secret(path, MAX_KEY_FILE_BYTES)?;
    let mut seed = Zeroizing::new([0_u8; 32]);
    let encoded = text.strip_suffix(b"\n").unwrap_or(&text);
    // Too large a buffer would be refused by the decoder, too small a one by its length.
    match STANDARD.decode_slice(encoded, seed.as_mut_slice()) {
        Ok(32) => Ok(SigningKey::from_seed(&seed)),
        Ok(_) | Err(_) => {
            let message = format!("{} holds no publisher's key", path.display());
            Err(Failure::new(Exit::Invalid, message, "make one with `fettle playbook keygen`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_is_read_back_and_its_public_half_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let answer = generate(&path).expect("generated");
        let key = load(&path).expect("its own file");
        assert_eq!(answer.document["public_key"], key.public().to_string());
        let secret = std::fs::read_to_string(&path).expect("readable");
        assert!(!answer.text.contains(secret.trim()) && !answer.document.to_string().contains(secret.trim()));
        assert_eq!(generate(&path).expect_err("never overwritten").exit, Exit::Conflict);
    }

    #[test]
    fn another_file_is_no_key() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in [("short", "AAAA\n"), ("text", "not base64 at all, but text\n"), ("empty", "")] {
            let path = folder.path().join(name);
            file::write_new_secret(&path, text.as_bytes()).expect("written");
            assert_eq!(load(&path).expect_err("no key").exit, Exit::Invalid, "{name}");
        }
    }
}
