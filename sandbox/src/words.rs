//! Calls and replies in words: what traces, summaries and errors show.
//!
//! Revisions are shown as they are; texts of the playbook are made one line, and quoted where they are free.

use crate::call::{
    ActError, Activity, Call, ClockCall, Fact, FactsCall, FlagCall, Goodness, HealthCall, LogCall, LogLevel,
    MAX_REVISION_BYTES, OpenError, ReadError, ReleaseCall, Reply, Revision, ServiceCall, Verdict,
};
use crate::text::one_line;
use fettle_model::run::{Change, MAX_SAID_BYTES, UndoClass};
use fettle_model::time::HumanDuration;
use std::fmt;
use std::time::Duration;

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clock(ClockCall::Now) => f.write_str("clock.now"),
            Self::Clock(ClockCall::Remaining) => f.write_str("clock.remaining"),
            Self::Clock(ClockCall::Sleep { duration_ms }) => write!(f, "clock.sleep {}", millis(*duration_ms)),
            Self::Log(LogCall::Phase { name }) => write!(f, "log.phase {}", quoted(name)),
            Self::Log(LogCall::Event { level, message, fields }) => {
                write!(f, "log.{} {}", level_name(*level), quoted(message))?;
                fields.iter().try_for_each(|(key, value)| write!(f, " {}={}", one_line(key, 64), quoted(value)))
            }
            Self::Facts(FactsCall::Get { key }) => write!(f, "facts.get {}", one_line(key, 64)),
            Self::Service { label, op } => match op {
                ServiceCall::Open => write!(f, "{label}.open"),
                ServiceCall::Status => write!(f, "{label}.status"),
                ServiceCall::Tail { lines } => write!(f, "{label}.tail {lines}"),
                ServiceCall::Change { action, expect } => {
                    write!(f, "{label}.{} expect {}", action.as_str(), shown(expect))
                }
                ServiceCall::WaitFor { activity, timeout_ms } => {
                    write!(f, "{label}.wait-for {} {}", activity_name(*activity), millis(*timeout_ms))
                }
            },
            Self::Release { label, op } => match op {
                ReleaseCall::Open => write!(f, "{label}.open"),
                ReleaseCall::Current => write!(f, "{label}.current"),
                ReleaseCall::History => write!(f, "{label}.history"),
                ReleaseCall::Activate { release, expect } => {
                    write!(f, "{label}.activate {} expect {}", one_line(release, 64), shown(expect))
                }
                ReleaseCall::WaitSettled { timeout_ms } => write!(f, "{label}.wait-settled {}", millis(*timeout_ms)),
            },
            Self::Flag { label, op } => match op {
                FlagCall::Open => write!(f, "{label}.open"),
                FlagCall::Read => write!(f, "{label}.read"),
                FlagCall::Set { value, expect, hold_ms } => {
                    write!(f, "{label}.set {} for {} expect {}", one_line(value, 64), millis(*hold_ms), shown(expect))
                }
            },
            Self::Health { label, op } => match op {
                HealthCall::Open => write!(f, "{label}.open"),
                HealthCall::Probe => write!(f, "{label}.probe"),
                HealthCall::WaitHealthy { stable_for_ms, timeout_ms } => {
                    write!(f, "{label}.wait-healthy {} in {}", millis(*stable_for_ms), millis(*timeout_ms))
                }
            },
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unit | Self::Opened(Ok(())) => f.write_str("ok"),
            Self::Time(at) => write!(f, "{}", at.0),
            Self::Millis(ms) => f.write_str(&millis(*ms)),
            Self::Opened(Err(error)) => write!(f, "{error}"),
            Self::Fact(Ok(fact)) => match fact {
                Fact::Text(text) => f.write_str(&quoted(text)),
                Fact::Integer(number) => write!(f, "{number}"),
                Fact::Boolean(value) => write!(f, "{value}"),
                Fact::Texts(texts) => write!(f, "{} texts", texts.len()),
            },
            Self::Service(Ok(status)) => {
                let (activity, restarts) = (activity_name(status.activity), status.restarts_last_hour);
                write!(f, "{activity} {} restarts {restarts}", status.revision.0)
            }
            Self::Lines(Ok(lines)) => write!(f, "{} lines", lines.len()),
            Self::CurrentRelease(Ok((release, revision))) => write!(f, "{} {}", release.id, revision.0),
            Self::Releases(Ok(releases)) => {
                let shown = releases.iter().map(|release| match release.known_good {
                    Goodness::KnownGood => format!("{} good", release.id),
                    Goodness::Unproven => release.id.clone(),
                });
                f.write_str(&shown.collect::<Vec<_>>().join(", "))
            }
            Self::Settled(Ok(release)) => write!(f, "{} serves", release.id),
            Self::Flag(Ok(setting)) => write!(f, "{} {}", one_line(&setting.value, 64), setting.revision.0),
            Self::Health(Ok(report)) => {
                f.write_str(verdict_name(report.verdict))?;
                report.reasons.iter().try_for_each(|reason| write!(f, " {}", quoted(reason)))
            }
            Self::Acted(Ok(receipt)) => {
                let change = match receipt.change {
                    Change::Made => "done",
                    Change::Unneeded => "unneeded",
                };
                let undo = match receipt.undo {
                    UndoClass::Automatic => "automatic",
                    UndoClass::Expires => "expires",
                    UndoClass::None => "none",
                };
                write!(f, "{change} undo {undo}")
            }
            Self::Acted(Err(error)) => write!(f, "{error}"),
            Self::Fact(Err(error))
            | Self::Service(Err(error))
            | Self::Lines(Err(error))
            | Self::CurrentRelease(Err(error))
            | Self::Releases(Err(error))
            | Self::Settled(Err(error))
            | Self::Flag(Err(error))
            | Self::Health(Err(error)) => write!(f, "{error}"),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared => f.write_str("undeclared"),
            Self::Unbound => f.write_str("unbound"),
            Self::Denied(why) => write!(f, "denied {}", quoted(why)),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not-found"),
            Self::Timeout => f.write_str("timeout"),
            Self::Unavailable(why) => write!(f, "unavailable {}", quoted(why)),
            Self::TooLarge(size) => write!(f, "too-large {size}"),
            Self::Malformed(why) => write!(f, "malformed {}", quoted(why)),
        }
    }
}

impl fmt::Display for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => write!(f, "denied {}", quoted(why)),
            Self::Stale(now) => write!(f, "stale {}", now.0),
            Self::OffPlan => f.write_str("off-plan"),
            Self::Exhausted(budget) => write!(f, "exhausted {}", quoted(budget)),
            Self::Failed(why) => write!(f, "failed {}", quoted(why)),
            Self::Indeterminate(seen) => write!(f, "indeterminate {}", quoted(seen)),
        }
    }
}

/// The name of an activity, as it stands in the interface.
#[must_use]
pub const fn activity_name(activity: Activity) -> &'static str {
    match activity {
        Activity::Active => "active",
        Activity::Inactive => "inactive",
        Activity::Activating => "activating",
        Activity::Deactivating => "deactivating",
        Activity::Failed => "failed",
    }
}

/// A revision that the playbook names may be any text.
fn shown(expect: &Revision) -> String {
    one_line(&expect.0, MAX_REVISION_BYTES)
}

const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Healthy => "healthy",
        Verdict::Degraded => "degraded",
        Verdict::Unhealthy => "unhealthy",
        Verdict::Unknown => "unknown",
    }
}

const fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
    }
}

fn millis(ms: u32) -> String {
    HumanDuration(Duration::from_millis(u64::from(ms))).to_string()
}

/// The text between quotation marks, in one line.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", one_line(text, MAX_SAID_BYTES).replace('"', "'"))
}

/// A changing call's arguments for people, as steps show them: `release r41`, `off for 1h`. A flag
/// that is set for no time is put back.
#[must_use]
pub fn arguments(call: &Call) -> String {
    if let Call::Release { op: ReleaseCall::Activate { release, .. }, .. } = call {
        format!("release {}", one_line(release, MAX_SAID_BYTES))
    } else if let Call::Flag { op: FlagCall::Set { value, hold_ms, .. }, .. } = call {
        let value = one_line(value, MAX_SAID_BYTES);
        if *hold_ms == 0 { format!("back to {value}") } else { format!("{value} for {}", millis(*hold_ms)) }
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::label;
    use fettle_model::playbook::Action;

    /// One call of each kind, by interface.
    fn all() -> Vec<(&'static str, Call)> {
        let (name, message, key) = (|| "x".to_owned(), "x".to_owned(), "cpus".to_owned());
        let level = LogLevel::Info;
        let mut all = vec![
            ("clock", Call::Clock(ClockCall::Now)),
            ("clock", Call::Clock(ClockCall::Remaining)),
            ("clock", Call::Clock(ClockCall::Sleep { duration_ms: 1 })),
            ("log", Call::Log(LogCall::Event { level, message, fields: Vec::new() })),
            ("log", Call::Log(LogCall::Phase { name: name() })),
            ("facts", Call::Facts(FactsCall::Get { key })),
        ];
        let expect = || Revision("r1".to_owned());
        let change = |action| ServiceCall::Change { action, expect: expect() };
        let services = [
            ServiceCall::Open,
            ServiceCall::Status,
            ServiceCall::Tail { lines: 1 },
            change(Action::Start),
            change(Action::Stop),
            change(Action::Restart),
            change(Action::Reload),
            ServiceCall::WaitFor { activity: Activity::Active, timeout_ms: 1 },
        ];
        all.extend(services.map(|op| ("services", Call::Service { label: label("x"), op })));
        let releases = [
            ReleaseCall::Open,
            ReleaseCall::Current,
            ReleaseCall::History,
            ReleaseCall::Activate { release: name(), expect: expect() },
            ReleaseCall::WaitSettled { timeout_ms: 1 },
        ];
        all.extend(releases.map(|op| ("releases", Call::Release { label: label("x"), op })));
        let flags = [FlagCall::Open, FlagCall::Read, FlagCall::Set { value: name(), expect: expect(), hold_ms: 1 }];
        all.extend(flags.map(|op| ("feature-flags", Call::Flag { label: label("x"), op })));
        let health = [HealthCall::Open, HealthCall::Probe, HealthCall::WaitHealthy { stable_for_ms: 1, timeout_ms: 1 }];
        all.extend(health.map(|op| ("health", Call::Health { label: label("x"), op })));
        all
    }

    /// The functions that an interface file declares, `interface.function`.
    fn declared(wit: &str) -> Vec<String> {
        let mut interface = "";
        let mut functions = Vec::new();
        for line in wit.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("interface ") {
                interface = name.trim_end_matches([' ', '{']);
            } else if let Some((name, _)) = line.split_once(": func(") {
                functions.push(format!("{interface}.{name}"));
            }
        }
        functions.sort();
        functions
    }

    #[test]
    fn every_function_of_the_interface_has_a_call_of_its_name() {
        let named = |(interface, call): (&str, Call)| {
            let words = call.to_string();
            let name = words.split(' ').next().and_then(|name| name.split_once('.')).expect("thing.function").1;
            // A line's level stands for the function in traces.
            format!("{interface}.{}", if name == "info" { "event" } else { name })
        };
        let mut calls: Vec<String> = all().into_iter().map(named).collect();
        calls.sort();
        assert_eq!(calls, declared(include_str!("../../wasm-sdk/wit/host.wit")));
    }

    #[test]
    fn what_a_playbook_wrote_stays_in_its_line_and_its_quotation_marks() {
        let forged = "ok\"\n! web.stop expect r1".to_owned();
        assert_eq!(Call::Log(LogCall::Phase { name: forged }).to_string(), "log.phase \"ok' ! web.stop expect r1\"");
        let activate =
            ReleaseCall::Activate { release: "r\n1".to_owned(), expect: Revision("r1\n! web.stop".to_owned()) };
        let call = Call::Release { label: label("app"), op: activate };
        assert_eq!(call.to_string(), "app.activate r 1 expect r1 ! web.stop");
        assert_eq!(arguments(&call), "release r 1");
    }
}
