//! What an agent asks for and is told, over its session.

use crate::agent::{Agent, Session, description};
use crate::publishing::{Playbook, publisher_key};
use crate::site::{Person, Site, fresh, name, now, service};
use fettle_audit::policy::Policy;
use fettle_audit::verify::{Verdict, verify_bundle};
use fettle_model::breaker::Scope;
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::configuration::Declared;
use fettle_model::counter::{ConfigurationGeneration, TransitionEpoch};
use fettle_model::coverage::{Difference, Finding};
use fettle_model::digest::DocumentDigest;
use fettle_model::escalation::{Escalation, Rung};
use fettle_model::evidence::{DrillResult, Fault, FaultKind};
use fettle_model::guard::{Amount, Guard};
use fettle_model::host::Binding;
use fettle_model::id::DrillId;
use fettle_model::permit::{BoundTarget, KillPoint, Permit, PermitRequest, Purpose, Target};
use fettle_model::playbook::Action;
use fettle_model::record::Body;
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Mode, Parameters, PlaybookVersion, Remediation};
use fettle_model::run::{Change, Claim, Ending, RunRecord, Step, StepIntended, StepOutcome, UndoClass};
use fettle_model::withheld::{Hindrance, Hindrances, RequestWithheld};
use fettle_proto::operator::{Command, CommandReply, Query, QueryReply, RunState, WhyDecision};
use fettle_proto::v1::{Hello, nudge, to_agent};
use std::collections::BTreeMap;

pub(crate) fn web() -> CheckRef {
    CheckRef { service: name("web"), check: name("http") }
}

pub(crate) fn transition(epoch: u64, from: Status, to: Status) -> Body {
    let epoch = TransitionEpoch(epoch);
    Body::TransitionSeen(Box::new(Transition { of: web(), epoch, from, to, at: now(), reason: "a test".to_owned() }))
}

/// What the owner bound.
fn targets() -> Vec<BoundTarget> {
    let target = |label: &str, target| BoundTarget { label: name(label), target };
    vec![
        target("web", Target::SystemdUnit { unit: "web.service".to_owned() }),
        target("health", Target::Health { check: web() }),
    ]
}

pub(crate) fn request(agent: &Agent, playbook: &Playbook) -> PermitRequest {
    PermitRequest {
        request: name(&fresh().to_string()),
        run: name(&fresh().to_string()),
        host: agent.host,
        boot: name(&Agent::hello().boot),
        sent_at: fettle_model::time::BootInstant(1_000),
        purpose: Purpose::Remediate {
            check: web(),
            epoch: TransitionEpoch(1),
            remediation: name("restart-web"),
            rung: Rung::FIRST,
        },
        playbook: Some(playbook.digest()),
        targets: targets(),
        configuration: ConfigurationGeneration(1),
    }
}

/// A trusted publisher, a playbook, and a remediation of the service by it.
pub(crate) async fn configured(alice: &Person) -> Playbook {
    let playbook = Playbook::new("restart-web");
    alice.done(Command::TrustPublisher { publisher: name("acme"), key: publisher_key().public().to_string() }).await;
    alice.publish_with(playbook.publication(), Some(playbook.scenarios()), playbook.bytes()).await.expect("admitted");
    alice.done(configuration(&playbook, Mode::Auto, 0)).await;
    playbook
}

fn configuration(playbook: &Playbook, mode: Mode, replaces: u64) -> Command {
    let remediation = Remediation {
        name: name("restart-web"),
        service: name("web"),
        check: name("http"),
        playbook: PlaybookVersion { name: name("restart-web"), digest: playbook.digest() },
        parameters: Parameters::default(),
        modes: BTreeMap::from([(name("staging"), mode)]),
        // A group of one: every minimum above 0 would refuse its only host.
        guard: Guard { min_healthy: Amount::Count(0), ..Guard::default() },
        escalation: Escalation::default(),
        offline: None,
    };
    Command::SetConfiguration {
        declared: Box::new(Declared {
            services: vec![service()],
            remediations: vec![remediation],
            ..Declared::default()
        }),
        replaces: ConfigurationGeneration(replaces),
    }
}

#[tokio::test]
async fn a_configuration_reaches_an_agent_with_the_playbooks_that_it_uses_and_they_can_be_fetched() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    let playbook = configured(&alice).await;
    let Body::PlaybookAdmitted(admitted) = agent.believed(&session.published().await).body else {
        unreachable!("the playbook comes first");
    };
    assert_eq!(admitted.digest, playbook.digest());
    let Body::ConfigurationSet(set) = agent.believed(&session.published().await).body else {
        unreachable!("then the configuration");
    };
    assert_eq!(set.configuration.generation().0, 1);
    assert_eq!(agent.fetch(&site, playbook.digest().to_string()).await.expect("assigned"), playbook.bytes());

    let other = Playbook::new("other");
    alice.publish(other.publication(), other.bytes()).await.expect("admitted");
    let refused = agent.fetch(&site, other.digest().to_string()).await.expect_err("not assigned");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);

    // Whoever connects later is told the same, but not what it holds already.
    let (mut late, _) = agent.session(&site).await;
    assert!(matches!(agent.believed(&late.published().await).body, Body::PlaybookAdmitted(_)));
    assert!(matches!(agent.believed(&late.published().await).body, Body::ConfigurationSet(_)));
    let (mut current, _) = agent.session_with(&site, Hello { configuration: 1, ..Agent::hello() }).await;
    assert!(matches!(agent.believed(&current.published().await).body, Body::PlaybookAdmitted(_)));
    current.beat(0).await;
    assert!(matches!(current.hear().await, to_agent::Message::Head(_)), "nothing else was told");
}

#[tokio::test]
async fn a_request_is_answered_with_proof_and_the_answer_can_be_had_again() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let playbook = configured(&alice).await;
    let held = Hello { configuration: 1, ..Agent::hello() };
    let (mut session, _) = agent.session_with(&site, held.clone()).await;
    session.published().await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.send(agent.record(transition(1, Status::Passing, Status::Critical))).await;
    let asked = request(&agent, &playbook);
    session.send(agent.record(Body::PermitRequested(Box::new(asked.clone())))).await;
    let Body::PermitRefused(refusal) = agent.believed(&session.published().await).body else {
        unreachable!("there is no evidence yet");
    };
    assert!(refusal.reasons.iter().any(|reason| matches!(reason, Reason::NoEvidence { .. })), "{refusal:?}");
    session.acknowledged(3).await;
    drop(session);

    let unanswered = vec![asked.request.to_string()];
    let (mut again, _) = agent.session_with(&site, Hello { unanswered, ..held }).await;
    again.published().await;
    let Body::PermitRefused(same) = agent.believed(&again.published().await).body else {
        unreachable!("the same answer");
    };
    assert_eq!(same, refusal);

    let why = alice.query(Query::WhyCheck { check: web(), host: name("s1") }).await.expect("an answer");
    let QueryReply::Why { why } = why else { unreachable!("another answer") };
    assert!(matches!(why.decision, Some(WhyDecision::Refused { .. })), "{:?}", why.decision);
    assert_eq!(why.check.status, Some(Status::Critical));
}

async fn decision(alice: &Person) -> Option<WhyDecision> {
    let why = alice.query(Query::WhyCheck { check: web(), host: name("s1") }).await.expect("an answer");
    let QueryReply::Why { why } = why else { unreachable!("another answer") };
    why.decision
}

#[tokio::test]
async fn why_tells_the_newest_of_what_was_decided_and_what_was_never_asked() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let playbook = configured(&alice).await;
    let (mut session, _) = agent.session_with(&site, Hello { configuration: 1, ..Agent::hello() }).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.send(agent.record(transition(1, Status::Passing, Status::Critical))).await;
    let asked = request(&agent, &playbook);
    let because = vec![Hindrance::Unbound { label: name("web"), how: fettle_model::withheld::Unbound::Nothing }];
    let said = RequestWithheld {
        purpose: asked.purpose.clone(),
        playbook: PlaybookVersion { name: name("restart-web"), digest: playbook.digest() },
        configuration: ConfigurationGeneration(1),
        because: Hindrances::first_of(because).expect("there is one"),
    };
    session.send(agent.record(Body::RequestWithheld(Box::new(said.clone())))).await;
    session.acknowledged(3).await;
    let Some(WhyDecision::Withheld { withheld, .. }) = decision(&alice).await else { unreachable!("it was said") };
    assert_eq!(*withheld, said);

    session.send(agent.record(Body::PermitRequested(Box::new(asked)))).await;
    session.acknowledged(4).await;
    assert!(matches!(decision(&alice).await, Some(WhyDecision::Refused { .. })), "it has asked since");
    session.send(agent.record(Body::RequestWithheld(Box::new(said)))).await;
    session.acknowledged(5).await;
    assert!(matches!(decision(&alice).await, Some(WhyDecision::Withheld { .. })));
    verifies(&alice).await;
}

#[tokio::test]
async fn in_mode_observe_the_agent_is_asked_for_a_plan() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let playbook = configured(&alice).await;
    alice.done(configuration(&playbook, Mode::Observe, 1)).await;
    let (mut session, _) = agent.session_with(&site, Hello { configuration: 2, ..Agent::hello() }).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.send(agent.record(transition(1, Status::Passing, Status::Critical))).await;
    let asked = PermitRequest { configuration: ConfigurationGeneration(2), ..request(&agent, &playbook) };
    session.send(agent.record(Body::PermitRequested(Box::new(asked.clone())))).await;
    let wanted = session.until(|message| match message {
        to_agent::Message::Nudge(nudge) => nudge.about,
        _ => None,
    });
    assert_eq!(wanted.await, nudge::About::Plan(asked.request.to_string()));
}

#[tokio::test]
async fn stop_and_resume_reach_an_agent_that_is_connected_and_one_that_connects() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let agent = Agent::enrolled(&site, "s1", "staging").await;
    let (mut session, _) = agent.session(&site).await;
    let why = || "a test".to_owned();
    alice.done(Command::Stop { scope: Scope::Global, why: why() }).await;
    assert!(matches!(agent.believed(&session.published().await).body, Body::AutomationStopped(_)));
    let (mut late, _) = agent.session(&site).await;
    assert!(matches!(agent.believed(&late.published().await).body, Body::AutomationStopped(_)));
    alice.done(Command::Resume { scope: Scope::Global, why: why() }).await;
    assert!(matches!(agent.believed(&late.published().await).body, Body::AutomationResumed(_)));
}

#[tokio::test]
async fn a_wish_and_a_drill_are_told_to_their_host_only() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let other = Agent::enrolled(&site, "s2", "staging").await;
    configured(&alice).await;
    let held = Hello { configuration: 1, ..Agent::hello() };
    let (mut session, _) = agent.session_with(&site, held.clone()).await;
    let (mut bystander, _) = other.session_with(&site, held).await;
    session.published().await;
    bystander.published().await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.acknowledged(1).await;
    alice.done(Command::WishRun { host: name("s1"), check: web() }).await;
    let nudged = session.hear().await;
    assert!(
        matches!(&nudged, to_agent::Message::Nudge(nudge) if nudge.about == Some(nudge::About::Remediate("web/http".to_owned()))),
        "{nudged:?}"
    );
    let start = Command::StartDrill {
        playbook: name("restart-web"),
        host: name("s1"),
        remediation: name("restart-web"),
        drill: 0,
    };
    let CommandReply::Drill { drill } = alice.execute(start).await.expect("it starts") else {
        unreachable!("another answer");
    };
    let Body::DrillStarted(started) = agent.believed(&session.published().await).body else {
        unreachable!("the drill");
    };
    assert_eq!(started.drill, drill);
    let inject = nudge::About::Inject(drill.to_string());
    let nudged = |message| {
        matches!(message, to_agent::Message::Nudge(nudge) if nudge.about.as_ref() == Some(&inject)).then_some(())
    };
    session.until(nudged).await;
    // The agent may have been busy: every heartbeat reminds it.
    session.beat(0).await;
    session.until(nudged).await;
    bystander.beat(0).await;
    assert!(matches!(bystander.hear().await, to_agent::Message::Head(_)), "it is none of the other host's business");
}

fn ended(permit: &Permit) -> Body {
    Body::RunEnded(Box::new(RunRecord {
        run: permit.run,
        permit: permit.permit,
        request: permit.request,
        host: permit.host,
        purpose: permit.purpose.clone(),
        playbook: permit.playbook.clone(),
        started_at: now(),
        ended_at: now(),
        ending: Ending::Succeeded,
        summary: "done".to_owned(),
        claim: Some(Claim::Resolved { summary: "done".to_owned() }),
        confirmed: None,
        steps: Vec::new(),
        undone: Vec::new(),
        said: Vec::new(),
        resumed: 0,
        fuel: 1,
        journal: DocumentDigest::of(b"journal"),
    }))
}

/// The permit that the agent asks for with this request.
async fn permitted(agent: &mut Agent, session: &mut Session, asked: PermitRequest) -> Permit {
    session.send(agent.record(Body::PermitRequested(Box::new(asked.clone())))).await;
    match agent.believed(&session.published().await).body {
        Body::PermitGranted(permit) => {
            assert_eq!((permit.request, permit.run, permit.host), (asked.request, asked.run, agent.host));
            *permit
        }
        other => unreachable!("{other:?}"),
    }
}

/// The drill's fault is injected and the check fails; the permit of the run that heals it.
async fn broken(agent: &mut Agent, session: &mut Session, playbook: &Playbook, drill: DrillId, epoch: u64) -> Permit {
    let fault = Fault { kind: FaultKind::StopService, on: name("web") };
    let asked = request(agent, playbook);
    let inject = PermitRequest {
        purpose: Purpose::InjectFault { drill, fault },
        playbook: None,
        targets: asked.targets.first().cloned().into_iter().collect(),
        ..request(agent, playbook)
    };
    let injection = permitted(agent, session, inject).await;
    session.send(agent.record(ended(&injection))).await;
    session.send(agent.record(transition(epoch, Status::Passing, Status::Critical))).await;
    let purpose = Purpose::Remediate {
        check: web(),
        epoch: TransitionEpoch(epoch),
        remediation: name("restart-web"),
        rung: Rung::FIRST,
    };
    permitted(agent, session, PermitRequest { purpose, ..asked }).await
}

/// The first step of a run, before it is taken.
fn announced(permit: &Permit) -> Body {
    Body::StepIntended(Box::new(StepIntended {
        run: permit.run,
        permit: permit.permit,
        number: 1,
        action: Some(Action::Restart),
        label: name("web"),
        arguments: String::new(),
        intended_at: now(),
    }))
}

/// The record of a run that was killed after its first deed and finished.
fn resumed(permit: &Permit) -> Body {
    let mut body = ended(permit);
    if let Body::RunEnded(record) = &mut body {
        record.resumed = 1;
        record.steps.push(Step {
            number: 1,
            action: Action::Restart,
            label: name("web"),
            arguments: String::new(),
            intended_at: now(),
            outcome: StepOutcome::Done { change: Change::Made, undo: UndoClass::None },
        });
    }
    body
}

#[tokio::test]
async fn a_drill_earns_evidence_and_its_log_verifies() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let playbook = configured(&alice).await;
    let (mut session, _) = agent.session_with(&site, Hello { configuration: 1, ..Agent::hello() }).await;
    session.published().await;
    let mut described = description("s1", "staging");
    if let Body::HostDescribed(host) = &mut described {
        let (playbook, service) = (name("restart-web"), name("web"));
        host.bindings = [Binding { playbook, service, targets: targets() }].into();
    }
    session.send(agent.record(described)).await;
    session.send(agent.record(transition(1, Status::Unknown, Status::Passing))).await;
    session.acknowledged(2).await;
    let start = Command::StartDrill {
        playbook: name("restart-web"),
        host: name("s1"),
        remediation: name("restart-web"),
        drill: 0,
    };
    let CommandReply::Drill { drill } = alice.execute(start).await.expect("it starts") else {
        unreachable!("another answer");
    };
    assert!(matches!(agent.believed(&session.published().await).body, Body::DrillStarted(_)));

    let healing = broken(&mut agent, &mut session, &playbook, drill, 2).await;
    assert_eq!((healing.drill, healing.kill), (Some(drill), None));
    // Whoever lost the permit says so and gets it again; whoever has it does not.
    let hello = |unanswered: Vec<String>| Hello { configuration: 1, unanswered, ..Agent::hello() };
    let (mut lost, _) = agent.session_with(&site, hello(vec![healing.request.to_string()])).await;
    let permit = |published: &[u8]| match agent.believed(published).body {
        Body::PermitGranted(permit) => Some(*permit),
        _ => None,
    };
    let mut again = None;
    while again.is_none() {
        again = permit(&lost.published().await);
    }
    assert_eq!(again, Some(healing.clone()));
    let (holding, _) = agent.session_with(&site, hello(Vec::new())).await;
    session = holding;
    session.beat(0).await;
    session
        .until(|message| match message {
            to_agent::Message::Published(published) => {
                assert_eq!(permit(&published.document), None, "it has the permit");
                None
            }
            to_agent::Message::Head(_) => Some(()),
            _ => None,
        })
        .await;
    session.send(agent.record(ended(&healing))).await;
    session.send(agent.record(transition(3, Status::Critical, Status::Passing))).await;
    // The end of a run is proven by itself, however many records share its commit.
    let end = agent.own(&session.acknowledged(agent.sequence.0 - 1).await);
    assert!(matches!(end.body, Body::RunEnded(_)), "{end:?}");
    session.acknowledged(agent.sequence.0).await;
    let wish = nudge::About::Repeat(drill.to_string());
    let nudged = |message| {
        matches!(message, to_agent::Message::Nudge(nudge) if nudge.about.as_ref() == Some(&wish)).then_some(())
    };
    session.until(nudged).await;
    let purpose = Purpose::Repeat { drill, check: web(), remediation: name("restart-web") };
    let again = PermitRequest { purpose, ..request(&agent, &playbook) };
    let repetition = permitted(&mut agent, &mut session, again).await;
    session.send(agent.record(ended(&repetition))).await;
    session.acknowledged(agent.sequence.0).await;
    let killed = broken(&mut agent, &mut session, &playbook, drill, 4).await;
    assert_eq!((killed.drill, killed.kill), (Some(drill), Some(KillPoint::FirstDeed)));
    session.send(agent.record(announced(&killed))).await;
    session.send(agent.record(resumed(&killed))).await;
    session.send(agent.record(transition(5, Status::Critical, Status::Passing))).await;
    // So is a step that waits for it.
    let intent = agent.own(&session.acknowledged(agent.sequence.0 - 2).await);
    assert!(matches!(intent.body, Body::StepIntended(_)), "{intent:?}");
    session.acknowledged(agent.sequence.0).await;

    let QueryReply::Drill { drill } = alice.query(Query::Drill { drill }).await.expect("a drill") else {
        unreachable!("another answer");
    };
    assert_eq!(drill.result, Some(DrillResult::Proved));
    let QueryReply::Run { run } = alice.query(Query::Run { run: healing.run }).await.expect("a run") else {
        unreachable!("another answer");
    };
    assert_eq!(run.permit, healing);
    assert!(matches!(run.row.state, RunState::Ended { ending: Ending::Succeeded, .. }), "{:?}", run.row.state);
    assert!(run.record.is_some_and(|record| record.ending == Ending::Succeeded));
    covers_production(&site, &alice, drill.drill).await;
    verifies(&alice).await;
}

/// The drill's evidence covers a production host like its own, and one that drifts away no more.
async fn covers_production(site: &Site, alice: &Person, drill: DrillId) {
    let mut production = Agent::enrolled(site, "p1", "production").await;
    let (mut session, _) = production.session(site).await;
    for (version, sequence) in [("12", 1), ("13", 2)] {
        let mut described = description("p1", "production");
        if let Body::HostDescribed(host) = &mut described {
            host.os.version = version.to_owned();
            let (playbook, service) = (name("restart-web"), name("web"));
            host.bindings = [Binding { playbook, service, targets: targets() }].into();
        }
        session.send(production.record(described)).await;
        session.acknowledged(sequence).await;
        let QueryReply::Coverage { coverage } = alice.query(Query::Coverage).await.expect("an answer") else {
            unreachable!("another answer");
        };
        let [row] = coverage.as_slice() else { unreachable!("one remediation, one class: {coverage:?}") };
        match (&row.finding, version) {
            (Finding::Covered { by }, "12") => assert_eq!(by.drill, drill),
            (Finding::Differs { nearest, differences }, "13") => {
                assert_eq!(nearest.drill, drill);
                assert!(matches!(differences.as_slice(), [Difference::OperatingSystem { .. }]), "{differences:?}");
            }
            other => unreachable!("{other:?}"),
        }
    }
}

/// The whole log holds for an auditor.
async fn verifies(alice: &Person) {
    let policy: Policy = alice.policy().await.parse().expect("a policy");
    let report = verify_bundle(&alice.export().await.expect("a bundle"), &policy);
    assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
}

#[tokio::test]
async fn whoever_was_refused_is_nudged_when_the_reason_is_gone_at_once_or_when_it_connects() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let playbook = configured(&alice).await;
    let (mut session, _) = agent.session_with(&site, Hello { configuration: 1, ..Agent::hello() }).await;
    session.published().await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.send(agent.record(transition(1, Status::Passing, Status::Critical))).await;
    let asked = request(&agent, &playbook);
    session.send(agent.record(Body::PermitRequested(Box::new(asked)))).await;
    assert!(matches!(agent.believed(&session.published().await).body, Body::PermitRefused(_)));
    alice.done(configuration(&playbook, Mode::Observe, 1)).await;
    let about = nudge::About::Remediate("web/http".to_owned());
    let nudged = |message| {
        matches!(message, to_agent::Message::Nudge(nudge) if nudge.about.as_ref() == Some(&about)).then_some(())
    };
    session.until(nudged).await;
    let (mut late, _) = agent.session_with(&site, Hello { configuration: 2, ..Agent::hello() }).await;
    late.until(nudged).await;
}
