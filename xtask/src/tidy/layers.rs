//! Dependencies between our crates run one way: agent, control plane and command line on sandbox,
//! certs, oidc and proto; those on audit; that on model. The two ends, agent and control plane, never meet.

use super::Finding;
use crate::workspace::{Edge, EdgeKind, Member};

/// The crates below the ends.
const BELOW_THE_ENDS: &[&str] =
    &["fettle-sandbox", "fettle-certs", "fettle-oidc", "fettle-proto", "fettle-audit", "fettle-model"];
/// The crates below sandbox, certs, oidc and proto.
const BELOW_THE_MIDDLE: &[&str] = &["fettle-audit", "fettle-model"];
/// What the two pure crates may not be built with: whatever reads a clock, draws a random number or
/// talks to the world.
const IMPURE: &[&str] = &[
    "tokio",
    "rusqlite",
    "getrandom",
    "rand",
    "rustix",
    "libc",
    "hyper",
    "tonic",
    "rustls",
    "notify",
    "zbus",
    "sysinfo",
];

/// Whether `member` may depend on `on`, one of our crates; `None` when nobody said where `member` belongs.
fn may_depend(member: &Member, on: &str) -> Option<bool> {
    if member.folder.starts_with("playbooks") {
        return Some(on == "fettle-sdk");
    }
    Some(match member.name.as_str() {
        // The permit protocol's model stands beside the code, not on it.
        "fettle-permit-model" | "fettle-model" | "fettle-sdk-macro" | "fettle-demo-service" | "xtask" => false,
        "fettle-sdk" => on == "fettle-sdk-macro",
        "fettle-audit" => on == "fettle-model",
        "fettle-sandbox" | "fettle-certs" | "fettle-oidc" | "fettle-proto" => BELOW_THE_MIDDLE.contains(&on),
        "fettle-agent" | "fettle-controlplane" | "fettle-cli" => BELOW_THE_ENDS.contains(&on),
        // End to end means all of it.
        "fettle-tests" => true,
        // The model of the permit protocol gives it the invariants.
        "fettle-simulation" => {
            matches!(on, "fettle-agent" | "fettle-controlplane" | "fettle-permit-model") || BELOW_THE_ENDS.contains(&on)
        }
        // A client like the command line, whose connection it uses.
        "fettle-load" => on == "fettle-cli" || BELOW_THE_ENDS.contains(&on),
        // Around the control plane's code, as its own tests are.
        "fettle-governor-bench" => on == "fettle-controlplane" || BELOW_THE_ENDS.contains(&on),
        _ => return None,
    })
}

/// Whether the edge is that of the core's tests on the model of the permit protocol, whose invariants they quote.
fn quotes_the_model(member: &Member, edge: &Edge) -> bool {
    member.name == "fettle-controlplane" && edge.on == "fettle-permit-model" && edge.kind == EdgeKind::Test
}

/// The dependencies that run the wrong way.
pub(crate) fn wrong_edges(members: &[Member]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members {
        let manifest = member.folder.join("Cargo.toml");
        if may_depend(member, "").is_none() {
            let message =
                format!("{} has no place among the layers: give it one in xtask/src/tidy/layers.rs", member.name);
            findings.push(Finding::whole(&manifest, message));
        }
        for edge in &member.dependencies {
            let ours = members.iter().any(|other| other.name == edge.on);
            if ours && may_depend(member, &edge.on) == Some(false) && !quotes_the_model(member, edge) {
                let message = format!("{} may not depend on {}: it is not below it", member.name, edge.on);
                findings.push(Finding::whole(&manifest, message));
            }
            let pure = matches!(member.name.as_str(), "fettle-model" | "fettle-audit");
            if pure && edge.kind == EdgeKind::Built && IMPURE.contains(&edge.on.as_str()) {
                let message = format!(
                    "{} does no I/O, reads no clock and draws no random number: not with {}",
                    member.name, edge.on
                );
                findings.push(Finding::whole(&manifest, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn member(name: &str, folder: &str, on: &[(&str, EdgeKind)]) -> Member {
        Member {
            name: name.to_owned(),
            folder: PathBuf::from(folder),
            roots: Vec::new(),
            library: None,
            dependencies: on.iter().map(|(on, kind)| Edge { on: (*on).to_owned(), kind: *kind }).collect(),
        }
    }

    fn check(name: &str, folder: &str, on: &str, kind: EdgeKind, expected: usize) {
        let others = [
            "fettle-model",
            "fettle-audit",
            "fettle-sandbox",
            "fettle-agent",
            "fettle-controlplane",
            "fettle-sdk",
            "fettle-permit-model",
        ];
        let mut members: Vec<_> = others.iter().filter(|it| **it != name).map(|it| member(it, it, &[])).collect();
        members.push(member(name, folder, &[(on, kind)]));
        let found = wrong_edges(&members);
        assert_eq!(found.len(), expected, "{name} on {on}: {found:?}");
    }

    #[test]
    fn dependencies_run_one_way() {
        check("fettle-agent", "agent", "fettle-sandbox", EdgeKind::Built, 0);
        check("fettle-agent", "agent", "fettle-controlplane", EdgeKind::Built, 1);
        check("fettle-agent", "agent", "fettle-controlplane", EdgeKind::Test, 1);
        check("fettle-model", "model", "fettle-audit", EdgeKind::Test, 1);
        check("fettle-controlplane", "controlplane", "fettle-permit-model", EdgeKind::Test, 0);
        check("fettle-controlplane", "controlplane", "fettle-permit-model", EdgeKind::Built, 1);
        check("fettle-audit", "audit", "fettle-sandbox", EdgeKind::Built, 1);
        check("restart-service", "playbooks/restart-service", "fettle-sdk", EdgeKind::Built, 0);
        check("restart-service", "playbooks/restart-service", "fettle-model", EdgeKind::Built, 1);
        check("fettle-tests", "tests", "fettle-agent", EdgeKind::Built, 0);
    }

    #[test]
    fn the_pure_crates_are_built_with_nothing_impure_and_may_test_with_it() {
        check("fettle-audit", "audit", "getrandom", EdgeKind::Built, 1);
        check("fettle-audit", "audit", "getrandom", EdgeKind::Test, 0);
        check("fettle-sandbox", "sandbox", "tokio", EdgeKind::Built, 0);
    }

    #[test]
    fn a_new_crate_must_be_given_a_place() {
        check("fettle-new", "new", "serde", EdgeKind::Built, 1);
    }
}
