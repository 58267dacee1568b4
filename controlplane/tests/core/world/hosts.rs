//! What the agents of the tests say of their hosts.

use super::*;

pub(crate) fn description(name: &str, environment: &str) -> HostDescription {
    HostDescription {
        name: name.parse().expect("a name"),
        environment: environment.parse().expect("a name"),
        agent_version: "0.1.0".to_owned(),
        os: OperatingSystem { id: "debian".to_owned(), version: "12".to_owned() },
        architecture: "x86_64".to_owned(),
        services: [CarriedService {
            name: web().service,
            manager: ManagerKind::Systemd,
            faults: std::collections::BTreeSet::new(),
        }]
        .into(),
        drills: DrillConsent::Allowed,
        isolation: Isolation::Full,
        bindings: ["restart-service", START_SERVICE]
            .map(|playbook| Binding {
                playbook: playbook.parse().expect("a name"),
                service: web().service,
                targets: targets(),
            })
            .into(),
    }
}

pub(crate) fn describe(name: &str, environment: &str) -> Body {
    Body::HostDescribed(Box::new(description(name, environment)))
}
