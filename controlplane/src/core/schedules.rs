//! Schedules of drills: what is due, once for each due time whoever leads and however often the process starts anew.
//!
//! What was handled is told from the log: a drill that names its due time, or a record that it was refused. Due times
//! that passed while nobody led are one: the newest is handled, late.

use super::decide::people::{Wanted, start_drill};
use super::entry::Stamp;
use super::hosts::Host;
use super::now::Now;
use super::playbooks::{Admitted, KnownEvidence};
use super::state::State;
use fettle_model::check::CheckRef;
use fettle_model::configuration::Configuration;
use fettle_model::evidence::{Fault, HostClass};
use fettle_model::host::DrillConsent;
use fettle_model::id::{DrillId, HostId};
use fettle_model::name::{PersonName, ScheduleName, ServiceName};
use fettle_model::playbook::DrillDeclaration;
use fettle_model::record::{Body, ConfigurationSet};
use fettle_model::schedule::{DueTime, Schedule, ScheduleRefused};
use fettle_model::time::UnixMillis;
use std::collections::BTreeMap;

/// The schedules that are in force, and how the newest due time of each was handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Schedules {
    known: BTreeMap<ScheduleName, Known>,
    set_by: Option<PersonName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// Since when it has stood as it does. What was due before is none of its due times.
    since: UnixMillis,
    last: Option<Handled>,
}

/// A due time that was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Which.
    pub due: UnixMillis,
    /// Where and when.
    pub stamp: Stamp,
    /// How.
    pub how: How,
}

/// What became of a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// A drill began.
    Started(DrillId),
    /// None did.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

impl Schedules {
    /// The configuration is replaced. A schedule that stays as it is goes on.
    pub(in crate::core) fn configure(&mut self, before: &Configuration, set: &ConfigurationSet, at: UnixMillis) {
        let schedules = set.configuration.schedules().iter().map(|schedule| {
            let last = self.known.get(&schedule.name);
            let since = last.filter(|_| before.schedules().contains(schedule)).map_or(at, |known| known.since);
            (schedule.name.clone(), Known { since, last: last.and_then(|known| known.last.clone()) })
        });
        self.known = schedules.collect();
        self.set_by = Some(set.by.clone());
    }

    pub(in crate::core) fn started(&mut self, was: &DueTime, drill: DrillId, stamp: Stamp) {
        self.handled(was, How::Started(drill), stamp);
    }

    pub(in crate::core) fn refused(&mut self, refused: &ScheduleRefused, stamp: Stamp) {
        self.handled(&refused.was, How::Refused { reason: refused.reason.clone() }, stamp);
    }

    fn handled(&mut self, was: &DueTime, how: How, stamp: Stamp) {
        if let Some(known) = self.known.get_mut(&was.schedule) {
            known.last = Some(Handled { due: was.due, stamp, how });
        }
    }

    /// How the newest due time of a schedule was handled.
    pub(in crate::core) fn last(&self, schedule: &ScheduleName) -> Option<&Handled> {
        self.known.get(schedule)?.last.as_ref()
    }

    /// The newest due time of a schedule, while it is not handled.
    fn due(&self, schedule: &Schedule, wall: UnixMillis) -> Option<UnixMillis> {
        let Known { since, last } = self.known.get(&schedule.name)?;
        let handled = last.as_ref().map_or(*since, |last| last.due.max(*since));
        schedule.at.newest(wall).filter(|due| *due > handled)
    }
}

/// What is due, decided: a drill that begins, or the refusal of one. One at a time.
pub(in crate::core) fn due(state: &State, now: Now, drill: DrillId) -> Vec<Body> {
    let schedules = state.configuration().schedules().iter();
    let mut due = schedules.filter_map(|schedule| Some((schedule, state.schedules.due(schedule, now.wall)?)));
    let (Some((schedule, due)), Some(by)) = (due.next(), &state.schedules.set_by) else { return Vec::new() };
    let was = DueTime { schedule: schedule.name.clone(), due };
    match begin(state, now, schedule, &was, drill, by) {
        Ok(bodies) => bodies,
        Err((host, reason)) => vec![Body::ScheduleRefused(Box::new(ScheduleRefused { was, host, reason }))],
    }
}

fn begin(
    state: &State,
    now: Now,
    schedule: &Schedule,
    was: &DueTime,
    drill: DrillId,
    by: &PersonName,
) -> Result<Vec<Body>, (Option<HostId>, String)> {
    let nothing = |what: &str| (None, what.to_owned());
    let configuration = state.configuration();
    let answer = configuration.remediation(&schedule.remediation);
    let remediation = answer.and_then(|answer| answer.at(schedule.rung));
    let remediation = remediation.ok_or_else(|| nothing("its remediation has no such playbook"))?;
    let admitted =
        state.playbooks.version(&remediation.playbook).ok_or_else(|| nothing("its playbook is not admitted"))?;
    let drills = &admitted.admission.manifest.drills;
    let declared = usize::try_from(schedule.drill).ok().and_then(|index| drills.get(index));
    let declared = declared.ok_or_else(|| nothing("its playbook declares no such drill"))?;
    let host = chosen(state, schedule, &remediation.service, admitted, declared).ok_or_else(|| {
        nothing("no active staging host that it selects carries the service and allows drills with this fault")
    })?;
    let check = CheckRef { service: remediation.service.clone(), check: remediation.check.clone() };
    let fault = Fault { kind: declared.fault, on: declared.on.clone() };
    let (rung, scheduled) = (schedule.rung, Some(was.clone()));
    let wanted = Wanted { drill, host: host.id, check: &check, fault: &fault, rung, by, scheduled };
    start_drill(state, now, wanted).map_err(|refusal| (Some(host.id), refusal.to_string()))
}

/// The host whose class's evidence runs out first, so that every class has its turn; one that is drilled already
/// comes last.
fn chosen<'a>(
    state: &'a State,
    schedule: &Schedule,
    service: &ServiceName,
    admitted: &Admitted,
    declared: &DrillDeclaration,
) -> Option<&'a Host> {
    let fits = |host: &&Host| {
        let consents = host.description.as_ref().is_some_and(|description| {
            match description.consents_to(declared.fault, service) {
                DrillConsent::Allowed => true,
                DrillConsent::Refused => false,
            }
        });
        let selected = schedule.hosts.selects(&host.name, &host.environment);
        selected && host.may_act() && host.environment.is_staging() && host.carries(service) && consents
    };
    let proved_until = |host: &Host| {
        let class = host.description.as_ref().and_then(|description| HostClass::of(description, service));
        let whole = admitted.evidence.iter().filter(|known| known.is_whole());
        let of_class = whole.filter(|known| Some(&known.evidence.class) == class.as_ref());
        of_class.map(|known: &KnownEvidence| known.evidence.expires_at).max()
    };
    let rank = |host: &&Host| (state.drills.on_host(host.id).is_some(), proved_until(host), host.name.clone());
    state.hosts().filter(fits).min_by_key(rank)
}
