//! Playbooks as tables and pages. Pure.

use crate::prose::paragraph;
use crate::table::{count, facts, table};
use crate::when::distance;
use fettle_model::evidence::Evidence;
use fettle_model::playbook::{GrantKind, Manifest, Parameter, UndoPolicy};
use fettle_model::scenarios::{KnownScenarios, ScenarioTally};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::PlaybookRow;

pub(super) fn playbooks(rows: &[PlaybookRow], now: UnixMillis) -> String {
    let cells = rows.iter().map(|row| {
        let about = &row.manifest.playbook;
        let (valid, expired) = row.evidence.iter().partition::<Vec<_>, _>(|evidence| evidence.expires_at > now);
        let evidence = match (valid.len(), expired.len()) {
            (0, 0) => "none".to_owned(),
            (valid, 0) => valid.to_string(),
            (valid, expired) => format!("{valid} ({expired} expired)"),
        };
        [
            about.name.to_string(),
            about.version.clone(),
            row.digest.short(),
            row.publisher.to_string(),
            evidence,
            about.summary.clone(),
        ]
    });
    table(
        ["PLAYBOOK", "VERSION", "DIGEST", "PUBLISHER", "EVIDENCE", "SUMMARY"],
        cells.collect(),
        "no playbook is admitted; `fettle playbook publish` brings one",
    )
}

/// All versions of one playbook: the first in full, the others by name.
pub(super) fn playbook(rows: &[PlaybookRow], now: UnixMillis) -> String {
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        if at == 0 {
            text.push_str(&whole(row, now));
        } else {
            text.push_str(&format!("\nolder: {} {}\n", row.manifest.playbook.version, row.digest));
        }
    }
    text
}

fn whole(row: &PlaybookRow, now: UnixMillis) -> String {
    let Manifest { manifest: _, playbook, parameters, grants, limits, confirm, on_failure, drills } = &row.manifest;
    let undo = match on_failure.undo {
        UndoPolicy::Automatic => "its reversible steps are undone".to_owned(),
        UndoPolicy::Leave => {
            format!("its steps stay: {}", on_failure.why.as_deref().unwrap_or("no reason is given"))
        }
    };
    let mut text = facts(&[
        ("playbook", playbook.name.to_string()),
        ("version", playbook.version.clone()),
        ("digest", row.digest.to_string()),
        ("summary", playbook.summary.clone()),
        ("publisher", row.publisher.to_string()),
        ("admitted", format!("log position {}", row.admitted)),
        ("scenarios", second_stage(row)),
        ("owners", playbook.owners.join(", ")),
        ("interface", playbook.host.clone()),
        ("limits", format!("{} within {}", count(u64::from(limits.actions), "change"), limits.duration)),
        ("confirmed", format!("{} healthy for {}, within {}", confirm.health, confirm.stable, confirm.within)),
        ("on failure", undo),
    ]);
    let cells = grants.iter().map(|grant| {
        let actions: Vec<&str> = grant.actions.iter().map(|action| action.as_str()).collect();
        let actions = if actions.is_empty() { "observe".to_owned() } else { actions.join(", ") };
        [grant.label.to_string(), kind(grant.kind).to_owned(), actions, grant.why.clone()]
    });
    text.push('\n');
    text.push_str(&table(["GRANT", "KIND", "ACTIONS", "WHY"], cells.collect(), "it asks for nothing"));
    let cells = parameters.iter().map(|(name, parameter)| {
        let (bounds, default, summary) = described(parameter);
        [name.clone(), bounds, default, summary.to_owned()]
    });
    text.push('\n');
    text.push_str(&table(["PARAMETER", "MAY BE", "DEFAULT", "SUMMARY"], cells.collect(), "it has no parameters"));
    let cells = drills
        .iter()
        .enumerate()
        .map(|(at, drill)| [at.to_string(), drill.fault.as_str().to_owned(), drill.on.to_string()]);
    text.push('\n');
    text.push_str(&table(["DRILL", "FAULT", "ON"], cells.collect(), "it declares no drills, so it earns no evidence"));
    text.push('\n');
    text.push_str(&evidence(&row.evidence, now));
    text
}

fn second_stage(row: &PlaybookRow) -> String {
    match &row.scenarios {
        Some(KnownScenarios { position, tally }) => {
            format!("{} passed, says {}; log position {position}", scenario_tally(tally), row.publisher)
        }
        None => "nobody says that they passed, so no drill begins: publish it again".to_owned(),
    }
}

/// `9 scenarios with 214 injected errors and 96 crashes`.
pub(crate) fn scenario_tally(tally: &ScenarioTally) -> String {
    let ScenarioTally { scenarios, errors, crashes } = *tally;
    let (scenarios, errors) = (count(scenarios, "scenario"), count(errors, "injected error"));
    let crashes = if crashes == 1 { "1 crash".to_owned() } else { format!("{crashes} crashes") };
    format!("{scenarios} with {errors} and {crashes}")
}

const fn kind(kind: GrantKind) -> &'static str {
    match kind {
        GrantKind::Service => "service",
        GrantKind::Release => "release",
        GrantKind::Flag => "flag",
        GrantKind::Health => "health",
        GrantKind::Facts => "facts",
    }
}

fn described(parameter: &Parameter) -> (String, String, &str) {
    match parameter {
        Parameter::Integer { default, minimum, maximum, summary } => {
            (format!("{minimum} to {maximum}"), default.to_string(), summary)
        }
        Parameter::Text { default, summary } => ("text".to_owned(), format!("{default:?}"), summary),
        Parameter::Duration { default, maximum, summary } => {
            (format!("at most {maximum}"), default.to_string(), summary)
        }
        Parameter::Boolean { default, summary } => ("true or false".to_owned(), default.to_string(), summary),
    }
}

fn evidence(evidence: &[Evidence], now: UnixMillis) -> String {
    if evidence.is_empty() {
        return paragraph(0, "It has no evidence: production does not run it. `fettle playbook drill` earns some.");
    }
    let cells = evidence.iter().map(|proof| {
        let standing = if proof.expires_at > now { "expires" } else { "expired" };
        [
            proof.class.to_string(),
            format!("{} on {}", proof.fault.kind.as_str(), proof.fault.on),
            proof.killed.map_or_else(|| "not".to_owned(), |killed| format!("resumed at step {}", killed.step)),
            proof.parameters.short(),
            format!("{standing} {}", distance(proof.expires_at, now)),
        ]
    });
    table(["EVIDENCE FOR", "FAULT", "KILLED", "PARAMETERS", "STANDING"], cells.collect(), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::LogPosition;
    use fettle_model::digest::{DocumentDigest, PlaybookDigest};
    use fettle_model::evidence::{Fault, FaultKind, HostClass, KilledRun};
    use fettle_model::host::{ManagerKind, OperatingSystem};
    use fettle_model::id::{DrillId, RunId};
    use fettle_model::remediation::PlaybookVersion;
    use uuid::Uuid;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn row(evidence: Vec<Evidence>) -> PlaybookRow {
        PlaybookRow {
            digest: PlaybookDigest::of(b"package"),
            manifest: Manifest::from_toml(include_str!("../../../playbooks/restart-service/playbook.toml"))
                .expect("a sound manifest"),
            publisher: parsed("fettle"),
            imports: Vec::new(),
            admitted: LogPosition(7),
            scenarios: (!evidence.is_empty()).then_some(KnownScenarios {
                position: LogPosition(8),
                tally: ScenarioTally { scenarios: 9, errors: 214, crashes: 96 },
            }),
            evidence,
        }
    }

    fn proof(expires_at: UnixMillis) -> Evidence {
        let run = RunId::from_uuid(Uuid::from_u128(1));
        Evidence {
            drill: DrillId::from_uuid(Uuid::from_u128(2)),
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            parameters: DocumentDigest::of(b"{}"),
            grants: Vec::new(),
            class: HostClass {
                service: parsed("web"),
                manager: ManagerKind::Systemd,
                os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
                architecture: "x86_64".to_owned(),
            },
            fault: Fault { kind: FaultKind::KillProcess, on: parsed("service") },
            injection: run,
            healing: run,
            repetition: Some(run),
            scenarios: Some(LogPosition(8)),
            killed: Some(KilledRun { injection: run, healing: run, step: 1 }),
            observed: Vec::new(),
            expires_at,
        }
    }

    #[test]
    fn playbooks_are_listed_with_their_evidence() {
        let rows = [row(vec![proof(UnixMillis(500)), proof(UnixMillis(2_000_000))]), row(Vec::new())];
        insta::assert_snapshot!(playbooks(&rows, UnixMillis(1_000)));
    }

    #[test]
    fn a_playbook_is_shown_with_what_it_asks_for_and_what_it_proved() {
        let text = playbook(&[row(vec![proof(UnixMillis(86_401_000))]), row(Vec::new())], UnixMillis(1_000));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(text);
    }
}
