//! Bundles: a whole log in one file, for the auditor.
//!
//! `fettle log export` writes them and [`crate::verify`] reads them, line by line: nothing has to be
//! held but one line. Format 1 is UTF-8 JSON lines, each ending in one newline, in exactly this
//! spelling and order:
//!
//! ```text
//! {"bundle":"fettle-log-v1","origin":"<the log's origin>"}
//! {"leaf":"<base64 of the leaf>","envelope":<the envelope's exact bytes>}     one per record, from position 0
//! {"checkpoint":"<the signed checkpoint as a JSON string>"}
//! ```
//!
//! An envelope has one spelling without a newline ([`crate::envelope`]), JSON strings are escaped as
//! `serde_json` does, base64 is standard and padded, and the checkpoint carries signatures of keys in
//! the auditor's policy only. So no byte of a bundle is without meaning: each is covered by the
//! tree's root, by a signature, or is fixed. Any JSON tool can read it; the record is the base64 in
//! `.envelope.payload`.

use crate::encoding::{array_from_base64, to_base64};
use crate::envelope::{Envelope, MAX_ENVELOPE_BYTES};
use crate::leaf::{LEAF_BYTES, Leaf};
use crate::note::KeyName;

/// Longest line in bytes: the largest envelope, the leaf in base64 (176), and the keys around them.
pub const MAX_LINE_BYTES: usize = MAX_ENVELOPE_BYTES + LEAF_BYTES.div_ceil(3) * 4 + 64;

const HEADER_START: &str = "{\"bundle\":\"fettle-log-v1\",\"origin\":";
const RECORD_START: &str = "{\"leaf\":\"";
const RECORD_MIDDLE: &str = "\",\"envelope\":";
const CHECKPOINT_START: &str = "{\"checkpoint\":";

/// One line of a bundle, its newline taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// The first.
    Header {
        /// The log's name.
        origin: KeyName,
    },
    /// A record.
    Record {
        /// The leaf's bytes, not decoded.
        leaf: [u8; LEAF_BYTES],
        /// The envelope's bytes, not parsed.
        envelope: &'a [u8],
    },
    /// The last.
    Checkpoint {
        /// The signed checkpoint, a note's text.
        note: String,
    },
}

/// A line is not in a bundle's one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the line is none of a bundle: {0}")]
pub struct InvalidLine(&'static str);

/// The first line, with its newline.
#[must_use]
pub fn header_line(origin: &KeyName) -> String {
    format!("{HEADER_START}{}}}\n", json_string(origin.as_str()))
}

/// A record's line, with its newline.
#[must_use]
pub fn record_line(leaf: &Leaf, envelope: &Envelope) -> Vec<u8> {
    let mut line = format!("{RECORD_START}{}{RECORD_MIDDLE}", to_base64(&leaf.encode())).into_bytes();
    line.extend_from_slice(envelope.as_bytes());
    line.extend_from_slice(b"}\n");
    line
}

/// The last line, with its newline.
#[must_use]
pub fn checkpoint_line(note: &str) -> String {
    format!("{CHECKPOINT_START}{}}}\n", json_string(note))
}

impl<'a> Line<'a> {
    /// Parses a line without its newline.
    ///
    /// # Errors
    /// When it is not in the one spelling of any of the three.
    pub fn parse(line: &'a [u8]) -> Result<Self, InvalidLine> {
        let body = line.strip_suffix(b"}").ok_or(InvalidLine("the end"))?;
        if let Some(rest) = body.strip_prefix(RECORD_START.as_bytes()) {
            const LEAF_TEXT: usize = LEAF_BYTES.div_ceil(3) * 4;
            let (leaf, rest) = rest.split_at_checked(LEAF_TEXT).ok_or(InvalidLine("the leaf's length"))?;
            let leaf = std::str::from_utf8(leaf).ok().and_then(array_from_base64).ok_or(InvalidLine("the leaf"))?;
            let envelope = rest.strip_prefix(RECORD_MIDDLE.as_bytes()).ok_or(InvalidLine("the leaf's end"))?;
            Ok(Self::Record { leaf, envelope })
        } else if let Some(text) = body.strip_prefix(HEADER_START.as_bytes()) {
            let origin = from_json_string(text).and_then(|text| text.parse().ok());
            Ok(Self::Header { origin: origin.ok_or(InvalidLine("the origin"))? })
        } else if let Some(text) = body.strip_prefix(CHECKPOINT_START.as_bytes()) {
            Ok(Self::Checkpoint { note: from_json_string(text).ok_or(InvalidLine("the checkpoint"))? })
        } else {
            Err(InvalidLine("the start"))
        }
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The text of a JSON string in the spelling that [`json_string`] writes.
fn from_json_string(json: &[u8]) -> Option<String> {
    let text: String = serde_json::from_slice(json).ok()?;
    (json_string(&text).as_bytes() == json).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_refused(line: &str) {
        assert!(Line::parse(line.as_bytes()).is_err(), "{line}");
    }

    #[test]
    fn every_line_has_one_spelling() {
        let origin: KeyName = "log.example/fettle".parse().expect("a name");
        let header = header_line(&origin);
        assert_eq!(Line::parse(header.trim_end().as_bytes()), Ok(Line::Header { origin }));
        check_refused(&header);
        check_refused(header.trim_end().replace("\":", "\": ").as_str());
        check_refused(header.trim_end().replace("log.", "\\u006cog.").as_str());
        check_refused(header.trim_end().replace("-v1", "-v2").as_str());
        check_refused(header.trim_end().replace("\"}", "\",\"more\":1}").as_str());

        let checkpoint = checkpoint_line("a\n\u{2014} b\n");
        assert_eq!(checkpoint, "{\"checkpoint\":\"a\\n\u{2014} b\\n\"}\n");
        assert_eq!(
            Line::parse(checkpoint.trim_end().as_bytes()),
            Ok(Line::Checkpoint { note: "a\n\u{2014} b\n".to_owned() })
        );
        check_refused(checkpoint.trim_end().replace('\u{2014}', "\\u2014").as_str());
        check_refused("");
        check_refused("{}");
        check_refused("{\"leaf\":\"\",\"envelope\":{}}");
    }

    proptest! {
        #[test]
        fn what_parses_is_written_the_same(text in "\\PC{0,40}") {
            let line = checkpoint_line(&text);
            prop_assert_eq!(Line::parse(line.trim_end_matches('\n').as_bytes()), Ok(Line::Checkpoint { note: text }));
        }
    }
}
