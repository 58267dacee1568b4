//! Runs as tables and step by step. Pure.

use crate::prose::paragraph;
use crate::table::{count, facts, or_dash, table};
use crate::when::{distance, instant, instant_with_distance, span};
use crate::why::rejection;
use fettle_model::permit::Purpose;
use fettle_model::run::{Change, Claim, Ending, RunRecord, SaidLevel, Step, StepOutcome, UndoClass};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{RunDetail, RunRow, RunState};

pub(super) fn runs(rows: &[RunRow], now: UnixMillis) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.run.to_string(),
            row.host.to_string(),
            row.playbook.as_ref().map_or_else(|| "(fault)".to_owned(), ToString::to_string),
            or_dash(row.check.as_ref()),
            distance(row.granted_at, now),
            short(&row.state).to_owned(),
        ]
    });
    table(["RUN", "HOST", "PLAYBOOK", "CHECK", "GRANTED", "STATE"], cells.collect(), "no runs yet")
}

const fn short(state: &RunState) -> &'static str {
    match state {
        RunState::InFlight => "in flight",
        RunState::Ended { ending, .. } => ending.as_str(),
        RunState::Rejected { .. } => "rejected",
        RunState::Unresolved => "unresolved",
        RunState::Returned { .. } => "returned",
        RunState::Expired { .. } => "expired",
    }
}

/// So many runs, and the verb that fits them.
fn was(runs: u32) -> String {
    format!("{} {}", count(u64::from(runs), "run"), if runs == 1 { "was" } else { "were" })
}

/// How a run stands, as the end of a sentence.
pub(crate) fn state(state: &RunState, now: UnixMillis) -> String {
    match state {
        RunState::InFlight => "is in progress".to_owned(),
        RunState::Ended { ending, at } => {
            let how = match ending {
                Ending::Succeeded => "succeeded",
                Ending::Ineffective => "was ineffective",
                Ending::Failed => "failed",
                Ending::Reverted => "failed and was undone",
                Ending::Superseded => "was superseded: the fault was gone before its first effect; it ended",
                Ending::Cancelled => "was cancelled",
                Ending::Expired => "expired before it started",
                Ending::InDoubt => "ended in doubt",
            };
            format!("{how} at {}", instant_with_distance(*at, now))
        }
        RunState::Rejected { .. } => "never began: the agent refused the permit".to_owned(),
        RunState::Unresolved => "is unresolved".to_owned(),
        RunState::Returned { used, at } => {
            let at = instant_with_distance(*at, now);
            format!("was a budget given in advance, given back at {at}: {} begun", was(*used))
        }
        RunState::Expired { at } => {
            let at = instant_with_distance(*at, now);
            format!("was a budget given in advance, which was not given back in time: its slot was taken back at {at}")
        }
    }
}

pub(super) fn run(detail: &RunDetail, now: UnixMillis) -> String {
    let RunDetail { row, permit, granted_position, record, ended_position } = detail;
    let purpose = match &permit.purpose {
        Purpose::Remediate { check, epoch, remediation, rung } => {
            let rung = if rung.is_first() { String::new() } else { format!(" (rung {rung})") };
            format!("{remediation}{rung}, for {check} critical with transition {epoch}")
        }
        Purpose::Repeat { drill, check, .. } => format!("once more while {check} passes, for drill {drill}"),
        Purpose::Offline { check, remediation } => match &row.state {
            // A budget never ends as a run does; what ended is a run under one.
            RunState::Ended { .. } => format!("{remediation}, for {check}, by a budget given in advance"),
            RunState::InFlight
            | RunState::Rejected { .. }
            | RunState::Unresolved
            | RunState::Returned { .. }
            | RunState::Expired { .. } => {
                let runs = count(u64::from(permit.units.get()), "run");
                format!("{remediation}, {runs} for {check} while the control plane cannot be reached")
            }
        },
        Purpose::InjectFault { drill, fault } => {
            format!("the fault {} on {}, for drill {drill}", fault.kind.as_str(), fault.on)
        }
    };
    let mut lines = vec![
        ("run", row.run.to_string()),
        ("host", row.host.to_string()),
        ("purpose", purpose),
        (
            "playbook",
            permit
                .playbook
                .as_ref()
                .map_or_else(|| "none".to_owned(), |version| format!("{} {}", version.name, version.digest.short())),
        ),
        ("parameters", permit.parameters.canonical_text()),
        ("permit", format!("{} at log position {granted_position}", permit.permit)),
        ("granted", instant_with_distance(row.granted_at, now)),
        ("state", short(&row.state).to_owned()),
    ];
    if let RunState::Rejected { because } = &row.state {
        lines.push(("because", rejection(because)));
    }
    let Some(record) = record else { return facts(&lines) };
    lines.push(("account", or_dash(ended_position.map(|at| format!("log position {at}")))));
    lines.extend(account(record, now));
    let mut text = facts(&lines);
    text.push('\n');
    text.push_str(&steps(&record.steps, "STEP", outcome, "it changed nothing"));
    if !record.undone.is_empty() {
        text.push('\n');
        text.push_str(&steps(&record.undone, "UNDONE", inverse_outcome, ""));
    }
    if !record.said.is_empty() {
        text.push_str("\nwhat the playbook said:\n");
        for line in &record.said {
            let level = match line.level {
                SaidLevel::Phase => "phase",
                SaidLevel::Debug => "debug",
                SaidLevel::Info => "info",
                SaidLevel::Warn => "warn",
            };
            text.push_str(&paragraph(2, &format!("{} {level}: {}", instant(line.at), line.text)));
        }
    }
    text
}

fn account(record: &RunRecord, now: UnixMillis) -> Vec<(&'static str, String)> {
    vec![
        ("took", span(record.ended_at.since(record.started_at))),
        ("summary", record.summary.clone()),
        ("claim", record.claim.as_ref().map_or_else(|| "none".to_owned(), |said| claim(said, now))),
        ("confirmed", record.confirmed.map_or_else(|| "not looked at".to_owned(), |status| status.as_str().to_owned())),
        (
            "resumed",
            match record.resumed {
                0 => "never".to_owned(),
                times => format!("{} after a crash", count(u64::from(times), "time")),
            },
        ),
    ]
}

fn steps(steps: &[Step], title: &str, outcome: fn(&StepOutcome) -> String, none: &str) -> String {
    let cells = steps.iter().map(|step| {
        [
            step.number.to_string(),
            format!("{} {} {}", step.action.as_str(), step.label, step.arguments).trim_end().to_owned(),
            instant(step.intended_at),
            outcome(&step.outcome),
        ]
    });
    table([title, "INTENT", "DURABLE AT", "OUTCOME"], cells.collect(), none)
}

/// What came of a step, in words.
pub(crate) fn outcome(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::Done { change: Change::Unneeded, .. } => "done: it was so already".to_owned(),
        StepOutcome::Done { change: Change::Made, undo } => match undo {
            UndoClass::Automatic => "done; can be undone from the journal".to_owned(),
            UndoClass::Expires => "done; ends by itself".to_owned(),
            UndoClass::None => "done; cannot be undone".to_owned(),
        },
        StepOutcome::Refused { rule, detail } => format!("refused ({rule}): {detail}"),
        StepOutcome::Failed { detail } => format!("failed: {detail}"),
        StepOutcome::Indeterminate { detail } => format!("cannot be told: {detail}"),
    }
}

/// What came of an inverse step, in words.
pub(crate) fn inverse_outcome(of: &StepOutcome) -> String {
    match of {
        StepOutcome::Done { change: Change::Made, .. } => "undone".to_owned(),
        StepOutcome::Done { change: Change::Unneeded, .. } => "it was undone already".to_owned(),
        StepOutcome::Refused { .. } | StepOutcome::Failed { .. } | StepOutcome::Indeterminate { .. } => outcome(of),
    }
}

/// What a playbook said in the end.
pub(crate) fn claim(claim: &Claim, now: UnixMillis) -> String {
    match claim {
        Claim::Resolved { summary } => format!("resolved: {summary}"),
        Claim::Mitigated { summary, until } => {
            format!("mitigated until {}: {summary}", instant_with_distance(*until, now))
        }
        Claim::NoAction { summary } => format!("nothing to do: {summary}"),
        Claim::Escalate { summary } => format!("a person must look: {summary}"),
        Claim::Failed { summary, detail } if detail.is_empty() => format!("failed: {summary}"),
        Claim::Failed { summary, detail } => format!("failed: {summary} ({})", detail.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::example::{detail, rejected};

    #[test]
    fn a_run_is_shown_step_by_step_with_intent_and_outcome() {
        let text = run(&detail(), UnixMillis(1_795_731_500_000));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_rejected_run_says_why_the_agent_refused() {
        let text = run(&rejected(), UnixMillis(1_795_731_500_000));
        assert!(text.contains("because     The permit has fence 3, and the host has seen 4."), "{text}");
        assert!(!text.contains("STEP"), "{text}");
    }

    #[test]
    fn runs_are_a_table_newest_first() {
        insta::assert_snapshot!(runs(&[detail().row, rejected().row], UnixMillis(1_795_731_500_000)));
    }
}
