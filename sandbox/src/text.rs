//! Text that comes from a playbook, made fit for people's eyes and for the log.
//!
//! Called by the engine, and again by the effector, which does not rely on the worker.

/// The text as one line of at most `max_bytes`: every character that could start a new line, move a
/// cursor or turn the reading direction becomes a space; the end is cut at a character's edge.
#[must_use]
pub fn one_line(text: &str, max_bytes: usize) -> String {
    let mut line = String::with_capacity(text.len().min(max_bytes));
    for character in text.chars() {
        let shown = if misleads(character) { ' ' } else { character };
        if line.len() + shown.len_utf8() > max_bytes {
            break;
        }
        line.push(shown);
    }
    line
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and the bidirectional and
/// invisible formatting characters of UAX 9 and "Trojan Source".
const fn misleads(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, max_bytes: usize, expected: &str) {
        assert_eq!(one_line(text, max_bytes), expected);
    }

    #[test]
    fn a_line_stays_a_line_and_reads_as_it_is_written() {
        check("restarted the worker", 64, "restarted the worker");
        check("ok\nERROR forged\r\x1b[2J\0", 64, "ok ERROR forged  [2J ");
        check("a\u{202e}b\u{2066}c\u{200b}d\u{85}e", 64, "a b c d e");
        check("größer", 64, "größer");
    }

    #[test]
    fn a_long_line_is_cut_at_a_characters_edge() {
        check("ööö", 5, "öö");
        check("abc", 3, "abc");
        check("abc", 0, "");
    }
}
