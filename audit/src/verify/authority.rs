//! Authority over people: what the floors under every policy say of whoever gives and takes roles. They are compiled in, so
//! they held at every position of the log, whatever else policies said there.

use super::break_glass::Glasses;
use super::finding::{At, Rule};
use super::people::People;
use fettle_model::identity::{HeldRole, Role};
use fettle_model::name::PersonName;
use fettle_model::record::{Body, Record, RoleGranted};

/// The first person of an installation gets these many roles from nobody, right after the log was opened.
const FOUNDING_ROLES: u64 = 2;

/// Sees each record before what it changes stands.
pub(super) fn judge(record: &Record, people: &People, glasses: &Glasses, at: &mut At<'_>) {
    if let Body::RoleGranted(granted) = &record.body {
        let RoleGranted { person, by, .. } = granted.as_ref();
        match by {
            Some(by) if by == person => at.flag(Rule::Role, format!("{person} gave themselves a role")),
            Some(_) => {}
            None if at.position.0 <= FOUNDING_ROLES => {}
            None => at.flag(Rule::Role, format!("nobody gave {person} a role")),
        }
    }
    let administrator = HeldRole::from(Role::Administrator);
    let holds = |by: &PersonName| people.holds(by, &administrator) || glasses.held(by).as_ref() == Some(&administrator);
    if let Some(by) = administered_by(&record.body).filter(|by| !holds(by)) {
        at.flag(Rule::Role, format!("{} by {by}, who was no administrator", record.body.kind().as_str()));
    }
}

/// Who did what only administrators do.
fn administered_by(body: &Body) -> Option<&PersonName> {
    if let Body::RoleGranted(granted) = body {
        granted.by.as_ref()
    } else if let Body::RoleRevoked(revoked) = body {
        Some(&revoked.by)
    } else if let Body::PersonRevoked(revoked) = body {
        Some(&revoked.by)
    } else if let Body::IdentityRegistered(registered) = body {
        Some(&registered.by)
    } else if let Body::PublisherTrusted(trusted) = body {
        Some(&trusted.by)
    } else {
        None
    }
}
