//! The list behind a remediation's first playbook as sentences: tried, due, next, and then people. Pure.

use crate::prose::paragraph;
use crate::table::count;
use crate::when::{instant_with_distance, span};
use fettle_model::escalation::{RungRow, RungStanding, Tried, TriedHow};
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;

pub(super) fn rungs(rows: &[RungRow], now: UnixMillis) -> String {
    let Some(last) = rows.last() else { return String::new() };
    let many = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let mut text = paragraph(0, &format!("It goes up a list of {}, one after the other:", count(many, "playbook")));
    for row in rows {
        text.push_str(&paragraph(2, &rung(row, now)));
    }
    let people = match last.standing {
        RungStanding::Over => "Every playbook had its turn: it is people's, and they were called.",
        RungStanding::Due { .. } | RungStanding::Waiting => "Then people are called.",
    };
    text.push_str(&paragraph(2, people));
    text
}

fn rung(row: &RungRow, now: UnixMillis) -> String {
    let tried: Vec<String> = row.tried.iter().map(tried).collect();
    let tried = if tried.is_empty() { String::new() } else { format!(" {}.", tried.join("; ")) };
    let standing = match row.standing {
        RungStanding::Over => "its turn is over.".to_owned(),
        RungStanding::Due { over_at: None } => {
            format!("it is due; its turn is over {} after its run began.", span(row.timeout))
        }
        RungStanding::Due { over_at: Some(at) } => {
            format!("it is due; its turn is over at {}.", instant_with_distance(at, now))
        }
        RungStanding::Waiting => "it comes next.".to_owned(),
    };
    format!("{}. {} (mode {}): {standing}{tried}", row.rung, row.playbook.name, row.mode.as_str())
}

fn tried(tried: &Tried) -> String {
    match &tried.how {
        TriedHow::Ended { run, ending: Ending::Succeeded } => format!("Run {run} succeeded, which has to last"),
        TriedHow::Ended { run, ending } => format!("Run {run} ended {}", ending.as_str()),
        TriedHow::Rejected { run } => format!("The agent refused run {run}"),
        TriedHow::Unresolved { run } => format!("Run {run} never reported"),
        TriedHow::PassedOver => "The host cannot run it, and it was passed over".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::digest::PlaybookDigest;
    use fettle_model::escalation::Rung;
    use fettle_model::id::RunId;
    use fettle_model::remediation::{Mode, PlaybookVersion};
    use std::time::Duration;
    use uuid::Uuid;

    const NOW: UnixMillis = UnixMillis(100_000);

    fn row(number: u32, playbook: &str, standing: RungStanding, how: Vec<TriedHow>) -> RungRow {
        let (rung, name) = (Rung::try_from(number).expect("a rung"), playbook.parse().expect("a name"));
        let playbook = PlaybookVersion { name, digest: PlaybookDigest::of(b"package") };
        let tried = how.into_iter().map(|how| Tried { rung, playbook: playbook.name.clone(), how }).collect();
        RungRow { rung, playbook, mode: Mode::Auto, timeout: Duration::from_mins(15), standing, tried }
    }

    #[test]
    fn a_list_is_told_with_what_was_tried_what_is_due_and_what_comes_then() {
        let run = RunId::from_uuid(Uuid::from_u128(1));
        let rows = [
            row(
                1,
                "restart-service",
                RungStanding::Over,
                vec![
                    TriedHow::Ended { run, ending: Ending::Succeeded },
                    TriedHow::Ended { run, ending: Ending::Ineffective },
                ],
            ),
            row(2, "clear-cache", RungStanding::Over, vec![TriedHow::PassedOver]),
            row(
                3,
                "rollback-release",
                RungStanding::Due { over_at: Some(UnixMillis(160_000)) },
                vec![TriedHow::Rejected { run }, TriedHow::Unresolved { run }],
            ),
            row(4, "disable-flag", RungStanding::Waiting, Vec::new()),
        ];
        let over = [row(1, "restart-service", RungStanding::Over, Vec::new())];
        let due = [row(1, "restart-service", RungStanding::Due { over_at: None }, Vec::new())];
        let told = [&rows[..], &over, &due].map(|rows| rungs(rows, NOW));
        insta::assert_snapshot!(told.join("--\n"));
        assert_eq!(rungs(&[], NOW), "");
    }
}
