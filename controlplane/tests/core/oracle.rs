//! What must always hold, checked from the log alone: a second, simpler reading of it that shares no
//! code with the core. What of it is an invariant of the permit protocol is quoted by the name that the model has for
//! it (`fettle_permit_model`), so that what is explored there and what is played here is the same sentence. Those that
//! are the agent's alone (I1, I2, I6, I8) are played with the agent's code in the simulation.

mod approvals;

use self::approvals::Approvals;
use crate::world::{Logged, World, web};
use fettle_controlplane::core::{Group, State};
use fettle_model::breaker::{Easing, ReasonKind, Scope};
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::check::Status;
use fettle_model::counter::{Fence, TransitionEpoch};
use fettle_model::digest::DocumentDigest;
use fettle_model::evidence::{Evidence, HostClass, ProvedGrant};
use fettle_model::guard::Guard;
use fettle_model::host::{HostDescription, HostState};
use fettle_model::id::{DrillId, HostId, PermitId, RequestId, RunId};
use fettle_model::offline::Offline;
use fettle_model::permit::{Permit, PermitRejection, Purpose};
use fettle_model::playbook::Action;
use fettle_model::record::{Author, Body};
use fettle_model::run::Ending;
use fettle_model::time::UnixMillis;
use fettle_permit_model::invariants::{I1, I3, I4, I5, I8, I9, I11};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Default)]
struct Known {
    environment: String,
    active: bool,
    revoked: bool,
    description: Option<HostDescription>,
    epoch: TransitionEpoch,
    status: Option<Status>,
    healthy_since: Option<UnixMillis>,
    attempts: u32,
    fence: Fence,
    sick: bool,
    recovered: Option<UnixMillis>,
}

impl Known {
    /// A host that a drill breaks is not looked at until the drill is over.
    fn look(&mut self, at: UnixMillis) {
        let sick = matches!(self.status, Some(Status::Critical | Status::Unknown));
        if self.sick && !sick {
            self.recovered = Some(at);
        }
        self.sick = sick;
    }
}

/// When each reason of an open breaker lets a probe pass, and the probe.
#[derive(Default)]
struct Open {
    reasons: BTreeMap<ReasonKind, Option<UnixMillis>>,
    probe: Option<PermitId>,
}

/// Runs at once that were earned, successes since, runs in progress, and the newest time of any of it.
struct Ramp {
    earned: u32,
    succeeded: u32,
    running: u32,
    last: UnixMillis,
}

/// A permit in the window.
struct Spent {
    environment: String,
    at: UnixMillis,
    /// Whether it may do what nothing undoes.
    grave: bool,
    permit: PermitId,
}

/// A budget given in advance.
struct Held {
    environment: String,
    units: u32,
    lease: Duration,
}

/// The log so far, as an auditor would tally it.
#[derive(Default)]
pub(crate) struct Oracle {
    read: usize,
    hosts: BTreeMap<HostId, Known>,
    in_flight: BTreeMap<PermitId, (HostId, Duration)>,
    guard: Guard,
    offline: Option<Offline>,
    playbook: String,
    limits: BreakerLimits,
    spent: Vec<Spent>,
    /// Budgets given in advance that hold their slots.
    held: BTreeMap<PermitId, Held>,
    /// Of which permit a unit is.
    units: BTreeMap<PermitId, PermitId>,
    ended_units: BTreeSet<PermitId>,
    ramps: BTreeMap<String, Ramp>,
    remediating: BTreeMap<PermitId, String>,
    evidence: Vec<Evidence>,
    drills: BTreeMap<DrillId, HostId>,
    killed: BTreeSet<DrillId>,
    stopped: BTreeSet<Scope>,
    frozen: Vec<(Scope, UnixMillis)>,
    breakers: BTreeMap<Scope, Open>,
    answered: BTreeSet<RequestId>,
    runs: BTreeSet<RunId>,
    policies: Option<DocumentDigest>,
    /// What people said.
    pub(crate) approvals: Approvals,
    pub(crate) grants: usize,
    pub(crate) refusals: usize,
    pub(crate) lost: usize,
    /// Runs under budgets given in advance.
    pub(crate) offline_runs: usize,
    /// Budgets that were not given back in time.
    pub(crate) expired: usize,
    /// Breakers that a condition of the fleet opened.
    pub(crate) opened: usize,
}

impl Oracle {
    /// Reads what the world has appended since the last call.
    pub(crate) fn check(&mut self, world: &World) {
        let monotonic = world.now.monotonic.0;
        self.policies = Some(world.policies);
        for logged in world.log.iter().skip(self.read) {
            self.record(logged, monotonic);
        }
        self.read = world.log.len();
        self.sums_are_true(world.core.state());
    }

    /// What the state keeps as sums is what counting finds.
    fn sums_are_true(&self, state: &State) {
        let configuration = state.configuration();
        let service = configuration.services().first().expect("one service");
        for name in ["staging", "production"] {
            let environment = name.parse().expect("a name");
            let group = Group::of(state, service, &environment);
            let members = self.members(name);
            let healthy = members.iter().filter(|(id, known)| self.is_healthy(id, known)).count();
            // A revoked host's run may still be in progress.
            let there =
                |(host, _): &&(HostId, Duration)| self.hosts.get(host).is_some_and(|known| known.environment == name);
            let in_flight = self.in_flight.values().filter(there).count();
            let counted = [members.len(), healthy, in_flight];
            let sums = [group.size(), group.healthy(), group.in_flight()];
            assert_eq!(
                sums.map(|sum| usize::try_from(sum).expect("few")),
                counted,
                "size, healthy, in flight in {name}"
            );
            let ids: Vec<HostId> = members.iter().map(|(id, _)| **id).collect();
            assert_eq!(group.members().map(|host| host.id).collect::<Vec<_>>(), ids, "members in {name}");
        }
    }

    fn members(&self, environment: &str) -> Vec<(&HostId, &Known)> {
        self.hosts
            .iter()
            .filter(|(_, known)| known.environment == environment && !known.revoked && known.description.is_some())
            .collect()
    }

    fn is_busy(&self, id: &HostId) -> bool {
        self.in_flight.values().any(|(host, _)| host == id)
    }

    fn is_healthy(&self, id: &HostId, known: &Known) -> bool {
        known.active && !self.is_busy(id) && matches!(known.status, Some(Status::Passing | Status::Warning))
    }

    /// The control plane started anew: holds begin again.
    pub(crate) fn restarted(&mut self) {
        for (_, since) in self.in_flight.values_mut() {
            *since = Duration::ZERO;
        }
    }

    fn record(&mut self, logged: &Logged, monotonic: Duration) {
        let author = match logged.record.author {
            Author::Agent { host, .. } => Some(host),
            Author::ControlPlane | Author::Person { .. } => None,
        };
        let at = logged.received_at;
        let epoch = |host: &HostId| self.hosts.get(host).map_or(TransitionEpoch(0), |known| known.epoch);
        self.approvals.read(logged, epoch);
        match &logged.record.body {
            Body::HostEnrolled(enrolled) => {
                let environment = enrolled.environment.to_string();
                self.hosts.insert(enrolled.host, Known { environment, active: true, ..Known::default() });
            }
            Body::HostStateSet(set) => {
                let known = self.hosts.get_mut(&set.host).expect("an enrolled host");
                known.active = set.state == HostState::Active;
                known.revoked = set.state == HostState::Revoked;
                if known.revoked {
                    (known.sick, known.recovered) = (false, None);
                }
            }
            Body::HostDescribed(description) => {
                let known = self.hosts.get_mut(&author.expect("an agent")).expect("an enrolled host");
                known.description = Some((**description).clone());
            }
            Body::ConfigurationSet(set) => {
                let remediation = set.configuration.remediations().first().expect("one");
                self.guard = remediation.guard.clone();
                self.offline = remediation.offline.clone();
                self.playbook = remediation.playbook.name.to_string();
                self.limits = set.configuration.breakers().clone();
                for known in self.hosts.values_mut() {
                    known.recovered = None;
                }
            }
            Body::TransitionSeen(transition) => {
                let healthy_for = self.guard.healthy_for;
                let host = author.expect("an agent");
                let drilled = self.drills.values().any(|drilled| *drilled == host);
                let known = self.hosts.get_mut(&host).expect("an enrolled host");
                let healthy = matches!(transition.to, Status::Passing | Status::Warning);
                match (known.healthy_since, healthy) {
                    (Some(since), false) => {
                        if at.since(since) >= healthy_for {
                            known.attempts = 0;
                        }
                        known.healthy_since = None;
                    }
                    (None, true) => known.healthy_since = Some(at),
                    (Some(_), true) | (None, false) => {}
                }
                known.status = Some(transition.to);
                known.epoch = transition.epoch;
                if !drilled {
                    known.look(at);
                }
            }
            Body::PermitGranted(permit) => {
                self.granted(permit, at);
                self.in_flight.insert(permit.permit, (permit.host, monotonic));
                self.grants += 1;
            }
            Body::PermitRefused(refusal) => {
                assert!(!refusal.reasons.is_empty(), "a refusal without a reason");
                assert!(self.answered.insert(refusal.request), "{I11}: a request is answered twice");
                self.refusals += 1;
            }
            Body::PermitRejected(rejected) if rejected.because != PermitRejection::Replayed => {
                self.ended(rejected.permit.expect("a permit"), None, at);
            }
            Body::RunEnded(ended) if self.units.contains_key(&ended.permit) => {
                assert!(self.ended_units.insert(ended.permit), "{I1}: one unit runs twice");
                let known = self.hosts.get_mut(&ended.host).expect("an enrolled host");
                known.attempts += 1;
                self.offline_runs += 1;
            }
            Body::RunEnded(ended) => self.ended(ended.permit, Some(ended.ending), at),
            Body::OfflineReturned(returned) => self.returned(returned.permit, returned.used, at),
            Body::OfflineExpired(expired) => self.offline_expired(expired.permit, at, monotonic),
            Body::RunUnresolved(unresolved) => {
                let (_, since) = self.in_flight.get(&unresolved.permit).expect("a run in flight");
                // 30 s lease, 3 min effect, 1 min margin, and 1 min of injection or 3 of run and confirmation.
                let shortest = Duration::from_secs(30 + 180 + 60 + 60);
                assert!(monotonic.saturating_sub(*since) >= shortest, "{I3}: a slot is given back too early");
                self.ended(unresolved.permit, Some(Ending::InDoubt), at);
                self.lost += 1;
            }
            Body::EvidenceEarned(evidence) => self.evidence.push((**evidence).clone()),
            Body::DrillStarted(drill) => {
                self.drills.insert(drill.drill, drill.host);
                let known = self.hosts.get_mut(&drill.host).expect("an enrolled host");
                (known.sick, known.recovered) = (false, None);
            }
            Body::DrillEnded(ending) => {
                let host = self.drills.remove(&ending.drill).expect("a drill ends once");
                let known = self.hosts.get_mut(&host).expect("an enrolled host");
                if !known.revoked {
                    known.look(at);
                }
            }
            other => self.switched(other, at),
        }
    }

    fn switched(&mut self, body: &Body, at: UnixMillis) {
        match body {
            Body::FreezeDeclared(freeze) => self.frozen.push((freeze.scope.clone(), freeze.until)),
            Body::AutomationStopped(order) => {
                self.stopped.insert(order.scope.clone());
            }
            Body::AutomationResumed(order) => {
                self.stopped.remove(&order.scope);
            }
            Body::BreakerOpened(opened) => {
                let open = self.breakers.entry(opened.scope.clone()).or_default();
                open.reasons.insert(opened.because.kind(), opened.half_open_at);
                open.probe = None;
                self.opened += usize::from(opened.because.kind() != ReasonKind::Failures);
            }
            Body::BreakerEased(eased) => {
                let open = self.breakers.get_mut(&eased.scope).expect("an open breaker");
                match eased.easing {
                    Easing::HalfOpen { at } => drop(open.reasons.insert(eased.reason, Some(at))),
                    Easing::Gone => {
                        let from = open.reasons.remove(&eased.reason).flatten().expect("it was easing");
                        assert!(from <= at, "{} of {} ends early", eased.reason.as_str(), eased.scope);
                    }
                }
                if open.reasons.is_empty() {
                    self.breakers.remove(&eased.scope);
                }
            }
            Body::BreakerClosed(closed) => {
                self.breakers.remove(&closed.scope);
            }
            _ => {}
        }
    }

    fn offline_expired(&mut self, permit: PermitId, at: UnixMillis, monotonic: Duration) {
        let (_, since) = self.in_flight.get(&permit).expect("a budget that holds its slot");
        let held = self.held.get(&permit).expect("a budget");
        // The lease, 3 min of run and confirmation, 3 min effect, 1 min margin.
        let shortest = held.lease + Duration::from_secs(180 + 180 + 60);
        assert!(monotonic.saturating_sub(*since) >= shortest, "{I3}: a slot is given back too early");
        let units = held.units;
        self.returned(permit, units, at);
        self.expired += 1;
    }

    /// A budget given in advance is over; so many of its units are spent. One that was over before gives back the others.
    fn returned(&mut self, permit: PermitId, used: u32, at: UnixMillis) {
        let used = usize::try_from(used).expect("few");
        match self.held.remove(&permit) {
            Some(held) => {
                let spent = || Spent { environment: held.environment.clone(), at, grave: false, permit };
                self.spent.extend((0..used).map(|_| spent()));
            }
            None => {
                let mut kept = 0;
                self.spent.retain(|spent| {
                    kept += usize::from(spent.permit == permit);
                    spent.permit != permit || kept <= used
                });
            }
        }
        self.in_flight.remove(&permit);
    }

    fn ended(&mut self, permit: PermitId, ending: Option<Ending>, at: UnixMillis) {
        self.in_flight.remove(&permit);
        // One that its agent refused was not used.
        self.held.remove(&permit);
        if let Some(environment) = self.remediating.remove(&permit) {
            let ramp = self.ramps.get_mut(&environment).expect("a ramp");
            ramp.running -= 1;
            ramp.last = at;
            match ending {
                Some(Ending::Succeeded) if ramp.succeeded + 1 == ramp.earned => {
                    (ramp.earned, ramp.succeeded) = (2 * ramp.earned, 0);
                }
                Some(Ending::Succeeded) => ramp.succeeded += 1,
                Some(ending) if ending.counts_as_failure() => (ramp.earned, ramp.succeeded) = (1, 0),
                Some(_) | None => {}
            }
        }
        for open in self.breakers.values_mut() {
            if open.probe == Some(permit) {
                open.probe = None;
            }
        }
    }

    fn granted(&mut self, permit: &Permit, at: UnixMillis) {
        assert!(self.answered.insert(permit.request), "{I11}: a request is answered twice");
        assert!(self.runs.insert(permit.run), "{I11}: a run has two permits");
        assert!(!permit.targets.is_empty(), "a permit without a target");
        let known = self.hosts.get(&permit.host).expect("an enrolled host");
        assert!(known.active, "a host that is not active acts");
        assert!(permit.fence > known.fence, "{I5}: a fence does not grow");
        assert!(self.in_flight.values().all(|(host, _)| *host != permit.host), "{I9}: two permits on one host");
        let environment = known.environment.clone();
        self.group_has_room(permit, &environment);
        self.nothing_stops(permit, &environment, at);
        self.is_warranted(permit, at);
        let policies = self.policies.expect("what the control plane decides by");
        self.approvals.granted(permit, &environment.parse().expect("a name"), &policies, at);
        self.budget_has_room(permit, &environment, at);
        if permit.is_offline() {
            self.hold(permit, &environment);
        } else {
            assert!(permit.units.is_one(), "{I1}: a permit for several runs that is no budget");
            self.ramp_has_room(permit, &environment, at);
        }
        let guard = self.guard.clone();
        let known = self.hosts.get_mut(&permit.host).expect("an enrolled host");
        known.fence = permit.fence;
        if let Purpose::Remediate { epoch, .. } = permit.purpose {
            assert_eq!((known.status, known.epoch), (Some(Status::Critical), epoch), "another fault than the newest");
            if permit.kill.is_none() {
                known.attempts += 1;
                assert!(known.attempts <= guard.max_attempts, "an attempt too many");
            }
        }
        if permit.kill.is_some() {
            let drill = permit.drill.expect("a run that no drill asked for is killed");
            assert!(matches!(permit.purpose, Purpose::Remediate { .. }), "a run that heals nothing is killed");
            assert!(self.killed.insert(drill), "two runs of one drill are killed");
        }
    }

    /// A budget given in advance, where more is asked than of a permit.
    fn hold(&mut self, permit: &Permit, environment: &str) {
        let offline = self.offline.as_ref().expect("a remediation that gives budgets");
        assert!(permit.lease <= offline.lasts && permit.units <= offline.units, "{I4}: more than is configured");
        assert!(permit.targets.iter().all(|target| !target.actions.contains(&Action::Restart)), "{I8}: irreversible");
        assert!(permit.drill.is_none(), "a drill under a budget");
        let members = self.members(environment);
        let size = u32::try_from(members.len()).expect("a small group");
        let slots = self.guard.max_in_flight.as_maximum(size).saturating_sub(1);
        let holders = self.held.values().filter(|held| held.environment == environment).count();
        let most = offline.hosts.as_maximum(size).min(slots);
        assert!(u32::try_from(holders).expect("few") < most, "{I3}: no slot is left for hosts that are connected");
        let attempts = self.hosts.get(&permit.host).map_or(0, |known| known.attempts);
        assert!(attempts + permit.units.get() <= self.guard.max_attempts, "{I4}: more units than attempts");
        let (lease, units) = (permit.lease, permit.units.get());
        self.held.insert(permit.permit, Held { environment: environment.to_owned(), units, lease });
        self.units.extend(permit.all_units().map(|unit| (unit.permit, permit.permit)));
    }

    fn group_has_room(&self, permit: &Permit, environment: &str) {
        let members = self.members(environment);
        let size = u32::try_from(members.len()).expect("a small group");
        let in_flight = members.iter().filter(|(id, _)| self.is_busy(id)).count();
        let limit = self.guard.max_in_flight.as_maximum(size);
        assert!(u32::try_from(in_flight).expect("few") < limit, "{I3}: more in flight than allowed");
        let healthy = members.iter().filter(|(id, known)| **id != permit.host && self.is_healthy(id, known));
        // A drill and what heals it leave the drilled host out of the group.
        let minimum = match permit.drill {
            None => self.guard.min_healthy.as_minimum(size),
            Some(_) => self.guard.min_healthy.as_minimum(size - 1).min(size - 1),
        };
        // While a budget is held one more may fail and still be healed.
        let minimum = if permit.is_offline() { minimum + 1 } else { minimum };
        let enough = u32::try_from(healthy.count()).expect("few") >= minimum;
        assert!(enough || (permit.is_offline() && minimum == 1), "{I3}: too few healthy hosts are left");
    }

    fn budget_has_room(&mut self, permit: &Permit, environment: &str, at: UnixMillis) {
        let grave = permit.targets.iter().any(|target| target.actions.contains(&Action::Restart));
        let here = |spent: &&Spent| spent.environment == environment && at.since(spent.at) < self.guard.window;
        let spent: Vec<&Spent> = self.spent.iter().filter(here).collect();
        let held = self.held.values().filter(|held| held.environment == environment).map(|held| held.units);
        let few = |count: usize| u32::try_from(count).expect("few");
        let counted = few(spent.len()) + held.sum::<u32>() + permit.units.get();
        assert!(counted <= self.guard.max_per_window, "{I4}: more permits in the window than allowed");
        let graves = few(spent.iter().filter(|spent| spent.grave).count());
        assert!(!grave || graves < self.guard.max_irreversible, "{I4}: more irreversible permits than allowed");
        if !permit.is_offline() {
            let environment = environment.to_owned();
            self.spent.push(Spent { environment, at, grave, permit: permit.permit });
        }
    }

    fn ramp_has_room(&mut self, permit: &Permit, environment: &str, at: UnixMillis) {
        if permit.drill.is_some() {
            return;
        }
        let first = || Ramp { earned: 1, succeeded: 0, running: 0, last: at };
        let ramp = self.ramps.entry(environment.to_owned()).or_insert_with(first);
        if ramp.running == 0 && at.since(ramp.last) >= self.guard.healthy_for {
            *ramp = first();
        }
        assert!(ramp.running < ramp.earned, "more at once than the ramp has earned");
        ramp.running += 1;
        ramp.last = at;
        self.remediating.insert(permit.permit, environment.to_owned());
    }

    fn nothing_stops(&mut self, permit: &Permit, environment: &str, at: UnixMillis) {
        let scopes = ["global".to_owned(), format!("environment:{environment}")]
            .into_iter()
            .chain(["service:web".to_owned(), format!("playbook:{}", self.playbook)]);
        for scope in scopes {
            let scope: Scope = scope.parse().expect("a scope");
            assert!(!self.stopped.contains(&scope), "a permit although {scope} is stopped");
            let frozen = self.frozen.iter().any(|(of, until)| *of == scope && at < *until);
            assert!(!frozen, "a permit although {scope} is frozen");
            let wards = match &scope {
                Scope::Global => vec!["staging", "production"],
                Scope::Environment(_) | Scope::Service(_) => vec![environment],
                Scope::Playbook(_) => Vec::new(),
            };
            if let Some(open) = self.breakers.get_mut(&scope) {
                let passes = |half_open_at: &Option<UnixMillis>| half_open_at.is_some_and(|then| then <= at);
                assert!(open.reasons.values().all(passes), "a permit although {scope} is open");
                assert_eq!(open.probe, None, "two probes in {scope}");
                assert!(!permit.is_offline(), "a budget is the probe of {scope}");
                open.probe = Some(permit.permit);
            } else {
                self.no_storm(&wards, at);
            }
        }
    }

    fn no_storm(&self, wards: &[&str], at: UnixMillis) {
        let members: Vec<&Known> = wards.iter().flat_map(|ward| self.members(ward)).map(|(_, known)| known).collect();
        let lately = |known: &&&Known| known.recovered.is_some_and(|then| at.since(then) < self.limits.storm_window);
        let sick = members.iter().filter(|known| known.sick || lately(known)).count();
        let allowed = self.limits.storm.as_maximum(u32::try_from(members.len()).expect("few"));
        assert!(sick <= usize::try_from(allowed).expect("few"), "a permit in a storm: {sick} of {}", members.len());
    }

    fn is_warranted(&self, permit: &Permit, at: UnixMillis) {
        let drilled = permit.drill.is_some_and(|drill| self.drills.get(&drill) == Some(&permit.host));
        let description = self.hosts.get(&permit.host).and_then(|known| known.description.as_ref());
        let class = description.and_then(|description| HostClass::of(description, &web().service));
        let proved = self.evidence.iter().any(|evidence| {
            permit.playbook.as_ref() == Some(&evidence.playbook)
                && evidence.parameters == permit.parameters.digest()
                && Some(&evidence.class) == class.as_ref()
                && evidence.grants == ProvedGrant::of(&permit.targets)
                && evidence.repetition.is_some()
                && evidence.killed.is_some()
                && evidence.expires_at > at
        });
        assert!(drilled || proved, "a permit without evidence or drill");
    }
}
