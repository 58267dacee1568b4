//! Coverage as a table, and what would earn the rest. Pure.

use crate::playbook::show::scenario_tally;
use crate::prose::paragraph;
use crate::table::table;
use crate::when::{distance, instant_with_distance};
use fettle_model::counter::LogPosition;
use fettle_model::coverage::{Coverage, Difference, Earning, Finding, Obstacle, Proven};
use fettle_model::evidence::{FaultKind, ProvedGrant};
use fettle_model::host::OperatingSystem;
use fettle_model::name::HostName;
use fettle_model::permit::TargetKind;
use fettle_model::remediation::PlaybookVersion;
use fettle_model::scenarios::KnownScenarios;
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

pub(super) fn coverage(rows: &[Coverage], now: UnixMillis) -> String {
    let cells = rows.iter().map(|row| {
        let (standing, proven) = match &row.finding {
            Finding::Covered { by } => (format!("covered, expires {}", distance(by.until, now)), Some(by)),
            Finding::Expired { by } => (format!("expired {}", distance(by.until, now)), Some(by)),
            Finding::Differs { .. } => ("no: differs".to_owned(), None),
            Finding::Nothing => ("no: nothing proved".to_owned(), None),
            Finding::Unbound => ("no: not bound".to_owned(), None),
        };
        [
            row.remediation.to_string(),
            row.class.to_string(),
            row.hosts.to_string(),
            standing,
            proven.map_or_else(|| "-".to_owned(), |by| by.drill.to_string()),
            proven.map_or_else(|| "-".to_owned(), |by| by.position.to_string()),
        ]
    });
    let none = "no host outside staging carries a service with a remediation, so nothing needs evidence";
    let mut text = table(["REMEDIATION", "CLASS OF HOST", "HOSTS", "EVIDENCE", "DRILL", "AT"], cells.collect(), none);
    text.push_str(&stages(rows));
    for row in rows {
        text.push_str(&lacking(row, now));
    }
    text
}

/// What a version passed after its admission.
#[derive(Default)]
struct Passed<'a> {
    scenarios: Option<&'a KnownScenarios>,
    /// The evidence that covers, and which fault it is about.
    drills: BTreeMap<LogPosition, FaultKind>,
}

/// The three stages of each version, and where the log has them; empty where there is none.
fn stages(rows: &[Coverage]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut versions: BTreeMap<(LogPosition, &PlaybookVersion), Passed<'_>> = BTreeMap::new();
    for row in rows {
        let passed = versions.entry((row.admitted, &row.playbook)).or_default();
        passed.scenarios = row.scenarios.as_ref();
        match &row.finding {
            Finding::Covered { by } => drop(passed.drills.insert(by.position, by.fault.kind)),
            Finding::Expired { .. } | Finding::Differs { .. } | Finding::Nothing | Finding::Unbound => {}
        }
    }
    let cells = versions.iter().map(|((admitted, playbook), Passed { scenarios, drills })| {
        let said = scenarios.map_or_else(
            || "no".to_owned(),
            |known| format!("at {}: {}", known.position, scenario_tally(&known.tally)),
        );
        let drills: Vec<String> = drills.iter().map(|(at, fault)| format!("{at} ({})", fault.as_str())).collect();
        let drills = if drills.is_empty() { "no".to_owned() } else { format!("at {}", drills.join(", ")) };
        [playbook.name.to_string(), playbook.digest.short(), format!("at {admitted}"), said, drills]
    });
    let text = table(["PLAYBOOK", "VERSION", "ADMITTED", "SCENARIOS PASSED", "PROVED BY DRILLS"], cells.collect(), "");
    let whose = "That scenarios passed is the publisher's word. What drills prove, agents saw.";
    format!("\n{text}{}", paragraph(0, whose))
}

/// What a row lacks, and how it is earned; empty where it is covered.
fn lacking(row: &Coverage, now: UnixMillis) -> String {
    let what = match &row.finding {
        Finding::Covered { .. } => return String::new(),
        Finding::Expired { by } => format!("{} expired at {}.", drill(by), instant_with_distance(by.until, now)),
        Finding::Differs { nearest, differences } => {
            let differences: Vec<String> = differences.iter().map(difference).collect();
            let expired = if nearest.until <= now { ", which has expired too" } else { "" };
            format!("the nearest is {}{expired}; it differs in {}.", drill(nearest), differences.join("; "))
        }
        Finding::Nothing => "the playbook has proved nothing yet.".to_owned(),
        Finding::Unbound => {
            let hosts = names(&row.named, row.hosts);
            format!("not every label is bound to a thing of its kind on {hosts}: see agent.toml there.")
        }
    };
    let mut text = format!("\n{}", paragraph(0, &format!("{} on {}: {what}", row.remediation, row.class)));
    match &row.finding {
        Finding::Covered { .. } | Finding::Unbound => {}
        Finding::Expired { .. } | Finding::Differs { .. } | Finding::Nothing => text.push_str(&earned_by(row)),
    }
    text
}

fn drill(proven: &Proven) -> String {
    format!("drill {} (fault {}, log position {})", proven.drill, proven.fault.kind.as_str(), proven.position)
}

fn earned_by(row: &Coverage) -> String {
    match &row.earning {
        // A command is copied whole, so it is not wrapped.
        Earning::Drill { host, drill } => {
            let which = if *drill == 0 { String::new() } else { format!(" --drill {drill}") };
            let (playbook, remediation) = (&row.playbook.name, &row.remediation);
            format!("  fettle playbook drill {playbook} --host {host} --remediation {remediation}{which} --wait\n")
        }
        Earning::Blocked { hosts, by } => {
            let hosts: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
            let hosts = hosts.join(", ");
            let sentence = match by {
                Obstacle::Consent => {
                    format!(
                        "{hosts} in staging would do, once its agent.toml allows drills and one of the playbook's faults."
                    )
                }
                Obstacle::NotActive => {
                    format!("{hosts} in staging would do, but the host is quarantined: see `fettle host reinstate`.")
                }
                Obstacle::Mode { mode } => format!(
                    "{hosts} in staging would do, but the remediation's mode there is {}, and a drill needs auto.",
                    mode.as_str()
                ),
            };
            paragraph(2, &sentence)
        }
        Earning::NoHost => paragraph(
            2,
            "No staging host is of this class and binds the same things: enrol one, or bind them alike in its agent.toml.",
        ),
        Earning::NoScenarios => paragraph(
            2,
            "No drill begins before its publisher says that its scenarios passed: publish it again, with `fettle \
             playbook publish`.",
        ),
        Earning::NoDrill => paragraph(2, "The playbook's manifest declares no drill, so it cannot earn any."),
    }
}

fn names(named: &[HostName], hosts: u64) -> String {
    let shown: Vec<&str> = named.iter().map(HostName::as_str).collect();
    let more = hosts.saturating_sub(u64::try_from(named.len()).unwrap_or(u64::MAX));
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// One difference, what was proved first: `the operating system: debian 12 -> debian 13`.
fn difference(difference: &Difference) -> String {
    let between = |what: &str, proved: &str, needed: &str| format!("{what}: {proved} -> {needed}");
    match difference {
        Difference::Version { proved, needed } => between("the version", &proved.short(), &needed.short()),
        Difference::Parameters { proved, needed } => between("the parameters", &proved.short(), &needed.short()),
        Difference::Service { proved, needed } => between("the service", proved.as_str(), needed.as_str()),
        Difference::Manager { proved, needed } => between("the manager", proved.as_str(), needed.as_str()),
        Difference::OperatingSystem { proved, needed } => between("the operating system", &os(proved), &os(needed)),
        Difference::Architecture { proved, needed } => between("the architecture", proved, needed),
        Difference::Grant { label, proved, needed } => {
            let (proved, needed) = (thing(proved.as_ref()), thing(needed.as_ref()));
            between(&format!("the label {label}"), &proved, &needed)
        }
    }
}

fn os(os: &OperatingSystem) -> String {
    format!("{} {}", os.id, os.version).trim_end().to_owned()
}

/// What a label stood for: `systemd unit nginx.service (restart)`.
fn thing(grant: Option<&ProvedGrant>) -> String {
    let Some(ProvedGrant { label: _, thing, called, actions }) = grant else { return "nothing".to_owned() };
    let kind = match thing {
        TargetKind::SystemdUnit => "systemd unit",
        TargetKind::CommandService => "command service",
        TargetKind::ReleaseRoot => "releases",
        TargetKind::Flag => "flag",
        TargetKind::Health => "check",
        TargetKind::Facts => "facts",
    };
    let actions: Vec<&str> = actions.iter().map(|action| action.as_str()).collect();
    let actions = if actions.is_empty() { String::new() } else { format!(" ({})", actions.join(", ")) };
    match called {
        Some(called) => format!("{kind} {called}{actions}"),
        None => format!("{kind}{actions}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::digest::{DocumentDigest, PlaybookDigest};
    use fettle_model::evidence::{Fault, HostClass};
    use fettle_model::host::ManagerKind;
    use fettle_model::id::DrillId;
    use fettle_model::playbook::Action;
    use fettle_model::remediation::Mode;
    use fettle_model::scenarios::ScenarioTally;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn debian(version: &str) -> OperatingSystem {
        OperatingSystem { id: "debian".to_owned(), version: version.to_owned() }
    }

    fn row(os: &str, finding: Finding, earning: Earning) -> Coverage {
        Coverage {
            remediation: parsed("restart-web"),
            playbook: PlaybookVersion { name: parsed("restart-service"), digest: PlaybookDigest::of(b"package") },
            admitted: LogPosition(7),
            scenarios: Some(KnownScenarios {
                position: LogPosition(8),
                tally: ScenarioTally { scenarios: 9, errors: 214, crashes: 96 },
            }),
            class: HostClass {
                service: parsed("web"),
                manager: ManagerKind::Systemd,
                os: debian(os),
                architecture: "x86_64".to_owned(),
            },
            parameters: DocumentDigest::of(b"{}"),
            hosts: 12,
            named: vec![parsed("prod-1"), parsed("prod-2")],
            finding,
            earning,
        }
    }

    fn proven(until: UnixMillis) -> Proven {
        Proven {
            drill: DrillId::from_uuid(Uuid::from_u128(7)),
            fault: Fault { kind: FaultKind::FillDisk, on: parsed("health") },
            position: fettle_model::counter::LogPosition(41),
            until,
        }
    }

    fn grant(unit: &str) -> Option<ProvedGrant> {
        Some(ProvedGrant {
            label: parsed("service"),
            thing: TargetKind::SystemdUnit,
            called: Some(unit.to_owned()),
            actions: BTreeSet::from([Action::Restart]),
        })
    }

    #[test]
    fn what_is_lacking_is_shown_with_what_differs_and_the_command_that_earns_it() {
        let now = UnixMillis(1_000_000);
        let valid = proven(now.plus(std::time::Duration::from_hours(49)));
        let differences = vec![
            Difference::OperatingSystem { proved: debian("12"), needed: debian("13") },
            Difference::Parameters { proved: DocumentDigest::of(b"a"), needed: DocumentDigest::of(b"b") },
            Difference::Grant {
                label: parsed("service"),
                proved: grant("nginx.service"),
                needed: grant("nginx2.service"),
            },
        ];
        let drill = |drill| Earning::Drill { host: parsed("stage-1"), drill };
        let hosts = || vec![parsed("stage-2"), parsed("stage-3")];
        let rows = [
            row("12", Finding::Covered { by: valid.clone() }, drill(0)),
            row("13", Finding::Differs { nearest: valid, differences }, drill(1)),
            row("14", Finding::Expired { by: proven(UnixMillis(1)) }, Earning::NoHost),
            row("15", Finding::Nothing, Earning::Blocked { hosts: hosts(), by: Obstacle::Consent }),
            row(
                "16",
                Finding::Nothing,
                Earning::Blocked { hosts: hosts(), by: Obstacle::Mode { mode: Mode::Observe } },
            ),
            row("17", Finding::Unbound, Earning::NoHost),
        ];
        let unsaid = PlaybookVersion { name: parsed("rollback-release"), digest: PlaybookDigest::of(b"other") };
        let unsaid = Coverage {
            playbook: unsaid,
            admitted: LogPosition(9),
            scenarios: None,
            ..row("12", Finding::Nothing, Earning::NoScenarios)
        };
        let text = coverage(&[&rows[..], &[unsaid]].concat(), now);
        assert!(text.lines().all(|line| line.chars().count() <= 100 || line.starts_with("  fettle ")), "{text}");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_fleet_without_production_needs_nothing() {
        assert!(coverage(&[], UnixMillis(1)).starts_with("no host outside staging"));
    }
}
