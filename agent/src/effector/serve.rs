//! The effector's loop: one owner of everything, one closed enum of what can happen.
//!
//! | task | gives to the loop |
//! |---|---|
//! | reader of the daemon's pipe | [`Event::Daemon`] |
//! | reader of each worker's pipe | [`Event::Worker`] |
//! | looks and deeds of the run | [`Event::Outcome`] |
//! | timer | [`Event::Timer`] |
//! | the service manager's watchdog | [`Event::Watched`] |
//! | signals | [`Event::Terminate`] |
//!
//! A failure to make something durable ends the process: what is durable is then read again.

use super::admission::LogView;
use super::children::{self, Child, Role, Separation};
use super::climb::Climbs;
use super::clock::Clocks;
use super::keys::{Enrolment, Keys, KeysError};
use super::library::Library;
use super::offline::Offline;
use super::outbox::{Announced, Window};
use super::plan::Planning;
use super::recorder::{RecordError, Recorder};
use super::run::{FromHands, FromNumbered, Hands, Watching, Worker, WorkerNumber};
use super::service_manager::ServiceManager;
use super::store::{CheckHead, Store, StoreError, Value};
use super::trust::{Head, InvalidPins, Pins, Stops};
use super::withhold::Withheld;
use crate::capability::{Capabilities, Deed, FactsError, Holds, Injections};
use crate::config::{AgentConfig, ConfigError};
use crate::ipc::daemon::{Ask, ToDaemon, ToEffector};
use crate::ipc::frame::{FrameError, MAX_DAEMON_FRAME, TAKEN_WITHIN, in_time, receive, send};
use fettle_model::check::CheckRef;
use fettle_model::configuration::Configuration;
use fettle_model::digest::{EnvelopeDigest, PlaybookDigest};
use fettle_model::evidence::Drill;
use fettle_model::host::Isolation;
use fettle_model::id::{DrillId, RequestId};
use fettle_model::permit::PermitRequest;
use fettle_model::time::{BootInstant, UnixMillis};
use fettle_sandbox::call::Call;
use fettle_sandbox::machine::{Broken, Event as MachineEvent, Machine};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

/// Messages of workers and of hands that may wait for the loop: half a mebibyte each at most.
const INBOX: usize = 128;
/// Messages of the daemon that may wait: each may be as large as a package, 24 MiB. What does not fit waits in
/// the pipe and in the daemon, which has room for its own.
const DAEMON_INBOX: usize = 4;

/// How long the first worker has to name its engine: it takes milliseconds, and a second on a busy host.
/// Messages of the daemon wait for it.
const ENGINE_WITHIN: Duration = Duration::from_secs(10);

/// Why the effector ended.
#[derive(Debug, thiserror::Error)]
pub enum EffectorError {
    /// `agent.toml` has mistakes.
    #[error("the configuration cannot be used")]
    Config(#[source] ConfigError),
    /// The state file.
    #[error("the agent's state")]
    Store(#[source] StoreError),
    /// A key file.
    #[error("the agent's keys")]
    Keys(#[source] KeysError),
    /// A fact about the host.
    #[error("the host's facts")]
    Facts(#[source] FactsError),
    /// The pinned keys.
    #[error("the keys that enrolment pinned")]
    Pins(#[source] InvalidPins),
    /// `agent.toml` pins another key than enrolment did.
    #[error(
        "the {key} in agent.toml is another one than this host's enrolment pinned; correct agent.toml, or, where the \
         control plane was made anew, remove the state folder and enrol again with a new join token"
    )]
    OtherPins {
        /// Its name in `agent.toml`.
        key: &'static str,
    },
    /// A folder of the state could not be made.
    #[error("the state folder {path} cannot be made")]
    Folder {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A child could not be started.
    #[error("the agent's {role} could not be started", role = .role.subcommand())]
    Child {
        /// Which.
        role: Role,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A record could not be made durable.
    #[error("a record could not be kept")]
    Record(#[source] RecordError),
    /// The machine of a run was driven wrongly, or its journal is damaged.
    #[error("the run {run} cannot go on")]
    Broken {
        /// Which.
        run: fettle_model::id::RunId,
        /// How.
        #[source]
        source: Broken,
    },
    /// A document of our own could not be written as JSON.
    #[error("a document could not be written")]
    Json(#[source] serde_json::Error),
    /// A drill ends this process in the middle of a run. Nothing of the loop runs after it.
    #[error("a drill ends this process in the middle of a run")]
    Killed,
    /// The process that a drill ended did not begin anew; whoever supervises it does that.
    #[error("the process that a drill ended could not begin anew by itself")]
    NotBegunAnew(#[source] std::io::Error),
    /// Signals cannot be caught.
    #[error("signals cannot be caught")]
    Signals(#[source] std::io::Error),
}

impl From<StoreError> for EffectorError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What can happen.
#[derive(Debug)]
pub(super) enum Event {
    /// The daemon says something, or is gone.
    Daemon(Result<ToEffector, FrameError>),
    /// A worker says something.
    Worker(FromNumbered),
    /// A look or a deed of the run is done.
    Outcome(FromHands),
    /// A time has come.
    Timer,
    /// The service manager wants to hear that the loop turns.
    Watched,
    /// The process is to end.
    Terminate,
}

/// The run in progress.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) machine: Machine<Deed>,
    pub(super) permit: fettle_model::permit::Permit,
    pub(super) hands: Hands,
    pub(super) worker: Option<Worker>,
    pub(super) watching: Watching,
    /// When the watched check is asked about again, on the boot clock.
    pub(super) ask_at: Option<BootInstant>,
    /// The question that is open.
    pub(super) asked: Option<Ask>,
    pub(super) written: Written,
    /// The record that a step waits for.
    pub(super) announced: Option<Announced>,
    pub(super) fired: UnixMillis,
    /// Whether a worker is to be given its job as soon as it is ready.
    pub(super) wants_worker: bool,
}

/// How much of a run's journal is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) entries: u32,
    pub(super) bytes: usize,
}

/// Most bytes of a run's journal that the component may cause: a thousand answers of 8 KiB, read back whole
/// after a crash.
const MAX_JOURNAL_BYTES: usize = 8 * 1024 * 1024;

impl Written {
    /// One entry more.
    pub(super) const fn and(self, bytes: usize) -> Self {
        Self { entries: self.entries.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

    /// What a component's call is to its run: once it caused too much it gets no more answers.
    pub(super) fn event_of(self, call: Call) -> MachineEvent<Deed> {
        if self.bytes > MAX_JOURNAL_BYTES {
            let detail = format!("its answers fill {MAX_JOURNAL_BYTES} bytes, and it asks on");
            return MachineEvent::WorkerDied { detail };
        }
        MachineEvent::WorkerCalled(call)
    }
}

/// Whether the control plane can be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    Up,
    Down,
}

/// A compilation in progress.
#[derive(Debug)]
pub(super) struct Compiling {
    pub(super) digest: PlaybookDigest,
    pub(super) worker: Worker,
}

/// A drill's run that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) drill: DrillId,
    pub(super) run: DrillRun,
    /// It is asked for then at the earliest.
    pub(super) at: UnixMillis,
}

/// Which of a drill's runs the agent asks for by itself; what heals the fault answers a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrillRun {
    /// The one that injects the fault.
    Injection,
    /// The one that must change nothing.
    Repetition,
}

/// Everything that the effector owns.
#[derive(Debug)]
pub(super) struct Effector {
    pub(super) capabilities: Capabilities,
    pub(super) clocks: Clocks,
    pub(super) store: Store,
    pub(super) keys: fettle_sandbox::engine::HostKey,
    pub(super) recorder: Recorder,
    pub(super) pins: Option<Pins>,
    pub(super) head: Option<Head>,
    pub(super) log: LogView,
    /// Foreign keys that enrolment was said to have answered with.
    pub(super) refused_keys: Option<EnvelopeDigest>,
    pub(super) stops: Stops,
    pub(super) configuration: Configuration,
    pub(super) library: Library,
    pub(super) assigned: BTreeSet<PlaybookDigest>,
    pub(super) fetching: BTreeSet<PlaybookDigest>,
    pub(super) heads: BTreeMap<CheckRef, CheckHead>,
    pub(super) requests: BTreeMap<RequestId, PermitRequest>,
    /// Not before then, on the wall clock.
    pub(super) retry_at: BTreeMap<CheckRef, UnixMillis>,
    /// Which rungs are asked for.
    pub(super) climbs: Climbs,
    /// What was said of requests that were not made.
    pub(super) withheld: Withheld,
    pub(super) drill: Option<Drill>,
    /// A drill's run that is still to be asked for.
    pub(super) drill_wanted: Option<Wanted>,
    /// Refused requests for which a plan is wanted, oldest first.
    pub(super) plans_wanted: VecDeque<PermitRequest>,
    pub(super) planning: Option<Planning>,
    /// What may be done while the control plane is not reached.
    pub(super) offline: Offline,
    pub(super) holds: Holds,
    pub(super) injections: Injections,
    pub(super) active: Option<Active>,
    pub(super) spare: Option<Worker>,
    pub(super) compiling: Option<Compiling>,
    /// The first worker names its engine until then, on the boot clock; `None`: it did, or nobody waits for it.
    pub(super) engine_by: Option<BootInstant>,
    pub(super) next_worker: u64,
    pub(super) next_ask: u64,
    pub(super) link: LinkState,
    pub(super) window: Window,
    /// When what could not be fetched is asked for again, on the boot clock.
    pub(super) supply_at: Option<BootInstant>,
    pub(super) daemon: Option<(OwnedWriteHalf, tokio::process::Child)>,
    pub(super) daemon_starts: u32,
    pub(super) restart_daemon_at: Option<BootInstant>,
    pub(super) separation: Separation,
    pub(super) isolation: Isolation,
    pub(super) channels: Channels,
}

/// Where tasks send what they have to say.
#[derive(Debug, Clone)]
pub(super) struct Channels {
    pub(super) daemon: mpsc::Sender<Result<ToEffector, FrameError>>,
    pub(super) workers: mpsc::Sender<FromNumbered>,
    pub(super) outcomes: mpsc::Sender<FromHands>,
}

struct Inboxes {
    daemon: mpsc::Receiver<Result<ToEffector, FrameError>>,
    workers: mpsc::Receiver<FromNumbered>,
    outcomes: mpsc::Receiver<FromHands>,
}

fn channels() -> (Channels, Inboxes) {
    let (daemon, daemon_inbox) = mpsc::channel(DAEMON_INBOX);
    let (workers, workers_inbox) = mpsc::channel(INBOX);
    let (outcomes, outcomes_inbox) = mpsc::channel(INBOX);
    let inboxes = Inboxes { daemon: daemon_inbox, workers: workers_inbox, outcomes: outcomes_inbox };
    (Channels { daemon, workers, outcomes }, inboxes)
}

/// Whether the loop goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    End,
}

/// Runs the effector until it is told to end. Needs a current-thread tokio runtime.
///
/// # Errors
/// When the state, the keys or a child cannot be had, or something could not be made durable.
pub async fn serve(config: AgentConfig, separation: Separation, isolation: Isolation) -> Result<(), EffectorError> {
    if let Isolation::Weaker { missing } = &isolation {
        for weaker in missing {
            tracing::warn!(weaker, "the agent is less separated than it could be");
        }
    }
    let (channels, mut inboxes) = channels();
    let mut effector = Effector::open(config, separation, isolation, channels)?;
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(EffectorError::Signals)?;
    let mut interrupt =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(EffectorError::Signals)?;
    effector.begin().await?;
    let mut manager = ServiceManager::ready();
    loop {
        manager.turned();
        let timer = effector.sleep();
        // Every branch is cancel safe: channels keep what was not taken.
        let event = tokio::select! {
            // Before that nobody knows whether a playbook that was compiled can run.
            Some(message) = inboxes.daemon.recv(), if effector.engine_by.is_none() => Event::Daemon(message),
            Some(message) = inboxes.workers.recv() => Event::Worker(message),
            Some(outcome) = inboxes.outcomes.recv() => Event::Outcome(outcome),
            () = timer => Event::Timer,
            () = manager.due() => Event::Watched,
            _ = terminate.recv() => Event::Terminate,
            _ = interrupt.recv() => Event::Terminate,
        };
        match effector.handle(event).await {
            Ok(Flow::On) => {}
            Ok(Flow::End) => return Ok(()),
            Err(EffectorError::Killed) => return Err(effector.begin_anew().await),
            Err(error) => return Err(error),
        }
    }
}

impl Effector {
    fn open(
        config: AgentConfig,
        separation: Separation,
        isolation: Isolation,
        channels: Channels,
    ) -> Result<Self, EffectorError> {
        let facts = crate::capability::Facts::gather(config.host.name.clone()).map_err(EffectorError::Facts)?;
        let clocks = Clocks::of(facts.boot);
        let folder = super::folders::prepare(config.host.state_dir.as_path(), separation)?;
        let store = Store::open(&super::folders::state_file(&folder)?)?;
        let host = parsed(store.value(Value::Host)?, "host")?;
        let enrolment = if host.is_some() { Enrolment::Done } else { Enrolment::Open };
        let Keys { record, artifacts } = Keys::load(&folder, enrolment).map_err(EffectorError::Keys)?;
        let pins = match (store.value(Value::LogKey)?, store.value(Value::PermitKey)?) {
            (Some(log), Some(permit)) => Some(Pins::parse(&log, &permit).map_err(EffectorError::Pins)?),
            (None | Some(_), None | Some(_)) => None,
        };
        if let Some(key) = pins.as_ref().and_then(|pins| pins.unlike(&config.control_plane)) {
            return Err(EffectorError::OtherPins { key });
        }
        let head = match (&pins, store.value(Value::Checkpoint)?) {
            (Some(pins), Some(note)) => {
                let checkpoint = pins.checkpoint(&note).map_err(|_| StoreError::Malformed { what: "checkpoint" })?;
                Some(Head { checkpoint, note })
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        let log = if store.value(Value::Fork)?.is_some() { LogView::Forked } else { LogView::Consistent };
        let library = Library::load(&store, &config.publishers)?;
        let requests: Vec<PermitRequest> = documents(&store.requests()?, "request")?;
        let mut effector = Self {
            recorder: Recorder::new(record, host, store.chain_head()?),
            stops: document(store.value(Value::StopOrders)?, "stop orders")?.unwrap_or_default(),
            configuration: document(store.value(Value::Configuration)?, "configuration")?.unwrap_or_default(),
            holds: document(store.value(Value::Holds)?, "holds")?.unwrap_or_default(),
            injections: document(store.value(Value::Injections)?, "injections")?.unwrap_or_default(),
            drill: document(store.value(Value::Drill)?, "drill")?,
            withheld: document(store.value(Value::Withheld)?, "requests that were not made")?.unwrap_or_default(),
            heads: store.check_heads()?.into_iter().map(|head| (head.check.clone(), head)).collect(),
            requests: requests.into_iter().map(|request| (request.request, request)).collect(),
            capabilities: Capabilities::new(config, facts),
            keys: artifacts,
            retry_at: BTreeMap::new(),
            climbs: Climbs::default(),
            assigned: BTreeSet::new(),
            fetching: BTreeSet::new(),
            drill_wanted: None,
            plans_wanted: VecDeque::new(),
            planning: None,
            active: None,
            spare: None,
            compiling: None,
            engine_by: None,
            next_worker: 0,
            next_ask: 0,
            link: LinkState::Down,
            offline: Offline::new(clocks.now().on_boot),
            window: Window::default(),
            supply_at: None,
            daemon: None,
            daemon_starts: 0,
            restart_daemon_at: None,
            clocks,
            store,
            pins,
            head,
            log,
            refused_keys: None,
            library,
            separation,
            isolation,
            channels,
        };
        effector.assign();
        effector.forget_other_boots()?;
        effector.load_budget()?;
        Ok(effector)
    }

    async fn begin(&mut self) -> Result<(), EffectorError> {
        self.take_back_orphaned().await?;
        self.start_daemon().await?;
        self.ensure_spare()?;
        self.engine_by = self.spare.is_some().then(|| self.clocks.now().on_boot.plus(ENGINE_WITHIN));
        self.resume_runs().await
    }

    async fn handle(&mut self, event: Event) -> Result<Flow, EffectorError> {
        match event {
            Event::Daemon(Ok(message)) => self.daemon_said(message).await?,
            Event::Daemon(Err(error)) => self.daemon_gone(&error),
            Event::Worker(message) => self.worker_said(message).await?,
            Event::Outcome(outcome) => self.outcome(outcome).await?,
            Event::Timer => self.timer().await?,
            Event::Watched => {}
            Event::Terminate => {
                // While the agent is down nothing would take them back.
                self.end_all_injections()?;
                self.take_back_due().await?;
                self.tell_daemon(&ToDaemon::Stop).await;
                return Ok(Flow::End);
            }
        }
        Ok(Flow::On)
    }

    /// Waits until the next time that matters.
    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        let now = self.clocks.now();
        let on_boot = [
            self.active.as_ref().and_then(|active| active.machine.wakes_at()),
            self.active.as_ref().and_then(|active| active.ask_at),
            self.restart_daemon_at,
            self.supply_at,
            self.engine_by,
            self.planning.as_ref().map(|planning| planning.until),
        ];
        let on_wall = [
            self.holds.next_end(),
            self.injections.next_end(),
            match self.link {
                LinkState::Up => self.retry_at.values().copied().chain(self.climbs.next_end(now.wall)).min(),
                LinkState::Down => None,
            },
            match self.link {
                LinkState::Up => self.drill_due(),
                LinkState::Down => None,
            },
        ];
        let waits = on_boot.into_iter().flatten().map(|at| at.since(now.on_boot));
        let waits = waits.chain(on_wall.into_iter().flatten().map(|at| at.since(now.wall))).chain(self.budget_waits());
        // A millisecond more: both clocks were rounded down to whole ones.
        let wait = waits.min().map(|wait| wait + std::time::Duration::from_millis(1));
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Tells the daemon something; when it is gone, its reader says so.
    pub(super) async fn tell_daemon(&mut self, message: &ToDaemon) {
        let Some((pipe, _)) = &mut self.daemon else { return };
        match in_time(TAKEN_WITHIN, send(pipe, message, MAX_DAEMON_FRAME)).await {
            Ok(()) => {}
            Err(error @ FrameError::Stuck { .. }) => {
                tracing::error!(%error, "the daemon does not read and is ended");
                // Killed with its handle, and started again when its reader says that it is gone.
                self.daemon = None;
            }
            Err(error) => tracing::debug!(%error, "the daemon could not be told"),
        }
    }

    pub(super) fn spawn_daemon(&mut self) -> Result<(), EffectorError> {
        let Child { pipe, process } = children::start(Role::Daemon, self.separation)
            .map_err(|source| EffectorError::Child { role: Role::Daemon, source })?;
        let (read_half, write_half) = pipe.into_split();
        // Ends with the pipe.
        drop(tokio::spawn(read_daemon(read_half, self.channels.daemon.clone())));
        self.daemon = Some((write_half, process));
        self.daemon_starts += 1;
        Ok(())
    }

    pub(super) fn start_worker(&mut self) -> Result<Worker, EffectorError> {
        self.next_worker += 1;
        Worker::start(WorkerNumber(self.next_worker), self.separation, self.channels.workers.clone())
            .map_err(|source| EffectorError::Child { role: Role::Worker, source })
    }

    /// A worker that is locked in and waits, so that a fault does not wait for a process to start.
    pub(super) fn ensure_spare(&mut self) -> Result<(), EffectorError> {
        if self.spare.is_none() && !self.capabilities.config().publishers.is_empty() {
            self.spare = Some(self.start_worker()?);
        }
        Ok(())
    }
}

/// Frames are read whole by a task of their own: a receive is not cancel safe.
async fn read_daemon(mut pipe: OwnedReadHalf, to: mpsc::Sender<Result<ToEffector, FrameError>>) {
    loop {
        let frame = receive(&mut pipe, MAX_DAEMON_FRAME).await;
        let last = frame.is_err();
        if to.send(frame).await.is_err() || last {
            return;
        }
    }
}

fn parsed<T: std::str::FromStr>(text: Option<String>, what: &'static str) -> Result<Option<T>, StoreError> {
    text.map(|text| text.parse().map_err(|_| StoreError::Malformed { what })).transpose()
}

fn document<T: serde::de::DeserializeOwned>(text: Option<String>, what: &'static str) -> Result<Option<T>, StoreError> {
    text.map(|text| serde_json::from_str(&text).map_err(|_| StoreError::Malformed { what })).transpose()
}

fn documents<T: serde::de::DeserializeOwned>(texts: &[String], what: &'static str) -> Result<Vec<T>, StoreError> {
    texts.iter().map(|text| serde_json::from_str(text).map_err(|_| StoreError::Malformed { what })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_sandbox::call::ClockCall;

    #[test]
    fn a_journal_is_bounded_in_bytes_however_few_its_entries_are() {
        let full = Written::default().and(MAX_JOURNAL_BYTES);
        let call = || Call::Clock(ClockCall::Now);
        assert_eq!((full.entries, full.event_of(call())), (1, MachineEvent::WorkerCalled(call())));
        assert!(matches!(full.and(1).event_of(call()), MachineEvent::WorkerDied { .. }));
    }
}
