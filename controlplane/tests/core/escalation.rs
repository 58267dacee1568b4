//! Escalation lists: whose turn it is, and what ends a turn.

use crate::world::{Answer, World, admit, description, fault, version, web};
use fettle_controlplane::core::{Due, Outcome, PersonRequest, ProposalState, views};
use fettle_model::breaker::Scope;
use fettle_model::check::Status;
use fettle_model::escalation::{Escalation, Further, Rung, RungStanding, Tried, TriedHow};
use fettle_model::host::Binding;
use fettle_model::id::{DrillId, HostId};
use fettle_model::incident::IncidentCause;
use fettle_model::permit::{Permit, PermitRejection, PermitRequest, Purpose};
use fettle_model::playbook::Action;
use fettle_model::proposal::EndedBecause;
use fettle_model::record::{Body, Kind};
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Mode, Parameters, PlaybookVersion};
use fettle_model::run::Ending;
use fettle_model::withheld::{Hindrance, Lack, Unbound};
use std::time::Duration;

const FIRST_TIMEOUT: Duration = Duration::from_mins(10);
const SECOND_TIMEOUT: Duration = Duration::from_mins(20);

fn rung(number: u32) -> Rung {
    Rung::try_from(number).expect("a rung")
}

fn playbook(number: u32) -> PlaybookVersion {
    version(if number == 1 { "restart-service" } else { "rollback-release" }, "1.0.0")
}

fn on(request: &mut PermitRequest, number: u32) {
    request.playbook = Some(playbook(number).digest);
    match &mut request.purpose {
        Purpose::Remediate { rung: asked, .. } => *asked = rung(number),
        other => unreachable!("{other:?}"),
    }
}

fn ask(world: &mut World, host: HostId, number: u32) -> Answer {
    world.ask_with(host, |request| on(request, number))
}

/// Production with a list of two proven playbooks, no cooldown, and a critical host.
fn world() -> (World, HostId) {
    let (mut world, hosts) = World::proved(5);
    world.done(admit("rollback-release", "1.0.0", "acme"));
    let known: Vec<_> =
        world.core.state().hosts().map(|host| (host.id, host.name.clone(), host.environment.clone())).collect();
    for (host, name, environment) in &known {
        let mut described = description(name.as_str(), environment.as_str());
        let first = described.bindings.first().expect("a binding").clone();
        let second = Binding { playbook: playbook(2).name, ..first.clone() };
        described.bindings = vec![first, second].into();
        assert_eq!(world.say(*host, Body::HostDescribed(Box::new(described))), Outcome::Done);
    }
    let modes = world.modes.iter().map(|(name, mode)| (name.parse().expect("a name"), *mode)).collect();
    let second = Further { playbook: playbook(2), parameters: Parameters::default(), modes, timeout: SECOND_TIMEOUT };
    world.escalation = Escalation { timeout: FIRST_TIMEOUT, then: vec![second] };
    world.guarded(|guard| {
        guard.cooldown = Duration::ZERO;
        guard.max_attempts = 9;
        guard.max_failures = 100;
    });
    let (staging, _, _) = known.iter().find(|(_, _, environment)| environment.is_staging()).expect("a staging host");
    prove_second(&mut world, *staging);
    world.becomes(hosts[0], Status::Critical);
    (world, hosts[0])
}

/// Drills the second playbook through, in which it is due although nothing was tried before it.
fn prove_second(world: &mut World, host: HostId) {
    let drill = DrillId::from_uuid(world.mint());
    world.done(PersonRequest::StartDrill { drill, host, check: web(), fault: fault(), rung: rung(2) });
    let injection = world.ask_to_inject(host, drill).expect("the injection is permitted");
    world.end(&injection, Ending::Succeeded);
    world.becomes(host, Status::Critical);
    let refusal = ask(world, host, 1).expect_err("the drill is of the second");
    assert_eq!(refusal.reasons.first(), Some(&Reason::RungNotDue { asked: rung(1), due: rung(2), clears_at: None }));
    let healing = ask(world, host, 2).expect("the healing is permitted");
    world.becomes(host, Status::Passing);
    world.end(&healing, Ending::Succeeded);
    let repetition = world.ask_with(host, |request| {
        on(request, 2);
        let remediation = "restart-web".parse().expect("a name");
        request.purpose = Purpose::Repeat { drill, check: web(), remediation };
    });
    world.end(&repetition.expect("the second run is permitted"), Ending::Succeeded);
    let injection = world.ask_to_inject(host, drill).expect("the injection is permitted");
    world.end(&injection, Ending::Succeeded);
    world.becomes(host, Status::Critical);
    let killed = ask(world, host, 2).expect("the healing is permitted");
    world.announce(host, &killed, 1);
    world.becomes(host, Status::Passing);
    let report = world.resumed(&killed, Ending::Succeeded);
    assert_eq!(world.say(host, Body::RunEnded(Box::new(report))), Outcome::Done);
    assert_eq!(world.count(|body| matches!(body, Body::EvidenceEarned(_))), 2, "both are proven");
}

fn due(world: &World, host: HostId) -> Due {
    let state = world.core.state();
    state.due(host, state.configuration().answer_to(&web()).expect("it is answered"), world.now.wall)
}

fn tried_on(number: u32, permit: &Permit, ending: Ending) -> Tried {
    Tried { rung: rung(number), playbook: playbook(number).name, how: TriedHow::Ended { run: permit.run, ending } }
}

fn causes(world: &World) -> Vec<IncidentCause> {
    let incidents = world.log.iter().filter_map(|logged| match &logged.record.body {
        Body::IncidentOpened(incident) => Some(incident.cause.clone()),
        _ => None,
    });
    incidents.collect()
}

#[test]
fn a_run_that_did_not_help_ends_its_turn_and_one_of_which_nothing_is_known_does_not() {
    for (ending, next) in [
        (Ending::Ineffective, 2),
        (Ending::Failed, 2),
        (Ending::Reverted, 2),
        (Ending::Succeeded, 1),
        (Ending::Superseded, 1),
        (Ending::Cancelled, 1),
        (Ending::Expired, 1),
        (Ending::InDoubt, 1),
    ] {
        let (mut world, host) = world();
        let permit = ask(&mut world, host, 1).expect("the first is due");
        world.end(&permit, ending);
        assert_eq!(due(&world, host), Due::Rung(rung(next)), "{ending:?}");
        let other = 3 - next;
        let refusal = ask(&mut world, host, other).expect_err("it is not due");
        let clears_at = (next == 1).then(|| world.now.wall.plus(FIRST_TIMEOUT));
        assert_eq!(
            refusal.reasons,
            [Reason::RungNotDue { asked: rung(other), due: rung(next), clears_at }],
            "{ending:?}"
        );
        let granted = ask(&mut world, host, next).expect("it is due");
        assert_eq!(granted.playbook, Some(playbook(next)), "{ending:?}");
    }
}

#[test]
fn a_permit_the_host_does_not_allow_ends_the_turn_and_one_that_came_late_does_not() {
    let label = "worker".parse().expect("a label");
    let above = PermitRejection::AboveCeiling { label, action: Action::Restart };
    for (because, next) in [(above, 2), (PermitRejection::PlaybookUntrusted, 2), (PermitRejection::Busy, 1)] {
        let (mut world, host) = world();
        let permit = ask(&mut world, host, 1).expect("the first is due");
        world.reject(&permit, because.clone());
        assert_eq!(due(&world, host), Due::Rung(rung(next)), "{because:?}");
    }
}

#[test]
fn a_success_that_does_not_last_ends_its_turn() {
    let (mut world, host) = world();
    let permit = ask(&mut world, host, 1).expect("the first is due");
    world.end(&permit, Ending::Succeeded);
    world.becomes(host, Status::Passing);
    world.advance(Duration::from_mins(9));
    world.becomes(host, Status::Critical);
    assert_eq!(due(&world, host), Due::Rung(rung(2)));
}

#[test]
fn a_check_that_stayed_healthy_begins_a_new_problem_with_the_first_rung() {
    let (mut world, host) = world();
    let permit = ask(&mut world, host, 1).expect("the first is due");
    world.end(&permit, Ending::Ineffective);
    let permit = ask(&mut world, host, 2).expect("the second is due");
    world.end(&permit, Ending::Succeeded);
    world.becomes(host, Status::Passing);
    world.advance(world.guard.healthy_for);
    world.becomes(host, Status::Critical);
    assert_eq!(due(&world, host), Due::Rung(rung(1)));
    assert!(ask(&mut world, host, 1).is_ok());
}

#[test]
fn a_turn_is_over_when_its_timeout_passes_with_the_check_still_critical() {
    let (mut world, host) = world();
    let permit = ask(&mut world, host, 1).expect("the first is due");
    world.end(&permit, Ending::Expired);
    world.advance(FIRST_TIMEOUT - Duration::from_millis(1));
    assert_eq!(due(&world, host), Due::Rung(rung(1)));
    world.advance(Duration::from_millis(1));
    assert_eq!(due(&world, host), Due::Rung(rung(2)));
    let second = ask(&mut world, host, 2).expect("the second is due");
    world.end(&second, Ending::Expired);
    world.advance(SECOND_TIMEOUT);
    let refusal = ask(&mut world, host, 2).expect_err("it is people's turn");
    assert_eq!(refusal.reasons, [Reason::RungsExhausted { rungs: 2 }]);
    let tried = vec![tried_on(1, &permit, Ending::Expired), tried_on(2, &second, Ending::Expired)];
    assert_eq!(causes(&world), [IncidentCause::AttemptsExhausted { attempts: 2, tried }]);
}

#[test]
fn health_in_between_lets_the_timeout_begin_anew() {
    let (mut world, host) = world();
    let permit = ask(&mut world, host, 1).expect("the first is due");
    world.end(&permit, Ending::Superseded);
    world.becomes(host, Status::Passing);
    world.advance(Duration::from_mins(9));
    world.becomes(host, Status::Critical);
    world.advance(Duration::from_mins(2));
    assert_eq!(due(&world, host), Due::Rung(rung(1)));
}

#[test]
fn a_run_whose_effects_may_be_in_progress_is_never_overtaken() {
    let (mut world, host) = world();
    let permit = ask(&mut world, host, 1).expect("the first is due");
    world.advance(FIRST_TIMEOUT * 2);
    assert_eq!(due(&world, host), Due::Rung(rung(1)));
    let refusal = ask(&mut world, host, 2).expect_err("the first still runs");
    assert!(refusal.reasons.contains(&Reason::RungNotDue { asked: rung(2), due: rung(1), clears_at: None }));
    world.end(&permit, Ending::Cancelled);
    assert_eq!(due(&world, host), Due::Rung(rung(2)), "its time was over");
}

#[test]
fn after_the_last_rung_people_are_called_once_with_what_was_tried() {
    let (mut world, host) = world();
    let first = ask(&mut world, host, 1).expect("the first is due");
    world.end(&first, Ending::Failed);
    assert_eq!(causes(&world), []);
    let second = ask(&mut world, host, 2).expect("the second is due");
    world.end(&second, Ending::Ineffective);
    let tried = vec![tried_on(1, &first, Ending::Failed), tried_on(2, &second, Ending::Ineffective)];
    let expected = [IncidentCause::AttemptsExhausted { attempts: 2, tried }];
    assert_eq!(causes(&world), expected);
    assert_eq!(due(&world, host), Due::People);
    let refusal = ask(&mut world, host, 2).expect_err("it is people's turn");
    assert_eq!(refusal.reasons, [Reason::RungsExhausted { rungs: 2 }]);
    assert_eq!(refusal.retry_at, None);
    assert_eq!(causes(&world), expected);
}

#[test]
fn the_attempts_bound_all_rungs_together() {
    let (mut world, host) = world();
    world.guarded(|guard| guard.max_attempts = 1);
    let permit = ask(&mut world, host, 1).expect("the first is due");
    world.end(&permit, Ending::Ineffective);
    let refusal = ask(&mut world, host, 2).expect_err("no attempt is left");
    assert_eq!(refusal.reasons, [Reason::MaxAttempts { limit: 1, value: 1, began_with: None }]);
    let tried = vec![tried_on(1, &permit, Ending::Ineffective)];
    assert_eq!(causes(&world), [IncidentCause::AttemptsExhausted { attempts: 1, tried }]);
}

/// The host's agent says that it does not ask for a rung.
fn withhold(world: &mut World, host: HostId, number: u32, because: Hindrance) {
    let mut request = world.request(host);
    on(&mut request, number);
    world.withhold(host, request.purpose, vec![because]);
}

fn unbound() -> Hindrance {
    Hindrance::Unbound { label: "worker".parse().expect("a label"), how: Unbound::Nothing }
}

#[test]
fn a_rung_that_the_host_cannot_run_is_passed_over_and_after_the_last_people_are_called() {
    let (mut world, host) = world();
    withhold(&mut world, host, 2, unbound());
    assert_eq!(due(&world, host), Due::Rung(rung(1)), "the second is not due");
    withhold(&mut world, host, 1, unbound());
    assert_eq!(due(&world, host), Due::Rung(rung(2)));
    assert_eq!(causes(&world), []);
    withhold(&mut world, host, 2, unbound());
    assert_eq!(due(&world, host), Due::People);
    let [IncidentCause::AttemptsExhausted { attempts: 0, tried }] = &causes(&world)[..] else {
        unreachable!("{:?}", causes(&world))
    };
    let said: Vec<String> = tried.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2);
    assert_eq!(said.first().map(String::as_str), Some("restart-service passed over"));
}

#[test]
fn a_playbook_on_its_way_is_waited_for_as_long_as_its_timeout() {
    let (mut world, host) = world();
    withhold(&mut world, host, 1, Hindrance::PlaybookNotReady { lacks: Lack::Package });
    assert_eq!(due(&world, host), Due::Rung(rung(1)));
    world.advance(FIRST_TIMEOUT);
    assert_eq!(due(&world, host), Due::Rung(rung(2)));
    assert!(ask(&mut world, host, 2).is_ok());
}

#[test]
fn what_was_withheld_before_there_was_a_list_is_passed_over_when_there_is_one() {
    let (mut world, host) = world();
    let list = std::mem::take(&mut world.escalation);
    assert_eq!(world.configure(), Outcome::Done);
    withhold(&mut world, host, 1, unbound());
    assert_eq!(due(&world, host), Due::Rung(rung(1)), "without a list nothing else is due");
    world.escalation = list;
    assert_eq!(world.configure(), Outcome::Done);
    assert_eq!(due(&world, host), Due::Rung(rung(2)));
}

#[test]
fn the_mode_is_the_rungs_own() {
    let (mut world, host) = world();
    world.escalation.then[0].modes.insert("production".parse().expect("a name"), Mode::Approve);
    assert_eq!(world.configure(), Outcome::Done);
    let permit = ask(&mut world, host, 1).expect("the first acts by itself");
    world.end(&permit, Ending::Ineffective);
    let refusal = ask(&mut world, host, 2).expect_err("the second waits for people");
    assert_eq!(refusal.reasons, [Reason::Mode { mode: Mode::Approve, proposal: None }]);
}

#[test]
fn a_refusal_without_a_time_is_asked_about_again_when_the_turn_is_over_and_when_something_changes() {
    let (mut world, host) = world();
    let permit = ask(&mut world, host, 1).expect("the first is due");
    let over_at = world.now.wall.plus(FIRST_TIMEOUT);
    world.end(&permit, Ending::Expired);
    let (scope, why) = (Scope::Global, "quiet".to_owned());
    world.done(PersonRequest::Stop { scope: scope.clone(), why: why.clone() });
    let refusal = ask(&mut world, host, 1).expect_err("automation is stopped");
    assert_eq!(refusal.retry_at, Some(over_at));
    world.done(PersonRequest::Resume { scope, why });
    let nudged = views::nudges(world.core.state(), Kind::AutomationResumed);
    assert_eq!(nudged.iter().map(|nudge| nudge.host).collect::<Vec<_>>(), [host]);
}

#[test]
fn a_list_is_told_as_tried_due_and_next() {
    let (mut world, host) = world();
    let standings = |world: &World| -> Vec<RungStanding> {
        let rows = views::rungs(world.core.state(), host, &web(), world.now.wall);
        rows.iter().map(|row| row.standing).collect()
    };
    assert_eq!(standings(&world), [RungStanding::Due { over_at: None }, RungStanding::Waiting]);
    let permit = ask(&mut world, host, 1).expect("the first is due");
    world.end(&permit, Ending::Ineffective);
    assert_eq!(standings(&world), [RungStanding::Over, RungStanding::Due { over_at: None }]);
    let rows = views::rungs(world.core.state(), host, &web(), world.now.wall);
    assert_eq!(rows[0].tried, [tried_on(1, &permit, Ending::Ineffective)]);
    world.restart();
    assert_eq!(standings(&world), [RungStanding::Over, RungStanding::Due { over_at: None }], "after a restart");
}

#[test]
fn a_proposal_ends_when_its_host_asks_for_the_rung_that_is_due_by_now() {
    let (mut world, host) = world();
    world.modes.insert("production", Mode::Approve);
    let modes = world.modes.iter().map(|(name, mode)| (name.parse().expect("a name"), *mode)).collect();
    world.escalation.then.first_mut().expect("a second").modes = modes;
    world.configure();
    let request = world.request(host);
    let plan = crate::approvals::plan(&request);
    crate::approvals::asked(&mut world, host, request).expect_err("people have to say yes");
    assert_eq!(world.say(host, Body::PlanMade(Box::new(plan))), Outcome::Done);
    let Body::ProposalMade(proposal) = world.last() else { unreachable!("{:?}", world.last()) };
    let (first, made) = (rung(1), proposal.proposal);
    assert_eq!(proposal.rung, first);
    withhold(&mut world, host, 1, unbound());
    ask(&mut world, host, 2).expect_err("people have to say yes to that one too");
    let state = &world.core.state().proposal(made).expect("it is known").state;
    assert_eq!(state, &ProposalState::Ended { because: EndedBecause::RungChanged });
}
