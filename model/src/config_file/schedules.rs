//! `[[schedule]]` as it is written in files, and what is wrong with it. Called by [`super::parse`] alone.

use super::raw::RawHosts;
use super::{Complaints, list_of, selected};
use crate::calendar::{ClockTime, Moments, Weekday, ZoneName};
use crate::escalation::Rung;
use crate::name::{RemediationName, ScheduleName};
use crate::schedule::Schedule;
use serde::Deserialize;
use std::collections::BTreeSet;
use toml::Spanned;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSchedule {
    name: Spanned<ScheduleName>,
    pub(super) remediation: Spanned<RemediationName>,
    #[serde(default)]
    rung: Rung,
    #[serde(default)]
    drill: u32,
    hosts: Spanned<RawHosts>,
    time_zone: ZoneName,
    days: Spanned<BTreeSet<Weekday>>,
    at: ClockTime,
}

/// Takes the schedule in, or complains.
pub(super) fn add(
    raw: &RawSchedule,
    remediations: &BTreeSet<RemediationName>,
    schedules: &mut Vec<Schedule>,
    complaints: &mut Complaints<'_>,
) {
    let name = raw.name.get_ref().clone();
    if schedules.iter().any(|schedule| schedule.name == name) {
        complaints.at(raw.name.span(), format!("a second schedule is named {name}"), "give it another name");
        return;
    }
    let remediation = raw.remediation.get_ref().clone();
    if !remediations.contains(&remediation) {
        complaints.at(
            raw.remediation.span(),
            format!("schedule {name} names the remediation {remediation}, which is not defined"),
            list_of("define it", remediations.iter()),
        );
        return;
    }
    let Some(hosts) = selected(&raw.hosts, &format!("schedule {name}"), complaints) else { return };
    match Moments::new(raw.time_zone.clone(), raw.days.get_ref().clone(), raw.at) {
        Ok(at) => schedules.push(Schedule { name, remediation, rung: raw.rung, drill: raw.drill, hosts, at }),
        Err(error) => {
            complaints.at(raw.days.span(), format!("schedule {name}: {error}"), "write for example days = [\"mon\"]");
        }
    }
}
