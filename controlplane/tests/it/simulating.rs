//! An edited rule against the log's own history, through the operators' API.

use crate::agent::{Agent, description};
use crate::people::added;
use crate::permits::{configured, request, transition, web};
use crate::site::{Answer, Person, Site, name};
use fettle_model::check::Status;
use fettle_model::identity::Role;
use fettle_model::record::Body;
use fettle_model::remediation::Mode;
use fettle_model::simulation::{Asked, Assume, Edit, Happened, Says, Simulation};
use fettle_proto::operator::{ProblemCode, Query, QueryReply};
use fettle_proto::v1::Hello;

async fn simulate(person: &Person, edit: Edit) -> Answer<Simulation> {
    let query = Query::Simulate { edit: Box::new(edit), since_ms: 3_600_000, assume: Assume::Succeeded };
    match person.query(query).await? {
        QueryReply::Simulation { simulation } => Ok(*simulation),
        other => unreachable!("{other:?}"),
    }
}

/// The one rule that is in force, with another mode in staging.
async fn edited(alice: &Person, mode: Mode) -> Edit {
    let QueryReply::Configuration { declared, .. } = alice.query(Query::Configuration).await.expect("an answer") else {
        unreachable!("another answer")
    };
    let mut rule = declared.remediations.first().cloned().expect("a rule");
    rule.modes.insert(name("staging"), mode);
    Edit { remediations: vec![rule], ..Edit::default() }
}

#[tokio::test]
async fn the_logs_history_is_judged_by_the_edit_beside_what_happened_and_nothing_is_written() {
    let site = Site::new().await;
    let alice = site.alice().await;
    let mut agent = Agent::enrolled(&site, "s1", "staging").await;
    let playbook = configured(&alice).await;
    let (mut session, _) = agent.session_with(&site, Hello { configuration: 1, ..Agent::hello() }).await;
    session.send(agent.record(description("s1", "staging"))).await;
    session.send(agent.record(transition(1, Status::Passing, Status::Critical))).await;
    let asked = request(&agent, &playbook);
    session.send(agent.record(Body::PermitRequested(Box::new(asked)))).await;
    session.acknowledged(3).await;
    let edit = edited(&alice, Mode::Observe).await;
    let before = alice.log().await.len();
    let simulation = simulate(&alice, edit).await.expect("simulated");
    assert_eq!(alice.log().await.len(), before, "nothing is written");
    assert_eq!(simulation.records, u64::try_from(before).expect("a small log"));
    assert!(simulation.begins > simulation.from, "the log is younger than an hour");
    let [fault] = simulation.faults.as_slice() else { unreachable!("{:?}", simulation.faults) };
    assert_eq!((fault.host.as_str(), &fault.check, fault.asked), ("s1", &web(), Asked::Then));
    let [decision] = fault.decisions.as_slice() else { unreachable!("{fault:?}") };
    let Says::Refuses { reasons, .. } = &decision.says else { unreachable!("{decision:?}") };
    let rules: Vec<&str> = reasons.iter().map(fettle_model::refusal::Reason::rule).collect();
    assert!(rules.contains(&"mode") && rules.contains(&"no-evidence"), "the edit's and Cedar's word: {rules:?}");
    let [Happened::Refused { rules, times: 1, .. }] = fault.happened.as_slice() else { unreachable!("{fault:?}") };
    assert!(rules.contains("no-evidence") && !rules.contains("mode"), "{rules:?}");
}

#[tokio::test]
async fn whoever_may_not_read_the_log_may_not_simulate_and_a_wrong_edit_is_refused_as_it_would_be_applied() {
    let site = Site::new().await;
    let alice = site.alice().await;
    configured(&alice).await;
    let edit = edited(&alice, Mode::Observe).await;
    for (person, role, may) in
        [("vera", Role::Viewer, false), ("anna", Role::Author, false), ("odd", Role::Auditor, true)]
    {
        let person = added(&site, person, role).await;
        let simulated = simulate(&person, edit.clone()).await;
        assert_eq!(simulated.is_ok(), may, "{role:?}: {simulated:?}");
        assert!(may || simulated.is_err_and(|problem| problem.code == ProblemCode::Denied));
    }
    let mut wrong = edit;
    wrong.remediations[0].playbook.digest = fettle_model::digest::PlaybookDigest::of(b"never published");
    let problem = simulate(&alice, wrong).await.expect_err("not admitted");
    assert_eq!(problem.code, ProblemCode::NotFound, "{problem:?}");
}
