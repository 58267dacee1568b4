//! Services as tables. Pure.

use crate::table::{or_dash, table};
use crate::when::distance;
use fettle_model::check::Status;
use fettle_model::time::UnixMillis;
use fettle_proto::operator::{CheckRow, ServiceRow};
use std::collections::BTreeSet;

pub(super) fn services(rows: &[ServiceRow]) -> String {
    let cells = rows.iter().map(|row| {
        let hosts: BTreeSet<_> = row.checks.iter().map(|check| &check.host).collect();
        let with = |status| row.checks.iter().filter(|check| check.status == status).count().to_string();
        [
            row.service.to_string(),
            hosts.len().to_string(),
            with(Some(Status::Passing)),
            with(Some(Status::Warning)),
            with(Some(Status::Critical)),
            with(Some(Status::Unknown)),
            with(None),
        ]
    });
    table(
        ["SERVICE", "HOSTS", "PASSING", "WARNING", "CRITICAL", "UNKNOWN", "NEVER REPORTED"],
        cells.collect(),
        "no services; `fettle apply FILES…` sets them",
    )
}

pub(super) fn service(row: &ServiceRow, now: UnixMillis) -> String {
    let cells = row.checks.iter().map(|check| {
        [
            check.host.to_string(),
            check.environment.to_string(),
            check.check.to_string(),
            status(check).to_owned(),
            or_dash(check.since.map(|since| distance(since, now))),
            check.reason.clone(),
        ]
    });
    let none = format!("{} has no checks, or no enrolled host carries it", row.service);
    table(["HOST", "ENVIRONMENT", "CHECK", "STATUS", "SINCE", "REASON"], cells.collect(), &none)
}

/// A check's status in words.
pub(crate) const fn status(check: &CheckRow) -> &'static str {
    match check.status {
        Some(status) => status.as_str(),
        None => "never reported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::counter::TransitionEpoch;

    fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect("sound text")
    }

    fn row() -> ServiceRow {
        let check = |host: &str, status, since, reason: &str| CheckRow {
            host: parsed(host),
            environment: parsed("production"),
            check: parsed("http"),
            status,
            epoch: TransitionEpoch(3),
            since,
            reason: reason.to_owned(),
        };
        ServiceRow {
            service: parsed("web"),
            checks: vec![
                check("web-1", Some(Status::Critical), Some(UnixMillis(70_000)), "connection refused"),
                check("web-2", Some(Status::Passing), Some(UnixMillis(10_000)), "200 OK"),
                check("web-3", None, None, ""),
            ],
        }
    }

    #[test]
    fn services_are_counted_by_status() {
        insta::assert_snapshot!(services(&[row()]), @r"
        SERVICE  HOSTS  PASSING  WARNING  CRITICAL  UNKNOWN  NEVER REPORTED
        web      3      1        0        1         0        1
        ");
    }

    #[test]
    fn a_service_shows_each_check_on_each_host() {
        insta::assert_snapshot!(service(&row(), UnixMillis(100_000)), @r"
        HOST   ENVIRONMENT  CHECK  STATUS          SINCE       REASON
        web-1  production   http   critical        30s ago     connection refused
        web-2  production   http   passing         1m 30s ago  200 OK
        web-3  production   http   never reported  -
        ");
    }
}
