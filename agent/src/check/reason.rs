//! The one line that says why a probe came to its status.
//!
//! Every probe makes one. Probes quote what strangers wrote (a server's status text, a plugin's output),
//! so what reaches a terminal or a log is cleaned here, once.

use fettle_model::check::MAX_REASON_BYTES;
use std::error::Error;
use std::fmt;

/// One line for people: at most [`MAX_REASON_BYTES`], no control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The text as one clean line, cut where it is too long.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut line = String::with_capacity(text.len().min(MAX_REASON_BYTES));
        for character in text.chars() {
            let character = if character.is_whitespace() { ' ' } else { character };
            if is_hidden(character) || (character == ' ' && (line.is_empty() || line.ends_with(' '))) {
                continue;
            }
            if line.len() + character.len_utf8() > MAX_REASON_BYTES {
                break;
            }
            line.push(character);
        }
        line.truncate(line.trim_end().len());
        Self(line)
    }

    /// What was tried, then the error with its causes.
    #[must_use]
    pub fn of_error(tried: &str, error: &(dyn Error + 'static)) -> Self {
        let mut text = format!("{tried}: {error}");
        let mut cause = error.source();
        while let Some(inner) = cause {
            let told = inner.to_string();
            // Some libraries print their source and also return it.
            if !text.ends_with(&told) {
                text.push_str(": ");
                text.push_str(&told);
            }
            if text.len() > MAX_REASON_BYTES {
                break;
            }
            cause = inner.source();
        }
        Self::new(&text)
    }

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The line, for a document.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Control characters, and the format characters that reorder or hide text on a terminal.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Reason::new(text).as_str(), expected, "{text:?}");
    }

    #[test]
    fn a_reason_is_one_line_that_cannot_steer_a_terminal() {
        check("all is well", "all is well");
        check("two\nlines\r\n", "two lines");
        check("a\u{2028}b", "a b");
        check("\x1b[31mred\x1b[0m", "[31mred[0m");
        check("pay\u{202e}load", "payload");
        check("nul\0byte", "nulbyte");
        check("  spread \t out  ", "spread out");
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_none_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(Reason::of_error("tried", &error).as_str(), "tried: outer: inner");
        let repeated = std::io::Error::other(Outer(std::io::Error::other("inner")));
        assert_eq!(Reason::of_error("tried", &repeated).as_str(), "tried: outer: inner");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reason_too_long_or_unclean(text in any::<String>(), tail in "[aé漢🦀]{0,500}") {
            let reason = Reason::new(&(text + &tail));
            prop_assert!(reason.as_str().len() <= MAX_REASON_BYTES);
            prop_assert!(!reason.as_str().chars().any(|c| c.is_control()));
            prop_assert_eq!(Reason::new(reason.as_str()), reason);
        }
    }
}
