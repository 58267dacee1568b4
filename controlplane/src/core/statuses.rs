//! The newest status of every check of one host, in little room: a fleet has millions of these.

use super::entry::Stamp;
use fettle_model::check::{CheckRef, Transition};
use fettle_model::name::{CheckName, ServiceName};
use fettle_model::time::UnixMillis;

/// Since when a check has been healthy without interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) struct HealthySince {
    pub(in crate::core) received_at: UnixMillis,
    pub(in crate::core) agent_at: UnixMillis,
}

/// The newest status of one check on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckState {
    /// The transition with the highest epoch.
    pub transition: Transition,
    /// Its place in the log.
    pub seen: Stamp,
    pub(in crate::core) healthy_since: Option<HealthySince>,
}

/// The newest statuses of a host's checks, in the order of their names. A map's nodes have room for eleven and most
/// hosts have fewer checks; a new check comes seldom enough to move those after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statuses(Vec<CheckState>);

impl Statuses {
    /// The newest status of a check.
    #[must_use]
    pub fn get(&self, check: &CheckRef) -> Option<&CheckState> {
        self.of(&check.service, &check.check)
    }

    /// The newest status of a service's check.
    #[must_use]
    pub fn of(&self, service: &ServiceName, check: &CheckName) -> Option<&CheckState> {
        self.find(service, check).ok().and_then(|index| self.0.get(index))
    }

    /// All of them, in the order of the checks' names.
    pub fn iter(&self) -> impl Iterator<Item = &CheckState> {
        self.0.iter()
    }

    /// How many checks there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a status in the place of the one before.
    pub(in crate::core) fn keep(&mut self, status: CheckState) {
        let of = &status.transition.of;
        match self.find(&of.service, &of.check) {
            Ok(index) => {
                if let Some(known) = self.0.get_mut(index) {
                    *known = status;
                }
            }
            Err(index) => {
                self.0.reserve_exact(1);
                self.0.insert(index, status);
            }
        }
    }

    fn find(&self, service: &ServiceName, check: &CheckName) -> Result<usize, usize> {
        self.0.binary_search_by(|known| {
            let of = &known.transition.of;
            (&of.service, &of.check).cmp(&(service, check))
        })
    }
}
