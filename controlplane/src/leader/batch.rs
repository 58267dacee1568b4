//! The leader's loop: gather jobs, decide each, append all, publish, answer.

use super::{Clocks, Done, Entry, Feed, Job, Look, Sensed, View, feed::Batch};
use crate::authority::{Authority, Petition};
use crate::core::{
    self, AgentRecord, Append, ApplyError, Authorisation, Command, Core, Decision, Fresh, GiveApproval, Outcome,
    PersonAction, PersonCommand, PersonRefusal, PersonRequest, SayBreakGlass, Senses, Subject,
};
use crate::journal::{AppendError, Journal, MAX_BATCH, Row};
use crate::log::{Log, LogError};
use crate::mint;
use fettle_audit::key::{PublicKey, SigningKey};
use fettle_audit::leaf::leaf_for;
use fettle_audit::signed_record::{SealError, SignedRecord, UnverifiedRecord};
use fettle_model::counter::{LeaderEpoch, LogPosition};
use fettle_model::digest::DocumentDigest;
use fettle_model::id::{DrillId, HostId, IncidentId, PermitId, ProposalId};
use fettle_model::name::PersonName;
use fettle_model::record::{Author, Body, Kind, Record};
use fettle_model::time::UnixMillis;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often lost runs and overdue drills are looked for when nothing else happens.
const TICK: Duration = Duration::from_millis(250);

/// How long a batch waits for company while nobody is in a hurry for it. An agent sends the request for a
/// permit one fsync of its own after the transition: together they cost the path to the permit one commit
/// instead of two.
const LINGER: Duration = Duration::from_millis(2);

/// Most ticks that append something in a row, so that a crowd of lost runs does not hold up jobs.
const MAX_TICKS: usize = 64;

/// Why the leader ended; the process ends with it.
#[derive(Debug, thiserror::Error)]
pub enum LeaderError {
    /// The batch was not appended, or nobody knows.
    #[error("a batch could not be appended")]
    Append(#[source] AppendError),
    /// The checkpoint could not be published.
    #[error("a checkpoint could not be published")]
    Log(#[source] LogError),
    /// The thread's timer could not be made.
    #[error("the leader's timer could not be made")]
    Runtime(#[source] std::io::Error),
    /// A decision's record does not follow from the state.
    #[error("a decided record does not apply")]
    Apply(#[source] ApplyError),
}

/// What the thread owns.
pub(super) struct Thread {
    pub(super) core: Core,
    pub(super) journal: Journal,
    pub(super) log: Log,
    pub(super) epoch: LeaderEpoch,
    pub(super) permit_key: SigningKey,
    pub(super) authority: Authority,
    /// SHA-256 over its policies.
    pub(super) policies: DocumentDigest,
    pub(super) clocks: Clocks,
    pub(super) feed: Feed,
    pub(super) senses: Senses,
    #[cfg(feature = "hold-points")]
    pub(super) hold: super::hold::Hold,
}

/// A record of the batch in hand.
struct Pending {
    signed: SignedRecord,
    leaf: Vec<u8>,
}

/// An answer that waits until the batch is published.
struct Waiting {
    reply: oneshot::Sender<Done>,
    outcome: Outcome,
    entries: std::ops::Range<usize>,
}

/// Whether somebody is in a hurry for the answer to a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Haste {
    /// Nobody: an agent goes on without its acknowledgement.
    #[default]
    None,
    /// Somebody is.
    Some,
}

impl Haste {
    fn of(job: &Job) -> Self {
        match job {
            Job::AgentRecord { signed, .. } => match signed.record().body.kind() {
                Kind::TransitionSeen | Kind::HostDescribed | Kind::PlanMade | Kind::RequestWithheld => Self::None,
                Kind::LogOpened
                | Kind::RoleGranted
                | Kind::PersonRevoked
                | Kind::BreakGlassAsked
                | Kind::BreakGlassOpened
                | Kind::BreakGlassClosed
                | Kind::RoleRevoked
                | Kind::PersonKeySet
                | Kind::IdentityRegistered
                | Kind::PersonLoggedIn
                | Kind::ProposalMade
                | Kind::ApprovalGiven
                | Kind::ProposalEnded
                | Kind::RolloutAdvanced
                | Kind::RolloutHalted
                | Kind::RolloutOrdered
                | Kind::ConfigurationRejected
                | Kind::TokenCreated
                | Kind::HostEnrolled
                | Kind::CertificateIssued
                | Kind::HostStateSet
                | Kind::PublisherTrusted
                | Kind::PlaybookAdmitted
                | Kind::ScenariosPassed
                | Kind::ConfigurationSet
                | Kind::PermitRequested
                | Kind::PermitGranted
                | Kind::PermitRefused
                | Kind::PermitRejected
                | Kind::RunEnded
                | Kind::RunUnresolved
                | Kind::OfflineReturned
                | Kind::StepIntended
                | Kind::OfflineExpired
                | Kind::BreakerOpened
                | Kind::BreakerClosed
                | Kind::BreakerEased
                | Kind::FreezeDeclared
                | Kind::FreezeLifted
                | Kind::MuteStarted
                | Kind::MuteLifted
                | Kind::PromotionProposed
                | Kind::AutomationStopped
                | Kind::AutomationResumed
                | Kind::DrillStarted
                | Kind::DrillStagePassed
                | Kind::ScheduleRefused
                | Kind::DrillEnded
                | Kind::EvidenceEarned
                | Kind::IncidentOpened
                | Kind::ActionRefused
                | Kind::ForkSeen
                | Kind::RunWished => Self::Some,
            },
            Job::Sense(_) => Self::None,
            Job::Command { .. } | Job::Person { .. } | Job::PersonRecord { .. } | Job::Inspect(_) => Self::Some,
        }
    }
}

#[derive(Default)]
struct InHand {
    haste: Haste,
    records: Vec<Pending>,
    waiting: Vec<Waiting>,
    inspections: Vec<Look>,
}

impl Thread {
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<(), LeaderError> {
        // A current-thread runtime only for the timed receive; nothing else runs on it.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(LeaderError::Runtime)?;
        loop {
            let mut in_hand = InHand::default();
            match runtime.block_on(async { tokio::time::timeout(TICK, jobs.recv()).await }) {
                Ok(Some(job)) => self.take(job, &mut in_hand)?,
                Ok(None) => return Ok(()),
                Err(_elapsed) => {}
            }
            // What came meanwhile shares the fsync, and so does what comes soon, while nobody is in a hurry.
            let linger = runtime.block_on(async { tokio::time::Instant::now() }) + LINGER;
            while in_hand.records.len() < MAX_BATCH {
                let next = match jobs.try_recv() {
                    Ok(job) => Some(job),
                    Err(_) if in_hand.records.is_empty() || in_hand.haste == Haste::Some => None,
                    Err(_) => {
                        runtime.block_on(async { tokio::time::timeout_at(linger, jobs.recv()).await }).ok().flatten()
                    }
                };
                let Some(job) = next else { break };
                self.take(job, &mut in_hand)?;
            }
            self.tick(&mut in_hand)?;
            self.commit(in_hand)?;
        }
    }

    fn take(&mut self, job: Job, in_hand: &mut InHand) -> Result<(), LeaderError> {
        if Haste::of(&job) == Haste::Some {
            in_hand.haste = Haste::Some;
        }
        match job {
            Job::AgentRecord { host, signed, reply } => {
                let command = self.agent_command(host, &signed);
                self.decide(&command, Some(*signed), Some(reply), in_hand).map(drop)
            }
            Job::Command { command, reply } => self.decide(&command, None, Some(reply), in_hand).map(drop),
            Job::Person { by, request, reply } => {
                let command = self.person_command(by, *request);
                self.decide(&command, None, Some(reply), in_hand).map(drop)
            }
            Job::PersonRecord { by, given, reply } => self.person_record(by, *given, reply, in_hand),
            Job::Sense(sensed) => {
                match sensed {
                    Sensed::Heard(heard) => self.senses.heard = heard,
                    Sensed::Held(held) => self.senses.held = held,
                }
                Ok(())
            }
            Job::Inspect(look) => {
                in_hand.inspections.push(look);
                Ok(())
            }
        }
    }

    fn agent_command(&self, host: HostId, signed: &SignedRecord) -> Command {
        let authorised = if let Body::PermitRequested(request) = &signed.record().body {
            Some(self.authority.permit(&core::facts_for_authorisation(self.core.state(), request)))
        } else {
            None
        };
        Command::AgentRecord(Box::new(AgentRecord {
            host,
            record: signed.record().clone(),
            envelope: signed.envelope().digest(),
            fresh: Fresh {
                permit: PermitId::from_uuid(mint::uuid()),
                incident: IncidentId::from_uuid(mint::uuid()),
                proposal: ProposalId::from_uuid(mint::uuid()),
            },
            authorised,
            policies: self.policies,
        }))
    }

    fn person_command(&self, by: PersonName, request: PersonRequest) -> Command {
        let authorised = self.authorise(&by, request.action(), &request.subject());
        Command::Person(Box::new(PersonCommand { by, authorised, request }))
    }

    fn authorise(&self, by: &PersonName, action: PersonAction, subject: &Subject) -> Authorisation {
        let state = self.core.state();
        let (holding, on) = (state.holding(by, self.clocks.now().wall), state.resource(subject));
        self.authority.person(&Petition { by, holding: &holding, action, on: &on })
    }

    /// The key is looked up here, so that one that was replaced a moment ago signs nothing any more.
    fn person_record(
        &mut self,
        by: PersonName,
        given: UnverifiedRecord,
        reply: oneshot::Sender<Done>,
        in_hand: &mut InHand,
    ) -> Result<(), LeaderError> {
        let key = self.core.state().signing_key(&by).and_then(|key| key.parse::<PublicKey>().ok());
        let signed = match key.map(|key| given.verify(&key)) {
            Some(Ok(signed)) => signed,
            unsigned @ (None | Some(Err(_))) => {
                let refusal = if unsigned.is_none() {
                    PersonRefusal::NoSigningKey(by)
                } else {
                    PersonRefusal::OtherSigningKey(by)
                };
                let entries = in_hand.records.len()..in_hand.records.len();
                in_hand.waiting.push(Waiting { reply, outcome: Outcome::PersonRefused(refusal), entries });
                return Ok(());
            }
        };
        let command = self.said_command(by, signed.record().clone());
        self.decide(&command, Some(signed), Some(reply), in_hand).map(drop)
    }

    fn said_command(&self, by: PersonName, record: Record) -> Command {
        let break_glass = if let Body::BreakGlassOpened(opened) = &record.body {
            Some((PersonAction::ConfirmBreakGlass, Subject::BreakGlass(opened.ask)))
        } else {
            matches!(record.body, Body::BreakGlassAsked(_))
                .then_some((PersonAction::AskBreakGlass, Subject::Installation))
        };
        if let Some((action, subject)) = break_glass {
            let authorised = self.authorise(&by, action, &subject);
            let incident = IncidentId::from_uuid(mint::uuid());
            return Command::BreakGlass(Box::new(SayBreakGlass { by, authorised, record, incident }));
        }
        let subject = if let Body::ApprovalGiven(given) = &record.body {
            Subject::Proposal(given.proposal)
        } else {
            // The core refuses it, whoever may do what.
            Subject::Installation
        };
        let authorised = self.authorise(&by, PersonAction::Approve, &subject);
        Command::Approval(Box::new(GiveApproval { by, authorised, record, policies: self.policies }))
    }

    fn tick(&mut self, in_hand: &mut InHand) -> Result<(), LeaderError> {
        for _ in 0..MAX_TICKS {
            let (incident, senses) = (IncidentId::from_uuid(mint::uuid()), self.senses.clone());
            let drill = DrillId::from_uuid(mint::uuid());
            let command = Command::Tick { incident, drill, senses, policies: self.policies };
            if self.decide(&command, None, None, in_hand)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Decides one command and takes its records into the state and the batch; says how many there are.
    fn decide(
        &mut self,
        command: &Command,
        theirs: Option<SignedRecord>,
        reply: Option<oneshot::Sender<Done>>,
        in_hand: &mut InHand,
    ) -> Result<usize, LeaderError> {
        let now = self.clocks.now();
        let Decision { append, outcome } = self.core.decide(now, command);
        let start = in_hand.records.len();
        // All are sealed before any is applied: the decision stands as a whole or not at all. What somebody
        // sent must not end the process because its answer does not fit.
        let (sealed, outcome) = match self.seal(append, theirs, now.wall) {
            Ok(sealed) => (sealed, outcome),
            Err(error) => {
                tracing::error!(error = format!("{:#}", anyhow::Error::from(error)), "a decision was not taken");
                (Vec::new(), Outcome::TooLarge)
            }
        };
        for signed in sealed {
            let entry = core::Entry {
                position: self.core.state().next_position(),
                envelope: signed.envelope().digest(),
                received_at: now.wall,
                record: signed.record(),
            };
            self.core.apply(now, &entry).map_err(LeaderError::Apply)?;
            let leaf = leaf_for(&signed, now.wall).encode().to_vec();
            in_hand.records.push(Pending { signed, leaf });
        }
        let entries = start..in_hand.records.len();
        let appended = entries.len();
        if let Some(reply) = reply {
            in_hand.waiting.push(Waiting { reply, outcome, entries });
        }
        Ok(appended)
    }

    fn seal(
        &self,
        append: Vec<Append>,
        mut theirs: Option<SignedRecord>,
        at: UnixMillis,
    ) -> Result<Vec<SignedRecord>, SealError> {
        let mut sealed = Vec::with_capacity(append.len());
        for record in append {
            match record {
                // The core lists somebody's own record at most once, and only where there is one.
                Append::AgentEnvelope | Append::PersonEnvelope => sealed.extend(theirs.take()),
                Append::Own(body) => {
                    let record = Record { author: Author::ControlPlane, at, body };
                    sealed.push(SignedRecord::seal(record, &self.permit_key)?);
                }
            }
        }
        Ok(sealed)
    }

    fn commit(&mut self, in_hand: InHand) -> Result<(), LeaderError> {
        let InHand { haste: _, records, waiting, inspections } = in_hand;
        let begun = self.clocks.now().monotonic;
        let entries = self.publish(records)?;
        if !entries.is_empty() {
            self.senses.lag = begun.until(self.clocks.now().monotonic);
        }
        for Waiting { reply, outcome, entries: range } in waiting {
            let entries = entries.get(range).map(<[_]>::to_vec).unwrap_or_default();
            // Whoever asked may have gone; the records are in the log all the same.
            drop(reply.send(Done { outcome, entries }));
        }
        if !entries.is_empty() {
            self.feed.tell(Batch { entries });
        }
        let view = View { core: &self.core, journal: &self.journal, log: &self.log };
        for look in inspections {
            look(&view);
        }
        Ok(())
    }

    fn publish(&mut self, records: Vec<Pending>) -> Result<Vec<Arc<Entry>>, LeaderError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let size = self.log.latest().size;
        let rows: Vec<Row> = records
            .iter()
            .map(|record| Row { leaf: record.leaf.clone(), envelope: record.signed.envelope().as_bytes().to_vec() })
            .collect();
        self.journal.append(size, self.epoch, &rows).map_err(LeaderError::Append)?;
        #[cfg(feature = "hold-points")]
        self.hold.appended(rows.len());
        // Crash here: the journal is ahead of its checkpoint; the next start publishes what is in it.
        self.log.extend(rows.iter().map(|row| row.leaf.as_slice())).map_err(LeaderError::Log)?;
        #[cfg(feature = "hold-points")]
        self.hold.published();
        // Crash here: published, but nobody was told; agents ask again and get the same answers.
        (size.0..)
            .map(LogPosition)
            .zip(records.into_iter().zip(rows))
            .map(|(position, (record, row))| {
                let published = self.log.prove(position, row.leaf, row.envelope).map_err(LeaderError::Log)?;
                Ok(Arc::new(Entry { signed: record.signed, published }))
            })
            .collect()
    }
}
