//! Text from elsewhere (hosts, probes, playbooks, other people) made safe for a terminal.

/// The text with every control character replaced, so that no host can move a reader's cursor,
/// forge lines or hide what stands before.
#[must_use]
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if is_deceiving(c) { '\u{fffd}' } else { c }).collect()
}

/// Control characters, and the ones that turn the direction of text around.
fn is_deceiving(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text in at most `columns` characters, its cut marked.
#[must_use]
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= columns {
        return text;
    }
    let mut short: String = text.chars().take(columns.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_is_left() {
        assert_eq!(plain("a\u{1b}[31m\nb\u{202e}c"), "a\u{fffd}[31m\u{fffd}b\u{fffd}c");
        assert_eq!(plain("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn a_cut_is_marked() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
    }
}
