//! What an edited rule would have done with the faults of a log, beside what did happen.

use crate::world::{World, entry, service, version, web};
use fettle_controlplane::core::{Authorisation, Outcome, Past, PersonRefusal, PersonRequest, Replay, Terms, grounds};
use fettle_model::breaker::Scope;
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::check::Status;
use fettle_model::configuration::Declared;
use fettle_model::guard::{Amount, Guard};
use fettle_model::id::HostId;
use fettle_model::name::PersonName;
use fettle_model::permit::Permit;
use fettle_model::refusal::Reason;
use fettle_model::remediation::{Mode, Remediation};
use fettle_model::run::Ending;
use fettle_model::simulation::{Asked, Assume, Edit, EndedBy, Happened, Says, SimulatedFault, Simulation};
use fettle_model::time::UnixMillis;
use fettle_model::withheld::Hindrance;
use std::collections::BTreeMap;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

/// The world's rule with another guard.
fn rule(world: &World, change: impl FnOnce(&mut Remediation)) -> Edit {
    let configured = world.core.state().configuration().remediations().first().cloned();
    let mut rule = configured.unwrap_or_else(|| Remediation {
        name: "restart-web".parse().expect("a name"),
        service: web().service,
        check: web().check,
        playbook: version("restart-service", "1.0.0"),
        parameters: fettle_model::remediation::Parameters::default(),
        modes: BTreeMap::from([("production".parse().expect("a name"), Mode::Auto)]),
        guard: Guard::default(),
        escalation: fettle_model::escalation::Escalation::default(),
        offline: None,
    });
    change(&mut rule);
    Edit { remediations: vec![rule], ..Edit::default() }
}

fn simulate(world: &World, edit: &Edit, from: UnixMillis) -> Simulation {
    simulate_with(world, edit, from, Assume::Succeeded)
}

fn simulate_with(world: &World, edit: &Edit, from: UnixMillis, assume: Assume) -> Simulation {
    let by: PersonName = "alice".parse().expect("a name");
    let grounds = grounds(world.core.state(), edit).expect("a sound edit");
    let entries = || world.log.iter().enumerate().map(|(position, logged)| entry(position, logged));
    let mut past = Past::of(edit);
    entries().filter(|it| it.received_at >= from).for_each(|it| past.note(&it).expect("few faults"));
    let authorise = |_: &_| Authorisation::Allowed;
    let until = world.now.wall;
    let terms = Terms { edit, assume, from, until, by: &by, authorise: &authorise, policies: world.policies };
    let mut replay = Replay::new(terms, past, grounds);
    entries().for_each(|it| replay.take(&it).expect("a log that the core wrote"));
    let simulation = replay.finish().expect("it ends");
    assert_eq!(simulation.records, u64::try_from(world.log.len()).expect("a small log"));
    simulation
}

/// A host fails, and each attempt ends so after a minute, six minutes after the one before; it is well again so long after
/// the last.
fn fails(world: &mut World, host: HostId, endings: &[Ending], well_after: Duration) -> Vec<Permit> {
    world.becomes(host, Status::Critical);
    let mut permits: Vec<Permit> = Vec::new();
    for ending in endings {
        if !permits.is_empty() {
            world.advance(6 * MINUTE);
        }
        let permit = world.ask(host).expect("a permit");
        world.advance(MINUTE);
        world.end(&permit, *ending);
        permits.push(permit);
    }
    world.advance(well_after);
    world.becomes(host, Status::Passing);
    permits
}

const AT_ONCE: Duration = Duration::from_secs(1);

/// What each decision about a fault says, in a word.
fn said(fault: &SimulatedFault) -> Vec<String> {
    let words = fault.decisions.iter().map(|decision| match &decision.says {
        Says::Acts { ending, by: EndedBy::Record { .. }, .. } => format!("acts: {}", ending.as_str()),
        Says::Acts { ending, by: EndedBy::Assumption, .. } => format!("acts: {} (assumed)", ending.as_str()),
        Says::Proposes => "proposes".to_owned(),
        Says::Plans => "plans".to_owned(),
        Says::Withheld { .. } => "withheld".to_owned(),
        Says::Refuses { reasons, times } => {
            let rules: Vec<&str> = reasons.iter().map(Reason::rule).collect();
            format!("refuses {times}: {}", rules.join(" "))
        }
    });
    words.collect()
}

fn only(simulation: &Simulation) -> &SimulatedFault {
    let [fault] = simulation.faults.as_slice() else { unreachable!("not one fault: {:?}", simulation.faults) };
    fault
}

/// A world in which failures open no breaker, and a moment after its drills.
fn calm(production: usize) -> (World, Vec<HostId>, UnixMillis) {
    let (mut world, hosts) = World::proved(production);
    world.guarded(|guard| guard.max_failures = 100);
    world.limits = BreakerLimits { environment_failures: 100, global_failures: 100, ..world.limits.clone() };
    assert_eq!(world.configure(), Outcome::Done);
    world.advance(60 * MINUTE);
    let from = world.now.wall;
    (world, hosts, from)
}

#[test]
fn a_rule_that_is_as_it_was_decides_as_it_did_and_its_runs_end_as_they_did() {
    let (mut world, hosts, from) = calm(5);
    let permits = fails(&mut world, hosts[0], &[Ending::Ineffective, Ending::Succeeded], AT_ONCE);
    let simulation = simulate(&world, &rule(&world, |_| {}), from);
    let fault = only(&simulation);
    assert_eq!(said(fault), ["acts: ineffective", "refuses 1: cooldown", "acts: succeeded"]);
    assert_eq!((fault.host.as_str(), fault.asked), ("p0", Asked::Then));
    let granted = |happened: &Happened| match happened {
        Happened::Granted { run, ending, .. } => Some((*run, *ending)),
        Happened::Refused { .. } | Happened::Withheld { .. } | Happened::Proposed { .. } => None,
    };
    let happened: Vec<_> = fault.happened.iter().filter_map(granted).collect();
    assert_eq!(happened, [(permits[0].run, Some(Ending::Ineffective)), (permits[1].run, Some(Ending::Succeeded))]);
    let summary = &simulation.summary;
    assert_eq!((summary.runs, summary.hosts, summary.runs_then, summary.hosts_then), (2, 1, 2, 1));
}

#[test]
fn fewer_attempts_stop_earlier_and_the_check_goes_as_it_went() {
    let (mut world, hosts, from) = calm(5);
    fails(&mut world, hosts[0], &[Ending::Ineffective, Ending::Ineffective, Ending::Ineffective], 6 * MINUTE);
    let simulation = simulate(&world, &rule(&world, |rule| rule.guard.max_attempts = 1), from);
    assert_eq!(said(only(&simulation)), ["acts: ineffective", "refuses 1: max-attempts cooldown"]);
    assert_eq!((simulation.summary.runs, simulation.summary.runs_then), (1, 3));
    assert_eq!(
        simulation.summary.refused,
        BTreeMap::from([("cooldown".to_owned(), 1), ("max-attempts".to_owned(), 1)])
    );
}

#[test]
fn a_longer_cooldown_acts_later_or_not_at_all() {
    let (mut world, hosts, from) = calm(5);
    fails(&mut world, hosts[0], &[Ending::Ineffective, Ending::Ineffective, Ending::Ineffective], 6 * MINUTE);
    let simulation = simulate(&world, &rule(&world, |rule| rule.guard.cooldown = 15 * MINUTE), from);
    let fault = only(&simulation);
    assert_eq!(said(fault), ["acts: ineffective", "refuses 1: cooldown", "acts: ineffective", "refuses 1: cooldown"]);
    let times: Vec<Duration> = fault.decisions.iter().map(|decision| decision.at.since(fault.at)).collect();
    assert_eq!(times, [Duration::ZERO, MINUTE, 16 * MINUTE, 17 * MINUTE]);
    let never = simulate(&world, &rule(&world, |rule| rule.guard.cooldown = 60 * MINUTE), from);
    assert_eq!(said(only(&never)), ["acts: ineffective", "refuses 1: cooldown"]);
}

#[test]
fn a_stricter_breaker_opens_and_holds_back_the_next_host() {
    let (mut world, hosts, from) = calm(5);
    fails(&mut world, hosts[0], &[Ending::Failed], AT_ONCE);
    fails(&mut world, hosts[1], &[Ending::Succeeded], AT_ONCE);
    let as_it_was = simulate(&world, &rule(&world, |_| {}), from);
    assert_eq!(as_it_was.summary.runs, 2);
    let strict = rule(&world, |rule| (rule.guard.max_failures, rule.guard.cooldown) = (0, 60 * MINUTE));
    let simulation = simulate(&world, &strict, from);
    let [first, second] = simulation.faults.as_slice() else { unreachable!("{:?}", simulation.faults) };
    assert_eq!(said(first)[0], "acts: failed");
    assert_eq!(said(second), ["refuses 1: breaker-open breaker-open"], "of the service and of the playbook");
    assert_eq!(simulation.summary.refused.get("breaker-open"), Some(&2), "of two faults");
    // The limits that no remediation owns touch every rule.
    let limits = BreakerLimits { global_failures: 0, ..world.limits.clone() };
    let simulation = simulate(&world, &Edit { breakers: Some(limits), ..Edit::default() }, from);
    let refused = |fault: &SimulatedFault| {
        let mut reasons = fault.decisions.iter().flat_map(|decision| match &decision.says {
            Says::Refuses { reasons, .. } => reasons.clone(),
            Says::Acts { .. } | Says::Proposes | Says::Plans | Says::Withheld { .. } => Vec::new(),
        });
        reasons.any(|reason| matches!(reason, Reason::BreakerOpen { scope: Scope::Global, .. }))
    };
    assert!(refused(&simulation.faults[1]), "{:?}", simulation.faults[1]);
}

/// A world whose playbook is proven, and whose check nothing answers.
fn unanswered() -> (World, Vec<HostId>, UnixMillis) {
    let (mut world, hosts) = World::proved(5);
    let replaces = world.core.state().configuration().generation();
    let declared = Box::new(Declared {
        services: vec![service()],
        breakers: world.limits.clone(),
        rollout: world.rollout.clone(),
        ..Declared::default()
    });
    world.done(PersonRequest::SetConfiguration { declared, replaces });
    world.roll_out();
    world.advance(60 * MINUTE);
    let from = world.now.wall;
    (world, hosts, from)
}

#[test]
fn a_rule_where_there_was_none_is_asked_by_requests_made_up_and_what_comes_of_it_is_assumed() {
    let (mut world, hosts, from) = unanswered();
    world.becomes(hosts[0], Status::Critical);
    world.advance(10 * MINUTE);
    world.becomes(hosts[1], Status::Critical);
    world.advance(30 * MINUTE);
    world.becomes(hosts[0], Status::Passing);
    world.becomes(hosts[1], Status::Passing);
    let edit = rule(&world, |_| {});
    let simulation = simulate(&world, &edit, from);
    for fault in &simulation.faults {
        assert_eq!(said(fault), ["acts: succeeded (assumed)"]);
        assert_eq!((fault.asked, fault.happened.as_slice()), (Asked::Synthesised, &[][..]));
    }
    let summary = &simulation.summary;
    assert_eq!((summary.runs, summary.hosts, summary.most_at_once, summary.runs_then), (2, 2, 1, 0));
    let failed = simulate_with(&world, &edit, from, Assume::Failed);
    assert_eq!(said(&failed.faults[0])[..2], ["acts: failed (assumed)", "refuses 1: cooldown"]);
    assert!(failed.summary.runs > 2, "it goes on: {:?}", failed.summary);
    let refused = failed.summary.refused;
    assert!(refused.contains_key("breaker-open") || refused.contains_key("max-attempts"), "{refused:?}");
}

#[test]
fn an_assumed_recovery_counts_for_the_group_and_for_the_next_fault() {
    let (mut world, hosts, from) = unanswered();
    // Two of five may be sick; the third is only refused where the first two were not healed.
    for host in &hosts[..3] {
        world.becomes(*host, Status::Critical);
        world.advance(10 * MINUTE);
    }
    let edit = rule(&world, |rule| rule.guard.min_healthy = Amount::Percent(60));
    assert_eq!(simulate(&world, &edit, from).summary.runs, 3);
    let failed = simulate_with(&world, &edit, from, Assume::Failed);
    assert!(failed.summary.refused.contains_key("min-healthy"), "{:?}", failed.summary);
    let third = failed.faults.last().expect("a third");
    assert!(!said(third).iter().any(|word| word.starts_with("acts")), "{:?}", said(third));
}

#[test]
fn a_mode_that_does_not_act_plans_or_proposes() {
    let (mut world, hosts, from) = calm(5);
    fails(&mut world, hosts[0], &[Ending::Succeeded], AT_ONCE);
    for (mode, word) in [(Mode::Observe, "plans"), (Mode::Approve, "proposes")] {
        let edit = rule(&world, |rule| {
            rule.modes.insert("production".parse().expect("a name"), mode);
        });
        let simulation = simulate(&world, &edit, from);
        assert_eq!(said(only(&simulation)), [word]);
        let summary = &simulation.summary;
        assert_eq!((summary.runs, summary.planned + summary.proposed, summary.runs_then), (0, 1, 1));
    }
}

#[test]
fn what_a_host_could_not_run_then_it_could_not_run_under_the_edit_either() {
    let (mut world, hosts, from) = calm(5);
    world.becomes(hosts[0], Status::Critical);
    let purpose = world.request(hosts[0]).purpose;
    let publisher = "acme".parse().expect("a name");
    world.withhold(hosts[0], purpose, vec![Hindrance::PublisherUntrusted { publisher }]);
    let simulation = simulate(&world, &rule(&world, |rule| rule.guard.max_attempts = 9), from);
    assert_eq!(said(only(&simulation)), ["withheld"]);
    assert!(matches!(only(&simulation).happened.as_slice(), [Happened::Withheld { .. }]));
    assert_eq!(simulation.summary.withheld, 1);
}

#[test]
fn drills_stand_as_they_were_and_their_faults_are_none_of_the_edits() {
    let (world, _) = World::proved(5);
    let begin = world.log.first().expect("a record").received_at;
    let simulation = simulate(&world, &rule(&world, |rule| rule.guard.max_attempts = 0), begin);
    assert_eq!(simulation.faults, []);
    assert_eq!(simulation.quiet, [web()], "the drills' faults are not the rule's");
}

#[test]
fn a_fault_from_before_counts_where_it_goes_on_and_a_shorter_history_is_told() {
    let (mut world, hosts, _) = calm(5);
    fails(&mut world, hosts[1], &[Ending::Succeeded], AT_ONCE);
    world.becomes(hosts[0], Status::Critical);
    let first = world.ask(hosts[0]).expect("a permit");
    world.end(&first, Ending::Ineffective);
    world.advance(10 * MINUTE);
    let from = world.now.wall;
    let second = world.ask(hosts[0]).expect("a permit");
    world.end(&second, Ending::Succeeded);
    world.becomes(hosts[0], Status::Passing);
    let simulation = simulate(&world, &rule(&world, |_| {}), from);
    assert_eq!(said(only(&simulation)), ["acts: succeeded"], "the first attempt was before");
    assert_eq!(only(&simulation).asked, Asked::Then);
    let once = simulate(&world, &rule(&world, |rule| rule.guard.max_attempts = 1), from);
    assert!(said(only(&once))[0].contains("max-attempts"), "what was before counts: {:?}", only(&once));
    let long_ago = simulate(&world, &rule(&world, |_| {}), UnixMillis(1));
    assert_eq!(long_ago.begins, world.log.first().expect("a record").received_at);
    assert!(long_ago.begins > long_ago.from);
}

#[test]
fn an_edit_is_checked_as_if_it_were_applied() {
    let (world, _) = World::proved(2);
    let edit = rule(&world, |rule| rule.playbook = version("restart-service", "9.9.9"));
    let refused = grounds(world.core.state(), &edit).expect_err("not admitted");
    assert!(matches!(refused, PersonRefusal::PlaybookNotAdmitted { .. }), "{refused:?}");
    let edit = rule(&world, |rule| rule.check = "nothing".parse().expect("a name"));
    let refused = grounds(world.core.state(), &edit).expect_err("no such check");
    assert!(matches!(refused, PersonRefusal::Configuration(_)), "{refused:?}");
}

#[test]
fn a_storm_holds_back_under_the_edited_limits() {
    let (mut world, hosts, from) = calm(6);
    for host in &hosts[..3] {
        world.becomes(*host, Status::Critical);
        world.advance(Duration::from_secs(2));
    }
    let permit = world.ask(hosts[0]).expect("a permit");
    world.end(&permit, Ending::Succeeded);
    let limits = BreakerLimits { storm: Amount::Percent(30), ..world.limits.clone() };
    let simulation = simulate(&world, &Edit { breakers: Some(limits), ..Edit::default() }, from);
    let first = simulation.faults.iter().find(|fault| fault.host.as_str() == "p0").expect("a row");
    assert!(said(first)[0].contains("breaker-open"), "{:?}", said(first));
}
