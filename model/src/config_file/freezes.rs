//! `[[freeze]]` as it is written in files, and what is wrong with it. Called by [`super::parse`] alone.

use super::Complaints;
use crate::breaker::Scope;
use crate::calendar::{Calendar, ClockTime, LocalTime, Weekday, Window, ZoneName};
use crate::freeze::{Freeze, Meaning};
use crate::name::{CheckName, FreezeName, ServiceName};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use toml::Spanned;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawFreeze {
    name: Spanned<FreezeName>,
    scope: Spanned<String>,
    time_zone: ZoneName,
    default: Default,
    why: String,
    #[serde(default)]
    window: Vec<Spanned<RawWindow>>,
}

/// What holds outside of the windows.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Default {
    Open,
    Closed,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawWindow {
    days: Option<BTreeSet<Weekday>>,
    from: String,
    to: String,
}

/// Takes the freeze in, or complains.
pub(super) fn add(
    raw: RawFreeze,
    services: &BTreeMap<ServiceName, Vec<CheckName>>,
    freezes: &mut Vec<Freeze>,
    complaints: &mut Complaints<'_>,
) {
    let name = raw.name.get_ref().clone();
    if freezes.iter().any(|freeze| freeze.name == name) {
        complaints.at(raw.name.span(), format!("a second freeze is named {name}"), "give it another name");
        return;
    }
    let scope: Scope = match raw.scope.get_ref().parse() {
        Ok(Scope::Service(service)) if !services.contains_key(&service) => {
            complaints.at(
                raw.scope.span(),
                format!("freeze {name}: no service is named {service}"),
                "name a service of these files",
            );
            return;
        }
        Ok(scope) => scope,
        Err(error) => {
            complaints.at(raw.scope.span(), format!("freeze {name}: {error}"), "correct the scope");
            return;
        }
    };
    let mut windows = Vec::new();
    for window in &raw.window {
        match read(window.get_ref()) {
            Ok(window) => windows.push(window),
            Err(error) => complaints.at(
                window.span(),
                format!("freeze {name}: {error}"),
                "write days = [\"mon\"], from = \"22:00\", to = \"06:00\", or from and to as 2026-12-24T18:00",
            ),
        }
    }
    if windows.len() < raw.window.len() {
        return;
    }
    match Calendar::new(raw.time_zone, windows) {
        Ok(calendar) => {
            let windows = match raw.default {
                Default::Open => Meaning::Closed,
                Default::Closed => Meaning::Open,
            };
            freezes.push(Freeze { name, scope, windows, calendar, why: raw.why });
        }
        Err(error) => complaints.at(
            raw.name.span(),
            format!("freeze {name}: {error}"),
            "give it at least one [[freeze.window]] that ends after it begins",
        ),
    }
}

fn read(raw: &RawWindow) -> Result<Window, crate::calendar::InvalidTime> {
    fn both<T: FromStr>(raw: &RawWindow) -> Result<(T, T), T::Err> {
        Ok((raw.from.parse()?, raw.to.parse()?))
    }
    match &raw.days {
        Some(days) => both::<ClockTime>(raw).map(|(from, to)| Window::Weekly { days: days.clone(), from, to }),
        None => both::<LocalTime>(raw).map(|(from, to)| Window::Once { from, to }),
    }
}
