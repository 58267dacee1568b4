//! The switchboard: which agent has a session, and who is told what is new in the log.
//!
//! One task ([`Switchboard::follow`]) follows the leader's feed and puts what concerns an agent into its
//! session's queue; answers to an agent's own records go to it directly, without this detour. A session whose
//! queue is full is ended: its agent connects again and is briefed from the log.

use super::allowance::{Bucket, Notice};
use super::{Shared, ShowError, shown};
use crate::core::{InForce, Monotonic, views};
use crate::leader::{Batch, Entry, Gone};
use fettle_model::check::CheckRef;
use fettle_model::counter::{ConfigurationGeneration, LogPosition};
use fettle_model::evidence::DrillStage;
use fettle_model::host::HostState;
use fettle_model::id::{HostId, ProposalId};
use fettle_model::record::{Body, Kind};
use fettle_model::time::UnixMillis;
use fettle_proto::session::SessionProblem;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait for one session: a configuration, its playbooks, a stop in every scope.
const ORDERS: usize = 256;

/// What a session is ordered to say.
#[derive(Debug, Clone)]
pub(super) enum Order {
    /// A published record, JSON.
    Publish(Arc<Vec<u8>>),
    /// Ask (again) about a check.
    Remediate(CheckRef),
    /// Ask for the run that a drill waits for.
    Drill(views::DrillWish),
}

/// A session's end of its line.
#[derive(Debug)]
pub(super) struct Line {
    /// Which session this is.
    number: u64,
    host: HostId,
    /// What to say.
    pub(super) orders: mpsc::Receiver<Order>,
    /// Why to end; closed without a word: another session took over.
    pub(super) end: oneshot::Receiver<SessionProblem>,
}

#[derive(Debug)]
struct Plug {
    number: u64,
    orders: mpsc::Sender<Order>,
    end: oneshot::Sender<SessionProblem>,
}

impl Plug {
    fn end(self, problem: SessionProblem) {
        // An error says that the session has ended already.
        self.end.send(problem).ok();
    }
}

#[derive(Debug, Default)]
struct Board {
    next: u64,
    plugs: HashMap<HostId, Plug>,
    heard: HashMap<HostId, UnixMillis>,
    /// Which configuration each says that it holds. One entry for each that was ever enrolled at most.
    held: HashMap<HostId, InForce>,
    /// What hosts have added to the log. One entry for each that was ever enrolled at most.
    added: HashMap<HostId, Bucket>,
}

/// Who is connected. Its lock is held for a look-up, never across a wait.
#[derive(Debug, Clone, Default)]
pub struct Switchboard {
    board: Arc<Mutex<Board>>,
}

/// Whether an agent has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has.
    Connected,
    /// It was last heard then.
    LastHeard(UnixMillis),
    /// Not since the control plane started.
    Never,
}

impl Switchboard {
    fn board(&self) -> MutexGuard<'_, Board> {
        // Every change is one statement; a panic between them leaves nothing half done.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session begins; one that the host had before ends.
    pub(super) fn plug(&self, host: HostId) -> Line {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (end, ended) = oneshot::channel();
        let mut board = self.board();
        board.next += 1;
        let number = board.next;
        if let Some(before) = board.plugs.insert(host, Plug { number, orders, end }) {
            before.end(SessionProblem::Replaced);
        }
        Line { number, host, orders: inbox, end: ended }
    }

    /// A session has ended.
    pub(super) fn unplug(&self, line: &Line) {
        let mut board = self.board();
        if board.plugs.get(&line.host).is_some_and(|plug| plug.number == line.number) {
            board.plugs.remove(&line.host);
        }
    }

    /// An agent was heard.
    pub(super) fn heard(&self, host: HostId, at: UnixMillis) {
        self.board().heard.insert(host, at);
    }

    /// An agent says which configuration it holds.
    pub(super) fn holds(&self, host: HostId, generation: ConfigurationGeneration, now: UnixMillis) {
        let mut board = self.board();
        if board.held.get(&host).is_none_or(|held| held.generation != generation) {
            board.held.insert(host, InForce { generation, since: now });
        }
    }

    /// Which configuration every agent holds that has a session.
    #[must_use]
    pub fn held(&self) -> BTreeMap<HostId, InForce> {
        let board = self.board();
        board
            .held
            .iter()
            .filter(|(host, _)| board.plugs.contains_key(host))
            .map(|(host, held)| (*host, *held))
            .collect()
    }

    /// Whether an agent has a session.
    #[must_use]
    pub fn standing(&self, host: HostId) -> Standing {
        let board = self.board();
        if board.plugs.contains_key(&host) {
            return Standing::Connected;
        }
        board.heard.get(&host).map_or(Standing::Never, |at| Standing::LastHeard(*at))
    }

    /// How long a host's next record of so many bytes has to wait; zero: it is taken and counted.
    pub(super) fn take(&self, host: HostId, envelope_bytes: usize, now: Monotonic) -> Duration {
        let mut board = self.board();
        let bucket = board.added.entry(host).or_default();
        let wait = bucket.wait(now);
        if wait.is_zero() {
            bucket.add(envelope_bytes, now);
            return wait;
        }
        if bucket.notice(now) == Notice::Due {
            tracing::warn!(%host, ?wait, "a host fills the log faster than it may, and is slowed");
        }
        wait
    }

    fn end(&self, host: HostId, problem: SessionProblem) {
        if let Some(plug) = self.board().plugs.remove(&host) {
            plug.end(problem);
        }
    }

    fn end_all(&self, problem: SessionProblem) {
        for (_, plug) in self.board().plugs.drain() {
            plug.end(problem);
        }
    }

    fn order(&self, host: HostId, order: Order) {
        let mut board = self.board();
        if board.plugs.get(&host).is_some_and(|plug| plug.orders.try_send(order).is_err())
            && let Some(plug) = board.plugs.remove(&host)
        {
            tracing::warn!(%host, "a session is ended: its agent does not keep up");
            plug.end(SessionProblem::Unavailable);
        }
    }

    fn order_all(&self, order: &Order) {
        let hosts: Vec<HostId> = self.board().plugs.keys().copied().collect();
        for host in hosts {
            self.order(host, order.clone());
        }
    }

    /// Follows the log until the leader ends.
    pub async fn follow(shared: Shared) {
        let mut feed = shared.leader.feed().listen();
        let board = shared.switchboard.clone();
        loop {
            match feed.recv().await {
                Ok(batch) => {
                    if let Err(Gone) = tell(&shared, &batch).await {
                        return;
                    }
                }
                // What went past is in the log, from which every agent is briefed when it connects.
                Err(RecvError::Lagged(batches)) => {
                    tracing::warn!(batches, "the switchboard fell behind; every session begins anew");
                    board.end_all(SessionProblem::Unavailable);
                }
                Err(RecvError::Closed) => return,
            }
        }
    }
}

async fn tell(shared: &Shared, batch: &Batch) -> Result<(), Gone> {
    let board = &shared.switchboard;
    for entry in &batch.entries {
        match &entry.signed.record().body {
            Body::ConfigurationSet(set) => {
                let generation = set.configuration.generation();
                configuration(shared, views::Reached::BySetting(generation)).await?;
            }
            Body::RolloutAdvanced(advanced) => {
                configuration(shared, views::Reached::ByRing((**advanced).clone())).await?;
            }
            // The last two end budgets that hosts hold in advance.
            Body::AutomationStopped(_)
            | Body::AutomationResumed(_)
            | Body::BreakerOpened(_)
            | Body::FreezeDeclared(_) => publish(entry, |order| board.order_all(&order)),
            Body::DrillStarted(drill) => {
                publish(entry, |order| board.order(drill.host, order));
                board.order(drill.host, Order::Drill(views::DrillWish::Inject(drill.drill)));
            }
            Body::DrillStagePassed(passed) => match passed.stage {
                DrillStage::Healed => board.order(passed.host, Order::Drill(views::DrillWish::Repeat(passed.drill))),
                DrillStage::Repeated => board.order(passed.host, Order::Drill(views::DrillWish::Inject(passed.drill))),
                DrillStage::Killed => {}
            },
            Body::ApprovalGiven(given) => approved(shared, given.proposal).await?,
            Body::RunWished(wished) => board.order(wished.host, Order::Remediate(wished.check.clone())),
            Body::HostStateSet(set) => match set.state {
                HostState::Revoked => board.end(set.host, SessionProblem::Revoked),
                HostState::Quarantined => publish(entry, |order| board.order(set.host, order)),
                HostState::Active => {}
            },
            Body::LogOpened(_)
            | Body::RoleGranted(_)
            | Body::PersonRevoked(_)
            | Body::BreakGlassAsked(_)
            | Body::BreakGlassOpened(_)
            | Body::BreakGlassClosed(_)
            | Body::RoleRevoked(_)
            | Body::PersonKeySet(_)
            | Body::IdentityRegistered(_)
            | Body::PersonLoggedIn(_)
            | Body::ProposalMade(_)
            | Body::ProposalEnded(_)
            | Body::RolloutHalted(_)
            | Body::RolloutOrdered(_)
            | Body::ConfigurationRejected(_)
            | Body::TokenCreated(_)
            | Body::HostEnrolled(_)
            | Body::CertificateIssued(_)
            | Body::HostDescribed(_)
            | Body::PublisherTrusted(_)
            | Body::PlaybookAdmitted(_)
            | Body::ScenariosPassed(_)
            | Body::TransitionSeen(_)
            | Body::PermitRequested(_)
            | Body::PermitGranted(_)
            | Body::PermitRefused(_)
            | Body::PermitRejected(_)
            | Body::RunEnded(_)
            | Body::RunUnresolved(_)
            | Body::PlanMade(_)
            | Body::BreakerClosed(_)
            | Body::BreakerEased(_)
            | Body::FreezeLifted(_)
            | Body::MuteStarted(_)
            | Body::MuteLifted(_)
            | Body::ScheduleRefused(_)
            | Body::PromotionProposed(_)
            | Body::OfflineReturned(_)
            | Body::OfflineExpired(_)
            | Body::StepIntended(_)
            | Body::DrillEnded(_)
            | Body::EvidenceEarned(_)
            | Body::IncidentOpened(_)
            | Body::ActionRefused(_)
            | Body::ForkSeen(_)
            | Body::RequestWithheld(_) => {}
        }
    }
    nudge(shared, batch).await
}

/// What enough people said yes to is to be asked for again.
async fn approved(shared: &Shared, proposal: ProposalId) -> Result<(), Gone> {
    let look = shared.leader.inspect(move |view| {
        let known = view.core.state().proposal(proposal).filter(|known| known.has_enough());
        known.map(|known| (known.proposal.host, known.proposal.check.clone()))
    });
    if let Some((host, check)) = look.await? {
        shared.switchboard.order(host, Order::Remediate(check));
    }
    Ok(())
}

/// The configuration to whom it reaches, and before it the admissions of the playbooks that it uses.
async fn configuration(shared: &Shared, reached: views::Reached) -> Result<(), Gone> {
    let connected: Vec<HostId> = shared.switchboard.board().plugs.keys().copied().collect();
    let delivery = shared.leader.inspect(move |view| {
        // A newer one is on its way to be told in its turn.
        let Some(delivery) = views::delivery(view.core.state(), &reached, &connected) else { return Ok(None) };
        let views::Delivery { hosts, admissions, configuration } = delivery;
        let positions = admissions.into_iter().chain([configuration]);
        let documents = positions.map(|position: LogPosition| shown(view, position)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((hosts, documents)))
    });
    match delivery.await? {
        Ok(None) => {}
        Ok(Some((hosts, documents))) => {
            for document in documents.into_iter().map(Arc::new) {
                for host in &hosts {
                    shared.switchboard.order(*host, Order::Publish(Arc::clone(&document)));
                }
            }
        }
        Err(error) => {
            let error: ShowError = error;
            let error = anyhow::Error::from(error);
            tracing::error!(error = format!("{error:#}"), "a configuration could not be told");
            // Everybody is briefed anew.
            shared.switchboard.end_all(SessionProblem::Unavailable);
        }
    }
    Ok(())
}

fn publish(entry: &Entry, give: impl FnOnce(Order)) {
    match entry.published.to_json() {
        Ok(json) => give(Order::Publish(Arc::new(json))),
        Err(error) => tracing::error!(%error, "a record could not be written as JSON"),
    }
}

/// Whoever was refused for a reason that a record of this batch took away is to ask again.
async fn nudge(shared: &Shared, batch: &Batch) -> Result<(), Gone> {
    let kinds: Vec<Kind> = batch.entries.iter().map(|entry| entry.signed.record().body.kind()).collect();
    let Some(kind) = kinds.into_iter().find(|kind| views::opens_a_way(*kind)) else { return Ok(()) };
    let nudges = shared.leader.inspect(move |view| views::nudges(view.core.state(), kind)).await?;
    for views::Nudge { host, check } in nudges {
        shared.switchboard.order(host, Order::Remediate(check));
    }
    Ok(())
}
