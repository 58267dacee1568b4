//! Logs whose every signature and proof holds, written by somebody who holds all keys and breaks one
//! rule: the verifier finds that rule, at that record. Here: what decisions rest on.

use crate::check::*;
use crate::log::{Log, host, log_signer, permit_key, policy, record_key};
use crate::story::{
    At, Edit, PRODUCTION, STAGING, changed, drill_id, edited, enrolled, parsed, report, run_id, scenarios_passed,
    story, token, transition, without,
};
use fettle_audit::bundle::record_line;
use fettle_audit::checkpoint::Checkpoint;
use fettle_audit::envelope::Envelope;
use fettle_audit::key::SigningKey;
use fettle_audit::tree::empty_root;
use fettle_audit::verify::{Rule, Verdict, verify_bundle};
use fettle_model::check::Status;
use fettle_model::counter::{AgentSequence, CertificateGeneration, LogPosition, TreeSize};
use fettle_model::digest::{DocumentDigest, EnvelopeDigest, PlaybookDigest};
use fettle_model::evidence::KilledRun;
use fettle_model::host::DrillConsent;
use fettle_model::id::TokenId;
use fettle_model::identity::{Principal, SpiffeId};
use fettle_model::permit::{KillPoint, Target, TargetKind};
use fettle_model::playbook::Action;
use fettle_model::record::{
    Author, Body, CertificateIssued, ForkSeen, HostEnrolled, LogOpened, PlaybookAdmitted, RECORD_PAYLOAD_TYPE,
};
use fettle_model::run::{Change, Ending, Step, StepOutcome, UndoClass};
use fettle_model::scenarios::{ScenarioReport, ScenarioResult, ScenariosPassed};
use fettle_model::schedule::DueTime;
use fettle_model::time::UnixMillis;
use std::time::Duration;

#[test]
fn the_log_opens_once_and_as_the_policy_says() {
    check(&without(At::Opened), Rule::Opening);
    let opened = |change: fn(&mut LogOpened)| changed(At::Opened, |body| change(of!(body, LogOpened)));
    check(&opened(|opened| opened.origin = "other.example".to_owned()), Rule::Opening);
    check(&opened(|opened| opened.permit_key = record_key(host(9)).public().to_string()), Rule::Opening);
    check(&opened(|opened| opened.log_key = "x".to_owned()), Rule::Opening);
    let mut twice = story();
    let again = twice.records[0].1.record().body.clone();
    twice.control_plane(again);
    check(&twice, Rule::Opening);
}

#[test]
fn only_the_right_author_writes_a_kind_and_only_with_its_key() {
    let stop = |log: &Log| log.records[At::Stopped as usize].1.record().body.clone();
    let mut by_agent = story();
    let body = stop(&by_agent);
    by_agent.agent(host(PRODUCTION), body);
    check(&by_agent, Rule::Author);

    let mut by_control_plane = story();
    by_control_plane.control_plane(transition(4, Status::Passing));
    check(&by_control_plane, Rule::Author);

    let mut unknown = story();
    unknown.agent(host(9), transition(1, Status::Critical));
    check(&unknown, Rule::Author);

    let mut forged = story();
    let author = Author::Agent { host: host(PRODUCTION), sequence: AgentSequence(8), previous: None };
    forged.sealed(author, transition(4, Status::Passing), &record_key(host(STAGING)));
    check(&forged, Rule::Signature);

    let mut usurped = story();
    let body = stop(&usurped);
    usurped.sealed(Author::ControlPlane, body, &record_key(host(PRODUCTION)));
    check(&usurped, Rule::Signature);
}

#[test]
fn a_leaf_must_be_that_of_its_record() {
    let leaf = |change: fn(&mut fettle_audit::leaf::Leaf)| {
        let mut log = story();
        change(&mut log.records[At::Granted as usize].0);
        log
    };
    check(&leaf(|leaf| leaf.run = None), Rule::Leaf);
    check(&leaf(|leaf| leaf.sequence = AgentSequence(1)), Rule::Leaf);
    check(&leaf(|leaf| leaf.kind = fettle_model::record::Kind::PlanMade), Rule::Leaf);
    check(
        &leaf(|leaf| {
            leaf.author_key = log_signer().verifier(fettle_audit::note::SignatureKind::Ed25519).key().key_id();
        }),
        Rule::Leaf,
    );
    check(&leaf(|leaf| leaf.retention = fettle_model::record::RetentionClass::Operations), Rule::Leaf);
    check(&leaf(|leaf| leaf.envelope = EnvelopeDigest::of(b"other")), Rule::Envelope);
    // When it was received is the leaf's own word, fixed by the tree.
    check_valid(&leaf(|leaf| leaf.received_at = UnixMillis(7)));
}

#[test]
fn an_envelope_that_the_leaf_names_must_hold_a_record() {
    for (kind, payload) in [("application/vnd.fettle.other.v1+json", "{}"), (RECORD_PAYLOAD_TYPE, "{}")] {
        let mut log = story();
        let envelope = Envelope::seal(kind, payload.as_bytes(), &permit_key()).expect("sealed");
        let at = At::Granted as usize;
        log.records[at].0.envelope = envelope.digest();
        let mut lines = log.lines(&log.head());
        lines[at + 1] = record_line(&log.records[at].0, &envelope);
        let report = verify_bundle(&lines.concat(), &policy());
        assert_eq!(report.findings.first().map(|finding| finding.rule), Some(Rule::Envelope), "{:?}", report.findings);
    }
}

#[test]
fn an_agents_records_have_no_hole_no_repetition_and_no_other_past() {
    let mut hole = story();
    hole.records.remove(At::Passing as usize);
    let report = check(&hole, Rule::Chain);
    assert_eq!(report.findings.len(), 1, "the chain is flagged once: {:?}", report.findings);

    let mut doubled = story();
    let again = doubled.records[At::Passing as usize].clone();
    doubled.records.push(again);
    check(&doubled, Rule::Chain);

    let mut swapped = story();
    swapped.records.swap(At::Passing as usize, At::CriticalAgain as usize);
    check(&swapped, Rule::Chain);

    let mut other_past = story();
    let previous = Some(EnvelopeDigest::of(b"other"));
    let author = Author::Agent { host: host(PRODUCTION), sequence: AgentSequence(8), previous };
    other_past.sealed(author, transition(4, Status::Passing), &record_key(host(PRODUCTION)));
    check(&other_past, Rule::Chain);
}

#[test]
fn a_log_that_lost_its_end_is_a_valid_shorter_log_that_says_so() {
    let mut shorter = story();
    shorter.records.truncate(At::CriticalAgain as usize);
    let report = verify(&shorter);
    assert_eq!(report.verdict(), Verdict::Valid);
    assert_eq!(report.agents[1].sequence, AgentSequence(6));
}

#[test]
fn hosts_are_enrolled_once_by_a_token_of_their_own() {
    check(&without(At::Token), Rule::Enrolment);
    let host_enrolled = |change: fn(&mut HostEnrolled)| changed(At::Enrolled, |body| change(of!(body, HostEnrolled)));
    check(&host_enrolled(|host| host.environment = parsed("staging")), Rule::Enrolment);
    check(
        &host_enrolled(|enrolled| enrolled.record_key = record_key(host(STAGING)).public().to_string()),
        Rule::Enrolment,
    );
    check(&host_enrolled(|enrolled| enrolled.record_key = "x".to_owned()), Rule::Enrolment);
    let staging_token = |number: u128| match token(number, "staging") {
        Body::TokenCreated(created) => created.token,
        _ => TokenId::from_uuid(uuid(0)),
    };
    let used = staging_token(STAGING);
    check(&changed(At::Enrolled, |body| of!(body, HostEnrolled).token = used), Rule::Enrolment);
    check(&changed(At::Token, |body| of!(body, TokenCreated).expires_at = UnixMillis(0)), Rule::Enrolment);
    check(&changed(At::Token, |body| of!(body, TokenCreated).host = Some(parsed("other"))), Rule::Enrolment);
    let mut twice = story();
    twice.control_plane(token(7, "production"));
    let mut again = enrolled(PRODUCTION, "production");
    of!(&mut again, HostEnrolled).token = staging_token(7);
    of!(&mut again, HostEnrolled).record_key = record_key(host(9)).public().to_string();
    twice.control_plane(again);
    check(&twice, Rule::Enrolment);
}

#[test]
fn a_host_that_comes_back_uses_a_token_of_its_own() {
    let check_back = |created: Body, change: fn(&mut CertificateIssued), rule: Option<Rule>| {
        let mut back = story();
        let token = match &created {
            Body::TokenCreated(created) => created.token,
            _ => TokenId::from_uuid(uuid(0)),
        };
        back.control_plane(created);
        let subject =
            SpiffeId { trust_domain: parsed("fettle.example"), principal: Principal::Agent(host(PRODUCTION)) };
        let (generation, not_after) = (CertificateGeneration(2), UnixMillis(u64::MAX >> 12));
        let mut issued =
            CertificateIssued { subject, serial: "2f".to_owned(), generation, not_after, token: Some(token) };
        change(&mut issued);
        back.control_plane(Body::CertificateIssued(Box::new(issued)));
        match rule {
            Some(rule) => {
                check(&back, rule);
            }
            None => assert_eq!(verify(&back).verdict(), Verdict::Valid, "{:?}", verify(&back).findings),
        }
    };
    check_back(token(7, "production"), |_| (), None);
    check_back(token(7, "staging"), |_| (), Some(Rule::Enrolment));
    let used = |issued: &mut CertificateIssued| {
        issued.token = match token(PRODUCTION, "production") {
            Body::TokenCreated(created) => Some(created.token),
            _ => None,
        };
    };
    check_back(token(7, "production"), used, Some(Rule::Enrolment));
    let unknown = |issued: &mut CertificateIssued| issued.subject.principal = Principal::Agent(host(9));
    check_back(token(7, "production"), unknown, Some(Rule::Enrolment));
    let person = |issued: &mut CertificateIssued| issued.subject.principal = Principal::Person(parsed("alice"));
    check_back(token(7, "production"), person, Some(Rule::Enrolment));
}

#[test]
fn a_playbook_is_admitted_with_its_publishers_own_signature() {
    check(&without(At::Admitted), Rule::Playbook);
    let neither = edited(|at, _| match at {
        At::Admitted | At::ScenariosPassed => Edit::Drop,
        _ => Edit::Keep,
    });
    check(&neither, Rule::Drill);
    check(&without(At::Trusted), Rule::Playbook);
    let admitted =
        |change: fn(&mut PlaybookAdmitted)| changed(At::Admitted, |body| change(of!(body, PlaybookAdmitted)));
    check(&admitted(|admitted| admitted.digest = PlaybookDigest::of(b"other")), Rule::Playbook);
    check(&admitted(|admitted| admitted.publication = String::new()), Rule::Playbook);
    check(&admitted(|admitted| admitted.manifest.playbook.version = "2.0.0".to_owned()), Rule::Playbook);
    check(&admitted(|admitted| admitted.publisher = parsed("other")), Rule::Playbook);
    check(&admitted(|admitted| admitted.key = permit_key().public().key_id()), Rule::Playbook);
    check(&changed(At::Trusted, |body| of!(body, PublisherTrusted).key = "x".to_owned()), Rule::Playbook);
}

#[test]
fn evidence_covers_the_version_the_parameters_and_the_class_until_it_expires() {
    check(&without(At::Earned), Rule::Evidence);
    let described_as = |change: fn(&mut fettle_model::host::HostDescription)| {
        changed(At::Described, |body| change(of!(body, HostDescribed)))
    };
    check(&described_as(|host| host.os.version = "13".to_owned()), Rule::Evidence);
    check(&described_as(|host| host.services = [].into()), Rule::Evidence);
    let evidence = |change: fn(&mut fettle_model::evidence::Evidence)| {
        changed(At::Earned, |body| change(of!(body, EvidenceEarned)))
    };
    check(&evidence(|evidence| evidence.expires_at = UnixMillis(crate::log::START.0 + 30_000)), Rule::Evidence);
    check(&evidence(|evidence| evidence.expires_at = UnixMillis(0)), Rule::Evidence);
    check(&evidence(|evidence| evidence.parameters = DocumentDigest::of(b"other")), Rule::Evidence);
    check(&evidence(|evidence| evidence.class.architecture = "riscv64".to_owned()), Rule::Evidence);
    check(&evidence(|evidence| evidence.playbook.digest = PlaybookDigest::of(b"other")), Rule::Evidence);
    check(&evidence(|evidence| evidence.healing = run_id(1)), Rule::Evidence);
    check(&evidence(|evidence| evidence.injection = run_id(9)), Rule::Evidence);
    check(&evidence(|evidence| evidence.observed = vec![LogPosition(35)]), Rule::Evidence);
    check(&evidence(|evidence| evidence.drill = fettle_model::id::DrillId::from_uuid(uuid(7))), Rule::Evidence);
    check(&run(At::HealingEnded, |run| run.ending = Ending::Ineffective), Rule::Evidence);
    check(&evidence(|evidence| evidence.grants.clear()), Rule::Evidence);
    check(&evidence(|evidence| evidence.grants[0].thing = TargetKind::Flag), Rule::Evidence);
    let command = Target::CommandService { name: "web".to_owned() };
    check(
        &edited(|at, body| {
            match body {
                Body::PermitRequested(request) if at == At::Requested => request.targets[0].target = command.clone(),
                Body::PermitGranted(permit) if at == At::Granted => permit.targets[0].target = command.clone(),
                _ => {}
            }
            Edit::Keep
        }),
        Rule::Evidence,
    );
}

#[test]
fn no_drill_begins_before_the_publisher_said_that_the_versions_scenarios_passed() {
    check(&without(At::ScenariosPassed), Rule::Drill);
    let stands_for_nothing = |log: &Log| {
        let report = check(log, Rule::Playbook);
        let words = "began before the scenarios of restart-service passed";
        assert!(report.findings.iter().any(|finding| finding.words.contains(words)), "{:?}", report.findings);
    };
    let said = |change: fn(&mut ScenariosPassed)| {
        stands_for_nothing(&changed(At::ScenariosPassed, |body| change(of!(body, ScenariosPassed))));
    };
    said(|passed| passed.signed = String::new());
    said(|passed| passed.key = permit_key().public().key_id());
    said(|passed| passed.publisher = parsed("other"));
    said(|passed| passed.playbook.name = parsed("another"));
    said(|passed| passed.report.scenarios[0].crashes += 1);
    let reported = |change: fn(&mut ScenarioReport)| {
        let mut report = report();
        change(&mut report);
        let said = scenarios_passed(report);
        stands_for_nothing(&changed(At::ScenariosPassed, |body| *of!(body, ScenariosPassed) = said));
    };
    reported(|report| report.scenarios.clear());
    reported(|report| report.digest = PlaybookDigest::of(b"other"));
    reported(|report| report.scenarios[0].result = ScenarioResult::Failed);
    let named = |position| changed(At::Earned, move |body| of!(body, EvidenceEarned).scenarios = position);
    check(&named(None), Rule::Evidence);
    check(&named(Some(LogPosition(7))), Rule::Evidence);
}

#[test]
fn evidence_needs_a_second_run_that_changed_nothing() {
    let evidence = |change: fn(&mut fettle_model::evidence::Evidence)| {
        changed(At::Earned, |body| change(of!(body, EvidenceEarned)))
    };
    check(&evidence(|evidence| evidence.repetition = None), Rule::Evidence);
    check(&evidence(|evidence| evidence.repetition = Some(run_id(2))), Rule::Evidence);
    check(&run(At::RepetitionEnded, |run| run.ending = Ending::Ineffective), Rule::Evidence);
    // A step that was not announced is found first.
    let report = verify(&run(At::RepetitionEnded, |run| run.steps.push(step_of_a_restart())));
    let found: Vec<Rule> = report.findings.iter().map(|finding| finding.rule).take(2).collect();
    assert_eq!(found, [Rule::Intent, Rule::Evidence]);
    let drop = |dropped: &'static [At]| {
        edited(move |at, body| {
            // What stands where has shifted.
            match body {
                Body::EvidenceEarned(evidence) => evidence.observed.clear(),
                Body::DrillStagePassed(passed) => passed.observed.clear(),
                _ => {}
            }
            if dropped.contains(&at) { Edit::Drop } else { Edit::Keep }
        })
    };
    check(&drop(&[At::StageRepeated]), Rule::Drill);
    check(&drop(&[At::StageHealed]), Rule::Drill);
    check(&drop(&[At::StagingPassing]), Rule::Drill);
    check(&drop(&[At::StagingPassing, At::StageHealed]), Rule::Transition);
    check(&permit(At::RepetitionGranted, |permit| permit.drill = None), Rule::Drill);
    let later = changed(At::StageHealed, |body| of!(body, DrillStagePassed).observed = vec![LogPosition(20)]);
    check(&later, Rule::Drill);
}

#[test]
fn evidence_needs_a_run_that_was_killed_and_says_that_it_was_resumed() {
    let evidence = |change: fn(&mut fettle_model::evidence::Evidence)| {
        changed(At::Earned, |body| change(of!(body, EvidenceEarned)))
    };
    let killed = |injection, healing, step| {
        let killed = KilledRun { injection: run_id(injection), healing: run_id(healing), step };
        changed(At::Earned, move |body| of!(body, EvidenceEarned).killed = Some(killed))
    };
    check(&evidence(|evidence| evidence.killed = None), Rule::Evidence);
    check(&killed(21, 2, 1), Rule::Evidence);
    check(&killed(9, 22, 1), Rule::Evidence);
    check(&killed(21, 22, 2), Rule::Evidence);
    check(&run(At::KilledEnded, |run| run.resumed = 0), Rule::Evidence);
    check(&run(At::KilledEnded, |run| run.steps.clear()), Rule::Evidence);
    check(&run(At::KilledEnded, |run| run.ending = Ending::Ineffective), Rule::Evidence);
    check(&permit(At::KilledGranted, |permit| permit.kill = None), Rule::Drill);
    for other in [At::InjectionGranted, At::HealingGranted, At::RepetitionGranted, At::Granted] {
        check(&permit(other, |permit| permit.kill = Some(KillPoint::FirstDeed)), Rule::Drill);
    }
}

fn step_of_a_restart() -> Step {
    Step {
        number: 1,
        action: Action::Restart,
        label: parsed("service"),
        arguments: String::new(),
        intended_at: UnixMillis(1),
        outcome: StepOutcome::Done { change: Change::Made, undo: UndoClass::None },
    }
}

#[test]
fn drills_run_where_the_owner_allows_them_and_as_they_were_started() {
    check(&changed(At::StagingDescribed, |body| of!(body, HostDescribed).drills = DrillConsent::Refused), Rule::Drill);
    check(&without(At::DrillStarted), Rule::Drill);
    let unknown = DueTime { schedule: parsed("nightly"), due: UnixMillis(crate::log::START.0) };
    check(&changed(At::DrillStarted, |body| of!(body, DrillStarted).scheduled = Some(unknown)), Rule::Drill);
    check(&changed(At::DrillStarted, |body| of!(body, DrillStarted).host = host(9)), Rule::Drill);
    check(&changed(At::DrillStarted, |body| of!(body, DrillStarted).check = parsed("other")), Rule::Drill);
    check(
        &changed(At::DrillStarted, |body| {
            of!(body, DrillStarted).fault.kind = fettle_model::evidence::FaultKind::KillProcess;
        }),
        Rule::Drill,
    );
    check(&permit(At::InjectionGranted, |permit| permit.drill = None), Rule::Drill);
    let injection_dropped = edited(|at, _| match at {
        At::InjectionRequested | At::InjectionGranted | At::InjectionEnded => Edit::Drop,
        _ => Edit::Keep,
    });
    check(&injection_dropped, Rule::Drill);
    check(
        &changed(At::DrillEnded, |body| of!(body, DrillEnded).drill = fettle_model::id::DrillId::from_uuid(uuid(7))),
        Rule::Drill,
    );
    // After its end a drill stands for evidence no longer.
    check(&granted_again(|_| {}, |permit| permit.drill = Some(drill_id())), Rule::Drill);
    check(&permit(At::HealingGranted, |permit| permit.drill = None), Rule::Evidence);
}

#[test]
fn findings_are_bounded_and_the_rest_is_counted() {
    let mut log = story();
    let stranger = SigningKey::from_seed(&[77; 32]);
    for _ in 0..fettle_audit::verify::MAX_FINDINGS + 5 {
        log.sealed(Author::ControlPlane, transition(9, Status::Critical), &stranger);
    }
    let report = check(&log, Rule::Signature);
    assert_eq!((report.findings.len(), report.more_findings), (fettle_audit::verify::MAX_FINDINGS, 5));
}

#[test]
fn a_fork_that_an_agent_shows_is_believed_when_the_logs_key_signed_both_sides() {
    let head = |size: u64, root| {
        let checkpoint = Checkpoint { origin: crate::log::origin(), size: TreeSize(size), root };
        checkpoint.sign(&log_signer()).expect("signed")
    };
    let seen = |held: String, given: String| {
        let mut log = story();
        log.agent(host(PRODUCTION), Body::ForkSeen(Box::new(ForkSeen { held, given })));
        log
    };
    let other = fettle_audit::tree::leaf_hash(b"other");
    check(&seen(head(5, empty_root()), head(5, other)), Rule::Fork);
    check_gap(&seen(head(5, empty_root()), head(6, other)), Rule::ForkReported);
    check_gap(&seen(head(5, empty_root()), "nothing".to_owned()), Rule::ForkReported);
}

#[test]
fn dropping_any_step_of_the_story_is_noticed_or_leaves_a_sound_shorter_story() {
    // Signed anew without it, so only meaning can show the loss. These carry none for others.
    let harmless =
        [At::Certificate, At::DrillEnded, At::Passing, At::Stopped, At::CriticalAgain, At::Refused, At::Resumed];
    edited(|dropped, _| {
        let shorter = edited(|at, body| {
            // What stands where has shifted; what is named by position is not what this test is about.
            match body {
                Body::EvidenceEarned(evidence) => {
                    evidence.observed.clear();
                    let shifted = u64::from((dropped as usize) < At::ScenariosPassed as usize);
                    evidence.scenarios = Some(LogPosition(At::ScenariosPassed as u64 - shifted));
                }
                Body::DrillStagePassed(passed) => passed.observed.clear(),
                Body::PermitGranted(permit) => permit.grounds.clear(),
                _ => {}
            }
            if at == dropped { Edit::Drop } else { Edit::Keep }
        });
        let verdict = verify(&shorter).verdict();
        let expected = match dropped {
            // Its permit is then in flight to the end.
            At::Ended => Verdict::ValidWithGaps,
            at if harmless.contains(&at) => Verdict::Valid,
            _ => Verdict::Invalid,
        };
        assert_eq!(verdict, expected, "{dropped:?}");
        Edit::Keep
    });
}

#[test]
fn time_does_not_decide_but_for_what_expires() {
    let mut log = story();
    let far = log.records[0].1.record().at.plus(Duration::from_hours(1));
    let received = &mut log.records[3].0.received_at;
    *received = far;
    check_valid(&log);
}
