//! The playbooks of the tests: versions of one manifest under several names.

use super::*;
use fettle_controlplane::core::SignedReport;
use fettle_model::digest::PlaybookDigest;
use fettle_model::playbook::Manifest;
use fettle_model::record::PlaybookAdmitted;
use fettle_model::scenarios::{ScenarioReport, ScenarioResult, ScenarioRun};

pub(crate) const PUBLISHER_KEY: &str = "cHVibGlzaGVyIGtleSBvZiB0aGUgdGVzdHMsIDMyIGI=";

const MANIFEST: &str = r#"
manifest = 1

[playbook]
name = "restart-service"
version = "1.0.0"
summary = "Restarts a service"
owners = ["sre"]
host = "fettle:host@0.1.0"

[[grant]]
label = "worker"
kind = "service"
actions = ["restart"]
why = "to restart it"

[[grant]]
label = "check"
kind = "health"
why = "to see whether it helped"

[limits]
actions = 3
duration = "2m"

[confirm]
health = "check"
stable = "10s"
within = "1m"

[on-failure]
undo = "leave"
why = "a restart cannot be undone"

[[drill]]
fault = "fill-disk"
on = "check"

[[drill]]
fault = "stop-service"
on = "worker"
"#;

/// The one playbook that only does what can be undone.
pub(crate) const START_SERVICE: &str = "start-service";

pub(crate) fn version(name: &str, version: &str) -> PlaybookVersion {
    PlaybookVersion {
        name: name.parse().expect("a name"),
        digest: PlaybookDigest::of(format!("{name} {version}").as_bytes()),
    }
}

/// A publisher's word that a scenario of a version passed.
pub(crate) fn report(version: &PlaybookVersion) -> SignedReport {
    let run = ScenarioRun {
        file: DocumentDigest::of(b"hangs.toml"),
        title: "hangs".to_owned(),
        ended: Ending::Succeeded,
        errors: 20,
        crashes: 12,
        result: ScenarioResult::Passed,
    };
    let report = ScenarioReport { digest: version.digest, scenarios: vec![run] };
    SignedReport { report, signed: format!("of {}", version.digest) }
}

/// A version with its publisher's word on its scenarios.
pub(crate) fn admit(name: &str, number: &str, publisher: &str) -> PersonRequest {
    let said = report(&version(name, number));
    admit_with(name, number, publisher, Some(said))
}

pub(crate) fn admit_with(name: &str, number: &str, publisher: &str, report: Option<SignedReport>) -> PersonRequest {
    let mut manifest = Manifest::from_toml(MANIFEST).expect("a sound manifest");
    if name == START_SERVICE {
        manifest.grants.iter_mut().filter(|grant| !grant.actions.is_empty()).for_each(|grant| {
            grant.actions = std::collections::BTreeSet::from([Action::Start]);
        });
    }
    manifest.playbook.name = name.parse().expect("a name");
    number.clone_into(&mut manifest.playbook.version);
    PersonRequest::AdmitPlaybook {
        admission: Box::new(PlaybookAdmitted {
            digest: version(name, number).digest,
            manifest,
            publisher: publisher.parse().expect("a name"),
            key: KeyId::of(b"publisher"),
            publication: "{}".to_owned(),
            imports: Vec::new(),
            size_bytes: 1,
            by: "somebody".parse().expect("a name"),
        }),
        report: report.map(Box::new),
        key: PUBLISHER_KEY.to_owned(),
    }
}
