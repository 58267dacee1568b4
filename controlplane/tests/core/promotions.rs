//! Promotions: what earns the next mode, what sets it back, and that nothing is promoted by itself.

use crate::approvals::{approved, asked, plan, world};
use crate::world::{World, admit, version};
use fettle_controlplane::core::{Outcome, PersonRequest, views};
use fettle_model::breaker::Scope;
use fettle_model::check::Status;
use fettle_model::counter::LogPosition;
use fettle_model::id::HostId;
use fettle_model::playbook::Parameter;
use fettle_model::promotion::{PromotionLimits, PromotionProposed, PromotionRow};
use fettle_model::record::Body;
use fettle_model::remediation::{Mode, Parameters};
use fettle_model::run::{Claim, Ending, Plan};
use std::time::Duration;

/// Production in mode approve with a critical host, and auto proposed after two runs.
fn approving() -> (World, HostId) {
    let (mut world, host) = world();
    world.promotion = PromotionLimits { after: 2 };
    world.guarded(|guard| guard.max_failures = 100);
    (world, host)
}

fn last_position(world: &World) -> LogPosition {
    LogPosition(u64::try_from(world.log.len() - 1).expect("a small log"))
}

/// People approve a run, and it ends so; gives where its end stands.
fn run(world: &mut World, host: HostId, ending: Ending) -> LogPosition {
    approved(world, host);
    let permit = world.ask(host).expect("it is approved");
    world.end(&permit, ending);
    let is_end = |body: &Body| matches!(body, Body::RunEnded(ended) if ended.run == permit.run);
    let index = world.log.iter().position(|logged| is_end(&logged.record.body)).expect("it ended");
    LogPosition(u64::try_from(index).expect("a small log"))
}

/// A run that succeeds, after which the check is healthy for so long.
fn healed(world: &mut World, host: HostId, healthy: Duration) -> LogPosition {
    let position = run(world, host, Ending::Succeeded);
    world.becomes(host, Status::Passing);
    world.advance(healthy);
    position
}

fn row(world: &World) -> PromotionRow {
    let rows = views::promotions(world.core.state(), world.now.wall);
    rows.into_iter().find(|row| row.of.environment.as_str() == "production").expect("a row")
}

fn proposed(world: &World) -> Vec<PromotionProposed> {
    let bodies = world.log.iter().map(|logged| &logged.record.body);
    bodies.filter_map(|body| if let Body::PromotionProposed(it) = body { Some((**it).clone()) } else { None }).collect()
}

#[test]
fn so_many_approved_runs_that_held_propose_auto_once_and_promote_nothing() {
    let (mut world, host) = approving();
    let enough = world.guard.healthy_for;
    let first = healed(&mut world, host, enough);
    world.tick();
    assert_eq!((row(&world).earned_by, proposed(&world)), (vec![first], vec![]));
    world.becomes(host, Status::Critical);
    let second = healed(&mut world, host, enough - Duration::from_millis(1));
    world.tick();
    assert_eq!((row(&world).proving, proposed(&world)), (1, vec![]), "the second has not held yet");
    world.advance(Duration::from_millis(1));
    world.tick();
    world.tick();
    let [promotion] = &proposed(&world)[..] else { unreachable!("{:?}", proposed(&world)) };
    assert_eq!((promotion.with.mode, promotion.to, promotion.after), (Mode::Approve, Mode::Auto, 2));
    assert_eq!(promotion.earned_by, [first, second]);
    assert_eq!(row(&world).proposed, Some(last_position(&world)));
    world.becomes(host, Status::Critical);
    assert!(world.ask(host).is_err(), "people still say yes");
}

#[test]
fn a_run_that_failed_sets_back_to_nothing_and_one_of_which_nothing_is_known_does_not() {
    for (ending, earned) in [
        (Ending::Failed, 0),
        (Ending::Ineffective, 0),
        (Ending::Reverted, 0),
        (Ending::InDoubt, 0),
        (Ending::Superseded, 1),
        (Ending::Cancelled, 1),
        (Ending::Expired, 1),
    ] {
        let (mut world, host) = approving();
        let enough = world.guard.healthy_for;
        healed(&mut world, host, enough);
        world.becomes(host, Status::Critical);
        let position = run(&mut world, host, ending);
        let row = row(&world);
        assert_eq!(row.earned_by.len(), earned, "{ending:?}");
        assert_eq!(row.set_back, (earned == 0).then_some(position), "{ending:?}");
    }
}

#[test]
fn a_success_that_does_not_last_sets_back() {
    let (mut world, host) = approving();
    let enough = world.guard.healthy_for;
    healed(&mut world, host, enough);
    world.becomes(host, Status::Critical);
    healed(&mut world, host, enough - Duration::from_millis(1));
    world.becomes(host, Status::Critical);
    assert_eq!((row(&world).earned_by, row(&world).set_back), (vec![], Some(last_position(&world))));
}

#[test]
fn what_was_earned_is_void_when_the_mode_changes() {
    let (mut world, host) = approving();
    world.promotion = PromotionLimits { after: 1 };
    assert_eq!(world.configure(), Outcome::Done);
    let enough = world.guard.healthy_for;
    healed(&mut world, host, enough);
    world.tick();
    assert_eq!(proposed(&world).len(), 1);
    world.modes.insert("production", Mode::Auto);
    assert_eq!(world.configure(), Outcome::Done);
    assert_eq!(views::promotions(world.core.state(), world.now.wall), []);
    world.modes.insert("production", Mode::Approve);
    assert_eq!(world.configure(), Outcome::Done);
    assert_eq!(views::promotions(world.core.state(), world.now.wall), [], "it begins anew");
}

/// Production in mode observe with a critical host, and approve proposed after one plan.
fn observing() -> (World, HostId) {
    let (mut world, hosts) = World::broken(4);
    world.modes.insert("production", Mode::Observe);
    world.promotion = PromotionLimits { after: 1 };
    assert_eq!(world.configure(), Outcome::Done);
    (world, hosts[0])
}

/// The host asks, is refused, and plans; `claim` is what the playbook would have said.
fn observe(world: &mut World, host: HostId, claim: Claim) {
    let request = world.request(host);
    let planned = Plan { claim, ..plan(&request) };
    asked(world, host, request).expect_err("it only observes");
    assert_eq!(world.say(host, Body::PlanMade(Box::new(planned))), Outcome::Done);
}

fn resolved() -> Claim {
    Claim::Resolved { summary: "restarted".to_owned() }
}

#[test]
fn a_plan_that_nothing_but_the_mode_stood_in_the_way_of_counts_once_for_a_problem() {
    let (mut world, host) = observing();
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "quiet".to_owned() });
    observe(&mut world, host, resolved());
    assert_eq!(views::promotions(world.core.state(), world.now.wall), [], "it was stopped as well");
    world.done(PersonRequest::Resume { scope: Scope::Global, why: "quiet".to_owned() });
    observe(&mut world, host, resolved());
    let position = last_position(&world);
    observe(&mut world, host, resolved());
    assert_eq!(row(&world).earned_by, [position]);
    world.tick();
    let [promotion] = &proposed(&world)[..] else { unreachable!("{:?}", proposed(&world)) };
    assert_eq!((promotion.to, &promotion.earned_by[..]), (Mode::Approve, &[position][..]));
}

#[test]
fn a_plan_that_would_have_failed_sets_back_and_one_for_a_fault_that_was_gone_counts_for_nothing() {
    let (mut world, host) = observing();
    observe(&mut world, host, resolved());
    observe(&mut world, host, Claim::Failed { summary: "no".to_owned(), detail: Vec::new() });
    assert_eq!((row(&world).earned_by, row(&world).set_back), (vec![], Some(last_position(&world))));
    let (mut world, host) = observing();
    let request = world.request(host);
    let planned = plan(&request);
    asked(&mut world, host, request).expect_err("it only observes");
    world.becomes(host, Status::Passing);
    assert_eq!(world.say(host, Body::PlanMade(Box::new(planned))), Outcome::Done);
    assert_eq!(views::promotions(world.core.state(), world.now.wall), []);
}

#[test]
fn a_host_that_a_rollout_has_not_reached_earns_nothing_for_parameters_that_it_does_not_have() {
    let (mut world, host) = observing();
    let mut admission = admit("restart-service", "2.0.0", "acme");
    let PersonRequest::AdmitPlaybook { admission: admitted, .. } = &mut admission else { unreachable!("it admits") };
    let seconds = Parameter::Integer { default: 1, minimum: 1, maximum: 9, summary: "a test's".to_owned() };
    admitted.manifest.parameters.insert("seconds".to_owned(), seconds);
    world.done(admission);
    let value = |seconds: i64| Parameters([("seconds".to_owned(), seconds.into())].into());
    world.playbook = ("2.0.0", value(3));
    assert_eq!(world.configure(), Outcome::Done);
    let staging = world.host("s9", "staging");
    world.drill_through(staging);
    let plans = |world: &mut World| {
        let request = world.request(host);
        let planned = Plan { playbook: version("restart-service", "2.0.0"), ..plan(&request) };
        asked(world, host, request).expect_err("it only observes");
        assert_eq!(world.say(host, Body::PlanMade(Box::new(planned))), Outcome::Done);
        views::promotions(world.core.state(), world.now.wall).len()
    };
    assert_eq!(plans(&mut world), 1);
    let mut declared = world.core.state().configuration().declared();
    declared.remediations.first_mut().expect("one").parameters = value(5);
    let replaces = world.core.state().configuration().generation();
    world.done(PersonRequest::SetConfiguration { declared: Box::new(declared), replaces });
    assert!(world.core.state().rollout().is_some(), "it has not reached the host");
    assert_eq!(plans(&mut world), 0);
}
