//! Whose playbooks are admitted. Called for [`super::PersonRequest::AdmitPlaybook`] and
//! [`super::PersonRequest::TrustPublisher`]; signatures were verified outside.

use super::{PersonRefusal, unless};
use crate::core::state::State;
use fettle_model::name::{PersonName, PublisherName};
use fettle_model::record::{Body, PlaybookAdmitted, PublisherTrusted};

pub(super) fn trust(state: &State, by: &PersonName, publisher: &PublisherName, key: &str) -> Vec<Body> {
    let trusted = PublisherTrusted { publisher: publisher.clone(), key: key.to_owned(), by: by.clone() };
    unless(state.people.trusts(publisher, key), Body::PublisherTrusted(Box::new(trusted)))
}

pub(super) fn admit(
    state: &State,
    by: &PersonName,
    admission: &PlaybookAdmitted,
    key: &str,
) -> Result<Vec<Body>, PersonRefusal> {
    if !state.people.trusts(&admission.publisher, key) {
        return Err(PersonRefusal::PublisherNotTrusted(admission.publisher.clone()));
    }
    let name = &admission.manifest.playbook.name;
    // Whoever published a name first keeps it: another publisher's package of the same name would
    // inherit its breakers, its configuration and people's trust.
    let other = state.playbooks.named(name).find(|known| known.admission.publisher != admission.publisher);
    if let Some(other) = other {
        let publisher = other.admission.publisher.clone();
        return Err(PersonRefusal::PublisherDiffers { playbook: name.clone(), publisher });
    }
    let known = state.playbook(&admission.digest).is_some();
    let admission = PlaybookAdmitted { by: by.clone(), ..admission.clone() };
    Ok(unless(known, Body::PlaybookAdmitted(Box::new(admission))))
}
