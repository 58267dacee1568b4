//! `fettle schedule`: drills that come again: when the next is due, and how the last one ended.

use crate::answer::Answer;
use crate::connection::unexpected;
use crate::context::Context;
use crate::failure::Failure;
use crate::plain::plain;
use crate::table::table;
use crate::when::instant_with_distance;
use clap::Subcommand;
use fettle_model::evidence::DrillResult;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{DueEnd, LastDue, Query, QueryReply, ScheduleRow};

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Show the schedules of [[schedule]] in the files of `fettle apply`.
    List,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: ScheduleCommand, context: &Context) -> Result<Answer, Failure> {
    let mut connection = context.connect().await?;
    match command {
        ScheduleCommand::List => {
            let QueryReply::Schedules { schedules } = connection.query(&Query::Schedules).await? else {
                return unexpected("schedules");
            };
            let text = list(&schedules, context.now);
            Answer::new(&QueryReply::Schedules { schedules }, text)
        }
    }
}

/// Schedules as text. Pure.
fn list(schedules: &[ScheduleRow], now: UnixMillis) -> String {
    let rows = schedules.iter().map(|row| {
        let next = row.next.map_or_else(|| "never".to_owned(), |next| instant_with_distance(next, now));
        let (last, end) = row.last.as_ref().map_or_else(
            || ("-".to_owned(), "-".to_owned()),
            |LastDue { due, end }| (instant_with_distance(*due, now), ended(end)),
        );
        [row.schedule.to_string(), row.remediation.to_string(), next, last, end]
    });
    table(["SCHEDULE", "REMEDIATION", "NEXT", "LAST DUE", "END"], rows.collect(), "no schedules")
}

fn ended(end: &DueEnd) -> String {
    match end {
        DueEnd::Refused { reason } => format!("refused: {}", plain(reason)),
        DueEnd::Drilled { drill, host, result } => {
            let host = host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            let how = match result {
                None => "begun".to_owned(),
                Some(DrillResult::Proved) => "proved".to_owned(),
                Some(DrillResult::NotProved { reason }) => format!("not proved: {}", plain(reason)),
            };
            format!("drill {drill}{host}: {how}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::id::DrillId;
    use uuid::Uuid;

    #[test]
    fn a_list_says_when_the_next_drill_is_due_and_how_the_last_one_ended() {
        let now = UnixMillis(1_795_731_481_000);
        let row = |name: &str, end: Option<DueEnd>| ScheduleRow {
            schedule: name.parse().expect("a name"),
            remediation: "restart-web".parse().expect("a name"),
            next: Some(UnixMillis(now.0 + 3_600_000)),
            last: end.map(|end| LastDue { due: UnixMillis(now.0 - 86_400_000), end }),
        };
        let drilled = |result| DueEnd::Drilled {
            drill: DrillId::from_uuid(Uuid::from_u128(1)),
            host: Some("staging-1".parse().expect("a name")),
            result,
        };
        let rows = [
            row("new", None),
            row("nightly", Some(drilled(Some(DrillResult::Proved)))),
            row("running", Some(drilled(None))),
            row("weekly", Some(DueEnd::Refused { reason: "no host".to_owned() })),
        ];
        insta::assert_snapshot!(list(&rows, now));
        assert_eq!(list(&[], now), "no schedules\n");
    }
}
