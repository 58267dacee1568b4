//! What a new configuration changes, item by item. Pure.

use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::configuration::Declared;
use fettle_model::freeze::Freeze;
use fettle_model::remediation::Remediation;
use fettle_model::rollout::RolloutLimits;
use fettle_model::schedule::Schedule;
use fettle_model::service::Service;
use serde::Serialize;
use std::fmt;

/// What changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Difference {
    services: Vec<Item>,
    remediations: Vec<Item>,
    freezes: Vec<Item>,
    schedules: Vec<Item>,
    breakers: Vec<&'static str>,
    rollout: Vec<&'static str>,
    promotion: Vec<&'static str>,
}

/// One thing that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Item {
    change: Change,
    name: String,
    /// More, for people: what of it changes.
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    Added,
    Removed,
    Changed,
}

impl Difference {
    pub(super) const fn is_empty(&self) -> bool {
        let Self { services, remediations, freezes, schedules, breakers, rollout, promotion } = self;
        services.is_empty()
            && remediations.is_empty()
            && freezes.is_empty()
            && schedules.is_empty()
            && breakers.is_empty()
            && rollout.is_empty()
            && promotion.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            ("service", &self.services),
            ("remediation", &self.remediations),
            ("freeze", &self.freezes),
            ("schedule", &self.schedules),
        ];
        for (kind, items) in kinds {
            for Item { change, name, detail } in items {
                let mark = match change {
                    Change::Added => '+',
                    Change::Removed => '-',
                    Change::Changed => '~',
                };
                let space = if detail.is_empty() { "" } else { "  " };
                writeln!(f, "{mark} {kind} {name}{space}{detail}")?;
            }
        }
        if !self.breakers.is_empty() {
            writeln!(f, "~ breakers  {}", self.breakers.join(", "))?;
        }
        if !self.rollout.is_empty() {
            writeln!(f, "~ rollout  {}", self.rollout.join(", "))?;
        }
        if !self.promotion.is_empty() {
            writeln!(f, "~ promotion  {}", self.promotion.join(", "))?;
        }
        Ok(())
    }
}

pub(super) fn difference(old: &Declared, new: &Declared) -> Difference {
    // Destructured, so that a new part cannot be forgotten here.
    let Declared { services, remediations, breakers, freezes, schedules, rollout, promotion } = new;
    let named = |answer: &Remediation| answer.name.to_string();
    Difference {
        services: items(&old.services, services, |service| service.name.to_string(), changed_service),
        remediations: items(&old.remediations, remediations, named, changed_remediation),
        freezes: items(&old.freezes, freezes, |freeze| freeze.name.to_string(), changed_freeze),
        schedules: items(&old.schedules, schedules, |schedule| schedule.name.to_string(), changed_schedule),
        breakers: changed_limits(&old.breakers, breakers),
        rollout: changed_rollout(&old.rollout, rollout),
        promotion: if *promotion == old.promotion { Vec::new() } else { vec!["after"] },
    }
}

fn items<T: PartialEq>(
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> String,
    detail: impl Fn(&T, &T) -> String,
) -> Vec<Item> {
    let item = |change, thing: &T, detail: String| Item { change, name: name(thing), detail };
    let twin = |among: &'_ [T], thing: &T| among.iter().position(|other| name(other) == name(thing));
    let mut items = Vec::new();
    for thing in new {
        match twin(old, thing).and_then(|at| old.get(at)) {
            None => items.push(item(Change::Added, thing, String::new())),
            Some(before) if before != thing => items.push(item(Change::Changed, thing, detail(before, thing))),
            Some(_) => {}
        }
    }
    let gone = old.iter().filter(|thing| twin(new, thing).is_none());
    items.extend(gone.map(|thing| item(Change::Removed, thing, String::new())));
    items
}

fn changed_service(old: &Service, new: &Service) -> String {
    // Destructured, so that a new part cannot be forgotten here.
    let Service { name: _, owner, tier, hosts, checks } = new;
    let parts = [
        ("owner", *owner != old.owner),
        ("tier", *tier != old.tier),
        ("hosts", *hosts != old.hosts),
        ("checks", *checks != old.checks),
    ];
    listed(&parts)
}

fn changed_remediation(old: &Remediation, new: &Remediation) -> String {
    let Remediation { name: _, service, check, playbook, parameters, modes, guard, escalation, offline } = new;
    let parts = [
        ("service", *service != old.service),
        ("check", *check != old.check),
        ("playbook", *playbook != old.playbook),
        ("parameters", *parameters != old.parameters),
        ("modes", *modes != old.modes),
        ("guard", *guard != old.guard),
        ("then", *escalation != old.escalation),
        ("offline", *offline != old.offline),
    ];
    listed(&parts)
}

fn changed_freeze(old: &Freeze, new: &Freeze) -> String {
    let Freeze { name: _, scope, windows, calendar, why } = new;
    let parts = [
        ("scope", *scope != old.scope),
        ("default", *windows != old.windows),
        ("time-zone", calendar.zone() != old.calendar.zone()),
        ("windows", calendar.windows() != old.calendar.windows()),
        ("why", *why != old.why),
    ];
    listed(&parts)
}

fn changed_schedule(old: &Schedule, new: &Schedule) -> String {
    let Schedule { name: _, remediation, rung, drill, hosts, at } = new;
    let parts = [
        ("remediation", *remediation != old.remediation),
        ("rung", *rung != old.rung),
        ("drill", *drill != old.drill),
        ("hosts", *hosts != old.hosts),
        ("at", *at != old.at),
    ];
    listed(&parts)
}

fn changed_limits(old: &BreakerLimits, new: &BreakerLimits) -> Vec<&'static str> {
    let BreakerLimits {
        environment_failures,
        global_failures,
        failure_window,
        cooldown,
        storm,
        storm_window,
        blindness,
        silent_after,
        log_lag,
        steady_for,
    } = new;
    let parts = [
        ("environment-failures", *environment_failures != old.environment_failures),
        ("global-failures", *global_failures != old.global_failures),
        ("failure-window", *failure_window != old.failure_window),
        ("cooldown", *cooldown != old.cooldown),
        ("storm", *storm != old.storm),
        ("storm-window", *storm_window != old.storm_window),
        ("blindness", *blindness != old.blindness),
        ("silent-after", *silent_after != old.silent_after),
        ("log-lag", *log_lag != old.log_lag),
        ("steady-for", *steady_for != old.steady_for),
    ];
    parts.iter().filter(|(_, differs)| *differs).map(|(part, _)| *part).collect()
}

fn changed_rollout(old: &RolloutLimits, new: &RolloutLimits) -> Vec<&'static str> {
    let RolloutLimits { soak, part } = new;
    let parts = [("soak", *soak != old.soak), ("part", *part != old.part)];
    parts.iter().filter(|(_, differs)| *differs).map(|(part, _)| *part).collect()
}

fn listed(parts: &[(&str, bool)]) -> String {
    let changed: Vec<&str> = parts.iter().filter(|(_, differs)| *differs).map(|(part, _)| *part).collect();
    changed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_model::service::{Selector, Tier};

    fn service(name: &str, tier: u8) -> Service {
        Service {
            name: name.parse().expect("a name"),
            owner: "shop".parse().expect("a name"),
            tier: Tier(tier),
            hosts: Selector::new(["staging".parse().expect("a name")].into(), [].into()).expect("not empty"),
            checks: Vec::new(),
        }
    }

    #[test]
    fn what_is_added_changed_and_removed_is_named() {
        let old = [service("a", 1), service("b", 1), service("c", 1)];
        let new = [service("a", 1), service("b", 2), service("d", 1)];
        let declared = |services: &[Service]| Declared { services: services.to_vec(), ..Declared::default() };
        let (old, new) = (declared(&old), declared(&new));
        let found = difference(&old, &new);
        assert_eq!(found.to_string(), "~ service b  tier\n+ service d\n- service c\n");
        assert!(difference(&old, &old).is_empty());
    }
}
