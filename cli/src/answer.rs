//! What a command answers: a document for programs and a text for people, made from the same data.

use crate::exit::Exit;
use crate::failure::Failure;
use serde::Serialize;

/// An answer. Which of the two is printed is decided in one place.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// For programs.
    pub document: serde_json::Value,
    /// For people; ends in a newline.
    pub text: String,
    /// How the process ends.
    pub exit: Exit,
}

impl Answer {
    /// An answer to a command that was carried out.
    ///
    /// # Errors
    /// When the document is no JSON: a fault of ours.
    pub fn new<T: Serialize>(document: &T, text: impl Into<String>) -> Result<Self, Failure> {
        let document =
            serde_json::to_value(document).map_err(|error| Failure::internal(format!("no document: {error}")))?;
        Ok(Self { document, text: text.into(), exit: Exit::Ok })
    }

    /// The same answer with another exit code.
    #[must_use]
    pub fn ending(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}
