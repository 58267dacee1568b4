//! Breakers, stop orders and incidents as text. Pure.

use crate::break_glass::holds;
use crate::mute;
use crate::table::{count, or_dash, table};
use crate::when::{distance, instant, instant_with_distance};
use fettle_model::breaker::OpenReason;
use fettle_model::host::HostState;
use fettle_model::incident::IncidentCause;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{
    BreakGlassRow, BreakerRow, Connection, FreezeRow, FreezeStanding, HostRow, IncidentRow, MuteRow,
};

pub(super) fn status(
    breakers: &[BreakerRow],
    frozen: &[FreezeRow],
    broken_glass: &[BreakGlassRow],
    incidents: &[IncidentRow],
    muted: &[MuteRow],
    hosts: &[HostRow],
    now: UnixMillis,
) -> String {
    let mut text = hosts_line(hosts);
    text.push('\n');
    if !broken_glass.is_empty() {
        let rows = broken_glass.iter().map(|row| [holds(row, now), row.why.clone()]);
        text.push_str(&table(["GLASS IS BROKEN", "WHY"], rows.collect(), ""));
        text.push('\n');
    }
    let open = breakers.iter().map(|row| {
        let because: Vec<String> = row.because.iter().map(open_reason).collect();
        [row.scope.to_string(), because.join("; "), distance(row.opened_at, now), clears(row, now)]
    });
    let frozen = frozen.iter().map(|row| {
        let ends = match row.standing {
            FreezeStanding::Open | FreezeStanding::Frozen { until: None } => "no end is known".to_owned(),
            FreezeStanding::Frozen { until: Some(until) } => distance(until, now),
        };
        [row.scope.to_string(), format!("frozen by {}: {}", row.freeze, row.why), "-".to_owned(), ends]
    });
    let rows = open.chain(frozen);
    text.push_str(&table(
        ["HELD BACK", "BECAUSE", "SINCE", "CLEARS"],
        rows.collect(),
        "automation is not held back anywhere: no breaker is open, nothing is stopped or frozen",
    ));
    text.push('\n');
    text.push_str(&called(incidents, now));
    if !muted.is_empty() {
        text.push('\n');
        text.push_str(&mute::list(muted, now));
    }
    text
}

/// Incidents that people are called to, then those that a mute holds.
fn called(incidents: &[IncidentRow], now: UnixMillis) -> String {
    let words = |row: &IncidentRow| {
        [or_dash(row.host.as_ref()), or_dash(row.check.as_ref()), cause(&row.cause), distance(row.opened_at, now)]
    };
    let held = incidents.iter().filter_map(|row| {
        let until = distance(row.held.as_ref()?.until, now);
        let [host, check, cause, since] = words(row);
        Some([host, check, cause, since, until])
    });
    let held: Vec<_> = held.collect();
    let plain = incidents.iter().filter(|row| row.held.is_none()).map(words);
    let none = if held.is_empty() { "no incidents" } else { "no incident calls people now" };
    let mut text = table(["INCIDENT ON", "CHECK", "CAUSE", "SINCE"], plain.collect(), none);
    if !held.is_empty() {
        text.push('\n');
        text.push_str(&table(["HELD BY A MUTE, ON", "CHECK", "CAUSE", "SINCE", "UNTIL"], held, ""));
    }
    text
}

fn hosts_line(hosts: &[HostRow]) -> String {
    let number = |wanted: &dyn Fn(&HostRow) -> bool| {
        u64::try_from(hosts.iter().filter(|host| wanted(host)).count()).unwrap_or(u64::MAX)
    };
    let connected = number(&|host| host.connection == Connection::Connected);
    let running = number(&|host| host.running.is_some());
    let held = number(&|host| host.state != HostState::Active);
    format!(
        "{}: {connected} connected, {running} with a run in progress, {held} quarantined or revoked\n",
        count(number(&|_| true), "host")
    )
}

fn clears(row: &BreakerRow, now: UnixMillis) -> String {
    match (row.probe, row.half_open_at) {
        (Some(run), _) => format!("half-open: its probe is {run}"),
        (None, Some(at)) if at <= now => "half-open: the next request is the probe".to_owned(),
        (None, Some(at)) => format!("half-open {}", distance(at, now)),
        (None, None) if row.because.iter().all(|reason| reason.kind().passes()) => {
            "by itself, once that is over for a while".to_owned()
        }
        (None, None) => format!("by `fettle resume {}`", row.scope),
    }
}

/// Why a breaker is open, in words.
pub(crate) fn open_reason(reason: &OpenReason) -> String {
    match reason {
        OpenReason::Failures { count: number, allowed } => {
            format!("{} in the window, {allowed} allowed", count(u64::from(*number), "failure"))
        }
        OpenReason::Storm { unhealthy, hosts, allowed } => {
            format!("a storm: {unhealthy} of {} unhealthy, {allowed} allowed", count(u64::from(*hosts), "host"))
        }
        OpenReason::Blindness { silent, hosts, allowed } => {
            format!("blindness: {silent} of {} silent, {allowed} allowed", count(u64::from(*hosts), "agent"))
        }
        OpenReason::LogLag { lag, allowed } => {
            format!("the log lags: a record took {} ms, {} allowed", lag.as_millis(), allowed.as_millis())
        }
        OpenReason::ByHand { by, why } => format!("stopped by {by}: {why}"),
    }
}

fn cause(cause: &IncidentCause) -> String {
    match cause {
        IncidentCause::AttemptsExhausted { attempts, tried } if tried.is_empty() => {
            format!("{} did not help", count(u64::from(*attempts), "attempt"))
        }
        IncidentCause::AttemptsExhausted { tried, .. } => {
            let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
            format!("nothing on the list helped: {}", tried.join(", "))
        }
        IncidentCause::BrokenGlass { person, role, confirmed_by, until, .. } => {
            format!("{person} was {role} by broken glass until {}, confirmed by {confirmed_by}", instant(*until))
        }
        IncidentCause::Unannounced { run, number } => {
            format!("run {run} took step {number}, which cannot be taken back, before it was in the log")
        }
        IncidentCause::InDoubt { run } => format!("run {run} ended in doubt"),
        IncidentCause::RolloutHalted { generation } => {
            format!("the rollout of configuration {generation} halted; see `fettle rollout show`")
        }
        IncidentCause::ConfigurationRejected { generation } => {
            format!("the host cannot hold configuration {generation}; see `fettle rollout show`")
        }
        IncidentCause::Escalated { run, summary } => format!("run {run} asks for a person: {summary}"),
    }
}

/// When a breaker may let something through again, as a sentence's end.
pub(crate) fn clears_at(at: Option<UnixMillis>, now: UnixMillis) -> Option<String> {
    at.map(|at| format!("It may clear at {}.", instant_with_distance(at, now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::breaker::Scope;
    use fettle_model::check::CheckRef;
    use fettle_model::counter::ConfigurationGeneration;
    use fettle_model::id::{IncidentId, MuteId, RunId};
    use fettle_proto::operator::HeldBy;
    use uuid::Uuid;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    #[test]
    fn what_holds_automation_back_is_shown_with_reasons_and_when_it_clears() {
        let now = UnixMillis(1_000_000);
        let breakers = [
            BreakerRow {
                scope: Scope::Global,
                because: vec![OpenReason::ByHand { by: parsed("alice"), why: "network work".to_owned() }],
                opened_at: UnixMillis(400_000),
                half_open_at: None,
                probe: None,
            },
            BreakerRow {
                scope: Scope::Service(parsed("web")),
                because: vec![OpenReason::Failures { count: 3, allowed: 2 }],
                opened_at: UnixMillis(940_000),
                half_open_at: Some(UnixMillis(1_120_000)),
                probe: None,
            },
        ];
        let incidents = [IncidentRow {
            incident: IncidentId::from_uuid(Uuid::from_u128(1)),
            host: Some(parsed("web-1")),
            check: Some(CheckRef { service: parsed("web"), check: parsed("http") }),
            cause: IncidentCause::AttemptsExhausted { attempts: 3, tried: Vec::new() },
            opened_at: UnixMillis(990_000),
            held: None,
        }];
        insta::assert_snapshot!(status(&breakers, &[], &[], &incidents, &[], &[], now), @r"
        0 hosts: 0 connected, 0 with a run in progress, 0 quarantined or revoked

        HELD BACK    BECAUSE                              SINCE    CLEARS
        global       stopped by alice: network work       10m ago  by `fettle resume global`
        service:web  3 failures in the window, 2 allowed  1m ago   half-open in 2m

        INCIDENT ON  CHECK     CAUSE                    SINCE
        web-1        web/http  3 attempts did not help  10s ago
        ");
    }

    #[test]
    fn nothing_held_back_is_said_in_words() {
        let text = status(&[], &[], &[], &[], &[], &[], UnixMillis(0));
        assert!(text.contains("automation is not held back anywhere") && text.ends_with("no incidents\n"), "{text}");
    }

    #[test]
    fn what_a_mute_holds_stands_apart_with_its_end() {
        let now = UnixMillis(1_000_000);
        let incident = |number: u128, held: Option<HeldBy>| IncidentRow {
            incident: IncidentId::from_uuid(Uuid::from_u128(number)),
            host: Some(parsed("web-1")),
            check: None,
            cause: IncidentCause::RolloutHalted { generation: ConfigurationGeneration(7) },
            opened_at: UnixMillis(990_000),
            held,
        };
        let mute = MuteRow {
            mute: MuteId::from_uuid(Uuid::from_u128(3)),
            scope: Scope::Global,
            until: UnixMillis(1_600_000),
            by: parsed("alice"),
            why: "new disks".to_owned(),
        };
        let held = HeldBy { mute: mute.mute, until: mute.until };
        insta::assert_snapshot!(status(&[], &[], &[], &[incident(1, Some(held))], &[mute], &[], now), @r"
        0 hosts: 0 connected, 0 with a run in progress, 0 quarantined or revoked

        automation is not held back anywhere: no breaker is open, nothing is stopped or frozen

        no incident calls people now

        HELD BY A MUTE, ON  CHECK  CAUSE                                               SINCE    UNTIL
        web-1               -      the rollout of configuration 7 halted; see `fettle  10s ago  in 10m
                                   rollout show`

        MUTED   UNTIL                          MUTE                                  BY     WHY
        global  1970-01-01 00:26:40Z (in 10m)  00000000-0000-0000-0000-000000000003  alice  new disks
        ");
    }

    #[test]
    fn a_half_open_breaker_names_its_probe() {
        let mut row = BreakerRow {
            scope: Scope::Global,
            because: Vec::new(),
            opened_at: UnixMillis(0),
            half_open_at: Some(UnixMillis(5)),
            probe: None,
        };
        assert_eq!(clears(&row, UnixMillis(6)), "half-open: the next request is the probe");
        row.probe = Some(RunId::from_uuid(Uuid::from_u128(1)));
        assert_eq!(clears(&row, UnixMillis(6)), "half-open: its probe is 00000000-0000-0000-0000-000000000001");
    }
}
