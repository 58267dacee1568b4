//! Whether this host accepts a permit: the effector's own decision, from its own state.
//!
//! Pure. Signature and inclusion are verified before (`Published::verify`); everything else that
//! design section 2 demands of a permit is checked here, against what *this host's owner* wrote and
//! what *this agent* remembers. Called by the effector for every permit before it is marked as used.

use fettle_model::breaker::{Scope, StopOrder};
use fettle_model::counter::{Fence, StopEpoch};
use fettle_model::evidence::Drill;
use fettle_model::host::DrillConsent;
use fettle_model::id::{BootId, DrillId, HostId};
use fettle_model::name::EnvironmentName;
use fettle_model::permit::{BoundTarget, KillPoint, Permit, PermitRejection, PermitRequest, Purpose, Target};
use fettle_model::playbook::Action;
use fettle_model::time::{BootInstant, whole_millis};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Clock-rate error that is allowed for between this host and the control plane: 1 %. Crystal
/// oscillators are within 0.01 %; virtual machines that lose ticks have been seen at 0.5 %.
const CLOCK_RATE_ALLOWANCE_PERCENT: u64 = 1;

/// What the owner allows at most: for each thing, the changing actions.
pub type Ceiling = BTreeMap<Target, BTreeSet<Action>>;

/// Whether the playbook of a permit is ready to run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaybookTrust {
    /// Its bytes have the digest, and a publisher that this host trusts signed it.
    Trusted,
    /// Not so, or it is not here.
    Untrusted,
}

/// Whether a run is in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupation {
    /// None is.
    Free,
    /// One is.
    Busy,
}

/// Whether the log that this agent follows is one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogView {
    /// As far as this agent has seen.
    Consistent,
    /// It saw two that contradict each other: observe only.
    Forked,
}

/// What this agent knows when a permit arrives.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// This host.
    pub host: HostId,
    /// Its environment.
    pub environment: &'a EnvironmentName,
    /// This boot.
    pub boot: BootId,
    /// Now, on this boot's clock.
    pub now: BootInstant,
    /// The request that the permit says it answers, if this agent made it and waits for it.
    pub request: Option<&'a PermitRequest>,
    /// Whether it was used before.
    pub used: crate::effector::store::Use,
    /// The highest fence that was accepted.
    pub highest_fence: Fence,
    /// Every stop order that was seen, lifted ones included: an older permit stays void.
    pub stops: &'a [StopOrder],
    /// The playbook's standing.
    pub playbook: PlaybookTrust,
    /// What the owner bound for this playbook and service.
    pub bound: &'a [BoundTarget],
    /// What the owner allows at most.
    pub ceiling: &'a Ceiling,
    /// Whether drills may run here.
    pub drills: DrillConsent,
    /// The newest drill that was published for this host.
    pub drill: Option<&'a Drill>,
    /// Whether a run is in progress.
    pub occupation: Occupation,
    /// Whether the log is one.
    pub log: LogView,
}

/// Decides; the first rule that fails is the reason.
///
/// # Errors
/// The rule that refuses the permit.
pub fn admit(permit: &Permit, situation: &Situation<'_>) -> Result<(), PermitRejection> {
    let s = situation;
    if s.log == LogView::Forked {
        return Err(PermitRejection::LogForked);
    }
    if permit.host != s.host {
        return Err(PermitRejection::OtherHost);
    }
    if s.used == crate::effector::store::Use::Before {
        return Err(PermitRejection::Replayed);
    }
    // A budget answered a request when it was kept; each of its runs has only to be of its boot and its fence.
    let (asked_for, stale) = match permit.unit {
        None => (answers_request(permit, s), permit.fence <= s.highest_fence),
        Some(_) => (of_this_boot(permit, s), permit.fence < s.highest_fence),
    };
    asked_for?;
    within_lease(permit, s.now)?;
    if stale {
        return Err(PermitRejection::StaleFence { fence: permit.fence, seen: s.highest_fence });
    }
    not_stopped(permit, s)?;
    match permit.purpose {
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } if s.drills == DrillConsent::Refused => {
            return Err(PermitRejection::DrillsRefused);
        }
        Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. }
            if s.playbook == PlaybookTrust::Untrusted =>
        {
            return Err(PermitRejection::PlaybookUntrusted);
        }
        Purpose::InjectFault { .. } | Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {}
    }
    if !permit.is_offline() && !permit.units.is_one() {
        return Err(PermitRejection::NotForOffline);
    }
    may_be_killed(permit, s)?;
    within_ceiling(permit, s)?;
    if s.occupation == Occupation::Busy {
        return Err(PermitRejection::Busy);
    }
    Ok(())
}

/// Only what heals the fault of a drill that this host knows, where the owner allows drills, is ever killed.
fn may_be_killed(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let heals = match permit.purpose {
        Purpose::Remediate { .. } => permit.drill.is_some_and(|id| s.drill.is_some_and(|known| known.drill == id)),
        Purpose::InjectFault { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => false,
    };
    match (permit.kill, s.drills) {
        (None, _) => Ok(()),
        (Some(KillPoint::FirstDeed), DrillConsent::Allowed) if heals => Ok(()),
        (Some(KillPoint::FirstDeed), DrillConsent::Allowed | DrillConsent::Refused) => {
            Err(PermitRejection::DrillsRefused)
        }
    }
}

fn answers_request(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let Some(request) = s.request else { return Err(PermitRejection::OtherRequest) };
    let same = permit.request == request.request
        && permit.run == request.run
        && permit.boot == s.boot
        && permit.boot == request.boot
        && permit.sent_at == request.sent_at
        && permit.purpose == request.purpose
        && permit.playbook.as_ref().map(|playbook| playbook.digest) == request.playbook;
    if same { Ok(()) } else { Err(PermitRejection::OtherRequest) }
}

fn of_this_boot(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    if permit.boot == s.boot { Ok(()) } else { Err(PermitRejection::OtherRequest) }
}

/// A permit's lease, less the allowance for clock rate.
#[must_use]
pub fn lease_on_this_clock(permit: &Permit) -> Duration {
    Duration::from_millis(whole_millis(permit.lease).saturating_mul(100 - CLOCK_RATE_ALLOWANCE_PERCENT) / 100)
}

fn within_lease(permit: &Permit, now: BootInstant) -> Result<(), PermitRejection> {
    let age_ms = whole_millis(now.since(permit.sent_at));
    let lease_ms = whole_millis(lease_on_this_clock(permit));
    if now >= permit.sent_at && age_ms < lease_ms { Ok(()) } else { Err(PermitRejection::Expired { age_ms, lease_ms }) }
}

fn not_stopped(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let newest = s
        .stops
        .iter()
        .filter(|stop| in_scope(&stop.scope, permit, s.environment, s.drill))
        .map(|stop| stop.epoch)
        .max()
        .unwrap_or(StopEpoch(0));
    if permit.stop_epoch < newest {
        return Err(PermitRejection::Stopped { epoch: permit.stop_epoch, seen: newest });
    }
    Ok(())
}

/// Whether a scope covers what a permit is for. A permit to inject names its drill only; of which service and
/// playbook that is stands in `drill`, where it is the one.
#[must_use]
pub fn in_scope(scope: &Scope, permit: &Permit, environment: &EnvironmentName, drill: Option<&Drill>) -> bool {
    match scope {
        Scope::Global => true,
        Scope::Environment(name) => name == environment,
        Scope::Service(stopped) => match &permit.purpose {
            Purpose::Remediate { check, .. } | Purpose::Repeat { check, .. } | Purpose::Offline { check, .. } => {
                stopped == &check.service
            }
            Purpose::InjectFault { drill: id, .. } => {
                of_drill(*id, drill).is_none_or(|drill| stopped == &drill.service)
            }
        },
        Scope::Playbook(stopped) => match &permit.purpose {
            Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
                permit.playbook.as_ref().is_some_and(|playbook| stopped == &playbook.name)
            }
            Purpose::InjectFault { drill: id, .. } => {
                of_drill(*id, drill).is_none_or(|drill| stopped == &drill.playbook.name)
            }
        },
    }
}

/// The drill of a permit, where it is the one that this host knows. Of another one nobody here can say what it
/// is about: a fault that stays out costs a drill, one that hits a stopped service is an accident.
fn of_drill(id: DrillId, known: Option<&Drill>) -> Option<&Drill> {
    known.filter(|known| known.drill == id)
}

fn within_ceiling(permit: &Permit, s: &Situation<'_>) -> Result<(), PermitRejection> {
    let wanted: BTreeSet<(&_, &Target)> = permit.targets.iter().map(|t| (&t.label, &t.target)).collect();
    let bound: BTreeSet<(&_, &Target)> = s.bound.iter().map(|t| (&t.label, &t.target)).collect();
    // An injected fault touches one of the bound things, a playbook gets exactly all of them.
    let differs = match permit.purpose {
        Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
            wanted.symmetric_difference(&bound).next().copied()
        }
        Purpose::InjectFault { .. } => wanted.difference(&bound).next().copied(),
    };
    if let Some((label, _)) = differs {
        return Err(PermitRejection::TargetsDiffer { label: label.clone() });
    }
    if wanted.len() != permit.targets.len() || permit.targets.is_empty() {
        return Err(PermitRejection::OtherRequest);
    }
    let none = BTreeSet::new();
    for target in &permit.targets {
        let allowed = s.ceiling.get(&target.target).unwrap_or(&none);
        // A drill's fault is bounded by the owner's consent to drills, not by the actions of repair.
        let excess = match permit.purpose {
            Purpose::Remediate { .. } | Purpose::Repeat { .. } | Purpose::Offline { .. } => {
                target.actions.difference(allowed).next()
            }
            Purpose::InjectFault { .. } => None,
        };
        if let Some(action) = excess {
            return Err(PermitRejection::AboveCeiling { label: target.label.clone(), action: *action });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
        let purpose = Purpose::Remediate {
            check,
            epoch: TransitionEpoch(7),
            remediation: name("restart-web"),
            rung: Rung::FIRST,
        };
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
}
