//! Whose playbooks are admitted, and what is said of their scenarios. Called for [`super::PersonRequest::AdmitPlaybook`] and
//! [`super::PersonRequest::TrustPublisher`]; signatures were verified outside.

use super::{PersonRefusal, SignedReport, unless};
use crate::core::state::State;
use fettle_model::digest::EnvelopeDigest;
use fettle_model::name::{PersonName, PublisherName};
use fettle_model::record::{Body, PlaybookAdmitted, PublisherTrusted};
use fettle_model::remediation::PlaybookVersion;
use fettle_model::scenarios::ScenariosPassed;

pub(super) fn trust(state: &State, by: &PersonName, publisher: &PublisherName, key: &str) -> Vec<Body> {
    let trusted = PublisherTrusted { publisher: publisher.clone(), key: key.to_owned(), by: by.clone() };
    unless(state.people.trusts(publisher, key), Body::PublisherTrusted(Box::new(trusted)))
}

pub(super) fn admit(
    state: &State,
    by: &PersonName,
    admission: &PlaybookAdmitted,
    report: Option<&SignedReport>,
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
    let known = state.playbook(&admission.digest);
    let second = report.map(|report| second_stage(by, admission, report)).transpose()?;
    let said_before = |passed: &ScenariosPassed| {
        let signed = EnvelopeDigest::of(passed.signed.as_bytes());
        known.and_then(|known| known.scenarios.as_ref()).is_some_and(|said| said.signed == signed)
    };
    let second = second.filter(|passed| !said_before(passed));
    let admission = PlaybookAdmitted { by: by.clone(), ..admission.clone() };
    let mut bodies = unless(known.is_some(), Body::PlaybookAdmitted(Box::new(admission)));
    bodies.extend(second.map(|passed| Body::ScenariosPassed(Box::new(passed))));
    Ok(bodies)
}

/// The publisher's word on the scenarios, once it says of this version that they passed.
fn second_stage(
    by: &PersonName,
    admission: &PlaybookAdmitted,
    said: &SignedReport,
) -> Result<ScenariosPassed, PersonRefusal> {
    let SignedReport { report, signed } = said;
    report.check(&admission.digest).map_err(PersonRefusal::ScenarioReport)?;
    let name = admission.manifest.playbook.name.clone();
    Ok(ScenariosPassed {
        playbook: PlaybookVersion { name, digest: admission.digest },
        publisher: admission.publisher.clone(),
        key: admission.key,
        report: report.clone(),
        signed: signed.clone(),
        by: by.clone(),
    })
}
