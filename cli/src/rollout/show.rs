//! A rollout as text. Pure.

use crate::table::{count, table};
use crate::when::instant_with_distance;
use fettle_model::counter::ConfigurationGeneration;
use fettle_model::rollout::{ConfigurationFault, Setback};
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{
    RejectionRow, RingRow, RingState, RolloutProgress, RolloutStanding, RolloutView, SetbackRow, WaitsFor,
};
use std::fmt::Write as _;

pub(super) fn text(view: &RolloutView, now: UnixMillis) -> String {
    let RolloutView { generation, rollout, rejections } = view;
    let mut text = match rollout {
        Some(progress) => under_way(*generation, progress, now),
        None if *generation == ConfigurationGeneration(0) => "there is no configuration yet\n".to_owned(),
        None => format!("no rollout: configuration {generation} is what every host gets\n"),
    };
    for RejectionRow { host, keeps, position, because } in rejections {
        let keeps = if *keeps == ConfigurationGeneration(0) { "nothing".to_owned() } else { keeps.to_string() };
        let because: Vec<String> = because.iter().map(fault).collect();
        let because = because.join("; ");
        let line = format!("{host} cannot hold {generation}, and keeps {keeps}: {because} (log position {position})\n");
        text.push_str(&line);
    }
    text
}

fn under_way(generation: ConfigurationGeneration, progress: &RolloutProgress, now: UnixMillis) -> String {
    let RolloutProgress { previous, services, remediations, rings, standing } = progress;
    let mut text =
        format!("configuration {generation} is being rolled out; hosts that it has not reached hold {previous}\n");
    let services: Vec<String> = services.iter().map(ToString::to_string).collect();
    let remediations: Vec<String> = remediations.iter().map(ToString::to_string).collect();
    for (what, names) in [("services", services), ("remediations", remediations)] {
        if !names.is_empty() {
            // Writing to a String does not fail.
            writeln!(text, "changes {what}: {}", names.join(", ")).ok();
        }
    }
    let rows = rings.iter().map(|RingRow { ring, state, count: all, hosts }| {
        let state = match state {
            RingState::Passed => "passed",
            RingState::Reached => "reached",
            RingState::Ahead => "ahead",
        };
        let named = hosts.iter().map(|host| match host.holds {
            Some(holds) => format!("{} ({holds})", host.host),
            None => format!("{} (not connected)", host.host),
        });
        [ring.as_str().to_owned(), state.to_owned(), all.to_string(), named.collect::<Vec<_>>().join(", ")]
    });
    text.push_str(&table(["RING", "STATE", "HOSTS", "WHO HOLDS WHAT"], rows.collect(), "no rings"));
    text.push_str(&stands(standing, now));
    text
}

fn stands(standing: &RolloutStanding, now: UnixMillis) -> String {
    match standing {
        RolloutStanding::Running { waits } => format!("{}\n", waits_for(waits, now)),
        RolloutStanding::Halted { position, since, because } => {
            let at = instant_with_distance(*since, now);
            let mut text = format!("halted since {at} (log position {position}):\n");
            for SetbackRow { setback, host } in because {
                let host = host.as_ref().map_or_else(|| "a host".to_owned(), ToString::to_string);
                let line = match setback {
                    Setback::Rejected { .. } => format!("  {host} cannot hold the configuration\n"),
                    Setback::BreakerOpened { scope } => format!("  the breaker {scope} opened; see `fettle status`\n"),
                    Setback::RunEnded { run, ending, .. } => {
                        format!("  run {run} on {host} ended {}\n", ending.as_str())
                    }
                };
                text.push_str(&line);
            }
            text.push_str(
                "decide: `fettle rollout resume`, `fettle rollout abort`, or apply a configuration that is better\n",
            );
            text
        }
    }
}

fn waits_for(waits: &WaitsFor, now: UnixMillis) -> String {
    match waits {
        WaitsFor::Hosts { hosts } => {
            let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
            let all = count(u64::try_from(hosts.len()).unwrap_or(u64::MAX), "host");
            format!("waits for {all} to hold it: {}", names.join(", "))
        }
        WaitsFor::Soak { until } => {
            format!("every connected host of the ring holds it; goes on at {}", instant_with_distance(*until, now))
        }
        WaitsFor::Connection => "waits for the ring: none of its hosts that carry what changes is connected".to_owned(),
        WaitsFor::Members => {
            "waits for a host: none that was chosen is active any more, and no other is connected".to_owned()
        }
        WaitsFor::NextRing => "goes on at once, or when a host of the next ring is connected".to_owned(),
    }
}

fn fault(fault: &ConfigurationFault) -> String {
    match fault {
        ConfigurationFault::Unreadable { why } => why.clone(),
        ConfigurationFault::Check { check, why } => format!("{check}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::LogPosition;
    use fettle_model::id::{HostId, RunId};
    use fettle_model::rollout::Ring;
    use fettle_model::run::Ending;
    use fettle_proto::operator::RingHost;
    use uuid::Uuid;

    const NOW: UnixMillis = UnixMillis(1_795_731_481_000);

    fn ring(ring: Ring, state: RingState, hosts: &[(&str, Option<u64>)]) -> RingRow {
        let hosts: Vec<RingHost> = hosts
            .iter()
            .map(|(host, holds)| RingHost {
                host: host.parse().expect("a name"),
                holds: holds.map(ConfigurationGeneration),
            })
            .collect();
        RingRow { ring, state, count: u64::try_from(hosts.len()).expect("few"), hosts }
    }

    fn view(standing: RolloutStanding) -> RolloutView {
        let rings = vec![
            ring(Ring::Staging, RingState::Passed, &[("s1", Some(8))]),
            ring(Ring::One, RingState::Reached, &[("p1", Some(7))]),
            ring(Ring::Part, RingState::Ahead, &[]),
            ring(Ring::All, RingState::Ahead, &[("p2", Some(7)), ("p3", None)]),
        ];
        let rollout = RolloutProgress {
            previous: ConfigurationGeneration(7),
            services: vec!["web".parse().expect("a name")],
            remediations: vec!["restart-web".parse().expect("a name")],
            rings,
            standing,
        };
        RolloutView { generation: ConfigurationGeneration(8), rollout: Some(Box::new(rollout)), rejections: Vec::new() }
    }

    #[test]
    fn a_rollout_shows_its_rings_who_holds_what_and_what_it_waits_for() {
        let waits = WaitsFor::Hosts { hosts: vec!["p1".parse().expect("a name")] };
        insta::assert_snapshot!(text(&view(RolloutStanding::Running { waits }), NOW));
    }

    #[test]
    fn a_halted_rollout_says_why_and_what_a_person_may_order() {
        let host = HostId::from_uuid(Uuid::from_u128(1));
        let run = RunId::from_uuid(Uuid::from_u128(2));
        let row =
            |setback, host: Option<&str>| SetbackRow { setback, host: host.map(|name| name.parse().expect("a name")) };
        let because = vec![
            row(Setback::Rejected { host }, Some("p1")),
            row(Setback::RunEnded { run, host, ending: Ending::Failed }, Some("p1")),
            row(Setback::BreakerOpened { scope: "service:web".parse().expect("a scope") }, None),
        ];
        let since = UnixMillis(NOW.0 - 90_000);
        let mut view = view(RolloutStanding::Halted { position: LogPosition(88), since, because });
        let check = "web/http".split_once('/').map(|(service, check)| fettle_model::check::CheckRef {
            service: service.parse().expect("a name"),
            check: check.parse().expect("a name"),
        });
        let fault = ConfigurationFault::Check { check: check.expect("a check"), why: "no value".to_owned() };
        view.rejections.push(RejectionRow {
            host: "p1".parse().expect("a name"),
            keeps: ConfigurationGeneration(7),
            position: LogPosition(87),
            because: vec![fault],
        });
        insta::assert_snapshot!(text(&view, NOW));
        view.rollout = None;
        view.rejections.clear();
        assert_eq!(text(&view, NOW), "no rollout: configuration 8 is what every host gets\n");
    }
}
