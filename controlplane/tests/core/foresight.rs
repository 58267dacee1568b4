//! What would be said of a playbook now: the governor's own reasons, and what keeps a host from asking.

use crate::world::{World, web};
use fettle_controlplane::core::{Authorisation, Foreseen, PersonRequest, Wondering};
use fettle_model::breaker::Scope;
use fettle_model::check::Status;
use fettle_model::host::HostState;
use fettle_model::name::{HostName, PlaybookName, ServiceName};
use fettle_model::permit::Purpose;
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use fettle_model::run::Ending;
use fettle_model::why_not::{Before, WhyNot};
use fettle_model::withheld::Hindrance;

fn wonder(world: &World, playbook: &str, after: Option<&str>, hosts: usize) -> Foreseen {
    let (playbook, service): (PlaybookName, ServiceName) = (playbook.parse().expect("a name"), web().service);
    let after: Option<HostName> = after.map(|after| after.parse().expect("a name"));
    let wondering =
        Wondering { playbook: &playbook, service: &service, after: after.as_ref(), hosts, policies: world.policies };
    world.core.foresee(world.now, &|_| Authorisation::Allowed, &wondering).expect("the service is configured")
}

fn row(world: &World, host: &str) -> WhyNot {
    let mut rows = wonder(world, "restart-service", None, 100).rows.into_iter();
    rows.find(|row| row.host.as_str() == host).expect("a row for the host")
}

#[test]
fn what_would_be_granted_has_nothing_against_it_and_is_then_granted() {
    let (mut world, hosts) = World::broken(5);
    let foreseen = row(&world, "p0");
    assert_eq!((foreseen.before.as_slice(), foreseen.reasons.as_slice()), (&[][..], &[][..]));
    assert!(world.ask(hosts[0]).is_ok());
    let busy = row(&world, "p0");
    assert!(busy.reasons.iter().any(|reason| matches!(reason, Reason::HostBusy { .. })), "{busy:?}");
}

#[test]
fn the_reasons_are_those_of_the_refusal_that_the_agent_would_get() {
    let (mut world, hosts) = World::broken(5);
    let permit = world.ask(hosts[0]).expect("a permit");
    world.end(&permit, Ending::Ineffective);
    world.guarded(|guard| guard.max_attempts = 1);
    world.modes.insert("production", Mode::Observe);
    world.configure();
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "we look".to_owned() });
    let foreseen = row(&world, "p0");
    let refusal = world.ask(hosts[0]).expect_err("refused");
    assert_eq!(foreseen.reasons, refusal.reasons);
    assert!(foreseen.reasons.len() >= 4, "mode, attempts, cooldown, stop: {:?}", foreseen.reasons);
    assert_eq!(foreseen.retry_at, refusal.retry_at);
    assert_eq!(foreseen.refused, None);
    assert!(row(&world, "p0").refused.is_some(), "and then the refusal is named");
}

#[test]
fn what_is_not_critical_is_told_once_and_beside_the_other_reasons() {
    let (mut world, hosts) = World::broken(5);
    world.done(PersonRequest::SetHostState { host: hosts[1], state: HostState::Quarantined, why: "odd".to_owned() });
    let seen = world.core.state().host(hosts[1]).and_then(|host| host.checks.get(&web()).map(|known| known.seen));
    let foreseen = row(&world, "p1");
    let position = seen.expect("it reported").position;
    assert_eq!(foreseen.before, [Before::NotCritical { status: Status::Passing, position }]);
    assert!(foreseen.reasons.contains(&Reason::HostNotActive), "{foreseen:?}");
    assert!(!foreseen.reasons.iter().any(|reason| matches!(reason, Reason::TransitionStale { .. })), "{foreseen:?}");
}

#[test]
fn what_the_agent_withholds_is_told_until_it_asks() {
    let (mut world, hosts) = World::broken(5);
    let purpose = world.request(hosts[0]).purpose;
    assert!(matches!(purpose, Purpose::Remediate { .. }));
    let said = world.withhold(hosts[0], purpose, vec![Hindrance::LogForked]);
    let told = row(&world, "p0").before;
    assert!(matches!(told.as_slice(), [Before::Withheld { because, .. }] if *because == said.because), "{told:?}");
    world.done(PersonRequest::Stop { scope: Scope::Global, why: "we look".to_owned() });
    assert!(world.ask(hosts[0]).is_err());
    assert_eq!(row(&world, "p0").before, []);
}

#[test]
fn a_playbook_that_nothing_binds_is_told_for_every_host_and_cedar_is_asked() {
    let (world, _) = World::broken(3);
    let foreseen = wonder(&world, "another-playbook", None, 100);
    assert_eq!(foreseen.rows.len(), 5, "three in production, two in staging");
    assert!(foreseen.rows.iter().all(|row| row.before == [Before::NoRemediation] && row.answer.is_none()));
    let (playbook, service) = ("restart-service".parse().expect("a name"), web().service);
    let wondering =
        Wondering { playbook: &playbook, service: &service, after: None, hosts: 1, policies: world.policies };
    let denied = || Authorisation::Denied { policies: vec!["no".to_owned()] };
    let rows = world.core.foresee(world.now, &|_| denied(), &wondering).expect("configured").rows;
    assert!(rows[0].reasons.contains(&Reason::NotAuthorised { policies: vec!["no".to_owned()] }), "{rows:?}");
    let unknown = "unknown".parse().expect("a name");
    let wondering = Wondering { service: &unknown, ..wondering };
    assert_eq!(world.core.foresee(world.now, &|_| denied(), &wondering), None);
}

#[test]
fn hosts_come_in_pages_without_a_gap() {
    let (world, _) = World::broken(3);
    let (mut after, mut seen): (Option<String>, Vec<String>) = (None, Vec::new());
    loop {
        let page = wonder(&world, "restart-service", after.as_deref(), 2);
        seen.extend(page.rows.iter().map(|row| row.host.to_string()));
        match page.more_after {
            Some(last) => after = Some(last.to_string()),
            None => break,
        }
    }
    assert_eq!(seen, ["p0", "p1", "p2", "s0", "s1"]);
}
