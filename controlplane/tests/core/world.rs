//! A control plane in memory with its agents: what the tests play on.

mod audited;
mod configuration;
mod drills;
mod hosts;
mod people;
mod playbooks;

pub(crate) use hosts::{describe, description};
pub(crate) use people::name;
pub(crate) use playbooks::{PUBLISHER_KEY, START_SERVICE, admit, admit_with, report, version};

use fettle_controlplane::core::{
    AgentRecord, Append, Authorisation, Command, Core, Decision, Enrol, Entry, Fresh, Host, InForce, Initialise,
    Monotonic, NewCertificate, Now, Outcome, PersonCommand, PersonRequest, Senses, State,
};
use fettle_model::breaker_limits::BreakerLimits;
use fettle_model::check::{Check, CheckRef, HostValue, Probe, Status, Transition};
use fettle_model::configuration::Declared;
use fettle_model::counter::{
    AgentSequence, CertificateGeneration, ConfigurationGeneration, LogPosition, TransitionEpoch,
};
use fettle_model::digest::{DocumentDigest, EnvelopeDigest, KeyId};
use fettle_model::escalation::{Escalation, Rung};
use fettle_model::evidence::{Fault, FaultKind};
use fettle_model::freeze::Freeze;
use fettle_model::guard::{Amount, Guard};
use fettle_model::host::{
    Binding, CarriedService, DrillConsent, HostDescription, Isolation, ManagerKind, OperatingSystem,
};
use fettle_model::id::{BootId, DrillId, HostId, IncidentId, PermitId, ProposalId, RequestId, RunId, TokenId};
use fettle_model::offline::Offline;
use fettle_model::permit::{BoundTarget, Permit, PermitRejection, PermitRequest, Purpose, Target};
use fettle_model::playbook::Action;
use fettle_model::promotion::PromotionLimits;
use fettle_model::record::{Author, Body, LogOpened, PermitRejected, Record};
use fettle_model::refusal::Refusal;
use fettle_model::remediation::{Mode, Parameters, PlaybookVersion, Remediation};
use fettle_model::rollout::RolloutLimits;
use fettle_model::run::{Change, Claim, Ending, RunRecord, Step, StepOutcome, UndoClass};
use fettle_model::schedule::Schedule;
use fettle_model::service::{Selector, Service, Tier};
use fettle_model::time::{BootInstant, UnixMillis};
use fettle_model::withheld::{Hindrance, Hindrances, RequestWithheld};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// What an agent got for a request.
pub(crate) type Answer = Result<Permit, Box<Refusal>>;

/// One record as it stands in the log.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) envelope: EnvelopeDigest,
    pub(crate) received_at: UnixMillis,
    pub(crate) record: Record,
}

/// The agent's side of a host.
#[derive(Debug, Clone, Default)]
struct Agent {
    sequence: AgentSequence,
    previous: Option<EnvelopeDigest>,
    epochs: BTreeMap<CheckRef, (TransitionEpoch, Status)>,
}

pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) now: Now,
    pub(crate) senses: Senses,
    pub(crate) log: Vec<Logged>,
    pub(crate) guard: Guard,
    pub(crate) escalation: Escalation,
    pub(crate) promotion: PromotionLimits,
    pub(crate) offline: Option<Offline>,
    /// The name of the playbook that answers the check.
    pub(crate) answered_by: &'static str,
    pub(crate) limits: BreakerLimits,
    pub(crate) freezes: Vec<Freeze>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) rollout: RolloutLimits,
    pub(crate) modes: BTreeMap<&'static str, Mode>,
    /// The version of the playbook, and its parameters.
    pub(crate) playbook: (&'static str, Parameters),
    /// What the policies hash to.
    pub(crate) policies: DocumentDigest,
    minted: u128,
    agents: BTreeMap<HostId, Agent>,
}

impl World {
    /// An open log, a trusted publisher, one admitted playbook and a configuration with one service.
    pub(crate) fn new() -> Self {
        Self::with_playbook("restart-service")
    }

    fn with_playbook(answered_by: &'static str) -> Self {
        let now = Now { wall: UnixMillis(1_700_000_000_000), monotonic: Monotonic(Duration::from_secs(1)) };
        let mut world = Self {
            core: Core::on_start(State::default(), now),
            now,
            senses: Senses::default(),
            log: Vec::new(),
            guard: Guard::default(),
            escalation: Escalation::default(),
            promotion: PromotionLimits::default(),
            offline: None,
            answered_by,
            // No number of sick hosts is a storm: most rules are tested with many of few.
            limits: BreakerLimits { storm: Amount::Percent(100), ..BreakerLimits::default() },
            freezes: Vec::new(),
            schedules: Vec::new(),
            rollout: RolloutLimits { soak: Duration::ZERO, ..RolloutLimits::default() },
            modes: BTreeMap::from([("staging", Mode::Auto), ("production", Mode::Auto)]),
            playbook: ("1.0.0", Parameters::default()),
            policies: DocumentDigest::of(b"policies"),
            minted: 0,
            agents: BTreeMap::new(),
        };
        let opened = LogOpened {
            origin: "fettle.example/log".to_owned(),
            trust_domain: "fettle.example".parse().expect("a trust domain"),
            permit_key: "a".to_owned(),
            log_key: "b".to_owned(),
        };
        let operator = "alice".parse().expect("a name");
        assert_eq!(world.run(&Command::Initialise(Initialise { opened, operator })), Outcome::Done);
        let publisher = "acme".parse().expect("a name");
        world.done(PersonRequest::TrustPublisher { publisher, key: PUBLISHER_KEY.to_owned() });
        world.done(admit(answered_by, "1.0.0", "acme"));
        world.configure();
        world
    }

    /// Two staging hosts on which the playbook was drilled, and `production` hosts; all healthy.
    pub(crate) fn proved(production: usize) -> (Self, Vec<HostId>) {
        Self::new().prove(production)
    }

    /// The same, with a playbook of which everything can be undone.
    pub(crate) fn reversible(production: usize) -> (Self, Vec<HostId>) {
        Self::with_playbook(START_SERVICE).prove(production)
    }

    fn prove(mut self, production: usize) -> (Self, Vec<HostId>) {
        let world = &mut self;
        let staging: Vec<HostId> = (0..2).map(|n| world.host(&format!("s{n}"), "staging")).collect();
        let hosts = (0..production).map(|n| world.host(&format!("p{n}"), "production")).collect();
        let target = *staging.first().expect("a staging host");
        world.drill_through(target);
        assert_eq!(world.count(|body| matches!(body, Body::EvidenceEarned(_))), 1, "the fixture's drill proves");
        (self, hosts)
    }

    /// The same with `hosts[0]` critical, ready to ask.
    pub(crate) fn broken(production: usize) -> (Self, Vec<HostId>) {
        let (mut world, hosts) = Self::proved(production);
        world.becomes(*hosts.first().expect("a host"), Status::Critical);
        (world, hosts)
    }

    // Time.

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now.wall = self.now.wall.plus(by);
        self.now.monotonic = self.now.monotonic.plus(by);
    }

    /// Ticks until nothing is due.
    pub(crate) fn tick(&mut self) {
        loop {
            let incident = IncidentId::from_uuid(self.mint());
            let (senses, policies) = (self.senses.clone(), self.policies);
            let drill = DrillId::from_uuid(self.mint());
            if self.run(&Command::Tick { incident, drill, senses, policies }) == Outcome::Unchanged {
                return;
            }
        }
    }

    /// A new process over the same log: its monotonic clock starts anew.
    pub(crate) fn restart(&mut self) {
        self.now.monotonic = Monotonic::default();
        self.core = Core::on_start(self.core.state().clone(), self.now);
    }

    // Commands.

    pub(crate) fn mint(&mut self) -> Uuid {
        self.minted += 1;
        Uuid::from_u128(self.minted)
    }

    pub(crate) fn run(&mut self, command: &Command) -> Outcome {
        let decision = self.core.decide(self.now, command);
        let Decision { append, outcome } = decision;
        for append in append {
            let record = match append {
                Append::Own(body) => Record { author: Author::ControlPlane, at: self.now.wall, body },
                Append::AgentEnvelope => {
                    let Command::AgentRecord(given) = command else { unreachable!("no envelope was sent") };
                    given.record.clone()
                }
                Append::PersonEnvelope => match command {
                    Command::Approval(given) => given.record.clone(),
                    Command::BreakGlass(said) => said.record.clone(),
                    other => unreachable!("no person sent a record: {other:?}"),
                },
            };
            let envelope = match command {
                Command::AgentRecord(given) if record == given.record => given.envelope,
                _ => envelope_of(&record, self.log.len()),
            };
            self.log.push(Logged { envelope, received_at: self.now.wall, record });
            let (position, logged) = (self.log.len() - 1, self.log.last().expect("just pushed"));
            let entry = entry(position, logged);
            self.core.apply(self.now, &entry).expect("what the core lists, it takes in");
        }
        outcome
    }

    pub(crate) fn person(&mut self, request: PersonRequest) -> Outcome {
        self.person_with(request, Authorisation::Allowed)
    }

    pub(crate) fn person_with(&mut self, request: PersonRequest, authorised: Authorisation) -> Outcome {
        let by = "alice".parse().expect("a name");
        self.run(&Command::Person(Box::new(PersonCommand { by, authorised, request })))
    }

    pub(crate) fn done(&mut self, request: PersonRequest) {
        assert_eq!(self.person(request), Outcome::Done);
    }

    // Agents.

    /// Enrols and describes a host, with its check passing.
    pub(crate) fn host(&mut self, name: &str, environment: &str) -> HostId {
        let host = self.enrol(name, environment);
        assert_eq!(self.say(host, describe(name, environment)), Outcome::Done);
        self.becomes(host, Status::Passing);
        host
    }

    pub(crate) fn enrol(&mut self, name: &str, environment: &str) -> HostId {
        let token = self.token(environment);
        let enrol = self.enrolment(name, token);
        let host = enrol.host;
        assert_eq!(self.run(&Command::Enrol(enrol)), Outcome::Done);
        self.agents.insert(host, Agent::default());
        host
    }

    pub(crate) fn token(&mut self, environment: &str) -> TokenId {
        let token = TokenId::from_uuid(self.mint());
        self.done(PersonRequest::CreateToken {
            token,
            environment: environment.parse().expect("a name"),
            host: None,
            valid_for: Duration::from_mins(10),
        });
        token
    }

    pub(crate) fn enrolment(&mut self, name: &str, token: TokenId) -> Enrol {
        Enrol {
            host: HostId::from_uuid(self.mint()),
            name: name.parse().expect("a name"),
            environment: self
                .core
                .state()
                .token(token)
                .map_or_else(|| "staging".parse().expect("a name"), |known| known.created.environment.clone()),
            record_key: format!("key of {name}"),
            token,
            certificate: NewCertificate { serial: "01".to_owned(), not_after: self.now.wall },
            generation: CertificateGeneration(1),
        }
    }

    /// The agent's next record, signed and chained, not yet sent.
    pub(crate) fn compose(&mut self, host: HostId, body: Body) -> AgentRecord {
        let agent = self.agents.get(&host).cloned().unwrap_or_default();
        let sequence = agent.sequence.next();
        let author = Author::Agent { host, sequence, previous: agent.previous };
        let record = Record { author, at: self.now.wall, body };
        let fresh = Fresh {
            permit: PermitId::from_uuid(self.mint()),
            incident: IncidentId::from_uuid(self.mint()),
            proposal: ProposalId::from_uuid(self.mint()),
        };
        let envelope = envelope_of(&record, 0);
        let policies = self.policies;
        AgentRecord { host, record, envelope, fresh, authorised: Some(Authorisation::Allowed), policies }
    }

    pub(crate) fn send(&mut self, given: &AgentRecord) -> Outcome {
        let outcome = self.run(&Command::AgentRecord(Box::new(given.clone())));
        if let (Outcome::Done | Outcome::Answered { .. }, Author::Agent { sequence, .. }) =
            (&outcome, &given.record.author)
        {
            let agent = self.agents.entry(given.host).or_default();
            agent.sequence = *sequence;
            agent.previous = Some(given.envelope);
        }
        outcome
    }

    pub(crate) fn say(&mut self, host: HostId, body: Body) -> Outcome {
        let given = self.compose(host, body);
        self.send(&given)
    }

    /// The host's check changes its status.
    pub(crate) fn becomes(&mut self, host: HostId, to: Status) {
        self.check_becomes(host, &web(), to);
    }

    /// One of its checks does.
    pub(crate) fn check_becomes(&mut self, host: HostId, of: &CheckRef, to: Status) {
        let agent = self.agents.get_mut(&host).expect("an enrolled host");
        let (epoch, from) = agent.epochs.get(of).copied().unwrap_or((TransitionEpoch(0), Status::Unknown));
        if from == to && epoch > TransitionEpoch(0) {
            return;
        }
        agent.epochs.insert(of.clone(), (epoch.next(), to));
        let transition =
            Transition { of: of.clone(), epoch: epoch.next(), from, to, at: self.now.wall, reason: "probe".to_owned() };
        assert_eq!(self.say(host, Body::TransitionSeen(Box::new(transition))), Outcome::Done);
    }

    pub(crate) fn status(&self, host: HostId) -> Status {
        let epochs = self.agents.get(&host).map(|agent| agent.epochs.clone()).unwrap_or_default();
        epochs.get(&web()).map_or(Status::Unknown, |(_, status)| *status)
    }

    /// What the host's agent would ask for its critical check.
    pub(crate) fn request(&mut self, host: HostId) -> PermitRequest {
        let epoch = self.core.state().host(host).map_or(TransitionEpoch(0), |known| known.newest_epoch(&web()));
        PermitRequest {
            request: RequestId::from_uuid(self.mint()),
            run: RunId::from_uuid(self.mint()),
            host,
            boot: BootId::from_uuid(Uuid::from_u128(7)),
            sent_at: BootInstant(1_000),
            purpose: Purpose::Remediate {
                check: web(),
                epoch,
                remediation: "restart-web".parse().expect("a name"),
                rung: Rung::FIRST,
            },
            playbook: Some(version(self.answered_by, self.playbook.0).digest),
            targets: targets(),
            configuration: self.holds(host),
        }
    }

    /// The configuration that has reached the host.
    pub(crate) fn holds(&self, host: HostId) -> ConfigurationGeneration {
        let state = self.core.state();
        state.host(host).map_or_else(|| state.configuration(), |known| state.configuration_of(known)).generation()
    }

    pub(crate) fn ask(&mut self, host: HostId) -> Answer {
        self.ask_with(host, |_| {})
    }

    pub(crate) fn ask_with(&mut self, host: HostId, change: impl FnOnce(&mut PermitRequest)) -> Answer {
        let mut request = self.request(host);
        change(&mut request);
        let outcome = self.say(host, Body::PermitRequested(Box::new(request)));
        let Outcome::Answered { answer } = outcome else { unreachable!("not answered: {outcome:?}") };
        self.answer(answer)
    }

    pub(crate) fn answer(&self, position: LogPosition) -> Answer {
        match &self.record(position).body {
            Body::PermitGranted(permit) => Ok((**permit).clone()),
            Body::PermitRefused(refusal) => Err(refusal.clone()),
            other => unreachable!("not an answer: {other:?}"),
        }
    }

    pub(crate) fn record(&self, position: LogPosition) -> &Record {
        let index = usize::try_from(position.0).expect("a small log");
        &self.log.get(index).expect("a position in the log").record
    }

    pub(crate) fn report(&self, permit: &Permit, ending: Ending) -> RunRecord {
        RunRecord {
            run: permit.run,
            permit: permit.permit,
            request: permit.request,
            host: permit.host,
            purpose: permit.purpose.clone(),
            playbook: permit.playbook.clone(),
            started_at: self.now.wall,
            ended_at: self.now.wall,
            ending,
            summary: "done".to_owned(),
            claim: Some(Claim::Resolved { summary: "done".to_owned() }),
            confirmed: None,
            steps: Vec::new(),
            undone: Vec::new(),
            said: Vec::new(),
            resumed: 0,
            fuel: 1,
            journal: DocumentDigest::of(b"journal"),
        }
    }

    pub(crate) fn end(&mut self, permit: &Permit, ending: Ending) {
        let report = self.report(permit, ending);
        assert_eq!(self.say(permit.host, Body::RunEnded(Box::new(report))), Outcome::Done);
    }

    /// A healthy host fails, is healed and is as it was: the ramp has one success more.
    pub(crate) fn earn(&mut self, host: HostId) {
        self.becomes(host, Status::Critical);
        let permit = self.ask(host).expect("a permit");
        self.end(&permit, Ending::Succeeded);
        self.becomes(host, Status::Passing);
    }

    pub(crate) fn reject(&mut self, permit: &Permit, because: PermitRejection) {
        let rejected = PermitRejected {
            permit: Some(permit.permit),
            run: Some(permit.run),
            envelope: EnvelopeDigest::of(b"permit"),
            because,
        };
        assert_eq!(self.say(permit.host, Body::PermitRejected(Box::new(rejected))), Outcome::Done);
    }

    /// The host's agent says that it does not ask.
    pub(crate) fn withhold(&mut self, host: HostId, purpose: Purpose, because: Vec<Hindrance>) -> RequestWithheld {
        let withheld = RequestWithheld {
            purpose,
            playbook: version("restart-service", "1.0.0"),
            configuration: self.core.state().configuration().generation(),
            because: Hindrances::first_of(because).expect("there are some"),
        };
        assert_eq!(self.say(host, Body::RequestWithheld(Box::new(withheld.clone()))), Outcome::Done);
        withheld
    }

    // The log.

    pub(crate) fn count(&self, wanted: impl Fn(&Body) -> bool) -> usize {
        self.log.iter().filter(|logged| wanted(&logged.record.body)).count()
    }

    pub(crate) fn last(&self) -> &Body {
        &self.log.last().expect("a log with records").record.body
    }

    /// The state that the log gives, its records read from JSON.
    pub(crate) fn replayed(&self) -> State {
        let mut state = State::default();
        for (position, logged) in self.log.iter().enumerate() {
            let json = serde_json::to_string(&logged.record).expect("a record is JSON");
            let read = Logged { record: serde_json::from_str(&json).expect("a record"), ..logged.clone() };
            state.apply(&entry(position, &read)).expect("a log that the core wrote");
        }
        state
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(&self.replayed() == self.core.state(), "replaying the log gives another state");
            let findings = self.findings();
            assert!(findings.is_empty(), "the offline verifier finds fault: {findings:#?}");
        }
    }
}

pub(crate) fn entry(position: usize, logged: &Logged) -> Entry<'_> {
    Entry {
        position: LogPosition(u64::try_from(position).expect("a small log")),
        envelope: logged.envelope,
        received_at: logged.received_at,
        record: &logged.record,
    }
}

fn envelope_of(record: &Record, salt: usize) -> EnvelopeDigest {
    let json = serde_json::to_string(record).expect("a record is JSON");
    EnvelopeDigest::of(format!("{salt} {json}").as_bytes())
}

pub(crate) fn web() -> CheckRef {
    CheckRef { service: "web".parse().expect("a name"), check: "http".parse().expect("a name") }
}

pub(crate) fn fault() -> Fault {
    Fault { kind: FaultKind::StopService, on: "worker".parse().expect("a label") }
}

pub(crate) fn targets() -> Vec<BoundTarget> {
    vec![
        BoundTarget {
            label: "worker".parse().expect("a label"),
            target: Target::SystemdUnit { unit: "web.service".to_owned() },
        },
        BoundTarget { label: "check".parse().expect("a label"), target: Target::Health { check: web() } },
    ]
}

pub(crate) fn service() -> Service {
    let environments = ["staging", "production"].iter().map(|name| name.parse().expect("a name")).collect();
    let probe = Probe::Tcp { address: HostValue("{host.address}".to_owned()) };
    Service {
        name: web().service,
        owner: "team-web".parse().expect("a name"),
        tier: Tier(1),
        hosts: Selector::new(environments, BTreeSet::new()).expect("a selector"),
        checks: vec![Check {
            name: web().check,
            probe,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            fail_after: 3,
            recover_after: 3,
        }],
    }
}
