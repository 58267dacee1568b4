//! A publisher's key: made once, and read where a playbook is signed. The file's form is [`crate::seed_file`]'s.

use crate::answer::Answer;
use crate::failure::Failure;
use crate::seed_file::{self, Seed};
use fettle_audit::key::SigningKey;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Generated<'a> {
    key_file: &'a Path,
    public_key: String,
}

pub(super) fn generate(out: &Path) -> Result<Answer, Failure> {
    let seed = Seed::fresh()?;
    seed.write(out)?;
    let public_key = seed.key().public().to_string();
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
    seed_file::load(path, "publisher's key", "make one with `fettle playbook keygen`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_half_of_a_generated_key_is_told_and_the_secret_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let answer = generate(&path).expect("generated");
        let key = load(&path).expect("its own file");
        assert_eq!(answer.document["public_key"], key.public().to_string());
        let secret = std::fs::read_to_string(&path).expect("readable");
        assert!(!answer.text.contains(secret.trim()) && !answer.document.to_string().contains(secret.trim()));
    }
}
