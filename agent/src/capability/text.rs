//! Text from outside, cut and cleaned before a playbook or a record carries it.

/// Longest line kept of a log: two screens wide, and what a run record keeps of one.
pub(super) const MAX_LINE_CHARS: usize = 1_024;
/// Most text of one answer: the sandbox takes no string or list above 64 KiB.
pub(super) const MAX_TAIL_BYTES: usize = 64 * 1024;

/// The last lines that fit, oldest first, without control characters (a terminal would obey them).
pub(super) fn last_lines(newest_first: impl Iterator<Item = String>, lines: usize) -> Vec<String> {
    let mut room = MAX_TAIL_BYTES;
    let mut kept: Vec<String> = newest_first
        .take(lines)
        .map(|line| clean(&line))
        .map_while(|line| {
            room = room.checked_sub(line.len() + 1)?;
            Some(line)
        })
        .collect();
    kept.reverse();
    kept
}

/// One line, cut, without control characters.
pub(super) fn clean(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LINE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_that_fit_are_kept_in_order_and_cleaned() {
        let newest_first = ["c\u{1b}[2J", "b", "a"].map(str::to_owned).into_iter();
        assert_eq!(last_lines(newest_first, 2), ["b", "c [2J"]);
        let long = std::iter::repeat_n("x".repeat(5_000), 500);
        let kept = last_lines(long, 500);
        assert_eq!(kept.len(), MAX_TAIL_BYTES / (MAX_LINE_CHARS + 1));
        assert!(kept.iter().all(|line| line.len() == MAX_LINE_CHARS));
    }
}
