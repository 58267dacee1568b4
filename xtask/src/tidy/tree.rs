//! The files that the rules are about, read once.

use anyhow::Context as _;
use proc_macro2::TokenStream;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// The sources of a workspace.
#[derive(Debug, Default)]
pub struct Tree {
    /// Every `.rs` file, by its path relative to the root.
    pub sources: BTreeMap<PathBuf, Source>,
    /// Every `Cargo.toml`, by its path relative to the root.
    pub manifests: BTreeMap<PathBuf, String>,
    /// The text of the ratchet's list; empty when there is none.
    pub ratchet: String,
}

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Its text.
    pub text: String,
    /// Its tokens, or why it has none.
    pub tokens: Result<TokenStream, String>,
}

impl Source {
    /// From its text.
    #[must_use]
    pub fn new(text: String) -> Self {
        let tokens = text.parse().map_err(|error: proc_macro2::LexError| error.to_string());
        Self { text, tokens }
    }
}

impl Tree {
    /// Reads everything under `root` but the target folder, hidden folders, and whatever calls itself a
    /// cache, such as another target folder.
    pub fn read(root: &Path, target: &Path) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        let wanted = |entry: &DirEntry| {
            let hidden = entry.depth() > 0 && entry.file_name().as_encoded_bytes().starts_with(b".");
            let cache = entry.file_type().is_dir() && entry.path().join("CACHEDIR.TAG").is_file();
            !hidden && !cache && entry.path() != target && entry.file_name() != "node_modules"
        };
        for entry in WalkDir::new(root).sort_by_file_name().into_iter().filter_entry(wanted) {
            let entry = entry.context("walk over the sources")?;
            let path = entry.path();
            let is_manifest = entry.file_name() == "Cargo.toml";
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            if !entry.file_type().is_file() || !(is_manifest || is_source) {
                continue;
            }
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                // A file that was removed during the walk is not part of the tree.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
            };
            let relative = path.strip_prefix(root).context("the walk left the root")?.to_owned();
            if is_manifest {
                tree.manifests.insert(relative, text);
            } else {
                tree.sources.insert(relative, Source::new(text));
            }
        }
        let list = root.join(super::ratchet::LIST);
        tree.ratchet = std::fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
        Ok(tree)
    }

    /// A tree of Rust files for a test.
    #[cfg(test)]
    pub(crate) fn of(sources: &[(&str, &str)]) -> Self {
        let sources = sources.iter().map(|(path, text)| (PathBuf::from(path), Source::new((*text).to_owned())));
        Self { sources: sources.collect(), ..Self::default() }
    }
}
