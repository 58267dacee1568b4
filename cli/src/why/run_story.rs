//! Why a run ran, and how it ended. Pure.

use crate::host::target;
use crate::prose::paragraph;
use crate::run::{inverse_outcome, outcome, state};
use crate::table::count;
use crate::when::{instant_with_distance, span};
use fettle_model::permit::{PermitRejection, Purpose};
use fettle_model::run::{RunRecord, Step};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{RunDetail, RunState};
use std::time::Duration;

pub(super) fn run(detail: &RunDetail, now: UnixMillis) -> String {
    let RunDetail { row, permit, granted_position, record, ended_position } = detail;
    let mut text = paragraph(0, &purpose(detail));
    let playbook = permit.playbook.as_ref().map_or_else(
        || "it ran no playbook".to_owned(),
        |version| format!("it ran the playbook {} {}", version.name, version.digest.short()),
    );
    let grounds: Vec<String> = permit.grounds.iter().map(ToString::to_string).collect();
    let grounds = if grounds.is_empty() {
        String::new()
    } else {
        format!(" The decision rests on the records at {}.", grounds.join(", "))
    };
    text.push_str(&paragraph(
        0,
        &format!(
            "Permit {} was granted at log position {granted_position}, {}; {playbook} under configuration {}.{grounds}",
            permit.permit,
            instant_with_distance(row.granted_at, now),
            permit.configuration
        ),
    ));
    let allowed: Vec<String> = permit
        .targets
        .iter()
        .filter(|bound| !bound.actions.is_empty())
        .map(|bound| {
            let actions: Vec<&str> = bound.actions.iter().map(|action| action.as_str()).collect();
            format!("{} {}", actions.join(" and "), target(&bound.target))
        })
        .collect();
    let allowed = if allowed.is_empty() { "nothing that changes anything".to_owned() } else { allowed.join("; ") };
    text.push_str(&paragraph(
        0,
        &format!("It allowed: {allowed}; at most {}.", count(u64::from(permit.actions), "change")),
    ));
    text.push_str(&paragraph(0, &format!("The run {}.", state(&row.state, now))));
    match (record, &row.state) {
        (Some(record), _) => {
            let position = ended_position.map_or_else(String::new, |at| format!(" (log position {at})"));
            text.push_str(&account(record, &position));
        }
        (None, RunState::Rejected { because }) => {
            text.push_str(&paragraph(0, &format!("{} Nothing was done.", rejection(because))));
        }
        (None, RunState::Unresolved) => text.push_str(&paragraph(
            0,
            "The agent never reported. Its slot was given back when no effect could be in progress any more; \
             its budget was not. A person must look at the host.",
        )),
        (None, RunState::Expired { .. }) => text.push_str(&paragraph(
            0,
            "What was done under it is not known until the host comes back and reports. Its units are spent until then.",
        )),
        (None, RunState::InFlight | RunState::Ended { .. } | RunState::Returned { .. }) => {}
    }
    text
}

fn purpose(detail: &RunDetail) -> String {
    let RunDetail { row, permit, .. } = detail;
    match &permit.purpose {
        Purpose::Remediate { check, epoch, remediation, rung } => {
            let rung = if rung.is_first() { String::new() } else { format!(", rung {rung} of its list") };
            format!(
                "Run {} on {} answers {check}, critical with its transition {epoch}, by remediation {remediation}{rung}.",
                row.run, row.host
            )
        }
        Purpose::Repeat { drill, check, .. } => format!(
            "Run {} on {} ran the playbook once more while {check} passed, for drill {drill}: it has to change nothing.",
            row.run, row.host
        ),
        Purpose::Offline { check, remediation } => match &row.state {
            // A budget never ends as a run does; what ended is a run under one.
            RunState::Ended { .. } => format!(
                "Run {} on {} answered {check} by remediation {remediation} while the control plane could not be \
                 reached, under a budget given in advance.",
                row.run, row.host
            ),
            RunState::InFlight
            | RunState::Rejected { .. }
            | RunState::Unresolved
            | RunState::Returned { .. }
            | RunState::Expired { .. } => format!(
                "{} is no run but a budget given to {} in advance: for {} by remediation {remediation}, {} while the \
                 control plane cannot be reached.",
                row.run,
                row.host,
                check,
                count(u64::from(permit.units.get()), "run")
            ),
        },
        Purpose::InjectFault { drill, fault } => format!(
            "Run {} on {} injected the fault {} on {} for drill {drill}.",
            row.run,
            row.host,
            fault.kind.as_str(),
            fault.on
        ),
    }
}

fn account(record: &RunRecord, position: &str) -> String {
    let took = span(record.ended_at.since(record.started_at));
    let confirmed = record.confirmed.map_or("the host's own confirmation did not come to pass", |status| {
        use fettle_model::check::Status;
        match status {
            Status::Passing => "the host itself then saw the check pass",
            Status::Warning => "the host itself last saw the check at warning",
            Status::Critical => "the host itself still saw the check critical",
            Status::Unknown => "the host itself could not tell how the check stood",
        }
    });
    let resumed = match record.resumed {
        0 => String::new(),
        times => format!(" It was resumed {} after a crash.", count(u64::from(times), "time")),
    };
    let mut text = paragraph(
        0,
        &format!("It took {took}; {confirmed}.{resumed} The agent's account{position}: {}", record.summary),
    );
    if record.steps.is_empty() {
        text.push_str(&paragraph(0, "It changed nothing."));
    }
    let done = record.steps.iter().map(|step| (step, outcome(&step.outcome)));
    let undone = record.undone.iter().map(|step| (step, inverse_outcome(&step.outcome)));
    for (step, outcome) in done.chain(undone) {
        let Step { number, action, label, arguments, .. } = step;
        let intent = format!("{} {label} {arguments}", action.as_str());
        text.push_str(&paragraph(2, &format!("{number}. {}: {outcome}", intent.trim_end())));
    }
    text
}

/// Why an agent refused a permit, in a sentence.
pub(crate) fn rejection(because: &PermitRejection) -> String {
    match because {
        PermitRejection::BadSignature => "The permit's signature does not hold.".to_owned(),
        PermitRejection::ForeignKey { key } => {
            format!("The permit is signed by {key}, which is not the permit key that this host pinned.")
        }
        PermitRejection::NotInLog => "The permit was not proven to be in the log.".to_owned(),
        PermitRejection::OtherHost => "The permit is for another host.".to_owned(),
        PermitRejection::OtherRequest => {
            "The permit is for another boot, or answers no request of this agent.".to_owned()
        }
        PermitRejection::Replayed => "The permit was used before.".to_owned(),
        PermitRejection::Expired { age_ms, lease_ms } => format!(
            "The permit came {} after the request; its lease was {}.",
            span(Duration::from_millis(*age_ms)),
            span(Duration::from_millis(*lease_ms))
        ),
        PermitRejection::StaleFence { fence, seen } => {
            format!("The permit has fence {fence}, and the host has seen {seen}.")
        }
        PermitRejection::Stopped { epoch, seen } => {
            format!("The permit is older (stop order {epoch}) than stop order {seen}, which the host has seen.")
        }
        PermitRejection::PlaybookUntrusted => {
            "The playbook's bytes are not those of its digest, or this host does not trust its publisher.".to_owned()
        }
        PermitRejection::TargetsDiffer { label } => {
            format!("The label {label} is bound to another thing than the permit says.")
        }
        PermitRejection::AboveCeiling { label, action } => {
            format!("The host's owner does not allow {} on {label}.", action.as_str())
        }
        PermitRejection::DrillsRefused => "The host's owner does not allow drills, or not this fault.".to_owned(),
        PermitRejection::Busy => "Another run was in progress on the host.".to_owned(),
        PermitRejection::NotForOffline => {
            "The permit is for several runs, or in advance for what cannot be undone.".to_owned()
        }
        PermitRejection::LogForked => {
            "The agent saw two logs that contradict each other, and only observes.".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::example::{detail, rejected};

    const NOW: UnixMillis = UnixMillis(1_795_731_500_000);

    #[test]
    fn a_run_is_told_from_its_cause_to_its_end() {
        insta::assert_snapshot!(run(&detail(), NOW));
    }

    #[test]
    fn a_run_that_never_began_says_whose_word_it_was() {
        let text = run(&rejected(), NOW);
        assert!(text.contains("The run never began: the agent refused the permit."), "{text}");
        assert!(text.ends_with("The permit has fence 3, and the host has seen 4. Nothing was done.\n"), "{text}");
    }

    #[test]
    fn a_run_that_never_reported_calls_for_a_person() {
        let mut lost = rejected();
        lost.row.state = RunState::Unresolved;
        assert!(run(&lost, NOW).contains("A person must look at the"));
    }
}
