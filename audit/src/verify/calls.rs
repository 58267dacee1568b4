//! Calls to people: whether those that must follow a record do.
//!
//! What follows from a record is written with it, before anything else is decided. So the call comes before the next
//! record that somebody else than the control plane signed, and before the next that must be followed by one.

use super::finding::{At, Findings, Rule};
use super::problems::Fingerprint;
use fettle_model::counter::LogPosition;
use fettle_model::record::{Author, Body, Record};

/// The call that is to follow, and after which record.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls(Option<(Fingerprint, LogPosition)>);

fn words((of, position): &(Fingerprint, LogPosition)) -> String {
    format!("people were not called to {} on {}, where nothing was left to try at {position}", of.check, of.host)
}

impl Calls {
    /// Sees each record.
    pub(super) fn see(&mut self, record: &Record, at: &mut At<'_>) {
        let Some(due) = &self.0 else { return };
        if let Body::IncidentOpened(incident) = &record.body
            && incident.host == Some(due.0.host)
            && incident.check.as_ref() == Some(&due.0.check)
        {
            self.0 = None;
        } else if record.author != Author::ControlPlane {
            at.flag(Rule::Called, words(due));
            self.0 = None;
        }
    }

    /// People must be called to this problem after this record.
    pub(super) fn must_follow(&mut self, of: Fingerprint, at: &mut At<'_>) {
        if let Some(missed) = self.0.replace((of, at.position)) {
            at.flag(Rule::Called, words(&missed));
        }
    }

    /// What only the end of the log shows: it is cut between decisions, never within one.
    pub(super) fn finish(&self, findings: &mut Findings) {
        if let Some(missed) = &self.0 {
            findings.add(Some(missed.1), Rule::Called, words(missed));
        }
    }
}
