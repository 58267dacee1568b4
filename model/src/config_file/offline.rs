//! `[remediation.offline]` as it is written in files, and what is wrong with it. Called by [`super::parse`] and
//! [`super::Parsed::resolve`] alone.

use super::Complaints;
use super::raw::RawRemediation;
use crate::guard::{Amount, Guard};
use crate::offline::{DEFAULT_LASTS, MAX_LASTS, MAX_UNITS, MIN_LASTS, Offline, Units};
use crate::time::HumanDuration;
use serde::Deserialize;
use toml::Spanned;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawOffline {
    hosts: Spanned<Amount>,
    units: Option<Spanned<u32>>,
    lasts: Option<Spanned<HumanDuration>>,
}

impl RawOffline {
    /// `None` where [`complain`] has complained about the number of units.
    pub(super) fn parsed(&self) -> Option<Offline> {
        let units = self.units.as_ref().map_or(Ok(Units::ONE), |units| Units::new(*units.get_ref())).ok()?;
        let lasts = self.lasts.as_ref().map_or(DEFAULT_LASTS, |lasts| lasts.get_ref().0);
        Some(Offline { hosts: *self.hosts.get_ref(), units, lasts })
    }
}

/// What is wrong with a remediation's budget in advance.
pub(super) fn complain(raw: &RawRemediation, complaints: &mut Complaints<'_>) {
    let Some(offline) = &raw.offline else { return };
    let (name, offline) = (raw.name.get_ref(), offline.get_ref());
    let defaults = Guard::default();
    let (hosts, in_flight) = (*offline.hosts.get_ref(), raw.guard.max_in_flight.unwrap_or(defaults.max_in_flight));
    match hosts {
        Amount::Count(0) | Amount::Percent(0) => complaints.at(
            offline.hosts.span(),
            format!("remediation {name} gives a budget in advance to no host"),
            "write for example hosts = 1, or remove the table",
        ),
        Amount::Count(_) | Amount::Percent(_) if !leaves_a_slot(hosts, in_flight) => complaints.at(
            offline.hosts.span(),
            format!(
                "remediation {name} gives a budget in advance to {hosts} hosts, and {in_flight} may be in flight: \
                 nothing is left for hosts that are connected"
            ),
            "raise max-in-flight above hosts in [remediation.guard]",
        ),
        Amount::Count(_) | Amount::Percent(_) => {}
    }
    if let Some(units) = &offline.units {
        let attempts = raw.guard.max_attempts.unwrap_or(defaults.max_attempts);
        match Units::new(*units.get_ref()) {
            Err(_) => complaints.at(
                units.span(),
                format!("remediation {name}: units = {} is not from 1 to {MAX_UNITS}", units.get_ref()),
                "write for example units = 2",
            ),
            Ok(units_given) if units_given.get() > attempts => complaints.at(
                units.span(),
                format!("remediation {name} gives {units_given} units in advance, and max-attempts is {attempts}"),
                "give at most as many as there are attempts",
            ),
            Ok(_) => {}
        }
    }
    if let Some(lasts) = &offline.lasts
        && !(MIN_LASTS..=MAX_LASTS).contains(&lasts.get_ref().0)
    {
        complaints.at(
            lasts.span(),
            format!("remediation {name}: lasts = \"{}\" is not from 10m to 24h", lasts.get_ref()),
            "write for example lasts = \"4h\"",
        );
    }
}

/// Whether hosts that are connected have a slot, as far as it can be told without the group's size; the governor asks
/// again with it.
const fn leaves_a_slot(hosts: Amount, in_flight: Amount) -> bool {
    match (hosts, in_flight) {
        (Amount::Count(hosts), Amount::Count(in_flight)) => hosts < in_flight,
        (Amount::Percent(hosts), Amount::Percent(in_flight)) => hosts < in_flight,
        (Amount::Percent(_), Amount::Count(in_flight)) => in_flight > 1,
        (Amount::Count(_), Amount::Percent(_)) => true,
    }
}
