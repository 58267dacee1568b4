//! What can be wrong with `agent.toml`, in words that name the line and the remedy.
//!
//! Made by [`super::resolve`] and [`super::source`]; shown by the command line. Never carries a
//! secret: the file holds none.

use std::fmt;
use std::path::PathBuf;

/// One mistake in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("failed to read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than a configuration can be.
    #[error("{} has {size} bytes, more than the {limit} that a configuration may have", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size.
        size: u64,
        /// The bound.
        limit: u64,
    },
    /// Others than its owner could raise the ceiling, or read a secret.
    #[error("{} is open to others than root and the agent's user (owner {owner}, mode {mode:04o}); remedy: {remedy}", file.display())]
    Exposed {
        /// The file.
        file: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
        /// What to do about it.
        remedy: String,
    },
    /// The text is no configuration; all mistakes that were found.
    #[error("{}", listed(file, mistakes))]
    Mistaken {
        /// The file.
        file: PathBuf,
        /// The mistakes, by line.
        mistakes: Vec<Mistake>,
    },
}

fn listed(file: &std::path::Path, mistakes: &[Mistake]) -> impl fmt::Display {
    let lines: Vec<String> = mistakes
        .iter()
        .map(|mistake| format!("{}:{}: {}; remedy: {}", file.display(), mistake.line, mistake.what, mistake.remedy))
        .collect();
    lines.join("\n")
}

/// Collects mistakes while a document is resolved.
pub(super) struct Complaints<'a> {
    text: &'a str,
    found: Vec<Mistake>,
}

impl<'a> Complaints<'a> {
    pub(super) const fn about(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Notes a mistake at a byte offset of the text.
    pub(super) fn note(&mut self, at: usize, what: impl Into<String>, remedy: impl Into<String>) {
        let before = self.text.as_bytes().iter().take(at);
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        self.found.push(Mistake { line, what: what.into(), remedy: remedy.into() });
    }

    /// Takes the value, or notes why there is none.
    pub(super) fn accept<T>(&mut self, at: usize, key: &str, result: Result<T, super::WrongScalar>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.note(at, format!("{key} {}", wrong.what), wrong.remedy);
                None
            }
        }
    }

    /// All mistakes, by line.
    pub(super) fn into_found(mut self) -> Vec<Mistake> {
        self.found.sort_by_key(|mistake| mistake.line);
        self.found
    }
}
