//! Which rung of a list the agent asks for.

use crate::stand::{Stand, admitted, check, parsed};
use fettle_model::digest::PlaybookDigest;
use fettle_model::escalation::Rung;
use fettle_model::permit::{PermitRequest, Purpose};
use fettle_model::record::Body;
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::PlaybookVersion;
use fettle_model::withheld::{Hindrance, Lack};
use std::time::Duration;

/// Longer than any test waits.
const LONG: Duration = Duration::from_hours(1);

fn second() -> Rung {
    Rung::try_from(2).expect("a rung")
}

fn rung(purpose: &Purpose) -> Rung {
    match purpose {
        Purpose::Remediate { rung, .. } => *rung,
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
            unreachable!("no drill runs, and nothing is given in advance: {purpose:?}")
        }
    }
}

/// A stand whose own playbook is ready, and is the second of a list.
async fn behind(first: PlaybookVersion, timeout: Duration) -> Stand {
    let mut stand = Stand::configured().await;
    stand.set_list(first, timeout).await;
    stand
}

fn other() -> PlaybookVersion {
    PlaybookVersion { name: parsed("other"), digest: PlaybookDigest::of(b"other") }
}

/// What is said about the first rung, and the request that is made then.
async fn passed_over(stand: &mut Stand) -> (Hindrance, PermitRequest) {
    let said = stand
        .recorded(|body| if let Body::RequestWithheld(withheld) = body { Some((**withheld).clone()) } else { None })
        .await;
    assert_eq!((rung(&said.purpose), &said.playbook), (Rung::FIRST, &other()));
    (said.because.iter().next().expect("a hindrance").clone(), stand.request().await)
}

#[tokio::test]
async fn a_rung_that_is_not_due_is_asked_for_again_at_once_as_the_one_that_is() {
    let mut stand = Stand::configured().await;
    let (first, own) = (stand.version(), stand.package.digest());
    stand.set_list(first, LONG).await;
    stand.host.break_it();
    let request = stand.request().await;
    assert_eq!(rung(&request.purpose), Rung::FIRST);
    let reason = Reason::RungNotDue { asked: Rung::FIRST, due: second(), clears_at: None };
    let refusal = Refusal {
        request: request.request,
        run: request.run,
        host: request.host,
        check: Some(check()),
        epoch: None,
        reasons: vec![reason],
        budget: None,
        retry_at: None,
    };
    stand.say(Body::PermitRefused(Box::new(refusal))).await;
    let again = stand.request().await;
    assert_eq!((rung(&again.purpose), again.playbook), (second(), Some(own)));
}

#[tokio::test]
async fn a_rung_that_the_host_cannot_run_is_passed_over_at_once_and_said_so() {
    let mut stand = behind(other(), LONG).await;
    let mut strange = admitted(&stand.package);
    (strange.digest, strange.publisher) = (other().digest, parsed("strangers"));
    strange.manifest.playbook.name = other().name;
    stand.say(Body::PlaybookAdmitted(Box::new(strange))).await;
    stand.host.break_it();
    let (because, request) = passed_over(&mut stand).await;
    assert_eq!(because, Hindrance::PublisherUntrusted { publisher: parsed("strangers") });
    assert_eq!(rung(&request.purpose), second());
}

#[tokio::test]
async fn a_playbook_that_does_not_come_is_waited_for_as_long_as_its_timeout() {
    let mut stand = behind(other(), Duration::from_secs(1)).await;
    stand.host.break_it();
    let (because, request) = passed_over(&mut stand).await;
    assert_eq!(because, Hindrance::PlaybookNotReady { lacks: Lack::Admission });
    assert_eq!(rung(&request.purpose), second());
}
