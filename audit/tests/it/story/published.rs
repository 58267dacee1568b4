//! What the story's publisher signed: a playbook's version, and what is said of its scenarios.

use super::{manifest, parsed, version};
use crate::log::publisher_key;
use fettle_audit::envelope::Envelope;
use fettle_model::digest::DocumentDigest;
use fettle_model::playbook::{PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::record::PlaybookAdmitted;
use fettle_model::run::Ending;
use fettle_model::scenarios::{SCENARIOS_PAYLOAD_TYPE, ScenarioReport, ScenarioResult, ScenarioRun, ScenariosPassed};

/// What the publisher says of the scenarios.
pub(crate) fn report() -> ScenarioReport {
    let run = ScenarioRun {
        file: DocumentDigest::of(b"hangs.toml"),
        title: "hangs".to_owned(),
        ended: Ending::Succeeded,
        errors: 20,
        crashes: 12,
        result: ScenarioResult::Passed,
    };
    ScenarioReport { digest: version().digest, scenarios: vec![run] }
}

/// The record of a report, signed by the publisher.
pub(crate) fn scenarios_passed(report: ScenarioReport) -> ScenariosPassed {
    let payload = serde_json::to_vec(&report).expect("JSON");
    let envelope = Envelope::seal(SCENARIOS_PAYLOAD_TYPE, &payload, &publisher_key()).expect("sealed");
    ScenariosPassed {
        playbook: version(),
        publisher: parsed("acme"),
        key: publisher_key().public().key_id(),
        report,
        signed: String::from_utf8(envelope.into_bytes()).expect("text"),
        by: parsed("alice"),
    }
}

pub(super) fn admitted() -> PlaybookAdmitted {
    let key = publisher_key();
    let publication = Publication {
        name: version().name,
        version: "1.0.0".to_owned(),
        digest: version().digest,
        publisher: parsed("acme"),
        key: key.public().key_id(),
    };
    let payload = serde_json::to_vec(&publication).expect("JSON");
    let envelope = Envelope::seal(PUBLICATION_PAYLOAD_TYPE, &payload, &key).expect("sealed");
    PlaybookAdmitted {
        digest: version().digest,
        manifest: manifest(),
        publisher: parsed("acme"),
        key: key.public().key_id(),
        publication: String::from_utf8(envelope.into_bytes()).expect("text"),
        imports: vec!["fettle:host/services@0.1.0".to_owned()],
        size_bytes: 9,
        by: parsed("alice"),
    }
}
