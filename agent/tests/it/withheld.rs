//! What a host says when it cannot run the playbook that answers a fault: once, with every reason, and that it
//! asks when the reason is gone.

use crate::control_plane::Heard;
use crate::stand::{Stand, admitted, check, id, parsed, publisher};
use fettle_audit::key::SigningKey;
use fettle_model::check::Status;
use fettle_model::counter::{ConfigurationGeneration, TransitionEpoch};
use fettle_model::escalation::Rung;
use fettle_model::permit::Purpose;
use fettle_model::record::Body;
use fettle_model::withheld::{Hindrance, Lack, RequestWithheld, Unbound};

/// The next request that is withheld; none is made before it.
async fn withheld(stand: &mut Stand) -> RequestWithheld {
    stand
        .recorded(|body| {
            if let Body::PermitRequested(request) = body {
                unreachable!("a permit was asked for: {request:?}");
            }
            if let Body::RequestWithheld(withheld) = body { Some((**withheld).clone()) } else { None }
        })
        .await
}

/// The check breaks: its transition, and what is withheld because of it.
async fn broken(stand: &mut Stand) -> (TransitionEpoch, RequestWithheld) {
    stand.host.break_it();
    let epoch = stand
        .recorded(|body| {
            if let Body::TransitionSeen(seen) = body
                && seen.to == Status::Critical
            {
                Some(seen.epoch)
            } else {
                None
            }
        })
        .await;
    (epoch, withheld(stand).await)
}

#[track_caller]
fn because(said: &RequestWithheld, expected: &[Hindrance]) {
    assert_eq!(said.because.iter().cloned().collect::<Vec<_>>(), expected);
}

/// The agent's configuration trusts these keys of the tests' publisher, one after the other.
fn trusting(key: &SigningKey) -> impl FnOnce(&str) -> String {
    let (before, after) = (stranger().public().to_string(), key.public().to_string());
    move |config| config.replace(&before, &after)
}

fn stranger() -> SigningKey {
    SigningKey::from_seed(&[78; 32])
}

async fn untrusting() -> Stand {
    let mut stand = Stand::trusting(&stranger().public()).await;
    let package = stand.package.bytes().to_vec();
    stand.control_plane.shared().packages.insert(stand.package.digest(), package);
    stand.configure().await;
    stand
}

#[tokio::test]
async fn a_playbook_of_a_publisher_whom_the_owner_does_not_trust_is_not_asked_for_until_he_does() {
    let mut stand = untrusting().await;
    let (epoch, said) = broken(&mut stand).await;
    because(&said, &[Hindrance::PublisherUntrusted { publisher: parsed("tests") }]);
    let purpose = Purpose::Remediate { check: check(), epoch, remediation: parsed("heal-web"), rung: Rung::FIRST };
    assert_eq!((&said.purpose, &said.playbook), (&purpose, &stand.version()));
    assert_eq!(said.configuration, ConfigurationGeneration(1));
    stand.host.restart(trusting(&publisher())).await;
    let request = stand.request().await;
    assert_eq!((request.purpose, request.playbook), (purpose, Some(stand.package.digest())));
}

/// The generation of the configuration that the agent holds when it connects next; it says nothing new before.
async fn connected(stand: &mut Stand) -> u64 {
    stand
        .heard(|heard| match heard {
            Heard::Recorded(record) => {
                assert!(!matches!(record.body, Body::RequestWithheld(_)), "{record:?}");
                None
            }
            Heard::Connected { hello, .. } => Some(hello.configuration),
            Heard::Fetched | Heard::Rotated { .. } => None,
        })
        .await
}

#[tokio::test]
async fn a_host_says_it_once_however_often_it_tries_connects_or_starts() {
    let mut stand = untrusting().await;
    broken(&mut stand).await;
    stand.nudge().await;
    // An agent reconsiders under a new configuration; it has done so when it comes back with it.
    stand.set_configuration(2).await;
    stand.control_plane.hang_up();
    assert_eq!(connected(&mut stand).await, 2);
    stand.host.restart(str::to_owned).await;
    assert_eq!(connected(&mut stand).await, 2);
    stand.set_configuration(3).await;
    stand.control_plane.hang_up();
    assert_eq!(connected(&mut stand).await, 3);
    stand.host.mend();
    let healthy = stand
        .recorded(|body| {
            assert!(!matches!(body, Body::RequestWithheld(_)), "{body:?}");
            if let Body::TransitionSeen(seen) = body { Some(seen.epoch) } else { None }
        })
        .await;
    // The next fault is another one, and is told.
    let (epoch, said) = broken(&mut stand).await;
    assert_eq!(epoch, healthy.next());
    because(&said, &[Hindrance::PublisherUntrusted { publisher: parsed("tests") }]);
}

#[tokio::test]
async fn every_label_that_stands_for_nothing_is_named() {
    let tables = "[service.web.flags.other]\nfile = \"/nonexistent/flags.json\"\nkey = \"other\"\n\
                  [[bind]]\nplaybook = \"by-hand\"\nservice = \"web\"\nlabel = \"health\"\nto = \"facts\"\n";
    let mut stand = Stand::with_tables(tables).await;
    stand.assign().await;
    let (_, said) = broken(&mut stand).await;
    let unbound = |label, how| Hindrance::Unbound { label: parsed(label), how };
    because(
        &said,
        &[
            Hindrance::PlaybookNotReady { lacks: Lack::Package },
            unbound("flag", Unbound::Nothing),
            unbound("health", Unbound::OtherKind),
        ],
    );
}

#[tokio::test]
async fn a_playbook_that_is_not_there_yet_is_asked_for_when_it_is() {
    let mut stand = Stand::new().await;
    stand.set_configuration(1).await;
    let (epoch, said) = broken(&mut stand).await;
    because(&said, &[Hindrance::PlaybookNotReady { lacks: Lack::Admission }]);
    let package = stand.package.bytes().to_vec();
    stand.control_plane.shared().packages.insert(stand.package.digest(), package);
    let admitted = admitted(&stand.package);
    stand.say(Body::PlaybookAdmitted(Box::new(admitted))).await;
    let asked = stand
        .recorded(|body| {
            assert!(!matches!(body, Body::RequestWithheld(_)), "it is on its way as before: {body:?}");
            if let Body::PermitRequested(request) = body { Some(request.purpose.clone()) } else { None }
        })
        .await;
    assert_eq!(asked, Purpose::Remediate { check: check(), epoch, remediation: parsed("heal-web"), rung: Rung::FIRST });
}

#[tokio::test]
async fn a_package_that_is_not_what_was_admitted_is_told_as_unusable() {
    let mut stand = Stand::new().await;
    let package = stand.package.bytes().to_vec();
    stand.control_plane.shared().packages.insert(stand.package.digest(), package);
    let mut other = admitted(&stand.package);
    other.manifest.playbook.summary = "Something else.".to_owned();
    stand.say(Body::PlaybookAdmitted(Box::new(other))).await;
    stand.set_configuration(1).await;
    stand.heard(|heard| if let Heard::Fetched = heard { Some(()) } else { None }).await;
    stand.host.break_it();
    let unusable = [Hindrance::PlaybookUnusable { why: "its manifest is not the admitted one".to_owned() }];
    let mut said = withheld(&mut stand).await;
    if said.because.iter().all(Hindrance::passes) {
        // The check was faster than the package; what it comes to is told too.
        stand.nudge().await;
        said = withheld(&mut stand).await;
    }
    because(&said, &unusable);
}

#[tokio::test]
async fn a_host_that_saw_the_log_fork_says_why_it_only_observes() {
    let mut stand = Stand::configured().await;
    stand.show_another_log();
    stand.recorded(|body| if let Body::ForkSeen(_) = body { Some(()) } else { None }).await;
    let (_, said) = broken(&mut stand).await;
    assert!(said.because.iter().any(|each| *each == Hindrance::LogForked), "{said:?}");
}

#[tokio::test]
async fn a_drill_whose_fault_the_host_does_not_ask_to_inject_is_told_with_the_reason() {
    let mut stand = untrusting().await;
    stand.start_drill().await;
    let said = withheld(&mut stand).await;
    assert!(matches!(&said.purpose, Purpose::InjectFault { drill, .. } if *drill == id(9)), "{said:?}");
    assert_eq!(said.playbook, stand.version());
    because(&said, &[Hindrance::PublisherUntrusted { publisher: parsed("tests") }]);
}
