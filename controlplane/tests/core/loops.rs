//! A fix that makes another check fire counts as the same problem.

use crate::world::{World, service, version, web};
use fettle_controlplane::core::{Outcome, PersonRequest};
use fettle_model::check::{CheckRef, Status};
use fettle_model::configuration::Declared;
use fettle_model::counter::TransitionEpoch;
use fettle_model::escalation::{Escalation, Rung};
use fettle_model::guard::{Amount, Guard};
use fettle_model::id::HostId;
use fettle_model::permit::{Permit, Purpose};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::{Mode, Parameters, Remediation};
use fettle_model::run::Ending;
use std::collections::BTreeMap;
use std::time::Duration;

fn queue() -> CheckRef {
    CheckRef { service: web().service, check: "queue".parse().expect("a name") }
}

/// Hosts with two checks, each answered by a remediation of its own with three attempts.
fn world() -> (World, HostId) {
    world_with(Duration::ZERO)
}

fn world_with(cooldown: Duration) -> (World, HostId) {
    let (mut world, hosts) = World::proved(5);
    let mut both = service();
    let mut second = both.checks.first().expect("a check").clone();
    second.name = queue().check;
    both.checks.push(second);
    let remediation = |of: CheckRef, name: &str| Remediation {
        name: name.parse().expect("a name"),
        service: of.service,
        check: of.check,
        playbook: version("restart-service", "1.0.0"),
        parameters: Parameters::default(),
        modes: BTreeMap::from([("production".parse().expect("a name"), Mode::Auto)]),
        guard: Guard { cooldown, min_healthy: Amount::Count(0), max_failures: 100, ..Guard::default() },
        escalation: Escalation::default(),
        offline: None,
    };
    let remediations = vec![remediation(web(), "restart-web"), remediation(queue(), "restart-queue")];
    let replaces = world.core.state().configuration().generation();
    let declared = Box::new(Declared {
        services: vec![both],
        remediations,
        breakers: world.limits.clone(),
        ..Declared::default()
    });
    assert_eq!(world.person(PersonRequest::SetConfiguration { declared, replaces }), Outcome::Done);
    world.roll_out();
    for host in &hosts {
        world.check_becomes(*host, &queue(), Status::Passing);
    }
    (world, hosts[0])
}

fn ask(world: &mut World, host: HostId, check: &CheckRef) -> Result<Permit, Box<Refusal>> {
    let name = if *check == web() { "restart-web" } else { "restart-queue" };
    let known = world.core.state().host(host).expect("a host");
    let epoch = known.newest_epoch(check);
    assert!(epoch > TransitionEpoch(0), "the check has failed");
    let purpose = Purpose::Remediate {
        check: check.clone(),
        epoch,
        remediation: name.parse().expect("a name"),
        rung: Rung::FIRST,
    };
    world.ask_with(host, |request| request.purpose = purpose)
}

/// The check fails, its fix is granted, ends well, and the check passes again.
fn fixed(world: &mut World, host: HostId, check: &CheckRef) {
    world.check_becomes(host, check, Status::Critical);
    let permit = ask(world, host, check).expect("an attempt is left");
    world.end(&permit, Ending::Succeeded);
    world.check_becomes(host, check, Status::Passing);
}

fn attempts(world: &World, host: HostId, check: &CheckRef) -> u32 {
    world.core.state().attempts(host, check).count
}

#[test]
fn two_fixes_that_bring_each_others_check_down_share_their_attempts() {
    let (mut world, host) = world();
    fixed(&mut world, host, &web());
    world.advance(Duration::from_mins(1));
    fixed(&mut world, host, &queue());
    world.advance(Duration::from_mins(1));
    fixed(&mut world, host, &web());
    assert_eq!([attempts(&world, host, &web()), attempts(&world, host, &queue())], [3, 3]);
    world.check_becomes(host, &queue(), Status::Critical);
    let refusal = ask(&mut world, host, &queue()).expect_err("the attempts at this problem are used up");
    let expected = Reason::MaxAttempts { limit: 3, value: 3, began_with: Some(web()) };
    assert_eq!(refusal.reasons, [expected]);
}

#[test]
fn the_fix_for_the_check_that_was_brought_down_does_not_wait_for_the_others_cooldown() {
    let (mut world, host) = world_with(Duration::from_mins(5));
    fixed(&mut world, host, &web());
    world.check_becomes(host, &queue(), Status::Critical);
    assert_eq!(attempts(&world, host, &queue()), 1, "it is the same problem");
    ask(&mut world, host, &queue()).expect("its own fix has not been tried");
}

#[test]
fn a_check_that_fails_while_the_fix_is_under_way_is_part_of_its_problem() {
    let (mut world, host) = world();
    world.becomes(host, Status::Critical);
    let permit = ask(&mut world, host, &web()).expect("a permit");
    world.check_becomes(host, &queue(), Status::Critical);
    world.end(&permit, Ending::Failed);
    assert_eq!(attempts(&world, host, &queue()), 1);
    assert_eq!(world.core.state().began_with(host, &queue()), Some(&web()));
}

#[test]
fn a_check_that_fails_when_the_fix_has_lasted_or_on_another_host_has_a_problem_of_its_own() {
    let (mut world, host) = world();
    fixed(&mut world, host, &web());
    let other = world.core.state().hosts().map(|known| known.id).filter(|known| *known != host).last().expect("a host");
    world.check_becomes(other, &queue(), Status::Critical);
    assert_eq!(attempts(&world, other, &queue()), 0);
    world.advance(Guard::default().healthy_for);
    world.check_becomes(host, &queue(), Status::Critical);
    assert_eq!(attempts(&world, host, &queue()), 0);
    assert_eq!(world.core.state().began_with(host, &queue()), None);
}

#[test]
fn a_problem_whose_first_check_stays_healthy_goes_on_with_the_other() {
    let (mut world, host) = world();
    fixed(&mut world, host, &web());
    fixed(&mut world, host, &queue());
    assert_eq!(attempts(&world, host, &queue()), 2);
    world.advance(Duration::from_mins(1));
    world.check_becomes(host, &queue(), Status::Critical);
    world.advance(Guard::default().healthy_for);
    // The web check was healthy long enough, and no fix was near: what comes is new to it, and not to the queue.
    world.becomes(host, Status::Critical);
    assert_eq!([attempts(&world, host, &web()), attempts(&world, host, &queue())], [0, 2]);
    assert_eq!(world.core.state().began_with(host, &queue()), None);
}

#[test]
fn a_check_that_stayed_healthy_leaves_the_problem_that_it_shared() {
    let (mut world, host) = world();
    fixed(&mut world, host, &web());
    fixed(&mut world, host, &queue());
    world.advance(Guard::default().healthy_for);
    world.check_becomes(host, &queue(), Status::Critical);
    assert_eq!([attempts(&world, host, &web()), attempts(&world, host, &queue())], [2, 0]);
}
