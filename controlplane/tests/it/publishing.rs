//! Playbooks: what is admitted, and what is not.

use crate::site::{Person, Site, name};
use fettle_audit::envelope::Envelope;
use fettle_audit::key::SigningKey;
use fettle_model::counter::LogPosition;
use fettle_model::digest::{DocumentDigest, PlaybookDigest};
use fettle_model::playbook::{PUBLICATION_PAYLOAD_TYPE, Publication};
use fettle_model::record::Kind;
use fettle_model::run::Ending;
use fettle_model::scenarios::{MAX_REPORT_BYTES, SCENARIOS_PAYLOAD_TYPE, ScenarioReport, ScenarioResult, ScenarioRun};
use fettle_proto::operator::{Command, CommandReply, ProblemCode, Query, QueryReply};
use fettle_sandbox::package::embed;

pub(crate) fn publisher_key() -> SigningKey {
    SigningKey::from_seed(&[42; 32])
}

fn manifest(name: &str) -> String {
    format!(
        r#"
manifest = 1
[playbook]
name = "{name}"
version = "1.0.0"
summary = "Written by hand for a test."
owners = ["tests"]
host = "fettle:host@0.1.0"
[[grant]]
label = "web"
kind = "service"
actions = ["restart"]
why = "test"
[[grant]]
label = "health"
kind = "health"
why = "test"
[limits]
actions = 1
duration = "1m"
[confirm]
health = "health"
stable = "1s"
within = "10s"
[on-failure]
undo = "automatic"
[[drill]]
fault = "stop-service"
on = "web"
"#
    )
}

/// A package that was written by hand, and its publication.
pub(crate) struct Playbook {
    name: &'static str,
    bytes: Vec<u8>,
}

impl Playbook {
    pub(crate) fn new(name: &'static str) -> Self {
        Self::importing(name, "")
    }

    fn importing(name: &'static str, imports: &str) -> Self {
        let text =
            format!(r#"(component {imports} (instance $e) (export "fettle:host/playbook@0.1.0" (instance $e)))"#);
        let component = wat::parse_str(text).expect("sound WAT");
        Self { name, bytes: embed(&component, &manifest(name)) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn digest(&self) -> PlaybookDigest {
        PlaybookDigest::of(&self.bytes)
    }

    /// What the publisher signs.
    fn says(&self) -> Publication {
        Publication {
            name: name(self.name),
            version: "1.0.0".to_owned(),
            digest: self.digest(),
            publisher: name("acme"),
            key: publisher_key().public().key_id(),
        }
    }

    pub(crate) fn publication(&self) -> Vec<u8> {
        sealed(&self.says(), &publisher_key())
    }

    /// That its one scenario passed.
    fn report(&self) -> ScenarioReport {
        let run = ScenarioRun {
            file: DocumentDigest::of(b"hangs.toml"),
            title: "hangs".to_owned(),
            ended: Ending::Succeeded,
            errors: 20,
            crashes: 12,
            result: ScenarioResult::Passed,
        };
        ScenarioReport { digest: self.digest(), scenarios: vec![run] }
    }

    pub(crate) fn scenarios(&self) -> Vec<u8> {
        reported(&self.report(), &publisher_key())
    }
}

fn sealed(publication: &Publication, key: &SigningKey) -> Vec<u8> {
    let payload = serde_json::to_vec(publication).expect("JSON");
    Envelope::seal(PUBLICATION_PAYLOAD_TYPE, &payload, key).expect("sealed").into_bytes()
}

fn reported(report: &ScenarioReport, key: &SigningKey) -> Vec<u8> {
    let payload = serde_json::to_vec(report).expect("JSON");
    Envelope::seal(SCENARIOS_PAYLOAD_TYPE, &payload, key).expect("sealed").into_bytes()
}

async fn trusting(site: &Site) -> Person {
    let alice = site.alice().await;
    alice.done(Command::TrustPublisher { publisher: name("acme"), key: publisher_key().public().to_string() }).await;
    alice
}

#[track_caller]
fn refused(answer: crate::site::Answer<CommandReply>, code: ProblemCode, word: &str) {
    let problem = answer.expect_err("refused");
    assert!(problem.code == code && problem.message.contains(word), "{problem:?}");
}

#[tokio::test]
async fn what_a_trusted_publisher_signed_is_admitted_once() {
    let site = Site::new().await;
    let alice = trusting(&site).await;
    let playbook = Playbook::new("by-hand");
    for _ in 0..2 {
        let reply = alice.publish(playbook.publication(), playbook.bytes()).await.expect("admitted");
        assert_eq!(reply, CommandReply::Playbook { name: name("by-hand"), digest: playbook.digest() });
    }
    let QueryReply::Playbooks { playbooks } = alice.query(Query::Playbooks).await.expect("playbooks") else {
        unreachable!("another answer");
    };
    assert_eq!(playbooks.len(), 1);
    assert_eq!((playbooks[0].digest, playbooks[0].publisher.as_str()), (playbook.digest(), "acme"));
    assert_eq!(playbooks[0].scenarios, None, "nothing was said of them");
    let admitted = alice.kinds().await.into_iter().filter(|kind| *kind == Kind::PlaybookAdmitted).count();
    assert_eq!(admitted, 1);
}

#[tokio::test]
async fn what_the_publisher_says_of_the_scenarios_is_the_second_stage() {
    let site = Site::new().await;
    let alice = trusting(&site).await;
    let playbook = Playbook::new("by-hand");
    for _ in 0..2 {
        let said = Some(playbook.scenarios());
        alice.publish_with(playbook.publication(), said, playbook.bytes()).await.expect("admitted");
    }
    let QueryReply::Playbooks { playbooks } = alice.query(Query::Playbooks).await.expect("playbooks") else {
        unreachable!("another answer");
    };
    let scenarios = playbooks[0].scenarios.expect("said");
    assert_eq!(
        (scenarios.position, scenarios.tally),
        (LogPosition(playbooks[0].admitted.0 + 1), playbook.report().tally())
    );
    let kinds = alice.kinds().await;
    let stages = kinds.into_iter().filter(|kind| matches!(kind, Kind::PlaybookAdmitted | Kind::ScenariosPassed));
    assert_eq!(stages.collect::<Vec<_>>(), [Kind::PlaybookAdmitted, Kind::ScenariosPassed]);
}

#[tokio::test]
async fn a_report_that_is_not_the_publishers_or_does_not_say_that_all_passed_is_refused_with_what_helps() {
    let site = Site::new().await;
    let alice = trusting(&site).await;
    let playbook = Playbook::new("by-hand");
    let changed = |change: fn(&mut ScenarioReport)| {
        let mut report = playbook.report();
        change(&mut report);
        reported(&report, &publisher_key())
    };
    let stranger = SigningKey::from_seed(&[1; 32]);
    for (said, word) in [
        (reported(&playbook.report(), &stranger), "does not verify"),
        (playbook.publication(), "does not verify"),
        (changed(|report| report.digest = PlaybookDigest::of(b"another")), "is about sha256:"),
        (changed(|report| report.scenarios.clear()), "names no scenario"),
        (changed(|report| report.scenarios[0].result = ScenarioResult::Failed), "\"hangs\" failed"),
    ] {
        let answer = alice.publish_with(playbook.publication(), Some(said), playbook.bytes()).await;
        let problem = answer.expect_err("refused");
        assert!(problem.code == ProblemCode::Refused && problem.message.contains(word), "{problem:?}");
        assert!(problem.remedy.contains("fettle playbook publish"), "{problem:?}");
    }
    let too_long = vec![b' '; MAX_REPORT_BYTES + 1];
    let answer = alice.publish_with(playbook.publication(), Some(too_long), playbook.bytes()).await;
    refused(answer, ProblemCode::Invalid, "more than");
    assert!(!alice.kinds().await.contains(&Kind::PlaybookAdmitted));
    let kept = std::fs::read_dir(site.state.playbooks()).expect("a folder").count();
    assert_eq!(kept, 0, "nothing of it is kept");
}

#[tokio::test]
async fn nothing_else_is_admitted() {
    let site = Site::new().await;
    let alice = trusting(&site).await;
    let playbook = Playbook::new("by-hand");

    let stranger = SigningKey::from_seed(&[1; 32]);
    let by_stranger = sealed(&playbook.says(), &stranger);
    refused(alice.publish(by_stranger, playbook.bytes()).await, ProblemCode::Refused, "no trusted key");

    let mut flipped = playbook.publication();
    // Within the payload, so that the envelope still parses.
    let place = 30;
    flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
    alice.publish(flipped, playbook.bytes()).await.expect_err("it does not verify");

    let unknown = sealed(&Publication { publisher: name("nobody"), ..playbook.says() }, &publisher_key());
    refused(alice.publish(unknown, playbook.bytes()).await, ProblemCode::NotFound, "nobody");

    let other = Playbook::new("other");
    refused(alice.publish(playbook.publication(), other.bytes()).await, ProblemCode::Refused, "digest");

    let renamed = sealed(&Publication { name: name("renamed"), ..playbook.says() }, &publisher_key());
    refused(alice.publish(renamed, playbook.bytes()).await, ProblemCode::Refused, "renamed");

    let beyond = Playbook::importing("by-hand", r#"(import "fettle:host/releases@0.1.0" (instance))"#);
    refused(alice.publish(beyond.publication(), beyond.bytes()).await, ProblemCode::Invalid, "releases");

    let too_long = vec![0; fettle_model::playbook::MAX_PACKAGE_BYTES + 1];
    refused(alice.publish(playbook.publication(), &too_long).await, ProblemCode::Invalid, "more than");

    assert!(!alice.kinds().await.contains(&Kind::PlaybookAdmitted));
    let kept = std::fs::read_dir(site.state.playbooks()).expect("a folder").count();
    assert_eq!(kept, 0, "nothing of it is kept");
}
