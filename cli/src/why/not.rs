//! `fettle why not`: why a playbook would not act on a service now, for every host that carries it.
//!
//! Asks page by page, so that the control plane decides between two pages. Judges nothing itself.

use super::reason::reason;
use super::withheld::hindered;
use crate::answer::Answer;
use crate::connection::unexpected;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::prose::paragraph;
use crate::table::count;
use crate::when::instant_with_distance;
use clap::Args;
use fettle_model::name::{PlaybookName, ServiceName};
use fettle_model::time::UnixMillis;
use fettle_model::why_not::{Before, WhyNot};
use fettle_proto::operator::{Query, QueryReply};

/// Most pages that are asked for: a cell's 10 000 hosts at 64 a page, and twice that.
const MAX_PAGES: usize = 400;

/// What would act on what.
#[derive(Debug, Args)]
pub(crate) struct Not {
    /// The playbook.
    playbook: PlaybookName,
    /// The service.
    service: ServiceName,
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(super) async fn run(not: Not, context: &Context) -> Result<Answer, Failure> {
    let Not { playbook, service } = not;
    let mut connection = context.connect().await?;
    let (mut all, mut after) = (Vec::new(), None);
    for _ in 0..MAX_PAGES {
        let query = Query::WhyNot { playbook: playbook.clone(), service: service.clone(), after };
        let QueryReply::WhyNot { hosts, more_after } = connection.query(&query).await? else {
            return unexpected("what speaks against a playbook");
        };
        all.extend(hosts);
        after = more_after;
        if after.is_none() {
            let text = text(&playbook, &service, &all, context.now);
            return Answer::new(&QueryReply::WhyNot { hosts: all, more_after: None }, text);
        }
    }
    let message = format!("more than {MAX_PAGES} pages of hosts carry {service}");
    Err(Failure::new(Exit::Unavailable, message, "ask about one check and host: fettle why SERVICE/CHECK@HOST"))
}

fn text(playbook: &PlaybookName, service: &ServiceName, rows: &[WhyNot], now: UnixMillis) -> String {
    if rows.is_empty() {
        return format!("no host carries {service}, so {playbook} acts on none\n");
    }
    let acts = rows.iter().filter(|row| row.before.is_empty() && row.reasons.is_empty()).count();
    let acts = count(u64::try_from(acts).unwrap_or(u64::MAX), "host");
    let mut text = format!("{playbook} would act now on {service} on {acts} of those that carry it:\n");
    for row in rows {
        text.push('\n');
        text.push_str(&of_row(row, now));
    }
    text
}

fn of_row(row: &WhyNot, now: UnixMillis) -> String {
    let place = format!("{} ({})", row.host, row.environment);
    let head = match &row.answer {
        Some((remediation, check)) => format!("{place}, {check} by {remediation}"),
        None => place,
    };
    if row.before.is_empty() && row.reasons.is_empty() {
        return paragraph(0, &format!("{head}: it would act."));
    }
    let mut text = paragraph(0, &format!("{head}:"));
    for before in &row.before {
        for line in asks_nothing(before) {
            text.push_str(&paragraph(2, &line));
        }
    }
    for speaks_against in &row.reasons {
        text.push_str(&paragraph(2, &reason(speaks_against, now)));
    }
    if let Some(at) = row.retry_at {
        text.push_str(&paragraph(2, &format!("Its agent would ask again at {}.", instant_with_distance(at, now))));
    }
    if let Some(position) = row.refused {
        text.push_str(&paragraph(2, &format!("The newest refusal about it is at log position {position}.")));
    }
    text
}

/// Why the host does not ask at all.
fn asks_nothing(before: &Before) -> Vec<String> {
    let rule = before.rule();
    match before {
        Before::NoRemediation => {
            vec![format!(
                "{rule}: no remediation binds this playbook to a check of the service. Cleared by `fettle apply`."
            )]
        }
        Before::NeverReported => {
            vec![format!("{rule}: the host has not reported the check yet. Clears with its first transition.")]
        }
        Before::NotCritical { status: is, position } => vec![format!(
            "{rule}: the check is {} there since log position {position}, so there is nothing to mend. Clears when it is \
             critical.",
            is.as_str()
        )],
        Before::Withheld { because, position } => {
            let said = |line: String| format!("{line} The agent said so at log position {position}.");
            because.iter().map(|hindrance| said(hindered(hindrance))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::check::{CheckRef, Status};
    use fettle_model::counter::LogPosition;
    use fettle_model::refusal::Reason;
    use fettle_model::withheld::{Hindrance, Hindrances};

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn row(host: &str, before: Vec<Before>, reasons: Vec<Reason>) -> WhyNot {
        let check = CheckRef { service: parsed("web"), check: parsed("http") };
        WhyNot {
            host: parsed(host),
            environment: parsed("production"),
            answer: Some((parsed("restart-web"), check)),
            before,
            reasons,
            retry_at: None,
            refused: None,
        }
    }

    #[test]
    fn every_host_is_told_with_everything_that_speaks_against_it() {
        let now = UnixMillis(1_795_731_481_000);
        let untrusted = Hindrance::PublisherUntrusted { publisher: parsed("acme") };
        let because = Hindrances::first_of(vec![untrusted]).expect("one");
        let rows = [
            row("web-1", vec![], vec![]),
            WhyNot {
                retry_at: Some(UnixMillis(now.0 + 60_000)),
                refused: Some(LogPosition(77)),
                ..row(
                    "web-2",
                    vec![],
                    vec![
                        Reason::MinHealthy { limit: 2, value: 1 },
                        Reason::Cooldown { clears_at: UnixMillis(now.0 + 60_000) },
                    ],
                )
            },
            row(
                "web-3",
                vec![Before::NotCritical { status: Status::Passing, position: LogPosition(12) }],
                vec![Reason::HostNotActive],
            ),
            row("web-4", vec![Before::Withheld { because, position: LogPosition(80) }], vec![]),
            row("web-5", vec![Before::NeverReported], vec![]),
            WhyNot { answer: None, ..row("web-6", vec![Before::NoRemediation], vec![]) },
        ];
        insta::assert_snapshot!(text(&parsed("restart-service"), &parsed("web"), &rows, now));
        let none = text(&parsed("restart-service"), &parsed("web"), &[], now);
        assert_eq!(none, "no host carries web, so restart-service acts on none\n");
    }
}
