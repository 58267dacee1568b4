//! Faults of a production host after the story's drill: a log that goes on as a test says.

use crate::log::{Log, host};
use crate::story::{
    At, Edit, PRODUCTION, check_ref, configuration, described, edited, ended_run, enrolled, parameters, parsed,
    permit_for, request, token, told, version,
};
use fettle_model::check::{CheckRef, Status, Transition};
use fettle_model::configuration::{Configuration, Declared};
use fettle_model::counter::{ConfigurationGeneration, Fence, TransitionEpoch};
use fettle_model::digest::EnvelopeDigest;
use fettle_model::escalation::{Escalation, Further, Rung};
use fettle_model::guard::{Amount, Guard};
use fettle_model::host::DrillConsent;
use fettle_model::id::{HostId, IncidentId};
use fettle_model::incident::{IncidentCause, IncidentOpened};
use fettle_model::permit::{Permit, PermitRejection, PermitRequest, Purpose};
use fettle_model::playbook::Action;
use fettle_model::record::{ActionRefused, Body, ConfigurationSet, PermitRejected, RunUnresolved};
use fettle_model::refusal::{Reason, Refusal};
use fettle_model::remediation::Mode;
use fettle_model::rollout::{Reach, Ring, RolloutAdvanced};
use fettle_model::run::{Ending, RunRecord};
use fettle_model::withheld::{Hindrance, Hindrances, RequestWithheld};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long each rung of [`listed`] has.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(40);

pub(crate) fn rung(number: u32) -> Rung {
    Rung::try_from(number).expect("a rung")
}

/// Many attempts, one after the other; health lasts after 20 s.
pub(crate) fn patient(guard: &mut Guard) {
    (guard.max_attempts, guard.cooldown, guard.healthy_for) = (9, Duration::ZERO, Duration::from_secs(20));
    (guard.max_in_flight, guard.max_irreversible) = (Amount::Count(8), 30);
}

/// The story's configuration with a list of two rungs, on which the same playbook stands.
pub(crate) fn listed(declared: &mut Declared) {
    for remediation in &mut declared.remediations {
        patient(&mut remediation.guard);
        let modes = remediation.modes.clone();
        let second = Further { playbook: version(), parameters: parameters(), modes, timeout: TIMEOUT };
        remediation.escalation = Escalation { timeout: TIMEOUT, then: vec![second] };
    }
}

/// A log that goes on.
pub(crate) struct Course {
    pub(crate) log: Log,
    number: u128,
    fences: BTreeMap<HostId, u64>,
    epochs: BTreeMap<(HostId, CheckRef), u64>,
}

impl Course {
    /// The story up to its drill's end, and a healthy production host, under a changed configuration.
    pub(crate) fn new(change: impl Fn(&mut Declared)) -> Self {
        Self::after(|at, body| {
            if let Body::ConfigurationSet(set) = body {
                let mut declared = configuration(1, 1).declared();
                change(&mut declared);
                set.configuration = Configuration::new(ConfigurationGeneration(1), declared).expect("consistent");
            }
            if at as usize >= At::Critical as usize { Edit::Drop } else { Edit::Keep }
        })
    }

    /// The same after a changed story.
    pub(crate) fn after(edit: impl FnMut(At, &mut Body) -> Edit) -> Self {
        let log = edited(edit);
        Self { log, number: 100, fences: BTreeMap::new(), epochs: BTreeMap::new() }
    }

    /// A changed configuration begins to roll out.
    pub(crate) fn begins(&mut self, generation: u64, change: impl FnOnce(&mut Declared)) {
        let mut declared = configuration(generation, 1).declared();
        change(&mut declared);
        let configuration = Configuration::new(ConfigurationGeneration(generation), declared).expect("consistent");
        let set = ConfigurationSet { configuration, by: parsed("alice"), reach: Reach::Rings };
        self.log.control_plane(Body::ConfigurationSet(Box::new(set)));
    }

    /// It reaches every host.
    pub(crate) fn configures(&mut self, generation: u64, change: impl FnOnce(&mut Declared)) {
        self.begins(generation, change);
        let (generation, hosts) = (ConfigurationGeneration(generation), BTreeSet::new());
        let all = RolloutAdvanced { generation, ring: Ring::All, hosts };
        self.log.control_plane(Body::RolloutAdvanced(Box::new(all)));
    }

    /// Another production host is enrolled, whose check is critical.
    pub(crate) fn joins(&mut self, number: u128) -> HostId {
        self.log.control_plane(token(number, "production"));
        self.log.control_plane(enrolled(number, "production"));
        self.log.agent(host(number), described("production", DrillConsent::Refused));
        self.check_becomes(host(number), &check_ref(), Status::Critical);
        host(number)
    }

    pub(crate) fn becomes(&mut self, to: Status) {
        self.check_becomes(host(PRODUCTION), &check_ref(), to);
    }

    pub(crate) fn check_becomes(&mut self, host: HostId, of: &CheckRef, to: Status) {
        let epoch = self.epochs.entry((host, of.clone())).or_insert(0);
        *epoch += 1;
        let (epoch, at, reason) = (TransitionEpoch(*epoch), self.log.now(), "refused".to_owned());
        let transition = Transition { of: of.clone(), epoch, from: Status::Unknown, to, at, reason };
        self.log.agent(host, Body::TransitionSeen(Box::new(transition)));
    }

    pub(crate) fn purpose(&self, host: HostId, of: &CheckRef, number: u32) -> Purpose {
        let epoch = self.epochs.get(&(host, of.clone())).copied().unwrap_or_default();
        Purpose::Remediate {
            check: of.clone(),
            epoch: TransitionEpoch(epoch),
            remediation: if *of == check_ref() { parsed("restart-web") } else { parsed("restart-too") },
            rung: rung(number),
        }
    }

    pub(crate) fn asks(&mut self, host: HostId, purpose: Purpose) -> PermitRequest {
        self.number += 1;
        let request = request(self.number, host, purpose);
        self.log.agent(host, Body::PermitRequested(Box::new(request.clone())));
        request
    }

    pub(crate) fn grants(&mut self, request: &PermitRequest, change: impl FnOnce(&mut Permit)) -> Permit {
        let fence = self.fences.entry(request.host).or_insert(10);
        *fence += 1;
        let mut permit = permit_for(request, Fence(*fence));
        change(&mut permit);
        self.log.control_plane(Body::PermitGranted(Box::new(permit.clone())));
        permit
    }

    /// The production host gets a permit for this rung.
    pub(crate) fn granted(&mut self, number: u32) -> Permit {
        self.granted_for(host(PRODUCTION), &check_ref(), number)
    }

    pub(crate) fn granted_for(&mut self, host: HostId, of: &CheckRef, number: u32) -> Permit {
        let purpose = self.purpose(host, of, number);
        let request = self.asks(host, purpose);
        self.grants(&request, |_| {})
    }

    pub(crate) fn ended(&mut self, permit: &Permit, ending: Ending) {
        let steps =
            if let Ending::Superseded | Ending::Expired = ending { Vec::new() } else { ended_run(permit).steps };
        let run = RunRecord { ending, steps, ..ended_run(permit) };
        told(&mut self.log, run);
    }

    /// A permit for this rung, and how its run ended.
    pub(crate) fn tried(&mut self, number: u32, ending: Ending) {
        let permit = self.granted(number);
        self.ended(&permit, ending);
    }

    pub(crate) fn rejected(&mut self, permit: &Permit, because: PermitRejection) {
        let rejected = PermitRejected {
            permit: Some(permit.permit),
            run: Some(permit.run),
            envelope: EnvelopeDigest::of(b"permit"),
            because,
        };
        self.log.agent(permit.host, Body::PermitRejected(Box::new(rejected)));
    }

    /// Its run never reports.
    pub(crate) fn lost(&mut self, permit: &Permit) {
        let unresolved = RunUnresolved { run: permit.run, permit: permit.permit, host: permit.host };
        self.log.control_plane(Body::RunUnresolved(Box::new(unresolved)));
    }

    /// The production host asks for this rung and is refused.
    pub(crate) fn refused(&mut self, number: u32, reasons: Vec<Reason>) {
        let of = check_ref();
        let purpose = self.purpose(host(PRODUCTION), &of, number);
        let Purpose::Remediate { epoch, .. } = &purpose else { unreachable!("it remediates") };
        let epoch = Some(*epoch);
        let request = self.asks(host(PRODUCTION), purpose);
        let (run, host, check) = (request.run, request.host, Some(of));
        let refusal =
            Refusal { request: request.request, run, host, check, epoch, reasons, budget: None, retry_at: None };
        self.log.control_plane(Body::PermitRefused(Box::new(refusal)));
    }

    pub(crate) fn withheld(&mut self, number: u32, because: Hindrance) {
        let withheld = RequestWithheld {
            purpose: self.purpose(host(PRODUCTION), &check_ref(), number),
            playbook: version(),
            configuration: ConfigurationGeneration(1),
            because: Hindrances::first_of(vec![because]).expect("one"),
        };
        self.log.agent(host(PRODUCTION), Body::RequestWithheld(Box::new(withheld)));
    }

    /// People are called to a check of the production host: nothing is left to try.
    pub(crate) fn called(&mut self) {
        self.called_to(host(PRODUCTION), &check_ref());
    }

    pub(crate) fn called_to(&mut self, host: HostId, check: &CheckRef) {
        self.number += 1;
        let cause = IncidentCause::AttemptsExhausted { attempts: 1, tried: Vec::new() };
        let incident = IncidentId::from_uuid(Uuid::from_u128(self.number));
        let opened = IncidentOpened { incident, host: Some(host), check: Some(check.clone()), cause };
        self.log.control_plane(Body::IncidentOpened(Box::new(opened)));
    }

    /// Time passes: each record takes a second.
    pub(crate) fn wait(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            let (action, resource) = ("log.read".to_owned(), "installation".to_owned());
            let refused = ActionRefused { by: parsed("alice"), action, resource, policies: Vec::new() };
            self.log.control_plane(Body::ActionRefused(Box::new(refused)));
        }
    }
}

/// What this host's owner does not allow.
pub(crate) fn above_ceiling() -> PermitRejection {
    PermitRejection::AboveCeiling { label: parsed("service"), action: Action::Restart }
}

/// A second check of the same service, with a remediation of its own.
pub(crate) fn other_check() -> CheckRef {
    CheckRef { check: parsed("disk"), ..check_ref() }
}

/// Declares [`other_check`], answered like the first.
pub(crate) fn with_other_check(declared: &mut Declared) {
    for service in &mut declared.services {
        let mut check = service.checks[0].clone();
        check.name = other_check().check;
        service.checks.push(check);
    }
    let mut other = declared.remediations[0].clone();
    (other.name, other.check) = (parsed("restart-too"), other_check().check);
    assert!(other.modes.values().all(|mode| *mode == Mode::Auto));
    declared.remediations.push(other);
}
