//! The core by itself: how fast it decides requests for permits, and what its state holds for each host.
//!
//! One thread, no disk, no Cedar: `decide`, and `apply` for every record that it lists. Transitions and reports,
//! which bring about the next request, are taken in between and not timed.

use crate::fleet;
use anyhow::{Context as _, bail, ensure};
use fettle_controlplane::core::{
    AgentRecord, Append, Authorisation, Command, Core, Decision, Entry, Fresh, Monotonic, Now, State,
};
use fettle_model::check::Status;
use fettle_model::configuration::Configuration;
use fettle_model::counter::{AgentSequence, ConfigurationGeneration, LogPosition};
use fettle_model::digest::{DocumentDigest, EnvelopeDigest};
use fettle_model::evidence::{Evidence, Fault, FaultKind, HostClass, KilledRun, ProvedGrant};
use fettle_model::id::{DrillId, HostId, IncidentId, PermitId, ProposalId, RunId, TokenId};
use fettle_model::permit::{Permit, PermittedTarget};
use fettle_model::record::{Author, Body, ConfigurationSet, HostEnrolled, Record};
use fettle_model::remediation::Parameters;
use fettle_model::rollout::Reach;
use fettle_model::time::UnixMillis;
use serde::Serialize;
use stats_alloc::StatsAlloc;
use std::alloc::System;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Time between two requests: a hundred a second, far more than a fleet of 10 000 has faults.
const BETWEEN: Duration = Duration::from_millis(10);
/// How long a run takes: with 50 services, each is asked about eight times meanwhile and may run four.
const RUN: Duration = Duration::from_secs(4);
/// Every so many requests ask for a host that has a permit.
const BUSY_EVERY: u32 = 4;

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    decisions: u32,
    granted: u32,
    refused: u32,
    seconds: f64,
    hosts: u32,
    /// Of the state, after every host was described and has said the status of every check.
    state_bytes: usize,
}

/// A host's end of its chain.
#[derive(Debug, Clone, Copy)]
struct Chain {
    host: HostId,
    sequence: AgentSequence,
    previous: Option<EnvelopeDigest>,
    epoch: u64,
}

struct Play {
    core: Core,
    now: Now,
    minted: u128,
    hosts: Vec<Chain>,
    services: u32,
    running: VecDeque<Running>,
}

/// A run in progress.
struct Running {
    until: Monotonic,
    index: usize,
    service: u32,
    permit: Box<Permit>,
}

/// Measures.
pub(crate) fn measure(
    allocator: &StatsAlloc<System>,
    hosts: u32,
    services: u32,
    requests: u32,
) -> anyhow::Result<Measured> {
    ensure!(hosts > 0 && services > 0 && requests > 0, "there must be hosts, services and requests");
    let held = || {
        let stats = allocator.stats();
        stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
    };
    let mut play = Play::new(hosts, services)?;
    let before = held();
    play.begin()?;
    for host in 0..hosts {
        play.enrol(host)?;
    }
    let state_bytes = held().saturating_sub(before);
    let (mut granted, mut refused, mut spent) = (0, 0, Duration::ZERO);
    for number in 0..requests {
        let (answer, took) = play.fault(number)?;
        spent += took;
        match answer {
            Answer::Granted => granted += 1,
            Answer::Refused => refused += 1,
        }
    }
    Ok(Measured { decisions: requests, granted, refused, seconds: spent.as_secs_f64(), hosts, state_bytes })
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Granted,
    Refused,
}

impl Play {
    fn new(hosts: u32, services: u32) -> anyhow::Result<Self> {
        let now = Now { wall: UnixMillis(1_700_000_000_000), monotonic: Monotonic(Duration::from_secs(1)) };
        let core = Core::on_start(State::default(), now);
        let hosts = Vec::with_capacity(usize::try_from(hosts)?);
        Ok(Self { core, now, minted: 0, hosts, services, running: VecDeque::new() })
    }

    fn mint(&mut self) -> Uuid {
        self.minted += 1;
        Uuid::from_u128(self.minted)
    }

    fn apply(&mut self, record: &Record, envelope: EnvelopeDigest) -> anyhow::Result<()> {
        let entry = Entry { position: self.core.state().next_position(), envelope, received_at: self.now.wall, record };
        Ok(self.core.apply(self.now, &entry)?)
    }

    fn own(&mut self, body: Body) -> anyhow::Result<()> {
        let record = Record { author: Author::ControlPlane, at: self.now.wall, body };
        self.apply(&record, EnvelopeDigest::from_bytes([0; 32]))
    }

    /// The playbook, the configuration, and evidence for every service.
    fn begin(&mut self) -> anyhow::Result<()> {
        let admission = fleet::admission()?;
        let (manifest, by) = (admission.manifest.clone(), admission.by.clone());
        self.own(Body::PlaybookAdmitted(Box::new(admission)))?;
        let configuration = Configuration::new(ConfigurationGeneration(1), fleet::declared(self.services)?)?;
        self.own(Body::ConfigurationSet(Box::new(ConfigurationSet { configuration, by, reach: Reach::Everywhere })))?;
        let description = fleet::description(0, self.services)?;
        for service in 0..self.services {
            let class = HostClass::of(&description, &fleet::check(service)?.service).context("it is carried")?;
            let permitted: Vec<PermittedTarget> = fleet::targets(service)?
                .into_iter()
                .map(|bound| PermittedTarget {
                    actions: manifest.grant(&bound.label).map(|grant| grant.actions.clone()).unwrap_or_default(),
                    label: bound.label,
                    target: bound.target,
                })
                .collect();
            let run = RunId::from_uuid(self.mint());
            let evidence = Evidence {
                drill: DrillId::from_uuid(self.mint()),
                playbook: fleet::version()?,
                parameters: Parameters::default().digest(),
                grants: ProvedGrant::of(&permitted),
                class,
                fault: Fault { kind: FaultKind::StopService, on: fleet::name("worker")? },
                injection: run,
                healing: run,
                repetition: Some(run),
                scenarios: Some(LogPosition(0)),
                killed: Some(KilledRun { injection: run, healing: run, step: 1 }),
                observed: Vec::new(),
                expires_at: self.now.wall.plus(Duration::from_hours(24)),
            };
            self.own(Body::EvidenceEarned(Box::new(evidence)))?;
        }
        Ok(())
    }

    /// A host with all checks passing.
    fn enrol(&mut self, number: u32) -> anyhow::Result<()> {
        let host = HostId::from_uuid(self.mint());
        let enrolled = HostEnrolled {
            host,
            name: fleet::name(&fleet::host_name(number))?,
            environment: fleet::name(fleet::ENVIRONMENT)?,
            record_key: "cmVjb3JkIGtleSBvZiBhIGhvc3Qgb2YgdGhlIGJlbmM=".to_owned(),
            token: TokenId::from_uuid(self.mint()),
        };
        self.own(Body::HostEnrolled(Box::new(enrolled)))?;
        self.hosts.push(Chain { host, sequence: AgentSequence(0), previous: None, epoch: 1 });
        let index = self.hosts.len() - 1;
        let description = fleet::description(number, self.services)?;
        self.say(index, Body::HostDescribed(Box::new(description)))?;
        for service in 0..self.services {
            self.becomes(index, service, Status::Passing)?;
        }
        Ok(())
    }

    fn becomes(&mut self, index: usize, service: u32, to: Status) -> anyhow::Result<()> {
        let chain = self.hosts.get_mut(index).context("a host")?;
        chain.epoch += 1;
        let transition = fleet::transition(service, chain.epoch, to, self.now.wall)?;
        self.say(index, Body::TransitionSeen(Box::new(transition))).map(drop)
    }

    /// The agent's next record, in its chain.
    fn compose(&mut self, index: usize, body: Body) -> anyhow::Result<Command> {
        let fresh = Fresh {
            permit: PermitId::from_uuid(self.mint()),
            incident: IncidentId::from_uuid(self.mint()),
            proposal: ProposalId::from_uuid(self.mint()),
        };
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(&self.minted.to_be_bytes());
        let envelope = EnvelopeDigest::from_bytes(digest);
        let chain = self.hosts.get_mut(index).context("a host")?;
        chain.sequence = chain.sequence.next();
        let author = Author::Agent { host: chain.host, sequence: chain.sequence, previous: chain.previous };
        chain.previous = Some(envelope);
        Ok(Command::AgentRecord(Box::new(AgentRecord {
            host: chain.host,
            record: Record { author, at: self.now.wall, body },
            envelope,
            fresh,
            authorised: Some(Authorisation::Allowed),
            policies: DocumentDigest::from_bytes([0; 32]),
        })))
    }

    /// Decides, and takes in what follows.
    fn run(&mut self, command: &Command) -> anyhow::Result<Vec<Record>> {
        let Command::AgentRecord(given) = command else { bail!("only agents speak here") };
        let Decision { append, outcome: _ } = self.core.decide(self.now, command);
        let mut own = Vec::new();
        for append in append {
            match append {
                Append::PersonEnvelope => bail!("no person speaks here"),
                Append::AgentEnvelope => self.apply(&given.record, given.envelope)?,
                Append::Own(body) => {
                    let record = Record { author: Author::ControlPlane, at: self.now.wall, body };
                    self.apply(&record, EnvelopeDigest::from_bytes([0; 32]))?;
                    own.push(record);
                }
            }
        }
        Ok(own)
    }

    fn say(&mut self, index: usize, body: Body) -> anyhow::Result<Vec<Record>> {
        let command = self.compose(index, body)?;
        let before = self.core.state().next_position();
        let own = self.run(&command)?;
        ensure!(self.core.state().next_position() > before, "a record was not taken in at {}", before.0);
        Ok(own)
    }

    /// A check fails, and its request is decided; says how, and how long only that took. A run that began
    /// long enough ago ends well.
    fn fault(&mut self, number: u32) -> anyhow::Result<(Answer, Duration)> {
        self.now.wall = self.now.wall.plus(BETWEEN);
        self.now.monotonic = self.now.monotonic.plus(BETWEEN);
        let all = u32::try_from(self.hosts.len())?;
        // A step that shares no factor with the count comes to every host before it comes to one again.
        let next = usize::try_from(number.wrapping_mul(7_919) % all)?;
        let busy = self.running.front().map(|running| running.index).filter(|_| number.is_multiple_of(BUSY_EVERY));
        let (index, service) = (busy.unwrap_or(next), number % self.services);
        self.becomes(index, service, Status::Critical)?;
        let Chain { host, epoch, .. } = *self.hosts.get(index).context("a host")?;
        let asked = self.mint().as_u128();
        let request = fleet::request(host, service, epoch, asked)?;
        let command = self.compose(index, Body::PermitRequested(Box::new(request)))?;
        let began = Instant::now();
        let own = self.run(&command)?;
        let took = began.elapsed();
        let answer = match own.into_iter().next().map(|record| record.body) {
            Some(Body::PermitGranted(permit)) => {
                let until = self.now.monotonic.plus(RUN);
                self.running.push_back(Running { until, index, service, permit });
                Answer::Granted
            }
            Some(_) => {
                self.becomes(index, service, Status::Passing)?;
                Answer::Refused
            }
            None => bail!("a request was not answered"),
        };
        while self.running.front().is_some_and(|running| running.until <= self.now.monotonic) {
            self.end_oldest()?;
        }
        Ok((answer, took))
    }

    fn end_oldest(&mut self) -> anyhow::Result<()> {
        let Some(Running { until: _, index, service, permit }) = self.running.pop_front() else { return Ok(()) };
        let report = fleet::succeeded(&permit, self.now.wall);
        self.say(index, Body::RunEnded(Box::new(report)))?;
        self.becomes(index, service, Status::Passing)
    }
}
