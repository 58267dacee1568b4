//! One check: which keys belong to which kind of probe, and the bounds of its values.

use super::Complaints;
use super::raw::{ProbeKind, RawCheck, ResourceKind};
use crate::check::{Check, HostValue, MAX_TIMEOUT, MIN_INTERVAL, Probe, Resource};
use crate::time::HumanDuration;
use std::ops::Range;
use toml::Spanned;

/// Every probe's key that a check gives, taken one by one; what is left belongs to another kind.
struct Keys<'a> {
    given: Vec<(&'static str, Range<usize>)>,
    kind: ProbeKind,
    at: Range<usize>,
    missing: Vec<&'static str>,
    raw: &'a RawCheck,
}

impl<'a> Keys<'a> {
    fn of(raw: &'a RawCheck) -> Self {
        // Destructured completely, so that a key which no kind takes does not compile.
        let RawCheck {
            name: _,
            kind,
            interval: _,
            timeout: _,
            fail_after: _,
            recover_after: _,
            url,
            expect_status,
            expect_body,
            no_answer,
            address,
            pid_file,
            unit,
            resource,
            path,
            warning_percent,
            critical_percent,
            must,
            max_age,
            command,
        } = raw;
        let given = [
            ("url", url.as_ref().map(Spanned::span)),
            ("expect-status", expect_status.as_ref().map(Spanned::span)),
            ("expect-body", expect_body.as_ref().map(Spanned::span)),
            ("no-answer", no_answer.as_ref().map(Spanned::span)),
            ("address", address.as_ref().map(Spanned::span)),
            ("pid-file", pid_file.as_ref().map(Spanned::span)),
            ("unit", unit.as_ref().map(Spanned::span)),
            ("resource", resource.as_ref().map(Spanned::span)),
            ("path", path.as_ref().map(Spanned::span)),
            ("warning-percent", warning_percent.as_ref().map(Spanned::span)),
            ("critical-percent", critical_percent.as_ref().map(Spanned::span)),
            ("must", must.as_ref().map(Spanned::span)),
            ("max-age", max_age.as_ref().map(Spanned::span)),
            ("command", command.as_ref().map(Spanned::span)),
        ];
        Self {
            given: given.into_iter().filter_map(|(key, span)| span.map(|span| (key, span))).collect(),
            kind: *kind.get_ref(),
            at: kind.span(),
            missing: Vec::new(),
            raw,
        }
    }

    fn optional<T: Clone>(&mut self, key: &'static str, value: Option<&Spanned<T>>) -> Option<T> {
        self.given.retain(|(given, _)| *given != key);
        value.map(|value| value.get_ref().clone())
    }

    fn required<T: Clone>(&mut self, key: &'static str, value: Option<&Spanned<T>>) -> Option<T> {
        let value = self.optional(key, value);
        if value.is_none() {
            self.missing.push(key);
        }
        value
    }

    fn complain(self, complaints: &mut Complaints<'_>) {
        let (kind, name) = (self.kind.as_str(), self.raw.name.get_ref());
        for key in self.missing {
            complaints.at(
                self.at.clone(),
                format!("check {name}: a {kind} check needs the key {key}"),
                format!("add {key} = …"),
            );
        }
        for (key, span) in self.given {
            complaints.at(
                span,
                format!("check {name}: the key {key} does not belong to a {kind} check"),
                "remove the key, or correct the kind",
            );
        }
    }
}

pub(super) fn convert(raw: &RawCheck, complaints: &mut Complaints<'_>) -> Option<Check> {
    let mut keys = Keys::of(raw);
    let probe = probe(raw, &mut keys);
    keys.complain(complaints);
    let before = complaints.found.len();
    check_bounds(raw, probe.as_ref(), complaints);
    let sound = complaints.found.len() == before;
    Some(Check {
        name: raw.name.get_ref().clone(),
        probe: probe.filter(|_| sound)?,
        interval: raw.interval.0,
        timeout: raw.timeout.0,
        fail_after: raw.fail_after,
        recover_after: raw.recover_after,
    })
}

fn probe(raw: &RawCheck, keys: &mut Keys<'_>) -> Option<Probe> {
    match raw.kind.get_ref() {
        ProbeKind::Http => {
            let expect_status = keys.optional("expect-status", raw.expect_status.as_ref()).unwrap_or_default();
            let expect_body = keys.optional("expect-body", raw.expect_body.as_ref());
            let no_answer = keys.optional("no-answer", raw.no_answer.as_ref()).unwrap_or_default();
            Some(Probe::Http { url: keys.required("url", raw.url.as_ref())?, expect_status, expect_body, no_answer })
        }
        ProbeKind::Tcp => Some(Probe::Tcp { address: keys.required("address", raw.address.as_ref())? }),
        ProbeKind::Process => Some(Probe::Process { pid_file: keys.required("pid-file", raw.pid_file.as_ref())? }),
        ProbeKind::SystemdUnit => Some(Probe::SystemdUnit { unit: keys.required("unit", raw.unit.as_ref())? }),
        ProbeKind::Resource => {
            let warning = keys.required("warning-percent", raw.warning_percent.as_ref());
            let critical = keys.required("critical-percent", raw.critical_percent.as_ref());
            let resource = match keys.required("resource", raw.resource.as_ref())? {
                ResourceKind::Cpu => Resource::Cpu,
                ResourceKind::Memory => Resource::Memory,
                ResourceKind::Swap => Resource::Swap,
                ResourceKind::Disk => Resource::Disk { path: keys.required("path", raw.path.as_ref())?.0 },
            };
            Some(Probe::Resource { resource, warning_percent: warning?, critical_percent: critical? })
        }
        ProbeKind::File => {
            let max_age = keys.optional("max-age", raw.max_age.as_ref()).map(|age: HumanDuration| age.0);
            let must = keys.required("must", raw.must.as_ref());
            Some(Probe::File { path: keys.required("path", raw.path.as_ref())?, must: must?, max_age })
        }
        ProbeKind::Command => Some(Probe::Command { command: keys.required("command", raw.command.as_ref())? }),
    }
}

fn check_bounds(raw: &RawCheck, probe: Option<&Probe>, complaints: &mut Complaints<'_>) {
    let name = raw.name.get_ref();
    let mut wrong = |message: String, remedy: &str| {
        complaints.at(raw.name.span(), format!("check {name}: {message}"), remedy);
    };
    if raw.interval.0 < MIN_INTERVAL {
        wrong(format!("interval {} is below {}", raw.interval, HumanDuration(MIN_INTERVAL)), "raise it");
    }
    if raw.timeout.0.is_zero() || raw.timeout.0 > MAX_TIMEOUT {
        wrong(format!("timeout must be above zero and at most {}", HumanDuration(MAX_TIMEOUT)), "correct it");
    }
    if raw.fail_after == 0 || raw.recover_after == 0 {
        wrong("fail-after and recover-after must be at least 1".to_owned(), "raise them");
    }
    match probe {
        Some(Probe::Http { url: HostValue(url), .. })
            if !(url.starts_with("http://") || url.starts_with("https://")) =>
        {
            wrong(
                format!("url {url:?} is no http:// or https:// address"),
                "write url = \"http://{host.address}/healthz\"",
            );
        }
        Some(Probe::File { path: HostValue(path), .. }) if !(path.starts_with('/') || path.starts_with('{')) => {
            wrong(format!("path {path:?} is not absolute"), "write the whole path");
        }
        Some(Probe::Resource { warning_percent, critical_percent, .. })
            if *warning_percent > *critical_percent || *critical_percent > 100 =>
        {
            wrong(
                "warning-percent must not be above critical-percent, and neither above 100".to_owned(),
                "correct the thresholds",
            );
        }
        Some(_) | None => {}
    }
}
