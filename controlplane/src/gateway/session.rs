//! One agent's session: Hello, Welcome, a briefing, then records up and published records down.
//!
//! One task per session. It verifies each record with the host's record key, submits it to the leader
//! without waiting for the answer of the one before, and sends answers in the order of submission: a permit
//! or a refusal first, then the acknowledgement. What others cause comes over its [`Line`].

use super::admission::Admitted;
use super::switchboard::{Line, Order};
use super::{Shared, ShowError, shown};
use crate::core::{Outcome, RecordRefusal, views};
use crate::leader::{Done, Entry, Gone};
use crate::server::Peer;
use fettle_audit::key::PublicKey;
use fettle_audit::published::PublishedError;
use fettle_audit::signed_record::SignedRecord;
use fettle_model::counter::{AgentSequence, ConfigurationGeneration, LogPosition, TreeSize};
use fettle_model::id::{BootId, HostId, RequestId};
use fettle_model::record::{Author, Body, Kind};
use fettle_model::refusal::Reason;
use fettle_model::remediation::Mode;
use fettle_proto::session::{HEARTBEAT_INTERVAL, MAX_UNACKNOWLEDGED, MAX_UNANSWERED, SILENCE_LIMIT, SessionProblem};
use fettle_proto::v1::{
    self, Acknowledged, AgentRecord, FromAgent, Head, Heartbeat, Hello, Nudge, Published, Rejected, ToAgent, Welcome,
    from_agent, nudge, to_agent,
};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::{Status, Streaming};

/// Records that may wait for the leader: all that an agent sends ahead, so that they share few commits.
const MAX_PENDING: usize = MAX_UNACKNOWLEDGED;

/// What a session runs on.
pub(super) struct Session {
    shared: Shared,
    peer: Arc<Peer>,
    host: HostId,
    record_key: PublicKey,
    out: mpsc::Sender<Result<ToAgent, Status>>,
    pending: VecDeque<Pending>,
    held: Held,
}

/// Records that came faster than the host may fill the log. Heartbeats go past them, so that a host which is
/// slowed keeps its session.
#[derive(Default)]
struct Held {
    records: VecDeque<AgentRecord>,
    bytes: usize,
    /// When the first may be taken.
    until: Option<Instant>,
}

/// Bytes that one session holds back, one more message of 12 MiB at most besides: what an agent sends ahead of its
/// acknowledgements, 64 records, is some 100 KiB.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;

/// A record that waits for the leader.
struct Pending {
    submitted: Submitted,
    answer: oneshot::Receiver<Done>,
}

/// Which record it was.
#[derive(Clone, Copy)]
struct Submitted {
    sequence: AgentSequence,
    kind: Kind,
}

/// What can happen.
enum Event {
    Ended(SessionProblem),
    Stopped,
    Decided(Submitted, Result<Done, Gone>),
    Ordered(Order),
    Said(from_agent::Message),
    /// A record that was held back may be looked at again.
    Due,
    /// The agent ended its side, or said nothing for too long.
    Left(&'static str),
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{}", .0.as_str())]
    Problem(SessionProblem),
    #[error("record {sequence} is not accepted: {why}")]
    Record { sequence: u64, problem: SessionProblem, why: String },
    #[error("{0}")]
    Left(&'static str),
    #[error("the agent speaks out of turn: {0}")]
    Protocol(&'static str),
    #[error("the certificate has expired")]
    Expired,
    #[error("a record could not be shown")]
    Show(#[source] ShowError),
    #[error("a record could not be written as JSON")]
    Json(#[source] PublishedError),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Problem(SessionProblem::Unavailable)
    }
}

/// What an agent says of itself when it connects, parsed.
struct Introduction {
    boot: BootId,
    unanswered: Vec<RequestId>,
    configuration: u64,
}

impl Session {
    pub(super) fn new(
        shared: Shared,
        peer: Arc<Peer>,
        admitted: &Admitted,
        out: mpsc::Sender<Result<ToAgent, Status>>,
    ) -> Result<Self, Status> {
        let record_key = admitted.record_key.parse().map_err(super::internal)?;
        Ok(Self { shared, peer, host: admitted.host, record_key, out, pending: VecDeque::new(), held: Held::default() })
    }

    /// Holds the session until it ends.
    #[tracing::instrument(skip_all, fields(host = %self.host))]
    pub(super) async fn run(mut self, mut incoming: Streaming<FromAgent>) {
        let end = match self.begin(&mut incoming).await {
            Ok(mut line) => {
                let end = self.serve(&mut line, &mut incoming).await;
                self.shared.switchboard.unplug(&line);
                end
            }
            Err(end) => end,
        };
        self.say_why(&end).await;
    }

    /// Hello and Welcome.
    async fn begin(&mut self, incoming: &mut Streaming<FromAgent>) -> Result<Line, End> {
        let first = tokio::time::timeout(SILENCE_LIMIT, incoming.message()).await;
        let first = first.map_err(|_elapsed| End::Left("no Hello came"))?;
        let hello = match first.ok().flatten().and_then(|message| message.message) {
            Some(from_agent::Message::Hello(hello)) => hello,
            Some(from_agent::Message::Record(_) | from_agent::Message::Heartbeat(_)) => {
                return Err(End::Protocol("a session begins with Hello"));
            }
            None => return Err(End::Left("the agent left before its Hello")),
        };
        let Hello { agent_version, boot, tree_size: _, configuration, stop_epoch: _, unanswered } = hello;
        let introduction = introduce(&boot, configuration, &unanswered)?;
        // Plugged in before the briefing is made, so that nothing new falls between the two. What comes
        // twice says the same.
        let line = self.shared.switchboard.plug(self.host);
        let now = self.shared.wall();
        self.shared.switchboard.heard(self.host, now);
        self.shared.switchboard.holds(self.host, ConfigurationGeneration(introduction.configuration), now);
        match self.brief(&introduction).await {
            Ok(()) => {
                tracing::info!(agent_version, boot = %introduction.boot, address = %self.peer.address, "a session began");
                Ok(line)
            }
            Err(end) => {
                self.shared.switchboard.unplug(&line);
                Err(end)
            }
        }
    }

    /// Everything that the agent must hold, from the log.
    async fn brief(&self, introduction: &Introduction) -> Result<(), End> {
        let (host, unanswered, held) = (self.host, introduction.unanswered.clone(), introduction.configuration);
        let briefing = self.shared.leader.inspect(move |view| {
            let state = view.core.state();
            let Some(briefing) = views::briefing(state, host) else { return Ok(None) };
            let views::Briefing { acknowledged, configuration, playbooks, orders, drill, wanted, last_record } =
                briefing;
            // A permit too comes only for a request that has no answer yet: the agent keeps its requests, and
            // one whose answer it has would be a replay.
            let answers = unanswered.iter().filter_map(|request| state.answer(host, *request));
            let answers: BTreeSet<LogPosition> = answers.map(|answer| answer.stamp.position).collect();
            let due = state.host(host).map(|known| state.configuration_of(known).generation().0);
            let newer = due != Some(held);
            let configuration = configuration.filter(|_| newer);
            let positions = orders.into_iter().chain(playbooks).chain(configuration).chain(drill).chain(answers);
            let welcome = Welcome {
                sequence: acknowledged.0,
                host: host.to_string(),
                heartbeat_interval_ms: u32::try_from(HEARTBEAT_INTERVAL.as_millis()).unwrap_or(u32::MAX),
            };
            let mut messages = vec![to_agent::Message::Welcome(welcome)];
            if let Some(position) = last_record {
                let acknowledged = Acknowledged { sequence: acknowledged.0, published: shown(view, position)? };
                messages.push(to_agent::Message::Acknowledged(acknowledged));
            }
            for position in positions {
                messages.push(to_agent::Message::Published(Published { document: shown(view, position)? }));
            }
            messages.extend(wanted.map(drill_nudge));
            messages
                .extend(views::nudges_on(state, host).iter().map(|nudge| remediate_nudge(&nudge.check.to_string())));
            Ok(Some(messages))
        });
        let messages = briefing.await?.map_err(End::Show)?;
        for message in messages.ok_or(End::Problem(SessionProblem::Revoked))? {
            self.tell(message).await?;
        }
        Ok(())
    }

    async fn serve(&mut self, line: &mut Line, incoming: &mut Streaming<FromAgent>) -> End {
        let mut silent_at = Instant::now() + SILENCE_LIMIT;
        loop {
            let event = self.next(line, incoming, silent_at).await;
            let handled = match event {
                Event::Ended(problem) => Err(End::Problem(problem)),
                Event::Stopped => Err(End::Problem(SessionProblem::Unavailable)),
                Event::Left(why) => Err(End::Left(why)),
                Event::Decided(which, done) => self.decided(which, done).await,
                Event::Ordered(order) => self.tell(ordered(order)).await,
                Event::Due => self.take_held().await,
                Event::Said(message) => {
                    silent_at = Instant::now() + SILENCE_LIMIT;
                    self.hear(message).await
                }
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    async fn next(&mut self, line: &mut Line, incoming: &mut Streaming<FromAgent>, silent_at: Instant) -> Event {
        let room = self.pending.len() + self.held.records.len() < MAX_PENDING && self.held.bytes < MAX_HELD_BYTES;
        let due = self.held.until;
        // Every branch is cancel safe: channels keep what was not taken, and tonic keeps half a message.
        // An order to end goes before everything; answers go before new questions.
        tokio::select! {
            biased;
            problem = &mut line.end => Event::Ended(problem.unwrap_or(SessionProblem::Replaced)),
            () = self.shared.stop.cancelled() => Event::Stopped,
            (which, done) = front(&mut self.pending) => Event::Decided(which, done),
            order = line.orders.recv() => order.map_or(Event::Ended(SessionProblem::Replaced), Event::Ordered),
            message = incoming.message(), if room => match message.ok().flatten().and_then(|message| message.message) {
                Some(message) => Event::Said(message),
                None => Event::Left("the agent left"),
            },
            () = at(due) => Event::Due,
            () = tokio::time::sleep_until(silent_at), if room => Event::Left("the agent was silent for too long"),
        }
    }

    async fn hear(&mut self, message: from_agent::Message) -> Result<(), End> {
        let now = self.shared.wall();
        self.shared.switchboard.heard(self.host, now);
        let valid = self.peer.identity.as_ref().is_some_and(|identity| identity.validity.check(now).is_ok());
        if !valid {
            return Err(End::Expired);
        }
        match message {
            from_agent::Message::Hello(_) => Err(End::Protocol("a second Hello")),
            from_agent::Message::Record(record) => {
                self.held.push(record);
                self.take_held().await
            }
            from_agent::Message::Heartbeat(heartbeat) => self.beat(&heartbeat).await,
        }
    }

    /// Takes what may be taken of the records that came, in their order.
    async fn take_held(&mut self) -> Result<(), End> {
        self.held.until = None;
        while let Some(next) = self.held.records.front() {
            let now = self.shared.clocks.now().monotonic;
            let wait = self.shared.switchboard.take(self.host, next.envelope.len(), now);
            if !wait.is_zero() {
                self.held.until = Some(Instant::now() + wait);
                return Ok(());
            }
            if let Some(record) = self.held.pop() {
                self.take(record).await?;
            }
        }
        Ok(())
    }

    /// Verifies a record and submits it to the leader.
    async fn take(&mut self, record: AgentRecord) -> Result<(), End> {
        let AgentRecord { sequence: claimed, envelope } = record;
        let bad = |why: String| End::Record { sequence: claimed, problem: SessionProblem::BadRecord, why };
        let signed = SignedRecord::open(envelope, &self.record_key)
            .map_err(|error| bad(format!("{:#}", anyhow::Error::from(error))))?;
        let sequence = match signed.record().author {
            Author::Agent { host, sequence, .. } if host == self.host && sequence.0 == claimed => sequence,
            Author::Agent { .. } | Author::ControlPlane | Author::Person { .. } => {
                return Err(bad("its author is another than this session's agent".to_owned()));
            }
        };
        let submitted = Submitted { sequence, kind: signed.record().body.kind() };
        let answer = self.shared.leader.submit_agent_record(self.host, signed).await?;
        self.pending.push_back(Pending { submitted, answer });
        Ok(())
    }

    async fn beat(&self, heartbeat: &Heartbeat) -> Result<(), End> {
        let generation = ConfigurationGeneration(heartbeat.configuration);
        self.shared.switchboard.holds(self.host, generation, self.shared.wall());
        let (host, held) = (self.host, TreeSize(heartbeat.tree_size));
        let (head, wanted) = self
            .shared
            .leader
            .inspect(move |view| {
                // A larger tree than ours cannot be proved; the agent sees that it contradicts what it holds.
                let consistency = view.consistency(held).unwrap_or_default();
                let consistency = consistency.iter().map(|hash| hash.as_bytes().to_vec()).collect();
                let head = Head { checkpoint: view.checkpoint().as_bytes().to_vec(), consistency };
                (head, views::waiting_drill(view.core.state(), host))
            })
            .await?;
        self.tell(to_agent::Message::Head(head)).await?;
        // The agent may have been busy when it was asked first.
        match wanted {
            Some(wish) => self.tell(drill_nudge(wish)).await,
            None => Ok(()),
        }
    }

    /// Answers a record, and those behind it that are decided already; one acknowledgement for all, but one of
    /// its own for the end of a run and for a step that waits for it.
    async fn decided(&mut self, which: Submitted, done: Result<Done, Gone>) -> Result<(), End> {
        let mut acknowledgement = self.answer(which, done?).await?;
        while let Some(next) = self.pending.front_mut() {
            let (which, done) = match next.answer.try_recv() {
                Ok(done) => (next.submitted, done),
                Err(oneshot::error::TryRecvError::Empty) => break,
                Err(oneshot::error::TryRecvError::Closed) => return Err(Gone.into()),
            };
            self.pending.pop_front();
            acknowledgement = self.answer(which, done).await?.or(acknowledgement);
        }
        match acknowledgement {
            Some(acknowledged) => self.tell(to_agent::Message::Acknowledged(acknowledged)).await,
            None => Ok(()),
        }
    }

    /// Sends the answer to a record, where it has one, and gives its acknowledgement.
    async fn answer(&self, which: Submitted, done: Done) -> Result<Option<Acknowledged>, End> {
        let Submitted { sequence, kind } = which;
        let Done { outcome, entries } = done;
        let (answer, known_at) = match outcome {
            Outcome::Done | Outcome::Unchanged => (None, None),
            Outcome::Answered { answer } => (Some(answer), None),
            Outcome::AlreadyKnown { at, answer } => (answer, at),
            Outcome::RecordRefused(refusal) => return Err(refused(sequence, &refusal)),
            Outcome::TooLarge => {
                let (problem, why) = (SessionProblem::BadRecord, "what follows from it is too large".to_owned());
                return Err(End::Record { sequence: sequence.0, problem, why });
            }
            Outcome::AlreadyInitialised | Outcome::EnrolmentRefused(_) | Outcome::PersonRefused(_) => {
                return Err(End::Protocol("a record was answered as something else"));
            }
        };
        if let Some(position) = answer {
            self.publish_answer(&entries, position).await?;
        }
        let own = entries.iter().find(|entry| match &entry.signed.record().author {
            Author::Agent { host, sequence: found, .. } => *host == self.host && *found == sequence,
            Author::ControlPlane | Author::Person { .. } => false,
        });
        let published = match (own, known_at) {
            (Some(own), _) => own.published.to_json().map_err(End::Json)?,
            // Its acknowledgement was lost: the agent gets it again.
            (None, Some(position)) => self.show(position).await?,
            // Too old to be one that an agent waits for.
            (None, None) => return Ok(None),
        };
        let acknowledged = Acknowledged { sequence: sequence.0, published };
        if matches!(kind, Kind::RunEnded | Kind::StepIntended) {
            // The agent keeps it until the inclusion of this very record is proven; its run waits for a step's.
            self.tell(to_agent::Message::Acknowledged(acknowledged)).await?;
            return Ok(None);
        }
        Ok(Some(acknowledged))
    }

    async fn show(&self, position: LogPosition) -> Result<Vec<u8>, End> {
        self.shared.leader.inspect(move |view| shown(view, position)).await?.map_err(End::Show)
    }

    async fn publish_answer(&self, entries: &[Arc<Entry>], position: LogPosition) -> Result<(), End> {
        let here = entries.iter().find(|entry| entry.published.position == position);
        let document = match here {
            Some(entry) => entry.published.to_json().map_err(End::Json)?,
            None => self.show(position).await?,
        };
        self.tell(to_agent::Message::Published(Published { document })).await?;
        match here.and_then(|entry| plan_wanted(&entry.signed.record().body)) {
            Some(request) => self.tell(plan_nudge(request)).await,
            None => Ok(()),
        }
    }

    async fn tell(&self, message: to_agent::Message) -> Result<(), End> {
        let message = Ok(ToAgent { message: Some(message) });
        match tokio::time::timeout(SILENCE_LIMIT, self.out.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(End::Left("the agent left")),
            Err(_elapsed) => Err(End::Left("the agent does not read")),
        }
    }

    /// Tells the agent why the session ends, if it still listens.
    async fn say_why(&self, end: &End) {
        let (sequence, problem) = match end {
            End::Problem(problem) => (0, *problem),
            End::Record { sequence, problem, why } => {
                tracing::warn!(sequence, problem = problem.as_str(), why, "an agent's record is not accepted");
                (*sequence, *problem)
            }
            End::Left(why) => {
                tracing::info!(why, "a session ended");
                return;
            }
            End::Protocol(_) | End::Expired => {
                tracing::warn!(why = %end, "a session is ended");
                drop(self.out.try_send(Err(Status::failed_precondition(end.to_string()))));
                return;
            }
            End::Show(_) | End::Json(_) => {
                let why = std::error::Error::source(end).map(ToString::to_string).unwrap_or_default();
                tracing::error!(why, "a session is ended by a fault of ours");
                (0, SessionProblem::Unavailable)
            }
        };
        tracing::info!(why = problem.as_str(), "a session ended");
        let rejected = Rejected { sequence, problem: problem.as_str().to_owned() };
        // Whoever does not read loses nothing but the reason.
        drop(self.out.try_send(Ok(ToAgent { message: Some(to_agent::Message::Rejected(rejected)) })));
    }
}

impl Held {
    fn push(&mut self, record: AgentRecord) {
        self.bytes = self.bytes.saturating_add(record.envelope.len());
        self.records.push_back(record);
    }

    fn pop(&mut self) -> Option<AgentRecord> {
        let record = self.records.pop_front()?;
        self.bytes = self.bytes.saturating_sub(record.envelope.len());
        Some(record)
    }
}

/// At this time; never, where there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next answer of the leader; never, while nothing is asked.
async fn front(pending: &mut VecDeque<Pending>) -> (Submitted, Result<Done, Gone>) {
    let Some(next) = pending.front_mut() else { return std::future::pending().await };
    let (which, done) = (next.submitted, (&mut next.answer).await.map_err(|_| Gone));
    pending.pop_front();
    (which, done)
}

fn introduce(boot: &str, configuration: u64, unanswered: &[String]) -> Result<Introduction, End> {
    if unanswered.len() > MAX_UNANSWERED {
        return Err(End::Protocol("too many requests are said to be unanswered"));
    }
    let unanswered = unanswered.iter().map(|request| request.parse()).collect::<Result<_, _>>();
    Ok(Introduction {
        boot: boot.parse().map_err(|_| End::Protocol("the boot id is none"))?,
        unanswered: unanswered.map_err(|_| End::Protocol("a request id is none"))?,
        configuration,
    })
}

fn refused(sequence: AgentSequence, refusal: &RecordRefusal) -> End {
    let problem = match refusal {
        RecordRefusal::Revoked(_) | RecordRefusal::UnknownHost(_) => SessionProblem::Revoked,
        RecordRefusal::Gap { .. } | RecordRefusal::Forked { .. } => SessionProblem::BrokenChain,
        RecordRefusal::OtherHost(_) | RecordRefusal::NotForAgents(_) | RecordRefusal::RunKnown(_) => {
            SessionProblem::BadRecord
        }
    };
    End::Record { sequence: sequence.0, problem, why: refusal.to_string() }
}

/// The request for which a plan is wanted: one that only the mode `observe` held back.
fn plan_wanted(body: &Body) -> Option<RequestId> {
    let Body::PermitRefused(refusal) = body else { return None };
    let observes = |reason: &Reason| matches!(reason, Reason::Mode { mode: Mode::Observe, .. });
    refusal.reasons.iter().any(observes).then_some(refusal.request)
}

fn ordered(order: Order) -> to_agent::Message {
    match order {
        Order::Publish(document) => to_agent::Message::Published(Published { document: document.to_vec() }),
        Order::Remediate(check) => remediate_nudge(&check.to_string()),
        Order::Drill(wish) => drill_nudge(wish),
    }
}

fn remediate_nudge(check: &str) -> to_agent::Message {
    about(nudge::About::Remediate(check.to_owned()))
}

fn drill_nudge(wish: views::DrillWish) -> to_agent::Message {
    about(match wish {
        views::DrillWish::Inject(drill) => nudge::About::Inject(drill.to_string()),
        views::DrillWish::Repeat(drill) => nudge::About::Repeat(drill.to_string()),
    })
}

fn plan_nudge(request: RequestId) -> to_agent::Message {
    about(nudge::About::Plan(request.to_string()))
}

fn about(about: v1::nudge::About) -> to_agent::Message {
    to_agent::Message::Nudge(Nudge { about: Some(about) })
}
