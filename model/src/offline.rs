//! Budgets given in advance: what a host may do while it cannot reach the control plane (design, section 6).
//!
//! A remediation may say so in `[remediation.offline]`. A host that the control plane grants it to holds one permit
//! of several *units*: each is one run, each is debited before the host has it, and the permit holds one slot of
//! every scope for as long as a run under it may have effects. Only the agent's own record gives units back.
//! Sources: O'Neil, "The Escrow Transactional Method", 1986; security notes, section 5.2.

use crate::guard::{Amount, Guard};
use crate::id::{HostId, PermitId, RunId};
use crate::permit::{Permit, Purpose};
use crate::time::millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Most units of one permit: more attempts than any guard should allow for one problem.
pub const MAX_UNITS: u8 = 16;
/// How long a budget is good for where the configuration does not say.
pub const DEFAULT_LASTS: Duration = Duration::from_hours(4);
/// Shortest: ten times as long as a control plane takes to be started again, so that a host is not renewing all day.
pub const MIN_LASTS: Duration = Duration::from_mins(10);
/// Longest: what was decided a day ago is not what would be decided today.
pub const MAX_LASTS: Duration = Duration::from_hours(24);

/// A number of runs, 1 to [`MAX_UNITS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Units(u8);

/// The number is none of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("units must be a whole number from 1 to {MAX_UNITS}, not {0}")]
pub struct InvalidUnits(pub u32);

impl Units {
    /// What every permit has but one that is given in advance.
    pub const ONE: Self = Self(1);

    /// The number, where it is one of units.
    ///
    /// # Errors
    /// Below 1 or above [`MAX_UNITS`].
    pub fn new(number: u32) -> Result<Self, InvalidUnits> {
        u8::try_from(number).ok().filter(|units| (1..=MAX_UNITS).contains(units)).map(Self).ok_or(InvalidUnits(number))
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0 as u32
    }

    /// Whether it is one.
    #[must_use]
    pub const fn is_one(&self) -> bool {
        self.0 == 1
    }

    /// Each of them.
    pub fn numbers(self) -> impl DoubleEndedIterator<Item = UnitNumber> {
        (1..=self.0).map(UnitNumber)
    }
}

impl TryFrom<u8> for Units {
    type Error = InvalidUnits;

    fn try_from(number: u8) -> Result<Self, InvalidUnits> {
        Self::new(u32::from(number))
    }
}

impl From<Units> for u8 {
    fn from(units: Units) -> Self {
        units.0
    }
}

impl fmt::Display for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which unit of a permit, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitNumber(u8);

impl UnitNumber {
    /// Every number that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=MAX_UNITS).map(Self)
    }

    /// The run of this unit, under a budget whose request named `budget`.
    #[must_use]
    pub const fn run(self, budget: RunId) -> RunId {
        RunId::from_uuid(self.distinguish(*budget.as_uuid()))
    }

    /// Another UUID for each number, by bits that are random in every id that is minted (version 4).
    const fn distinguish(self, id: uuid::Uuid) -> uuid::Uuid {
        uuid::Uuid::from_u128(id.as_u128() ^ ((self.0 as u128) << 32))
    }
}

/// What a remediation allows a host without the control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offline {
    /// Hosts of the group that may hold such a budget at once. Always fewer than may be in flight, so that a slot is left
    /// for those that are connected.
    pub hosts: Amount,
    /// Runs that each of them may begin.
    pub units: Units,
    /// For how long, counted from the agent's request on its own clock.
    #[serde(with = "millis", rename = "lasts_ms")]
    pub lasts: Duration,
}

impl Offline {
    /// Hosts that may hold a budget at once in a group of `group` hosts: as configured, and one below what may be in
    /// flight by the smallest of `guards`, those of all remediations of the service, which share the group's slots.
    #[must_use]
    pub fn most_hosts<'a>(&self, guards: impl IntoIterator<Item = &'a Guard>, group: u32) -> u32 {
        let slots = guards.into_iter().map(|guard| guard.max_in_flight.as_maximum(group)).min().unwrap_or(0);
        self.hosts.as_maximum(group).min(slots.saturating_sub(1))
    }
}

impl Permit {
    /// Whether it was given in advance.
    #[must_use]
    pub const fn is_offline(&self) -> bool {
        match self.purpose {
            Purpose::Offline { .. } => true,
            Purpose::Remediate { .. } | Purpose::InjectFault { .. } | Purpose::Repeat { .. } => false,
        }
    }

    /// The permit for one run under a budget given in advance: as the budget, for one run, under ids that follow from
    /// the budget's. `None` for every other permit, and for a unit that it does not have.
    #[must_use]
    pub fn unit(&self, number: UnitNumber) -> Option<Self> {
        let has = self.is_offline() && self.unit.is_none() && u32::from(number.0) <= self.units.get();
        has.then(|| Self {
            permit: PermitId::from_uuid(number.distinguish(*self.permit.as_uuid())),
            run: number.run(self.run),
            units: Units::ONE,
            unit: Some(number),
            ..self.clone()
        })
    }

    /// The permits for all runs under a budget given in advance.
    pub fn all_units(&self) -> impl DoubleEndedIterator<Item = Self> {
        self.units.numbers().filter_map(|number| self.unit(number))
    }
}

/// An agent's word that it begins no further run under a budget given in advance, and how many it began. What is left
/// is the control plane's again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineReturned {
    /// The budget's permit.
    pub permit: PermitId,
    /// Runs that were begun under it; each has a record of its own, before or after this one.
    pub used: u32,
}

/// A budget given in advance was not returned while it held its slot: the slot is free, and its units are spent until
/// the agent says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineExpired {
    /// The budget's permit.
    pub permit: PermitId,
    /// The host.
    pub host: HostId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Amount;

    #[track_caller]
    fn check(hosts: &str, max_in_flight: &str, group: u32, expected: u32) {
        let amount = |text: &str| -> Amount { text.parse().expect("an amount") };
        let offline = Offline { hosts: amount(hosts), units: Units::ONE, lasts: DEFAULT_LASTS };
        let guard = Guard { max_in_flight: amount(max_in_flight), ..Guard::default() };
        // Another remediation of the service allows more.
        let others = Guard { max_in_flight: amount("100%"), ..Guard::default() };
        assert_eq!(
            offline.most_hosts([&others, &guard], group),
            expected,
            "{hosts} of {group}, {max_in_flight} in flight"
        );
    }

    #[test]
    fn a_slot_is_always_left_for_hosts_that_are_connected() {
        check("2", "3", 10, 2);
        check("10%", "20%", 100, 10);
        // Both round to one.
        check("10%", "20%", 5, 0);
        check("5", "20%", 10, 1);
        check("1", "1", 10, 0);
        check("1", "0", 10, 0);
    }
}
