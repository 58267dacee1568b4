//! Incidents: what people were called to.

use super::entry::Stamp;
use fettle_model::incident::IncidentOpened;
use std::collections::VecDeque;

/// Incidents kept for views; older ones are in the journal.
const MAX_INCIDENTS: usize = 1_000;

/// An incident with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownIncident {
    /// The incident.
    pub incident: IncidentOpened,
    /// Its place in the log.
    pub stamp: Stamp,
}

/// The newest incidents, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::core) struct Incidents(VecDeque<KnownIncident>);

impl Incidents {
    pub(in crate::core) fn open(&mut self, incident: &IncidentOpened, stamp: Stamp) {
        self.0.push_back(KnownIncident { incident: incident.clone(), stamp });
        while self.0.len() > MAX_INCIDENTS {
            self.0.pop_front();
        }
    }

    pub(in crate::core) fn iter(&self) -> impl DoubleEndedIterator<Item = &KnownIncident> {
        self.0.iter()
    }
}
