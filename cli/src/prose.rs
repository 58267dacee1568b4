//! Sentences within 100 columns. Pure.

use crate::plain::plain;

/// The width of text for people, as that of tables.
const WIDTH: usize = 100;

/// A paragraph, wrapped at words; lines after the first are indented further by two. Ends in a newline.
#[must_use]
pub(crate) fn paragraph(indent: usize, text: &str) -> String {
    let text = plain(text);
    let mut out = String::new();
    let mut line = " ".repeat(indent);
    let mut empty = true;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(indent + 2);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(&line);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_keeps_to_its_width_and_loses_no_word() {
        let text = paragraph(2, &"word ".repeat(50));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.matches("word").count(), 50);
        assert!(text.starts_with("  word") && text.lines().nth(1).expect("two lines").starts_with("    word"));
        assert_eq!(paragraph(0, "a\nb"), "a\u{fffd}b\n");
    }
}
