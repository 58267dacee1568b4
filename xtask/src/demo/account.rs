//! The account of one healing: what the log says happened, in milliseconds after the fault. Pure.

use crate::stage::answers::LogRow;
use std::fmt;

/// The instants of one healing, in milliseconds after the fault was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// The agent saw the check critical.
    pub(super) critical: u64,
    /// The control plane granted the permit.
    pub(super) permit: u64,
    /// The page answered customers again.
    pub(super) answered: u64,
    /// The run ended, its effect confirmed.
    pub(super) confirmed: u64,
}

/// A record of the log in the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    after_ms: u64,
    position: u64,
    author: String,
    summary: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after_ms, position, author, summary } = self;
        write!(f, "{:>9}  {position:>4}  {author:<14} {summary}", format!("+{after_ms} ms"))
    }
}

/// The records that tell the story, in order.
pub(super) fn lines(rows: &[LogRow], fault_at: u64) -> Vec<Line> {
    let told = rows.iter().filter(|row| {
        ["transition-seen", "permit-requested", "permit-granted", "permit-refused", "permit-rejected", "run-ended"]
            .contains(&row.kind.as_str())
    });
    told.map(|row| Line {
        after_ms: row.at.saturating_sub(fault_at),
        position: row.position,
        author: row.author.clone(),
        summary: row.summary.clone(),
    })
    .collect()
}

/// The instants; `None` when the log lacks one of them. `rows` begins with the first record after the fault.
pub(super) fn times(rows: &[LogRow], host: &str, fault_at: u64, answered_at: u64) -> Option<Times> {
    let first = |kind: &str, author: Option<&str>| {
        let row = rows.iter().find(|row| row.kind == kind && author.is_none_or(|author| row.author == author));
        row.map(|row| row.at.saturating_sub(fault_at))
    };
    Some(Times {
        critical: first("transition-seen", Some(host))?,
        permit: first("permit-granted", None)?,
        answered: answered_at.saturating_sub(fault_at),
        confirmed: first("run-ended", Some(host))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(position: u64, kind: &str, at: u64, author: &str) -> LogRow {
        LogRow { position, kind: kind.to_owned(), at, author: author.to_owned(), summary: kind.to_owned() }
    }

    fn rows() -> Vec<LogRow> {
        vec![
            row(40, "certificate-issued", 1_001, "control plane"),
            row(41, "transition-seen", 1_003, "web-1"),
            row(42, "permit-requested", 1_003, "web-1"),
            row(43, "permit-granted", 1_006, "control plane"),
            row(44, "transition-seen", 1_040, "web-1"),
            row(45, "run-ended", 4_100, "web-1"),
        ]
    }

    #[test]
    fn the_account_counts_from_the_fault() {
        let times = times(&rows(), "web-1", 1_000, 1_031).expect("all is there");
        assert_eq!(times, Times { critical: 3, permit: 6, answered: 31, confirmed: 3_100 });
        let lines: Vec<_> = lines(&rows(), 1_000).iter().map(|line| line.position).collect();
        assert_eq!(lines, [41, 42, 43, 44, 45]);
    }

    #[test]
    fn without_a_permit_there_is_no_account() {
        let rows: Vec<_> = rows().into_iter().filter(|row| row.kind != "permit-granted").collect();
        assert_eq!(times(&rows, "web-1", 1_000, 1_031), None);
    }
}
