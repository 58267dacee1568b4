//! Hosts as tables and facts. Pure.

use crate::table::{facts, or_dash, table};
use crate::when::{distance, instant_with_distance};
use fettle_model::host::{DrillConsent, HostDescription, Isolation};
use fettle_model::permit::Target;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{Connection, HostRow};

pub(super) fn hosts(rows: &[HostRow], now: UnixMillis) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.name.to_string(),
            row.environment.to_string(),
            row.state.as_str().to_owned(),
            match row.connection {
                Connection::Connected => "connected".to_owned(),
                Connection::LastHeard { at } => distance(at, now),
                Connection::NotSinceStart => "not heard".to_owned(),
            },
            or_dash(row.description.as_ref().map(services).filter(|services| !services.is_empty())),
            or_dash(row.running),
        ]
    });
    table(
        ["HOST", "ENVIRONMENT", "STATE", "AGENT", "SERVICES", "RUN IN PROGRESS"],
        cells.collect(),
        "no hosts are enrolled; `fettle token create` makes a join token",
    )
}

fn services(description: &HostDescription) -> String {
    let names: Vec<&str> = description.services.iter().map(|service| service.name.as_str()).collect();
    names.join(", ")
}

pub(super) fn host(row: &HostRow, now: UnixMillis) -> String {
    let mut lines = vec![
        ("host", row.name.to_string()),
        ("id", row.host.to_string()),
        ("environment", row.environment.to_string()),
        ("state", row.state.as_str().to_owned()),
        (
            "agent",
            match row.connection {
                Connection::Connected => "connected".to_owned(),
                Connection::LastHeard { at } => format!("last heard {}", instant_with_distance(at, now)),
                Connection::NotSinceStart => "not heard since the control plane started".to_owned(),
            },
        ),
        ("records", row.sequence.to_string()),
        ("run", row.running.map_or_else(|| "none in progress".to_owned(), |run| run.to_string())),
    ];
    let Some(description) = &row.description else {
        lines.push(("description", "none: the agent has not said anything of its host yet".to_owned()));
        return facts(&lines);
    };
    lines.extend(described(description));
    let mut text = facts(&lines);
    let services =
        description.services.iter().map(|service| [service.name.to_string(), service.manager.as_str().to_owned()]);
    text.push('\n');
    text.push_str(&table(["SERVICE", "MANAGED BY"], services.collect(), "it carries no service"));
    let bound = description.bindings.iter().flat_map(|binding| {
        binding.targets.iter().map(|bound| {
            [binding.playbook.to_string(), binding.service.to_string(), bound.label.to_string(), target(&bound.target)]
        })
    });
    text.push('\n');
    text.push_str(&table(["PLAYBOOK", "FOR", "LABEL", "BOUND TO"], bound.collect(), "nothing is bound"));
    text
}

fn described(description: &HostDescription) -> Vec<(&'static str, String)> {
    let drills = match description.drills {
        DrillConsent::Allowed => "allowed by the owner",
        DrillConsent::Refused => "refused by the owner",
    };
    let isolation = match &description.isolation {
        Isolation::Full => "full".to_owned(),
        Isolation::Weaker { missing } => format!("weaker: {}", missing.join("; ")),
    };
    vec![
        ("version", description.agent_version.clone()),
        ("system", format!("{} {} {}", description.os.id, description.os.version, description.architecture)),
        ("drills", drills.to_owned()),
        ("isolation", isolation),
    ]
}

/// A real thing in words.
pub(crate) fn target(target: &Target) -> String {
    match target {
        Target::SystemdUnit { unit } => format!("unit {unit}"),
        Target::CommandService { name } => format!("service {name} by its commands"),
        Target::ReleaseRoot { root } => format!("releases in {root}"),
        Target::Flag { file, key } => format!("flag {key} in {file}"),
        Target::Health { check } => format!("check {check}"),
        Target::Facts => "facts".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::AgentSequence;
    use fettle_model::host::{Binding, CarriedService, HostState, ManagerKind, OperatingSystem};
    use fettle_model::id::HostId;
    use fettle_model::permit::BoundTarget;
    use uuid::Uuid;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn row(number: u128, connection: Connection, description: Option<HostDescription>) -> HostRow {
        HostRow {
            host: HostId::from_uuid(Uuid::from_u128(number)),
            name: parsed(&format!("web-{number}")),
            environment: parsed("production"),
            state: HostState::Active,
            connection,
            description,
            sequence: AgentSequence(41),
            running: None,
        }
    }

    fn description() -> HostDescription {
        let target = |label: &str, target| BoundTarget { label: parsed(label), target };
        HostDescription {
            name: parsed("web-1"),
            environment: parsed("production"),
            agent_version: "0.1.0".to_owned(),
            os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
            architecture: "x86_64".to_owned(),
            services: [CarriedService {
                name: parsed("web"),
                manager: ManagerKind::Systemd,
                faults: std::collections::BTreeSet::new(),
            }]
            .into(),
            drills: DrillConsent::Refused,
            isolation: Isolation::Weaker { missing: vec!["not started as root".to_owned()] },
            bindings: [Binding {
                playbook: parsed("restart-service"),
                service: parsed("web"),
                targets: vec![
                    target("service", Target::SystemdUnit { unit: "nginx.service".to_owned() }),
                    target("flag", Target::Flag { file: "/srv/flags.json".to_owned(), key: "new".to_owned() }),
                ],
            }]
            .into(),
        }
    }

    #[test]
    fn hosts_are_listed_with_what_an_operator_asks_first() {
        let now = UnixMillis(1_000_000);
        let rows = [
            row(1, Connection::Connected, Some(description())),
            row(2, Connection::LastHeard { at: UnixMillis(700_000) }, None),
            row(3, Connection::NotSinceStart, None),
        ];
        insta::assert_snapshot!(hosts(&rows, now), @r"
        HOST   ENVIRONMENT  STATE   AGENT      SERVICES  RUN IN PROGRESS
        web-1  production   active  connected  web       -
        web-2  production   active  5m ago     -         -
        web-3  production   active  not heard  -         -
        ");
    }

    #[test]
    fn a_host_is_shown_with_its_services_and_bindings() {
        insta::assert_snapshot!(host(&row(1, Connection::Connected, Some(description())), UnixMillis(0)), @r"
        host         web-1
        id           00000000-0000-0000-0000-000000000001
        environment  production
        state        active
        agent        connected
        records      41
        run          none in progress
        version      0.1.0
        system       debian 12 x86_64
        drills       refused by the owner
        isolation    weaker: not started as root

        SERVICE  MANAGED BY
        web      systemd

        PLAYBOOK         FOR  LABEL    BOUND TO
        restart-service  web  service  unit nginx.service
        restart-service  web  flag     flag new in /srv/flags.json
        ");
    }

    #[test]
    fn a_host_that_said_nothing_yet_is_shown_as_such() {
        let text = host(&row(2, Connection::NotSinceStart, None), UnixMillis(0));
        assert!(text.contains("not heard since the control plane started"), "{text}");
        assert!(text.ends_with("the agent has not said anything of its host yet\n"), "{text}");
    }
}
