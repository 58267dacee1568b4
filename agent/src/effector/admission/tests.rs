//! Whether permits are accepted, in every respect that one can be wrong in.

use super::*;
use crate::effector::store::Use;
use fettle_model::check::CheckRef;
use fettle_model::counter::{ConfigurationGeneration, TransitionEpoch};
use fettle_model::digest::PlaybookDigest;
use fettle_model::escalation::Rung;
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::permit::PermittedTarget;
use fettle_model::remediation::{Parameters, PlaybookVersion};
use fettle_model::time::UnixMillis;

struct World {
    request: PermitRequest,
    permit: Permit,
    bound: Vec<BoundTarget>,
    ceiling: Ceiling,
    stops: Vec<StopOrder>,
    environment: EnvironmentName,
    drill: Option<Drill>,
}

fn id<T: std::str::FromStr>(last: u8) -> T
where
    T::Err: std::fmt::Debug,
{
    format!("00000000-0000-4000-8000-0000000000{last:02x}").parse().expect("an id")
}

fn name<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a name")
}

fn world() -> World {
    let unit = Target::SystemdUnit { unit: "web.service".to_owned() };
    let check = CheckRef { service: name("web"), check: name("http") };
    let purpose =
        Purpose::Remediate { check, epoch: TransitionEpoch(7), remediation: name("restart-web"), rung: Rung::FIRST };
    let bound = vec![BoundTarget { label: name("service"), target: unit.clone() }];
    let digest = PlaybookDigest::of(b"package");
    let request = PermitRequest {
        request: id(1),
        run: id(2),
        host: id(3),
        boot: id(4),
        sent_at: BootInstant(10_000),
        purpose: purpose.clone(),
        playbook: Some(digest),
        targets: bound.clone(),
        configuration: ConfigurationGeneration(1),
    };
    let permit = Permit {
        permit: id(5),
        request: request.request,
        run: request.run,
        host: request.host,
        boot: request.boot,
        sent_at: request.sent_at,
        lease: Duration::from_secs(10),
        run_within: Duration::from_mins(1),
        effect_within: Duration::from_mins(1),
        fence: Fence(4),
        stop_epoch: StopEpoch(2),
        configuration: ConfigurationGeneration(1),
        purpose,
        playbook: Some(PlaybookVersion { name: name("restart-service"), digest }),
        parameters: Parameters::default(),
        targets: vec![PermittedTarget {
            label: name("service"),
            target: unit.clone(),
            actions: BTreeSet::from([Action::Restart]),
        }],
        actions: 1,
        units: fettle_model::offline::Units::ONE,
        unit: None,
        drill: None,
        kill: None,
        approved: None,
        policies: fettle_model::digest::DocumentDigest::of(b"policies"),
        grounds: vec![],
    };
    World {
        request,
        permit,
        bound,
        ceiling: BTreeMap::from([(unit, BTreeSet::from([Action::Restart]))]),
        stops: vec![],
        environment: name("production"),
        drill: None,
    }
}

impl World {
    fn situation(&self) -> Situation<'_> {
        Situation {
            host: id(3),
            environment: &self.environment,
            boot: id(4),
            now: BootInstant(10_500),
            request: Some(&self.request),
            used: Use::Never,
            highest_fence: Fence(3),
            stops: &self.stops,
            playbook: PlaybookTrust::Trusted,
            bound: &self.bound,
            ceiling: &self.ceiling,
            drills: DrillConsent::Refused,
            drill: self.drill.as_ref(),
            occupation: Occupation::Free,
            log: LogView::Consistent,
        }
    }

    fn injecting(mut self) -> Self {
        let fault = Fault { kind: FaultKind::KillProcess, on: name("service") };
        self.request.purpose = Purpose::InjectFault { drill: id(7), fault };
        self.request.playbook = None;
        self.permit.purpose = self.request.purpose.clone();
        self.permit.playbook = None;
        self
    }

    /// The host knows this drill: of the playbook restart-service for the service web.
    fn knowing(mut self, drill: DrillId) -> Self {
        self.drill = Some(Drill {
            drill,
            playbook: PlaybookVersion { name: name("restart-service"), digest: PlaybookDigest::of(b"package") },
            host: id(3),
            service: name("web"),
            check: name("http"),
            fault: Fault { kind: FaultKind::KillProcess, on: name("service") },
            by: name("alice"),
            scheduled: None,
            deadline: UnixMillis(1),
        });
        self
    }

    fn stop(mut self, scope: &str, epoch: u64) -> Self {
        let stop = StopOrder { scope: name(scope), epoch: StopEpoch(epoch), by: name("alice"), why: String::new() };
        self.stops.push(stop);
        self
    }
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "reads better at the call")]
fn check(permit: &Permit, situation: &Situation<'_>, expected: Option<PermitRejection>) {
    assert_eq!(admit(permit, situation).err(), expected);
}

#[test]
fn a_permit_that_holds_in_every_respect_is_accepted() {
    let world = world();
    check(&world.permit, &world.situation(), None);
}

#[test]
fn a_drills_second_run_needs_the_owners_consent_and_everything_that_a_playbook_needs() {
    let mut world = world();
    let check_ref = CheckRef { service: name("web"), check: name("http") };
    world.request.purpose = Purpose::Repeat { drill: id(7), check: check_ref, remediation: name("restart-web") };
    world.permit.purpose = world.request.purpose.clone();
    let s = world.situation();
    check(&world.permit, &s, Some(PermitRejection::DrillsRefused));
    let consented = Situation { drills: DrillConsent::Allowed, ..s };
    check(&world.permit, &consented, None);
    let untrusted = Situation { playbook: PlaybookTrust::Untrusted, ..consented };
    check(&world.permit, &untrusted, Some(PermitRejection::PlaybookUntrusted));
    let unbound = Situation { bound: &[], ..consented };
    let label = name("service");
    check(&world.permit, &unbound, Some(PermitRejection::TargetsDiffer { label }));
    let none = Ceiling::new();
    let above = PermitRejection::AboveCeiling { label: name("service"), action: Action::Restart };
    check(&world.permit, &Situation { ceiling: &none, ..consented }, Some(above));
}

#[test]
fn every_rule_refuses_by_itself() {
    let world = world();
    let s = world.situation();
    let p = &world.permit;
    check(p, &Situation { host: id(9), ..s }, Some(PermitRejection::OtherHost));
    check(p, &Situation { used: Use::Before, ..s }, Some(PermitRejection::Replayed));
    check(p, &Situation { request: None, ..s }, Some(PermitRejection::OtherRequest));
    check(p, &Situation { boot: id(9), ..s }, Some(PermitRejection::OtherRequest));
    check(p, &Situation { playbook: PlaybookTrust::Untrusted, ..s }, Some(PermitRejection::PlaybookUntrusted));
    check(p, &Situation { occupation: Occupation::Busy, ..s }, Some(PermitRejection::Busy));
    check(p, &Situation { log: LogView::Forked, ..s }, Some(PermitRejection::LogForked));
    for seen in [4, 5] {
        let expected = PermitRejection::StaleFence { fence: Fence(4), seen: Fence(seen) };
        check(p, &Situation { highest_fence: Fence(seen), ..s }, Some(expected));
    }
}

#[test]
fn the_lease_counts_from_sending_with_an_allowance_for_the_clock() {
    let world = world();
    let s = world.situation();
    let expired = |age_ms| Some(PermitRejection::Expired { age_ms, lease_ms: 9_900 });
    check(&world.permit, &Situation { now: BootInstant(19_899), ..s }, None);
    check(&world.permit, &Situation { now: BootInstant(19_900), ..s }, expired(9_900));
    check(&world.permit, &Situation { now: BootInstant(9_999), ..s }, expired(0));
}

#[test]
fn a_permit_for_something_else_than_was_asked_is_refused() {
    let world = world();
    let changes: [fn(&mut Permit); 5] = [
        |p| p.run = id(9),
        |p| p.request = id(9),
        |p| p.sent_at = BootInstant(9_000),
        |p| p.playbook = None,
        |p| {
            if let Purpose::Remediate { epoch, .. } = &mut p.purpose {
                *epoch = TransitionEpoch(8);
            }
        },
    ];
    for change in changes {
        let mut permit = world.permit.clone();
        change(&mut permit);
        check(&permit, &world.situation(), Some(PermitRejection::OtherRequest));
    }
}

#[test]
fn targets_must_be_exactly_those_that_the_owner_bound() {
    let world = world();
    let mut permit = world.permit.clone();
    permit.targets[0].target = Target::SystemdUnit { unit: "sshd.service".to_owned() };
    check(&permit, &world.situation(), Some(PermitRejection::TargetsDiffer { label: name("service") }));
    permit.targets.clear();
    check(&permit, &world.situation(), Some(PermitRejection::TargetsDiffer { label: name("service") }));
    check(&permit, &Situation { bound: &[], ..world.situation() }, Some(PermitRejection::OtherRequest));
}

#[test]
fn nothing_goes_above_the_ceiling() {
    let world = world();
    let above = |action| Some(PermitRejection::AboveCeiling { label: name("service"), action });
    let mut permit = world.permit.clone();
    permit.targets[0].actions.insert(Action::Stop);
    check(&permit, &world.situation(), above(Action::Stop));
    let nothing = Ceiling::new();
    check(&world.permit, &Situation { ceiling: &nothing, ..world.situation() }, above(Action::Restart));
}

#[test]
fn a_newer_stop_order_in_scope_voids_a_permit_and_others_do_not() {
    let stopped = |seen| Some(PermitRejection::Stopped { epoch: StopEpoch(2), seen: StopEpoch(seen) });
    for (scope, epoch, expected) in [
        ("global", 3, stopped(3)),
        ("global", 2, None),
        ("environment:production", 4, stopped(4)),
        ("environment:staging", 4, None),
        ("service:web", 3, stopped(3)),
        ("service:db", 3, None),
        ("playbook:restart-service", 3, stopped(3)),
        ("playbook:disable-flag", 3, None),
    ] {
        let world = world().stop(scope, epoch);
        check(&world.permit, &world.situation(), expected);
    }
}

#[test]
fn a_newer_stop_holds_the_fault_of_a_drill_of_its_service_and_playbook_and_of_no_other() {
    let stopped = |seen| Some(PermitRejection::Stopped { epoch: StopEpoch(2), seen: StopEpoch(seen) });
    for (scope, epoch, expected) in [
        ("service:web", 3, stopped(3)),
        ("service:web", 2, None),
        ("service:db", 3, None),
        ("playbook:restart-service", 3, stopped(3)),
        ("playbook:disable-flag", 3, None),
        ("global", 3, stopped(3)),
        ("environment:production", 3, stopped(3)),
        ("environment:staging", 3, None),
    ] {
        let world = world().injecting().knowing(id(7)).stop(scope, epoch);
        check(&world.permit, &Situation { drills: DrillConsent::Allowed, ..world.situation() }, expected);
    }
}

#[test]
fn a_newer_stop_of_any_service_or_playbook_holds_the_fault_of_a_drill_that_is_not_known() {
    let stopped = Some(PermitRejection::Stopped { epoch: StopEpoch(2), seen: StopEpoch(3) });
    for scope in ["service:db", "playbook:disable-flag"] {
        for world in [world().injecting(), world().injecting().knowing(id(8))] {
            let world = world.stop(scope, 3);
            let s = Situation { drills: DrillConsent::Allowed, ..world.situation() };
            check(&world.permit, &s, stopped.clone());
        }
    }
}

#[test]
fn a_run_is_killed_only_where_the_owner_allows_drills_and_for_the_drill_that_this_host_knows() {
    let refused = || Some(PermitRejection::DrillsRefused);
    let killed = |mut world: World, drill| {
        world.permit.kill = Some(KillPoint::FirstDeed);
        world.permit.drill = drill;
        world
    };
    let allowed = |world: &World, expected: Option<PermitRejection>| {
        check(&world.permit, &Situation { drills: DrillConsent::Allowed, ..world.situation() }, expected);
    };
    let drilled = killed(world().knowing(id(7)), Some(id(7)));
    check(&drilled.permit, &drilled.situation(), refused());
    allowed(&drilled, None);
    allowed(&killed(world().knowing(id(7)), None), refused());
    allowed(&killed(world().knowing(id(7)), Some(id(8))), refused());
    allowed(&killed(world(), Some(id(7))), refused());
    allowed(&killed(world().injecting().knowing(id(7)), Some(id(7))), refused());
}

#[test]
fn a_fault_is_injected_only_where_the_owner_allows_drills() {
    let world = world().injecting();
    check(&world.permit, &world.situation(), Some(PermitRejection::DrillsRefused));
    check(&world.permit, &Situation { drills: DrillConsent::Allowed, ..world.situation() }, None);
}

/// One run under a budget that was given in advance.
fn unit_of(mut world: World) -> (World, Permit) {
    let check_ref = CheckRef { service: name("web"), check: name("http") };
    world.permit.purpose = Purpose::Offline { check: check_ref, remediation: name("restart-web") };
    let unit = world.permit.all_units().next().expect("it has one");
    (world, unit)
}

#[test]
fn a_unit_answers_no_request_and_is_of_its_budgets_boot_and_fence() {
    let (world, unit) = unit_of(world());
    let s = Situation { request: None, ..world.situation() };
    check(&unit, &s, None);
    // The second unit of a budget has the fence that its first was accepted with.
    check(&unit, &Situation { highest_fence: unit.fence, ..s }, None);
    let seen = unit.fence.next();
    let stale = PermitRejection::StaleFence { fence: unit.fence, seen };
    check(&unit, &Situation { highest_fence: seen, ..s }, Some(stale));
    check(&unit, &Situation { boot: id(99), ..s }, Some(PermitRejection::OtherRequest));
    check(&unit, &Situation { used: Use::Before, ..s }, Some(PermitRejection::Replayed));
    let none = Ceiling::new();
    let above = PermitRejection::AboveCeiling { label: name("service"), action: Action::Restart };
    check(&unit, &Situation { ceiling: &none, ..s }, Some(above));
    check(&unit, &Situation { bound: &[], ..s }, Some(PermitRejection::TargetsDiffer { label: name("service") }));
    // The budget itself has to answer its request.
    check(&world.permit, &s, Some(PermitRejection::OtherRequest));
}
