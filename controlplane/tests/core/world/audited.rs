//! The offline verifier's reading of a test's log: signed anew with keys that exist, it has to hold every rule.

use super::*;
use fettle_audit::bundle::{header_line, record_line};
use fettle_audit::key::SigningKey;
use fettle_audit::leaf::leaf_for;
use fettle_audit::note::{NoteSigner, SignatureKind};
use fettle_audit::person_key::prove;
use fettle_audit::policy::Policy;
use fettle_audit::signed_record::SignedRecord;
use fettle_audit::verify::{Finding, Rule, Verification};
use fettle_model::name::PersonName;
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

/// The key that the tests have a text for.
fn person_key(text: &str) -> SigningKey {
    SigningKey::from_seed(EnvelopeDigest::of(text.as_bytes()).as_bytes())
}

fn log_key(origin: &str) -> NoteSigner {
    NoteSigner::new(origin.parse().expect("a name"), SigningKey::from_seed(&[4; 32]))
}

fn signed(payload_type: &str, document: &impl serde::Serialize) -> String {
    let payload = serde_json::to_vec(document).expect("JSON");
    let envelope = fettle_audit::envelope::Envelope::seal(payload_type, &payload, &publisher_key()).expect("sealed");
    String::from_utf8(envelope.as_bytes().to_vec()).expect("text")
}

/// A log that is signed anew.
#[derive(Default)]
struct Anew {
    chains: BTreeMap<HostId, EnvelopeDigest>,
    /// What each envelope and each proposal's request is now.
    envelopes: BTreeMap<EnvelopeDigest, EnvelopeDigest>,
    requests: BTreeMap<DocumentDigest, DocumentDigest>,
    /// The text of each person's key.
    people: BTreeMap<PersonName, String>,
}

impl Anew {
    fn sign(&mut self, logged: &Logged) -> SignedRecord {
        let Record { mut author, at, body } = logged.record.clone();
        let body = self.with_keys(body);
        let key = match &mut author {
            Author::Agent { host, previous, .. } => {
                *previous = self.chains.get(host).copied();
                agent_key(*host)
            }
            Author::ControlPlane => control_plane_key(),
            Author::Person { person } => person_key(self.people.get(person).expect("a key of theirs")),
        };
        let sealed = SignedRecord::seal(Record { author, at, body }, &key).expect("sealed");
        let digest = sealed.envelope().digest();
        if let Author::Agent { host, .. } = &logged.record.author {
            self.chains.insert(*host, digest);
        }
        self.envelopes.insert(logged.envelope, digest);
        sealed
    }

    /// What names or carries a key, a signature or an envelope, with those that exist.
    fn with_keys(&mut self, mut body: Body) -> Body {
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
            Body::PersonKeySet(set) => {
                let key = person_key(&set.signing_key.key);
                self.people.insert(set.person.clone(), set.signing_key.key.clone());
                let trust_domain = "fettle.example".parse().expect("a trust domain");
                set.signing_key = prove(&key, &trust_domain, &set.person);
            }
            Body::ProposalMade(proposal) => {
                let before = proposal.request();
                proposal.plan = *self.envelopes.get(&proposal.plan).expect("a plan of the log");
                self.requests.insert(before, proposal.request());
            }
            Body::ApprovalGiven(given) => given.request = *self.requests.get(&given.request).expect("a proposal"),
            Body::BreakGlassOpened(opened) => {
                opened.asked = *self.envelopes.get(&opened.asked).expect("an ask of the log");
            }
            _ => {}
        }
        body
    }
}

impl World {
    /// What the verifier finds.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let Some(Body::LogOpened(opened)) = self.log.first().map(|logged| &logged.record.body) else {
            return Vec::new();
        };
        let origin = opened.origin.parse().expect("a name");
        let log_key = log_key(&opened.origin).verifier(SignatureKind::Ed25519);
        let policy = format!("log {log_key}\npermit-key {}\nquorum none\n", control_plane_key().public());
        let policy: Policy = policy.parse().expect("a policy");
        let mut verification = Verification::new(&policy);
        verification.feed(header_line(&origin).as_bytes());
        let mut anew = Anew::default();
        for logged in &self.log {
            let sealed = anew.sign(logged);
            verification.feed(&record_line(&leaf_for(&sealed, logged.received_at), sealed.envelope()));
        }
        let report = verification.finish();
        let author = |finding: &Finding| &self.record(finding.position.expect("a finding at a record")).author;
        let expected = |finding: &Finding| match finding.rule {
            // The log has no checkpoint, and a test may end before its runs do.
            Rule::Framing | Rule::OpenRun => true,
            // An agent's own lie, which the control plane takes and acts on.
            Rule::Permit | Rule::Ending | Rule::Offline | Rule::Drill | Rule::Intent => {
                matches!(author(finding), Author::Agent { .. })
            }
            // What policies and the rim say of people, a test says as it likes.
            Rule::BreakGlass | Rule::PersonKey | Rule::Role => true,
            Rule::Author | Rule::Approval => matches!(author(finding), Author::Person { .. }),
            _ => false,
        };
        report.findings.into_iter().filter(|finding| !expected(finding)).collect()
    }
}
