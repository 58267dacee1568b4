//! Runs the binary.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// The JSON document on standard output.
    #[track_caller]
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        let parsed = serde_json::from_str(&self.out);
        assert!(parsed.is_ok(), "{self:?}");
        parsed.expect("looked at above")
    }
}

/// Runs `fettle` in a folder, with nothing in its environment but a home that is empty.
#[track_caller]
pub(crate) fn fettle(folder: &Path, arguments: &[&str]) -> Ended {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_fettle"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: status.code().expect("it ended by itself"), out: text(stdout), err: text(stderr) }
}
