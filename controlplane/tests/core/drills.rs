//! Drills: how a playbook version earns evidence, and every way in which it does not.

use crate::world::{World, description, fault, targets, version, web};
use fettle_controlplane::core::views::{self, DrillWish};
use fettle_controlplane::core::{EVIDENCE_VALID_FOR, INJECTION_WITHIN, Outcome, PersonRefusal, PersonRequest};
use fettle_model::check::Status;
use fettle_model::escalation::Rung;
use fettle_model::evidence::{DrillResult, DrillStage, Fault, FaultKind};
use fettle_model::host::DrillConsent;
use fettle_model::id::{DrillId, HostId};
use fettle_model::permit::{KillPoint, PermitRejection, Purpose, Target, TargetKind};
use fettle_model::playbook::Action;
use fettle_model::record::{Body, Kind};
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use fettle_model::run::{Change, Ending, RunRecord, Step, StepOutcome, UndoClass};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::{Hindrance, Lack, Unbound};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

fn staging() -> (World, HostId) {
    let mut world = World::new();
    let host = world.host("s0", "staging");
    world.host("s1", "staging");
    (world, host)
}

fn ended(world: &World) -> Vec<DrillResult> {
    world
        .log
        .iter()
        .filter_map(|logged| match &logged.record.body {
            Body::DrillEnded(ending) => Some(ending.result.clone()),
            _ => None,
        })
        .collect()
}

#[track_caller]
fn not_proved(world: &World, reason: &str) {
    assert_eq!(ended(world), [DrillResult::NotProved { reason: reason.to_owned() }]);
    assert_eq!(world.count(|body| body.kind() == Kind::EvidenceEarned), 0);
}

#[test]
fn a_healed_drill_earns_evidence_that_names_what_was_observed() {
    let (mut world, host) = staging();
    world.drill_through(host);
    assert_eq!(ended(&world), [DrillResult::Proved]);
    let evidence = world
        .log
        .iter()
        .find_map(|logged| match &logged.record.body {
            Body::EvidenceEarned(evidence) => Some((**evidence).clone()),
            _ => None,
        })
        .expect("evidence");
    assert_eq!(evidence.playbook, version("restart-service", "1.0.0"));
    assert_eq!(evidence.class.to_string(), "web by systemd on debian 12 x86_64");
    assert_eq!(evidence.expires_at, world.now.wall.plus(EVIDENCE_VALID_FOR));
    let observed: Vec<&str> =
        evidence.observed.iter().map(|position| world.record(*position).body.kind().as_str()).collect();
    let (healed, repeated) = (["transition-seen", "run-ended", "transition-seen"], ["run-ended"]);
    assert_eq!(observed, [&healed[..], &repeated, &healed].concat());
    let things: Vec<_> = evidence.grants.iter().map(|grant| (grant.label.as_str(), grant.thing)).collect();
    assert_eq!(things, [("check", TargetKind::Health), ("worker", TargetKind::SystemdUnit)]);
    let killed = evidence.killed.expect("a killed run");
    let (injection, healing) = (Some(evidence.injection), Some(evidence.healing));
    let runs: BTreeSet<_> =
        [injection, healing, evidence.repetition, Some(killed.injection), Some(killed.healing)].into();
    assert_eq!((runs.len(), killed.step), (5, 1));
    let stages = views::drills(world.core.state(), 1).remove(0).stages;
    let stages: Vec<_> = stages.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, [DrillStage::Healed, DrillStage::Repeated, DrillStage::Killed]);
}

#[test]
fn a_drill_whose_host_cannot_run_the_playbook_ends_at_once_and_one_that_only_waits_goes_on() {
    let (mut world, host) = staging();
    let (drill, _) = world.start_drill(host);
    let purpose = |drill| Purpose::InjectFault { drill, fault: fault() };
    let unbound = Hindrance::Unbound { label: fault().on, how: Unbound::Nothing };
    world.withhold(host, purpose(drill), vec![Hindrance::PlaybookNotReady { lacks: Lack::Compilation }]);
    world.withhold(host, purpose(DrillId::from_uuid(uuid::Uuid::from_u128(99))), vec![unbound.clone()]);
    assert_eq!(ended(&world), [], "it is compiled soon, and another drill is not this one");
    world.withhold(host, purpose(drill), vec![Hindrance::PlaybookNotReady { lacks: Lack::Compilation }, unbound]);
    not_proved(&world, "the host cannot run the playbook: unbound");
}

#[test]
fn a_host_that_has_been_permitted_to_inject_does_not_end_its_drill_by_its_word() {
    let (mut world, host) = staging();
    let (drill, _) = world.start_drill(host);
    world.ask_to_inject(host, drill).expect("a permit");
    world.withhold(host, Purpose::InjectFault { drill, fault: fault() }, vec![Hindrance::LogForked]);
    assert_eq!(ended(&world), []);
}

#[test]
fn the_passing_check_may_come_after_the_runs_record() {
    let (mut world, host) = staging();
    let healing = world.drill_to_healing(host);
    assert!(healing.drill.is_some());
    world.end(&healing, Ending::Succeeded);
    assert_eq!(ended(&world), [], "the playbook's word is not enough");
    world.becomes(host, Status::Passing);
    let drill = healing.drill.expect("of a drill");
    assert_eq!(views::waiting_drill(world.core.state(), host), Some(DrillWish::Repeat(drill)));
    let repetition = world.ask_to_repeat(host, drill).expect("a permit");
    assert_eq!(views::waiting_drill(world.core.state(), host), None);
    world.end(&repetition, Ending::Superseded);
    let injection = world.ask_to_inject(host, drill).expect("a permit");
    world.end(&injection, Ending::Succeeded);
    world.becomes(host, Status::Critical);
    let killed = world.ask(host).expect("a permit");
    let report = world.resumed(&killed, Ending::Succeeded);
    world.say(host, Body::RunEnded(Box::new(report)));
    assert_eq!(ended(&world), [], "nor is the record of the run that was killed");
    world.becomes(host, Status::Passing);
    assert_eq!(ended(&world), [DrillResult::Proved]);
}

#[test]
fn the_run_that_heals_the_second_fault_alone_is_killed_and_spends_no_attempt() {
    let (mut world, host) = staging();
    world.guarded(|guard| guard.max_attempts = 1);
    let healing = world.drill_to_healing(host);
    assert_eq!(healing.kill, None);
    world.becomes(host, Status::Passing);
    world.end(&healing, Ending::Succeeded);
    let drill = healing.drill.expect("of a drill");
    let repetition = world.ask_to_repeat(host, drill).expect("a permit");
    assert_eq!(repetition.kill, None);
    let early = world.ask_to_inject(host, drill).expect_err("the second run is in progress");
    assert!(early.reasons.contains(&Reason::NoSuchDrill), "{early:?}");
    world.end(&repetition, Ending::Succeeded);
    assert_eq!(views::waiting_drill(world.core.state(), host), Some(DrillWish::Inject(drill)));
    world.becomes(host, Status::Warning);
    let unwell = world.ask_to_inject(host, drill).expect_err("the check does not pass any more");
    assert_eq!(unwell.reasons, [Reason::NoSuchDrill]);
    world.becomes(host, Status::Passing);
    let injection = world.ask_to_inject(host, drill).expect("a permit");
    assert_eq!((injection.kill, views::waiting_drill(world.core.state(), host)), (None, None));
    world.end(&injection, Ending::Succeeded);
    world.becomes(host, Status::Critical);
    let attempts = world.core.state().attempts(host, &web()).count;
    let killed = world.ask(host).expect("neither cooldown nor attempts stand in its way");
    assert_eq!((killed.kill, killed.drill), (Some(KillPoint::FirstDeed), Some(drill)));
    assert_eq!(world.core.state().attempts(host, &web()).count, attempts, "the fault is the drill's own");
}

#[test]
fn a_fault_of_its_own_between_the_second_run_and_the_second_fault_is_not_the_drills() {
    let (mut world, host) = staging();
    world.guarded(|guard| guard.cooldown = Duration::ZERO);
    world.drill_to_repeated(host);
    world.becomes(host, Status::Critical);
    let refusal = world.ask(host).expect_err("no drill broke it");
    assert_eq!(refusal.reasons.iter().map(Reason::rule).collect::<Vec<_>>(), ["no-evidence"]);
}

#[test]
fn a_drill_is_not_proved_when_the_run_to_be_killed_was_not_or_does_not_finish() {
    let never = "the run that was to be killed did nothing to the host, or was never resumed";
    type Change = fn(&mut RunRecord);
    let cases: [(Ending, Change, &str); 3] = [
        (Ending::Succeeded, |report| report.resumed = 0, never),
        (Ending::Succeeded, |report| report.steps.clear(), never),
        (Ending::InDoubt, |_| (), "the killed run ended in-doubt"),
    ];
    for (ending, change, reason) in cases {
        let (mut world, host) = staging();
        let killed = world.drill_to_killing(host);
        world.becomes(host, Status::Passing);
        let mut report = world.resumed(&killed, ending);
        change(&mut report);
        world.say(host, Body::RunEnded(Box::new(report)));
        not_proved(&world, reason);
    }
}

#[test]
fn a_drill_is_not_proved_when_the_second_run_changes_something_or_does_not_end_well() {
    let step = |outcome| Step {
        number: 1,
        action: Action::Restart,
        label: fault().on,
        arguments: String::new(),
        intended_at: UnixMillis(1),
        outcome,
    };
    let made = StepOutcome::Done { change: Change::Made, undo: UndoClass::None };
    let unneeded = StepOutcome::Done { change: Change::Unneeded, undo: UndoClass::None };
    let unclear = StepOutcome::Indeterminate { detail: String::new() };
    let refused = StepOutcome::Refused { rule: "stale".to_owned(), detail: String::new() };
    let changed = "the second run changed something: step 1, restart on worker";
    for (ending, outcome, reason) in [
        (Ending::Succeeded, made, Some(changed)),
        (Ending::Succeeded, unclear, Some(changed)),
        (Ending::Succeeded, unneeded.clone(), None),
        (Ending::Superseded, refused, None),
        (Ending::Ineffective, unneeded, Some("the second run ended ineffective")),
    ] {
        let (mut world, host) = staging();
        let drill = world.drill_to_healed(host);
        let permit = world.ask_to_repeat(host, drill).expect("a permit");
        let mut report = world.report(&permit, ending);
        report.steps.push(step(outcome));
        assert_eq!(world.say(host, Body::RunEnded(Box::new(report))), Outcome::Done);
        match reason {
            Some(reason) => not_proved(&world, reason),
            None => assert_eq!(views::waiting_drill(world.core.state(), host), Some(DrillWish::Inject(drill))),
        }
    }
}

#[test]
fn the_second_run_of_a_drill_waits_for_its_time_and_runs_once() {
    let (mut world, host) = staging();
    let healing = world.drill_to_healing(host);
    let drill = healing.drill.expect("of a drill");
    world.end(&healing, Ending::Succeeded);
    let early = world.ask_to_repeat(host, drill).expect_err("the check does not pass yet");
    assert_eq!(early.reasons, [Reason::NoSuchDrill]);
    world.becomes(host, Status::Passing);
    world.becomes(host, Status::Warning);
    let unwell = world.ask_to_repeat(host, drill).expect_err("the check does not pass any more");
    assert_eq!(unwell.reasons, [Reason::NoSuchDrill]);
    world.becomes(host, Status::Passing);
    assert_eq!(world.count(|body| body.kind() == Kind::DrillStagePassed), 1, "a stage is passed once");
    let attempts = world.core.state().attempts(host, &web()).count;
    let permit = world.ask_to_repeat(host, drill).expect("a permit");
    assert_eq!(world.core.state().attempts(host, &web()).count, attempts, "it answers no problem");
    assert_eq!(permit.drill, Some(drill));
    world.becomes(host, Status::Warning);
    world.end(&permit, Ending::Succeeded);
    not_proved(&world, "the check did not go on passing during the second run");
}

#[test]
fn a_second_run_shares_the_groups_budget_and_needs_the_owners_consent() {
    let (mut world, host) = staging();
    let drill = world.drill_to_healed(host);
    let other = world.core.state().hosts().map(|known| known.id).find(|id| *id != host).expect("a second host");
    world.becomes(other, Status::Critical);
    let refusal = world.ask_to_repeat(host, drill).expect_err("no other host is healthy");
    assert_eq!(refusal.reasons, [Reason::MinHealthy { limit: 1, value: 0 }]);
    world.becomes(other, Status::Passing);
    let mut described = description("s0", "staging");
    described.drills = DrillConsent::Refused;
    world.say(host, Body::HostDescribed(Box::new(described)));
    let refusal = world.ask_to_repeat(host, drill).expect_err("the owner changed their mind");
    assert_eq!(refusal.reasons, [Reason::NoSuchDrill]);
}

#[test]
fn evidence_does_not_cover_other_kinds_of_things() {
    let (mut world, host) = staging();
    world.drill_through(host);
    let production = world.host("p0", "production");
    world.host("p1", "production");
    world.becomes(production, Status::Critical);
    let refusal = world
        .ask_with(production, |request| {
            for target in &mut request.targets {
                if target.label == fault().on {
                    target.target = Target::CommandService { name: "web".to_owned() };
                }
            }
        })
        .expect_err("the label stands for another kind of thing");
    assert_eq!(refusal.reasons, [Reason::EvidenceDiffers { labels: vec![fault().on] }]);
    world.becomes(production, Status::Passing);
    world.becomes(production, Status::Critical);
    assert!(world.ask(production).is_ok(), "the same kind of thing is covered");
}

#[test]
fn an_injection_permit_allows_one_fault_on_one_bound_thing_and_no_playbook() {
    let (mut world, host) = staging();
    let (drill, _) = world.start_drill(host);
    let permit = world.ask_to_inject(host, drill).expect("a permit");
    assert_eq!((permit.playbook.clone(), permit.actions, permit.run_within), (None, 1, INJECTION_WITHIN));
    assert_eq!(permit.drill, Some(drill));
    let allowed: Vec<_> = permit.targets.iter().map(|target| (target.label.clone(), target.actions.len())).collect();
    assert_eq!(allowed, [(fault().on, 0)]);
    world.end(&permit, Ending::Succeeded);
    let again = world.ask_to_inject(host, drill).expect_err("a fault is injected once");
    assert_eq!(again.reasons, [Reason::NoSuchDrill]);
}

#[test]
fn an_injection_needs_the_consent_and_the_binding_of_the_owner() {
    let (mut world, host) = staging();
    let (drill, _) = world.start_drill(host);
    let mut unbound = world.request(host);
    unbound.purpose = fettle_model::permit::Purpose::InjectFault { drill, fault: fault() };
    for (what, given) in [("nothing", Vec::new()), ("more", targets()), ("another thing", vec![targets().remove(1)])] {
        let refusal = world
            .ask_with(host, |request| {
                request.purpose = unbound.purpose.clone();
                request.targets = given;
            })
            .expect_err(what);
        assert!(matches!(refusal.reasons.as_slice(), [Reason::Unbound { .. }]), "{what}: {refusal:?}");
    }
    let mut described = description("s0", "staging");
    described.drills = DrillConsent::Refused;
    world.say(host, Body::HostDescribed(Box::new(described)));
    let refusal = world.ask_to_inject(host, drill).expect_err("the owner changed their mind");
    assert_eq!(refusal.reasons, [Reason::NoSuchDrill]);
}

#[test]
fn injections_share_the_groups_budget() {
    let (mut world, host) = staging();
    let (drill, _) = world.start_drill(host);
    let other = world.core.state().hosts().map(|known| known.id).find(|id| *id != host).expect("a second host");
    world.becomes(other, Status::Critical);
    let refusal = world.ask_to_inject(host, drill).expect_err("the last healthy host is not broken on purpose");
    assert_eq!(refusal.reasons, [Reason::MinHealthy { limit: 1, value: 0 }]);
}

#[test]
fn a_drill_does_not_count_its_own_host_among_those_that_must_stay_healthy() {
    for least in ["50%", "100%", "1", "3"] {
        let mut world = World::new();
        world.guarded(|guard| {
            guard.min_healthy = least.parse().expect("an amount");
            guard.cooldown = Duration::ZERO;
        });
        let host = world.host("s0", "staging");
        world.drill_through(host);
        assert_eq!(ended(&world), [DrillResult::Proved], "{least} of a group of one");
    }
}

#[test]
fn what_heals_a_drill_still_needs_the_other_hosts() {
    let (mut world, host) = staging();
    world.drill_to_fault(host);
    let other = world.core.state().hosts().map(|known| known.id).find(|id| *id != host).expect("a second host");
    world.becomes(other, Status::Critical);
    let refusal = world.ask(host).expect_err("no other host is healthy");
    assert_eq!(refusal.reasons, [Reason::MinHealthy { limit: 1, value: 0 }]);
}

#[test]
fn a_fault_of_its_own_on_a_lone_staging_host_counts_that_host() {
    let mut world = World::new();
    let host = world.host("s0", "staging");
    world.guarded(|guard| guard.cooldown = Duration::ZERO);
    world.drill_through(host);
    world.becomes(host, Status::Critical);
    let refusal = world.ask(host).expect_err("no drill broke it");
    assert_eq!(refusal.reasons, [Reason::MinHealthy { limit: 1, value: 0 }]);
}

#[test]
fn a_fault_that_no_drill_injected_needs_evidence_even_while_a_drill_waits() {
    let (mut world, host) = staging();
    assert_eq!(world.start_drill(host).1, Outcome::Done);
    world.becomes(host, Status::Critical);
    let refusal = world.ask(host).expect_err("nothing was injected yet");
    assert_eq!(refusal.reasons.iter().map(Reason::rule).collect::<Vec<_>>(), ["no-evidence"]);
}

#[test]
fn a_drill_is_not_proved_when_a_run_of_it_does_not_succeed() {
    let (mut world, host) = staging();
    let (drill, _) = world.start_drill(host);
    let injection = world.ask_to_inject(host, drill).expect("a permit");
    world.end(&injection, Ending::Failed);
    not_proved(&world, "the injecting run ended failed");

    let (mut world, host) = staging();
    let healing = world.drill_to_healing(host);
    world.becomes(host, Status::Passing);
    world.end(&healing, Ending::Ineffective);
    not_proved(&world, "the healing run ended ineffective");

    let (mut world, host) = staging();
    let healing = world.drill_to_healing(host);
    world.reject(&healing, PermitRejection::PlaybookUntrusted);
    not_proved(&world, "the agent rejected the permit");

    let (mut world, host) = staging();
    let (drill, _) = world.start_drill(host);
    assert!(world.ask_to_inject(host, drill).is_ok());
    world.advance(Duration::from_mins(10));
    world.tick();
    not_proved(&world, "a run never reported");
}

#[test]
fn a_drill_is_not_proved_after_its_deadline() {
    let (mut world, host) = staging();
    assert_eq!(world.start_drill(host).1, Outcome::Done);
    // 20 minutes, and three times 2 for the run and 1 for the confirmation.
    world.advance(Duration::from_mins(29) - Duration::from_millis(1));
    world.tick();
    assert_eq!(ended(&world), []);
    world.advance(Duration::from_millis(1));
    world.tick();
    not_proved(&world, "the deadline passed");
}

#[test]
fn drills_start_only_where_they_can_be_healed_and_are_allowed() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut World, HostId) -> (PersonRequest, PersonRefusal)) {
        let (mut world, host) = staging();
        let (request, expected) = change(&mut world, host);
        assert_eq!(world.person(request), Outcome::PersonRefused(expected));
    }
    fn drill(world: &mut World, host: HostId) -> PersonRequest {
        PersonRequest::StartDrill {
            drill: DrillId::from_uuid(world.mint()),
            host,
            check: web(),
            fault: fault(),
            rung: Rung::FIRST,
        }
    }
    check(|world, _| {
        let host = world.host("p0", "production");
        (drill(world, host), PersonRefusal::DrillsRefused(host))
    });
    check(|world, host| {
        let mut described = description("s0", "staging");
        described.drills = DrillConsent::Refused;
        world.say(host, Body::HostDescribed(Box::new(described)));
        (drill(world, host), PersonRefusal::DrillsRefused(host))
    });
    check(|world, host| {
        world.modes.insert("staging", Mode::Observe);
        assert_eq!(world.configure(), Outcome::Done);
        (drill(world, host), PersonRefusal::DrillMode(Mode::Observe))
    });
    check(|world, host| {
        let fault = Fault { kind: FaultKind::KillProcess, ..fault() };
        let drill = DrillId::from_uuid(world.mint());
        (
            PersonRequest::StartDrill { drill, host, check: web(), fault, rung: Rung::FIRST },
            PersonRefusal::UndeclaredFault,
        )
    });
    check(|world, host| {
        let (running, _) = world.start_drill(host);
        (drill(world, host), PersonRefusal::DrillRuns(running))
    });
}

#[test]
fn a_fault_that_needs_the_owners_word_by_name_is_drilled_only_where_it_is_given() {
    let (mut world, host) = staging();
    let disk = Fault { kind: FaultKind::FillDisk, on: "check".parse().expect("a label") };
    let start = |world: &mut World| {
        let drill = DrillId::from_uuid(world.mint());
        let request = PersonRequest::StartDrill { drill, host, check: web(), fault: disk.clone(), rung: Rung::FIRST };
        (drill, world.person(request))
    };
    let refused = PersonRefusal::FaultRefused { host, fault: FaultKind::FillDisk };
    assert_eq!(start(&mut world).1, Outcome::PersonRefused(refused));
    let mut described = description("s0", "staging");
    Arc::make_mut(&mut described.services)
        .iter_mut()
        .for_each(|carried| carried.faults = BTreeSet::from([FaultKind::FillDisk]));
    world.say(host, Body::HostDescribed(Box::new(described)));
    let (drill, outcome) = start(&mut world);
    assert_eq!(outcome, Outcome::Done);
    let ask = |world: &mut World| {
        world.ask_with(host, |request| {
            request.purpose = Purpose::InjectFault { drill, fault: disk.clone() };
            request.playbook = None;
            request.targets.retain(|target| target.label == disk.on);
        })
    };
    world.say(host, Body::HostDescribed(Box::new(description("s0", "staging"))));
    assert_eq!(ask(&mut world).expect_err("the owner changed their mind").reasons, [Reason::NoSuchDrill]);
    let mut described = description("s0", "staging");
    Arc::make_mut(&mut described.services)
        .iter_mut()
        .for_each(|carried| carried.faults = BTreeSet::from([FaultKind::FillDisk]));
    world.say(host, Body::HostDescribed(Box::new(described)));
    let permit = ask(&mut world).expect("a permit");
    assert_eq!(permit.targets.iter().map(|target| &target.label).collect::<Vec<_>>(), [&disk.on]);
}

#[test]
fn the_view_shows_what_production_still_lacks() {
    let (mut world, host) = staging();
    world.host("p0", "production");
    let uncovered = |world: &World| {
        views::playbooks(world.core.state(), world.now.wall).first().expect("a playbook").uncovered.len()
    };
    assert_eq!(uncovered(&world), 1);
    world.drill_through(host);
    assert_eq!(uncovered(&world), 0);
    world.advance(EVIDENCE_VALID_FOR);
    assert_eq!(uncovered(&world), 1);
}
