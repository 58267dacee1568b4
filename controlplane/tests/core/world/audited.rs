//! The offline verifier's reading of a test's log: signed anew with keys that exist, it has to hold every rule.
//!
//! Not of a log in which people sign: their keys, and what they sign, are the tests' own.

use super::*;
use fettle_audit::bundle::{header_line, record_line};
use fettle_audit::key::SigningKey;
use fettle_audit::leaf::leaf_for;
use fettle_audit::note::{NoteSigner, SignatureKind};
use fettle_audit::policy::Policy;
use fettle_audit::signed_record::SignedRecord;
use fettle_audit::verify::{Finding, Rule, Verification};
use fettle_model::playbook::{PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::scenarios::SCENARIOS_PAYLOAD_TYPE;

fn control_plane_key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn publisher_key() -> SigningKey {
    SigningKey::from_seed(&[2; 32])
}

fn agent_key(host: HostId) -> SigningKey {
    let mut seed = [3; 32];
    seed[..16].copy_from_slice(host.as_uuid().as_bytes());
    SigningKey::from_seed(&seed)
}

fn log_key(origin: &str) -> NoteSigner {
    NoteSigner::new(origin.parse().expect("a name"), SigningKey::from_seed(&[4; 32]))
}

fn signed(payload_type: &str, document: &impl serde::Serialize) -> String {
    let payload = serde_json::to_vec(document).expect("JSON");
    let envelope = fettle_audit::envelope::Envelope::seal(payload_type, &payload, &publisher_key()).expect("sealed");
    String::from_utf8(envelope.as_bytes().to_vec()).expect("text")
}

/// What names or carries a key or a signature, with those that exist.
fn with_keys(mut body: Body) -> Body {
    match &mut body {
        Body::LogOpened(opened) => {
            opened.permit_key = control_plane_key().public().to_string();
            opened.log_key = log_key(&opened.origin).verifier(SignatureKind::Ed25519).to_string();
        }
        Body::HostEnrolled(enrolled) => enrolled.record_key = agent_key(enrolled.host).public().to_string(),
        Body::PublisherTrusted(trusted) => trusted.key = publisher_key().public().to_string(),
        Body::PlaybookAdmitted(admitted) => {
            admitted.key = publisher_key().public().key_id();
            let publication = Publication {
                name: admitted.manifest.playbook.name.clone(),
                version: admitted.manifest.playbook.version.clone(),
                digest: admitted.digest,
                publisher: admitted.publisher.clone(),
                key: admitted.key,
            };
            admitted.publication = signed(PUBLICATION_PAYLOAD_TYPE, &publication);
        }
        Body::ScenariosPassed(passed) => {
            passed.key = publisher_key().public().key_id();
            passed.signed = signed(SCENARIOS_PAYLOAD_TYPE, &passed.report);
        }
        _ => {}
    }
    body
}

impl World {
    /// What the verifier finds.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let peoples = |logged: &Logged| {
            let body = &logged.record.body;
            matches!(logged.record.author, Author::Person { .. }) || matches!(body, Body::PersonKeySet(_))
        };
        let Some(Body::LogOpened(opened)) = self.log.first().map(|logged| &logged.record.body) else {
            return Vec::new();
        };
        if self.log.iter().any(peoples) {
            return Vec::new();
        }
        let origin = opened.origin.parse().expect("a name");
        let log_key = log_key(&opened.origin).verifier(SignatureKind::Ed25519);
        let policy = format!("log {log_key}\npermit-key {}\nquorum none\n", control_plane_key().public());
        let policy: Policy = policy.parse().expect("a policy");
        let mut verification = Verification::new(&policy);
        verification.feed(header_line(&origin).as_bytes());
        let mut chains: BTreeMap<HostId, EnvelopeDigest> = BTreeMap::new();
        let mut renamed: BTreeMap<EnvelopeDigest, EnvelopeDigest> = BTreeMap::new();
        for Logged { envelope, received_at, record } in &self.log {
            let Record { mut author, at, body } = record.clone();
            let key = match &mut author {
                Author::Agent { host, previous, .. } => {
                    *previous = chains.get(host).copied();
                    agent_key(*host)
                }
                Author::ControlPlane | Author::Person { .. } => control_plane_key(),
            };
            let mut body = with_keys(body);
            if let Body::ProposalMade(proposal) = &mut body {
                proposal.plan = renamed.get(&proposal.plan).copied().expect("a plan of the log");
            }
            let sealed = SignedRecord::seal(Record { author, at, body }, &key).expect("sealed");
            let digest = sealed.envelope().digest();
            if let Author::Agent { host, .. } = &record.author {
                chains.insert(*host, digest);
            }
            renamed.insert(*envelope, digest);
            verification.feed(&record_line(&leaf_for(&sealed, *received_at), sealed.envelope()));
        }
        let report = verification.finish();
        let expected = |finding: &Finding| match finding.rule {
            // The log has no checkpoint, and a test may end before its runs do.
            Rule::Framing | Rule::OpenRun => true,
            // An agent's own lie, which the control plane takes and acts on.
            Rule::Permit | Rule::Ending | Rule::Offline | Rule::Drill => {
                let at = finding.position.expect("a finding at a record");
                matches!(self.record(at).author, Author::Agent { .. })
            }
            _ => false,
        };
        report.findings.into_iter().filter(|finding| !expected(finding)).collect()
    }
}
