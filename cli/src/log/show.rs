//! Records as tables and whole. Pure.

use crate::plain::{cut, plain};
use crate::table::{count, facts, table};
use crate::when::{day, instant, time_of_day};
use fettle_model::counter::TreeSize;
use fettle_proto::operator::LogRow;

/// Longest summary in a table: four lines of it.
const SUMMARY_CHARACTERS: usize = 200;

pub(super) fn records(size: u64, rows: &[LogRow]) -> String {
    // The day stands above the table where it is the same for all: that leaves more for the summaries.
    let only_day = rows.first().map(|row| day(row.at)).filter(|first| rows.iter().all(|row| day(row.at) == *first));
    let time = |at| if only_day.is_some() { time_of_day(at) } else { instant(at) };
    let cells = rows.iter().map(|row| {
        [
            row.position.to_string(),
            time(row.at),
            row.author.clone(),
            row.kind.as_str().to_owned(),
            match row.broken_glass {
                Some(_) => format!("BROKEN GLASS: {}", cut(&row.summary, SUMMARY_CHARACTERS)),
                None => cut(&row.summary, SUMMARY_CHARACTERS),
            },
        ]
    });
    let heading = only_day.as_ref().map_or_else(String::new, |day| format!("{day}, times in UTC\n\n"));
    let table = table(["POSITION", "TIME", "AUTHOR", "KIND", "SUMMARY"], cells.collect(), "no records there");
    format!("{heading}{table}\nthe log has {}\n", count(size, "record"))
}

pub(super) fn record(row: &LogRow, key: &str, proven_in: TreeSize, record: &serde_json::Value) -> String {
    let mut lines = vec![
        ("position", row.position.to_string()),
        ("time", instant(row.at)),
        ("author", row.author.clone()),
        ("kind", row.kind.as_str().to_owned()),
        ("summary", row.summary.clone()),
        ("envelope", row.digest.to_string()),
        ("signed by", key.to_owned()),
        ("proven", format!("in the log, under its checkpoint of {}", count(proven_in.0, "record"))),
    ];
    if let Some(ask) = row.broken_glass {
        lines.push(("broken glass", format!("done under the ask {ask}: fettle break-glass list")));
    }
    let mut text = facts(&lines);
    text.push('\n');
    for line in format!("{record:#}").lines() {
        text.push_str(&plain(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::LogPosition;
    use fettle_model::digest::EnvelopeDigest;
    use fettle_model::record::Kind;
    use fettle_model::time::UnixMillis;

    fn row(position: u64, kind: Kind, author: &str, summary: &str) -> LogRow {
        LogRow {
            position: LogPosition(position),
            kind,
            at: UnixMillis(1_795_731_481_000),
            author: author.to_owned(),
            summary: summary.to_owned(),
            digest: EnvelopeDigest::of(b"envelope"),
            broken_glass: None,
        }
    }

    #[test]
    fn records_are_a_table_within_a_hundred_columns() {
        let rows = [
            row(118, Kind::TransitionSeen, "web-1", "web/http passing -> critical: connection refused"),
            row(119, Kind::PermitRequested, "web-1", "restart-web for web/http, transition 7"),
            row(120, Kind::PermitGranted, "control plane", "restart-service on web-1, fence 12"),
        ];
        let text = records(121, &rows);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn what_was_done_under_broken_glass_says_so() {
        let ask = "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id");
        let row = LogRow { broken_glass: Some(ask), ..row(7, Kind::AutomationStopped, "control plane", "stopped") };
        assert!(records(8, std::slice::from_ref(&row)).contains("BROKEN GLASS: stopped"));
        let whole = super::record(&row, "sha256:ab", TreeSize(8), &serde_json::json!({}));
        assert!(whole.contains("done under the ask 01890a5d-ac96-774b-bcce-b302099a8057"), "{whole}");
    }

    #[test]
    fn records_of_several_days_carry_their_day() {
        let mut later = row(119, Kind::RoleGranted, "control plane", "bob is auditor");
        later.at = UnixMillis(later.at.0 + 86_400_000);
        let text = records(120, &[row(118, Kind::RoleGranted, "control plane", "alice is operator"), later]);
        assert!(text.contains("118       2026-11-26 22:18:01Z"), "{text}");
        assert!(text.contains("119       2026-11-27 22:18:01Z"), "{text}");
    }

    #[test]
    fn a_record_is_shown_whole() {
        let record = serde_json::json!({ "author": { "kind": "control-plane" }, "body": { "kind": "x" } });
        insta::assert_snapshot!(super::record(
            &row(5, Kind::RoleGranted, "control plane", "alice"),
            "sha256:ab",
            TreeSize(121),
            &record
        ));
    }
}
